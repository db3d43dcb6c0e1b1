"""The workflow that was mended, held to its law by pytest."""

from __future__ import annotations

from actorflow.testing import Script, Tape, real
from docs.examples.double_charge import careful, charged_once

SCRIPT = Script(default=real(after=None))


def test_no_schedule_charges_twice(simulation):
    """Whatever is early or late."""
    found = simulation.explore(careful, script=SCRIPT, laws=[charged_once])

    assert found.endings["completed"] > 0


def test_an_answer_that_comes_too_late_charges_nobody_twice(simulation):
    """The deadline passes while the answer is on its way."""
    tape = Tape({"deliver": (0, 0, 0, 1, 1)})
    trace = simulation.check(careful, script=SCRIPT, tape=tape, laws=[charged_once])

    assert trace.tape == tape
    assert trace.result.steps["charge"].attempts == 2

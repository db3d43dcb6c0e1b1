"""Pytest tests that hold the fixed workflow to its law."""

from __future__ import annotations

from actorflow.testing import Script, Tape, real
from docs.examples.double_charge import careful, charged_once

SCRIPT = Script(default=real(after=None))


def test_no_schedule_charges_twice(simulation):
    """No schedule breaks the law."""
    found = simulation.explore(careful, script=SCRIPT, laws=[charged_once])

    assert found.endings["completed"] > 0


def test_a_late_answer_does_not_charge_twice(simulation):
    """The deadline passes before the answer is delivered."""
    tape = Tape({"take charge#1": (3,), "timer": (1,)})
    trace = simulation.check(careful, script=SCRIPT, tape=tape, laws=[charged_once])

    assert trace.tape == tape
    assert trace.result.steps["charge"].attempts == 2

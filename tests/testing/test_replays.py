"""Schedules that are kept, of workflows that may have been changed since."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.testing import (
    Faults,
    Replay,
    Script,
    either,
    explore,
    hangs,
    law,
    raises,
    returns,
)
from tests.support.brain import flow, nothing


@law
def second_attempts_are_not_needed(trace):
    """Every step gets by with one attempt."""
    assert all(attempt.attempt == 1 for attempt in trace.attempts)


def shaky(**options):
    """A workflow with a step that is tried again."""
    retry = RetryPolicy(max_attempts=3, jitter=0.0)
    return flow(
        Step("a", nothing, async_=True, timeout=2.0, retry=retry, **options), Step("b", nothing)
    )


SCRIPT = Script(
    {
        "a": [either(raises(ValueError("no"), after=None), returns({"n": [1]})), hangs()],
        "b": raises(LookupError),
    }
)


def kept(**options):
    """A schedule that was found and kept."""
    found = explore(shaky(), script=SCRIPT, laws=[second_attempts_are_not_needed], **options)
    assert found.failure is not None
    replay = Replay.of(
        found.case,
        found.failure.tape,
        flow="here.py:flow",
        law=found.broken.name,
        trace=found.failure,
    )
    return replay, found


def test_a_schedule_is_the_same_after_a_file(tmp_path):
    """With all that it is a schedule of."""
    replay, found = kept(
        async_workers=3, stop_grace=1.0, race=False, faults=Faults(delays=1), cancel_at=9.0
    )
    replay.save(tmp_path / "kept.json")
    again = Replay.load(tmp_path / "kept.json")

    assert (replay.tape, replay.settings) == (again.tape, again.settings)
    assert ("here.py:flow", "second_attempts_are_not_needed") == (again.flow, again.law)
    assert (Faults(delays=1), 9.0) == (again.settings.faults, again.cancel_at)
    assert found.failure.hash == again.hash == again.simulate(shaky()).hash


def test_a_workflow_that_was_changed_is_told_apart():
    """Its steps are compared, and all that a schedule depends on."""
    replay, _ = kept()
    changed = flow(
        Step("a", nothing, after="c", async_=True, timeout=3.0, retry=RetryPolicy(jitter=0.0)),
        Step("c", nothing),
    )

    assert [] == replay.changes(shaky())
    assert ["priority of step 'a' is 3, and was 0"] == replay.changes(shaky(priority=3))
    assert [
        "step 'b' is gone",
        "step 'c' is new",
        "after of step 'a' is ['c'], and was []",
        "timeout of step 'a' is 3.0, and was 2.0",
    ] == sorted(replay.changes(changed), key=lambda text: ("gone" not in text, "new" not in text))


def test_a_script_for_a_step_that_is_gone_is_refused():
    """As when the script was new."""
    replay, _ = kept()

    with pytest.raises(DefinitionError, match="the script names step 'b'"):
        replay.simulate(flow(Step("a", nothing)))


def test_a_schedule_of_another_workflow_is_refused():
    """Its choices would mean something else."""
    replay, _ = kept()

    with pytest.raises(DefinitionError, match="belongs to workflow 'flow', not to this one"):
        replay.simulate(flow(Step("a", nothing), id="another"))


def test_a_tape_alone_is_a_schedule_of_whatever_it_is_given_to():
    """Of plain settings."""
    _, found = kept()
    replay = Replay.from_json(found.failure.tape.to_json())

    assert (found.failure.tape, None, None) == (replay.tape, replay.flow, replay.hash)
    assert [] == replay.changes(shaky())

"""Schedules that are kept: what their files hold, and what is refused."""

from __future__ import annotations

import json

import pytest

from actorflow.errors import DefinitionError, GiveUp
from actorflow.retry import RetryPolicy
from actorflow.step import Step
from actorflow.testing import (
    Faults,
    Replay,
    Script,
    either,
    explore,
    hangs,
    law,
    raises,
    real,
    returns,
)
from actorflow.testing.encoding import encoded_script, script_of
from tests.deciding import flow, nothing


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


@pytest.mark.parametrize(
    "behaviour",
    [
        returns(),
        returns({"deep": [1, None, "x"]}, after=2.5),
        raises(GiveUp("enough")),
        raises(KeyError),
        raises(ConnectionResetError(104, "reset"), after=None),
        hangs(stubborn=True),
        real(after=None),
        either(returns(1), either(hangs(), real())),
    ],
    ids=repr,
)
def test_whatever_a_step_does_can_be_kept(behaviour):
    """It is the same afterwards."""
    script = Script({"a": [behaviour, returns(3)]}, default=behaviour)
    again = script_of(json.loads(json.dumps(encoded_script(script))))

    assert repr(script) == repr(again)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (returns(object), "JSON cannot hold what a step returns, <class 'object'>"),
        (returns((1, 2)), "JSON cannot hold what a step returns, (1, 2)"),
        (returns(float("nan")), "JSON cannot hold what a step returns, nan"),
        (raises(ValueError(object)), "the arguments of builtins:ValueError, [<class 'object'>]"),
        (
            raises(type("Local", (Exception,), {})),
            ":Local to be raised",
        ),
    ],
    ids=["an object", "a tuple", "no number", "an error of an object", "a local error"],
)
def test_what_a_file_could_not_give_back_is_refused(behaviour, said):
    """Rather than kept as something like it."""
    with pytest.raises(DefinitionError) as caught:
        encoded_script(Script({"a": behaviour}))

    assert said in str(caught.value)


def test_an_input_that_a_file_could_not_give_back_is_refused(tmp_path):
    """By its name."""
    step = Step("a", lambda client: client)
    never = law(lambda _trace: False, name="never")
    found = explore(flow(step), {"client": object}, laws=[never])
    replay = Replay.of(found.case, found.failure.tape, flow=None)
    with pytest.raises(DefinitionError, match="JSON cannot hold the inputs"):
        replay.save(tmp_path / "kept.json")

    assert [] == list(tmp_path.iterdir())


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

    with pytest.raises(DefinitionError, match="is one of workflow 'flow', not of this one"):
        replay.simulate(flow(Step("a", nothing), id="another"))


def test_a_tape_alone_is_a_schedule_of_whatever_it_is_given_to():
    """Of plain settings."""
    _, found = kept()
    replay = Replay.from_json(found.failure.tape.to_json())

    assert (found.failure.tape, None, None) == (replay.tape, replay.flow, replay.hash)
    assert [] == replay.changes(shaky())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"script": {"steps": {}, "default": [{"does": "dance"}]}}, "is no script: KeyError"),
        ({"script": {"steps": {}, "default": [{"does": "returns"}]}}, "is no script: KeyError"),
        ({"script": None}, "None is no script"),
        ({"settings": {"colour": "red"}}, "colour"),
        ({"choices": {"deliver": "x"}}, "a tape holds 'x'"),
        ({"inputs": []}, "inputs of a replay is []"),
    ],
    ids=["an act", "a field", "no script", "a setting", "no numbers", "no inputs"],
)
def test_a_file_that_was_tampered_with_is_refused(change, said):
    """With an error that names what is odd."""
    text = json.dumps({**json.loads(kept()[0].to_json()), **change})
    with pytest.raises(DefinitionError) as caught:
        Replay.from_json(text)

    assert said in str(caught.value)

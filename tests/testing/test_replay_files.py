"""Files by which a schedule is replayed: the tape, and all that it was a schedule of."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import GiveUp, RetryAfter
from actorflow.testing import (
    Faults,
    Replay,
    Script,
    Settings,
    Tape,
    either,
    explore,
    hangs,
    raises,
    real,
    returns,
)
from actorflow.testing.laws import ALL, FORMER_NAMES, law
from actorflow.testing.script_files import encoded_script, script_of
from actorflow.testing.search.cases import given
from tests.support.brain import flow, task

PAIR = flow(task("a", retry=RetryPolicy(max_attempts=2)), task("b", timeout=3.0))
FULL = Replay(
    tape=Tape({"deliver": [0, 2], "take a#1": [1]}),
    flow="flows.py:pair",
    inputs={"url": "https://example.org", "n": [1, None, {"deep": 2.5}]},
    script=Script({"a": [raises(OSError("full")), returns(3, after=2.0)], "b": hangs()}),
    settings=Settings(async_workers=1, race=False, faults=Faults(crashes=1, cancels=2), ageing=3.0),
    cancel_at=4.0,
    options={"priority": 3, "timeout": 60.0, "trace_id": "t"},
    law="budget_is_kept",
)


class Unknown(Exception):
    """An error that a test makes up."""


def same(one, other):
    """Whether two replays mean the same; scripts are equal when they read alike."""
    return repr(one) == repr(other)


# ── Files ────────────────────────────────────────────────────────────────────────────────────


def test_a_replay_survives_json(tmp_path):
    """With everything that is needed to see a schedule again."""
    FULL.save(tmp_path / "replay.json")

    assert same(FULL, Replay.from_json(FULL.to_json()))
    assert same(FULL, Replay.load(tmp_path / "replay.json"))


def test_a_replay_is_simulated_with_its_settings():
    """All of them, or it would be another schedule."""
    settings = Settings(async_workers=3, max_active_runs=7, stop_grace=1.0, race=False, ageing=2.0)

    assert settings == Replay(tape=Tape(), settings=settings).simulate(PAIR).settings


def test_an_expected_duration_that_has_changed_is_reported():
    """It may change the order of steps."""
    before = Replay.of(given(PAIR), Tape(), flow=None)
    now = flow(task("a", retry=RetryPolicy(max_attempts=2), expected=2.0), task("b", timeout=3.0))

    assert ["expected of step 'a' is 2.0, and was None"] == before.changes(now)


def test_a_replay_is_a_tape_as_well(tmp_path):
    """Whoever wants the choices alone need not know more."""
    FULL.save(tmp_path / "replay.json")

    assert FULL.tape == Tape.load(tmp_path / "replay.json")


def test_a_bare_tape_is_a_replay_without_anything_else(tmp_path):
    """Of a workflow that whoever replays it has to name."""
    tape = Tape({"deliver": [1]})
    tape.save(tmp_path / "tape.json")

    assert same(Replay(tape=tape), Replay.load(tmp_path / "tape.json"))


def test_a_replay_can_be_read():
    """A line for each part; the choices of a stream are on one."""
    lines = FULL.to_json().splitlines()

    assert '"choices": {"deliver": [0, 2], "take a#1": [1]},' in lines
    assert '"flow": "flows.py:pair",' in lines
    assert '"law": "budget_is_kept",' in lines
    assert json.loads(FULL.to_json())


def test_a_schedule_of_real_coroutines_from_an_earlier_version_is_refused():
    """It would lead elsewhere; any other schedule leads where it led."""

    async def work():
        """Return at once."""

    undone = flow(Step("a", work, async_=True), Step("b", lambda: 1, compensate=work))
    scripts = {
        "'a'": Script({"a": real()}),
        "'a', 'b'": Script(default=either(returns(), real())),
        "'b'": Script(compensators={"b": [raises(OSError), real()]}),
        "": Script({"b": real()}),
    }
    for names, script in scripts.items():
        said = json.loads(Replay(tape=Tape(), script=script).to_json())
        del said["bodies"]
        old = Replay.from_json(json.dumps(said))
        if names:
            with pytest.raises(DefinitionError, match=f"ran {names} in another way.* Search again"):
                old.simulate(undone)
        else:
            assert old.simulate(undone).result.status == "completed"

        Replay(tape=Tape(), script=script).simulate(undone)


@pytest.mark.parametrize(("former", "name"), FORMER_NAMES.items(), ids=FORMER_NAMES)
def test_a_file_may_hold_the_former_name_of_a_law(tmp_path, former, name):
    """It was saved before the law was renamed."""
    path = tmp_path / "replay.json"
    path.write_text(FULL.to_json().replace('"budget_is_kept"', json.dumps(former)))

    names = [law.name for law in ALL]

    assert name == Replay.load(path).law
    assert (True, False) == (name in names, former in names)


def test_a_failure_is_replayed_to_the_identical_trace(tmp_path):
    """From a file, whatever was scripted, set and asked for."""

    @law
    def b_is_in_time(trace):
        """Step b never times out."""
        assert not [event for event in trace.events if event.kind == "step.timed_out"]

    script = Script({"a": [raises(OSError), returns()]})
    options = {"script": script, "async_workers": 1, "faults": Faults(delays=1), "priority": 2}
    exploration = explore(PAIR, laws=[b_is_in_time], **options)
    replay = Replay.of(
        given(PAIR, **options), exploration.failure.tape, flow=None, law=exploration.broken.name
    )

    replay.save(tmp_path / "failure.json")
    again = Replay.load(tmp_path / "failure.json")

    assert exploration.failure.hash == again.simulate(PAIR).hash
    assert "b_is_in_time" == again.law


@pytest.mark.parametrize("seed", range(5))
def test_cancels_and_run_options_are_replayed(seed):
    """They are no choices, and stand beside the tape."""
    case = given(PAIR, cancel_at=1.0, timeout=5.0, faults=Faults(crashes=2))
    trace = case.simulate(random.Random(seed))

    replay = Replay.from_json(Replay.of(case, trace.tape, flow=None).to_json())

    assert trace.hash == replay.simulate(PAIR).hash


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("inputs", {"now": timedelta(1)}),
        ("inputs", {"pair": (1, 2)}),
        ("inputs", {1: "one"}),
        ("options", {"timeout": timedelta(1)}),
        ("script", Script({"a": returns({1})})),
        ("script", Script({"a": returns(float("nan"))})),
        ("script", Script({"a": either(hangs(), raises(OSError({1})))})),
    ],
)
def test_what_json_cannot_hold_as_it_is_is_refused(part, value):
    """A tuple would come back as a list, and the trace would be another one."""
    replay = Replay(tape=Tape(), **{part: value})

    with pytest.raises(DefinitionError, match="JSON cannot hold"):
        replay.to_json()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("inputs", '"inputs": 3'),
        ("settings", '"settings": []'),
        ("settings", '"settings": {"workers": 3}'),
        ("script", '"script": {"steps": {}}'),
        ("script", '"script": {"steps": {"a": [{"does": "sings"}]}, "default": []}'),
        ("script", '"script": []'),
        ("options", '"options": {"tmeout": 3}'),
        ("shape", '"shape": {"a": 3}'),
        ("flow", '"flow": 3'),
        ("hash", '"hash": 3'),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(line, text):
    """With what it says, and to save one anew."""
    with pytest.raises(DefinitionError, match=f"{line}.*Save it again"):
        Replay.from_json(f'{{"actorflow_tape": 1, "choices": {{}}, {text}}}')


def test_a_moment_that_is_none_is_refused():
    """Before anything is replayed."""
    with pytest.raises(DefinitionError, match=r"cancel_at must be .*got 'x'"):
        Replay.from_json('{"actorflow_tape": 1, "choices": {}, "cancel_at": "x"}')


@pytest.mark.parametrize("load", [Tape.load, Replay.load], ids=["tape", "replay"])
@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"{", "a tape is not valid JSON"),
        (b"{}", "the JSON of a tape does not have"),
        (b'{"actorflow_tape": 1, "choices": {"deliver": ["x"]}}', "a tape holds 'x'"),
        (b"\xff\xfe", "is not a text file"),
    ],
    ids=["no JSON", "another JSON", "no choices", "no text"],
)
def test_a_file_that_holds_something_else_is_named(tmp_path, load, held, said):
    """Of several in a folder, the error says which."""
    path = tmp_path / "kept.json"
    path.write_bytes(held)

    with pytest.raises(DefinitionError, match=f"kept.json.*{said}"):
        load(path)


# ── Scripts ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "behaviour",
    [
        returns(),
        returns(after=None),
        returns(None, after=2.0),
        returns({"a": [1, "two"]}),
        raises(ValueError),
        raises(ValueError("no", 3), after=None),
        raises(GiveUp("why")),
        raises(RetryAfter(2.0)),
        raises(Unknown("this")),
        raises(KeyboardInterrupt),
        hangs(),
        hangs(stubborn=True),
        real(),
        real(after=None),
        either(returns(), raises(OSError), either(hangs(), real())),
    ],
    ids=repr,
)
def test_whatever_an_attempt_may_do_survives_json(behaviour):
    """Errors by their module and name, and the arguments that they were made with."""
    script = Script({"a": behaviour}, default=[behaviour, returns()])

    again = script_of(json.loads(json.dumps(encoded_script(script))))

    assert repr(script) == repr(again)


def test_an_error_of_an_error_class_inside_another_is_found():
    """By its qualified name."""
    error = Script({"a": raises(Outer.Inner("x"))})

    assert repr(error) == repr(script_of(encoded_script(error)))


class Outer:
    """A class that holds an error class."""

    class Inner(Exception):
        """An error of that class."""


def test_an_error_that_cannot_be_found_again_is_refused():
    """Such as one of a class that a function has made."""

    class Local(Exception):
        pass

    with pytest.raises(DefinitionError, match="Local"):
        encoded_script(Script({"a": raises(Local)}))


def test_an_error_that_is_not_there_any_more_is_named():
    """When the file is read."""
    said = {"steps": {"a": [{"does": "raises", "after": 1.0, "error": "builtins:NoError"}]}}

    with pytest.raises(DefinitionError, match="builtins:NoError"):
        script_of({**said, "default": [{"does": "hangs", "stubborn": False}]})

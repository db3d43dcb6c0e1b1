"""Values of a program's own, which may refuse to be looked at: a simulation puts up with them."""

from __future__ import annotations

import json

import pytest

from actorflow import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.testing import (
    Replay,
    Script,
    Tape,
    explore,
    law,
    laws,
    raises,
    real,
    returns,
    simulate,
)
from actorflow.testing.script_files import script_of
from actorflow.testing.search.cases import given
from tests.support.brain import flow, task


class Proxy:
    """Stands for something that is not there, and says so when it is asked for its class."""

    @property
    def __class__(self):
        raise RuntimeError("there is no request")


class Mute(Exception):
    """An error of which there is no text."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Unreadable:
    """A value of which there is no text."""

    def __repr__(self):
        raise RuntimeError("no text")


def take(a):
    """A step that is given an output."""


def refuse(text):
    """What must not be called by whoever reads a file."""
    raise AssertionError(text)


def judge(_error):
    """A predicate that fails, and says nothing of it."""
    raise Mute


PAIR = flow(task("a"), Step("b", take, after="a"))


def test_a_value_that_has_no_class_reaches_the_functions_of_steps():
    """Whether it was changed cannot be told, and nobody is accused of it."""
    trace = simulate(PAIR, script=Script({"a": returns(Proxy()), "b": real()}))

    laws.check(trace)


def test_a_number_that_is_too_long_to_be_written_has_a_chart():
    """Python refuses to write down numbers of more than 4,300 digits."""
    trace = simulate(PAIR, script=Script({"a": returns(10**5000)}))

    assert "a#1 returned <int>" in trace.chart()
    assert trace.hash == simulate(PAIR, script=Script({"a": returns(10**5000)})).hash


def test_a_law_may_fail_with_an_error_that_has_no_text():
    """It is broken all the same."""

    @law
    def mute(_trace):
        raise Mute

    assert "its text is not available" in explore(PAIR, schedules=1, laws=[mute]).broken.observed


def test_a_predicate_that_fails_without_a_text_is_a_no():
    """A message that cannot be handled would leave its run standing still."""
    once = flow(task("a", retry=RetryPolicy(retryable_errors=judge)))
    trace = simulate(once, script=Script(default=raises(ValueError)))

    laws.check(trace)
    assert 1 == trace.result.steps["a"].attempts


@pytest.mark.parametrize(
    "value", [Unreadable(), 10**5000, {1: Unreadable()}], ids=["own", "long", "inside"]
)
def test_a_value_without_a_text_is_refused_by_files(value):
    """As whatever else JSON cannot hold, so that the tape can be kept alone."""
    case = given(PAIR, script=Script({"a": returns(value)}))
    replay = Replay.of(case, Tape(), flow=None)

    with pytest.raises(DefinitionError, match="JSON cannot hold what a step returns"):
        replay.to_json()


def test_a_file_has_nothing_called_but_classes_of_errors():
    """Whatever is written into it in place of one."""
    named = f"{__name__}:{refuse.__name__}"
    said = {"does": "raises", "after": 1.0, "error": named, "arguments": ["it was called"]}

    with pytest.raises(DefinitionError, match="not found in the loaded modules"):
        script_of({"steps": {"a": [said]}, "default": [{"does": "hangs", "stubborn": False}]})


# ── Files that somebody has edited ───────────────────────────────────────────────────────────


def kept(**more):
    """The JSON of a replay with something else in it."""
    return json.dumps({"actorflow_tape": 1, "choices": {}} | more)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        kept(choices={"deliver": [2**63]}),
        kept(settings={"stop_grace": "long"}),
        kept(settings={"stop_grace": -1}),
        kept(settings={"race": "no"}),
        kept(cancel_at="soon"),
        kept(cancel_at=[1]),
        kept(shape={"a": 5}),
    ],
    ids=["deep", "large", "no grace", "negative", "no race", "no moment", "a list", "no shape"],
)
def test_what_makes_no_sense_in_a_file_is_refused(text):
    """With an error that is meant for people, when it is read or when it is simulated."""
    with pytest.raises(DefinitionError):
        Replay.from_json(text).simulate(PAIR)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    """As one is that holds no JSON."""
    path = tmp_path / "tape.json"
    path.write_bytes(b"\xff\xfe\x00")

    for read in (Tape.load, Replay.load):
        with pytest.raises(
            DefinitionError, match="is not a text file, so it does not hold a schedule"
        ):
            read(path)


def test_a_file_may_begin_as_some_editors_have_it(tmp_path):
    """With a mark that says how its text is encoded."""
    path = tmp_path / "tape.json"
    path.write_text(kept(choices={"deliver": [1]}), encoding="utf-8-sig")

    assert Tape({"deliver": [1]}) == Tape.load(path) == Replay.load(path).tape

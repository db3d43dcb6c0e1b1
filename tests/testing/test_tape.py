"""Tapes and choices: what is chosen can be kept, and chosen again."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.errors.definition import DefinitionError
from actorflow.testing import Choices, Tape

streams = st.dictionaries(st.text(max_size=8), st.lists(st.integers(0, 9), max_size=8), max_size=4)


def test_a_tape_reads_its_streams_and_then_noughts():
    """Each kind of choice has a stream of its own."""
    choices = Choices(Tape({"deliver": [2, 0, 1], "timer": [1]}))

    assert [2, 1, 0, 1, 0, 0] == [
        choices.choose(5, label)
        for label in ("deliver", "timer", "deliver", "deliver", "deliver", "timer")
    ]


def test_a_choice_that_is_out_of_range_wraps_round():
    """Any tape fits any schedule; what was used is kept, not what was read."""
    choices = Choices(Tape({"deliver": [7, 3]}))

    assert [1, 0] == [choices.choose(3, "deliver") for _ in range(2)]
    assert Tape({"deliver": [1]}) == choices.tape


def test_a_choice_that_nobody_has_chosen_is_the_plainest():
    """The empty tape is the plainest schedule."""
    choices = Choices()

    assert [0] * 5 == [choices.choose(9, "deliver") for _ in range(5)]
    assert Tape() == choices.tape


def test_what_was_used_is_kept_in_order():
    """With its name, and the number of options there were."""
    choices = Choices(lambda options, _label: options - 1)

    choices.choose(3, "deliver")
    choices.choose(2, "timer")

    assert [("deliver", 2, 3), ("timer", 1, 2)] == choices.used


@given(streams, st.lists(st.tuples(st.text(max_size=2), st.integers(1, 9))))
def test_the_tape_of_what_was_used_chooses_the_same_again(given_streams, questions):
    """Whatever the source was."""
    first = Choices(Tape(given_streams))
    answers = [first.choose(options, label) for label, options in questions]
    again = Choices(first.tape)

    assert answers == [again.choose(options, label) for label, options in questions]
    assert first.tape == again.tape


def test_chance_can_be_biased_towards_the_plainest():
    """So that deviations are few; and equal chances choose alike."""
    plain, biased, again = (Choices(random.Random(1), bias=bias) for bias in (0.0, 0.95, 0.95))
    for choices in (plain, biased, again):
        for _ in range(1000):
            choices.choose(4, "deliver")

    assert plain.tape.deviations > 600
    assert 0 < biased.tape.deviations < 100
    assert biased.tape == again.tape


def test_one_stream_can_serve_all_attempts():
    """Except those that have a stream of their own."""
    choices = Choices(Tape({"take *": [1, 2, 3], "take b#1": [7]}))

    chosen = [choices.choose(9, f"take {attempt}") for attempt in ("a#1", "b#1", "c#1", "a#1")]

    assert [1, 7, 2, 3] == chosen
    assert 0 == choices.choose(9, "do a#1")


def test_a_tape_as_used_names_every_attempt():
    """So that it chooses the same when the attempts begin in another order."""
    choices = Choices(Tape({"take *": [1, 2]}))
    for attempt in ("a#1", "b#1"):
        choices.choose(3, f"take {attempt}")

    assert Tape({"take a#1": [1], "take b#1": [2]}) == choices.tape


@given(streams)
def test_noughts_at_the_end_of_a_stream_mean_nothing(given_streams):
    """Nor does a stream of nothing else."""
    longer = {label: [*stream, 0, 0] for label, stream in given_streams.items()}
    tape = Tape(given_streams)

    assert tape == Tape(longer)
    assert hash(tape) == hash(Tape(longer))
    assert all(stream[-1] for stream in tape.streams.values())


def test_streams_are_kept_in_the_order_of_their_names():
    """So that equal tapes read alike."""
    assert list("ab") == list(Tape({"b": [1], "a": [2]}).streams)
    assert repr(Tape({"b": [1], "a": [2]})) == repr(Tape({"a": [2], "b": [1]}))


@given(streams)
def test_a_tape_survives_json_pickle_and_its_own_repr(given_streams):
    """It can be saved, sent and pasted."""
    tape = Tape(given_streams)

    assert tape == Tape.from_json(tape.to_json())
    assert tape == pickle.loads(pickle.dumps(tape))  # noqa: S301 - our own
    assert tape == eval(repr(tape), {"Tape": Tape})  # noqa: S307 - our own


def test_a_tape_survives_a_file(tmp_path):
    """Whatever its choices are called."""
    tape = Tape({"take größe#1": [3]})

    tape.save(tmp_path / "tape.json")

    assert tape == Tape.load(tmp_path / "tape.json")


def test_a_tape_says_how_long_it_is():
    """And how many of its choices are not the plainest."""
    tape = Tape({"deliver": [0, 2, 0, 1], "timer": [1]})

    assert (5, 3) == (len(tape), tape.deviations)
    assert [("deliver", 0), ("deliver", 2), ("deliver", 0), ("deliver", 1), ("timer", 1)] == [*tape]


def test_tapes_of_different_choices_differ():
    """By value, and from what is no tape."""
    assert Tape({"a": [1]}) != Tape({"b": [1]})
    assert Tape({"a": [1]}) != Tape({"a": [1, 1]})
    assert Tape() != {}


def test_a_tape_cannot_be_changed():
    """It is a value."""
    with pytest.raises(TypeError):
        Tape({"a": [1]}).streams["a"] = (2,)


@pytest.mark.parametrize(
    "streams", [{"a": [-1]}, {"a": [True]}, {"a": ["1"]}, {1: [1]}, {"a": 1}, [1]]
)
def test_what_is_no_tape_is_refused(streams):
    """With what is wrong, and the cure."""
    with pytest.raises(DefinitionError, match="whole numbers"):
        Tape(streams)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"actorflow_tape": 2, "choices": {}}',
        '{"actorflow_tape": 1, "choices": [1]}',
    ],
)
def test_json_that_holds_no_tape_is_refused(text):
    """A file of another kind is not read as the plainest schedule."""
    with pytest.raises(DefinitionError, match="tape"):
        Tape.from_json(text)


def test_a_source_that_cannot_choose_is_refused():
    """A list is no tape: it does not say what its numbers are for."""
    with pytest.raises(DefinitionError, match=r"\[1, 2\]"):
        Choices([1, 2])

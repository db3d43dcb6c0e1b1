"""Durations are kept as float seconds."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.durations import as_seconds, patience, seconds
from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2.0), (0.5, 0.5), (timedelta(milliseconds=20), 0.02)]
)
def test_a_duration_is_a_number_or_a_timedelta(value, expected):
    """Whatever it is written as, it is a float afterwards."""
    result = seconds(value, "timeout")

    assert expected == result
    assert type(result) is float


@pytest.mark.parametrize(
    "value",
    [0, -1, timedelta(0), True, None, "5", float("nan"), -(10**400)],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_duration_is_refused_by_name(value):
    """The text names the field, the value and what is expected."""
    with pytest.raises(DefinitionError) as caught:
        seconds(value, "timeout", workflow_id="report", step_id="fetch")

    expected = (
        f"workflow 'report', step 'fetch': timeout must be a positive number of "
        f"seconds or a timedelta; got {value!r}."
    )
    assert expected == str(caught.value)


def test_a_duration_of_nothing_is_allowed_where_the_caller_says_so():
    """A drain of zero seconds is meant, a timeout of zero is not."""
    assert 0.0 == seconds(0, "drain", zero=True)


def test_a_negative_duration_is_refused_even_where_zero_is_allowed():
    """The text then says what the least is."""
    with pytest.raises(DefinitionError, match="zero or a positive number of seconds"):
        seconds(-0.1, "drain", zero=True)


@pytest.mark.parametrize(
    "value",
    [2**34, 1e300, float("inf"), 10**400, 10**5000, timedelta.max],
    ids=lambda value: text_of(value)[:20],
)
def test_a_duration_that_no_clock_can_count_is_refused(value):
    """A deadline that far away would overflow where it is waited for."""
    with pytest.raises(DefinitionError, match=r"timeout is longer than a clock can count .* years"):
        seconds(value, "timeout")
    if value != float("inf"):
        with pytest.raises(DefinitionError, match=r"timeout is longer than .* Pass None to wait"):
            patience(value, "timeout")


def test_infinity_is_a_duration_where_the_caller_says_so():
    """A program may ask for no limit by it."""
    assert float("inf") == seconds(float("inf"), "blocked_after", endless=True)
    assert 2**33 < patience(float("inf"), "timeout") < 2**34


@pytest.mark.parametrize("value", [-1, float("-inf"), -(10**400), timedelta.min])
def test_a_moment_that_has_passed_is_a_wait_of_zero(value):
    """A caller may subtract the time from a deadline without looking."""
    assert 0.0 == patience(value, "timeout")


@given(st.floats(min_value=sys.float_info.min, max_value=2.0**33))
def test_every_positive_float_that_a_clock_can_count_is_left_as_it_is(value):
    """No unit is guessed and nothing is rounded."""
    assert value == seconds(value, "timeout")


@given(st.one_of(st.text(), st.none(), st.booleans(), st.lists(st.integers())))
def test_the_converter_leaves_what_it_does_not_know(value):
    """Judging is the validator's work, which knows the names."""
    assert value is as_seconds(value)

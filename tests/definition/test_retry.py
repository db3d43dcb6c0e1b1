"""Which errors are tried again, and after how long."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import GiveUp, RetryAfter

intervals = st.one_of(st.just(0.0), st.floats(min_value=1e-6, max_value=1e9))


@st.composite
def policies(draw):
    """Any legal policy."""
    initial, further = draw(intervals), draw(st.floats(min_value=0, max_value=1e9))
    return RetryPolicy(
        max_attempts=draw(st.integers(1, 10**9)),
        initial_interval=initial,
        multiplier=draw(st.floats(min_value=1, max_value=1e6)),
        max_interval=initial + further,
        jitter=draw(st.floats(min_value=0, max_value=1)),
    )


units = st.floats(min_value=0, max_value=1, exclude_max=True)
attempts = st.one_of(st.integers(1, 50), st.integers(1, 10**400))


def test_the_waits_grow_by_the_multiplier_up_to_the_ceiling():
    """In the middle of the jitter's range the wait is the plain backoff."""
    policy = RetryPolicy(initial_interval=1, multiplier=3, max_interval=10)

    waits = [policy.delay(attempt) for attempt in (1, 2, 3, 4, 5)]

    assert [1.0, 3.0, 9.0, 10.0, 10.0] == waits


def test_jitter_moves_a_wait_by_its_fraction_in_either_direction():
    """The unit that is handed in says where in the range the wait lies."""
    policy = RetryPolicy(initial_interval=10, jitter=0.2)

    assert (8.0, 12.0) == policy.bounds(1)
    assert [8.0, 9.0, 10.0] == [policy.delay(1, unit) for unit in (0.0, 0.25, 0.5)]


def test_without_jitter_every_wait_is_the_same():
    """A policy with no jitter asks for no chance."""
    policy = RetryPolicy(jitter=0)

    assert (2.0, 2.0) == policy.bounds(2)


@given(policies(), attempts, units)
def test_a_delay_lies_within_its_bounds(policy, attempt, unit):
    """However long ago the first attempt was, and wherever the jitter falls."""
    low, high = policy.bounds(attempt)

    assert 0 <= low <= policy.delay(attempt, unit) <= high
    assert high <= policy.max_interval * (1 + policy.jitter) * (1 + 1e-12)


@given(policies(), st.integers(1, 200), units)
def test_a_later_attempt_never_waits_less(policy, attempt, unit):
    """Backoff only backs off."""
    assert policy.delay(attempt, unit) <= policy.delay(attempt + 1, unit)


@pytest.mark.parametrize("options", [{}, {"max_interval": 0}, {"jitter": 1, "multiplier": 1e300}])
def test_a_step_may_be_tried_again_at_once(options):
    """However many attempts there were."""
    policy = RetryPolicy(initial_interval=0, **options)

    assert {(0.0, 0.0)} == {policy.bounds(attempt) for attempt in (1, 2, 10**5)}


def test_attempts_are_counted_from_one():
    """An attempt number 0 is a mistake of the caller's, not a short wait."""
    with pytest.raises(ValueError, match="attempts are counted from 1, not 0"):
        RetryPolicy().delay(0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_attempts": 0}, "max_attempts of RetryPolicy is 0. Give a whole number, 1 or more."),
        (
            {"max_attempts": 2**63},
            (
                "max_attempts of RetryPolicy is 9223372036854775808. "
                "Give a whole number, 1 or more, of at most 64 bits."
            ),
        ),
        (
            {"max_attempts": 1.5},
            "max_attempts of RetryPolicy is 1.5. Give a whole number, 1 or more.",
        ),
        (
            {"max_attempts": True},
            "max_attempts of RetryPolicy is True. Give a whole number, 1 or more.",
        ),
        (
            {"initial_interval": -0.5},
            (
                "initial_interval of RetryPolicy must be zero or a positive number of seconds or a "
                "timedelta; got -0.5."
            ),
        ),
        (
            {"max_interval": -1},
            (
                "max_interval of RetryPolicy must be zero or a positive number of seconds or a "
                "timedelta; got -1.0."
            ),
        ),
        (
            {"initial_interval": 60},
            (
                "initial_interval (60 s) is longer than max_interval (30 s). "
                "Pass max_interval=60 or more."
            ),
        ),
        ({"multiplier": 0.5}, "multiplier of RetryPolicy is 0.5. Give a number, 1 or more."),
        (
            {"multiplier": float("inf")},
            "multiplier of RetryPolicy is inf. Give a number, 1 or more.",
        ),
        ({"jitter": 1.1}, "jitter of RetryPolicy is 1.1. Give a fraction between 0 and 1."),
        ({"jitter": "a"}, "jitter of RetryPolicy is 'a'. Give a fraction between 0 and 1."),
        (
            {"retryable_errors": [OSError, int]},
            (
                "retryable_errors of RetryPolicy is <class 'int'>. "
                "Give exception classes, non-empty strings, or predicates."
            ),
        ),
        (
            {"retryable_errors": [[OSError, "busy"]]},
            (
                "retryable_errors of RetryPolicy is [<class 'OSError'>, 'busy']. "
                "Give the patterns one by one, not in a nested list."
            ),
        ),
        (
            {"give_up_on": ""},
            (
                "give_up_on of RetryPolicy is ''. "
                "Give exception classes, non-empty strings, or predicates."
            ),
        ),
    ],
    ids=str,
)
def test_an_illegal_policy_does_not_exist(options, text):
    """The text names the field and the value, and says what is legal."""
    with pytest.raises(DefinitionError) as caught:
        RetryPolicy(**options)

    assert text == str(caught.value)


def test_a_policy_cannot_be_changed():
    """A policy is shared by steps and runs."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RetryPolicy().max_attempts = 5


def test_intervals_may_be_timedeltas():
    """They are kept as float seconds."""
    policy = RetryPolicy(initial_interval=timedelta(minutes=1), max_interval=timedelta(hours=1))

    assert (60.0, 3600.0) == (policy.initial_interval, policy.max_interval)


def test_equal_policies_are_equal_however_they_are_written():
    """Numbers and lists are brought to one form."""
    one = RetryPolicy(initial_interval=2, multiplier=2, retryable_errors=OSError)
    other = RetryPolicy(
        initial_interval=timedelta(seconds=2), multiplier=2.0, retryable_errors=[OSError]
    )

    assert one == other


class RateLimited(Exception):
    """An error that carries a code."""

    code = 429


@pytest.mark.parametrize(
    ("pattern", "error", "accepted"),
    [
        ((), ValueError("any"), True),
        (OSError, ConnectionResetError("reset"), True),
        (OSError, ValueError("other"), False),
        ("Limited", RateLimited("slow down"), True),
        ("slow", RateLimited("slow down"), True),
        ("SLOW", RateLimited("slow down"), False),
        (lambda error: getattr(error, "code", 0) == 429, RateLimited(), True),
        (lambda error: getattr(error, "code", 0) == 429, OSError(), False),
        ([OSError, "slow"], RateLimited("slow down"), True),
        ((OSError, "slow"), ValueError("fast"), False),
    ],
)
def test_a_retryable_error_is_a_class_a_text_or_a_predicate(pattern, error, accepted):
    """None given means every exception."""
    assert accepted is RetryPolicy(retryable_errors=pattern).accepts(error)


def test_giving_up_wins_over_trying_again():
    """The narrower rule is the one that says no."""
    policy = RetryPolicy(retryable_errors=OSError, give_up_on=PermissionError)

    assert policy.accepts(OSError())
    assert not policy.accepts(PermissionError())


def test_a_step_decides_for_itself():
    """What the step asks for stands above every pattern."""
    policy = RetryPolicy(retryable_errors=(GiveUp, OSError), give_up_on=RetryAfter)

    assert not policy.accepts(GiveUp("closed"))
    assert policy.accepts(RetryAfter(1))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()])
def test_what_is_no_exception_is_accepted_only_by_its_class(error):
    """Neither a catch-all nor a text nor a predicate swallows an interrupt."""
    broad = RetryPolicy(retryable_errors=(Exception, type(error).__name__, lambda _: True))

    assert not RetryPolicy().accepts(error)
    assert not broad.accepts(error)
    assert RetryPolicy(retryable_errors=type(error)).accepts(error)


@pytest.mark.parametrize("field", ["retryable_errors", "give_up_on"])
def test_a_predicate_that_raises_accepts_nothing_and_is_seen(field):
    """The policy is asked where nothing of the user's may raise; the error keeps the news."""
    error = OSError("busy")

    accepted = RetryPolicy(**{field: lambda failed: failed.code}).accepts(error)

    assert not accepted
    assert [
        (
            "the retry policy could not judge this error: "
            "AttributeError(\"'OSError' object has no attribute 'code'\"). It is not retried."
        )
    ] == error.__notes__


def test_an_error_without_a_text_is_not_accepted_by_a_text():
    """An error whose `__str__` raises must not break the policy."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

        def add_note(self, note):
            raise RuntimeError("no notes either")

    assert not RetryPolicy(retryable_errors="busy").accepts(Mute())

"""Retry policies: whether a failed attempt is followed by another one, and after which wait."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import attrs

from actorflow.definition.arguments import cure_of_whole, is_whole
from actorflow.definition.durations import as_float, as_seconds, is_finite, seconds
from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import checks_options

__all__ = ["ErrorPattern", "ErrorPatterns", "RetryPolicy"]

ErrorPattern = type[BaseException] | str | Callable[[Exception], object]
"""An exception class, a substring of the error's text or class name, or a predicate."""

ErrorPatterns = ErrorPattern | Sequence[ErrorPattern]
"""One pattern, or several, any of which may match."""


def _several(value: ErrorPatterns) -> tuple[ErrorPattern, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (value,)


def _is_pattern(value: object) -> bool:
    if isinstance(value, type):
        return issubclass(value, BaseException)
    # The empty string is a substring of every string, so it is surely a mistake.
    return value != "" if isinstance(value, str) else callable(value)


def _refusal(field: str, value: object, cure: str) -> DefinitionError:
    return DefinitionError(None, f"{field} of RetryPolicy is {text_of(value)}", cure)


def _matches(pattern: ErrorPattern, error: BaseException) -> bool:
    if isinstance(pattern, type):
        return isinstance(error, pattern)
    if not isinstance(error, Exception):
        return False
    if isinstance(pattern, str):
        return pattern in type(error).__name__ or pattern in str(error)
    return bool(pattern(error))


@checks_options
@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often a step is tried, how long it waits between attempts, and which errors it retries.

    The wait after the first attempt is `initial_interval`. Each further one is `multiplier` times
    as long, up to `max_interval`. Jitter varies each wait by at most that fraction in either
    direction, so that steps that failed together do not return together. An `initial_interval` of 0
    retries at once, after every attempt.

    Example:
        >>> from actorflow import RetryPolicy
        >>> policy = RetryPolicy(jitter=0.0, retryable_errors=[ConnectionError, "busy"])
        >>> [policy.delay(attempt) for attempt in (1, 2, 3)]
        [1.0, 2.0, 4.0]
        >>> policy.accepts(ConnectionError()), policy.accepts(ValueError("no such user"))
        (True, False)
    """

    max_attempts: int = attrs.field(default=3)
    """Attempts in all, including the first."""
    initial_interval: float = attrs.field(default=1.0, converter=as_seconds)
    multiplier: float = attrs.field(default=2.0, converter=as_float)
    max_interval: float = attrs.field(default=30.0, converter=as_seconds)
    jitter: float = attrs.field(default=0.1, converter=as_float)
    retryable_errors: tuple[ErrorPattern, ...] = attrs.field(default=(), converter=_several)
    """The errors that are retried; by default every `Exception`."""
    give_up_on: tuple[ErrorPattern, ...] = attrs.field(default=(), converter=_several)
    """The errors that are never retried, even if they are among `retryable_errors`."""

    @max_attempts.validator
    def _check_max_attempts(self, _field: object, value: object) -> None:
        if not is_whole(value, 1):
            raise _refusal("max_attempts", value, cure_of_whole(value, 1))

    @initial_interval.validator
    @max_interval.validator
    def _check_interval(self, field: attrs.Attribute[float], value: object) -> None:
        seconds(value, f"{field.name} of RetryPolicy", zero=True)

    @multiplier.validator
    def _check_multiplier(self, _field: object, value: object) -> None:
        if not is_finite(value) or value < 1:
            raise _refusal("multiplier", value, "Give a number, 1 or more")

    @jitter.validator
    def _check_jitter(self, _field: object, value: object) -> None:
        if not is_finite(value) or not 0 <= value <= 1:
            raise _refusal("jitter", value, "Give a fraction between 0 and 1")

    @retryable_errors.validator
    @give_up_on.validator
    def _check_patterns(self, field: attrs.Attribute[object], value: tuple[object, ...]) -> None:
        for pattern in value:
            if not _is_pattern(pattern):
                cure = "Give exception classes, non-empty strings, or predicates"
                if isinstance(pattern, (list, tuple)):
                    cure = "Give the patterns one by one, not in a nested list"
                raise _refusal(field.name, pattern, cure)

    def __attrs_post_init__(self) -> None:
        """Refuse a maximum below the minimum."""
        if self.max_interval < self.initial_interval:
            first, most = f"{self.initial_interval:g}", f"{self.max_interval:g}"
            problem = f"initial_interval ({first} s) is longer than max_interval ({most} s)"
            raise DefinitionError(None, problem, f"Pass max_interval={first} or more")

    def accepts(self, error: BaseException) -> bool:
        """Return whether an attempt that ended with `error` is worth another one.

        The policy counts no attempts: the caller applies `max_attempts`. `GiveUp` is never retried,
        nor is an output that cannot be stored; `RetryAfter` always is. Then `give_up_on` takes
        precedence over `retryable_errors`. Errors that are no `Exception` (`KeyboardInterrupt`,
        `CancelledError`) are retried only when their class is listed.

        It does not raise: a predicate that raises, or an error whose text cannot be made, counts as
        not accepted, and the error gets a note that says so.
        """
        try:
            return self._decide(error)
        except BaseException as fault:  # noqa: BLE001 - predicates are the user's code
            note = (
                f"the retry policy could not judge this error: {text_of(fault)}. It is not retried."
            )
            with contextlib.suppress(BaseException):
                error.add_note(note)
            return False

    def _decide(self, error: BaseException) -> bool:
        if isinstance(error, ActorflowError) and error.is_retryable is not None:
            return error.is_retryable
        if any(_matches(pattern, error) for pattern in self.give_up_on):
            return False
        if not self.retryable_errors:
            return isinstance(error, Exception)
        return any(_matches(pattern, error) for pattern in self.retryable_errors)

    def delay(self, attempt: int, unit: float = 0.5) -> float:
        """Return the seconds to wait after attempt number `attempt`, counted from 1.

        Args:
            attempt: The attempt that has just failed.
            unit: The position within the range of the jitter, from 0 up to 1. It is passed in so
                that a simulation can choose it.
        """
        if attempt < 1:
            problem = f"attempts are counted from 1, not {attempt}"
            raise ValueError(problem)
        return self._backoff(attempt) * (1 + self.jitter * (2 * unit - 1))

    def bounds(self, attempt: int) -> tuple[float, float]:
        """Return the minimum and maximum seconds that `delay` can return after `attempt`."""
        return self.delay(attempt, 0.0), self.delay(attempt, 1.0)

    def _backoff(self, attempt: int) -> float:
        if self.initial_interval == 0:
            return 0.0  # also where the power would overflow
        try:
            wait = self.initial_interval * self.multiplier ** (attempt - 1)
        except OverflowError:
            return self.max_interval
        return min(wait, self.max_interval)

"""Durations: users write seconds or a `timedelta`; both are kept as float seconds."""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from typing import Any, Final, TypeGuard

from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of

__all__ = ["Duration", "as_float", "as_seconds", "is_finite", "patience", "seconds"]

Duration = float | timedelta
"""The types in which a duration may be written."""
_LONGEST: Final = 9_223_372_036.0
"""The longest duration in seconds, 292 years: clocks count nanoseconds in 64 bits."""
_TOO_LONG: Final = f"is longer than a clock can count ({_LONGEST:.0f} s, or 292 years)"


def _is_number(value: Any) -> TypeGuard[float]:
    # bool is an int, and `timeout=True` is never meant as one second.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: Any) -> TypeGuard[float]:
    """Return whether `value` is a number that a float can hold."""
    return _is_number(value) and -sys.float_info.max <= value <= sys.float_info.max


def as_float(value: float) -> float:
    """Return a finite number as a float, and anything else unchanged.

    It is for converters of fields whose validators judge the value: only the validator knows the
    names that the error needs.
    """
    return float(value) if is_finite(value) else value


def as_seconds(value: Duration) -> float:
    """Return a duration as float seconds, and anything else unchanged; see `as_float`."""
    return as_float(value.total_seconds() if isinstance(value, timedelta) else value)


def seconds(
    value: Any,
    field: str,
    *,
    zero: bool = False,
    endless: bool = False,
    workflow_id: str | None = None,
    step_id: str | None = None,
) -> float:
    """Return `value` as float seconds, or refuse it.

    Args:
        value: Seconds as an int or a float, or a `timedelta`.
        field: The name of the value in the error.
        zero: Whether zero is allowed.
        endless: Whether infinity is allowed.
        workflow_id: The workflow that the value belongs to, for the error.
        step_id: The step that it belongs to, for the error.

    Raises:
        DefinitionError: When it is of another type, not finite, too small, or too long for a clock.
    """
    length = as_seconds(value)
    if _is_number(length) and (length > 0 or (zero and length == 0)):
        if length <= _LONGEST or (endless and length == math.inf):
            return float(length)
        problem = f"{field} {_TOO_LONG}; got {text_of(value)}"
        raise DefinitionError(workflow_id, problem, "", step_id)
    kind = "zero or a positive" if zero else "a positive"
    problem = f"{field} must be {kind} number of seconds or a timedelta; got {text_of(value)}"
    raise DefinitionError(workflow_id, problem, "", step_id)


def patience(value: Any, field: str) -> float | None:
    """Return how many seconds a caller waits at most; None for as long as it takes.

    A moment that has passed is a wait of zero, and infinity is as good as a very long wait.

    Raises:
        DefinitionError: When it is of another type, NaN, or too long for a clock.
    """
    if value is None:
        return None
    limit: Any = as_seconds(value)
    if _is_number(limit) and (limit <= _LONGEST or limit == math.inf):
        return float(min(max(limit, 0), _LONGEST))
    too_long = _is_number(limit) and limit > _LONGEST  # which NaN is not
    fault = _TOO_LONG if too_long else "must be a number of seconds or a timedelta"
    problem = f"{field} {fault}; got {text_of(value)}"
    raise DefinitionError(None, problem, "Pass None to wait as long as it takes")

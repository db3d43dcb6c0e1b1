"""Durations: users write seconds or a `timedelta`; both are kept as float seconds."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any, TypeGuard

from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of

__all__ = ["Duration", "as_float", "as_seconds", "is_finite", "seconds"]

Duration = float | timedelta
"""The types in which a duration may be written."""


def is_finite(value: Any) -> TypeGuard[float]:
    """Return whether `value` is a number that a float can hold."""
    # bool is an int, and `timeout=True` is never meant as one second.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -sys.float_info.max <= value <= sys.float_info.max


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
    workflow_id: str | None = None,
    step_id: str | None = None,
) -> float:
    """Return `value` as float seconds, or refuse it.

    Args:
        value: Seconds as an int or a float, or a `timedelta`.
        field: The name of the value in the error.
        zero: Whether zero is allowed.
        workflow_id: The workflow that the value belongs to, for the error.
        step_id: The step that it belongs to, for the error.

    Raises:
        DefinitionError: When it is of another type, not finite, or too small.
    """
    length = as_seconds(value)
    if is_finite(length) and (length > 0 or (zero and length == 0)):
        return length
    kind = "zero or a positive" if zero else "a positive"
    problem = f"{field} must be {kind} number of seconds or a timedelta; got {text_of(value)}"
    raise DefinitionError(workflow_id, problem, "", step_id)

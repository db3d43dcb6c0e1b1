"""Checks what a listing is asked for."""

from __future__ import annotations

from actorflow.errors import DefinitionError
from actorflow.lifecycle import RunStatus

__all__ = ["count", "run_status"]


def run_status(value: str) -> RunStatus:
    """Return the status that a text names.

    Raises:
        DefinitionError: When there is none.
    """
    try:
        return RunStatus(value)
    except ValueError:
        known = ", ".join(status.value for status in RunStatus)
        raise DefinitionError(
            None, f"status={value!r} is no run's status", f"Use one of: {known}"
        ) from None


def count(name: str, value: object) -> int:
    """Return a number of things.

    Raises:
        DefinitionError: When it is not a whole number, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DefinitionError(
            None, f"{name}={value!r} is not a whole number of at least 0", "Pass one"
        )
    return value

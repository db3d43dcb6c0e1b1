"""Checks what a listing is asked for."""

from __future__ import annotations

from actorflow.errors import DefinitionError
from actorflow.handles import Run
from actorflow.lifecycle import RunStatus
from actorflow.spelling import did_you_mean
from actorflow.texts import text_of

__all__ = ["count", "run_id_of", "run_status"]


def run_id_of(value: object, taker: str) -> str:
    """Return what can be the id of a run.

    Raises:
        DefinitionError: When it is no text: a `Run`, most likely.
    """
    if not isinstance(value, str):
        cure = "Pass its .id" if isinstance(value, Run) else "Pass the .id of a Run"
        raise DefinitionError(None, f"{taker} takes a run's id, not {text_of(value)}", cure)
    return value


def run_status(value: str) -> RunStatus:
    """Return the status that a text names.

    Raises:
        DefinitionError: When there is none.
    """
    try:
        return RunStatus(value)
    except ValueError:
        known = [status.value for status in RunStatus]
        cure = f"{did_you_mean(value, known)} Use one of: {', '.join(known)}".strip()
        raise DefinitionError(None, f"status={value!r} is no run's status", cure) from None


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

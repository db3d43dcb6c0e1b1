"""Checks of arguments: each returns the value, or refuses it with an error that names it.

A value that passes can be held by every state manager: strings by a database's text columns, whole
numbers by its 64-bit columns. For durations, see `durations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "LONGEST",
    "cure_of_text",
    "cure_of_whole",
    "event_page",
    "flag",
    "is_storable",
    "is_text",
    "is_whole",
    "one_of",
    "string",
    "whole",
]

_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
LONGEST: Final = 1024
"""How many bytes an id, a name or a key takes at most: databases limit what an index can hold."""
_UNSTORABLE: Final = "NUL and lone surrogates, which no database can hold"


def is_storable(value: str) -> bool:
    """Return whether a database can hold a string."""
    if "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_text(value: object, longest: int = LONGEST) -> TypeGuard[str]:
    """Return whether `value` is a string, not blank, that a database can hold as an id."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and is_storable(value)
        and _is_short(value, longest)
    )


def cure_of_text(value: object, longest: int = LONGEST) -> str:
    """Return the cure for a value that is refused by `is_text`."""
    if not isinstance(value, str) or not value.strip():
        return "Give a non-empty string"
    if not is_storable(value):
        return f"Leave out {_UNSTORABLE}"
    return _shorter(value, longest)


def _is_short(value: str, longest: int = LONGEST) -> bool:
    """Return whether a string that a database can hold is short enough for an id."""
    return len(value) * 4 <= longest or len(value.encode()) <= longest


def _shorter(value: str, longest: int) -> str:
    return f"Shorten it: it takes {len(value.encode()):,} bytes, and the limit is {longest:,}"


def is_whole(value: object, least: int = _LEAST) -> TypeGuard[int]:
    """Return whether `value` is a whole number from `least` on that fits into 64 bits."""
    # bool is an int, and `limit=True` is never meant as 1.
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST


def cure_of_whole(value: object, least: int | None = None) -> str:
    """Return the cure for a value that is refused by `is_whole`."""
    return f"Give {_wanted(value, least)}"


def _wanted(value: object, least: int | None) -> str:
    too_long = isinstance(value, int) and not _LEAST <= value <= _MOST
    if least is None:
        return f"a whole number{' of at most 64 bits' * too_long}"
    return f"a whole number, {least} or more{', of at most 64 bits' * too_long}"


def whole(
    value: object, name: str, *, least: int | None = None, workflow_id: str | None = None
) -> int:
    """Return a whole number of at most 64 bits.

    Args:
        value: The number.
        name: Its name in the error.
        least: The least that it may be.
        workflow_id: The workflow that it belongs to, for the error.

    Raises:
        DefinitionError: When it is of another type, less than `least`, or too large.
    """
    if is_whole(value, _LEAST if least is None else least):
        return value
    problem = f"{name} must be {_wanted(value, least)}; got {text_of(value)}"
    raise DefinitionError(workflow_id, problem, "")


def string(
    value: object,
    name: str,
    cure: str = "Pass one",
    *,
    empty: bool = True,
    longest: int | None = None,
    workflow_id: str | None = None,
) -> str:
    """Return a string that a database can hold.

    Args:
        value: The string.
        name: Its name in the error.
        cure: What to pass instead of a value that is not a string.
        empty: Whether it may be empty.
        longest: How many bytes it may take at most.
        workflow_id: The workflow that it belongs to, for the error.

    Raises:
        DefinitionError: When it is of another type, empty though it must not be, too long, or
            contains NUL or lone surrogates.
    """
    if not isinstance(value, str) or not (value or empty):
        problem = f"{name}={text_of(value)} is not a string{'' if empty else ', or is empty'}"
        raise DefinitionError(workflow_id, problem, cure)
    if not is_storable(value):
        problem = f"{name}={text_of(value)} contains {_UNSTORABLE}"
        raise DefinitionError(workflow_id, problem, "Leave these characters out")
    if longest is not None and not _is_short(value, longest):
        problem = f"{name}={text_of(value)} is too long"
        raise DefinitionError(workflow_id, problem, _shorter(value, longest))
    return value


def one_of(
    value: Any, name: str, choices: Collection[str], *, workflow_id: str | None = None
) -> Any:
    """Return one of several strings.

    Args:
        value: The string.
        name: Its name in the error.
        choices: What it may be.
        workflow_id: The workflow that it belongs to, for the error.

    Raises:
        DefinitionError: When it is none of them.
    """
    # Other types may answer a comparison with anything, as arrays do.
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(f'"{each}"' for each in choices)
    problem = f"{name} must be one of {listed}; got {text_of(value)}"
    raise DefinitionError(workflow_id, problem, did_you_mean(value, choices).strip())


def flag(value: Any, name: str) -> bool:
    """Return True or False.

    Raises:
        DefinitionError: When it is something else.
    """
    if not isinstance(value, bool):
        raise DefinitionError(None, f"{name} must be True or False; got {text_of(value)}", "")
    return value


def event_page(after: object, limit: object) -> None:
    """Check which events of a run are wanted.

    Raises:
        DefinitionError: When one is not a whole number, or negative.
    """
    whole(after, "after", least=0)
    if limit is not None:
        whole(limit, "limit", least=0)

"""Attributes of runs: names with plain values, by which people find runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from actorflow.definition.arguments import is_storable, is_whole
from actorflow.errors.definition import DefinitionError
from actorflow.support.read_only import NOTHING, ReadOnly
from actorflow.support.safe_text import text_of

__all__ = ["Attribute", "Key", "attributes_of", "changes_of", "checked_name", "key_of", "merged"]

Attribute: TypeAlias = str | int | float | bool
Key: TypeAlias = tuple[str, str]
"""The type of a value, and the value as a string; equal for equal values of one type."""

MOST: Final = 64
"""How many attributes a run may have."""
_LARGEST: Final = 4_096
"""How many bytes the names and values of a run's attributes may take in all."""
# PostgreSQL indexes rows of at most 2,704 bytes.
_LONGEST_NAME: Final = 128
_LONGEST_VALUE: Final = 1_024


def attributes_of(value: object, workflow_id: str | None = None) -> Mapping[str, Attribute]:
    """Return the attributes that a run is started with.

    Args:
        value: The attributes; None for none.
        workflow_id: The workflow of the run, for the error.

    Raises:
        DefinitionError: When a name or a value is invalid, or there are too many.
    """
    if value is None:
        return NOTHING
    given = {
        checked_name(name, workflow_id): _checked(name, item, workflow_id)
        for name, item in _mapping(value, workflow_id).items()
    }
    _check_size(given, workflow_id, "")
    return ReadOnly(given) if given else NOTHING


def changes_of(value: object) -> Mapping[str, Attribute | None]:
    """Return changes of a run's attributes, in which None removes one.

    Raises:
        DefinitionError: When a name or a value is invalid.
    """
    return {
        checked_name(name): None if item is None else _checked(name, item)
        for name, item in _mapping(value, None).items()
    }


def merged(
    run_id: str, known: Mapping[str, Attribute], changes: Mapping[str, Attribute | None]
) -> Mapping[str, Attribute]:
    """Return a run's attributes after changes.

    Raises:
        DefinitionError: When they are then too many or too large.
    """
    both = {**known, **changes}
    kept = {name: value for name, value in both.items() if value is not None}
    _check_size(kept, None, f" of run {run_id!r}")
    return ReadOnly(kept)


def key_of(value: Attribute) -> Key:
    """Return what a value is compared by: 1 and 1.0 are equal, 1, True and "1" are not."""
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, str):
        return "string", value
    whole = isinstance(value, float) and value.is_integer() and is_whole(int(value))
    return "number", repr(int(value) if whole else value)


def checked_name(name: object, workflow_id: str | None = None) -> str:
    """Return the name of an attribute.

    Raises:
        DefinitionError: When it is not a string, empty, or too long.
    """
    if not isinstance(name, str) or not name:
        problem = f"attributes has the name {text_of(name)}, which is not a string, or is empty"
        raise DefinitionError(workflow_id, problem, "Name each attribute by a non-empty string")
    _check_string(f"the name {text_of(name)} of an attribute", name, _LONGEST_NAME, workflow_id)
    return str.__str__(name)


def _mapping(value: object, workflow_id: str | None) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        problem = f"attributes={text_of(value)} is not a mapping"
        raise DefinitionError(workflow_id, problem, 'Pass values by name: {"tenant": "acme"}')
    return value


def _checked(name: object, value: object, workflow_id: str | None = None) -> Attribute:
    """Return a value as one of the four types exactly, without those of subclasses such as enums.

    Raises:
        DefinitionError: When it is of another type, not finite, or too large.
    """
    said = f"attribute {text_of(name)} is {text_of(value)}, which"
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_string(f"attribute {text_of(name)}", value, _LONGEST_VALUE, workflow_id)
        return str.__str__(value)
    if isinstance(value, int):
        if not is_whole(value):
            raise DefinitionError(workflow_id, f"{said} has more than 64 bits", "Pass a string")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DefinitionError(workflow_id, f"{said} is not finite", "Leave it out")
        return float(value)
    problem = f"{said} is neither a string nor a number nor a bool"
    raise DefinitionError(workflow_id, problem, "Pass one of these; other data is metadata")


def _check_string(said: str, value: str, most: int, workflow_id: str | None) -> None:
    if not is_storable(value):
        problem = f"{said} contains NUL or lone surrogates, which no database can hold"
        raise DefinitionError(workflow_id, problem, "Leave these characters out")
    size = len(value.encode())
    if size > most:
        problem = f"{said} takes {size:,} bytes; the limit is {most:,}"
        raise DefinitionError(workflow_id, problem, "Shorten it; long values are metadata")


def _check_size(given: Mapping[str, Attribute], workflow_id: str | None, of: str) -> None:
    if len(given) > MOST:
        problem = f"there are {len(given)} attributes{of}; the limit is {MOST}"
        raise DefinitionError(workflow_id, problem, "Keep those that runs are found by")
    size = sum(len(name.encode()) + len(key_of(value)[1].encode()) for name, value in given.items())
    if size > _LARGEST:
        problem = f"the attributes{of} take {size:,} bytes; the limit is {_LARGEST:,}"
        raise DefinitionError(workflow_id, problem, "Keep those that runs are found by")

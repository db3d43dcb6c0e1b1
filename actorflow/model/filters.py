"""Filters: which runs a listing or a count is about, and which page of them.

The arguments of a listing are checked here once, for the orchestrator and for the state managers.
A page begins where its offset says, or after the run that a cursor names. A cursor holds
the position of a run in the order of all listings, newest first; later runs come before it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypedDict

import attrs

from actorflow.definition.arguments import flag, is_storable, string, whole
from actorflow.definition.workflow import Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.model.attributes import Attribute, Key, attributes_of, checked_name, key_of
from actorflow.model.lifecycle import RunStatus
from actorflow.support.read_only import NOTHING
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import did_you_mean, refuse_unknown_options

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RunFilters", "RunListing", "RunQuery", "columns_of", "cursor_of", "next_cursor"]

Position = tuple[float, str]
"""When a run was accepted, and its id."""


class RunFilters(TypedDict, total=False):
    """The filters of a listing or a count; a run must match all that are given."""

    status: RunStatus | str | Collection[RunStatus | str] | None
    """One status, or several of which a run has one."""
    workflow_id: str | None
    workflow_version: str | None
    trace_id: str | None
    correlation_id: str | None
    business_id: str | None
    attributes: Mapping[str, Attribute | Collection[Attribute]] | None
    """Attributes that a run has, by name; of several values for a name, it has one. Numbers are
    compared as numbers: 1 finds 1.0, but neither True nor "1". At most 16 names, with at most 1,000
    values each.
    """
    created_after: datetime | float | None
    """A time: a `datetime` with a time zone, or seconds since the epoch. A time itself belongs to
    what is after it, so two listings that meet at a time have no run in common.
    """
    created_before: datetime | float | None
    finished_after: datetime | float | None
    """As above; a run that has not ended matches neither this nor the next."""
    finished_before: datetime | float | None
    error: str | None
    """The name of the error's class, with or without its module; or a part of the error's text, in
    which case counts.
    """
    parked: bool | None
    """Whether no orchestrator takes the run, although it has not ended."""
    waiting: bool | None
    """Whether the run waits for something outside."""
    paused: bool | None
    """Whether the run is paused."""
    parent_run_id: str | None
    """The run whose steps have started the run: this finds the children of a run."""
    root_run_id: str | None
    """The first run of the family that the run belongs to; it matches itself as well."""
    owner: str | None
    """The owner that has the run in progress, as `actorflow runs stats` shows it."""


class RunListing(RunFilters, total=False):
    """The filters of a listing, and the page of it."""

    limit: int
    """The maximum number of runs in the page; 50 by default."""
    offset: int
    """How many runs to skip; 0 by default."""
    cursor: str | None
    """The `next_cursor` of the page before this one, of a listing with the same filters."""


_EQUAL: Final = (
    "workflow_id",
    "workflow_version",
    "trace_id",
    "correlation_id",
    "business_id",
    "parent_run_id",
    "root_run_id",
    "owner",
)
_TIMES: Final = ("created_after", "created_before", "finished_after", "finished_before")
_FLAGS: Final = ("parked", "waiting", "paused")
_FIRST: Final = ("status", "workflow_id", "trace_id", "correlation_id", "business_id")
"""The filters that every state manager takes."""
_BY: Final = ("status", "workflow_id", "workflow_version")


@attrs.frozen(kw_only=True)
class RunQuery:
    """The checked arguments of a listing; None where there is no filter."""

    status: frozenset[RunStatus] | None
    attributes: Mapping[str, frozenset[Key]]
    equal: Mapping[str, str]
    """The strings that columns must be equal to, by column."""
    times: Mapping[str, float]
    """The bounds of times in seconds since the epoch, by filter."""
    error: str | None
    flags: Mapping[str, bool]
    """Whether columns must have a value, by column."""
    limit: int
    offset: int
    after: Position | None
    """The position of the run before the page."""
    asked: Mapping[str, Any]
    """The filters that were given, for a state manager."""

    @classmethod
    def of(cls, asked: Mapping[str, Any], kind: Any = RunListing) -> RunQuery:
        """Return the query for the arguments of a listing, or with `RunFilters` of a count.

        Raises:
            DefinitionError: When one is invalid.
            TypeError: When one does not exist.
        """
        taker = "list()" if kind is RunListing else "count()"
        refuse_unknown_options(taker, asked, tuple(kind.__annotations__))
        given = {name: value for name, value in asked.items() if value is not None}
        for name in {"limit", "offset"} & asked.keys():
            given[name] = whole(asked[name], name, least=0)
        cursor = _position(given["cursor"]) if "cursor" in given else None
        if cursor is not None and given.get("offset"):
            raise DefinitionError(None, "cursor and offset both say where to begin", "Pass one")
        given |= {name: _time(name, given[name]) for name in _TIMES if name in given}
        status = _statuses(given["status"]) if "status" in given else None
        if status is not None:
            given["status"] = next(iter(status)) if len(status) == 1 else status
        return cls(
            status=status,
            attributes=_attributes(given.get("attributes", NOTHING)),
            equal={name: _string(name, given[name]) for name in _EQUAL if name in given},
            times={name: given[name] for name in _TIMES if name in given},
            error=_error(given["error"]) if "error" in given else None,
            flags={name: flag(given[name], name) for name in _FLAGS if name in given},
            limit=given.get("limit", _LIMIT),
            offset=given.get("offset", 0),
            after=cursor,
            asked=given,
        )

    def first(self) -> dict[str, Any]:
        """Return the arguments of a listing that every state manager takes, None included."""
        return {
            "limit": self.limit,
            "offset": self.offset,
            **{name: self.asked.get(name) for name in _FIRST},
        }

    def later(self) -> dict[str, Any]:
        """Return the arguments that were given and that a state manager may not know."""
        several = {"status": self.status} if isinstance(self.asked.get("status"), frozenset) else {}
        rest = {name: self.asked[name] for name in self.asked if name not in self.first()}
        return several | rest


_LIMIT: Final = 50
_MOST_NAMES: Final = 16
"""How many attributes a filter may name: a database joins a table for each of them."""
_MOST_VALUES: Final = 1_000
"""How many values a filter may give for each of them."""
_EARLIEST: Final = -62_135_596_800.0
"""The begin of the year 1, in seconds since the epoch; the next is the end of the year 9999."""
_LATEST: Final = 253_402_300_799.0


def columns_of(by: object) -> tuple[str, ...]:
    """Return the columns by which runs are counted.

    Raises:
        DefinitionError: When there are none, or one is unknown or given twice.
    """
    names: tuple[Any, ...] = (by,) if isinstance(by, str) else _tuple(by)
    for name in names:
        if name not in _BY:
            cure = f"{did_you_mean(name, _BY)} Use one or more of {', '.join(_BY)}".strip()
            problem = f"by={text_of(by)}: runs cannot be counted by {text_of(name)}"
            raise DefinitionError(None, problem, cure)
    if not names or len(set(names)) < len(names):
        problem = f"by={text_of(by)} must name columns, each of them once"
        raise DefinitionError(None, problem, f"Use one or more of {', '.join(_BY)}")
    return names


def _tuple(by: object) -> tuple[Any, ...]:
    if isinstance(by, (tuple, list)):
        return tuple(by)
    problem = f"by={text_of(by)} is neither the name of a column nor a tuple of such names"
    raise DefinitionError(None, problem, f"Use one or more of {', '.join(_BY)}")


def cursor_of(created_at: float, run_id: str) -> str:
    """Return the cursor of the page that begins after a run."""
    text = json.dumps([created_at, run_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def next_cursor(page: Sequence[Any], *, more: bool) -> str | None:
    """Return the cursor of the page that follows, if there are more runs.

    Args:
        page: The runs of this page, or their records.
        more: Whether there are runs after it.
    """
    return cursor_of(page[-1].created_at, page[-1].run_id) if page and more else None


def _position(cursor: object) -> Position:
    try:
        if isinstance(cursor, str):
            padded = cursor + "=" * (-len(cursor) % 4)
            created_at, run_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
            if isinstance(run_id, str) and is_storable(run_id):
                return _seconds("cursor", created_at), run_id
    except (ValueError, TypeError, RecursionError):
        pass
    problem = f"cursor={text_of(cursor)} is not the cursor of a page"
    raise DefinitionError(None, problem, "Pass the next_cursor of the page before as it is")


def _statuses(value: Any) -> frozenset[RunStatus]:
    if isinstance(value, str) or not isinstance(value, Collection) or isinstance(value, Mapping):
        return frozenset({_status(value)})
    return frozenset(map(_status, _some("status", value)))


def _some(name: str, values: Any) -> Any:
    if not values:
        problem = f"{name} has no values to choose from, so no run would match"
        raise DefinitionError(None, problem, "Name one, or leave the filter out")
    return values


def _status(value: Any) -> RunStatus:
    known = [status.value for status in RunStatus]
    if isinstance(value, str) and value in known:
        return RunStatus(value)
    cure = f"{did_you_mean(value, known)} Use one of: {', '.join(known)}".strip()
    raise DefinitionError(None, f"status={text_of(value)} is not a run status", cure)


def _string(name: str, value: object) -> str:
    workflow = name == "workflow_id" and isinstance(value, Workflow)
    return string(value, name, "Pass its .id" if workflow else "Pass one")


def _error(value: object) -> str:
    cure = "Pass the name of its class, or a part of its text"
    return string(value, "error", cure, empty=False)


def _attributes(value: object) -> Mapping[str, frozenset[Key]]:
    if not isinstance(value, Mapping):
        attributes_of(value)  # which refuses it
        return {}
    if len(value) > _MOST_NAMES:
        problem = f"attributes has {len(value):,} names to filter by; the limit is {_MOST_NAMES}"
        raise DefinitionError(None, problem, "Filter by those that tell the runs apart")
    return {checked_name(name): _keys(name, wanted) for name, wanted in value.items()}


def _keys(name: str, wanted: object) -> frozenset[Key]:
    several = isinstance(wanted, (list, tuple, set, frozenset))
    each: Any = _some(f"attribute {text_of(name)}", wanted) if several else (wanted,)
    if len(each) > _MOST_VALUES:
        problem = f"attribute {text_of(name)} has {len(each):,} values to choose from"
        cure = f"List the runs of {_MOST_VALUES} of them at a time"
        raise DefinitionError(None, problem, cure)
    return frozenset(key_of(attributes_of({name: value})[name]) for value in each)


def _time(name: str, value: object) -> float:
    if not isinstance(value, datetime):
        return _seconds(name, value)
    if value.tzinfo is None or value.utcoffset() is None:
        problem = f"{name}={text_of(value)} has no time zone"
        raise DefinitionError(None, problem, "Use an aware datetime, such as datetime.now(UTC)")
    return value.timestamp()


def _seconds(name: str, value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and _EARLIEST <= value <= _LATEST:  # which is not so of NaN
        return float(value)
    problem = f"{name}={text_of(value)} is not a time"
    cure = "Pass a datetime with a time zone, or seconds since the epoch, of the years 1 to 9999"
    raise DefinitionError(None, problem, cure)

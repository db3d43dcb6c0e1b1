"""The options that say which runs a command is about: `--status`, `--since` and so on."""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
import typer

from actorflow.cli.terminal.exits import Problem
from actorflow.definition.arguments import is_whole
from actorflow.model.lifecycle import RunStatus
from actorflow.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.model.records import RunSnapshot
    from actorflow.state.sql import SQLStateManager

__all__ = ["Filters", "age", "takes_filters"]

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PAGE: Final = 500
_TIME: Final = "An age such as 90m, 12h or 30d, or a time such as 2026-01-31T08:00, in UTC."


def _text(metavar: str, help_: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help_, show_default=False)


_Id = Annotated[str | None, _text("TEXT", "Only runs started with this id.")]
_Since = Annotated[str | None, _text("WHEN", f"Only runs accepted since then. {_TIME}")]
_Until = Annotated[str | None, _text("WHEN", "Only runs accepted before then.")]
_EndedSince = Annotated[str | None, _text("WHEN", "Only runs that ended since then.")]
_EndedUntil = Annotated[str | None, _text("WHEN", "Only runs that ended before then.")]


@attrs.frozen(kw_only=True)
class Filters:
    """The filters as typed; a run must match all of them."""

    status: Annotated[
        list[RunStatus] | None,
        typer.Option(
            metavar="STATUS",
            help=f"Only runs with this status ({', '.join(RunStatus)}); may be repeated.",
            case_sensitive=False,
            show_default=False,
        ),
    ] = None
    workflow: Annotated[str | None, _text("ID", "Only runs of this workflow.")] = None
    workflow_version: Annotated[
        str | None, _text("TEXT", "Only runs of this version of their workflow.")
    ] = None
    trace_id: _Id = None
    correlation_id: _Id = None
    business_id: _Id = None
    attribute: Annotated[
        list[str] | None,
        _text("NAME=VALUE", "Only runs with this attribute; may be repeated."),
    ] = None
    since: _Since = None
    until: _Until = None
    ended_since: _EndedSince = None
    ended_until: _EndedUntil = None
    error: Annotated[
        str | None,
        _text("TEXT", "Only runs whose error is of this class, or has this in its text."),
    ] = None
    owner: Annotated[
        str | None, _text("ID", "Only runs that this owner has in progress; see `runs stats`.")
    ] = None
    parent: Annotated[
        str | None, _text("RUN", "Only children of this run: runs that its steps have started.")
    ] = None
    root: Annotated[
        str | None, _text("RUN", "Only runs of the family that began with this run, and itself.")
    ] = None
    parked: Annotated[
        bool, typer.Option("--parked", help="Only runs that no orchestrator takes.")
    ] = False
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only runs that wait for something outside.")
    ] = False
    paused: Annotated[bool, typer.Option("--paused", help="Only paused runs.")] = False

    @property
    def given(self) -> bool:
        """Whether there is a filter."""
        return self != Filters()

    def asked(self) -> dict[str, Any]:
        """Return the filters for a state manager.

        Raises:
            Problem: When one is malformed.
        """
        times = {
            "created_after": ("--since", self.since),
            "created_before": ("--until", self.until),
            "finished_after": ("--ended-since", self.ended_since),
            "finished_before": ("--ended-until", self.ended_until),
        }
        names = ("trace_id", "correlation_id", "business_id", "workflow_version", "error", "owner")
        asked = {name: getattr(self, name) for name in names}
        asked |= {name: _moment(*typed) for name, typed in times.items()}
        asked |= {name: getattr(self, name) or None for name in ("parked", "waiting", "paused")}
        asked |= {"status": self.status or None, "workflow_id": self.workflow}
        asked |= {"parent_run_id": self.parent, "root_run_id": self.root}
        asked["attributes"] = _attributes(self.attribute or ())
        return {name: value for name, value in asked.items() if value is not None}

    def found(self, state: SQLStateManager, **more: Any) -> Iterator[RunSnapshot]:
        """Yield all runs that match, newest first, loading one page at a time."""
        asked, cursor = self.asked() | more, None
        while True:
            page = state.list(**asked, limit=_PAGE, cursor=cursor)
            yield from page.runs
            cursor = page.next_cursor
            if cursor is None:
                return


def takes_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Filters`; it gets them as its parameter `filters`."""
    own = inspect.signature(command, eval_str=True).parameters
    options = inspect.signature(Filters, eval_str=True).parameters

    @functools.wraps(command)
    def taking(**typed: Any) -> None:
        filters = Filters(**{name: typed.pop(name) for name in options})
        command(**typed, filters=filters)

    # typer reads the options from here.
    kept = [parameter for name, parameter in own.items() if name != "filters"]
    parameters = [*kept, *options.values()]
    setattr(taking, "__signature__", inspect.Signature(parameters))  # noqa: B010 - no type has it
    taking.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return taking


def age(option: str, text: str) -> float:
    """Return the seconds of an age.

    Raises:
        Problem: When it is not one.
    """
    found = _age(text)
    if found is None:
        raise Problem(f"{option} {text!r} is not an age. Type seconds, or 90m, 12h, 30d or 4w")
    return found


def _age(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", text.strip())
    return None if found is None else float(found[1]) * _UNITS[found[2]]


def _moment(option: str, text: str | None) -> float | None:
    """Return a time in seconds since the epoch."""
    if text is None:
        return None
    ago = _age(text)
    if ago is not None:
        clock = SystemClock()
        return clock.wall(clock.now()) - ago
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Problem(
            f"{option} {text!r} is neither an age nor a time. Type for example 90m, 12h or 30d, or "
            "2026-01-31 or 2026-01-31T08:00"
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _attributes(pairs: Sequence[str]) -> dict[str, list[str | int | float | bool]]:
    found: dict[str, list[str | int | float | bool]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            cure = "Type: --attribute NAME=VALUE"
            raise Problem(f"--attribute {pair!r} is not of the form NAME=VALUE. {cure}")
        if name in found:
            raise Problem(f"the attribute {name!r} is given twice. Pass it once.")
        found[name] = _meanings(value)
    return found


def _meanings(text: str) -> list[str | int | float | bool]:
    """Return the values that a program may have meant by what is typed: 7 and "7", for example."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    fits = isinstance(value, bool) or is_whole(value)
    if fits or (isinstance(value, float) and math.isfinite(value)):
        return [text, value]
    return [text]

"""Schedules as values: what a schedule is, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from actorflow.definition.arguments import LONGEST, cure_of_text, is_text, one_of
from actorflow.definition.durations import as_seconds, seconds
from actorflow.errors.definition import DefinitionError
from actorflow.support.read_only import NOTHING, ReadOnly
from actorflow.support.safe_text import text_of

__all__ = [
    "MISSED",
    "OVERLAPS",
    "Missed",
    "Overlap",
    "RecordedSchedule",
    "ScheduleDefinition",
    "ScheduleState",
    "checked_schedule_name",
]

Overlap: TypeAlias = Literal["skip", "queue", "cancel_running", "allow"]
Missed: TypeAlias = Literal["latest", "all", "none"]
OVERLAPS: Final = ("skip", "queue", "cancel_running", "allow")
MISSED: Final = ("latest", "all", "none")
_LONGEST: Final = LONGEST - 64
"""How many bytes a name takes at most; with a nominal time it makes an idempotency key."""
_SHORTEST: Final = 0.01
"""The shortest interval in seconds; a shorter one is a loop, not a schedule."""


def checked_schedule_name(value: object) -> str:
    """Return the name of a schedule.

    Raises:
        DefinitionError: When it is invalid.
    """
    if not is_text(value, _LONGEST):
        problem = f"schedule: name={text_of(value)} is not a name"
        raise DefinitionError(None, problem, cure_of_text(value, _LONGEST))
    return value


def _text(_owner: object, field: attrs.Attribute[str], value: object) -> None:
    if not is_text(value):
        problem = f"schedule: {field.name}={text_of(value)} is not a name"
        raise DefinitionError(None, problem, cure_of_text(value))


def _name(_owner: object, _field: attrs.Attribute[str], value: object) -> None:
    checked_schedule_name(value)


def _choice(known: tuple[str, ...]) -> Any:
    def check(_owner: object, field: attrs.Attribute[str], value: object) -> None:
        one_of(value, field.name, known)

    return check


def _seconds(_owner: object, field: attrs.Attribute[float], value: object) -> None:
    seconds(value, field.name, zero=True)


def _interval(_owner: object, field: attrs.Attribute[float | None], value: Any) -> None:
    if value is not None and seconds(value, field.name) < _SHORTEST:
        problem = f"{field.name} must be at least {_SHORTEST} seconds; got {text_of(value)}"
        raise DefinitionError(None, problem, "Repeat work without a pause in a loop of your own")


def _inputs(value: Any) -> Any:
    if value is None:
        return NOTHING
    return ReadOnly(value) if type(value) is dict else value


def _mapping(_owner: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        problem = f"{field.name}={text_of(value)} is not a mapping"
        raise DefinitionError(None, problem, "Pass values by name")


@attrs.frozen(kw_only=True)
class ScheduleDefinition:
    """When a schedule fires, and what then runs.

    Exactly one of `cron` and `every` is given.
    """

    name: str = attrs.field(validator=_name)
    workflow_id: str = attrs.field(validator=_text)
    workflow_version: str = attrs.field(validator=_text)
    cron: str | None = None
    """A cron expression of five fields, or of six, of which the first is seconds."""
    every: float | None = attrs.field(
        default=None, converter=attrs.converters.optional(as_seconds), validator=_interval
    )
    """Seconds between two nominal times, which are the multiples of it since the epoch."""
    tz: str = attrs.field(default="UTC", validator=_text)
    """The timezone of the cron expression, by its IANA name."""
    inputs: Mapping[str, Any] = attrs.field(default=NOTHING, converter=_inputs, validator=_mapping)
    """The inputs of each run."""
    overlap: Overlap = attrs.field(default="skip", validator=_choice(OVERLAPS))
    """What happens to a nominal time while the run of the last one is in progress."""
    catch_up: float = attrs.field(default=3600.0, converter=as_seconds, validator=_seconds)
    """Seconds after a nominal time for which it may still fire."""
    missed: Missed = attrs.field(default="latest", validator=_choice(MISSED))
    """Which of the late nominal times fire, within `catch_up`."""
    jitter: float = attrs.field(default=0.0, converter=as_seconds, validator=_seconds)
    """Firings are delayed by up to this many seconds, each by an amount of its own."""

    def __attrs_post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            given = "neither" if self.cron is None else "both"
            problem = f"schedule {self.name!r} needs either cron= or every=; got {given}"
            raise DefinitionError(self.workflow_id, problem, 'Pass cron="0 2 * * *" or every=60.0')
        if self.every is not None and self.tz != "UTC":
            problem = f"schedule {self.name!r} has every= and tz={self.tz!r}, but counts seconds"
            cure = "Omit tz=, or pass a cron expression for times of day"
            raise DefinitionError(self.workflow_id, problem, cure)


@attrs.frozen(kw_only=True)
class ScheduleState:
    """Where a schedule stands. All times are seconds since the epoch.

    Each nominal time up to `decided_until` is in exactly one place: it is counted in `fired`,
    `skipped` or `missed`, or is in `pending`, or is `queued`.
    """

    decided_until: float
    """The last nominal time that was decided; at first, the moment the schedule was made."""
    paused: bool = False
    pending: tuple[float, ...] = ()
    """Nominal times that fire, whose runs may not have been started yet."""
    queued: float | None = None
    """The nominal time that fires when the run in progress has ended."""
    requested: tuple[float, ...] = ()
    """Runs that a person asked for, by their nominal times; they are not counted."""
    last_at: float | None = None
    """The nominal time that fired last."""
    last_run_id: str | None = None
    """The run of `last_at`."""
    fired: int = 0
    skipped: int = 0
    """Nominal times that passed while the last run was in progress, or during a pause."""
    missed: int = 0
    """Nominal times that passed while nothing could fire them, and did not fire later."""


@attrs.frozen(kw_only=True)
class RecordedSchedule:
    """A schedule as a state manager keeps it."""

    definition: ScheduleDefinition
    state: ScheduleState
    revision: int
    """Changes with every write, for `KeepsSchedules.advance_schedule`."""

    def redefined(self, definition: ScheduleDefinition, now: float) -> ScheduleState:
        """Return where the schedule stands under another definition.

        Nominal times of a changed timetable that passed before the change do not fire.

        Args:
            definition: The definition that replaces this one.
            now: The time of the change, in seconds since the epoch.
        """
        if all(getattr(definition, it) == getattr(self.definition, it) for it in _TIMETABLE):
            return self.state
        return attrs.evolve(self.state, decided_until=max(self.state.decided_until, now))


_TIMETABLE: Final = ("cron", "every", "tz")
"""The fields of a definition that nominal times follow from."""

"""Changes of recorded schedules, as a program and the command line make them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.errors.definition import DefinitionError
from actorflow.schedules.firing import unpaused
from actorflow.schedules.times import timetable
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.powers import KeepsSchedules
    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState

__all__ = ["ScheduleBook", "next_time"]

_MOST: Final = 10_000
"""How many runs one backfill may start."""


class ScheduleBook:
    """Reads and changes schedules, also while others change them.

    Args:
        keeper: Keeps them.
        wall: Returns the time, in seconds since the epoch.
    """

    def __init__(self, keeper: KeepsSchedules, wall: Callable[[], float]) -> None:
        self.keeper: Final = keeper
        self.wall: Final = wall

    def pause(self, name: str) -> RecordedSchedule:
        """Let nothing fire until `unpause`."""
        return self._change(name, lambda it: attrs.evolve(it.state, paused=True))

    def unpause(self, name: str) -> RecordedSchedule:
        """Let it fire again; nominal times that passed during the pause count as skipped."""
        return self._change(
            name, lambda it: unpaused(timetable(it.definition), it.state, self.wall())
        )

    def request(self, name: str, times: Sequence[float]) -> RecordedSchedule:
        """Have runs started for these nominal times by an orchestrator that has the workflow."""

        def asked(recorded: RecordedSchedule) -> ScheduleState:
            requested = recorded.state.requested
            more = tuple(at for at in times if at not in requested)
            return attrs.evolve(recorded.state, requested=(*requested, *more))

        return self._change(name, asked)

    def nominal(self, definition: ScheduleDefinition, start: object, end: object) -> list[float]:
        """Return the nominal times from `start` on and before `end`.

        Raises:
            DefinitionError: When one is not a datetime with a timezone, `end` is not later than
                `start` or lies in the future, `start` is before 1970, or there are more than 10,000
                nominal times.
        """
        first, last = _moment("start", start), _moment("end", end)
        if not 0.0 <= first < last <= self.wall():
            problem = f"backfill from {start} to {end} is not a period that has passed since 1970"
            cure = "Let start be before end, and end not later than now"
            raise DefinitionError(definition.workflow_id, problem, cure)
        found: list[float] = []
        # A microsecond earlier, because the first moment counts.
        for at in timetable(definition).after(first - 1e-6):
            if at >= last:
                break
            if len(found) == _MOST:
                problem = f"backfill from {start} to {end} has more than {_MOST:,} nominal times"
                raise DefinitionError(definition.workflow_id, problem, "Divide the period")
            found.append(at)
        return found

    def _change(
        self, name: str, change: Callable[[RecordedSchedule], ScheduleState]
    ) -> RecordedSchedule:
        """Write what `change` returns for the schedule as it stands; again if it has changed."""
        while True:
            recorded = self.keeper.get_schedule(name)
            state = change(recorded)
            if state == recorded.state:
                return recorded
            if self.keeper.advance_schedule(name, recorded.revision, state):
                return self.keeper.get_schedule(name)


def next_time(recorded: RecordedSchedule) -> float | None:
    """Return the next nominal time of a schedule; None if it is paused or has none.

    It lies in the past if no orchestrator serves the schedule.
    """
    if recorded.state.paused:
        return None
    return next(timetable(recorded.definition).after(recorded.state.decided_until), None)


def _moment(name: str, value: object) -> float:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        problem = f"backfill: {name}={text_of(value)} is not a datetime with a timezone"
        raise DefinitionError(None, problem, "Pass for example datetime(2026, 1, 31, tzinfo=UTC)")
    return value.timestamp()

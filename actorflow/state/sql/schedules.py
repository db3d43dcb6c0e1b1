"""The part of a manager that keeps schedules; it loads no library for databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState
    from actorflow.state.sql.schedule_rows import ScheduleRows

__all__ = ["SQLSchedules"]


class SQLSchedules:
    """Keeps schedules in the database; a part of `SQLStateManager`.

    Each method runs one transaction on the calling thread, and raises `StoreUnavailable` when the
    database cannot be reached.
    """

    _schedules: ScheduleRows
    _check_process: Callable[[], None]

    def put_schedule(self, definition: ScheduleDefinition, now: float) -> RecordedSchedule:
        """Keep a schedule; an existing one of this name keeps its state.

        Raises:
            NotStorable: When an input cannot be stored.
            TooLarge: When the inputs are too large.
        """
        self._check_process()
        return self._schedules.put(definition, now)

    def get_schedule(self, name: str) -> RecordedSchedule:
        """Return a schedule.

        Raises:
            ScheduleNotFound: When there is none of this name.
        """
        return self._schedules.get(name)

    def list_schedules(self) -> Sequence[RecordedSchedule]:
        """Return all schedules, by name."""
        return self._schedules.list()

    def advance_schedule(self, name: str, revision: int, state: ScheduleState) -> bool:
        """Write a new state, if the schedule still has this revision; return whether it had."""
        self._check_process()
        return self._schedules.advance(name, revision, state)

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule. Its runs stay.

        Raises:
            ScheduleNotFound: When there is none of this name.
        """
        self._check_process()
        self._schedules.delete(name)

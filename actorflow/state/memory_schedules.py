"""Schedules in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actorflow.errors.storage import ScheduleNotFound
from actorflow.model.schedules import RecordedSchedule, ScheduleState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.schedules import ScheduleDefinition

__all__ = ["MemorySchedules"]


class MemorySchedules:
    """Keeps schedules in this process's memory; a part of `MemoryStateManager`."""

    def __init__(self) -> None:
        super().__init__()
        self._schedules: dict[str, RecordedSchedule] = {}
        self._schedules_lock = threading.RLock()
        self._revision = 0
        """The last revision of any schedule, so that none comes back."""

    def put_schedule(self, definition: ScheduleDefinition, now: float) -> RecordedSchedule:
        """Keep a schedule; an existing one of this name keeps its state."""
        with self._schedules_lock:
            known = self._schedules.get(definition.name)
            if known is not None and known.definition == definition:
                return known
            if known is None:
                return self._write(definition, ScheduleState(decided_until=now))
            return self._write(definition, known.redefined(definition, now))

    def get_schedule(self, name: str) -> RecordedSchedule:
        """Return a schedule."""
        try:
            return self._schedules[name]
        except KeyError:
            raise ScheduleNotFound(name, tuple(sorted(self._schedules))) from None

    def list_schedules(self) -> Sequence[RecordedSchedule]:
        """Return all schedules, by name."""
        with self._schedules_lock:
            return sorted(self._schedules.values(), key=lambda it: it.definition.name)

    def advance_schedule(self, name: str, revision: int, state: ScheduleState) -> bool:
        """Write a new state, if the schedule still has this revision."""
        with self._schedules_lock:
            known = self._schedules.get(name)
            if known is None or known.revision != revision:
                return False
            self._write(known.definition, state)
            return True

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule."""
        with self._schedules_lock:
            if self._schedules.pop(name, None) is None:
                raise ScheduleNotFound(name, tuple(sorted(self._schedules)))

    def _write(self, definition: ScheduleDefinition, state: ScheduleState) -> RecordedSchedule:
        self._revision += 1
        written = RecordedSchedule(definition=definition, state=state, revision=self._revision)
        self._schedules[definition.name] = written
        return written

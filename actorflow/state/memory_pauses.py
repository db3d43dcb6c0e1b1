"""Pauses of runs in memory, as a part of `MemoryStateManager`.

They are kept beside the runs: most runs are never paused, and pay nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from actorflow.errors.running import RunEnded
from actorflow.model.lifecycle import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorflow.model.events import Event
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.pausing import Pause
    from actorflow.model.powers import ChangePause
    from actorflow.model.records import RunRecord, RunSnapshot

__all__ = ["Kept", "MemoryPauses"]


class Kept(Protocol):
    """A run in memory."""

    record: RunRecord
    status: RunStatus

    @property
    def milestones(self) -> Sequence[Event]:
        """The events of the run itself."""

    def summary(self) -> RunSnapshot:
        """Return the run without its steps."""


@attrs.frozen
class _Kept:
    """A paused run in a listing."""

    record: RunRecord
    status: RunStatus
    milestones: Sequence[Event]
    summary: Callable[[], RunSnapshot]


class MemoryPauses:
    """Keeps pauses; a part of `MemoryStateManager`."""

    _lock: Any
    _entry: Callable[[str], Any]

    def __init__(self) -> None:
        super().__init__()
        self._pauses: dict[str, tuple[Pause, float, int]] = {}
        """The pauses, since when they last, and the number of the event before them, by run id;
        those of ended runs mean nothing.
        """

    def pause_run(self, run_id: str, pause: Pause, at: float) -> None:
        """Keep a pause, unless the run is paused.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
            RunEnded: When it has ended.
        """
        with self._lock:
            entry = self._in_progress(run_id, "paused")
            if self._pause_of(entry) is None:
                self._forget_pauses()
                last = entry.milestones[-1].number if entry.milestones else 0
                self._pauses[run_id] = pause, at, last

    def unpause_run(self, run_id: str) -> None:
        """End the pause of a run, if it is paused; it raises what `pause_run` does."""
        with self._lock:
            self._in_progress(run_id, "unpaused")
            self._pauses.pop(run_id, None)

    def listen_for_pauses(self, _change: ChangePause) -> Callable[[], None]:
        """Do nothing: no other process shares the runs."""
        return _nothing

    def _in_progress(self, run_id: str, what: str) -> Kept:
        entry: Kept = self._entry(run_id)
        if entry.status.terminal:
            raise RunEnded(run_id, entry.status.value, what)
        return entry

    def _forget_pauses(self, *ended: str) -> None:
        """Forget the pauses of runs that have ended, or of those that are resumed."""
        for run_id in ended or tuple(self._pauses):
            if ended or self._is_over(run_id):
                self._pauses.pop(run_id, None)

    def _is_over(self, run_id: str) -> bool:
        try:
            return bool(self._entry(run_id).status.terminal)
        except LookupError:
            return True

    def _pause_of(self, entry: Kept) -> tuple[Pause, float] | None:
        known = self._pauses.get(entry.record.run_id)
        if known is None or entry.status.terminal:
            return None
        pause, since, last = known
        return None if _is_lifted(entry.milestones, last) else (pause, since)

    def _with_pause(self, entry: Kept, snapshot: RunSnapshot) -> RunSnapshot:
        """Return the snapshot of a run with its pause."""
        known = self._pause_of(entry)
        if known is None:
            return snapshot
        pause, since = known
        return attrs.evolve(snapshot, paused=pause.reason, paused_since=since, frozen=pause.freeze)

    def _listed(self, entries: Iterable[Any]) -> list[Any]:
        """Return runs for a listing, with their pauses."""
        return [self._shown(it) if it.record.run_id in self._pauses else it for it in entries]

    def _shown(self, entry: Kept) -> _Kept:
        def summary() -> RunSnapshot:
            return self._with_pause(entry, entry.summary())

        return _Kept(entry.record, entry.status, entry.milestones, summary)


def _is_lifted(milestones: Sequence[Event], last: int) -> bool:
    """Return whether a cancellation has ended the pause that began after an event."""
    unpaused = EventKind.RUN_UNPAUSED
    return any(
        event.number > last and event.kind is unpaused and event.data.get("cancelled")
        for event in milestones
    )


def _nothing() -> None:
    """Stop nothing."""

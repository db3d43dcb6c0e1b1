"""Pauses in a simulated store: what `actorflow.state.sql.pausing` does in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from actorflow.errors.running import RunEnded
from actorflow.model.lifecycle import EventKind
from actorflow.model.pausing import Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorflow.model.events import Event
    from actorflow.testing.cluster.rows import RunRow
    from actorflow.testing.cluster.store import SharedStore

__all__ = ["Pauses", "Steered"]

_TELLS: Final = {EventKind.RUN_PAUSED: True, EventKind.RUN_UNPAUSED: False}


class Steered(NamedTuple):
    """A pause that began or ended in the store."""

    time: float
    run_id: str
    paused: bool
    """Whether it began."""
    events: int
    """How many events of all runs were recorded by then."""


class Pauses:
    """The pauses of a store's runs.

    Args:
        store: The store.
        now: Returns the moment, for the account of what happened.
    """

    def __init__(self, store: SharedStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self.changed: Final[list[Steered]] = []
        """All pauses and their ends, in order."""

    def change(self, run_id: str, pause: Pause | None) -> None:
        """Pause a run or end its pause, whoever owns it, and signal that to its owner.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When it has ended.
        """
        row = self._store.row(run_id)
        if row.ended:
            raise RunEnded(run_id, row.status.value, "unpaused" if pause is None else "paused")
        state = row.pause
        if (pause is None) is (state.reason is None):
            return
        if pause is None:
            self._postpone(row)
            state.reason = state.since = None
        else:
            state.reason, state.since = pause.reason, self._store.wall()
            # The owner may not have heard of the end of the pause before, which then goes on.
            state.frozen = state.frozen if state.heard else pause.freeze
        self._note(row)
        self._store.signal(row.owner)

    def _postpone(self, row: RunRow) -> None:
        """Move the deadline that an eviction has recorded, if the clocks of the run stand still."""
        state = row.pause
        if state.frozen and state.since is not None and row.deadline_at is not None:
            row.deadline_at += max(0.0, self._store.wall() - state.since)

    def _note(self, row: RunRow) -> None:
        paused = row.pause.reason is not None
        self.changed.append(Steered(self._now(), row.run_id, paused, len(self._store.log)))

    def note(self, row: RunRow, events: Iterable[Event]) -> None:
        """Note that an owner has recorded pauses and their ends."""
        state, told = row.pause, False
        for event in events:
            if event.step_id is None and event.kind in _TELLS:
                told, state.heard = True, _TELLS[event.kind]
                if event.data.get("cancelled") and state.reason is not None:
                    state.reason = state.since = None
                    self._note(row)
        if told and self._differs(row):
            self._store.signal(row.owner)

    @staticmethod
    def _differs(row: RunRow) -> bool:
        return (row.pause.reason is not None) is not row.pause.heard

    def unheard(self, owner: str) -> Sequence[tuple[str, Pause | None]]:
        """Return what an owner's events do not say yet: the runs, and their pauses."""
        found = []
        for row in self._store.rows.values():
            if row.owner == owner and self._differs(row) and not row.ended:
                state, pause = row.pause, None
                if state.reason is not None:
                    pause = Pause(reason=state.reason, freeze=state.frozen)
                found.append((row.run_id, pause))
        return found

    def may_be_taken(self, row: RunRow) -> bool:
        """Return whether a run is not paused, or has to end nevertheless."""
        state = row.pause
        if state.reason is None or row.asked is not None:
            return True
        overrun = row.deadline_at is not None and row.deadline_at <= self._store.wall()
        return overrun and not state.frozen

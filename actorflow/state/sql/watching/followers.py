"""The followers of runs, and where each of them last saw its run stand."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeAlias

from actorflow.model.lifecycle import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["Followers", "Position"]

Position: TypeAlias = "tuple[str, int, int]"
"""A run's status, its last event and its fencing token."""


class Follower:
    """One caller that follows one run."""

    __slots__ = ("_changed", "_saw", "run_id")

    def __init__(self, run_id: str, changed: Callable[[RunStatus | None], None]) -> None:
        self.run_id: str = run_id
        self._changed = changed
        self._saw: Position | str | None = ""

    def look(self, position: Position | None) -> None:
        """Tell the caller if the run does not stand where it last stood."""
        if position == self._saw:
            return
        self._saw = position
        with contextlib.suppress(Exception):  # one caller's fault must not stop the others
            self._changed(None if position is None else RunStatus(position[0]))


class Followers:
    """All followers of one state manager; usable from any thread."""

    def __init__(self) -> None:
        # Reentrant, because the garbage collector may close a stream at this moment.
        self._lock = threading.RLock()
        self._by_run: dict[str, tuple[Follower, ...]] = {}
        self._new: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._by_run)

    def add(self, run_id: str, changed: Callable[[RunStatus | None], None]) -> Follower:
        """Add a follower; its run is among the next ones to look at."""
        follower = Follower(run_id, changed)
        with self._lock:
            self._by_run[run_id] = (*self._by_run.get(run_id, ()), follower)
            self._new.add(run_id)
        return follower

    def remove(self, follower: Follower) -> None:
        """Remove a follower; a second call does nothing."""
        run_id = follower.run_id
        with self._lock:
            left = tuple(it for it in self._by_run.get(run_id, ()) if it is not follower)
            if left:
                self._by_run[run_id] = left
            else:
                self._by_run.pop(run_id, None)
                self._new.discard(run_id)

    def clear(self) -> None:
        """Remove all of them."""
        with self._lock:
            self._by_run.clear()
            self._new.clear()

    def to_look_at(self, changed: Collection[str] | None) -> list[str]:
        """Return the followed runs to look at: new ones, and those that have changed.

        Args:
            changed: The runs that may have changed; None if all may have.
        """
        with self._lock:
            new, self._new = self._new, set()
            if changed is None:
                return list(self._by_run)
            return [run_id for run_id in new.union(changed) if run_id in self._by_run]

    def look(self, run_ids: Collection[str], found: Mapping[str, Position]) -> None:
        """Tell followers how their runs stand, if that is news to them.

        Args:
            run_ids: The runs that were looked at.
            found: The positions of those that exist.
        """
        for run_id in run_ids:
            for follower in self._by_run.get(run_id, ()):
                follower.look(found.get(run_id))

"""What waits for the writer: any thread adds to it, one takes all there is."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from actorflow.errors.storage import StoreOverloaded
from actorflow.state.sql.writing.entries import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.state.sql.writing.entries import Entry

__all__ = ["EntryQueue"]

_LARGEST_GROUP: Final = 10_000
"""Events after which a group is written, so that no transaction is endless."""


class EntryQueue:
    """Entries in the order in which they came.

    Args:
        limit: How many events may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._never = threading.Event()
        self._waiting = 0
        self._under_way = 0
        self._closing = False
        self._taken = False
        """Whether somebody takes entries."""

    @property
    def closing(self) -> bool:
        """Whether what waits is the last there is."""
        return self._closing

    @property
    def waiting(self) -> int:
        """How many events are not written yet."""
        return self._waiting + self._under_way

    def put(self, entry: Entry, begin: Callable[[], None]) -> None:
        """Add an entry; when nobody takes them (any more), `begin` is called before that.

        Raises:
            StoreOverloaded: When too many events wait already.
        """
        with self._changed:
            if self.waiting >= self._limit:
                raise StoreOverloaded(self.waiting, self._limit)
            self._closing = False
            if not self._taken:
                begin()
                self._taken = True
            self._entries.append(entry)
            self._waiting += entry.size
            self._changed.notify_all()

    def take(self, end: Callable[[], None], patience: float | None) -> list[Entry] | None:
        """Wait for entries and return all of them, or None when there will be no more.

        A claim comes alone, and so does a search: what follows it depends on what it reads.

        Args:
            end: Called before it returns None, while nobody can add an entry.
            patience: Seconds after which it returns an empty list, if nothing has come.
        """
        with self._changed:
            self._under_way = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._entries or self._closing, patience)
            if not (self._entries or self._closing):
                return []
            if not self._entries:
                end()
                self._taken = False
                self._changed.notify_all()
                return None
            group = [self._pop()]
            while self._entries and self._joins(group[0]):
                group.append(self._pop())
            return group

    def _pop(self) -> Entry:
        entry = self._entries.popleft()
        self._waiting -= entry.size
        self._under_way += entry.size
        return entry

    def _joins(self, first: Entry) -> bool:
        alone = isinstance(first, ALONE) or isinstance(self._entries[0], ALONE)
        return not alone and self._under_way < _LARGEST_GROUP

    def settle(self, settled: Callable[[], bool]) -> None:
        """Wait until something is so, looked at whenever a group has been dealt with."""
        with self._changed:
            self._changed.wait_for(lambda: settled() or self._closing)

    def pause(self, seconds: float) -> None:
        """Wait for so long, whatever happens."""
        self._never.wait(seconds)

    def close(self, timeout: float) -> bool:
        """Let `take` return what there is, and then None; return whether that came to pass.

        It is not waited for when somebody else adds entries meanwhile.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not (self._taken and self._closing), timeout)

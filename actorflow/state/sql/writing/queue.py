"""The queue between the threads that record and the writer's thread."""

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
"""Events after which a group is full, so that no transaction is endless."""


class EntryQueue:
    """Entries in order of arrival.

    Args:
        limit: The maximum number of waiting events.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._never = threading.Event()
        self._waiting = 0
        self._in_group = 0
        self._closing = False
        self._has_taker = False
        """Whether a thread takes entries."""

    @property
    def closing(self) -> bool:
        """Whether the queue is being closed."""
        return self._closing

    @property
    def waiting(self) -> int:
        """The number of events that are not yet written."""
        return self._waiting + self._in_group

    def put(self, entry: Entry, begin: Callable[[], None]) -> None:
        """Add an entry; call `begin` first when no thread takes entries.

        Raises:
            StoreOverloaded: When too many events are waiting.
        """
        with self._changed:
            if self.waiting >= self._limit:
                raise StoreOverloaded(self.waiting, self._limit)
            self._closing = False
            if not self._has_taker:
                begin()
                self._has_taker = True
            self._entries.append(entry)
            self._waiting += entry.size
            self._changed.notify_all()

    def take(self, end: Callable[[], None], patience: float | None) -> list[Entry] | None:
        """Wait for entries and return a group of them, or None when the queue is closed and empty.

        A claim comes alone, and so does a search: what follows it depends on what it reads.

        Args:
            end: Called before None is returned, while no entry can be added.
            patience: Seconds after which an empty list is returned if there is no entry.
        """
        with self._changed:
            self._in_group = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._entries or self._closing, patience)
            if not (self._entries or self._closing):
                return []
            if not self._entries:
                end()
                self._has_taker = False
                self._changed.notify_all()
                return None
            group = [self._pop()]
            while self._entries and self._joins(group[0]):
                group.append(self._pop())
            return group

    def _pop(self) -> Entry:
        entry = self._entries.popleft()
        self._waiting -= entry.size
        self._in_group += entry.size
        return entry

    def _joins(self, first: Entry) -> bool:
        alone = isinstance(first, ALONE) or isinstance(self._entries[0], ALONE)
        return not alone and self._in_group < _LARGEST_GROUP

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` is true, checked after each group, or until the queue closes."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._closing)

    def pause(self, seconds: float) -> None:
        """Sleep for a number of seconds."""
        self._never.wait(seconds)

    def close(self, timeout: float) -> bool:
        """Close the queue; return whether the writer took everything and stopped within `timeout`.

        Returns early if another thread adds an entry, which reopens the queue.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not (self._has_taker and self._closing), timeout)

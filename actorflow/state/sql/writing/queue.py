"""Entries: requests that wait for the writer's thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from actorflow.errors.storage import StoreOverloaded, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actorflow.errors.storage import StoreError
    from actorflow.model.events import Event
    from actorflow.model.mail import Eviction
    from actorflow.model.powers import Taken
    from actorflow.model.protocols import Commit
    from actorflow.model.records import RunRecord
    from actorflow.support.oneshot import Once

__all__ = [
    "ALONE",
    "Claim",
    "Create",
    "CreateKeyed",
    "EncodedEvent",
    "Entry",
    "EntryQueue",
    "HandBack",
    "Take",
    "Write",
    "run_ids_of",
]

EncodedEvent: TypeAlias = "tuple[Event, bytes | None]"
"""An event whose output and error are strings already, and its other data as JSON."""


@attrs.frozen(kw_only=True, eq=False)
class Create:
    """An accepted run to insert."""

    record: RunRecord
    strings: Mapping[str, str | None]
    """The run's inputs, metadata and attributes, by column."""
    on_commit: Commit
    owned: bool = True
    """Whether this manager owns the run; otherwise any orchestrator can take it."""
    size: int = 1

    @property
    def run_ids(self) -> set[str]:
        """The run that this entry is about."""
        return {self.record.run_id}

    def done(self, lost: Mapping[str, StoreError]) -> None:
        """Report whether the run was recorded."""
        self.on_commit(lost.get(self.record.run_id))


@attrs.frozen(kw_only=True, eq=False)
class CreateKeyed(Create):
    """An accepted run with a key to insert, unless the runs that hold the key keep it out."""


@attrs.frozen(kw_only=True, eq=False)
class Write:
    """Events to record together."""

    events: Sequence[EncodedEvent]
    refused: Mapping[str, StoreError]
    """The runs whose events could not be serialized, and why."""
    on_commit: Commit
    not_recorded: Callable[[Mapping[str, StoreError]], BaseException]

    @property
    def size(self) -> int:
        """The number of events."""
        return len(self.events)

    @property
    def run_ids(self) -> set[str]:
        """The runs that this entry is about."""
        return {event.run_id for event, _ in self.events} | {*self.refused}

    def done(self, lost: Mapping[str, StoreError]) -> None:
        """Report which runs' events were not recorded, if any."""
        mine: dict[str, Any] = {it: lost[it] for it in self.run_ids if it in lost}
        self.on_commit(self.not_recorded(mine) if mine else None)


@attrs.frozen(kw_only=True, eq=False)
class Claim:
    """A run to take ownership of, so that it can go on here."""

    run_id: str
    on_commit: Commit
    size: int = 1

    @property
    def run_ids(self) -> set[str]:
        """The run that this entry is about."""
        return {self.run_id}

    def done(self, lost: Mapping[str, BaseException]) -> None:
        """Report whether the run was claimed."""
        self.on_commit(lost.get(self.run_id))


@attrs.frozen(kw_only=True, eq=False)
class HandBack:
    """A claimed run to give up, because it cannot go on here."""

    run_id: str
    parked: str | None = None
    """Why the run is parked, if it is."""
    eviction: Eviction | None = None
    """What the run waits for outside, if it waits."""
    size: int = 1

    @property
    def run_ids(self) -> set[str]:
        """Empty: no caller waits for the run."""
        return set()

    def done(self, _lost: Mapping[str, BaseException]) -> None:
        """Do nothing: no caller waits for this."""


@attrs.define(kw_only=True, eq=False)
class Take:
    """A search for unowned runs in progress that can go on here."""

    known: Collection[tuple[str, str]]
    """The id and version of each registered workflow."""
    besides: Collection[str]
    """Runs to leave out, because they run here already."""
    limit: int
    outcome: Once[Taken]
    size: int = 1
    taken: Taken | None = None
    error: StoreError | None = None

    @property
    def run_ids(self) -> set[str]:
        """Empty: no caller waits for a particular run."""
        return set()

    def done(self, _lost: Mapping[str, BaseException]) -> None:
        """Report the runs that were taken, or the error."""
        if self.taken is None:
            error = self.error or StoreUnavailable("look for runs", "it gave no reason")
            self.outcome.fail(error)
        else:
            self.outcome.set(self.taken)


Entry: TypeAlias = Create | Write | Claim | HandBack | Take
ALONE: Final = (Claim, CreateKeyed, HandBack, Take)
"""Entries that are never grouped with others, because what follows depends on what they read."""


def run_ids_of(group: Sequence[Entry]) -> set[str]:
    """Return the ids of the runs that a group is about."""
    return {run_id for entry in group for run_id in entry.run_ids}


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

        A claim comes alone, and so does a search: what follows it depends on what it reads. Runs
        that are handed back one after the other come together, but without other entries.

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
        following = self._entries[0]
        alone = isinstance(first, ALONE) or isinstance(following, ALONE)
        if isinstance(first, HandBack) and isinstance(following, HandBack):
            alone = False
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

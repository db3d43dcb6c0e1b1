"""Messages in a simulated store, and runs that wait for them without an owner.

It does what `actorflow.state.sql.message_rows` and `actorflow.state.sql.writing.handing_back` do in
a database.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from actorflow.errors.running import RunEnded
from actorflow.errors.storage import TooManyMessages
from actorflow.model.mail import MOST_MESSAGES, refused
from actorflow.testing.cluster.rows import NO_OWNER, Sleep
from actorflow.testing.simulation.mail import MessageTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.mail import Eviction, Mail
    from actorflow.testing.cluster.rows import RunRow
    from actorflow.testing.cluster.store import SharedStore

__all__ = ["Messages", "Slept"]


class Slept(NamedTuple):
    """An eviction: a run was handed back until there is news for it."""

    time: float
    run_id: str
    owner: str
    """The owner that evicted it."""
    seen: int
    """The number of the latest message that this owner knew."""
    wake_at: float | None
    """When it must go on without a message, by the clock of the store; None for never."""
    events: int
    """How many events of all runs were recorded by then."""


class Messages:
    """The messages of a store's runs, and the runs that sleep until there is one.

    Args:
        store: The store.
        now: Returns the moment, for the account of what happened.
    """

    def __init__(self, store: SharedStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._lock = threading.Lock()  # a database numbers the messages of many threads as well
        self.sent: Final[list[MessageTrace]] = []
        """All messages, in order."""
        self.slept: Final[list[Slept]] = []
        """All evictions, in order."""

    def send(self, sender: str, run_id: str, mail: Mail) -> int | None:
        """Keep a message under the next number, signal it to the run's owner, return the number.

        Returns None if it was sent before.

        Args:
            sender: The owner that it is sent through, which needs no signal.
            run_id: The run.
            mail: The message; its number does not count.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When the run has ended.
            TooManyMessages: When it has been sent as many messages as it takes.
        """
        row = self._store.row(run_id)
        with self._lock:
            try:
                number = self._number(row, mail)
            except RunEnded:
                self._note(row, mail, None, refused=True)
                raise
            self._note(row, mail, number, refused=False)
            if number is None:
                return None
            row.mail.append(mail._replace(number=number))
            row.sleep = None
        if row.owner not in (sender, NO_OWNER):
            self._store.signal(row.owner)
        return number

    def _number(self, row: RunRow, mail: Mail) -> int | None:
        known = mail.id is not None and any(
            it.id == mail.id and it.name == mail.name for it in row.mail
        )
        if known:
            return None
        if row.ended:
            raise refused(row.run_id, row.status.value, mail.name)
        if len(row.mail) >= MOST_MESSAGES:
            raise TooManyMessages(row.run_id, MOST_MESSAGES)
        return len(row.mail) + 1

    def _note(self, row: RunRow, mail: Mail, number: int | None, *, refused: bool) -> None:
        about = row.run_id, mail.name, mail.payload, mail.id, number, refused
        self.sent.append(MessageTrace(*about, self._now(), len(self._store.log), 0))

    def read(self, run_id: str, after: int) -> Sequence[Mail]:
        """Return the messages of a run with a number above `after`."""
        row = self._store.rows.get(run_id)
        return () if row is None else row.mail[after:]

    def addressed(self, owner: str) -> Sequence[tuple[str, int]]:
        """Return the runs in progress of an owner that have messages, with the latest number."""
        return [
            (row.run_id, len(row.mail))
            for row in self._store.rows.values()
            if row.mail and row.owner == owner and not row.ended
        ]

    # ── Evictions ────────────────────────────────────────────────────────────────────────────

    def evict(self, owner: str, run_id: str, eviction: Eviction) -> None:
        """Hand a run back, and have it sleep unless there is news for it already."""
        row = self._store.rows.get(run_id)
        if row is None or row.owner != owner or row.ended:
            return
        row.deadline_at = eviction.deadline_at
        if len(row.mail) <= eviction.seen and row.asked is None:
            row.sleep = Sleep(eviction.waiting, self._store.wall(), eviction.wake_at)
            known = eviction.seen, eviction.wake_at, len(self._store.log)
            self.slept.append(Slept(self._now(), run_id, owner, *known))
        self._store.hand_back(owner, run_id, None)

    def wake_due(self) -> None:
        """End the sleep of the runs whose time has come."""
        for row in self._store.rows.values():
            if row.sleep is not None and row.sleep.is_over(self._store.wall()):
                row.sleep = None

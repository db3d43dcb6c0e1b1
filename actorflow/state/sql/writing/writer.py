"""The one thread that writes: group commit, and what is done when the database refuses.

It takes everything that waits, writes that in one transaction, and then tells whoever waits for
it, in the order in which they came. Nobody is told anything before the commit has returned.

A database that is locked, full, restarting or gone is tried again, at growing intervals. The
answer to a commit can be lost with the connection: so a group that is tried again is first looked
for, by its runs' owner, fencing token and last event, and not written twice. When `patience` has
passed, the runs of the group are lost: they end with a `StoreUnavailable`, and what else happens
to them is not recorded, because a record has no holes. From then on each group is tried once,
until one succeeds.

A group that the database refuses for good is written again run by run, so that one run's fault is
not another one's.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import (
    AlreadyStarted,
    LeaseHeld,
    LeaseLost,
    StoreError,
    StoreUnavailable,
)
from actorflow.model.protocols import Taken
from actorflow.state.sql.database.refusals import why
from actorflow.state.sql.writing.connection import Condition, LeasedConnection
from actorflow.state.sql.writing.entries import Claim, HandBack, Take, concerned
from actorflow.state.sql.writing.queue import EntryQueue
from actorflow.state.sql.writing.run_rows import Books

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from actorflow.state.sql.health import StoreHealth
    from actorflow.state.sql.ownership.leases import Lease
    from actorflow.state.sql.writing.entries import Entry
    from actorflow.state.sql.writing.group import Statements
    from actorflow.state.sql.writing.run_rows import Batch, Page

__all__ = ["Writer"]

_SHORTEST_REST: Final = 0.05
"""Seconds between two renewals of a lease at least, when they fail."""
_LAST_WORDS: Final = 5.0
"""Seconds that closing waits for what is still to be written."""


class Writer:
    """Writes entries in groups.

    Args:
        engine: Where to.
        statements: How.
        lease: How long what is written belongs to whoever writes.
        limit: How many events may wait.
        patience: Seconds for which a group is tried again.
        dealt_with: Called with each group when it is written, or lost, before anybody is told.
    """

    def __init__(
        self,
        engine: sa.Engine,
        statements: Statements,
        lease: Lease,
        *,
        limit: int,
        patience: float,
        dealt_with: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._statements = statements
        self._lease = lease
        self._dealt_with = dealt_with
        self._books = Books()
        self._thread: threading.Thread | None = None
        self._condition = Condition()
        self.queue: Final = EntryQueue(limit)
        self._patience = patience
        self._database = LeasedConnection(
            engine, lease, self._condition, pause=self.queue.pause, limit=self._limit
        )

    def health(self) -> StoreHealth:
        """Return how it goes."""
        return self._condition.health(self.queue.waiting)

    def put(self, entry: Entry) -> None:
        """Have an entry written.

        Raises:
            StoreOverloaded: When too many events wait already.
        """
        self.queue.put(entry, self._begin)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="actorflow store", daemon=True)
        self._thread.start()

    def settle(self, settled: Callable[[], bool]) -> None:
        """Wait until something is so, looked at whenever a group has been dealt with."""
        if threading.current_thread() is not self._thread:
            self.queue.settle(settled)

    def close(self) -> None:
        """Write what waits, and end; a later entry begins anew.

        Raises:
            StoreUnavailable: When the database has not answered for so long that it is left.
        """
        if not self.queue.close(_LAST_WORDS):
            raise StoreUnavailable("answer", f"its thread still waits after {_LAST_WORDS:g} s")

    # ── On the writer's thread ───────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while (group := self.queue.take(self._end, self._rest())) is not None:
            if not group or self._is_to_look():
                self._renew()
            if not group:
                continue
            lost = self._deal_with(group)
            self._books.lose(lost)
            self._books.tidy(group)
            self._dealt_with(group)
            for entry in group:
                with contextlib.suppress(Exception):  # whoever is told may be gone
                    entry.done(lost)

    def _rest(self) -> float | None:
        """Return the seconds after which the lease is to be renewed, if anybody needs it."""
        return max(self._lease.rest, _SHORTEST_REST) if self._books.pages else None

    def _is_to_look(self) -> bool:
        # A database that refuses is not asked for this, too: each answer may take a second.
        return bool(self._books.pages) and not self._lease.rest and self._condition.status == "ok"

    def _renew(self) -> None:
        """Renew the lease; end the runs here that were taken over, though nothing is written."""
        try:
            self._look_for_strayed()
        except Exception as error:  # noqa: BLE001 - a defect; who waits is to be served all the same
            self._database.disconnect()
            self._condition.failed(error)

    def _look_for_strayed(self) -> None:
        gone: list[str] = []

        def look(connection: sa.Connection) -> bool:
            fences = {run_id: page.fence for run_id, page in self._books.pages.items()}
            gone.extend(self._lease.strayed(connection, fences))
            return True

        if isinstance(self._database.attempt(look), SQLAlchemyError):
            return
        self._condition.recovered()
        self._books.lose({run_id: LeaseLost(run_id) for run_id in gone})
        self._lease.tell_lost(gone)

    def _end(self) -> None:
        """Let others have what is left, and hang up."""
        self._database.end()

    def _limit(self) -> float:
        return min(self._patience, _LAST_WORDS / 2) if self.queue.closing else self._patience

    def _deal_with(self, group: Sequence[Entry]) -> dict[str, StoreError]:
        """Write a group; return the runs of which it was not written, and why."""
        try:
            return self._put_down(group)
        except Exception as error:  # noqa: BLE001 - a defect; nobody may wait for ever
            return dict.fromkeys(concerned(group), _refused(error))

    def _put_down(self, group: Sequence[Entry]) -> dict[str, StoreError]:
        if isinstance(group[0], Claim):
            return self._claim(group[0].run_id)
        if isinstance(group[0], Take):
            return self._take(group[0])
        if isinstance(group[0], HandBack):
            return self._hand_back(group[0])
        batch, lost = self._books.enter(group)
        return lost | self._persist(batch) if batch else lost

    def _persist(self, batch: Batch) -> dict[str, StoreError]:
        statements, doubles = self._statements, dict[str, StoreError]()

        def write(connection: sa.Connection) -> bool:
            for run_id, earlier in statements.reserve(connection, batch).items():
                doubles[run_id] = AlreadyStarted(earlier)
            return statements.write(connection, _without(batch, doubles))

        def is_written(connection: sa.Connection) -> bool:
            return statements.is_written(connection, _without(batch, doubles))

        try:
            if self._database.transact(write, "record what has happened", unless=is_written):
                return doubles
            return doubles | self._without_strangers(_without(batch, doubles))
        except StoreUnavailable as error:
            return dict.fromkeys(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            if len(batch) == 1:
                return dict.fromkeys(batch, _refused(error))
            return self._one_by_one(batch)

    def _one_by_one(self, batch: Batch) -> dict[str, StoreError]:
        lost: dict[str, StoreError] = {}
        for run_id, change in batch.items():
            lost |= self._persist({run_id: change})
        return lost

    def _without_strangers(self, batch: Batch) -> dict[str, StoreError]:
        """Write what is still ours to write."""
        strangers: set[str] = set()

        def look(connection: sa.Connection) -> bool:
            strangers.update(self._statements.strangers(connection, batch))
            return True

        self._database.transact(look, "look for the runs' owners")
        if not strangers:
            error = StoreUnavailable("take all of a group", "it did not say which run it refused")
            return dict.fromkeys(batch, error)
        lost: dict[str, StoreError] = {run_id: LeaseLost(run_id) for run_id in strangers}
        ours = {run_id: change for run_id, change in batch.items() if run_id not in lost}
        return lost | self._persist(ours) if ours else lost

    def _claim(self, run_id: str) -> dict[str, StoreError]:
        held = False

        def claim(connection: sa.Connection) -> bool:
            nonlocal held
            page = self._statements.claim(connection, run_id)
            if page is None:
                held = self._statements.is_there(connection, run_id)
                return False
            self._books.turn(run_id, page)
            return True

        try:
            if self._database.transact(claim, "take up a run"):
                return {}
            return {run_id: LeaseHeld(run_id) if held else LeaseLost(run_id)}
        except StoreUnavailable as error:
            return {run_id: error}
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            return {run_id: _refused(error)}

    def _hand_back(self, entry: HandBack) -> dict[str, StoreError]:
        def hand_back(connection: sa.Connection) -> bool:
            self._statements.hand_back(connection, entry.run_id, entry.parked)
            return True

        self._books.pages.pop(entry.run_id, None)
        # If that fails, it stays this owner's, who finds it again.
        self._database.attempt(hand_back)
        return {}

    def _take(self, entry: Take) -> dict[str, StoreError]:
        pages: dict[str, Page] = {}
        parked: list[str] = []

        def take(connection: sa.Connection) -> bool:
            nonlocal pages, parked
            pages = self._statements.take(connection, entry)
            parked = self._statements.park(connection, entry)
            return True

        try:
            self._database.transact(take, "look for runs")
        except StoreUnavailable as error:
            entry.error = error
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            entry.error = _refused(error)
        else:
            for run_id, page in pages.items():
                self._books.turn(run_id, page)
            entry.taken = Taken(list(pages), parked)
        return {}


def _without(batch: Batch, doubles: Mapping[str, object]) -> Batch:
    if not doubles:
        return batch
    return {run_id: change for run_id, change in batch.items() if run_id not in doubles}


def _refused(error: BaseException) -> StoreError:
    refusal = StoreUnavailable("take it", why(error))
    refusal.__cause__ = error
    return refusal

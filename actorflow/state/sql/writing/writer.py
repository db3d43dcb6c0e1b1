"""The writer's thread: group commit, and the handling of database errors.

The thread takes everything that is waiting, writes it in one transaction, and then reports to the
callers in the order of their entries. Nothing is reported before the commit has returned.

When the database is locked, full, restarting or unreachable, a group is retried at growing
intervals. Because the answer to a commit can be lost with the connection, a retry first checks
whether the group was written, by the runs' owner, fencing token and last event, and does not write
it twice. When `patience` has passed, the runs of the group are lost: they end with a
`StoreUnavailable`, and nothing more of them is recorded, because a record must not have gaps. From
then on each group is tried only once, until one succeeds.

A group that fails with a permanent error is written again run by run, so that one run's fault does
not affect the others.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import (
    LeaseHeld,
    LeaseLost,
    StoreError,
    StoreUnavailable,
)
from actorflow.model.powers import Taken
from actorflow.state.sql.health import HealthMonitor
from actorflow.state.sql.transactions import describe
from actorflow.state.sql.writing.connection import LeasedConnection
from actorflow.state.sql.writing.open_runs import OpenRuns
from actorflow.state.sql.writing.queue import Claim, EntryQueue, HandBack, Take, run_ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from actorflow.state.sql.health import StoreHealth
    from actorflow.state.sql.leases import Lease
    from actorflow.state.sql.writing.group import Statements
    from actorflow.state.sql.writing.open_runs import Batch, OpenRun
    from actorflow.state.sql.writing.queue import Entry

__all__ = ["Writer"]

_SHORTEST_INTERVAL: Final = 0.05
"""The minimum number of seconds between two renewals of a lease when they fail."""
_CLOSING_TIMEOUT: Final = 5.0
"""Seconds for which closing waits for the remaining entries."""


class Writer:
    """Writes entries in groups.

    Args:
        engine: The engine to connect with.
        statements: The statements of the owner.
        lease: The owner's lease.
        limit: The maximum number of waiting events.
        patience: Seconds for which a group is retried.
        on_processed: Called with each group after it was written or lost, before callers are told.
        on_owning: Called after each group with whether the owner has runs in progress.
    """

    def __init__(
        self,
        engine: sa.Engine,
        statements: Statements,
        lease: Lease,
        *,
        limit: int,
        patience: float,
        on_processed: Callable[[Sequence[Entry]], None],
        on_owning: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._statements = statements
        self._lease = lease
        self._on_processed = on_processed
        self._on_owning = on_owning
        self._open_runs = OpenRuns()
        self._thread: threading.Thread | None = None
        self._health = HealthMonitor()
        self.queue: Final = EntryQueue(limit)
        self._patience = patience
        self._database = LeasedConnection(
            engine, lease, self._health, pause=self.queue.pause, limit=self._retry_seconds
        )

    def health(self) -> StoreHealth:
        """Return the health of the store."""
        return self._health.snapshot(self.queue.waiting)

    def put(self, entry: Entry) -> None:
        """Enqueue an entry.

        Raises:
            StoreOverloaded: When too many events are waiting.
        """
        self.queue.put(entry, self._begin)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="actorflow store", daemon=True)
        self._thread.start()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` is true, checked after each group; not on its own thread."""
        if threading.current_thread() is not self._thread:
            self.queue.wait_until(condition)

    def close(self) -> None:
        """Write what is waiting and stop the thread; a later entry starts it again.

        Raises:
            StoreUnavailable: When the database does not answer in time.
        """
        if not self.queue.close(_CLOSING_TIMEOUT):
            raise StoreUnavailable(
                "answer", f"its thread is still waiting after {_CLOSING_TIMEOUT:g} s"
            )

    # ── On the writer's thread ───────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while (group := self.queue.take(self._end, self._until_renewal())) is not None:
            if not group or self._renewal_is_due():
                self._renew()
            if not group:
                continue
            lost = self._process(group)
            self._open_runs.drop(lost)
            self._open_runs.forget_ended(group)
            self._on_processed(group)
            self._on_owning(bool(self._open_runs.runs))
            if self._open_runs.have_begun(group):
                self._lease.look_soon()  # a request that came before it went on is not heard yet
            for entry in group:
                with contextlib.suppress(Exception):  # the caller may be gone
                    entry.done(lost)

    def _until_renewal(self) -> float | None:
        """Return the seconds until the lease is due for renewal; None without runs in progress."""
        return max(self._lease.until_renewal, _SHORTEST_INTERVAL) if self._open_runs.runs else None

    def _renewal_is_due(self) -> bool:
        # A failing database is not asked for this as well: each answer may take a second.
        return (
            bool(self._open_runs.runs)
            and not self._lease.until_renewal
            and self._health.status == "ok"
        )

    def _renew(self) -> None:
        """Renew the lease, and end the runs here that another owner has taken over."""
        try:
            self._drop_lost_runs()
        except Exception as error:  # noqa: BLE001 - a defect must not stop the thread
            self._database.disconnect()
            self._health.failed(describe(error))

    def _drop_lost_runs(self) -> None:
        gone: list[str] = []

        def look(connection: sa.Connection) -> bool:
            fences = {run_id: run.fence for run_id, run in self._open_runs.runs.items()}
            gone.extend(self._lease.lost_runs(connection, fences))
            return True

        if isinstance(self._database.attempt(look), SQLAlchemyError):
            return
        self._health.recovered()
        self._open_runs.drop({run_id: LeaseLost(run_id) for run_id in gone})
        self._lease.cancel_lost(gone)

    def _end(self) -> None:
        """Release the lease and disconnect."""
        self._database.end()

    def _retry_seconds(self) -> float:
        return min(self._patience, _CLOSING_TIMEOUT / 2) if self.queue.closing else self._patience

    def _process(self, group: Sequence[Entry]) -> dict[str, StoreError]:
        """Write a group; return the runs that were not recorded, and why."""
        try:
            return self._write_group(group)
        except Exception as error:  # noqa: BLE001 - a defect must not leave callers waiting
            return dict.fromkeys(run_ids_of(group), _unavailable(error))

    def _write_group(self, group: Sequence[Entry]) -> dict[str, StoreError]:
        if isinstance(group[0], Claim):
            return self._claim(group[0].run_id)
        if isinstance(group[0], Take):
            return self._take(group[0])
        if isinstance(group[0], HandBack):
            return self._hand_back([one for one in group if isinstance(one, HandBack)])
        batch, lost = self._open_runs.apply(group)
        return lost | self._persist(batch) if batch else lost

    def _persist(self, batch: Batch) -> dict[str, StoreError]:
        statements, duplicates = self._statements, dict[str, StoreError]()

        def write(connection: sa.Connection) -> bool:
            duplicates.clear()
            duplicates.update(statements.admit(connection, batch))
            return statements.write(connection, _without(batch, duplicates))

        def is_written(connection: sa.Connection) -> bool:
            if len(duplicates) == len(batch):
                return False  # nothing was inserted, but a run may have got new inputs
            return statements.is_written(connection, _without(batch, duplicates))

        try:
            if self._database.transact(write, "record events", unless=is_written):
                return duplicates
            return duplicates | self._persist_owned(_without(batch, duplicates))
        except StoreUnavailable as error:
            return dict.fromkeys(batch, error)
        except Exception as error:  # noqa: BLE001 - no error may leave callers waiting
            if len(batch) == 1:
                return dict.fromkeys(batch, _unavailable(error))
            return self._one_by_one(batch)

    def _one_by_one(self, batch: Batch) -> dict[str, StoreError]:
        lost: dict[str, StoreError] = {}
        for run_id, change in batch.items():
            lost |= self._persist({run_id: change})
        return lost

    def _persist_owned(self, batch: Batch) -> dict[str, StoreError]:
        """Write the changes of the runs that this owner still owns."""
        not_owned: set[str] = set()

        def look(connection: sa.Connection) -> bool:
            not_owned.update(self._statements.not_owned(connection, batch))
            return True

        self._database.transact(look, "look up the owners of runs")
        if not not_owned:
            error = StoreUnavailable("write a whole group", "it did not say which run it rejected")
            return dict.fromkeys(batch, error)
        lost: dict[str, StoreError] = {run_id: LeaseLost(run_id) for run_id in not_owned}
        ours = {run_id: change for run_id, change in batch.items() if run_id not in lost}
        return lost | self._persist(ours) if ours else lost

    def _claim(self, run_id: str) -> dict[str, StoreError]:
        refused: StoreError = LeaseLost(run_id)

        def claim(connection: sa.Connection) -> bool:
            nonlocal refused
            self._lease.others.end_leases(connection)
            run = self._statements.claim(connection, run_id)
            if run is None:
                owner = self._statements.owner_of(connection, run_id)
                if owner is not None:
                    refused = LeaseHeld(run_id, self._lease.others.undecided_for(owner))
                return False
            self._open_runs.reopen(run_id, run)
            return True

        try:
            if self._database.transact(claim, "claim a run"):
                return {}
            return {run_id: refused}
        except StoreUnavailable as error:
            return {run_id: error}
        except Exception as error:  # noqa: BLE001 - no error may leave callers waiting
            return {run_id: _unavailable(error)}

    def _hand_back(self, group: Sequence[HandBack]) -> dict[str, StoreError]:
        def hand_back(connection: sa.Connection) -> bool:
            for entry in group:
                self._statements.hand_back(connection, entry)
            return True

        for entry in group:
            self._open_runs.give_up(entry.run_id)
        # If this fails, the run stays with this owner, which finds it again.
        self._database.attempt(hand_back)
        return {}

    def _take(self, entry: Take) -> dict[str, StoreError]:
        taken: dict[str, OpenRun] = {}
        parked: list[str] = []
        next_due: float | None = None

        def take(connection: sa.Connection) -> bool:
            nonlocal taken, parked, next_due
            self._lease.others.end_leases(connection)
            taken = self._statements.take(connection, entry)
            parked = self._statements.park(connection, entry, len(taken))
            next_due = self._statements.next_due(connection, entry)
            return True

        try:
            self._database.transact(take, "look for runs")
        except StoreUnavailable as error:
            entry.error = error
        except Exception as error:  # noqa: BLE001 - no error may leave callers waiting
            entry.error = _unavailable(error)
        else:
            for run_id, run in taken.items():
                self._open_runs.reopen(run_id, run)
            entry.taken = Taken(list(taken), parked, next_due)
        return {}


def _without(batch: Batch, duplicates: Mapping[str, object]) -> Batch:
    if not duplicates:
        return batch
    return {run_id: change for run_id, change in batch.items() if run_id not in duplicates}


def _unavailable(error: BaseException) -> StoreError:
    wrapped = StoreUnavailable("accept it", describe(error))
    wrapped.__cause__ = error
    return wrapped

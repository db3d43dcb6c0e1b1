"""A state manager that keeps runs in SQLite or PostgreSQL."""

from __future__ import annotations

import contextlib
import functools
import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from actorflow.definition.arguments import flag
from actorflow.errors.definition import ForkedStateManager
from actorflow.errors.storage import NotRecorded
from actorflow.model.attributes import changes_of
from actorflow.state.sql.deferral import SQLDeferral
from actorflow.state.sql.listings import SQLListings
from actorflow.state.sql.messages import SQLMessages
from actorflow.state.sql.options import check_columns, check_options, needs_extra
from actorflow.state.sql.outside import SQLOutside
from actorflow.state.sql.pauses import SQLPauses
from actorflow.state.sql.retention import Limits, PeriodicPurge
from actorflow.state.sql.schedules import SQLSchedules
from actorflow.state.sql.values.serializers import JSONSerializer
from actorflow.state.sql.writing.queue import Claim, Create, CreateKeyed, HandBack, Take, Write
from actorflow.support.clock import SystemClock
from actorflow.support.oneshot import Once, settle
from actorflow.support.suggestions import checks_options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta

    from actorflow.model.attributes import Attribute
    from actorflow.model.events import Event
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.powers import Taken
    from actorflow.model.protocols import Commit
    from actorflow.model.records import RunRecord, RunSnapshot
    from actorflow.state.sql.health import StoreHealth
    from actorflow.state.sql.retention import PurgeReport
    from actorflow.state.sql.values.serializers import Serializer
    from actorflow.state.sql.writing.queue import Entry

__all__ = ["SQLStateManager"]


@checks_options
class SQLStateManager(SQLDeferral, SQLListings, SQLMessages, SQLOutside, SQLPauses, SQLSchedules):
    """A state manager that keeps runs in a database: SQLite or PostgreSQL.

    A single thread writes: `create`, `claim` and `record` enqueue their work, and everything that
    is waiting is committed together. Reads (`snapshot`, `events`, `list`) run on the calling
    thread.

    Args:
        url: The database: `sqlite:///runs.db`, `sqlite:////srv/runs.db` (four slashes for an
            absolute path), or `postgresql://user:password@host/database`.
        create: Whether to create or upgrade the tables if needed. Otherwise use
            `actorflow db upgrade`.
        serializer: Converts inputs, metadata and outputs to strings; `JSONSerializer()` by default.
        synchronous: SQLite only. With `"FULL"`, a commit has reached the disk. With `"NORMAL"`, a
            failure of the machine can lose the newest commits, in order.
        lease: Seconds without a renewal after which other managers may take over this manager's
            runs. The lease is renewed three times as often.
        patience: Seconds for which a failed write is retried before its runs fail.
        max_waiting: How many events may wait to be written before more are rejected.
        max_input: The maximum size in bytes of a run's inputs, and likewise of its metadata.
        max_output: The maximum size in bytes of a step's output.
        max_event: The maximum size in bytes of the rest of an event.
        max_runs: How many ended runs are kept; beyond that, the runs that ended first are purged.
            By default all are kept.
        max_age: For how many seconds an ended run is kept; by default for ever. Both limits are
            checked once a minute while the manager is in use.

    Raises:
        DefinitionError: When the URL is invalid, or an argument is out of range.
        MissingExtra: When the extra `sql` is not installed.
        SchemaMismatch: When the tables are missing, outdated, or from a newer actorflow.
        StoreUnavailable: When the database cannot be reached.

    Example:
        >>> import pathlib, tempfile
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> from actorflow.state.sql import SQLStateManager
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> folder = tempfile.TemporaryDirectory()
        >>> state = SQLStateManager(f"sqlite:///{folder.name}/runs.db", create=True)
        >>> with Orchestrator(state) as orchestrator:
        ...     run_id = orchestrator.run(flow).run_id
        >>> state.snapshot(run_id).outputs
        {'greet': 'hello'}
        >>> state.close()
        >>> folder.cleanup()
    """

    slow_to_read: ClassVar[bool] = True
    """Whether reading a run takes a round trip to a database."""

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        serializer: Serializer | None = None,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        lease: float = 30.0,
        patience: float = 30.0,
        max_waiting: int = 100_000,
        max_input: int = 10_000_000,
        max_output: int = 10_000_000,
        max_event: int = 1_000_000,
        max_runs: int | None = None,
        max_age: float | timedelta | None = None,
    ) -> None:
        limits = Limits.for_manager(max_age, max_runs)
        counts = (max_waiting, max_input, max_output, max_event)
        check_options(serializer, synchronous, lease, patience, counts)
        flag(create, "SQLStateManager() create")
        with needs_extra("SQLStateManager"):
            from actorflow.state.sql.attributes import dump_attributes  # noqa: PLC0415
            from actorflow.state.sql.engines import check_process  # noqa: PLC0415
            from actorflow.state.sql.leases import Lease, Requests  # noqa: PLC0415
            from actorflow.state.sql.message_rows import MessageRows  # noqa: PLC0415
            from actorflow.state.sql.purging import Purger  # noqa: PLC0415
            from actorflow.state.sql.reading import Reader  # noqa: PLC0415
            from actorflow.state.sql.schedule_rows import ScheduleRows  # noqa: PLC0415
            from actorflow.state.sql.schema.upgrades import opened  # noqa: PLC0415
            from actorflow.state.sql.transactions import Transactions  # noqa: PLC0415
            from actorflow.state.sql.values.payloads import (  # noqa: PLC0415
                Payloads,
                SerializedOutputs,
            )
            from actorflow.state.sql.watching import watcher_of  # noqa: PLC0415
            from actorflow.state.sql.writing.group import Statements  # noqa: PLC0415
            from actorflow.state.sql.writing.outside import OutsideWriter  # noqa: PLC0415
            from actorflow.state.sql.writing.writer import Writer  # noqa: PLC0415

            self._engines = opened(url, synchronous=synchronous, lease=lease, create=create)
        chosen = JSONSerializer() if serializer is None else serializer
        self._check_process = functools.partial(check_process, self._engines.writing)
        self._payloads = Payloads(
            chosen, max_input=max_input, max_output=max_output, max_event=max_event
        )
        self._serialized = SerializedOutputs(self._payloads)
        self._messages = MessageRows(self._payloads)
        self._dump_attributes = dump_attributes
        self._reader = Reader(self._engines, self._payloads)
        dialect, owner = self._engines.writing.dialect, str(uuid.uuid4())
        clock, self._requests = SystemClock(), Requests(owner)
        held = Lease(dialect.name, owner, lease, clock.now, self._requests)
        statements = Statements(dialect, owner, chosen.name, held.others.end_leases)
        self._turns = statements.turns
        self._watcher = watcher_of(self._engines.reading, self._requests, clock.now)
        self._writer = Writer(
            self._engines.writing,
            statements,
            held,
            limit=max_waiting,
            patience=patience,
            on_processed=self._on_processed,
            on_owning=self._watcher.owns,
        )
        self._outside = OutsideWriter(self._engines.reading, chosen.name)
        self._transactions = Transactions(self._engines.writing, clock, patience)
        self._purger = Purger(self._transactions)
        reading = Transactions(self._engines.reading, clock, patience)
        self._schedules = ScheduleRows(
            reading, self._transactions, self._payloads, self._dispose_if_closed
        )
        self._periodic_purge = PeriodicPurge(self._purger.purge, limits)
        self._fresh: dict[str, RunRecord] = {}
        """Accepted runs that are not yet written."""

    def __repr__(self) -> str:
        return f"<SQLStateManager {self._engines.database}>"

    @property
    def health(self) -> StoreHealth:
        """The health of the database as last seen by the writer; returns immediately.

        When the writer has nothing to complain of, but runs are followed and cannot be looked at,
        it is that.
        """
        health, trouble = self._writer.health(), self._watcher.trouble()
        if trouble is None or health.status != "ok":
            return health
        failures, error = trouble
        return attrs.evolve(health, status="retrying", failures=failures, error=error)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def create(self, record: RunRecord, done: Commit) -> bool:
        """Enqueue an accepted run; call `done` once it is written, before any event of the run.

        `done` receives an `AlreadyStarted` when an earlier run has the same idempotency key.

        Raises:
            NotStorable: When an input or the metadata cannot be stored.
            TooLarge: When the inputs or the metadata are too large.
            StoreOverloaded: When too many events are waiting to be written.
        """
        return self._create(record, done, owned=True)

    def enqueue(self, record: RunRecord, done: Commit) -> bool:
        """Like `create`, but leave the run unowned, so that any orchestrator can take it."""
        return self._create(record, done, owned=False)

    def _entry(self, record: RunRecord, done: Commit, *, owned: bool) -> Create:
        check_columns(record)
        run = f"a run of workflow {record.workflow_id!r}"
        strings = {
            "inputs": self._payloads.dump_mapping(f"the input of {run}", record.inputs),
            "metadata": self._payloads.dump_mapping(f"the metadata of {run}", record.metadata),
            "attributes": self._dump_attributes(record.attributes),
        }
        kind = Create if record.key is None else CreateKeyed
        return kind(record=record, strings=strings, on_commit=done, owned=owned)

    def _create(self, record: RunRecord, done: Commit, *, owned: bool) -> bool:
        entry = self._entry(record, done, owned=owned)
        self._fresh[record.run_id] = record
        try:
            self._put(entry)
        except BaseException:
            del self._fresh[record.run_id]
            raise
        return False

    def claim(self, run_id: str) -> RunSnapshot:
        """Take ownership of a run to resume it; its former owner can no longer write to it.

        Blocks until the database answers, and returns the run's snapshot. A run that had ended can
        still be claimed by another orchestrator until its next event is recorded; that event
        decides who owns it.

        Raises:
            RunNotFound: When there is no such run.
            LeaseHeld: When the run is in progress and its owner's lease is valid.
            StoreOverloaded: When too many events are waiting to be written.
            StoreUnavailable: When the database cannot be reached.
        """
        self.snapshot(run_id)  # raises if the run does not exist
        claimed: Once[None] = Once()
        self._put(Claim(run_id=run_id, on_commit=functools.partial(settle, claimed)))
        claimed.result()
        return self.snapshot(run_id)

    def take(
        self, known: Collection[tuple[str, str]], besides: Collection[str], limit: int
    ) -> Taken:
        """Claim unowned runs in progress: new ones, and those whose owner's lease has expired.

        Args:
            known: The id and version of each registered workflow.
            besides: Runs to leave out, because they already run here.
            limit: The maximum number of runs to claim.

        Raises:
            StoreUnavailable: When the database cannot be reached.
        """
        outcome: Once[Taken] = Once()
        self._put(Take(known=known, besides=besides, limit=limit, outcome=outcome))
        return outcome.result()

    def hand_back(self, run_id: str, parked: str | None = None) -> None:
        """Give up a claimed run so that others can take it; `parked` says what it waits for."""
        self._put(HandBack(run_id=run_id, parked=parked))

    def admit(self, run_id: str, step_id: str, output: Any) -> None:
        """Serialize an output as soon as the step returns it, ahead of its event.

        Raises:
            NotStorable: When part of the output cannot be stored.
            TooLarge: When the output is too large.
        """
        self._serialized.admit(run_id, step_id, output)

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Enqueue events; call `done` once they are written.

        Raises:
            StoreOverloaded: When too many events are waiting to be written.
        """
        encoded, refused = self._serialized.encode(events)
        self._put(Write(events=encoded, refused=refused, on_commit=done, not_recorded=NotRecorded))
        return False

    def _put(self, entry: Entry) -> None:
        self._check_process()
        self._reader.closed = False
        self._watcher.reopen()
        self._writer.put(entry)
        self._periodic_purge.start()

    def _on_processed(self, group: Sequence[Entry]) -> None:
        for entry in group:
            if isinstance(entry, Create):
                self._fresh.pop(entry.record.run_id, None)

    def close(self) -> None:
        """Write what is waiting and close all connections; a later call reconnects.

        Raises:
            StoreUnavailable: When the database does not answer in time.
        """
        with contextlib.suppress(ForkedStateManager):  # a fork has nothing to close
            self._check_process()
            self._close()

    def _close(self) -> None:
        try:
            self._periodic_purge.stop()
            self._watcher.close()
            self._writer.close()
        finally:
            self._reader.closed = True
            self._engines.dispose()

    def _dispose_if_closed(self) -> None:
        if self._reader.closed:
            self._engines.dispose()

    def listen(self, cancel: Callable[[str, str, bool], None]) -> Callable[[], None]:
        """Call `cancel(run_id, reason, compensate)` for each request made with `ask_to_cancel`.

        Returns a function that stops this.

        Raises:
            DefinitionError: When another orchestrator already listens: a manager is one owner.
        """
        self._check_process()
        return self._requests.listen(cancel)

    def follow(
        self, run_id: str, changed: Callable[[RunStatus | None], None]
    ) -> Callable[[], None]:
        """Call `changed` with a run's status, soon and whenever its record has changed.

        Returns a function that stops this. One thread watches for all followers, and ends when
        there are none, and at `close`.

        Args:
            run_id: The run.
            changed: Called on that thread, with None when there is no such run.
        """
        self._check_process()
        return self._watcher.follow(run_id, changed)

    def ask_to_cancel(self, run_id: str, reason: str, *, compensate: bool = False) -> None:
        """Ask the owner of a run, current or future, to cancel it; ignored if the run has ended.

        An owner hears of the request within a moment, and at the latest when it next renews its
        lease.

        Raises:
            RunNotFound: When there is no such run.
            StoreUnavailable: When the database cannot be reached.
        """
        from actorflow.state.sql.channels import ask  # noqa: PLC0415 - it needs the extra
        from actorflow.state.sql.leases import request_cancel  # noqa: PLC0415 - it needs the extra

        statement = request_cancel(run_id, reason, compensate=compensate)
        self._transactions.run(functools.partial(ask, statement), "record the request")
        self.events(run_id, limit=0)  # raises if the run does not exist

    def set_attributes(self, run_id: str, attributes: Mapping[str, Attribute | None], /) -> None:
        """Change attributes of a run, and leave its others; None removes one.

        Blocks until the change is committed.

        Raises:
            DefinitionError: When a name or a value is invalid, or there are then too many.
            RunNotFound: When there is no such run.
            StoreUnavailable: When the database cannot be reached.
        """
        from actorflow.state.sql.attributes import set_attributes  # noqa: PLC0415 - see above

        changes = changes_of(attributes)
        self._check_process()
        self._writer.wait_until(lambda: run_id not in self._fresh)
        self._transactions.run(
            lambda it: set_attributes(it, run_id, changes), "record the attributes"
        )

    def purge(
        self,
        *,
        older_than: float | timedelta | None = None,
        keep: int | None = None,
        keys_older_than: float | timedelta = 30 * 86_400.0,
        rows: int = 1000,
    ) -> PurgeReport:
        """Permanently delete ended runs with their steps and events, oldest first.

        Blocks until done. It may be called from any thread and process while others read, write
        and purge, because it works in many short transactions. Runs in progress are kept, and so is
        a run that is resumed before it is reached, and a child of a family that is in progress.

        Args:
            older_than: Delete runs that ended more than this many seconds ago.
            keep: Delete all but this many of the most recently ended runs.
            keys_older_than: Finally, delete the idempotency keys of deleted runs that were
                accepted more than this many seconds ago. Until then, a start with such a key
                starts nothing.
            rows: The maximum number of rows per transaction; a slow database gets fewer.

        Raises:
            DefinitionError: When neither limit is given, or a limit is invalid.
            StoreUnavailable: When the database cannot be reached. Deleted rows stay deleted; runs
                that were marked are hidden already, and the next purge deletes the rest of them.
        """
        limits = Limits.for_purge(older_than, keep, keys_older_than, rows)
        return self._purger.purge(limits, threading.Event())

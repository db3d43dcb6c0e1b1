"""A state manager that keeps runs in SQLite or PostgreSQL."""

from __future__ import annotations

import contextlib
import functools
import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from actorflow.errors.definition import ForkedStateManager
from actorflow.errors.storage import NotRecorded
from actorflow.state.folding import fold
from actorflow.state.sql.extras import needs_extra
from actorflow.state.sql.options import check_columns, check_options
from actorflow.state.sql.retention.limits import Limits, Purging
from actorflow.state.sql.values.serializers import JSONSerializer
from actorflow.state.sql.writing.entries import Claim, Create, HandBack, Take, Write
from actorflow.support.clock import SystemClock
from actorflow.support.oneshot import Once, settle
from actorflow.support.suggestions import checks_options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import timedelta

    from actorflow.model.events import Event
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.protocols import Commit, Taken
    from actorflow.model.results import RunPage, RunRecord, RunSnapshot
    from actorflow.state.sql.health import StoreHealth
    from actorflow.state.sql.retention.limits import PurgeReport
    from actorflow.state.sql.values.serializers import Serializer
    from actorflow.state.sql.writing.entries import Entry

__all__ = ["SQLStateManager"]


@checks_options
class SQLStateManager:
    """A state manager that keeps runs in a database: SQLite, or PostgreSQL.

    Writing is a matter of one thread of its own: `create`, `claim` and `record` return at once,
    and what waits together is committed together. Reading (`snapshot`, `events`, `list`) happens
    on the thread that asks.

    Args:
        url: Where: `sqlite:///runs.db`, `sqlite:////srv/runs.db` (four strokes for an absolute
            path), or `postgresql://user:password@host/database`.
        create: Whether to make the tables, or bring them up to date, when that is due. Without
            it, `actorflow db upgrade` does so.
        serializer: How inputs, metadata and outputs become texts; by default `JSONSerializer()`.
        synchronous: For SQLite: whether a commit has reached the disk (`"FULL"`), or can be lost
            when the machine itself fails (`"NORMAL"`); what is lost is the newest, in order.
        lease: Seconds after which others may take over the runs of a manager of which nothing
            was heard. It is renewed three times as often.
        patience: Seconds for which a refused write is tried again before its runs fail.
        max_waiting: How many events may wait to be written before more are refused.
        max_input: The most bytes that a run's inputs may take, and likewise its metadata.
        max_output: The most bytes that a step's output may take.
        max_event: The most bytes that the rest of an event may take.
        max_runs: How many ended runs are kept; more are purged, the one that ended first goes
            first. By default all are kept.
        max_age: For how many seconds an ended run is kept; by default for ever. Both limits are
            looked at once a minute, while the manager is in use.

    Raises:
        DefinitionError: When the URL is none, or an argument is out of its range.
        MissingExtra: When the extra `sql` is not installed.
        SchemaMismatch: When the tables are missing, old, or of a newer actorflow.
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
    """Whether a database has to be asked."""

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
        limits = Limits.standing(max_age, max_runs)
        counts = (max_waiting, max_input, max_output, max_event)
        check_options(serializer, synchronous, lease, patience, counts)
        with needs_extra("SQLStateManager"):
            from actorflow.state.sql.database.engines import check_process  # noqa: PLC0415
            from actorflow.state.sql.database.transactions import Transactions  # noqa: PLC0415
            from actorflow.state.sql.ownership.cancel_requests import Requests  # noqa: PLC0415
            from actorflow.state.sql.ownership.leases import Lease  # noqa: PLC0415
            from actorflow.state.sql.reading import Reader  # noqa: PLC0415
            from actorflow.state.sql.retention.purging import Purger  # noqa: PLC0415
            from actorflow.state.sql.schema.upgrades import opened  # noqa: PLC0415
            from actorflow.state.sql.values.payloads import Payloads  # noqa: PLC0415
            from actorflow.state.sql.writing.group import Statements  # noqa: PLC0415
            from actorflow.state.sql.writing.outputs import Admitted  # noqa: PLC0415 - it needs the extra
            from actorflow.state.sql.writing.writer import Writer  # noqa: PLC0415

            self._engines = opened(url, synchronous=synchronous, create=create)
        chosen = JSONSerializer() if serializer is None else serializer
        self._check_process = functools.partial(check_process, self._engines.writing)
        self._payloads = Payloads(
            chosen, max_input=max_input, max_output=max_output, max_event=max_event
        )
        self._admitted = Admitted(self._payloads)
        self._reader = Reader(self._engines.reading, self._payloads)
        dialect, owner = self._engines.writing.dialect, str(uuid.uuid4())
        clock, self._requests = SystemClock(), Requests(owner)
        self._writer = Writer(
            self._engines.writing,
            Statements(dialect, owner, chosen.name),
            Lease(dialect.name, owner, lease, clock.now, self._requests),
            limit=max_waiting,
            patience=patience,
            dealt_with=self._dealt_with,
        )
        self._transactions = Transactions(self._engines.writing, clock, patience)
        self._purger = Purger(self._transactions)
        self._purging = Purging(self._purger.purge, limits)
        self._fresh: dict[str, RunRecord] = {}
        """Accepted runs that have not been written yet."""

    def __repr__(self) -> str:
        return f"<SQLStateManager {self._engines.database}>"

    @property
    def health(self) -> StoreHealth:
        """How the database is doing; nobody is asked, so it is never slow."""
        return self._writer.health()

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def create(self, record: RunRecord, done: Commit) -> bool:
        """Have an accepted run written; `done` hears of it, before any event of the run does.

        It hears of an `AlreadyStarted` when an earlier run has the same idempotency key.

        Raises:
            NotStorable: When an input, or the metadata, cannot be stored.
            TooLarge: When they are too large.
            StoreOverloaded: When too much waits to be written.
        """
        return self._create(record, done, owned=True)

    def enqueue(self, record: RunRecord, done: Commit) -> bool:
        """Do what `create` does, for a run that belongs to whoever takes it."""
        return self._create(record, done, owned=False)

    def _create(self, record: RunRecord, done: Commit, *, owned: bool) -> bool:
        check_columns(record)
        texts = {
            "inputs": self._payloads.given("the run's input", record.inputs),
            "metadata": self._payloads.given("the run's metadata", record.metadata),
        }
        self._fresh[record.run_id] = record
        try:
            self._put(Create(record=record, texts=texts, tell=done, owned=owned))
        except BaseException:
            del self._fresh[record.run_id]
            raise
        return False

    def claim(self, run_id: str) -> RunSnapshot:
        """Take up a run that is to be resumed; whoever had it can write nothing of it any more.

        It waits for the database, and returns the run as it stands. One that had ended may still
        be claimed by somebody else, until its first event from now on is recorded: that event
        tells who has it.

        Raises:
            RunNotFound: When there is no such run.
            LeaseHeld: When it is in progress, and its owner is alive.
            StoreOverloaded: When too much waits to be written.
            StoreUnavailable: When the database does not answer.
        """
        self.snapshot(run_id)  # raises for a run that is not there
        claimed: Once[None] = Once()
        self._put(Claim(run_id=run_id, tell=functools.partial(settle, claimed)))
        claimed.result()
        return self.snapshot(run_id)

    def take(
        self, known: Collection[tuple[str, str]], besides: Collection[str], limit: int
    ) -> Taken:
        """Claim runs in progress that belong to nobody: new ones, and those of lost owners.

        Args:
            known: The workflows that are known here, by id and version.
            besides: The runs that go on here, which are not meant.
            limit: How many at most.

        Raises:
            StoreUnavailable: When the database does not answer.
        """
        outcome: Once[Taken] = Once()
        self._put(Take(known=known, besides=besides, limit=limit, outcome=outcome))
        return outcome.result()

    def hand_back(self, run_id: str, parked: str | None = None) -> None:
        """Let others have a run that was claimed, and cannot go on here; say what it waits for."""
        self._put(HandBack(run_id=run_id, parked=parked))

    def admit(self, run_id: str, step_id: str, output: Any) -> None:
        """Make an output ready to be recorded, while it is what the step has returned.

        Raises:
            NotStorable: When a part of it cannot be stored.
            TooLarge: When it is too large.
        """
        self._admitted.admit(run_id, step_id, output)

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Have events written; `done` hears of it.

        Raises:
            StoreOverloaded: When too much waits to be written.
        """
        lines, refused = self._admitted.lines(events)
        self._put(Write(lines=lines, refused=refused, tell=done, not_recorded=NotRecorded))
        return False

    def _put(self, entry: Entry) -> None:
        self._check_process()
        self._reader.resting = False
        self._writer.put(entry)
        self._purging.begin()

    def _dealt_with(self, group: Sequence[Entry]) -> None:
        for entry in group:
            if isinstance(entry, Create):
                self._fresh.pop(entry.record.run_id, None)

    def close(self) -> None:
        """Write what waits, and let go of every connection; a later call connects again.

        Raises:
            StoreUnavailable: When the database does not answer any more.
        """
        with contextlib.suppress(ForkedStateManager):  # there is nothing of it in a fork
            self._check_process()
            self._close()

    def _close(self) -> None:
        try:
            self._purging.end()
            self._writer.close()
        finally:
            self._reader.resting = True
            self._engines.dispose()

    def listen(self, cancel: Callable[[str, str, bool], None]) -> Callable[[], None]:
        """Have `cancel(run_id, reason, compensate)` called for what `ask_to_cancel` has asked.

        Call what is returned to end that.

        Raises:
            DefinitionError: When it serves another orchestrator: what it writes has one owner.
        """
        self._check_process()
        return self._requests.listen(cancel)

    def ask_to_cancel(self, run_id: str, reason: str, *, compensate: bool = False) -> None:
        """Ask whoever runs a run, now or later, to cancel it; nothing is asked of an ended one.

        An owner finds the request when it next renews its lease.

        Raises:
            RunNotFound: When there is no such run.
            StoreUnavailable: When the database does not answer.
        """
        from actorflow.state.sql.ownership.cancel_requests import asked  # noqa: PLC0415 - it needs the extra

        ask = asked(run_id, reason, compensate=compensate)
        self._transactions.carry_out(lambda it: it.execute(ask).rowcount, "take a request")
        self.events(run_id, limit=0)  # raises for a run that is not there

    def purge(
        self,
        *,
        older_than: float | timedelta | None = None,
        keep: int | None = None,
        keys_older_than: float | timedelta = 30 * 86_400.0,
        rows: int = 1000,
    ) -> PurgeReport:
        """Delete ended runs for good, with all that is known of them; the oldest first.

        It waits until that is done, and may be called from any thread and in any process, while
        others write, read and purge. It works in many short transactions. Runs in progress stay,
        and so does a run that is resumed before its turn has come.

        Args:
            older_than: Runs go that ended more seconds ago than that.
            keep: Runs go that are not among so many that ended last.
            keys_older_than: Last of all, idempotency keys go whose runs are gone and were
                accepted more seconds ago than that; until then, no start with such a key begins
                anything.
            rows: The most rows that a transaction deletes; where the database is slow it is fewer.

        Raises:
            DefinitionError: When neither limit is given, or one makes no sense.
            StoreUnavailable: When the database does not answer; what is deleted until then stays
                so, and what is left is gone all the same and is deleted by the next purge.
        """
        limits = Limits.asked_for(older_than, keep, keys_older_than, rows)
        return self._purger.purge(limits, threading.Event())

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the run as it stands."""
        fresh = self._fresh.get(run_id)
        return self._reader.snapshot(run_id) if fresh is None else fold(fresh, ())

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Return the run's events whose number is greater than `after`, in order."""
        return [] if run_id in self._fresh else self._reader.events(run_id, after, limit)

    def list(
        self,
        *,
        status: RunStatus | None = None,
        workflow_id: str | None = None,
        trace_id: str | None = None,
        correlation_id: str | None = None,
        business_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> RunPage:
        """Return runs, the newest first, ties by run id; it waits for accepted ones' commit."""
        fresh = set(self._fresh)
        self._writer.settle(lambda: fresh.isdisjoint(self._fresh))
        wanted = {
            "status": status,
            "workflow_id": workflow_id,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "business_id": business_id,
        }
        return self._reader.list(wanted, limit, offset)

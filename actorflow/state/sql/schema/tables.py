"""The tables, as `docs/reference/tables.md` describes them.

The migrations create them; a test compares the result with these definitions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from actorflow.model.lifecycle import RunStatus, StepStatus

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

__all__ = [
    "AWAKE",
    "NOT_PURGED",
    "PAUSE_UNHEARD",
    "PURGED",
    "Moment",
    "attributes",
    "batches",
    "keys",
    "messages",
    "metadata",
    "owners",
    "runs",
    "schedules",
    "seconds_of",
    "steps",
    "unindexed",
]

metadata: Final = sa.MetaData()


class Moment(sa.types.TypeDecorator[float]):
    """Seconds since the epoch in Python, a UTC timestamp with time zone in the database.

    SQLite has no such type and stores a string such as `2026-01-31 08:00:00.000000+00:00`, which
    sorts chronologically. Both are exact to the microsecond.
    """

    impl = sa.TIMESTAMP(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Return the column's type."""
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(sa.Text() if is_sqlite else sa.TIMESTAMP(timezone=True))

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        """Return the value to write."""
        if value is None:
            return None
        moment = datetime.fromtimestamp(value, tz=UTC)
        if dialect.name == "sqlite":
            return moment.isoformat(sep=" ", timespec="microseconds")
        return moment

    def process_result_value(self, value: Any, _dialect: Dialect) -> float | None:
        """Return the value that was read."""
        if value is None:
            return None
        return seconds_of(value) if isinstance(value, str) else float(value.timestamp())


def seconds_of(moment: str) -> float:
    """Return the seconds since the epoch of a time in the form that SQLite stores."""
    return datetime.fromisoformat(moment).timestamp()


# Compared byte by byte on both databases: PostgreSQL's default collation may be language-specific.
Id: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _among(statuses: type[RunStatus | StepStatus]) -> str:
    return f"status IN ({', '.join(repr(status.value) for status in statuses)})"


_ENDED: Final = "('completed', 'failed', 'cancelled')"

runs: Final = sa.Table(
    "actorflow_runs",
    metadata,
    sa.Column("run_id", Id, primary_key=True),
    sa.Column("workflow_id", Id, nullable=False),
    sa.Column("workflow_version", Id, nullable=False),
    sa.Column("status", Id, nullable=False),
    sa.Column("priority", sa.BigInteger, nullable=False),
    sa.Column("timeout", sa.Double),
    sa.Column("serializer", sa.Text, nullable=False),
    sa.Column("step_ids", sa.Text, nullable=False),
    sa.Column("last_steps", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("trace_id", Id),
    sa.Column("correlation_id", Id),
    sa.Column("business_id", Id),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("error", sa.Text),
    sa.Column("failed_step", Id),
    sa.Column("reason", sa.Text),
    sa.Column("compensations", sa.Text, nullable=False, server_default="[]"),
    sa.Column("last_event", sa.BigInteger, nullable=False),
    sa.Column("owner", Id, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("parked", sa.Text),
    sa.Column("purged_at", Moment),
    sa.Column("cancel_asked", sa.Text),
    sa.Column("takeovers", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("claimed_event", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("parent_run_id", Id),
    sa.Column("parent_step_id", Id),
    sa.Column("root_run_id", Id),
    sa.Column("parent_call", Id),
    sa.Column("on_parent_end", sa.Text),
    sa.Column("owned_since", Moment),
    sa.Column("attributes", sa.Text),
    sa.Column("parked_since", Moment),
    sa.Column("waiting", sa.Text),
    sa.Column("waiting_since", Moment),
    sa.Column("paused", sa.Text),
    sa.Column("paused_since", Moment),
    sa.Column("start_at", Moment),
    sa.Column("run_key", Id),
    sa.Column("key_slot", Id),
    sa.Column("debounce", sa.Double),
    sa.Column("last_message", sa.BigInteger),
    sa.Column("wake_at", Moment),
    sa.Column("deadline_at", Moment),
    sa.Column("parent_compensates", sa.Boolean),
    sa.Column("frozen", sa.Boolean),
    sa.Column("pause_heard", sa.Boolean),
    sa.Column("generation", sa.BigInteger),
    sa.CheckConstraint(_among(RunStatus), name="actorflow_runs_status"),
    sa.CheckConstraint(
        f"(status IN {_ENDED}) = (finished_at IS NOT NULL)", name="actorflow_runs_finished"
    ),
    sa.CheckConstraint("last_event >= 0", name="actorflow_runs_last_event"),
    sa.CheckConstraint("fence >= 1", name="actorflow_runs_fence"),
)

_NEWEST: Final = (runs.c.created_at.desc(), runs.c.run_id)
sa.Index("actorflow_runs_by_time", *_NEWEST)
sa.Index("actorflow_runs_by_status", runs.c.status, *_NEWEST)
sa.Index("actorflow_runs_by_workflow", runs.c.workflow_id, *_NEWEST)


def _index_where(given: str, name: str, *columns: Any) -> None:
    """Index only the runs that have a value in the column `given`."""
    some = runs.c[given].is_not(None)
    sa.Index(name, *columns, postgresql_where=some, sqlite_where=some)


for _name in ("trace_id", "correlation_id", "business_id"):
    _index_where(_name, f"actorflow_runs_by_{_name}", runs.c[_name], *_NEWEST)
_index_where("finished_at", "actorflow_runs_by_end", runs.c.finished_at, runs.c.run_id)
_index_where("purged_at", "actorflow_runs_purged", runs.c.run_id)
_index_where("cancel_asked", "actorflow_runs_asked", runs.c.owner)
_index_where("parent_run_id", "actorflow_runs_by_parent", runs.c.parent_run_id, runs.c.run_id)
_index_where("root_run_id", "actorflow_runs_by_root", runs.c.root_run_id, *_NEWEST)
for _name in ("parked", "waiting", "paused"):
    _index_where(_name, f"actorflow_runs_{_name}", *_NEWEST)

PAUSE_UNHEARD: Final = runs.c.paused.is_(None) != runs.c.pause_heard.is_(None)
"""The run's events do not say yet whether it is paused."""
sa.Index(
    "actorflow_runs_pauses",
    runs.c.owner,
    postgresql_where=PAUSE_UNHEARD,
    sqlite_where=PAUSE_UNHEARD,
)

_open: Final = runs.c.finished_at.is_(None)
AWAKE: Final = sa.and_(_open, runs.c.waiting.is_(None))
"""The run is in progress, or waits for an owner; not for something outside, without one."""
sa.Index(
    "actorflow_runs_open",
    runs.c.priority.desc(),
    runs.c.created_at,
    runs.c.run_id,
    postgresql_where=AWAKE,
    sqlite_where=AWAKE,
)

_index_where("wake_at", "actorflow_runs_wake", runs.c.wake_at)

_addressed: Final = sa.and_(runs.c.last_message.is_not(None), _open)
sa.Index(
    "actorflow_runs_addressed",
    runs.c.owner,
    postgresql_where=_addressed,
    sqlite_where=_addressed,
)

messages: Final = sa.Table(
    "actorflow_messages",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
    sa.Column("number", sa.BigInteger),
    sa.Column("name", Id, nullable=False),
    sa.Column("message_id", Id),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("sent_at", Moment, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "number", name="actorflow_messages_key"),
    sa.CheckConstraint("number >= 1", name="actorflow_messages_number"),
    sqlite_with_rowid=False,
)
"""The messages that were sent to runs."""
_named: Final = messages.c.message_id.is_not(None)
sa.Index(
    "actorflow_messages_by_id",
    messages.c.run_id,
    messages.c.name,
    messages.c.message_id,
    unique=True,
    postgresql_where=_named,
    sqlite_where=_named,
)

attributes: Final = sa.Table(
    "actorflow_attributes",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
    sa.Column("name", Id),
    sa.Column("value", Id, nullable=False),
    sa.Column("type", Id, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "name", name="actorflow_attributes_key"),
    sa.CheckConstraint("type IN ('string', 'number', 'boolean')", name="actorflow_attributes_type"),
    sqlite_with_rowid=False,
)
"""The attributes in `actorflow_runs.attributes`, one row for each, to find runs by them. The time
is that of the run: an index that ends with it has the runs with an attribute in their order."""
sa.Index(
    "actorflow_attributes_by_value",
    attributes.c.name,
    attributes.c.value,
    attributes.c.type,
    attributes.c.created_at.desc(),
    attributes.c.run_id,
)

_slot: Final = runs.c.key_slot.is_not(None)
sa.Index(
    "actorflow_runs_slots",
    runs.c.workflow_id,
    runs.c.run_key,
    runs.c.key_slot,
    unique=True,
    postgresql_where=_slot,
    sqlite_where=_slot,
)
_later: Final = sa.and_(runs.c.start_at.is_not(None), _open)
sa.Index("actorflow_runs_due", runs.c.start_at, postgresql_where=_later, sqlite_where=_later)

owners: Final = sa.Table(
    "actorflow_owners",
    metadata,
    sa.Column("owner", Id, primary_key=True),
    sa.Column("lease_until", Moment, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease", sa.Double),
    sa.Column("host", sa.Text),
    sa.Column("boot_id", Id),
    sa.Column("pid_namespace", Id),
    sa.Column("pid", sa.BigInteger),
    sa.Column("pid_started", sa.BigInteger),
)

keys: Final = sa.Table(
    "actorflow_keys",
    metadata,
    sa.Column("workflow_id", Id),
    sa.Column("idempotency_key", Id),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment),
    sa.PrimaryKeyConstraint("workflow_id", "idempotency_key", name="actorflow_keys_key"),
    sa.Index("actorflow_keys_by_time", "created_at"),
    sqlite_with_rowid=False,
)

steps: Final = sa.Table(
    "actorflow_steps",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
    sa.Column("step_id", Id),
    sa.Column("status", Id, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("output", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.PrimaryKeyConstraint("run_id", "step_id", name="actorflow_steps_key"),
    sa.CheckConstraint(_among(StepStatus), name="actorflow_steps_status"),
    sa.CheckConstraint("attempts >= 0", name="actorflow_steps_attempts"),
    sqlite_with_rowid=False,
)

batches: Final = sa.Table(
    "actorflow_event_batches",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
    sa.Column("first", sa.BigInteger),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "first", name="actorflow_event_batches_key"),
    sa.CheckConstraint("first >= 1", name="actorflow_event_batches_first"),
    sa.CheckConstraint("last >= first", name="actorflow_event_batches_last"),
    sqlite_with_rowid=False,
)
"""Events of a run that were recorded together, as a JSON list of `[kind, step_id, attempt, time,
data]`; the view `actorflow_events` has a row for each."""

schedules: Final = sa.Table(
    "actorflow_schedules",
    metadata,
    sa.Column("name", Id, primary_key=True),
    sa.Column("workflow_id", Id, nullable=False),
    sa.Column("workflow_version", Id, nullable=False),
    sa.Column("cron", sa.Text),
    sa.Column("every", sa.Double),
    sa.Column("tz", sa.Text, nullable=False),
    sa.Column("serializer", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("overlap", Id, nullable=False),
    sa.Column("catch_up", sa.Double, nullable=False),
    sa.Column("missed", Id, nullable=False),
    sa.Column("jitter", sa.Double, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("decided_until", Moment, nullable=False),
    sa.Column("pending", sa.Text, nullable=False),
    sa.Column("requested", sa.Text, nullable=False),
    sa.Column("queued_at", Moment),
    sa.Column("last_at", Moment),
    sa.Column("last_run_id", Id),
    sa.Column("fired_count", sa.BigInteger, nullable=False),
    sa.Column("skipped_count", sa.BigInteger, nullable=False),
    sa.Column("missed_count", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.CheckConstraint(
        "(cron IS NULL) != (every IS NULL)", name="actorflow_schedules_one_timetable"
    ),
)


class unindexed(FunctionElement[str]):  # noqa: N801 - called like a function
    """A column that SQLite looks up in no index.

    Without statistics, SQLite prefers any index with an equality to one in the order that is asked
    for. A search for waiting runs would read all runs of a workflow or a status, ended ones among
    them, for each few that it takes. PostgreSQL has statistics.
    """

    type = sa.Text()
    inherit_cache = True


@compiles(unindexed)
def _as_it_is(element: Any, compiler: Any, **options: Any) -> str:
    text: str = compiler.process(element.clauses, **options)
    return text


@compiles(unindexed, "sqlite")
def _with_a_plus(element: Any, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


PURGED: Final = runs.c.purged_at.is_not(None)
"""The run is being purged, and hidden from everything but the purge."""
NOT_PURGED: Final = runs.c.purged_at.is_(None)
"""The run is not being purged."""

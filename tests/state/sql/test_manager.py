"""Runs in a database: what its writer promises when things go wrong, and what its tables hold."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import json
import sqlite3
import subprocess
import sys
import threading
import weakref
from typing import ClassVar

import attrs
import psycopg
import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, RetryPolicy, Workflow
from actorflow.errors.definition import DefinitionError, WrongLoop
from actorflow.errors.storage import (
    AlreadyStarted,
    LeaseHeld,
    LeaseLost,
    NotRecorded,
    NotRestorable,
    NotStorable,
    RecordedError,
    RunNotFound,
    SchemaMismatch,
    StoreOverloaded,
    StoreUnavailable,
    TooLarge,
)
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.powers import Taken
from actorflow.model.records import Parent
from actorflow.model.results import RunFailed, RunTimeout
from actorflow.model.terms import StartTerms
from actorflow.orchestrator import lifetime
from actorflow.orchestrator.remote_cancel import withdraw
from actorflow.state.sql import JSONSerializer, SQLStateManager, leases
from actorflow.state.sql import engines as connections
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.schema import tables as schema
from actorflow.state.sql.writing import group, queue
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    told,
    write,
)


@pytest.fixture
def path(tmp_path):
    """Where a SQLite database will be."""
    return tmp_path / "runs.db"


@pytest.fixture
def make():
    """Makes state managers, and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def made(url, **options):
            state = SQLStateManager(url, create=True, **options)
            stack.callback(state.close)
            return state

        yield made


@pytest.fixture
def state(make, url):
    """A state manager in an empty database, of each kind."""
    return make(url)


def tell(url, statement):
    """Have a statement carried out by somebody else."""
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        done = connection.execute(sa.text(statement))
        return done.all() if done.returns_rows else done.rowcount


def nobody(_error):
    """Hear of a commit, and do nothing."""


def recorded(state, events):
    """Record events; return what is said of them."""
    commits = Commits()
    state.record(events, commits.done)
    commits.wait()
    return commits.errors[0]


# ── What stays ───────────────────────────────────────────────────────────────────────────────


def test_another_manager_finds_everything(make, url):
    """All that one has recorded, and nothing else."""
    state = make(url)
    accept(state, accepted(inputs={"url": "x"}, business_id="b"))
    write(state, happened(*FAILED))
    before = told([state.snapshot("run"), state.events("run"), state.list(business_id="b").runs])
    state.close()

    other = make(url)
    after = told([other.snapshot("run"), other.events("run"), other.list(business_id="b").runs])
    assert before == after


def test_a_manager_that_was_closed_can_be_used_again(state):
    """By a second orchestrator, for example."""
    accept(state, accepted("one"))
    state.close()
    assert ["one"] == [run.run_id for run in state.list().runs]
    accept(state, accepted("two"))
    state.close()

    assert 2 == state.list().total


def test_a_manager_that_was_closed_leaves_no_memory_behind(url):
    """SQLAlchemy remembers dialects, which must not keep all the statements of an engine."""
    engines = []
    for _ in range(20):
        with contextlib.closing(SQLStateManager(url, create=True)) as state:
            state.list(limit=1)
            engines += [weakref.ref(state._engines.reading), weakref.ref(state._engines.writing)]
    gc.collect()

    assert 2 >= sum(one() is not None for one in engines)


def test_closing_a_manager_does_not_wait_for_somebody_else_who_uses_it(state):
    """Whoever else has it at hand, and adds to what is to be written."""
    closed = threading.Event()

    def close():
        state.close()
        closed.set()

    with held(state):
        thread = threading.Thread(target=close)
        thread.start()
        while not state._writer.queue.closing:
            threading.Event().wait(0.001)
        state.create(accepted(), nobody)
        assert closed.wait(60)
    thread.join()

    assert 1 == state.list().total


def test_errors_come_back_with_their_text_and_traceback(state):
    """As values of their own."""
    accept(state, accepted())
    write(state, happened(*FAILED))
    error = state.snapshot("run").steps["a"].error

    assert RecordedError("builtins.ValueError", "no", error.traceback) == error
    assert error == state.events("run")[3].data["error"]


def test_the_tables_say_what_happened_in_plain_values(make, url):
    """Whoever looks with other tools can read them."""
    state = make(url)
    accept(state, accepted(priority=3, trace_id="t"))
    write(state, happened(*COMPLETED))
    state.close()

    ((status, priority, trace_id, last, fence),) = tell(
        url, "SELECT status, priority, trace_id, last_event, fence FROM actorflow_runs"
    )
    assert ("completed", 3, "t", 5, 1) == (status, priority, trace_id, last, fence)
    steps = "SELECT step_id, status, attempts, output FROM actorflow_steps"
    assert [("a", "completed", 1, '"of a"')] == [tuple(row) for row in tell(url, steps)]
    kinds = tell(url, "SELECT kind FROM actorflow_events ORDER BY number")
    assert [kind.value for kind in COMPLETED] == [kind for (kind,) in kinds]
    ((moment,),) = tell(url, "SELECT created_at FROM actorflow_runs")
    moment = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    assert dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC) == moment


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE actorflow_runs SET status = 'done'",
        "UPDATE actorflow_runs SET finished_at = NULL",
        "UPDATE actorflow_runs SET last_event = -1",
        "UPDATE actorflow_runs SET fence = 0",
        "UPDATE actorflow_steps SET status = 'done'",
        "UPDATE actorflow_steps SET attempts = -1",
        "UPDATE actorflow_event_batches SET first = 0",
        "UPDATE actorflow_event_batches SET first = last + 1",
        "UPDATE actorflow_event_batches SET run_id = 'nobody'",
        "INSERT INTO actorflow_event_batches SELECT * FROM actorflow_event_batches",
    ],
)
def test_the_tables_refuse_what_makes_no_sense(make, url, broken):
    """Whoever writes it."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    state.close()

    with pytest.raises(sa.exc.IntegrityError):
        tell(url, broken)


def test_a_run_takes_its_steps_and_events_along(make, url):
    """When its row is deleted."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    state.close()
    tell(url, "DELETE FROM actorflow_runs")

    for table in ("actorflow_steps", "actorflow_event_batches", "actorflow_events"):
        assert [(0,)] == [tuple(row) for row in tell(url, f"SELECT count(*) FROM {table}")]  # noqa: S608


# ── Events in batches ────────────────────────────────────────────────────────────────────────

RETRIES = (EventKind.STEP_STARTED, EventKind.STEP_RETRYING, EventKind.STEP_READY)
RETRIED = (EventKind.RUN_STARTED, EventKind.STEP_READY, *RETRIES * 4, *RETRIES[:1])


def batches(url):
    """The first and last numbers of the rows that hold events, in order."""
    rows = tell(url, "SELECT first, last FROM actorflow_event_batches ORDER BY first")
    return [tuple(row) for row in rows]


def in_groups(state, *sizes):
    """Accept a run, and record so many of its events at a time."""
    accept(state, accepted())
    whole, start = happened(*RETRIED), 0
    for size in sizes:
        write(state, whole[start : start + size])
        start += size
    assert len(whole) == start
    return whole


def test_events_that_are_recorded_together_share_a_row(make, url):
    """A row costs the database more than what is in it."""
    in_groups(make(url), 4, 1, 10)

    assert [(1, 4), (5, 5), (6, 15)] == batches(url)


def test_events_are_read_from_any_number_to_any_other(make, url):
    """Wherever the rows begin and end."""
    state = make(url)
    whole = in_groups(state, 4, 1, 10)
    found = {
        (after, limit): [
            (it.number, it.kind) for it in state.events("run", after=after, limit=limit)
        ]
        for after in range(17)
        for limit in (*range(17), 2**63 - 1, None)
    }

    assert {
        (after, limit): [(it.number, it.kind) for it in whole[after:][:limit]]
        for after, limit in found
    } == found


def test_a_row_holds_no_more_events_than_its_limit(make, url, monkeypatch):
    """Reading one event must not decode thousands."""
    monkeypatch.setattr(group, "_MAX_EVENTS", 4)
    state = make(url)
    whole = in_groups(state, 15)

    assert [(1, 4), (5, 8), (9, 12), (13, 15)] == batches(url)
    assert [it.kind for it in whole] == [it.kind for it in state.events("run")]


def test_large_events_do_not_share_a_row(make, url, monkeypatch):
    """A database limits the size of a value."""
    monkeypatch.setattr(group, "_MAX_SIZE", 300)
    state = make(url)
    whole = in_groups(state, 15)
    found = batches(url)
    sizes = tell(url, "SELECT length(events) FROM actorflow_event_batches WHERE first < last")

    assert [first - 1 for first, _ in found[1:]] == [last for _, last in found[:-1]]
    assert (1, 15) == (found[0][0], found[-1][1])
    assert all(size <= 300 for (size,) in sizes)
    assert [it.kind for it in whole] == [it.kind for it in state.events("run")]


def test_the_view_of_the_events_has_a_row_for_each(make, url):
    """With the columns that the table had before events were recorded in batches."""
    state = make(url)
    accept(state, accepted(workflow_id="orders"))
    write(state, happened(*STARTED))
    write(state, happened(EventKind.STEP_FAILED, after=3))
    columns = "number, kind, step_id, attempt, time, data, workflow_id"
    query = f"SELECT {columns} FROM actorflow_events WHERE run_id = 'run' ORDER BY number"  # noqa: S608
    rows = [tuple(row) for row in tell(url, query)]
    times = [row[4] if isinstance(row[4], str) else row[4].astimezone(dt.UTC) for row in rows]

    assert [
        (1, "run.started", None, None, "orders"),
        (2, "step.ready", "a", 1, "orders"),
        (3, "step.started", "a", 1, "orders"),
        (4, "step.failed", "a", 1, "orders"),
    ] == [(*row[:4], row[6]) for row in rows]
    assert [f"2023-11-14 22:13:2{second}" for second in (1, 2, 3, 4)] == [
        str(time)[:19] for time in times
    ]
    assert [None] * 3 == [row[5] for row in rows[:3]]
    assert ("builtins.ValueError", "no") == tuple(
        json.loads(rows[3][5])["error"][name] for name in ("type", "text")
    )


def test_any_character_of_a_reason_can_be_seen_in_the_view(make, url):
    """Also those that one type of PostgreSQL for JSON refuses."""
    state = make(url)
    accept(state, accepted())
    (cancelled,) = happened(EventKind.RUN_CANCELLED)
    reason = '"\\u0000\ud800\0 \u2028 \U0001f600 ]'
    write(state, [cancelled._replace(data={"reason": reason, "more": ["\0"]})])
    ((data,),) = tell(url, "SELECT data FROM actorflow_events")

    assert '"\\u0000\\ud800\\0 \u2028 \U0001f600 ]' == json.loads(data)["reason"]
    assert ["\\0" if url.startswith("postgresql") else "\0"] == json.loads(data)["more"]
    assert ["\0"] == state.events("run")[0].data["more"]


def test_a_run_that_is_being_purged_has_no_events_in_the_view(make, url):
    """Some of them may be gone."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    tell(url, "UPDATE actorflow_runs SET purged_at = finished_at")

    assert [] == list(tell(url, "SELECT * FROM actorflow_events"))


# ── Whose a run is ───────────────────────────────────────────────────────────────────────────


def expire(url):
    """Let all leases be over: their time is up by the clock, and they need not be watched."""
    over = "SET lease = 0, lease_until = '2000-01-01 00:00:00.000000+00:00'"
    tell(url, "UPDATE actorflow_owners " + over)


def test_a_run_whose_owner_is_alive_cannot_be_claimed(make, url):
    """Not before its lease has run out."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))

    with pytest.raises(LeaseHeld, match="'run'"):
        second.claim("run")
    write(first, happened(EventKind.STEP_COMPLETED, after=3))
    expire(url)
    assert StepStatus.COMPLETED is second.claim("run").steps["a"].status


def test_a_run_that_has_ended_can_be_claimed_from_an_owner_who_is_alive(make, url):
    """There is nothing left that he would do with it."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*FAILED))
    second.claim("run")

    error = recorded(first, happened(EventKind.RUN_RESUMED, after=5))

    assert isinstance(error.errors["run"], LeaseLost)
    write(second, happened(EventKind.RUN_RESUMED, after=5))


def test_the_runs_of_a_manager_that_was_closed_are_nobodys(make, url):
    """Whoever wants them need not wait."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))
    first.close()

    assert RunStatus.RUNNING is second.claim("run").status


def test_a_manager_that_was_only_slow_goes_on_with_what_nobody_has_taken(make, url):
    """A lease that has run out takes nothing away by itself."""
    first, second = make(url), make(url)
    for run_id in ("taken", "left"):
        accept(first, accepted(run_id))
        write(first, happened(*STARTED, run_id=run_id))
    expire(url)
    second.claim("taken")

    late = [happened(EventKind.STEP_COMPLETED, run_id=it, after=3) for it in ("taken", "left")]
    error = recorded(first, [event for events in late for event in events])

    assert ["taken"] == [*error.errors]
    assert StepStatus.COMPLETED is second.snapshot("left").steps["a"].status


def test_a_lease_is_renewed_though_nothing_happens(make, url):
    """A step may take as long as it likes."""
    state, renewed = make(url, lease=0.1), threading.Event()
    accept(state, accepted())
    commits = iter(range(1, 5))

    def count(_connection):
        if next(commits, None) is None:
            renewed.set()

    sa.event.listen(state._engines.writing, "commit", count)

    assert renewed.wait(60)
    assert 1 == len(tell(url, "SELECT owner FROM actorflow_owners"))


def lease_of(state):
    """The seconds that the manager's lease has left, by the clock of the database."""
    engine = state._engines.writing
    with engine.begin() as connection:
        until = connection.execute(sa.select(schema.owners.c.lease_until)).scalar_one()
        now = connection.execute(sa.select(leases._now_plus(engine.dialect.name, 0.0))).scalar_one()
    now = now.timestamp() if isinstance(now, dt.datetime) else now
    return until - now


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_every_run_is_looked_for_at_a_heartbeat(make, url, monkeypatch, count):
    """In several queries, when there are many; a run that is not found would be cancelled."""
    monkeypatch.setattr(leases, "_RUNS_PER_QUERY", 2)
    state = make(url)
    fences = {f"r{number}": 1 for number in range(count)}
    for run_id in fences:
        accept(state, accepted(run_id))
    lease, last = state._writer._lease, f"r{count - 1}"

    with state._engines.writing.begin() as connection:
        assert [] == lease.lost_runs(connection, fences)
        assert [last] == lease.lost_runs(connection, fences | {last: 2})


def test_a_lease_lasts_as_long_as_was_asked_for(make, url):
    """By the clock of the database; and it is renewed three times while it would last."""
    state = make(url, lease=3000)
    accept(state, accepted())

    assert 2000 < lease_of(state) <= 3000
    assert 0 < state._writer._lease.until_renewal <= 1000


def test_a_lease_that_is_renewed_lasts_longer_than_before(make, url):
    """As often as that comes to pass."""
    state, renewed = make(url, lease=0.1), threading.Semaphore(0)
    sa.event.listen(state._engines.writing, "commit", lambda _: renewed.release())
    accept(state, accepted())
    until, seen = sa.select(schema.owners.c.lease_until), []
    for _ in range(3):
        for _ in range(2):  # the second one began after the last look
            assert renewed.acquire(timeout=60)
        with state._engines.reading.begin() as connection:
            seen.append(connection.execute(until).scalar_one())

    assert sorted({*seen}) == seen


def test_a_lease_counts_to_its_last_second(make, url):
    """Nobody claims, takes or parks a run whose owner has some seconds left."""
    first, second = make(url, lease=15), make(url)
    accept(first, accepted())
    accept(first, accepted("of another flow", workflow_id="other"))
    write(first, happened(*STARTED))

    with pytest.raises(LeaseHeld):
        second.claim("run")
    assert Taken([], []) == second.take({FLOW}, (), 9)


def test_a_lease_that_has_just_run_out_is_none(make, url):
    """The run is there for whoever comes next."""
    first, second, third = make(url), make(url), make(url)
    for run_id in ("claimed", "taken"):
        accept(first, accepted(run_id))
        write(first, happened(*STARTED, run_id=run_id))
    engine = first._engines.writing
    with engine.begin() as connection:
        now = leases._now_plus(engine.dialect.name, 0.0)
        connection.execute(sa.update(schema.owners).values(lease_until=now, lease=0.0))

    assert RunStatus.RUNNING is second.claim("claimed").status
    assert Taken(["taken"], []) == third.take({FLOW}, (), 9)


def test_a_refused_claim_renews_no_lease(make, url):
    """What was rolled back is not taken for done."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))
    with pytest.raises(LeaseHeld):
        second.claim("run")

    assert 0.0 == second._writer._lease.until_renewal
    assert 1 == len(tell(url, "SELECT owner FROM actorflow_owners"))


# ── Who takes what ───────────────────────────────────────────────────────────────────────────

FLOW = ("flow", "1.0.0")


def enqueue(state, *records):
    """Have runs recorded that belong to nobody."""
    for record in records:
        commits = Commits()
        state.enqueue(record, commits.done)
        commits.wait()
        assert [None] == commits.errors


def test_an_enqueued_run_is_anybodys_while_the_one_who_enqueued_it_lives(make, url):
    """It is nobody's from the beginning."""
    client, daemon = make(url), make(url)
    enqueue(client, accepted())

    assert Taken(["run"], []) == daemon.take({FLOW}, (), 9)
    assert Taken([], []) == client.take({FLOW}, (), 9)


def test_the_most_urgent_is_taken_first_and_of_equals_the_one_that_has_waited_longest(make, url):
    """As many as were asked for, without those that are not meant; the rest is not parked."""
    state = make(url)
    enqueue(
        state,
        accepted("a", created_at=EPOCH + 9),
        accepted("b", created_at=EPOCH),
        accepted("c", created_at=EPOCH + 5, priority=1),
        accepted("d", created_at=EPOCH - 5),
    )

    assert Taken(["c", "b"], []) == state.take({FLOW}, {"d"}, 2)
    assert Taken(["d", "a"], []) == make(url).take({FLOW}, (), 9)


def test_only_what_is_known_in_its_very_version_is_taken(make, url):
    """The version of another workflow is no reason to take it, and what is not taken is parked."""
    state = make(url)
    enqueue(state, accepted(workflow_version="2.0.0"))

    assert Taken([], ["run"]) == state.take({FLOW, ("other", "2.0.0")}, (), 9)
    assert [(1, "")] == tell(url, "SELECT fence, owner FROM actorflow_runs")


def test_whoever_takes_runs_waits_for_nobody_who_does(make, postgresql):
    """A run that somebody is about to take, or to park, is passed over."""
    url = postgresql.database()
    state, daemon = make(url), make(f"{url}?options=-c%20lock_timeout%3D5s", patience=0)
    enqueue(
        state,
        *(accepted(run_id, created_at=EPOCH + number) for number, run_id in enumerate("ab")),
        *(accepted(run_id, workflow_id="unknown") for run_id in ("odd", "odder")),
    )
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        busy = sa.select(schema.runs).where(schema.runs.c.run_id.in_(["a", "odd"]))
        connection.execute(busy.with_for_update())
        taken = daemon.take({FLOW}, (), 1)

    assert Taken(["b"], ["odder"]) == taken


def test_a_lease_is_not_renewed_by_one_who_has_nothing_left(make, url):
    """Nor does he write anything else."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    write(state, [])

    assert state._writer._until_renewal() is None


def test_a_run_that_somebody_else_has_claimed_is_not_written_any_more(make, url):
    """The late writes of its former owner change nothing, and say so."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))
    expire(url)
    second.claim("run")
    write(second, happened(EventKind.RUN_RESUMED, after=3))

    error = recorded(first, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error, NotRecorded)
    assert {"run": LeaseLost("run")}.keys() == error.errors.keys()
    assert isinstance(error.errors["run"], LeaseLost)
    assert 4 == len(second.events("run"))
    assert StepStatus.PENDING is second.snapshot("run").steps["a"].status
    write(second, happened(*STARTED[1:], after=4))


@pytest.mark.parametrize("with_parent", [False, True], ids=["alone", "with its parent"])
def test_a_child_of_a_run_that_somebody_else_has_claimed_is_not_accepted(make, url, with_parent):
    """The new owner has looked for it, and may be about to start it under the same id."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))
    expire(url)
    second.claim("run")
    link, commits = Parent(run_id="run", step_id="a", root_run_id="run", call=""), Commits()
    with held(first) if with_parent else contextlib.nullcontext():
        if with_parent:
            first.record(happened(EventKind.STEP_COMPLETED, after=3), commits.done)
        first.create(accepted("child", parent=link), commits.done)
        first.create(accepted("other"), commits.done)
    for _ in range(2 + with_parent):
        commits.wait("create")

    assert {LeaseLost} == {type(it) for it in commits.errors if it} - {NotRecorded}
    assert ["other", "run"] == sorted(it.run_id for it in second.list().runs)
    accept(second, accepted("child", parent=link))


def test_a_child_of_a_run_that_had_to_make_way_is_not_accepted(make, url):
    """Its owner stood still beyond its lease, and another one has ended it for its key."""
    first, second = make(url), make(url)
    accept(first, accepted(key="k", start_at=EPOCH))
    write(first, happened(*STARTED))
    expire(url)
    terms = StartTerms(on_conflict="cancel_running")
    accept(second, accepted("other", key="k", start_at=EPOCH, terms=terms))
    link, commits = Parent(run_id="run", step_id="a", root_run_id="run", call=""), Commits()
    first.create(accepted("child", parent=link), commits.done)
    commits.wait("create")

    assert "cancelled" == second.snapshot("run").status
    assert ["run"] == [it.run_id for it in commits.errors]
    assert {LeaseLost} == {type(it) for it in commits.errors}


def test_a_child_is_accepted_together_with_its_parent(make, url):
    """One group may have both, and another owner may have runs too."""
    state, other, commits = make(url), make(url), Commits()
    accept(other, accepted("other"))
    link = Parent(run_id="run", step_id="a", root_run_id="run", call="")
    with held(state):
        state.create(accepted(), commits.done)
        state.create(accepted("child", parent=link), commits.done)
    for _ in range(2):
        commits.wait("create")

    assert [None, None] == commits.errors
    assert link == other.snapshot("child").parent


def test_whoever_reads_a_run_that_another_has_claimed_since_has_lost_it(make, url):
    """An ended run can be claimed twice in a row; what the other recorded is not a hole."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*FAILED))
    first.claim("run")
    second.claim("run")
    write(second, happened(EventKind.RUN_RESUMED, after=5))
    known = len(first.events("run"))

    error = recorded(first, happened(EventKind.RUN_RESUMED, after=known))

    assert isinstance(error.errors["run"], LeaseLost)
    assert 6 == len(second.events("run"))
    write(second, happened(*STARTED[1:], after=6))


@pytest.mark.parametrize("change", ["fence = fence + 1", "last_event = 4"])
def test_a_run_that_does_not_stand_as_its_owner_left_it_is_not_written(make, url, change):
    """Whoever has changed it, and however."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*STARTED))
    tell(url, f"UPDATE actorflow_runs SET {change}")  # noqa: S608 - it stands above

    error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error.errors["run"], LeaseLost)
    assert [(3,)] == tell(url, "SELECT count(*) FROM actorflow_events")


def test_a_run_that_is_lost_says_why_until_it_is_claimed_anew(make, url):
    """Then it is as good as any other, and may be lost for another reason."""
    first, second = make(url), make(url)
    accept(first, accepted())
    reasons = [recorded(first, happened(*STARTED)[1:]), recorded(first, happened(*STARTED))]
    first.claim("run")
    write(first, happened(*STARTED))
    expire(url)
    second.claim("run")
    reasons += [recorded(first, happened(EventKind.STEP_COMPLETED, after=3)) for _ in range(2)]

    expected = [StoreUnavailable, StoreUnavailable, LeaseLost, LeaseLost]
    assert expected == [type(reason.errors["run"]) for reason in reasons]


def test_a_run_that_was_lost_is_forgotten_when_it_has_ended(state):
    """A process that lives long may lose many."""
    accept(state, accepted())
    recorded(state, happened(*STARTED)[1:])
    known = {*state._writer._open_runs._broken}
    error = recorded(state, happened(EventKind.RUN_FAILED, after=3))

    assert ["run"] == [*error.errors]
    assert ({"run"}, {}) == (known, state._writer._open_runs._broken)


def test_a_run_that_is_lost_takes_no_other_along(make, url):
    """Not even one whose events came in the same record."""
    first, second = make(url), make(url)
    for run_id in ("lost", "kept"):
        accept(first, accepted(run_id))
        write(first, happened(*STARTED, run_id=run_id))
    expire(url)
    second.claim("lost")
    write(second, happened(EventKind.RUN_RESUMED, run_id="lost", after=3))

    completed = (EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED)
    mixed = [
        event
        for pair in zip(
            happened(*completed, run_id="lost", after=3),
            happened(*completed, run_id="kept", after=3),
            strict=True,
        )
        for event in pair
    ]
    error = recorded(first, mixed)

    assert ["lost"] == [*error.errors]
    assert RunStatus.COMPLETED is first.snapshot("kept").status
    assert RunStatus.RUNNING is first.snapshot("lost").status


def test_a_second_start_is_told_so_next_to_a_run_that_is_lost(make, url):
    """Otherwise it would run here, and nothing of it would be recorded."""
    first, second = make(url), make(url)
    accept(first, accepted("earlier", idempotency_key="k"))
    accept(first, accepted("lost"))
    write(first, happened(*STARTED, run_id="lost"))
    expire(url)
    second.claim("lost")
    starts, writes = Commits(), Commits()
    with held(first):
        first.create(accepted("again", idempotency_key="k"), starts.done)
        first.record(happened(EventKind.STEP_COMPLETED, run_id="lost", after=3), writes.done)
    starts.wait()
    writes.wait()

    assert [AlreadyStarted] == [type(error) for error in starts.errors]
    assert ["lost"] == [*writes.errors[0].errors]


def test_a_run_that_was_deleted_is_lost(make, url):
    """It is not made again, piece by piece."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*STARTED))
    tell(url, "DELETE FROM actorflow_runs")

    error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error.errors["run"], LeaseLost)
    with pytest.raises(RunNotFound):
        state.snapshot("run")


def test_a_key_that_is_purged_while_it_is_asked_for_is_free(make, postgresql, monkeypatch):
    """Somebody had it when it was to be taken, and nobody when it was looked up."""
    url = postgresql.database()
    state = make(url)
    accept(state, accepted("earlier", idempotency_key="k"))
    inserts = state._writer._statements.reserve.__self__._insert
    take, purged = inserts.run, []

    def take_and_purge(connection, rows):
        take(connection, rows)
        if not purged:
            purged.append(tell(url, "DELETE FROM actorflow_keys"))
        return True

    monkeypatch.setattr(inserts, "run", take_and_purge)
    accept(state, accepted("later", idempotency_key="k"))

    assert [1] == purged
    assert [("later",)] == tell(url, "SELECT run_id FROM actorflow_keys")


# ── When the database refuses ────────────────────────────────────────────────────────────────


def test_a_record_has_no_holes(state):
    """An event whose predecessor is missing is not recorded, nor is what follows it."""
    accept(state, accepted())
    missing = recorded(state, happened(*STARTED)[1:])
    later = recorded(state, happened(*STARTED))

    assert "event 1 of run 'run', which precedes it, is missing" in str(missing)
    assert isinstance(later, NotRecorded)
    assert [] == list(state.events("run"))


def test_one_run_that_cannot_be_written_does_not_hurt_the_others(make, url):
    """A group that is refused for good is written run by run."""
    state = make(url)
    with held(state):
        state.create(accepted("taken"), nobody)
        write_soon = Commits()
        for run_id in ("taken", "other"):
            if run_id == "other":
                state.create(accepted(run_id), nobody)
            state.record(happened(*COMPLETED, run_id=run_id), write_soon.done)
        tell(
            url,
            "INSERT INTO actorflow_runs (run_id, workflow_id, workflow_version, status, priority, "
            "serializer, step_ids, last_steps, inputs, metadata, created_at, last_event, owner, "
            "fence) VALUES ('taken', 'w', '1', 'pending', 0, 'json', '[]', '[]', '{}', '{}', "
            "'2026-01-01 00:00:00+00:00', 0, 'somebody', 1)",
        )
    for _ in range(2):
        write_soon.wait()

    assert [["taken"], None] == [error and [*error.errors] for error in write_soon.errors]
    assert isinstance(write_soon.errors[0].errors["taken"], StoreUnavailable)
    assert RunStatus.COMPLETED is state.snapshot("other").status


@contextlib.contextmanager
def held(state):
    """Keep the writer busy, so that what comes meanwhile is one group."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_error):
        entered.set()
        leave.wait()

    state.record([], hold)
    entered.wait()
    try:
        yield
    finally:
        leave.set()


def test_what_waits_is_written_together_and_told_in_order(state):
    """One commit for all of it."""
    commits = []
    sa.event.listen(state._engines.writing, "commit", lambda _: commits.append("commit"))
    done = Commits()
    with held(state):
        commits.clear()
        for number in range(20):
            state.create(accepted(f"r{number}"), nobody)
            state.record(happened(*COMPLETED, run_id=f"r{number}"), done.done)
    for _ in range(20):
        done.wait()

    assert ["commit"] == commits
    assert [None] * 20 == done.errors


def test_no_transaction_is_endless(state, monkeypatch):
    """What waits is written in several, when it is much."""
    monkeypatch.setattr(queue, "_LARGEST_GROUP", 10)
    commits, done = [], Commits()
    sa.event.listen(state._engines.writing, "commit", lambda _: commits.append("commit"))
    with held(state):
        commits.clear()
        for number in range(6):
            state.create(accepted(f"r{number}"), nobody)
            state.record(happened(*COMPLETED, run_id=f"r{number}"), done.done)
    for _ in range(6):
        done.wait()

    assert [None] * 6 == done.errors
    assert 3 == len(commits)


def test_a_claim_may_come_between_what_is_written_together(state):
    """What follows it depends on what it reads."""
    accept(state, accepted("failed"))
    write(state, happened(*FAILED, run_id="failed"))
    done, claimed = Commits(), []
    claim = threading.Thread(target=lambda: claimed.append(state.claim("failed").status))
    with held(state):
        state.create(accepted("before"), done.done)
        claim.start()
        while 2 > len(state._writer.queue._entries):
            threading.Event().wait(0.001)
        state.create(accepted("after"), done.done)
    claim.join()
    for _ in range(2):
        done.wait()

    assert ([None, None], [RunStatus.FAILED]) == (done.errors, claimed)
    assert 3 == state.list().total


def test_what_waits_is_written_before_a_manager_is_closed(state):
    """All of it, in however many groups, and acknowledged."""
    done = Commits()
    close = threading.Thread(target=state.close)
    with held(state):
        state.create(accepted("one"), done.done)
        close.start()
        while not state._writer.queue.closing:
            threading.Event().wait(0.001)
    close.join()

    assert [None] == done.errors
    assert 1 == state.list().total


def test_a_commit_whose_answer_is_lost_is_not_repeated(state):
    """It is looked for, and found."""
    accept(state, accepted())
    write(state, happened(*STARTED))
    lose = iter([True])

    def lose_the_answer(connection):
        if next(lose, False):
            connection.connection.dbapi_connection.commit()
            raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))

    sa.event.listen(state._engines.writing, "commit", lose_the_answer)
    write(state, happened(EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED, after=3))

    assert next(lose, None) is None
    assert [1, 2, 3, 4, 5] == [event.number for event in state.events("run")]
    assert ("ok", 0) == (state.health.status, state.health.failures)


def test_a_commit_whose_answer_is_lost_is_not_repeated_next_to_a_refused_start(state):
    """The refused run was not written, and is not looked for."""
    accept(state, accepted("earlier", idempotency_key="k"))
    starts, writes, lose = Commits(), Commits(), iter([True])

    def lose_the_answer(connection):
        if next(lose, False):
            connection.connection.dbapi_connection.commit()
            raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))

    sa.event.listen(state._engines.writing, "commit", lose_the_answer)
    with held(state):
        state.create(accepted("again", idempotency_key="k"), starts.done)
        state.create(accepted("other"), nobody)
        state.record(happened(*COMPLETED, run_id="other"), writes.done)
    starts.wait()
    writes.wait()

    assert next(lose, None) is None
    assert ([AlreadyStarted], [None]) == ([type(it) for it in starts.errors], writes.errors)
    assert [1, 2, 3, 4, 5] == [event.number for event in state.events("other")]


def test_a_commit_that_did_not_happen_is_repeated(state):
    """It is looked for, and not found."""
    accept(state, accepted())
    write(state, happened(*STARTED))
    lose = iter([True])

    def fail(_connection):
        if next(lose, False):
            raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))

    sa.event.listen(state._engines.writing, "commit", fail)
    write(state, happened(EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED, after=3))

    assert next(lose, None) is None
    assert [1, 2, 3, 4, 5] == [event.number for event in state.events("run")]


def pauses_of(state, monkeypatch):
    """How long the writer has paused; it does not wait for that."""
    pauses = []
    monkeypatch.setattr(state._writer._database, "_pause", pauses.append)
    return pauses


def test_a_refused_group_is_tried_again_at_growing_intervals(make, path, monkeypatch):
    """Up to a second, until the patience is over; and then each group once."""
    monkeypatch.setattr(connections, "_BUSY_TIMEOUT", 0.0)
    state = make(f"sqlite:///{path}", patience=3)
    for run_id in ("run", "next"):
        accept(state, accepted(run_id))
    pauses = pauses_of(state, monkeypatch)
    with locked(path):
        recorded(state, happened(*STARTED))
        first = list(pauses)
        recorded(state, happened(*STARTED, run_id="next"))

    assert [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0] == first
    assert first == pauses


def test_a_locked_database_is_waited_for(make, path):
    """Nothing is told while the lock lasts, and nothing is lost by it."""
    state = make(f"sqlite:///{path}")
    accept(state, accepted())
    write(state, happened(*STARTED))
    commits, other = Commits(), sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    failed = threading.Event()
    sa.event.listen(state._engines.writing, "handle_error", lambda _: failed.set())
    state.record(happened(EventKind.STEP_COMPLETED, after=3), commits.done)
    failed.wait()
    before, waiting = list(commits.errors), state.health.waiting
    other.execute("COMMIT")
    other.close()
    commits.wait()

    assert ([], 1, [None]) == (before, waiting, commits.errors)
    assert ("ok", 4) == (state.health.status, len(state.events("run")))


def test_a_database_that_stays_locked_fails_the_run(make, path):
    """After the patience that was asked for; and the store recovers by itself."""
    state = make(f"sqlite:///{path}", patience=0)
    accept(state, accepted())
    write(state, happened(*STARTED))
    with locked(path):
        error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))
        sick = state.health
    accept(state, accepted("next"))
    write(state, happened(*COMPLETED, run_id="next"))

    assert isinstance(error.errors["run"], StoreUnavailable)
    assert ("down", True) == (sick.status, "locked" in sick.error)
    assert ("ok", None) == (state.health.status, state.health.error)
    assert 3 == len(state.events("run"))


def test_a_group_that_was_not_taken_whole_is_not_acknowledged(make, url, monkeypatch):
    """Though nobody else seems to own any of it."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*STARTED))
    monkeypatch.setattr(state._writer._statements, "write", lambda *_: False)
    error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error.errors["run"], StoreUnavailable)


def test_a_defect_of_the_writer_keeps_nobody_waiting(make, url, monkeypatch):
    """The runs of that group are lost, and the next ones are written."""
    state = make(url)
    with monkeypatch.context() as patch:
        patch.setattr(state._writer._open_runs, "apply", lambda _: 1 / 0)
        state.create(accepted(), nobody)
        error = recorded(state, happened(*STARTED))
    accept(state, accepted("next"))
    write(state, happened(*COMPLETED, run_id="next"))

    assert "ZeroDivisionError" in str(error.errors["run"])
    assert ["next"] == [run.run_id for run in state.list().runs]


def test_a_defect_at_a_heartbeat_keeps_nobody_waiting(make, url, monkeypatch):
    """It is counted as a failure, and the next heartbeat and the next write are tried."""
    state, looked = make(url, lease=0.1), threading.Semaphore(0)

    def broken(*_):
        looked.release()
        return 1 / 0

    monkeypatch.setattr(state._writer._lease, "lost_runs", broken)
    accept(state, accepted())
    for _ in range(3):
        assert looked.acquire(timeout=60)
    write(state, happened(*STARTED))

    assert RunStatus.RUNNING is state.snapshot("run").status


def test_a_run_that_never_started_is_withdrawn_and_nobody_hears_of_it(state):
    """The supervisor must not take the word of it for that of another record."""
    heard = []
    with Orchestrator(state) as orchestrator:
        runtime = orchestrator._life.runtime("test")
        runtime.committed = heard.append
        accept(state, accepted("unstarted"))
        withdraw(state, "unstarted", runtime.clock)

    assert [] == heard

    assert RunStatus.CANCELLED is state.snapshot("unstarted").status


def test_more_than_may_wait_is_refused(make, url):
    """With an error of its own, before anything is promised."""
    state = make(url, max_waiting=10)
    with held(state):
        for number in range(10):
            state.create(accepted(f"r{number}"), nobody)
        waiting = state.health.waiting
        with pytest.raises(StoreOverloaded, match="the limit is 10"):
            state.create(accepted("more"), nobody)
        with pytest.raises(StoreOverloaded):
            state.record(happened(*STARTED), print)

    assert 10 == waiting
    assert 10 == state.list().total
    with pytest.raises(RunNotFound):
        state.snapshot("more")


def test_a_connection_that_is_cut_fails_nobody(make, postgresql):
    """Neither whoever writes, nor whoever reads: there are others."""
    url = postgresql.database()
    state = make(url)
    accept(state, accepted())
    before = state.list().total
    name = url.rpartition("/")[2]
    cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    postgresql.tell(f"{cut} WHERE datname = '{name}'")

    assert (1, 1) == (before, state.list().total)
    write(state, happened(*COMPLETED))
    assert "ok" == state.health.status


@pytest.mark.parametrize(
    "setting",
    [
        "datestyle = 'German'",
        "client_encoding = 'LATIN1'",
        "timezone = 'America/St_Johns'",
        "default_transaction_isolation = 'serializable'",
        "standard_conforming_strings = off",
    ],
)
def test_a_server_may_be_set_to_whatever_suits_others(make, postgresql, setting):
    """Times and texts come back as they were."""
    url = postgresql.database()
    postgresql.tell(f"ALTER DATABASE {url.rpartition('/')[2]} SET {setting}")
    state = make(url)
    accept(state, accepted(metadata={"price": "5 \u20ac", "path": "a\\b"}))
    write(state, happened(*COMPLETED))
    run = state.snapshot("run")

    assert (EPOCH, EPOCH + 5) == (run.created_at, run.finished_at)
    assert {"price": "5 \u20ac", "path": "a\\b"} == run.metadata


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
def test_a_commit_reaches_the_disk_if_that_was_asked_for(make, path, synchronous, level):
    """In a SQLite file, by its own word for it."""
    state = make(f"sqlite:///{path}", synchronous=synchronous)
    with state._engines.writing.begin() as connection:
        assert level == connection.exec_driver_sql("PRAGMA synchronous").scalar_one()


def test_a_database_that_cannot_be_reached_says_so():
    """When the manager is made, and without the password."""
    with pytest.raises(StoreUnavailable) as raised:
        SQLStateManager("postgresql://me:secret@127.0.0.1:1/nothing")

    assert "secret" not in str(raised.value)


# ── Starting ─────────────────────────────────────────────────────────────────────────────────


def test_a_start_is_acknowledged_when_the_run_is_recorded(state):
    """Not before, and meanwhile the event loop turns."""

    async def main():
        async with Orchestrator(state) as orchestrator:
            with held(state):
                starting = asyncio.create_task(orchestrator.start_async(flow_that_returns(1)))
                for _ in range(1000):
                    await asyncio.sleep(0)
                early = starting.done()
            run = await starting
            return early, state.list().total, (await run).output

    assert (False, 1, 1) == asyncio.run(main())


def test_a_start_from_another_thread_waits_for_the_record(make, url):
    """What it returns is there for everybody."""
    with Orchestrator(make(url)) as orchestrator:
        run = orchestrator.start(flow_that_returns(1))

        assert [(run.id,)] == tell(url, "SELECT run_id FROM actorflow_runs")
        assert 1 == run.result().output


def test_a_start_that_would_block_the_event_loop_is_refused(state):
    """With the method that does not, and before anything is recorded."""

    async def main():
        async with Orchestrator(state) as orchestrator:
            with pytest.raises(WrongLoop, match=r"start_async"):
                orchestrator.start(flow_that_returns(1))

    asyncio.run(main())

    assert 0 == state.list().total


@contextlib.contextmanager
def locked(path):
    """Keep everybody else from writing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("COMMIT")
        other.close()


def test_a_shutdown_waits_once_for_a_database_that_hangs(state, monkeypatch):
    """For the end of the runs or for its own, and says what it waited for."""
    monkeypatch.setattr(lifetime, "_MARGIN", 0.2)
    began, release = threading.Event(), threading.Event()
    flow = Workflow("flow")
    flow.step(lambda: (began.set(), release.wait()), id="a")
    orchestrator = Orchestrator(state, recover=True).__enter__()
    run = orchestrator.start(flow)
    began.wait()
    with held(state):
        release.set()
        report = orchestrator.shutdown(drain=0.01, grace=0.01)

    said = "the state manager still waits for its database; its thread stays behind"
    assert ((run.id,), (said,)) == (report.left, report.abandoned)


def test_a_search_that_hangs_does_not_keep_the_lease(make, url, monkeypatch):
    """It may wait for a connection on which nothing arrives; the writer has another one."""
    monkeypatch.setattr(lifetime, "_MARGIN", 2.0)
    state, searches, release = make(url), threading.Event(), threading.Event()
    flow = Workflow("flow")
    flow.step(release.wait, id="a")

    def take(*_):
        searches.set()
        release.wait()
        return Taken()

    monkeypatch.setattr(state, "take", take)
    orchestrator = Orchestrator(state, recover=True).__enter__()
    run = orchestrator.start(flow)
    searches.wait()
    report = orchestrator.shutdown(drain=0.0, grace=0.0)
    leases = tell(url, "SELECT count(*) FROM actorflow_owners")
    release.set()

    assert (run.id,) == report.left
    assert [(0,)] == leases
    assert any("a search for runs" in it for it in report.abandoned)
    assert not any("state manager" in it for it in report.abandoned)


def test_a_connection_that_comes_back_during_the_close_is_closed(make, url):
    """Its pool has been disposed of, and nobody looks into it again."""
    state, returned = make(url), []
    accept(state, accepted())

    def close(connection, _record):
        returned.append(connection)
        state.close()

    sa.event.listen(state._engines.reading, "checkin", close)
    state.snapshot("run")
    sa.event.remove(state._engines.reading, "checkin", close)

    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        returned[0].execute("SELECT 1")


def test_a_loop_turns_while_a_database_is_closed(state, monkeypatch):
    """Somebody else's tasks may live on it."""
    close, turned, heard = state.close, threading.Event(), []

    async def main():
        loop = asyncio.get_running_loop()

        def waits_for_the_loop():
            loop.call_soon_threadsafe(turned.set)
            heard.append(turned.wait(60))
            close()

        async with Orchestrator(state):
            monkeypatch.setattr(state, "close", waits_for_the_loop)

    asyncio.run(main())

    assert [True] == heard


@pytest.mark.parametrize("instead", ["nothing", "another"])
def test_nothing_is_acknowledged_that_is_written_to_a_file_which_is_gone(make, path, instead):
    """SQLite itself goes on with it, though nobody will find it again."""
    state = make(f"sqlite:///{path}", patience=0)
    accept(state, accepted())
    write(state, happened(*STARTED))
    before = state.list().total
    for part in path.parent.iterdir():
        part.unlink()
    if instead == "another":
        make(f"sqlite:///{path}")
    error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))
    with pytest.raises(StoreUnavailable, match="was deleted or replaced"):
        state.list()

    assert 1 == before
    assert "was deleted or replaced" in str(error)
    if instead == "another":
        accept(state, accepted("anew"))
        assert ["anew"] == [run.run_id for run in state.list().runs]


def test_a_run_that_cannot_be_recorded_does_not_start(make, path):
    """The caller is told, and the next one is taken again."""
    began = []
    flow = Workflow("flow")
    flow.step(lambda: began.append(1), id="a")
    state = make(f"sqlite:///{path}", patience=0)
    with Orchestrator(state) as orchestrator:
        with locked(path), pytest.raises(StoreUnavailable, match="locked"):
            orchestrator.start(flow)
        orchestrator.run(flow)

    assert [1] == began
    assert 1 == state.list().total


# ── What cannot be stored ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": {"a": object()}},
        {"metadata": {"a": object()}},
        {"priority": 2**63},
        {"trace_id": "a\0b"},
        {"workflow_id": "\ud800"},
        {"step_ids": ("a\0",)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_run_that_cannot_be_stored_is_refused(state, fields):
    """Before it is accepted."""
    with pytest.raises(NotStorable):
        accept(state, accepted(**fields))

    assert 0 == state.list().total


@pytest.mark.parametrize(("field", "named"), [("inputs", "input"), ("metadata", "metadata")])
def test_a_refused_input_names_its_workflow(state, field, named):
    """A run that is refused has no id yet that a caller knows."""
    with pytest.raises(NotStorable, match=rf"the {named} of a run of workflow '.+' cannot be"):
        accept(state, accepted(**{field: {"a": object()}}))


def test_a_run_whose_inputs_are_too_large_is_refused(make, url):
    """With the way to them."""
    with pytest.raises(TooLarge, match=r"\['text'\]"):
        accept(make(url, max_input=100), accepted(inputs={"text": "x" * 100}))


@pytest.mark.parametrize("text", ["x" * 88, "é" * 44], ids=["ascii", "other"])
def test_a_limit_is_a_limit_to_the_byte(make, url, text):
    """What takes as much as it allows is taken: inputs, metadata and outputs."""
    state = make(url, max_input=96, max_output=90)
    accept(state, accepted(inputs={"a": text}))
    state.admit("run", "a", text)

    with pytest.raises(TooLarge, match="takes 97 bytes"):
        accept(state, accepted("larger", inputs={"a": text + "x"}))
    with pytest.raises(TooLarge, match="takes 97 bytes"):
        accept(state, accepted("larger", metadata={"a": text + "x"}))
    with pytest.raises(TooLarge, match="takes 91 bytes"):
        state.admit("run", "a", text + "x")


@pytest.mark.parametrize(("most", "taken"), [(20, True), (19, False)])
def test_what_an_event_says_is_limited_to_the_byte(make, url, most, taken):
    """Beside the output, which has a limit of its own."""
    state = make(url, max_event=most)
    accept(state, accepted())
    said = {"reason": "xxxxxxx"}
    events = [it._replace(data=said) for it in happened(EventKind.RUN_STARTED)]

    assert taken == (recorded(state, events) is None)


def flow_that_returns(*values):
    """A workflow whose step returns one value after the other, one in each attempt."""
    flow, left = Workflow("returning"), list(values)

    @flow.step(retry=RetryPolicy(max_attempts=len(values), initial_interval=0.001))
    def give():
        return left.pop(0)

    @flow.step(after=give)
    def take(give):
        return give

    return flow


def test_an_output_that_cannot_be_stored_fails_its_step(state):
    """By name, with the path, and without another attempt."""
    with Orchestrator(state) as orchestrator:
        with pytest.raises(RunFailed) as raised:
            orchestrator.run(flow_that_returns({"rows": [1, object()]}, 1))
        result = raised.value.result

    assert isinstance(result.error, NotStorable)
    assert "the output of step 'give'" in str(result.error)
    assert "['rows'][1] is a builtins.object" in str(result.error)
    assert ("give", 1) == (result.failed_step, result.steps["give"].attempts)
    assert told(result.steps) == told(state.snapshot(result.run_id).steps)


@attrs.define
class Leaving:
    """A value of which one field cannot be read."""

    error: type[BaseException]
    field: int = 0

    def __getattribute__(self, name):
        """Raise for that one."""
        if name == "field":
            raise object.__getattribute__(self, "error")
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("place", ["thread", "loop"])
def test_an_output_whose_own_code_wants_out_fails_its_step(state, error, place):
    """As if the step had raised it: neither its thread nor the event loop ends by that."""

    async def give():
        return Leaving(error)

    flow = Workflow("leaving")
    flow.step((lambda: Leaving(error)) if place == "thread" else give, id="give", async_=True)
    with Orchestrator(state) as orchestrator:
        result = orchestrator.start(flow).wait(60)
        after = orchestrator.run(flow_that_returns(1)).output

    assert ("failed", error) == (result.status, type(result.error))
    assert 1 == after


def test_an_output_is_serialized_once(make, url):
    """It may be large, and what its step has returned is what counts."""

    class Counting(JSONSerializer):
        """Counts."""

        seen: ClassVar[list[object]] = []

        def dumps(self, value, /):
            """Take note."""
            self.seen.append(value)
            return super().dumps(value)

    with Orchestrator(make(url, serializer=Counting())) as orchestrator:
        orchestrator.run(flow_that_returns("of give"))

    assert 2 == Counting.seen.count("of give")  # its own, and that of the step which returns it


def test_an_output_is_stored_as_it_was_when_it_was_returned(state):
    """Whatever a later step does with it."""
    flow = Workflow("mutating")

    @flow.step
    def give():
        return [1]

    @flow.step(after=give)
    def spoil(give):
        give.append(2)

    with Orchestrator(state) as orchestrator:
        result = orchestrator.run(flow)

    assert [1] == state.snapshot(result.run_id).outputs["give"]


def test_another_serializer_than_the_runs_own_is_refused(make, url):
    """It could read something else than what was written."""

    class Other(JSONSerializer):
        """One of the program's own."""

        name = "other"

    accept(make(url), accepted())

    with pytest.raises(NotRestorable, match="written by the serializer 'json'"):
        make(url, serializer=Other()).snapshot("run")


def test_a_list_has_the_runs_that_another_serializer_wrote(make, url):
    """One of them keeps nobody from the others, and does not pass for a run without inputs."""

    class Other(JSONSerializer):
        """One of the program's own."""

        name = "other"

    accept(make(url), accepted(inputs={"city": "Oslo"}, created_at=1.0))
    other = make(url, serializer=Other())
    accept(other, accepted("theirs", created_at=2.0))
    theirs, mine = other.list().runs

    assert ("theirs", {}, "run", "pending") == (
        theirs.run_id,
        theirs.inputs,
        mine.run_id,
        mine.status,
    )
    assert "<unread: it was written by the serializer 'json', and this" in repr(mine.inputs)
    for look in (len, list, lambda inputs: inputs["city"]):
        with pytest.raises(NotRestorable, match="the inputs of run 'run' cannot be read back: it"):
            look(mine.inputs)


def test_a_serializer_that_fails_to_read_is_an_error_that_says_where(make, url):
    """With the run and the step, and its own error as the cause."""

    class Forgetful(JSONSerializer):
        """One of the program's own."""

        def loads(self, text):
            """Read what a run was given, and nothing else."""
            return {} if text == "{}" else 1 / 0

    state = make(url, serializer=Forgetful())
    accept(state, accepted())
    write(state, happened(*COMPLETED))

    said = "the output of step .* in run 'run' cannot be read back: it made the serializer 'json' "
    for look in (state.snapshot, state.events):
        with pytest.raises(NotRestorable, match=f"{said}raise ZeroDivisionError") as raised:
            look("run")
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


# ── With an orchestrator ─────────────────────────────────────────────────────────────────────


def test_a_failed_run_goes_on_in_another_process_as_it_were(make, url):
    """With what had completed; here by a manager and an orchestrator of their own."""
    ran = []
    flow = Workflow("report")

    @flow.step
    def fetch():
        ran.append("fetch")
        return {"pair": (1, 2)}

    @flow.step(after=fetch)
    def use(fetch):
        ran.append("use")
        if ran.count("use") == 1:
            raise OSError("not yet")
        return fetch["pair"]

    with Orchestrator(make(url)) as orchestrator:
        run_id = orchestrator.start(flow).wait().run_id
    with Orchestrator(make(url)) as orchestrator:
        result = orchestrator.resume(run_id, flow).result(60)

    assert (1, 2) == result.output
    assert ["fetch", "use", "use"] == ran


def test_a_run_that_was_cut_by_its_timeout_still_says_so(make, url):
    """`RunTimeout`, also when it is read from the database."""
    flow = Workflow("slow")

    @flow.step(async_=True)
    async def wait():
        await asyncio.Event().wait()

    with Orchestrator(make(url)) as orchestrator:
        run_id = orchestrator.start(flow, timeout=0.01).wait().run_id
    with Orchestrator(make(url)) as orchestrator, pytest.raises(RunTimeout):
        orchestrator.get(run_id).result()


def test_events_are_streamed_on_the_callers_own_loop(state):
    """From the first to the last, while the run goes on."""

    async def stream():
        async with Orchestrator(state) as orchestrator:
            run = await orchestrator.start_async(flow_that_returns(1))
            return [event.kind.value async for event in run.events()]

    kinds = asyncio.run(stream())
    assert ("run.accepted", "run.completed", 9) == (kinds[0], kinds[-1], len(kinds))


FORKS = """
import os, sys
from actorflow import Orchestrator, Workflow
from actorflow.errors.definition import ForkedStateManager
from actorflow.state.sql import SQLStateManager

state, flow = SQLStateManager(sys.argv[1], create=True), Workflow("flow")
flow.step(lambda: 1, id="a")
if sys.argv[2] == "used":
    with Orchestrator(state) as orchestrator:
        run_id = orchestrator.run(flow).run_id
        state.claim(run_id)  # its writer's thread lives
else:
    run_id = "run"
child = os.fork()
if not child:
    for use in (
        state.list,
        lambda: state.snapshot(run_id),
        lambda: state.claim(run_id),
        lambda: state.ask_to_cancel(run_id, "enough"),
        lambda: state.purge(keep=9),
        Orchestrator(state).__enter__,
    ):
        try:
            use()
        except ForkedStateManager as error:
            assert (error.pid, error.parent_pid) == (os.getpid(), os.getppid())
        else:
            print("not refused", flush=True)
    state.close()
    with Orchestrator(SQLStateManager(sys.argv[1])) as mine:
        print("child:", mine.run(flow).output, flush=True)
    sys.exit(5)
print("exit code of the child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with Orchestrator(state) as orchestrator:
    print("parent:", orchestrator.run(flow).output)
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["used", "not used"])
def test_a_fork_needs_a_manager_of_its_own(url, before):
    """It would share connections, and be one owner of runs with its parent; nothing hangs."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, url, before]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    expected = "child: 1\nexit code of the child: 5\nparent: 1\n"
    assert (expected, "", 0) == (ended.stdout, ended.stderr, ended.returncode)


# ── Arguments ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "mysql://a/b", "sqlite://", "sqlite:///:memory:", None, 3),
        *("sqlite:///file::memory:?cache=shared&uri=true", "postgresql://me@host:port/d"),
        "sqlite:///a\0b.db",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    """With one that would do."""
    with pytest.raises(DefinitionError):
        SQLStateManager(url)


@pytest.mark.parametrize(
    "options",
    [
        {"create": "no"},
        {"synchronous": "OFF"},
        {"patience": -1},
        {"patience": "1"},
        {"max_waiting": 0},
        {"max_input": -1},
        {"max_output": 0},
        {"max_event": True},
        {"serializer": "json"},
        {"serializer": JSONSerializer},
    ],
)
def test_an_option_out_of_its_range_is_refused(path, options):
    """By name."""
    with pytest.raises(DefinitionError, match=next(iter(options))):
        SQLStateManager(f"sqlite:///{path}", **options)


def test_what_a_serializer_lacks_is_named(path):
    """Before a run is written that it cannot read."""

    class Nameless:
        """It forgot to say what it is called."""

        def dumps(self, value):
            """Write."""

        def loads(self, text):
            """Read."""

    with pytest.raises(DefinitionError, match=r"it has no name\. Pass one such as JSONSerializer"):
        SQLStateManager(f"sqlite:///{path}", serializer=Nameless())


def test_two_strokes_are_no_path():
    """And not a database that is gone with its process."""
    with pytest.raises(DefinitionError, match="Use three slashes for a relative path, four for"):
        SQLStateManager("sqlite://runs.db")


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_that_is_not_there_is_named(tmp_path, create):
    """With the database, and not with advice for one that is there."""
    with pytest.raises(StoreUnavailable) as raised:
        SQLStateManager(f"sqlite:///{tmp_path}/no/runs.db", create=create)

    assert f"database sqlite:///{tmp_path}/no/runs.db did not" in str(raised.value)
    assert f"There is no folder {tmp_path}/no: create it, or correct the path" in str(raised.value)
    assert "resume" not in str(raised.value)


def test_a_file_that_is_not_there_is_not_created(tmp_path):
    """A path with a typing mistake leaves nothing behind."""
    with pytest.raises(SchemaMismatch, match=r"typo\.db"):
        SQLStateManager(f"sqlite:///{tmp_path}/typo.db")

    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_named(path):
    """With what to look at."""
    path.write_text("hello " * 1000, encoding="utf-8")
    with pytest.raises(
        StoreUnavailable, match=r"runs\.db did not open: .*SQLite file, and that this"
    ):
        SQLStateManager(f"sqlite:///{path}")


HIDDEN = """
import sys
from actorflow.state.sql import SQLStateManager
loaded = {"alembic", "msgspec", "psycopg", "sqlalchemy"} & {*sys.modules}
sys.modules[sys.argv[1]] = None
try:
    SQLStateManager(sys.argv[2])
except ImportError as error:
    print(loaded or "nothing", type(error).__name__, error.package, error)
"""


@pytest.mark.parametrize("package", ["sqlalchemy", "msgspec", "alembic", "psycopg"])
def test_a_missing_package_is_named_with_its_extra(package):
    """When a manager is made; importing its class loads none of them."""
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    command = [sys.executable, "-c", HIDDEN, package, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert said.startswith(f"nothing MissingExtra {package} ")
    assert "pip install 'actorflow[sql]'" in said


# ── How often it commits ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("async_", [True, False])
def test_a_chain_commits_once_a_step(state, monkeypatch, async_):
    """A step's end, and the start of the step that waited for it, are one group."""
    length = 50
    flow = Workflow("chain")
    for number in range(length):
        after = f"s{number - 1}" if number else ()
        flow.step(id=f"s{number}", after=after, async_=async_)(link_on_the_loop if async_ else link)
    groups, batches = [], []
    writer, record = type(state._writer), state.record
    write_group = writer._write_group

    def count_group(self, group):
        groups.append(group)
        return write_group(self, group)

    def count_batch(events, done):
        batches.append([str(event.kind) for event in events])
        return record(events, done)

    monkeypatch.setattr(writer, "_write_group", count_group)
    monkeypatch.setattr(state, "record", count_batch)
    with Orchestrator(state) as orchestrator:
        assert RunStatus.COMPLETED is orchestrator.run(flow, timeout=60).status

    assert [
        ["run.accepted", "run.started", "step.ready", "step.started"],
        *[["step.completed", "step.ready", "step.started"]] * (length - 1),
        ["step.completed", "run.completed"],
    ] == batches
    assert len(groups) / length <= 1.05


def link():
    """A step of a chain."""


async def link_on_the_loop():
    """A step of a chain."""

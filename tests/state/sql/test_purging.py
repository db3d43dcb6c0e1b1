"""Runs that are deleted: which ones go, that they go as a whole, and that nobody is held up."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import LeaseLost, RunNotFound, StoreUnavailable
from actorflow.model.lifecycle import EventKind
from actorflow.model.records import Parent
from actorflow.state.sql import PurgeReport, SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.purging import Pace
from actorflow.state.sql.retention import Limits, PeriodicPurge
from actorflow.state.sql.schema import tables as schema
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    write,
)

WHOLE = PurgeReport(runs=1, steps=1, events=5)
"""What a run that has ended comes to here."""


@pytest.fixture
def state(make):
    """One state manager."""
    return make()


@pytest.fixture
def now(state, monkeypatch):
    """What the time is for whoever purges."""
    moments = [EPOCH]
    monkeypatch.setattr(state._transactions._clock, "wall", lambda _: moments[-1])
    return moments.append


def ran(state, run_id="run", kinds=COMPLETED, *, time=EPOCH):
    """Let a run happen."""
    accept(state, accepted(run_id, created_at=time))
    write(state, happened(*kinds, run_id=run_id, time=time))


def ran_slowly(state, run_id="run", kinds=COMPLETED):
    """Let a run happen, one event at a time, so that each has a row."""
    accept(state, accepted(run_id))
    for event in happened(*kinds, run_id=run_id):
        write(state, [event])


def ended_at(state, run_id):
    """When a run ended."""
    return state.snapshot(run_id).finished_at


def kept(state):
    """The ids of the runs that are there."""
    return {run.run_id for run in state.list(limit=1000).runs}


def rows(url):
    """How many rows each table holds."""
    with Engines.to(url) as engines, engines.reading.begin() as connection:
        return [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (schema.runs, schema.steps, schema.batches)
        ]


# ── Which ones ───────────────────────────────────────────────────────────────────────────────


def test_runs_go_that_ended_too_long_ago(state, now):
    """By the time at which they ended, to the microsecond."""
    for number, run_id in enumerate(("one", "two", "three")):
        ran(state, run_id, time=EPOCH + 100 * number)
    now(ended_at(state, "two") + 50.0)

    assert WHOLE == state.purge(older_than=50.0)
    assert {"two", "three"} == kept(state)
    now(ended_at(state, "two") + 50.000001)
    assert WHOLE == state.purge(older_than=dt.timedelta(seconds=50))
    assert {"three"} == kept(state)


def test_as_many_runs_stay_as_were_asked_for(state):
    """Those that ended last, whenever they were accepted."""
    for run_id, time in (("second", EPOCH + 2), ("third", EPOCH + 3), ("first", EPOCH + 1)):
        ran(state, run_id, time=time)

    assert PurgeReport() == state.purge(keep=3)
    assert WHOLE == state.purge(keep=2)
    assert {"second", "third"} == kept(state)


def test_durations_of_purged_runs_do_not_count(state, url):
    """Nor those of a run that is being purged, whose steps may be there still."""
    for number, run_id in enumerate(("gone", "going", "kept")):
        ran(state, run_id, time=EPOCH + 100 * number)
    state.purge(keep=2)
    longer = ended_at(state, "going") + 500
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        of_it = schema.steps.c.run_id == "going"
        connection.execute(schema.steps.update().where(of_it).values(finished_at=longer))
    assert {"a": 251.5} == rounded(state.durations("flow"))

    with Engines.to(url) as engines, engines.writing.begin() as connection:
        of_it = schema.runs.c.run_id == "going"
        connection.execute(schema.runs.update().where(of_it).values(purged_at=longer))
    assert {"a": 1.0} == rounded(state.durations("flow"))


def rounded(durations):
    """Durations to the millisecond."""
    return {step_id: round(seconds, 3) for step_id, seconds in durations.items()}


def test_of_runs_that_ended_together_some_may_stay(state):
    """A limit is a limit."""
    for run_id in ("a", "b", "c"):
        ran(state, run_id)

    assert 1 == state.purge(keep=2).runs
    assert 2 == state.list().total


def test_a_run_goes_as_soon_as_one_of_two_limits_says_so(state, now):
    """As a state manager in memory has it."""
    for number, run_id in enumerate(("one", "two", "three")):
        ran(state, run_id, time=EPOCH + 100 * number)
    now(EPOCH + 300)

    assert 1 == state.purge(older_than=250, keep=3).runs
    assert 1 == state.purge(older_than=250, keep=1).runs
    assert {"three"} == kept(state)


def test_runs_in_progress_stay(state):
    """However old they are, and though nothing is to be kept."""
    accept(state, accepted("pending"))
    ran(state, "running", STARTED)
    ran(state, "undone", (*COMPLETED[:-1], EventKind.RUN_COMPENSATING))
    ran(state, "again", FAILED)
    state.claim("again")
    write(state, happened(EventKind.RUN_RESUMED, run_id="again", after=5))

    assert PurgeReport() == state.purge(keep=0, older_than=0)
    assert {"pending", "running", "undone", "again"} == kept(state)


def test_children_stay_while_a_run_of_their_family_is_in_progress(state):
    """They may be asked for again, or be undone; they go when all have ended."""
    for run_id, parent in (("root", None), ("child", "root"), ("grandchild", "child")):
        link = parent and Parent(run_id=parent, step_id="a", root_run_id="root", call="")
        accept(state, accepted(run_id, parent=link))
        write(state, happened(*(STARTED if run_id == "root" else COMPLETED), run_id=run_id))
    ran(state, "stranger")

    assert WHOLE == state.purge(keep=0)
    assert {"root", "child", "grandchild"} == kept(state)
    write(state, happened(*COMPLETED[len(STARTED) :], run_id="root", after=len(STARTED)))
    assert 3 == state.purge(keep=0).runs


def test_everything_of_a_run_goes(state, url):
    """No row of it is left."""
    ran(state, "one")
    ran(state, "two", FAILED)

    assert PurgeReport(runs=2, steps=2, events=10) == state.purge(keep=0)
    assert [0, 0, 0] == rows(url)


def test_idempotency_keys_go_last_and_not_before_they_are_old(state, now):
    """A message may be delivered again long after its run is gone; those of kept runs stay."""
    for number in range(5):
        record = accepted(f"r{number}", created_at=EPOCH + number, idempotency_key=f"k{number}")
        accept(state, record)
    for number in range(3):
        write(state, happened(*COMPLETED, run_id=f"r{number}", time=EPOCH + number))
    now(EPOCH + 100)

    assert (3, 0) == ((first := state.purge(keep=0, keys_older_than=100)).runs, first.keys)
    assert 2 == state.purge(keep=0, keys_older_than=98, rows=1).keys
    assert 1 == state.purge(keep=0, keys_older_than=0, rows=1).keys
    assert 0 == state.purge(keep=0, keys_older_than=0).keys

    again = Commits()
    state.create(accepted("again", idempotency_key="k4"), again.done)
    again.wait()

    assert ["AlreadyStarted"] == [type(error).__name__ for error in again.errors]
    accept(state, accepted("new", idempotency_key="k0"))


def test_the_leases_of_those_that_are_gone_go_too(state, url):
    """A daemon that was killed could not take its own back; those of the living stay."""
    ran(state, kinds=STARTED)
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.insert(schema.owners).values(owner="dead", lease_until=EPOCH))
    state.purge(keep=0)

    with Engines.to(url) as engines, engines.reading.begin() as connection:
        left = connection.scalars(sa.select(schema.owners.c.owner)).all()
    assert (1, False) == (len(left), "dead" in left)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "purge() has no limit. Pass older_than=, keep=, or both"),
        (
            {"older_than": -1},
            "older_than must be zero or a positive number of seconds or a timedelta; got -1",
        ),
        (
            {"older_than": "week"},
            "older_than must be zero or a positive number of seconds or a timedelta; got 'week'",
        ),
        ({"keep": -1}, "keep is -1. Use a whole number of at least 0"),
        ({"keep": True}, "keep is True"),
        (
            {"keep": 1, "keys_older_than": -1},
            "keys_older_than must be zero or a positive number of seconds or a timedelta; got -1",
        ),
        ({"keep": 1, "rows": 0}, "rows is 0. Use a whole number of at least 1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(state, options, said):
    """Above all none: nobody deletes everything by forgetting an argument."""
    ran(state)
    with pytest.raises(DefinitionError) as raised:
        state.purge(**options)

    assert said in str(raised.value)
    assert {"run"} == kept(state)


# ── As a whole ───────────────────────────────────────────────────────────────────────────────


def stopped_after(state, transactions):
    """Purge all that have ended, a row at a time, but only begin with it."""
    stopped = threading.Event()
    left = iter(range(transactions - 1))
    sa.event.listen(
        state._engines.writing,
        "commit",
        lambda _: stopped.set() if next(left, None) is None else None,
    )
    return state._purger.purge(Limits(older_than=None, keep=0, rows=1), stopped)


@pytest.mark.parametrize(("transactions", "left"), [(2, [2, 2, 8]), (4, [2, 2, 6]), (8, [2, 1, 3])])
def test_a_run_is_there_as_a_whole_or_not_at_all(make, url, transactions, left):
    """However far its deletion has come; and the next one to purge ends what was begun."""
    state = make()
    ran_slowly(state)
    ran_slowly(state, "running", STARTED)
    done = stopped_after(state, transactions)
    half_done = rows(url)
    state.close()

    other = make()
    assert (left, 0) == (half_done, done.runs)
    assert ({"running"}, 1, 0) == (
        kept(other),
        other.list().total,
        other.list(status="failed").total,
    )
    with pytest.raises(RunNotFound):
        other.snapshot("run")
    with pytest.raises(RunNotFound):
        other.events("run")
    assert 1 == other.purge(keep=10**6).runs
    assert [1, 1, 3] == rows(url)


def test_a_run_that_is_going_cannot_be_taken_up_again(make):
    """Nor written, by whoever had taken it up a moment before."""
    state, other = make(), make()
    ran(state, kinds=FAILED)
    other.claim("run")
    stopped_after(state, 2)
    commits = Commits()
    other.record(happened(EventKind.RUN_RESUMED, after=5), commits.done)
    commits.wait()

    assert isinstance(commits.errors[0].errors["run"], LeaseLost)
    with pytest.raises(RunNotFound):
        other.claim("run")


def test_a_purge_that_comes_too_late_for_a_resumed_run_leaves_it_alone(make, monkeypatch):
    """What was to go is looked at again when its turn has come."""
    state, other = make(), make()
    for number, run_id in enumerate(("one", "two")):
        ran(state, run_id, FAILED, time=EPOCH + number)
    bound = state._purger._bound

    def resumed_meanwhile(connection, limits):
        found = bound(connection, limits)
        connection.commit()
        other.claim("two")
        write(other, happened(EventKind.RUN_RESUMED, run_id="two", after=5))
        return found

    monkeypatch.setattr(state._purger, "_bound", resumed_meanwhile)

    assert WHOLE == state.purge(keep=0)
    assert {"two"} == kept(state)


# ── While others work ────────────────────────────────────────────────────────────────────────


def test_several_may_purge_at_once_while_others_run_workflows(make, url):
    """Every run goes once, none fails, and nothing is left behind."""
    flow = Workflow("plain")
    flow.step(lambda: 1, id="a", async_=True)
    managers, reports = [make() for _ in range(3)], []
    done = threading.Event()

    def purge(state):
        total = PurgeReport()
        while not done.is_set():
            total += state.purge(keep=0, rows=3)
        reports.append(total + state.purge(keep=0))

    threads = [threading.Thread(target=purge, args=(state,)) for state in managers[:2]]
    for thread in threads:
        thread.start()
    with Orchestrator(managers[2]) as orchestrator:
        statuses = {orchestrator.start(flow).wait().status for _ in range(30)}
    done.set()
    for thread in threads:
        thread.join()

    assert {"completed"} == statuses
    assert 30 == sum(report.runs for report in reports)
    assert [0, 0, 0] == rows(url)


def test_no_transaction_deletes_more_rows_than_it_may(state):
    """A long run is deleted in as many of them as that takes."""
    ran_slowly(state)
    ran_slowly(state, "other")
    transactions = [0]

    def count(_connection, cursor, statement, *_rest):
        if statement.startswith("DELETE"):
            transactions[-1] += cursor.rowcount

    sa.event.listen(state._engines.writing, "after_cursor_execute", count)
    sa.event.listen(state._engines.writing, "commit", lambda _: transactions.append(0))
    report = state.purge(keep=0, rows=3)

    assert PurgeReport(runs=2, steps=2, events=10) == report
    assert 14 == sum(transactions)
    assert {0, 1, 2, 3} >= set(transactions)


def test_transactions_become_as_large_as_they_may_be_and_stay_short():
    """More rows when they take no time, fewer when they take long."""
    pace = Pace(1000)
    rows = [pace.rows]
    for seconds in (0.001, 0.001, 0.01, 0.001, 0.001, 0.1, 0.1):
        pace.take(seconds)
        rows.append(pace.rows)

    assert [100, 200, 400, 400, 800, 1000, 500, 250] == rows


@pytest.mark.parametrize(("most", "least"), [(1000, 100), (3, 3)])
def test_transactions_do_not_become_tiny_however_slow_they_are(most, least):
    """A distant server, or a busy machine, is not made faster by asking it more often."""
    pace = Pace(most)
    for _ in range(10):
        pace.take(1.0)

    assert least == pace.rows


def test_a_locked_database_is_waited_for(tmp_path):
    """As long as the manager's patience lasts, and then it is said."""
    path = tmp_path / "runs.db"
    state = SQLStateManager(f"sqlite:///{path}", create=True, patience=0)
    ran(state)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        state.purge(keep=0)
    leave = iter([lambda: other.execute("COMMIT")])

    def left(_context):
        for commit in leave:
            commit()

    sa.event.listen(state._engines.writing, "handle_error", left)
    state._transactions.patience = 60.0

    assert WHOLE == state.purge(keep=0)
    state.close()
    other.close()


def test_the_place_of_deleted_runs_is_used_again(tmp_path):
    """So a SQLite file that is purged does not grow, nor does it become smaller."""
    path = tmp_path / "runs.db"
    state = SQLStateManager(f"sqlite:///{path}", create=True)

    def pages():
        with Engines.to(f"sqlite:///{path}") as engines, engines.reading.begin() as connection:
            return connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def fill():
        for number in range(20):
            run_id = f"r{number}"
            accept(state, accepted(run_id, inputs={"text": "x" * 20_000}))
            write(state, happened(*COMPLETED, run_id=run_id))

    sizes = []
    for _ in range(4):
        fill()
        sizes.append(pages())
        state.purge(keep=0)
        sizes.append(pages())

    assert {sizes[-1]} == set(sizes[2:])
    state.close()


# ── Unasked ──────────────────────────────────────────────────────────────────────────────────


def test_a_manager_keeps_to_its_limits_by_itself(make):
    """From when it is first used on."""
    state = make()
    for number in range(5):
        ran(state, f"r{number}", time=EPOCH + number)

    keeping = make(max_runs=2)
    assert 5 == keeping.list().total
    ran(keeping, "new", STARTED)
    while 3 != state.list().total:
        pass

    assert {"r3", "r4", "new"} == kept(state)


def test_old_runs_are_purged_again_and_again():
    """Whatever goes wrong in between; and no more once it has ended, until it begins anew."""
    asked, fail = threading.Semaphore(0), iter([True])

    def purge(limits, stopped):
        asked.release()
        if next(fail, False):
            raise StoreUnavailable("purge runs", "it is gone")

    purging = PeriodicPurge(purge, Limits(older_than=1.0, keep=None), every=0.0)
    for _ in range(2):
        purging.start()
        purging.start()
        for _ in range(3):
            assert asked.acquire(timeout=60)
        thread = purging._thread
        purging.stop()
        assert not thread.is_alive()


def test_without_limits_nothing_is_purged():
    """And there is no thread for it."""
    purging = PeriodicPurge(lambda *_: 1 / 0, Limits(older_than=None, keep=None))
    purging.start()
    thread = purging._thread
    purging.stop()

    assert thread is None


@pytest.mark.parametrize("options", [{"max_runs": -1}, {"max_runs": 1.5}, {"max_age": -1}])
def test_a_limit_out_of_its_range_is_refused(url, options):
    """By the name that it was given by."""
    with pytest.raises(DefinitionError, match=f"{next(iter(options))} (is|must be) "):
        SQLStateManager(url, create=True, **options)


def test_a_key_whose_run_is_gone_says_so_however_it_is_used(make):
    """The run's id would tell nobody anything who has never seen it."""
    state, flow = make(), Workflow("flow")
    flow.step(lambda: 1, id="a")
    said = "with this idempotency key, .* has been deleted, .* nothing was started. Use another"

    async def later(orchestrator):
        for begin in (orchestrator.start_async, orchestrator.enqueue_async):
            with pytest.raises(RunNotFound, match=said):
                await begin(flow, idempotency_key="k")

    with Orchestrator(state) as orchestrator:
        orchestrator.run(flow, idempotency_key="k")
        state.purge(keep=0)
        for begin in (orchestrator.start, orchestrator.enqueue):
            with pytest.raises(RunNotFound, match=said):
                begin(flow, idempotency_key="k")
        asyncio.run(later(orchestrator))

"""The upgrade from a row for each event to batches: complete, interruptible, and beside others."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from actorflow.errors.storage import SchemaMismatch
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.schema import upgrades
from actorflow.state.sql.schema.migrations.versions import v0005
from actorflow.testing.contracts.accounts import told
from tests.state.sql.records import write
from tests.support.soak_factor import SOAK

RECORDED = Path(write.__file__).with_name("written-by-0.1.0.sql")
RUNS = 8
"""How many runs that version recorded there."""
TABLES = ("actorflow_runs", "actorflow_steps", "actorflow_events")
EVENTS = "SELECT run_id, number, kind, step_id, attempt, time, data FROM actorflow_events"
BATCHES = "SELECT run_id, first, last, events FROM actorflow_event_batches"
KILLED = """
import os, signal, sys, types
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.schema import upgrades
from actorflow.state.sql.schema.migrations.versions import v0005

url, events, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
v0005._MAX_EVENTS, prepare = events, v0005.prepare
left = iter(range(batches))

def killed_later(connection, after):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(connection, after)

v0005.prepare = killed_later
upgrades._Upgrade._following = lambda *_: types.SimpleNamespace(revision="0005", module=v0005)
with Engines.to(url) as engines:
    upgrades.upgrade(engines)
"""


@pytest.fixture
def engines(empty_url):
    """Connections to a database that has the records of the earlier version."""
    with filled(empty_url, 1) as engines:
        yield engines


def filled(url, times):
    """Fill a database with the records of the earlier version, or with so many copies of them."""
    source = sqlite3.connect(":memory:")
    source.executescript(RECORDED.read_text("utf-8"))
    engines = Engines.to(url)
    with engines.writing.begin() as connection:
        upgrades._migrate(connection, "0004")
        for table in TABLES:
            cursor = source.execute(f"SELECT * FROM {table}")  # noqa: S608
            columns = [column for column, *_ in cursor.description]
            names, marks = ", ".join(columns), ", ".join(f":{column}" for column in columns)
            insert = sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})")  # noqa: S608
            rows = [dict(zip(columns, row, strict=True)) for row in cursor]
            connection.execute(insert, rows)
            other = ", ".join(column for column in columns if column != "run_id")
            copies = range((times - 1).bit_length())
            for copy in copies:
                connection.exec_driver_sql(
                    f"INSERT INTO {table} (run_id, {other}) "  # noqa: S608
                    f"SELECT run_id || '.{copy}', {other} FROM {table}"
                )
    source.close()
    return engines


def rows(engines, query):
    """The rows of a query, as tuples of plain values."""
    with engines.reading.begin() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def digest(engines):
    """How many events there are, and a digest of all of them."""
    total, found = 0, hashlib.sha256()
    with engines.reading.connect() as connection:
        query = sa.text(f"{EVENTS} ORDER BY run_id, number")
        for row in connection.execution_options(yield_per=10_000).execute(query):
            found.update(repr(tuple(row)).encode())
            total += 1
    return total, found.hexdigest()


def events_in(batches):
    """How many events some batches have."""
    return sum(last - first + 1 for _, first, last, _ in batches)


def version(engines):
    """The version of the tables."""
    return upgrades.current(engines)


@pytest.fixture
def small(monkeypatch):
    """Have a transaction copy seven events, and a batch hold three.

    Alembic loads its own copy of each migration, so it is given the one imported here.
    """
    migrate_as_usual, following = upgrades._migrate, upgrades._Upgrade._following

    def migrate(connection, to):
        if to != "0005":
            migrate_as_usual(connection, to)
            return
        with Operations.context(MigrationContext.configure(connection)):
            v0005.upgrade()
        connection.exec_driver_sql("UPDATE actorflow_version SET version_num = '0005'")

    ours = types.SimpleNamespace(revision="0005", module=v0005)
    monkeypatch.setattr(v0005, "_MAX_EVENTS", 7)
    monkeypatch.setattr(v0005, "_MAX_IN_BATCH", 3)
    monkeypatch.setattr(upgrades, "_migrate", migrate)
    monkeypatch.setattr(
        upgrades._Upgrade,
        "_following",
        lambda self, found: ours if found == "0004" else following(self, found),
    )


@pytest.fixture
def interrupted(monkeypatch, small):
    """Interrupts upgrades after so many transactions."""
    prepare = v0005.prepare

    def after(transactions, act=None):
        left = iter(range(transactions))

        def interrupted(connection, after):
            if next(left, None) is None:
                if act is None:
                    raise KeyboardInterrupt
                act(connection)
            return prepare(connection, after)

        monkeypatch.setattr(v0005, "prepare", interrupted)

    yield after
    monkeypatch.setattr(v0005, "prepare", prepare)


def test_every_event_is_there_after_the_upgrade(engines, small):
    """In the view, as it was in the table."""
    before = rows(engines, f"{EVENTS} ORDER BY run_id, number")
    found = upgrades.upgrade(engines)
    batches = rows(engines, f"{BATCHES} ORDER BY run_id, first")

    assert ("0004", upgrades.newest()) == found
    assert before == rows(engines, f"{EVENTS} ORDER BY run_id, number")
    assert len(before) == events_in(batches)
    assert {1, 2, 3} == {last - first + 1 for _, first, last, _ in batches}


def test_what_was_recorded_is_read_as_before(engines, empty_url):
    """Events with their outputs and errors, and their runs' workflows."""
    upgrades.upgrade(engines)
    state = SQLStateManager(empty_url)
    found = state.list().runs
    numbers = {run.run_id: [it.number for it in state.events(run.run_id)] for run in found}
    outputs = {
        (run.run_id, it.step_id): it.data["output"]
        for run in found
        for it in state.events(run.run_id)
        if it.kind == "step.completed"
    }
    last = dict(rows(engines, "SELECT run_id, last_event FROM actorflow_runs"))
    workflows = rows(engines, "SELECT DISTINCT run_id, workflow_id FROM actorflow_events")

    assert {run_id: [*range(1, 1 + count)] for run_id, count in last.items()} == numbers
    assert told(outputs) == told(
        {
            (run.run_id, step_id): step.output
            for run in found
            for step_id, step in state.snapshot(run.run_id).steps.items()
            if step.status == "completed"
        }
    )
    assert {run.run_id: run.workflow_id for run in found} == dict(workflows)
    state.close()


@pytest.mark.parametrize("transactions", [1, 3, 6])
def test_an_upgrade_that_is_interrupted_is_continued(engines, interrupted, transactions):
    """Until then the database is of the earlier version, and nothing is copied twice."""
    before = digest(engines)
    interrupted(transactions)
    with pytest.raises(KeyboardInterrupt):
        upgrades.upgrade(engines)
    copied = rows(engines, BATCHES)

    assert ("0004", before) == (version(engines), digest(engines))
    assert transactions <= events_in(copied) <= 7 * transactions
    with pytest.raises(SchemaMismatch, match="actorflow db upgrade"):
        upgrades.check(engines)

    interrupted(1000)
    upgrades.upgrade(engines)

    assert (upgrades.newest(), before) == (version(engines), digest(engines))
    assert set(copied) <= set(rows(engines, BATCHES))


def test_an_upgrade_that_fails_at_its_end_leaves_the_table_as_it_is(
    engines, interrupted, monkeypatch
):
    """And is continued like any other."""
    before, view = digest(engines), v0005._VIEW
    monkeypatch.setattr(v0005, "_VIEW", {})
    with pytest.raises(KeyError):
        upgrades.upgrade(engines)

    assert ("0004", before) == (version(engines), digest(engines))

    monkeypatch.setattr(v0005, "_VIEW", view)
    upgrades.upgrade(engines)

    assert (upgrades.newest(), before) == (version(engines), digest(engines))


def test_the_earlier_version_may_write_and_purge_during_the_upgrade(engines, interrupted):
    """What it records after a run was copied is copied at the end."""
    found = rows(engines, "SELECT run_id FROM actorflow_runs ORDER BY run_id")
    ids = found[0][0], found[-1][0]

    def meanwhile(connection):
        again = "run_id, last_event + 1, 'run.resumed', NULL, NULL, finished_at, NULL"
        changes = {
            f"INSERT INTO actorflow_events SELECT {again} FROM actorflow_runs": "",  # noqa: S608
            "UPDATE actorflow_runs SET last_event = last_event + 1": "",
            "UPDATE actorflow_runs SET purged_at = finished_at": ids[1],
            "DELETE FROM actorflow_events": f"{ids[1]}' AND number < '3",
        }
        for change, of in changes.items():
            connection.exec_driver_sql(f"{change} WHERE run_id = '{of or ids[0]}'")
        kept = f"{EVENTS} WHERE run_id <> '{ids[1]}' ORDER BY run_id, number"
        before.append([tuple(row) for row in connection.execute(sa.text(kept))])
        interrupted(1000)

    before = []
    interrupted(4, meanwhile)
    upgrades.upgrade(engines)

    assert before == [rows(engines, f"{EVENTS} ORDER BY run_id, number")]
    assert "run.resumed" in [row[2] for row in before[0]]


def test_several_upgrades_at_once_share_the_work(engines, empty_url, small):
    """Each finds what the others have copied."""
    before, barrier, outcomes = digest(engines), threading.Barrier(3), []

    def start():
        with Engines.to(empty_url) as own:
            barrier.wait()
            try:
                outcomes.append(upgrades.upgrade(own)[1])
            except BaseException as error:  # noqa: BLE001 - told to the test, which is elsewhere
                outcomes.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ([upgrades.newest()] * 3, before) == (outcomes, digest(engines))


def test_large_events_do_not_share_a_batch():
    """Each size counts the characters of an event."""
    assert [0] == list(v0005._bounds([]))
    assert [0, 1] == list(v0005._bounds([2_000_000]))
    assert [0, 2, 3, 4] == list(v0005._bounds([1, 999_999, 1_000_001, 1]))
    assert [0, 250, 251] == list(v0005._bounds([1] * 251))


def killed(url, events, transactions):
    """Start an upgrade in a process that is killed after so many transactions."""
    words = [url, str(events), str(transactions)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
    return ended.returncode == -signal.SIGKILL


def test_an_upgrade_whose_process_is_killed_is_continued(engines, empty_url):
    """By the next one."""
    before = digest(engines)

    assert killed(empty_url, 5, 4)
    copied = rows(engines, BATCHES)
    assert ("0004", True) == (version(engines), 4 <= events_in(copied) <= 20)
    assert killed(empty_url, 5, 2)
    assert set(copied) < set(rows(engines, BATCHES))
    upgrades.upgrade(engines)
    assert (upgrades.newest(), before) == (version(engines), digest(engines))


@pytest.mark.slow
def test_a_large_history_is_upgraded_though_the_process_is_killed(empty_url):
    """In bounded transactions; with `ACTORFLOW_SOAK=10`, a hundred thousand runs and more."""
    with filled(empty_url, 10_000 * SOAK // RUNS) as engines:
        before = digest(engines)

        assert killed(empty_url, 1_000, 10)
        assert killed(empty_url, 1_000, 10)
        ((copied,),) = rows(engines, "SELECT sum(last - first + 1) FROM actorflow_event_batches")
        assert 10_000 < copied <= 20_000
        upgrades.upgrade(engines)
        assert (upgrades.newest(), before) == (version(engines), digest(engines))

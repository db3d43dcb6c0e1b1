"""The tables of a database: made once, by one starter, and never those of another version."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from actorflow.cli import main
from actorflow.errors.storage import SchemaMismatch, StoreUnavailable
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql import engines as connections
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.schema import tables as schema
from actorflow.state.sql.schema import upgrades as migrating


@pytest.fixture
def engines(empty_url):
    """Connections to it."""
    with Engines.to(empty_url) as made:
        yield made


def set_version(engines, version):
    """Pretend that another version of actorflow was here."""
    with engines.writing.begin() as connection:
        connection.execute(sa.text("UPDATE actorflow_version SET version_num = :v"), {"v": version})


def test_what_the_migrations_make_is_what_the_code_expects(engines):
    """Tables, columns, types, keys and indexes."""
    migrating.upgrade(engines)
    with engines.reading.begin() as connection:
        options = {"version_table": migrating.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, schema.metadata)

    assert [] == differences


def test_the_checks_that_the_migrations_make_are_those_of_the_code(engines):
    """Alembic does not compare them."""
    migrating.upgrade(engines)
    inspector = sa.inspect(engines.reading)

    for table in schema.metadata.tables.values():
        expected = {str(it.name) for it in table.constraints if isinstance(it, sa.CheckConstraint)}
        assert expected == {it["name"] for it in inspector.get_check_constraints(table.name)}


def test_the_owners_of_an_earlier_version_are_kept_without_a_process(engines):
    """Processes of that version may still be running, and go on to write their rows."""
    with engines.writing.begin() as connection:
        migrating._migrate(connection, "0005")
    columns = "INSERT INTO actorflow_owners (owner, lease_until) "
    row = columns + "VALUES ('%s', '2026-01-31 08:00:00.000000+00:00')"
    with engines.writing.begin() as connection:
        connection.execute(sa.text(row % "before"))
    migrating.upgrade(engines)
    with engines.writing.begin() as connection:
        connection.execute(sa.text(row % "after"))
        found = connection.execute(sa.text("SELECT * FROM actorflow_owners ORDER BY owner")).all()

    assert [("after", 0, None, None), ("before", 0, None, None)] == [
        (it.owner, it.beat, it.lease, it.pid) for it in found
    ]


def test_the_keys_of_an_earlier_version_stand_for_ever(engines):
    """And processes of that version may still write runs and keys."""
    row = (
        "INSERT INTO actorflow_keys (workflow_id, idempotency_key, run_id, created_at) "
        "VALUES ('flow', '%s', 'run', '2026-01-31 08:00:00.000000+00:00')"
    )
    with engines.writing.begin() as connection:
        migrating._migrate(connection, "0005")
        connection.execute(sa.text(row % "before"))
    migrating.upgrade(engines)
    with engines.writing.begin() as connection:
        connection.execute(sa.text(row % "after"))
        found = connection.execute(sa.text("SELECT expires_at FROM actorflow_keys")).scalars()

        assert [None, None] == list(found)


def test_postgresql_leaves_room_for_the_next_version_of_a_row(postgresql):
    """So that a step's move changes no index, and copies no inputs."""
    with Engines.to(postgresql.database()) as engines:
        migrating.upgrade(engines)
        query = sa.text("SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'actorflow%'")
        with engines.reading.begin() as connection:
            stored = {name: said for name, said in connection.execute(query) if said}

    assert {
        "actorflow_runs": ["fillfactor=50", "toast_tuple_target=128"],
        "actorflow_steps": ["fillfactor=60"],
    } == stored


def test_tables_are_made_once(engines):
    """The second time there is nothing to do."""
    assert (None, migrating.newest()) == migrating.upgrade(engines)
    assert (migrating.newest(), migrating.newest()) == migrating.upgrade(engines)


def test_starters_at_the_same_time_wait_for_each_other(empty_url):
    """One makes the tables, the others find them."""
    barrier, outcomes = threading.Barrier(4), []

    def start():
        with Engines.to(empty_url) as engines:
            barrier.wait()
            try:
                outcomes.append(migrating.upgrade(engines)[0])
            except BaseException as error:  # noqa: BLE001 - told to the test, which is elsewhere
                outcomes.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [migrating.newest()] * 3 + [None] == sorted(outcomes, key=lambda it: it is None)


def test_a_starter_waits_for_another_one_for_as_long_as_that_takes(tmp_path, monkeypatch):
    """Also when it is longer than SQLite waits by itself."""
    path = tmp_path / "runs.db"
    monkeypatch.setattr(connections, "_BUSY_TIMEOUT", 0.0)
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
        Engines.to(f"sqlite:///{path}") as engines,
    ):
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        sa.event.listen(engines.writing, "handle_error", lambda _: other.rollback())

        assert (None, migrating.newest()) == migrating.upgrade(engines)


def test_a_database_without_tables_is_refused(empty_url):
    """With what to do about it."""
    with pytest.raises(SchemaMismatch, match=r"has no tables yet.*actorflow db upgrade"):
        SQLStateManager(empty_url)


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_a_newer_version_is_refused(empty_url, engines, create):
    """It may mean other things by the same names."""
    migrating.upgrade(engines)
    set_version(engines, "9999")
    with pytest.raises(SchemaMismatch, match="made by a newer actorflow") as raised:
        SQLStateManager(empty_url, create=create)

    assert (True, "9999") == (raised.value.newer, raised.value.found)


def test_a_table_of_somebody_elses_is_left_as_it_is(empty_url, engines):
    """It has a name that is wanted here; nothing is made beside it either."""
    with engines.writing.begin() as connection:
        connection.execute(sa.text("CREATE TABLE actorflow_runs (x INTEGER)"))
    with pytest.raises(StoreUnavailable, match=r"actorflow_runs.* already exists"):
        SQLStateManager(empty_url, create=True)
    with engines.reading.begin() as connection:
        found = sa.inspect(connection)
        columns = [column["name"] for column in found.get_columns("actorflow_runs")]

        assert (["actorflow_runs"], ["x"]) == (found.get_table_names(), columns)


def test_a_migration_that_fails_leaves_nothing_behind(engines, monkeypatch):
    """All of it is one transaction."""
    fail = RuntimeError("no")

    def stop_before_the_last_table(*_arguments, **_options):
        raise fail

    monkeypatch.setattr(sa.ForeignKey, "__init__", stop_before_the_last_table)
    with pytest.raises(RuntimeError):
        migrating.upgrade(engines)
    monkeypatch.undo()

    assert [] == sa.inspect(engines.reading).get_table_names()


# ── The command ──────────────────────────────────────────────────────────────────────────────


def said(capsys, *words):
    """The exit status of a command, and what it printed."""
    status = main(["db", *words])
    printed = capsys.readouterr()
    return status, printed.out.strip() or printed.err.strip()


def test_the_command_makes_tables_and_says_so(empty_url, capsys):
    """From nothing to the newest."""
    newest = migrating.newest()

    status, nothing = said(capsys, "current", empty_url)
    assert (0, "no tables") == (status, nothing.partition(":")[0])
    status, text = said(capsys, "check", empty_url)
    assert (1, True) == (status, f"type: actorflow db upgrade {empty_url}" in text.lower())
    assert (0, f"version {newest}, upgraded from an empty database") == said(
        capsys, "upgrade", empty_url
    )
    assert (0, f"version {newest}, already up to date") == said(capsys, "upgrade", empty_url)
    assert (0, f"version {newest}") == said(capsys, "current", empty_url)
    assert (0, f"version {newest}, up to date") == said(capsys, "check", empty_url)


def test_the_command_refuses_a_newer_database(empty_url, engines, capsys):
    """It changes nothing there."""
    migrating.upgrade(engines)
    set_version(engines, "9999")

    status, text = said(capsys, "upgrade", empty_url)
    assert (2, True) == (status, "Upgrade actorflow" in text)
    assert (1, True) == (said(capsys, "check", empty_url)[0], "Upgrade actorflow" in text)
    newest = migrating.newest()
    assert (0, f"version 9999; this actorflow uses {newest}") == said(capsys, "current", empty_url)


def test_the_command_refuses_what_is_no_database(capsys):
    """With an address that would be one."""
    status, text = said(capsys, "check", "nonsense")

    assert (2, True) == (status, "is not a database URL" in text)


def test_the_command_shows_no_password(capsys):
    """Not even when nobody answers."""
    status, text = said(capsys, "check", "postgresql://me:secret@127.0.0.1:1/nothing")

    assert (2, False) == (status, "secret" in text)

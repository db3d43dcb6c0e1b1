"""A SQLite database's files: deleted while they are in use, and readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys

import pytest
import sqlalchemy as sa

from actorflow.errors.storage import StoreUnavailable
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql import SQLStateManager, engines, sqlite_files
from actorflow.testing.contracts.accounts import (
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    write,
)

DAEMON = """
import sys
from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

flow = Workflow("flow")

@flow.step
def step():
    pass

with Orchestrator(SQLStateManager(sys.argv[1], create=True)) as orchestrator:
    while sys.stdin.readline():
        print(orchestrator.start(flow).wait().run_id, flush=True)
"""

DELETED = [("-wal",), ("-shm",), ("-wal", "-shm")]
deleted = pytest.mark.parametrize("suffixes", DELETED, ids="".join)


@pytest.fixture
def path(tmp_path):
    """Where a database will be."""
    return tmp_path / "runs.db"


@pytest.fixture
def make(path):
    """Makes state managers on it, and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def made(**options):
            state = SQLStateManager(f"sqlite:///{path}", create=True, **options)
            stack.callback(state.close)
            return state

        yield made


@pytest.fixture
def daemon(path):
    """A process that runs a workflow for each line that it reads, and prints its id."""
    command = [sys.executable, "-c", DAEMON, f"sqlite:///{path}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        yield process
        process.kill()


def acknowledged(daemon, count):
    """Have the daemon run a workflow so often; return the ids of the runs."""
    found = []
    for _ in range(count):
        daemon.stdin.write("\n")
        daemon.stdin.flush()
        found.append(daemon.stdout.readline().strip())
    return found


def delete(path, *suffixes):
    """Delete files under whoever uses them."""
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink()


def left_by_a_crash(path, place):
    """What a process would find if all that use the database were killed now."""
    place.mkdir()
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(path.with_name(path.name + suffix), place)
    with contextlib.closing(sqlite3.connect(place / path.name)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        query = "SELECT run_id, last_event FROM actorflow_runs"
        return dict(connection.execute(query).fetchall())


# ── Files that are deleted ───────────────────────────────────────────────────────────────────


@deleted
def test_a_killed_daemon_whose_log_was_deleted_has_lost_nothing(path, daemon, suffixes):
    """Neither before that nor after it."""
    before = acknowledged(daemon, 5)
    delete(path, *suffixes)
    after = acknowledged(daemon, 20)
    daemon.kill()
    daemon.wait()

    with contextlib.closing(sqlite3.connect(path)) as connection:
        query = "SELECT run_id FROM actorflow_runs WHERE status = 'completed'"
        found = {run_id for (run_id,) in connection.execute(query)}
        sound = connection.execute("PRAGMA integrity_check").fetchall()

    assert {*before, *after} == found
    assert [("ok",)] == sound


@deleted
@pytest.mark.parametrize("moment", ["begin", "commit"])
def test_a_commit_is_acknowledged_only_once_it_is_in_a_file_that_has_a_name(
    make, path, tmp_path, suffixes, moment
):
    """Whenever within the transaction the log is deleted."""
    state = make()
    accept(state, accepted())
    left = list(suffixes)

    def strike(_connection):
        delete(path, *left)
        left.clear()

    sa.event.listen(state._engines.writing, moment, strike)
    write(state, happened(*STARTED))

    assert ([], {"run": 3}) == (left, left_by_a_crash(path, tmp_path / "crashed"))


def test_a_transaction_that_fails_after_its_log_was_deleted_takes_nothing_along(
    make, path, tmp_path
):
    """An idle reader has the log open, too, and would keep it from being made again."""
    state, left = make(), ["-wal"]
    accept(state, accepted())
    state.snapshot("run")

    def strike(_connection):
        if left:
            delete(path, left.pop())
            raise sa.exc.OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    sa.event.listen(state._engines.writing, "commit", strike)
    write(state, happened(*STARTED))

    assert {"run": 3} == left_by_a_crash(path, tmp_path / "crashed")


@deleted
def test_two_managers_go_on_after_their_log_was_deleted(make, path, tmp_path, suffixes):
    """Each notices; neither writes to a log that the other one does not read."""
    states = [make(lease=0.3), make(lease=0.3)]  # each notices at its next renewal at the latest
    for number, state in enumerate(states):
        accept(state, accepted(f"r{number}"))
        assert 1 + number == state.list().total  # a reader has the log open, too
    delete(path, *suffixes)
    for number, state in enumerate(states):
        write(state, happened(*STARTED, run_id=f"r{number}"))
    for number, state in enumerate(reversed(states)):
        write(state, happened(EventKind.STEP_COMPLETED, run_id=f"r{1 - number}", after=3))

    assert {"r0": 4, "r1": 4} == left_by_a_crash(path, tmp_path / "crashed")
    assert [2, 2] == [state.list().total for state in states]


def test_a_log_that_was_made_again_just_before_a_transaction_is_not_missed(
    make, path, tmp_path, monkeypatch
):
    """Another manager has written to the new one before this one has its lock."""
    state, other = make(), make()
    accept(state, accepted())
    accept(other, accepted("other"))
    confirm, due = engines.confirm_files, [True]

    def confirm_and_strike(connection):
        confirm(connection)
        if due:
            due.clear()
            delete(path, "-wal")
            write(other, happened(*STARTED, run_id="other"))

    monkeypatch.setattr(engines, "confirm_files", confirm_and_strike)
    write(state, happened(*STARTED))

    assert {"run": 3, "other": 3} == left_by_a_crash(path, tmp_path / "crashed")


def test_a_reader_that_notices_first_saves_the_log(make, path, tmp_path):
    """It reports the loss, and the next read succeeds."""
    state = make()
    accept(state, accepted())
    state.snapshot("run")
    delete(path, "-wal")

    with pytest.raises(StoreUnavailable, match=r"runs\.db-wal was deleted or replaced"):
        state.snapshot("run")
    assert "run" == state.snapshot("run").run_id
    assert {"run": 0} == left_by_a_crash(path, tmp_path / "crashed")


@deleted
def test_no_connection_joins_while_a_deleted_log_is_in_use(make, path, monkeypatch, suffixes):
    """It would make a log that does not follow from the other one."""
    monkeypatch.setattr(sqlite_files, "_PROBE_TIMEOUT", 0.0)
    state = make()
    accept(state, accepted())
    delete(path, *suffixes)
    listed = [it.name for it in path.parent.iterdir()]
    with pytest.raises(sqlite3.OperationalError, match="deleted while another connection uses"):
        sqlite_files.wait_for_files(str(path))

    assert sorted(listed) == sorted(it.name for it in path.parent.iterdir())
    write(state, happened(*STARTED))
    sqlite_files.wait_for_files(str(path))


def test_a_log_that_another_process_has_written_since_is_not_overwritten(make, path, tmp_path):
    """The runs of the deleted log are lost, and whoever writes one is told."""
    state = make(patience=0)
    accept(state, accepted())
    shutil.copytree(path.parent, tmp_path / "other")
    delete(path, "-wal")
    shutil.copy(tmp_path / "other" / "runs.db-wal", path.parent)
    commits = Commits()
    state.record(happened(*STARTED), commits.done)
    commits.wait()

    assert "was deleted or replaced" in str(commits.errors[0])
    assert {"run": 0} == left_by_a_crash(path, tmp_path / "crashed")


# ── Who may read them ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def umask():
    """The usual umask, whatever the one of the tests is."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(path):
    """The permissions of the database, its log and the log's index."""
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    return [stat.S_IMODE(file.stat().st_mode) for file in files]


@pytest.mark.usefixtures("umask")
def test_a_new_database_is_readable_by_its_owner_alone(make, path):
    """Its log and the log's index, too."""
    make()

    assert [0o600] * 3 == modes(path)


@pytest.mark.usefixtures("umask")
def test_an_existing_database_keeps_its_permissions(make, path):
    """They may be wanted."""
    path.touch(0o640)
    make()

    assert [0o640] * 3 == modes(path)


@pytest.mark.usefixtures("umask")
def test_a_database_behind_a_link_is_private_too(path, tmp_path):
    """SQLite makes what the link points to."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with contextlib.closing(SQLStateManager(f"sqlite:///{link}", create=True)):
        assert [0o600] * 3 == modes(path)


@pytest.mark.usefixtures("umask")
def test_a_database_that_a_url_names_is_private_too(path):
    """SQLite reads such a name itself."""
    url = f"sqlite:///file:{path}?uri=true"
    with contextlib.closing(SQLStateManager(url, create=True)):
        assert [0o600] * 3 == modes(path)

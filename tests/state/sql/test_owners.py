"""Owners of runs: which process each one is, and when it counts as gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, Workflow
from actorflow.errors.storage import LeaseHeld
from actorflow.model.events import EventKind
from actorflow.model.powers import Taken
from actorflow.state.sql import SQLStateManager, processes
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.processes import Process
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    write,
)

GUARD = 60
FLOW = ("flow", "1.0.0")
LONG_AGO, FAR_AHEAD = "2000-01-01 00:00:00.000000+00:00", "2100-01-01 00:00:00.000000+00:00"

DAEMON = """
import sys, threading
from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

flow = Workflow("flow")

@flow.step(id="a")
def hangs():
    print("began", flush=True)
    threading.Event().wait()

with Orchestrator(SQLStateManager(sys.argv[1], lease=3000)) as orchestrator:
    orchestrator.start(flow).wait()
"""


@pytest.fixture
def make(url):
    """Makes state managers on one database, and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def made(**options):
            state = SQLStateManager(url, **options)
            stack.callback(state.close)
            return state

        yield made


on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@attrs.define
class Clock:
    """A monotonic clock that is turned by hand."""

    seconds: float = 100.0

    def __call__(self):
        """The time."""
        return self.seconds


def watching(state):
    """Hand a clock to the watch of a manager."""
    clock = Clock()
    state._writer._lease.others._now = clock
    return clock


def tell(url, statement, **values):
    """Execute a statement on a connection of its own."""
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.text(statement), values)


def row(url):
    """The only owner's row."""
    with Engines.to(url) as engines, engines.reading.begin() as connection:
        return connection.execute(sa.text("SELECT * FROM actorflow_owners")).one()


def owned(state, run_id="run", kinds=STARTED):
    """Have a manager own a run that is in progress."""
    accept(state, accepted(run_id))
    write(state, happened(*kinds, run_id=run_id))


@contextlib.contextmanager
def daemon(url):
    """A process that runs a run which does not end, from when its step has begun."""
    command = [sys.executable, "-c", DAEMON, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "began\n" == process.stdout.readline()
        yield process
        process.kill()


def ended_process():
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


# ── A process that was killed ────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")
@pytest.mark.parametrize("reaped", [True, False])
def test_the_run_of_a_killed_process_is_taken_over_at_once(url, make, reaped):
    """Its lease would have lasted for most of an hour."""
    taken = threading.Event()
    flow = Workflow("flow")

    @flow.step(id="a")
    def goes_on():
        taken.set()

    successor = Orchestrator(make(lease=3000), recover=True, recover_every=0.01)
    successor.register(flow)
    with daemon(url) as process, successor:
        process.send_signal(signal.SIGKILL)
        if reaped:
            process.wait()

        assert taken.wait(GUARD)


def test_the_run_of_a_process_that_is_alive_is_left_alone(url, make):
    """It is not known to have ended, whoever asks."""
    state = make()
    with daemon(url):
        (run,) = state.list().runs
        with pytest.raises(LeaseHeld):
            state.claim(run.run_id)

        assert Taken([], []) == state.take({FLOW}, (), 9)


def test_a_process_id_that_is_used_again_names_another_process(url, make):
    """The one that has it now started at another time."""
    first, second = make(), make()
    owned(first)
    with pytest.raises(LeaseHeld):
        second.claim("run")
    tell(url, "UPDATE actorflow_owners SET pid_started = pid_started - 1")

    assert "running" == second.claim("run").status


@pytest.mark.parametrize("column", ["host", "boot_id", "pid_namespace"])
@pytest.mark.parametrize("value", ["'other'", "NULL"])
def test_a_process_id_of_another_place_says_nothing(url, make, column, value):
    """Nor does one whose place is not known."""
    first, second = make(), make()
    owned(first)
    gone = f"pid = {ended_process()}, {column} = {value}"
    tell(url, f"UPDATE actorflow_owners SET {gone}")  # noqa: S608 - it stands above

    with pytest.raises(LeaseHeld):
        second.claim("run")
    assert Taken([], []) == second.take({FLOW}, (), 9)


def process(**parts):
    """This process, but for some parts."""
    return attrs.evolve(Process.current(), **parts)


def test_a_process_is_known_by_its_start_as_well():
    """This one is alive, and another one of the same id is not."""
    this = Process.current()

    assert this.is_known
    assert not this.knows_as_ended(this)
    assert this.knows_as_ended(process(pid_started=1))
    assert this.knows_as_ended(process(pid=ended_process()))


@pytest.mark.parametrize("pid", [0, -1, 2**62])
def test_a_number_that_is_no_process_id_is_not_asked_about(pid):
    """Some would mean every process."""
    assert not Process.current().knows_as_ended(process(pid=pid))


def test_a_process_that_is_hidden_is_not_known_to_have_ended(monkeypatch):
    """It is another user's, and `/proc` may not show it."""

    def refuse(_pid, _signal):
        raise PermissionError

    monkeypatch.setattr(processes.os, "kill", refuse)

    assert not Process.current().knows_as_ended(process(pid=ended_process()))


def test_without_proc_no_process_is_known_to_have_ended(monkeypatch):
    """As on macOS."""
    monkeypatch.setattr(processes, "_BOOT_ID", Path("/nowhere"))
    monkeypatch.setattr(processes, "_NAMESPACES", ("/nowhere",))
    monkeypatch.setattr(processes._Stat, "of", lambda _pid: None)
    this = Process.current()

    assert (None, None, None) == (this.boot_id, this.pid_namespace, this.pid_started)
    assert not this.knows_as_ended(attrs.evolve(this, pid=ended_process()))


def test_the_proc_of_another_namespace_is_not_believed(monkeypatch):
    """A process id means another process there."""
    stat = processes._Stat.of("self")
    monkeypatch.setattr(processes._Stat, "of", lambda _pid: stat._replace(pid=1))

    assert Process.current().pid_started is None


# ── An owner that is silent ──────────────────────────────────────────────────────────────────


@on_sqlite
@pytest.mark.parametrize("until", [LONG_AGO, FAR_AHEAD])
def test_on_sqlite_a_lease_is_over_when_its_counter_has_stood_still_for_as_long(url, make, until):
    """Whatever the wall clock was set to."""
    first, second = make(lease=3000), make()
    clock = watching(second)
    owned(first)
    tell(url, "UPDATE actorflow_owners SET lease_until = :until", until=until)

    assert Taken([], []) == second.take({FLOW}, (), 9)
    clock.seconds += 2999.9
    assert Taken([], []) == second.take({FLOW}, (), 9)
    with pytest.raises(LeaseHeld):
        second.claim("run")
    clock.seconds += 0.1
    assert Taken(["run"], []) == second.take({FLOW}, (), 9)


@on_sqlite
def test_a_counter_that_moves_is_watched_from_the_beginning(url, make):
    """Its owner is alive."""
    first, second = make(lease=3000), make()
    clock = watching(second)
    owned(first)
    second.take({FLOW}, (), 9)
    clock.seconds += 2000
    tell(url, "UPDATE actorflow_owners SET beat = beat + 1")
    second.take({FLOW}, (), 9)
    clock.seconds += 2000

    assert Taken([], []) == second.take({FLOW}, (), 9)
    clock.seconds += 1000
    assert Taken(["run"], []) == second.take({FLOW}, (), 9)


def test_a_renewal_moves_the_counter(url, make):
    """Also after the row was deleted."""
    state, seen = make(lease=3000), []
    owned(state)
    lease = state._writer._lease
    for _ in range(3):
        seen.append(row(url).beat)
        if len(seen) == 2:
            tell(url, "DELETE FROM actorflow_owners")
        lease.confirm_renewal(None)  # so that the next one is due
        with state._engines.writing.begin() as connection:
            lease.renew(connection)
    seen.append(row(url).beat)

    assert sorted({*seen}) == seen


@on_sqlite
def test_whoever_claims_too_early_is_told_when_to_try_again(url, make):
    """Only if the owner is silent; one that has just renewed its lease is alive."""
    first, second = make(lease=3000), make()
    clock = watching(second)
    owned(first)
    with pytest.raises(LeaseHeld) as alive:
        second.claim("run")
    tell(url, "UPDATE actorflow_owners SET lease_until = :until", until=LONG_AGO)
    with pytest.raises(LeaseHeld) as silent:
        second.claim("run")
    clock.seconds += 1000
    with pytest.raises(LeaseHeld, match=r"again in 2000\.0 s in this process") as later:
        second.claim("run")

    waits = [raised.value.retry_after for raised in (alive, silent, later)]
    assert [None, 3000, 2000] == waits
    clock.seconds += later.value.retry_after
    assert "running" == second.claim("run").status


def test_the_lease_of_an_earlier_version_counts_by_the_clock_of_the_database(url, make):
    """Its row has no counter and no process."""
    first, second = make(lease=3000), make()
    clock = watching(second)
    owned(first)
    nothing = "beat = 0, lease = NULL, host = NULL, boot_id = NULL, pid = NULL, pid_started = NULL"
    tell(url, f"UPDATE actorflow_owners SET {nothing}")  # noqa: S608 - it stands above
    second.take({FLOW}, (), 9)
    clock.seconds += 9999

    assert Taken([], []) == second.take({FLOW}, (), 9)
    tell(url, f"UPDATE actorflow_owners SET lease_until = '{LONG_AGO}'")  # noqa: S608 - as above
    assert Taken(["run"], []) == second.take({FLOW}, (), 9)


def test_on_postgresql_the_clock_of_the_server_counts(postgresql, postgresql_tables):
    """It is one for all machines, so no owner has to be watched."""
    url = postgresql.copy_of(postgresql_tables)
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(contextlib.closing(SQLStateManager(url))) for _ in range(2)
        )
        clock = watching(second)
        owned(first)
        second.take({FLOW}, (), 9)
        clock.seconds += 9999
        before = second.take({FLOW}, (), 9)
        tell(url, "UPDATE actorflow_owners SET lease_until = clock_timestamp()")

        assert Taken([], []) == before
        assert Taken(["run"], []) == second.take({FLOW}, (), 9)


@on_sqlite
def test_a_purge_leaves_the_lease_of_a_run_in_progress_whatever_the_clock_says(url, make):
    """Its owner may be alive."""
    first, second = make(), make()
    owned(first)
    tell(url, f"UPDATE actorflow_owners SET lease_until = '{LONG_AGO}'")  # noqa: S608 - as above
    second.purge(keep=9)

    assert first.snapshot("run").owner is not None


# ── Who owns a run ───────────────────────────────────────────────────────────────────────────


def test_a_run_in_progress_names_its_owner_and_where_it_is(make):
    """In lists, too."""
    state = make()
    owned(state)
    owner = state.snapshot("run").owner

    assert (Process.current().host, os.getpid(), EPOCH) == (owner.host, owner.pid, owner.since)
    assert owner.lease_until > owner.since
    assert [owner] == [run.owner for run in state.list().runs]


def test_a_run_that_was_taken_over_names_its_new_owner_and_since_when(url, make):
    """The run is older than that."""
    first, second = make(), make()
    owned(first)
    before = first.snapshot("run").owner
    first.close()
    left = second.snapshot("run").owner
    second.claim("run")
    after = second.snapshot("run").owner

    assert left is None
    assert before.id != after.id
    assert row(url).owner == after.id
    assert before.since < after.since <= after.lease_until


def test_a_run_without_an_owner_names_none(make):
    """It waits for one, was handed back, or has ended."""
    state = make()
    commits = Commits()
    state.enqueue(accepted("waits"), commits.done)
    owned(state, "handed back")
    state.hand_back("handed back")
    owned(state, "ended", COMPLETED)
    owned(state, "goes on")
    write(state, happened(EventKind.STEP_COMPLETED, run_id="goes on", after=3))

    named = {run.run_id: run.owner is not None for run in state.list().runs}
    assert {"waits": False, "handed back": False, "ended": False, "goes on": True} == named

"""What every test shares."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shutil
import signal
import sys

import pytest
from hypothesis import settings

from actorflow import Orchestrator
from actorflow.orchestrator import lifetime
from actorflow.state.sql import SQLStateManager
from tests.support import postgres
from tests.support.flows import Gate

# A deadline in wall time would make a verdict depend on how busy the machine is.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")

# A shell that starts the tests in the background has them ignore Ctrl-C, and every program that
# they start would inherit that: nothing could be interrupted, and the tests of it would hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    """Say how thoroughly planted bugs are searched for."""
    text = "from how many seeds the slow tests search for each planted bug, of 20 at most"
    parser.addoption(
        "--seeds", type=int, choices=range(1, 21), metavar="1..20", default=1, help=text
    )


def pytest_xdist_auto_num_workers():
    """One process more than there are cores: tests wait for processes, databases and commits."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their markers
def pytest_collection_modifyitems(items):
    """Mark the tests that need a PostgreSQL server as slow."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        named = [value for value in parameters if isinstance(value, str)]
        if "postgresql" in {*item.fixturenames, *named}:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Keep the garbage collector from looking at all tests again and again: there are thousands."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture
def seeds(pytestconfig):
    """From how many seeds to search for a planted bug."""
    return pytestconfig.getoption("seeds")


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server for all tests; each takes a database of its own."""
    with postgres.running(*postgres.QUICK) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_tables(postgresql):
    """A PostgreSQL database with tables and no runs, for others to be copied from."""
    url = postgresql.database()
    SQLStateManager(url, create=True).close()
    return url


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory):
    """A SQLite file with tables and no runs, for others to be copied from."""
    path = tmp_path_factory.mktemp("tables") / "runs.db"
    SQLStateManager(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The address of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return request.getfixturevalue("postgresql").database()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The address of a new database that has tables and no runs, of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_tables"), tmp_path / "runs.db")
        return f"sqlite:///{tmp_path}/runs.db"
    tables = request.getfixturevalue("postgresql_tables")
    return request.getfixturevalue("postgresql").copy_of(tables)


@pytest.fixture
def make(url):
    """A function that opens state managers on that database; they are closed after the test."""
    with contextlib.ExitStack() as stack:

        def made(**options):
            state = SQLStateManager(url, create=True, **options)
            stack.callback(state.close)
            return state

        yield made


@pytest.fixture
def gate():
    """A run of this gate's flow ends when the gate is opened, at the latest after the test."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def make_orchestrator(gate):
    """A function that makes started orchestrators; the gate is opened before they shut down."""
    made = []

    def make(*arguments, **options):
        made.append(Orchestrator(*arguments, stop_grace=0.1, **options))
        return made[-1].__enter__()

    yield make
    gate.open()
    for orchestrator in made:
        orchestrator.shutdown(drain=0, grace=1)


@pytest.fixture
def orchestrator(make_orchestrator):
    """A started orchestrator with a loop on a thread of its own."""
    return make_orchestrator()


@pytest.fixture
def impatient(monkeypatch):
    """Let a shutdown wait a moment instead of 5 seconds for a loop that does not answer."""
    monkeypatch.setattr(lifetime, "_MARGIN", 0.2)


@pytest.fixture
def unlogged(monkeypatch):
    """Hide pytest's log handlers, which format every event and keep what it refers to."""
    monkeypatch.setattr(logging.getLogger("actorflow"), "propagate", False)


@pytest.fixture
def quick_switching():
    """Let threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def pytest_terminal_summary(terminalreporter):
    """Say how many schedules were explored: what tests have recorded so, in whatever process."""
    reports = [one for several in terminalreporter.stats.values() for one in several]
    calls = [one for one in reports if getattr(one, "when", None) == "call"]
    properties = [pair for one in calls for pair in one.user_properties]
    explored = [count for name, count in properties if name == "schedules"]
    if explored:
        terminalreporter.write_line(f"{sum(explored):,} schedules explored")

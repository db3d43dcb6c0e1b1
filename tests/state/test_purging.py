"""What is deleted from a database, and what is not."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actorflow.errors import DefinitionError, LeaseLost, NotRecorded, RunNotFound
from actorflow.lifecycle import EventKind
from actorflow.state.sql import Purged, SQLStateManager, purging
from actorflow.state.sql.engines import Engines
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

LONG_AGO = timedelta(days=365)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The address of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return request.getfixturevalue("postgresql").database()


@pytest.fixture
def state(url):
    """A state manager in it."""
    made = SQLStateManager(url, create=True)
    yield made
    made.close()


def count(url, table):
    """How many rows there are."""
    with Engines.to(url) as engines, engines.reading.begin() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar()


def fill(state, *names, kinds=COMPLETED, after=0.0, **fields):
    """Let runs happen, one second after the other."""
    for number, name in enumerate(names):
        moment = EPOCH + after + number
        accept(state, accepted(name, created_at=moment, **fields))
        write(state, happened(*kinds, run_id=name, time=moment))


def test_runs_that_ended_long_ago_are_deleted_with_all_that_belongs_to_them(state, url):
    """Those in progress and those that ended a moment ago are not."""
    fill(state, "old", "older")
    fill(state, "failed", kinds=FAILED)
    fill(state, "running", kinds=STARTED)
    fill(state, "future", after=1e9)

    assert Purged(runs=3, keys=0) == state.purge(older_than=LONG_AGO)
    assert ["future", "running"] == [run.run_id for run in state.list().runs]
    assert (5 + 3, 2) == (count(url, "actorflow_events"), count(url, "actorflow_steps"))
    with pytest.raises(RunNotFound):
        state.snapshot("old")


def test_the_runs_that_ended_last_are_kept(state):
    """So many of them."""
    fill(state, "a", "b", "c", "d")
    fill(state, "running", kinds=STARTED)

    assert Purged(runs=2, keys=0) == state.purge(keep=2)
    assert {"c", "d", "running"} == {run.run_id for run in state.list().runs}
    assert Purged(runs=2, keys=0) == state.purge(keep=0)


def test_a_purge_is_made_of_small_transactions(state, monkeypatch):
    """So nobody waits for the whole of it; a large run is one of its own."""
    monkeypatch.setattr(purging, "_MOST_EVENTS", 9)
    fill(state, *"abcdef")
    commits = []
    sa.event.listen(state._engines.writing, "commit", lambda _: commits.append("commit"))

    assert 6 == state.purge(keep=0).runs
    assert 6 + 1 == len(commits)


def test_keys_are_deleted_last_and_only_when_their_runs_are_gone(state):
    """Until then a second start is no second run."""
    fill(state, "run", idempotency_key="k")

    assert Purged(runs=0, keys=0) == state.purge(keys_older_than=0)
    assert Purged(runs=1, keys=0) == state.purge(older_than=0)
    again = Commits()
    state.create(accepted("again", idempotency_key="k"), again.done)
    again.wait()
    assert "run" == again.errors[0].run_id
    assert Purged(runs=0, keys=1) == state.purge(keys_older_than=0)
    accept(state, accepted("again", idempotency_key="k"))


def test_a_run_that_is_purged_while_it_is_resumed_is_lost(state):
    """It is not made again, piece by piece."""
    fill(state, "run", kinds=FAILED)
    state.claim("run")
    state.purge(keep=0)
    commits = Commits()
    state.record(happened(EventKind.RUN_RESUMED, after=5), commits.done)
    commits.wait()

    assert isinstance(commits.errors[0], NotRecorded)
    assert isinstance(commits.errors[0].errors["run"], LeaseLost)


@pytest.mark.parametrize(
    "options", [{}, {"keep": -1}, {"keep": True}, {"older_than": -1}, {"keys_older_than": "x"}]
)
def test_a_purge_that_makes_no_sense_is_refused(tmp_path, options):
    """Before anything is deleted."""
    with (
        contextlib.closing(SQLStateManager(f"sqlite:///{tmp_path}/r.db", create=True)) as state,
        pytest.raises(DefinitionError),
    ):
        state.purge(**options)

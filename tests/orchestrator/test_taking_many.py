"""Many runs that wait: taken up in a few statements, however many they are."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, Workflow
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql import PickleSerializer, SQLStateManager
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    told,
    write,
)
from tests.support.flows import GUARD

FLOW = ("flow", "1.0.0")


def enqueue(state, count, prefix="run"):
    """Enqueue runs of one step."""
    commits = Commits()
    for number in range(count):
        state.enqueue(accepted(f"{prefix}-{number}"), commits.done)
    for _ in range(count):
        commits.wait("enqueue")


_REQUESTS = "cancel_asked IS NOT NULL"
"""In what the watcher asks now and then, for which the search is not to blame."""


@contextlib.contextmanager
def counted(engine):
    """The statements that are executed on an engine."""
    seen = []

    def count(_connection, _cursor, statement, *_):
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", count)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", count)


def statements_to_take(state, count):
    """How many reading statements it takes to start so many waiting runs."""
    enqueue(state, count, f"of-{count}")
    flow, started, all_started = Workflow("flow"), [], threading.Event()

    @flow.step(id="a", async_=True)
    async def wait():
        await asyncio.Event().wait()

    def watch(event):
        if event.kind is EventKind.RUN_STARTED:
            started.append(event.run_id)
            if len(started) == count:
                all_started.set()

    orchestrator = Orchestrator(
        state, recover=True, recover_every=GUARD, max_active_runs=count + 1, observers=[watch]
    )
    orchestrator.register(flow)
    with counted(state._engines.reading) as seen, orchestrator:
        assert all_started.wait(GUARD)
        taken = [it for it in seen if not it.startswith("BEGIN") and _REQUESTS not in it]
        orchestrator.shutdown(drain=0, grace=0, leave=False)
    return taken


def test_many_runs_are_read_in_as_many_statements_as_a_few(make):
    """Three for all that one search takes: their runs, their steps, their events."""
    few = statements_to_take(make(), 3)
    many = statements_to_take(make(), 300)

    assert (3, 3) == (len(few), len(many)), many


@pytest.mark.filterwarnings("ignore:PickleSerializer runs any code:actorflow.ActorflowWarning")
def test_records_are_what_snapshots_and_events_say(make):
    """Of runs in any state, without those that are missing, purged or unreadable."""
    state = make()
    retried = (
        *STARTED,
        EventKind.STEP_RETRYING,
        EventKind.STEP_READY,
        EventKind.STEP_STARTED,
        EventKind.STEP_COMPLETED,
        EventKind.RUN_COMPLETED,
    )
    runs = {"new": (), "begun": STARTED, "done": COMPLETED, "failed": FAILED, "retried": retried}
    for run_id, kinds in runs.items():
        accept(state, accepted(run_id, inputs={"x": run_id}))
        write(state, happened(*kinds, run_id=run_id))
    accept(make(serializer=PickleSerializer()), accepted("pickled", inputs={"x": 1}))

    found = state.records([*runs, "pickled", "missing", "\0"])

    assert [*runs] == sorted(found, key=[*runs].index)
    for run_id, (snapshot, events) in found.items():
        assert told(state.snapshot(run_id)) == told(snapshot)
        assert told(state.events(run_id)) == told(events)


def test_any_number_of_runs_can_be_left_out_of_a_search(make):
    """More than a database takes parameters."""
    state = make()
    enqueue(state, 2)

    assert ["run-1"] == state.take({FLOW}, ["run-0", *map(str, range(70_000))], 9).taken


def test_searches_that_find_as_many_as_they_can_take_look_at_all_waiting_runs_rarely(make):
    """For those that nothing here can run."""
    state = make()
    enqueue(state, 30)
    commits = Commits()
    state.enqueue(accepted("odd", workflow_id="unknown"), commits.done)
    commits.wait("enqueue")
    assert ["odd"] == state.take({FLOW}, (), 1).parked

    with counted(state._engines.writing) as seen:
        for _ in range(18):
            state.take({FLOW}, (), 1)

    assert 0 == sum("parked IS NULL" in statement for statement in seen)
    state.enqueue(accepted("odder", workflow_id="unknown"), commits.done)
    commits.wait("enqueue")
    assert ["odder"] == [it for _ in range(3) for it in state.take({FLOW}, (), 1).parked]


def test_a_search_reads_waiting_runs_only_and_in_their_order(tmp_path):
    """Not those of the workflow, of which a thousand times as many may have ended.

    SQLite would look them up by their workflow or status, and sort them, for each few it takes.
    """
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    enqueue(state, 2)
    asked = []

    def note(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT") and "LIMIT" in statement:
            asked.append((statement, parameters))

    engine = state._engines.writing
    sa.event.listen(engine, "before_cursor_execute", note)
    state.take({FLOW}, (), 1)
    state.due(0.0)
    sa.event.remove(engine, "before_cursor_execute", note)
    state.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        plans = [
            [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in asked
        ]

    used = [plan[0].partition("USING INDEX ")[2].split(" ")[0] for plan in plans]
    assert {"actorflow_runs_open", "actorflow_runs_due"} == {*used}
    assert not any("ORDER BY" in line for plan in plans[:2] for line in plan)

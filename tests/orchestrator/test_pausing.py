"""Runs are paused wherever they are: here, elsewhere, waiting, or without an owner."""

from __future__ import annotations

import asyncio
import threading

import pytest
import sqlalchemy as sa

from actorflow import MemoryStateManager, Orchestrator, Workflow
from actorflow.errors.definition import DefinitionError, OrchestratorClosed, WrongLoop
from actorflow.errors.running import RunEnded
from actorflow.errors.storage import RunNotFound
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.messages import PauseRun
from actorflow.model.pausing import Pause
from actorflow.orchestrator.pausing import Pauses
from actorflow.state.sql.schema import tables as schema
from actorflow.testing.contracts.accounts import accept, accepted, write

HANGS = 60.0


class Flow:
    """A workflow of two steps, the first of which ends when it is let."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()
        self.workflow = Workflow("two")

        @self.workflow.step
        def first():
            self.begun.release()
            assert self.opened.wait(HANGS)

        @self.workflow.step(after="first")
        def second():
            return "done"

    def wait(self):
        """Wait until the first step runs."""
        assert self.begun.acquire(timeout=HANGS)


@pytest.fixture
def two():
    """A workflow whose first step ends at the latest after the test."""
    flow = Flow()
    yield flow
    flow.opened.set()


def kinds(state, run_id):
    """The kinds of a run's own events."""
    return [event.kind.value for event in state.events(run_id) if event.step_id is None]


def until(run, kind):
    """Follow a run until an event of a kind, and return that."""
    return next(event for event in run.events(timeout=HANGS) if event.kind == kind)


@pytest.mark.parametrize("durable", [False, True])
def test_a_run_here_is_paused_and_goes_on(durable, make, make_orchestrator, two):
    """What is in flight ends; what follows waits. The record says so, and why."""
    state = make() if durable else MemoryStateManager()
    orchestrator = make_orchestrator(state)
    run = orchestrator.start(two.workflow)
    two.wait()
    run.pause("no paper", freeze=True)
    known = run.snapshot()
    two.opened.set()
    until(run, "step.completed")

    assert ("no paper", True, True) == (known.paused, known.frozen, known.paused_since > 0)
    assert [run.id] == [it.run_id for it in orchestrator.list(paused=True).runs]
    assert [] == list(orchestrator.list(paused=False).runs)
    run.unpause()
    assert "done" == run.result(timeout=HANGS).output
    assert (None, None, False) == (
        (ended := run.snapshot()).paused,
        ended.paused_since,
        ended.frozen,
    )
    assert ["run.accepted", "run.started", "run.paused", "run.unpaused", "run.completed"] == kinds(
        state, run.id
    )
    assert {"reason": "no paper", "freeze": True} == dict(until(run, "run.paused").data)


def test_a_run_elsewhere_is_paused_by_its_owner(make, make_orchestrator, two):
    """It hears of it, and of the end of the pause."""
    state = make()
    owner, other = make_orchestrator(state), make_orchestrator(make())
    run = owner.start(two.workflow)
    two.wait()
    far = other.get(run.id)
    far.pause()
    assert "paused by its owner" == far.snapshot().paused
    until(run, "run.paused")
    two.opened.set()
    until(run, "step.completed")
    far.unpause()

    assert "done" == run.result(timeout=HANGS).output


def test_a_pause_and_its_end_that_are_not_heard_leave_nothing(make, two):
    """And a pause that is heard late is that of the record."""
    state = make()
    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(two.workflow)
        two.wait()
        state._requests.listen_for_pauses(lambda *_: None)
        for freeze in (False, True):
            state.pause_run(run.id, Pause(reason="quick", freeze=freeze), 0.0)
            state.unpause_run(run.id)
        two.opened.set()

        assert "done" == run.result(timeout=HANGS).output
    assert ["run.accepted", "run.started", "run.completed"] == kinds(state, run.id)


def test_a_paused_run_without_an_owner_is_left_where_it_is(make, two):
    """It costs a row; it is taken when the pause is over, or when it must end."""
    state, known = make(), {("two", "1.0.0")}
    with Orchestrator(state) as orchestrator:
        run, doomed = (orchestrator.enqueue(two.workflow) for _ in range(2))
        run.pause()
        doomed.pause()
        state.ask_to_cancel(doomed.id, "enough", compensate=True)

        assert [doomed.id] == list(state.take(known, [], 5).taken)
        assert RunStatus.PENDING is run.status
        run.unpause()
        assert [run.id] == list(state.take(known, [doomed.id], 5).taken)


def test_a_run_that_waits_for_its_time_does_not_begin_while_it_is_paused(
    make, make_orchestrator, two
):
    """And begins afterwards, though its time has passed."""
    two.opened.set()
    for state in (MemoryStateManager(), make()):
        orchestrator = make_orchestrator(state)
        run = orchestrator.start(two.workflow, delay=3600)
        run.pause()
        run.reschedule(delay=0)
        until(run, "run.paused")
        assert RunStatus.PENDING is run.status
        run.unpause()

        assert "done" == run.result(timeout=HANGS).output


@pytest.mark.parametrize("unpaused", [False, True])
def test_a_pause_outlasts_the_orchestrator(make, make_orchestrator, two, unpaused):
    """The next one begins where the record stands."""
    state = make()
    first = make_orchestrator(state)
    run = first.start(two.workflow)
    two.wait()
    run.pause()
    until(run, "run.paused")
    two.opened.set()
    until(run, "step.completed")
    first.shutdown(drain=0)
    if unpaused:
        make().unpause_run(run.id)
    again = make_orchestrator(make()).resume(run.id, two.workflow)
    if not unpaused:
        until(again, "run.resumed")
        assert RunStatus.RUNNING is again.status
        again.unpause()

    assert "done" == again.result(timeout=HANGS).output
    assert 1 == kinds(state, run.id).count("run.paused")
    assert 1 == kinds(state, run.id).count("run.unpaused")


def test_a_cancelled_run_ends_although_it_is_paused(make, make_orchestrator, two):
    """Its record no longer says that it is paused."""
    two.opened.set()
    state = make()
    orchestrator = make_orchestrator(state)
    run = orchestrator.start(two.workflow, delay=3600)
    run.pause()
    run.cancel()
    free = orchestrator.enqueue(two.workflow)
    free.pause()
    free.cancel()

    for one in (run, free):
        assert RunStatus.CANCELLED is one.wait(HANGS).status
        assert None is one.snapshot().paused
    assert 0 == orchestrator.list(paused=True).total


def test_an_ended_run_is_neither_paused_nor_unpaused(make, make_orchestrator, two):
    """And one that nobody knows cannot be."""
    two.opened.set()
    for state in (MemoryStateManager(), make()):
        orchestrator = make_orchestrator(state)
        run = orchestrator.start(two.workflow)
        run.result(timeout=HANGS)

        with pytest.raises(RunEnded, match=r"has ended \(completed\) and cannot be paused"):
            run.pause()
        with pytest.raises(RunEnded, match="cannot be unpaused"):
            run.unpause()
        with pytest.raises(RunNotFound):
            state.pause_run("x", Pause(reason=""), 0.0)
        with pytest.raises(RunNotFound):
            state.unpause_run("x")


@pytest.mark.parametrize("durable", [False, True])
def test_a_resumed_run_does_not_remember_the_pause_that_it_ended_in(
    durable, make, make_orchestrator, gate
):
    """A new life begins."""
    flow, fails = Workflow("fails"), [True]

    @flow.step
    def first():
        gate.opened.wait(HANGS)
        if fails:
            raise ValueError("once")

    orchestrator = make_orchestrator(make() if durable else MemoryStateManager())
    run = orchestrator.start(flow)
    until(run, "step.started")
    run.pause()
    until(run, "run.paused")
    gate.open()
    assert RunStatus.FAILED is run.wait(HANGS).status
    fails.clear()

    assert RunStatus.COMPLETED is orchestrator.resume(run.id, flow).wait(HANGS).status


def test_the_arguments_of_a_pause_are_checked(orchestrator, two):
    """Before anything is recorded."""
    run = orchestrator.start(two.workflow)

    with pytest.raises(DefinitionError, match="freeze"):
        run.pause(freeze=1)
    with pytest.raises(DefinitionError, match="reason"):
        run.pause(reason=None)
    assert None is run.snapshot().paused


def test_a_loop_is_not_blocked_by_a_pause(make, two):
    """There is a call to await."""

    async def main():
        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.start_async(two.workflow)
            with pytest.raises(WrongLoop, match=r"await run\.pause_async"):
                run.pause()
            with pytest.raises(WrongLoop, match=r"await run\.unpause_async"):
                run.unpause()
            await run.pause_async(reason="later")
            two.opened.set()
            assert "later" == (await run.snapshot_async()).paused
            await run.unpause_async()
            return await run

    assert "done" == asyncio.run(main()).output


class Slow:
    """An event loop that is behind."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, function, *arguments):
        """Keep a call."""
        self.calls.append(lambda: function(*arguments))


def test_one_message_of_a_run_is_under_way():
    """However often it is paused meanwhile; what was asked for last is told."""
    loop, told, pause = Slow(), [], Pause(reason="a rest")
    pauses = Pauses(loop, told.append)
    for _ in range(3):
        pauses.tell("a", None)
        pauses.tell("a", pause)
    pauses.tell("b", None)
    assert 2 == len(loop.calls)
    for call in loop.calls:
        call()
    pauses.tell("a", None)

    assert {PauseRun} == {*map(type, told)}
    assert [("a", pause), ("b", None)] == [(one.run_id, one.pause) for one in told]
    assert 3 == len(loop.calls)


def test_a_pause_cannot_be_told_to_a_closed_loop():
    """The error says so."""
    loop = asyncio.new_event_loop()
    loop.close()

    with pytest.raises(OrchestratorClosed, match="event loop"):
        Pauses(loop, print).tell("a", None)


def test_a_run_in_memory_can_be_paused_again_after_a_cancellation_has_ended_a_pause():
    """It is undone then; its record does not take the second pause for the first."""
    state = MemoryStateManager()
    accept(state, accepted("run"))
    for reason in ("first", "second"):
        state.pause_run("run", Pause(reason=reason), 0.0)
        assert reason == state.snapshot("run").paused
        known = state.events("run")
        data = {"cancelled": True, "reason": "enough"}
        kind = EventKind.RUN_UNPAUSED
        write(state, [Event(len(known) + 1, kind, "run", None, None, 0.0, data)])
        assert None is state.snapshot("run").paused


def test_a_memory_of_pauses_stays_bounded(make_orchestrator, two):
    """Those of ended runs are forgotten with the next pause."""
    two.opened.set()
    state = MemoryStateManager()
    orchestrator = make_orchestrator(state)
    for _ in range(3):
        run = orchestrator.start(two.workflow, delay=3600)
        run.pause()
        run.cancel()
        run.wait(HANGS)

    assert 1 == len(state._pauses)


def test_what_is_not_heard_is_found_by_an_index(make):
    """However many runs there are."""
    state = make()
    query = state._requests.query
    with state._engines.reading.connect() as connection:
        if connection.dialect.name != "sqlite":
            return
        compiled = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {compiled}")).all()

    assert any("actorflow_runs_pauses" in row.detail for row in plan)
    assert "actorflow_runs_pauses" in {index.name for index in schema.runs.indexes}

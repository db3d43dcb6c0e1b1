"""Runs without an owner: taken over, taken from the queue, parked; and runs with keys."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections import Counter

import pytest
import sqlalchemy as sa

from actorflow import MemoryStateManager, Orchestrator, RunFailed, Workflow
from actorflow.errors.definition import DefinitionError, UnknownExecutor
from actorflow.errors.running import DeadlineExceeded, Overloaded
from actorflow.errors.storage import LeaseHeld, LeaseLost, StoreOverloaded, StoreUnavailable
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.orchestrator.requests import _completed, resumed_run
from actorflow.state.sql.engines import Engines
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)

# Their steps are lambdas and closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

GUARD = 60


def tell(url, statement):
    """Execute a statement on a connection of its own."""
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.text(statement))


def expire(url):
    """Let all leases be over: their time is up by the clock, and they need not be watched."""
    over = "SET lease = 0, lease_until = '2000-01-01 00:00:00.000000+00:00'"
    tell(url, "UPDATE actorflow_owners " + over)


class Ends:
    """An observer that lets others wait for ends of runs."""

    def __init__(self):
        self.seen = []
        self._changed = threading.Condition()

    def __call__(self, event):
        """Take note of an end."""
        if event.kind is EventKind.RUN_COMPLETED:
            with self._changed:
                self.seen.append(event.run_id)
                self._changed.notify_all()

    def wait_for(self, count):
        """Wait until so many have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, GUARD)


def flow_of(body, version="1.0.0"):
    """A workflow of the one step that `accepted` makes runs of."""
    flow = Workflow("flow", version=version)
    flow.step(body, id="a")
    return flow


def abandoned(make, url, run_id="run", kinds=STARTED, **fields):
    """Leave a run behind whose owner is not heard of any more."""
    lost = make()
    accept(lost, accepted(run_id, **fields))
    write(lost, happened(*kinds, run_id=run_id))
    expire(url)


# ── Taking over ──────────────────────────────────────────────────────────────────────────────


def test_an_abandoned_run_is_taken_over_at_the_start(make, url):
    """Without its id being known."""
    abandoned(make, url)
    state, ends = make(), Ends()
    orchestrator = Orchestrator(state, recover=True, observers=[ends])
    orchestrator.register(flow_of(lambda: "done"))
    with orchestrator:
        ends.wait_for(1)

        assert "done" == orchestrator.get("run").result(GUARD).output


def test_a_run_that_is_abandoned_later_is_taken_over_then(make, url):
    """While others go on."""
    state, ends = make(), Ends()
    with Orchestrator(state, recover=True, recover_every=0.01, observers=[ends]) as orchestrator:
        orchestrator.register(flow_of(lambda: "done"))
        orchestrator.run("flow")
        abandoned(make, url)
        ends.wait_for(2)

    assert "done" == state.snapshot("run").outputs["a"]


def test_a_run_whose_owner_is_alive_is_left_to_him(make):
    """However long its step takes; and a recovery that is its owner does not take it twice."""
    release, began = threading.Event(), []

    def body():
        began.append(1)
        release.wait(GUARD)

    first = Orchestrator(make(), recover=True, recover_every=0.01)
    second = Orchestrator(make(), recover=True, recover_every=0.01)
    for orchestrator in (first, second):
        orchestrator.register(flow_of(body))
    looked = threading.Semaphore(0)
    second._life.background._parts[0]._resuming.take_over = counting(
        looked, second._life.background._parts[0]._resuming.take_over
    )
    with first, second:
        run = first.start("flow")
        for _ in range(5):
            assert looked.acquire(timeout=GUARD)
        with pytest.raises(LeaseHeld):
            second.resume(run.id)
        release.set()
        run.result(GUARD)

    assert [1] == began


def counting(semaphore, function):
    """A function that releases a semaphore after each call."""

    def counted(*arguments, **named):
        try:
            return function(*arguments, **named)
        finally:
            semaphore.release()

    return counted


def test_a_run_that_was_taken_over_ends_for_its_former_owner_with_a_lease_lost(make, url):
    """And its step runs once more at the new owner's, who alone writes what comes of it."""
    hold, began = threading.Event(), threading.Event()

    def slow():
        began.set()
        hold.wait(GUARD)
        return "late"

    with Orchestrator(make()) as first, Orchestrator(make()) as second:
        run = first.start(flow_of(slow))
        assert began.wait(GUARD)
        expire(url)
        result = second.resume(run.id, flow_of(lambda: "new")).result(GUARD)
        hold.set()
        with pytest.raises(RunFailed) as raised:
            run.result(GUARD)

    assert isinstance(raised.value.__cause__, LeaseLost)
    assert "new" == result.output
    assert "new" == make().snapshot(run.id).outputs["a"]


@pytest.mark.parametrize("after", ["claimed", "deleted"])
def test_a_former_owner_notices_at_its_next_heartbeat_though_its_step_goes_on(make, url, after):
    """It has nothing to write, and the step is cancelled long before it would end."""
    began, told = threading.Event(), []
    flow = Workflow("flow")

    @flow.step(async_=True)
    async def a():
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    other = make()
    with Orchestrator(make(lease=0.1)) as first:
        run = first.start(flow)
        assert began.wait(GUARD)
        if after == "claimed":
            lease_lost_to(other, url, run.id)
        else:
            tell(url, "DELETE FROM actorflow_runs")
        result = run.wait(GUARD)
        next_one = first.run(flow_of(lambda: "goes on")).output

    assert ("failed", LeaseLost, ["cancelled"]) == (result.status, type(result.error), told)
    assert "goes on" == next_one


def lease_lost_to(other, url, run_id):
    """Have a run taken over; its owner renews its lease so often that it takes some tries."""
    while True:
        expire(url)
        with contextlib.suppress(LeaseHeld):
            other.claim(run_id)
            return


def test_a_run_that_goes_on_elsewhere_is_left_alone_by_the_heartbeat_of_its_former_owner(make, url):
    """And it keeps its own runs, however often it looks."""
    first, second = make(lease=0.1), make(lease=0.1)
    for run_id in ("taken", "kept"):
        accept(first, accepted(run_id))
        write(first, happened(*STARTED, run_id=run_id))
    lease_lost_to(second, url, "taken")
    while "taken" in first._writer._open_runs.runs:
        pass
    write(first, happened(*COMPLETED[3:], run_id="kept", after=3))
    write(second, happened(EventKind.RUN_RESUMED, *COMPLETED[1:], run_id="taken", after=3))

    assert {"completed"} == {first.snapshot(run_id).status for run_id in ("taken", "kept")}


def test_a_run_of_an_unknown_version_is_parked_until_somebody_knows_it(make, url):
    """The record says so."""
    abandoned(make, url, workflow_version="2.0.0")
    state, ends = make(), Ends()
    with Orchestrator(state, recover=True, recover_every=0.01, observers=[ends]) as orchestrator:
        orchestrator.register(flow_of(lambda: "old"))
        while state.snapshot("run").parked is None:
            threading.Event().wait(0.001)
        parked = state.snapshot("run")
        orchestrator.register(flow_of(lambda: "new", version="2.0.0"))
        ends.wait_for(1)
        done = state.snapshot("run")

    assert (RunStatus.RUNNING, True) == (parked.status, "knows its workflow" in parked.parked)
    assert ("new", None) == (done.outputs["a"], done.parked)


@pytest.mark.parametrize(
    "passes",
    [
        StoreUnavailable("answer", "the connection was cut"),
        StoreOverloaded(9, 9),
        Overloaded(2, 2, 2, 2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_run_that_cannot_be_taken_up_now_is_taken_up_a_moment_later(
    make, url, monkeypatch, passes
):
    """The connection was cut just then, or all places were taken; no other need take the run."""
    abandoned(make, url)
    state, ends = make(), Ends()
    cut, read = iter([passes]), state.snapshot

    def snapshot(run_id):
        error = next(cut, None)
        if error is not None:
            raise error
        return read(run_id)

    monkeypatch.setattr(state, "records", lambda _: {})  # so that each is read by itself
    monkeypatch.setattr(state, "snapshot", snapshot)
    orchestrator = Orchestrator(state, recover=True, recover_every=0.01, observers=[ends])
    orchestrator.register(flow_of(lambda: "done"))
    with orchestrator:
        while not ends.seen and read("run").parked is None:
            threading.Event().wait(0.001)

    assert ["run"] == ends.seen


def test_a_run_with_other_steps_than_its_version_has_here_is_left_to_others(make, url):
    """The record says why, and an orchestrator that has its steps takes it while this one lives."""
    abandoned(make, url, "odd", kinds=STARTED[:1], step_ids=("b",), last_steps=("b",))
    abandoned(make, url, "run")
    here, ends, there = make(), Ends(), Ends()
    orchestrator = Orchestrator(here, recover=True, recover_every=0.01, observers=[ends])
    orchestrator.register(flow_of(lambda: "done"))
    other = Orchestrator(make(), recover=True, recover_every=0.01, observers=[there])
    flow = Workflow("flow")
    flow.step(lambda: "odd indeed", id="b")
    other.register(flow)
    with orchestrator:
        ends.wait_for(1)
        while here.snapshot("odd").parked is None:
            threading.Event().wait(0.001)
        parked = here.snapshot("odd")
        with other:
            there.wait_for(1)

    with Engines.to(url) as engines, engines.reading.begin() as connection:
        fence = "SELECT fence FROM actorflow_runs WHERE run_id = 'odd'"
        fences = connection.execute(sa.text(fence)).scalar_one()

    assert (["run"], ["odd"]) == (ends.seen, there.seen)
    assert 4 == fences  # it was accepted, taken, handed back, and taken
    assert (RunStatus.RUNNING, True) == (parked.status, "it has other steps" in parked.parked)
    assert "odd indeed" == here.snapshot("odd").outputs["b"]


def test_a_run_that_cannot_be_resumed_here_can_be_elsewhere(make, url):
    """Where it was tried, an executor was missing; its lease is given up at once."""
    abandoned(make, url)
    flow = Workflow("flow")
    flow.step(lambda: "done", id="a", executor="pool")
    pool = concurrent.futures.ThreadPoolExecutor(1)
    with Orchestrator(make()) as first, Orchestrator(make(), executors={"pool": pool}) as second:
        with pytest.raises(UnknownExecutor):
            first.resume("run", flow)
        first.run(flow_of(lambda: "what is handed back is written before this"))

        assert "done" == second.resume("run", flow).result(GUARD).output
    pool.shutdown()


def test_a_run_whose_resumption_is_interrupted_late_is_not_handed_back(make, url, monkeypatch):
    """It has started by then: it is cancelled, and that must still be recorded."""
    abandoned(make, url)
    began, release = threading.Event(), threading.Event()
    state = make()
    with Orchestrator(state) as orchestrator:
        launcher = orchestrator._resuming._launcher
        launch = launcher.launch

        def launch_and_raise(*arguments):
            launch(*arguments)
            assert began.wait(GUARD)
            raise KeyboardInterrupt

        monkeypatch.setattr(launcher, "launch", launch_and_raise)
        with pytest.raises(KeyboardInterrupt):
            orchestrator.resume("run", flow_of(lambda: (began.set(), release.wait(GUARD))))
        run = orchestrator.get("run")
        release.set()

        assert "cancelled" == run.wait(GUARD).status
    assert RunStatus.CANCELLED is make().snapshot("run").status


def test_no_more_runs_are_taken_than_there_is_room_for(make, gate):
    """Others may have room for them."""
    state, limits = make(), []
    take = state.take
    state.take = lambda known, besides, most: limits.append(most) or take(known, besides, most)
    orchestrator = Orchestrator(state, recover=True, recover_every=3600.0, max_active_runs=3)
    with orchestrator:
        orchestrator.start(gate.flow)
        orchestrator._life.background._parts[0]._look(orchestrator._life._runtime)
        gate.open()

    assert 2 == limits[-1]


def test_there_is_nothing_to_take_over_in_memory():
    """It is gone with its process."""
    with pytest.raises(DefinitionError, match="SQLStateManager"):
        Orchestrator(recover=True)
    with (
        Orchestrator(MemoryStateManager()) as orchestrator,
        pytest.raises(DefinitionError, match="MemoryStateManager has none"),
    ):
        orchestrator.enqueue(flow_of(lambda: 1))


def test_a_resumed_run_is_told_all_that_it_was_started_with(make, url):
    """Its inputs, metadata, ids and priority; its own timeout starts again."""
    ids = {"trace_id": "t", "correlation_id": "c", "business_id": "b"}
    given = {"inputs": {"name": "Ada"}, "metadata": {"who": "me"}, "priority": 7, "timeout": 99.0}
    abandoned(make, url, **given, **ids)
    told, flow = [], Workflow("flow", timeout=1.0)

    @flow.step
    def a(ctx, name):
        told.append([name, dict(ctx.metadata), {it: getattr(ctx, it) for it in ids}])

    with Orchestrator(make()) as orchestrator:
        runtime = orchestrator._life.runtime("test")
        message = resumed_run(runtime, flow.plan(), runtime.snapshot("run")).message
        orchestrator.resume("run", flow).result(GUARD)

    assert [["Ada", {"who": "me"}, ids]] == told
    assert (7, 99.0) == (message.priority, message.timeout)


def test_steps_are_undone_in_the_order_in_which_they_last_completed():
    """One that was undone in an earlier life, and has completed again, counts as the later one."""
    completed = [it._replace(step_id=name) for name in "aba" for it in happened(*COMPLETED)]

    assert ("b", "a") == _completed(completed)


def test_a_run_that_has_completed_is_returned_and_needs_no_workflow(make):
    """It is not claimed."""
    state = make()
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    with Orchestrator(make()) as orchestrator:
        run = orchestrator.resume("run")

        assert ("completed", {"a": "of a"}) == (run.status, run.result().outputs)


def test_a_run_that_completes_just_before_it_is_resumed_is_not_run_again(make, monkeypatch):
    """Its owner was alive after all."""
    lost, state, began = make(), make(), []
    accept(lost, accepted())
    write(lost, happened(*STARTED))
    claim = state.claim

    def too_late(run_id):
        write(lost, happened(*COMPLETED[3:], after=3))
        return claim(run_id)

    monkeypatch.setattr(state, "claim", too_late)
    with Orchestrator(state) as orchestrator:
        result = orchestrator.resume("run", flow_of(lambda: began.append(1))).result(GUARD)
        write(state, [])
        kept = dict(state._writer._open_runs.runs)

    assert ({"a": "of a"}, [], {}) == (result.outputs, began, kept)
    assert 5 == len(lost.events("run"))


# ── The queue ────────────────────────────────────────────────────────────────────────────────


def test_two_orchestrators_share_a_queue_and_each_run_is_taken_once(make):
    """Each has room for one run, and no run goes on before both have one."""
    together, began = threading.Barrier(2), []

    def body(ctx):
        began.append(ctx.run_id)
        together.wait(GUARD)

    flow, ends = flow_of(body), Ends()
    several = [
        Orchestrator(make(), recover=True, recover_every=0.01, max_active_runs=1, observers=[ends])
        for _ in range(2)
    ]
    with several[0], several[1], Orchestrator(make()) as client:
        ids = [client.enqueue(flow).id for _ in range(10)]
        for orchestrator in several:
            orchestrator.register(flow)
        ends.wait_for(10)

    assert dict.fromkeys(ids, 1) == Counter(began)


def test_the_most_urgent_run_is_taken_first(make):
    """Of equals, the one that has waited longest."""
    began, flow, ends = [], Workflow("flow"), Ends()

    @flow.step
    def a(name):
        began.append(name)

    orchestrator = Orchestrator(
        make(), recover=True, recover_every=0.01, max_active_runs=1, observers=[ends]
    )
    with orchestrator:
        for name, priority in (("low", 0), ("high", 5), ("also low", 0), ("middle", 1)):
            orchestrator.enqueue(flow, {"name": name}, priority=priority)
        orchestrator.register(flow)
        ends.wait_for(4)

    assert ["high", "middle", "low", "also low"] == began


def test_a_run_is_enqueued_from_an_event_loop(make):
    """Which turns meanwhile."""

    async def main():
        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.enqueue_async(flow_of(lambda: 1), idempotency_key="k")
            return run.id

    run_id = asyncio.run(main())

    assert RunStatus.PENDING is make().snapshot(run_id).status
    assert run_id == asyncio.run(main())


def test_the_timeout_of_a_run_in_a_queue_counts_from_when_it_is_taken(make):
    """However long it has waited."""
    state, hold = make(), threading.Event()
    with Orchestrator(state) as client:
        run_id = client.enqueue(flow_of(lambda: hold.wait(GUARD)), timeout=0.01).id
    daemon = Orchestrator(make(), recover=True, recover_every=0.01, stop_grace=0.01)
    daemon.register(flow_of(lambda: hold.wait(GUARD)))
    with daemon:
        while not state.snapshot(run_id).status.terminal:
            threading.Event().wait(0.01)
        hold.set()

    assert isinstance(state.snapshot(run_id).error, DeadlineExceeded)


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────


def counted_flow():
    """A workflow that says how often it has run."""
    began = []

    def body():
        began.append(1)
        return len(began)

    return flow_of(body), began


def test_a_second_start_with_the_same_key_is_the_first_run(make):
    """Also in another process, and after the first one's end."""
    flow, began = counted_flow()
    with Orchestrator(make()) as first, Orchestrator(make()) as second:
        one = first.start(flow, idempotency_key="order 7")
        again = [
            first.start(flow, idempotency_key="order 7").id,
            second.start(flow, idempotency_key="order 7").id,
        ]
        one.result(GUARD)
        other = first.start(flow, idempotency_key="order 8")
        result = second.run(flow, idempotency_key="order 7")
        other.result(GUARD)

    assert [one.id, one.id] == again
    assert (one.id, 1) == (result.run_id, result.output)
    assert [1, 1] == began


def test_of_many_starts_at_once_with_one_key_one_is_made(make):
    """They are recorded together, perhaps, and all get the same run."""

    async def main():
        flow, began = counted_flow()
        async with Orchestrator(make()) as orchestrator:
            starts = [orchestrator.start_async(flow, idempotency_key="k") for _ in range(20)]
            runs = await asyncio.gather(*starts)
            results = [await run for run in runs]
            return {result.run_id for result in results}, began, orchestrator._life.live.ids()

    ids, began, left = asyncio.run(main())

    assert (1, [1], []) == (len(ids), began, left)


def test_a_repeated_start_runs_nothing_before_that_is_known(make):
    """The step would have begun, while the database was asked for the key."""
    flow, began = counted_flow()
    state = make()
    with Orchestrator(state) as orchestrator:
        first = orchestrator.run(flow, idempotency_key="k")
        told, heard = state._on_processed, []
        state._writer._on_processed = lambda group: (heard.append(list(began)), told(group))
        again = orchestrator.start(flow, idempotency_key="k")
        live = orchestrator._life.live.ids()

    assert (first.run_id, []) == (again.id, live)
    assert [1] == began
    assert [[1]] == heard


def test_keys_are_kept_in_memory_as_long_as_their_runs():
    """And a run that is forgotten may be started again."""
    flow, began = counted_flow()
    with Orchestrator(MemoryStateManager(max_runs=1)) as orchestrator:
        first = orchestrator.run(flow, idempotency_key="k")
        again = orchestrator.run(flow, idempotency_key="k")
        orchestrator.run(flow)
        later = orchestrator.run(flow, idempotency_key="k")

    assert first.run_id == again.run_id != later.run_id
    assert [1, 1, 1] == began


def test_a_start_whose_commit_was_not_answered_is_no_second_start(make):
    """Its key is there, and it is its own."""
    state, flow, lose = make(), flow_of(lambda: "done"), iter([True])

    def lose_the_answer(connection):
        if next(lose, False):
            connection.connection.dbapi_connection.commit()
            raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))

    sa.event.listen(state._engines.writing, "commit", lose_the_answer)
    with Orchestrator(state) as orchestrator:
        assert "done" == orchestrator.run(flow, idempotency_key="k").output

    assert 1 == state.list().total


@pytest.mark.parametrize("key", ["", 7])
def test_a_key_that_is_none_is_refused(key):
    """Before anything is started."""
    with (
        Orchestrator() as orchestrator,
        pytest.raises(DefinitionError, match="idempotency_key"),
    ):
        orchestrator.start(flow_of(lambda: 1), idempotency_key=key)


class LateKeys(MemoryStateManager):
    """Records runs when the test says so, and says so twice."""

    def __init__(self):
        super().__init__()
        self.pending = []

    def create(self, record, done):
        """Keep the run back."""
        self.pending.append((record, done))
        return False

    def commit(self):
        """Record the oldest run."""
        record, done = self.pending.pop(0)
        assert super().create(record, done)
        done(None)
        done(None)


async def _until(condition):
    while not condition():  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0)


def test_a_start_that_is_cancelled_before_its_key_is_known_runs_nothing():
    """Its run is recorded later, and cancelled at once: no caller waits for it."""

    async def main():
        flow, began = counted_flow()
        state = LateKeys()
        async with Orchestrator(state) as orchestrator:
            start = asyncio.create_task(orchestrator.start_async(flow, idempotency_key="k"))
            await _until(lambda: state.pending)
            start.cancel()
            await asyncio.wait({start})
            await _until(lambda: not orchestrator._life.live.ids())
            state.commit()
            await _until(lambda: not orchestrator._life.live.ids())
            (run,) = orchestrator.list().runs
            return start.cancelled(), began, run.status

    assert (True, [], RunStatus.CANCELLED) == asyncio.run(main())


def test_a_start_that_is_reported_twice_is_one_start():
    """By a state manager that means well."""

    async def main():
        flow, began = counted_flow()
        state = LateKeys()
        async with Orchestrator(state) as orchestrator:
            start = asyncio.create_task(orchestrator.start_async(flow, idempotency_key="k"))
            await _until(lambda: state.pending)
            state.commit()
            result = await (await start)
            return result.status, began, [event.number for event in state.events(result.run_id)]

    status, began, numbers = asyncio.run(main())

    assert (RunStatus.COMPLETED, [1]) == (status, began)
    assert [*range(1, len(numbers) + 1)] == numbers

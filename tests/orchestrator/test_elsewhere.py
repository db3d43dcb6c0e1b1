"""Handles of runs that another orchestrator runs, or none yet: they say what the record says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    OrchestratorClosed,
    RunCancelled,
    RunFailed,
    RunNotFound,
    WrongLoop,
    as_completed,
    wait_first,
    wait_first_async,
)
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import RunUnattended, StoreUnavailable
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)
from tests.support.flows import GUARD, Gate, flow_of, seen

# Their steps are lambdas and closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

KINDS = [
    *("run.accepted", "run.started", "step.ready", "step.started", "step.completed"),
    "run.completed",
]


class Stage:
    """An orchestrator that runs a gate's run, and another one that looks at it."""

    def __init__(self, make, gate, **options):
        self.owner = Orchestrator(make(**options), stop_grace=0.1)
        self.other = Orchestrator(make())
        self.gate = gate

    def __enter__(self):
        self.owner.__enter__()
        self.other.__enter__()
        self.run = self.owner.start(self.gate.flow)
        seen(self.run, "step.started")
        return self

    def __exit__(self, *error):
        self.gate.open()
        self.other.__exit__(*error)
        self.owner.__exit__(*error)

    def elsewhere(self):
        """Return a handle of the run in the orchestrator that does not run it."""
        return self.other.get(self.run.id)


@pytest.fixture
def stage(make, gate):
    """A run that is in progress elsewhere."""
    with Stage(make, gate) as stage:
        yield stage


class Waiting(threading.Thread):
    """A caller that waits on another thread."""

    def __init__(self, call):
        super().__init__()
        self._call = call
        self.outcome = None
        self.start()

    def run(self):
        """Keep what becomes of the call."""
        try:
            self.outcome = self._call()
        except Exception as error:  # noqa: BLE001 - it is what the test asks for
            self.outcome = error

    def ended(self):
        """Return it."""
        self.join(GUARD)
        assert not self.is_alive()
        return self.outcome


def listening(orchestrator, count=1):
    """Wait until so many callers follow runs there."""
    while len(orchestrator._life.runtime("test").following._ends) < count:
        time.sleep(0)


# ── What it says ─────────────────────────────────────────────────────────────────────────────


def test_a_run_in_progress_elsewhere_is_not_done(stage):
    """And it is when its record says so, whether or not it was waited for."""
    run = stage.elsewhere()
    before = run.done, run.status, repr(run).rpartition(" ")[2]
    stage.gate.open()
    stage.run.wait(GUARD)

    assert (False, "running", "followed>") == before
    assert (True, "completed") == (run.done, run.status)
    assert f"<Run {run.id} of 'gate', completed>" == repr(run)


WAITS = {
    "wait": lambda run: run.wait(),
    "wait, bounded": lambda run: run.wait(GUARD),
    "result": lambda run: run.result(GUARD),
    "wait_async": lambda run: asyncio.run(run.wait_async()),
    "await": lambda run: asyncio.run(run._result_async()),
    "wait_first": lambda run: wait_first([run], GUARD).wait(),
    "wait_first_async": lambda run: asyncio.run(wait_first_async([run], GUARD)).wait(),
    "as_completed": lambda run: next(iter(as_completed([run]))).wait(),
}


@pytest.mark.parametrize("call", WAITS)
def test_the_end_of_a_run_elsewhere_is_waited_for(stage, call):
    """By each of the calls that wait."""
    run = stage.elsewhere()
    waiting = Waiting(lambda: WAITS[call](run))
    listening(stage.other)
    stage.gate.open()

    result = waiting.ended()
    assert ("completed", True) == (result.status, result.output)
    assert stage.run.wait(GUARD).outputs == result.outputs


@pytest.mark.parametrize("call", WAITS)
def test_a_wait_goes_on_when_the_end_cannot_be_read_at_once(stage, monkeypatch, call):
    """The server may restart at this moment, which is no reason to fail a step that waits."""
    run, tries = stage.elsewhere(), []
    runtime = stage.other._life.runtime("test")
    snapshot = runtime.snapshot

    def restarting(run_id):
        tries.append(run_id)
        if len(tries) <= 2:
            raise StoreUnavailable("answer", "it restarts")
        return snapshot(run_id)

    waiting = Waiting(lambda: WAITS[call](run))
    listening(stage.other)
    monkeypatch.setattr(runtime, "snapshot", restarting)
    stage.gate.open()

    assert "completed" == waiting.ended().status
    assert len(tries) >= 3


def test_a_wait_that_is_over_says_when_the_record_cannot_be_read(stage, monkeypatch):
    """It cannot say that the run goes on."""
    run, runtime = stage.elsewhere(), stage.other._life.runtime("test")

    def away(_run_id):
        raise StoreUnavailable("answer", "it is gone")

    monkeypatch.setattr(runtime, "snapshot", away)
    monkeypatch.setattr(runtime, "follow", lambda _run_id, _changed: lambda: None)  # hears nothing
    with pytest.raises(StoreUnavailable):
        run.wait(0)


def test_a_wait_for_a_run_elsewhere_is_over_in_time(stage):
    """The run goes on, and is waited for again."""
    run = stage.elsewhere()

    for seconds in (0, 0.01):
        with pytest.raises(TimeoutError, match="it goes on"):
            run.wait(seconds)
        with pytest.raises(TimeoutError, match=r"^1 run has not ended within .*; it goes on"):
            wait_first([run], seconds)
        with pytest.raises(TimeoutError, match="it goes on"):
            list(run.events(timeout=seconds))
    stage.gate.open()
    assert "completed" == run.wait(GUARD).status


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_a_wait_for_a_run_that_is_not_taken_says_so(make, seconds):
    """The usual cause is that no daemon has registered its workflow."""
    with Orchestrator(make()) as client:
        run = client.enqueue(flow_of(lambda: "done"))
        with pytest.raises(TimeoutError, match=r"it is pending, and starts when .*recover=True"):
            run.wait(seconds)


def test_a_run_that_ended_elsewhere_is_waited_for_in_no_time(stage):
    """It is read, although the watcher had no time to look."""
    handles = [stage.elsewhere() for _ in range(2)]
    stage.gate.open()
    stage.run.wait(GUARD)

    assert "completed" == handles[0].wait(0).status
    assert "completed" == wait_first([handles[1]], 0).status


@pytest.mark.parametrize(
    "read",
    [
        lambda run: [event.kind.value for event in run.events()],
        lambda run: asyncio.run(_kinds(run)),
    ],
    ids=["for", "async for"],
)
def test_the_events_of_a_run_elsewhere_are_read_to_the_last(stage, read):
    """Also those that are yet to come."""
    run = stage.elsewhere()
    reading = Waiting(lambda: read(run))
    listening(stage.other)
    stage.gate.open()

    assert KINDS == reading.ended()


async def _kinds(run):
    return [event.kind.value async for event in run.events()]


def test_the_events_of_a_run_elsewhere_do_not_end_with_the_orchestrator(stage):
    """The reader is told that more may come, unless the record has all of them."""
    run = stage.elsewhere()
    waits = stage.other.enqueue(flow_of(lambda: "done"))
    stage.gate.open()
    stage.run.wait(GUARD)
    stage.other.shutdown()

    assert KINDS == [event.kind.value for event in run.events()]
    with pytest.raises(
        OrchestratorClosed, match=r"other processes may run: .*, and get\(\) the run"
    ):
        list(waits.events())


def test_a_run_that_no_orchestrator_runs_yet_is_followed(make):
    """Enqueued, taken, run, and completed."""
    flow = flow_of(lambda: "done")
    with Orchestrator(make()) as client:
        run = client.enqueue(flow)
        before = run.done, run.status
        reading = Waiting(lambda: [event.kind.value for event in run.events()])
        waiting = Waiting(lambda: run.result(GUARD))
        listening(client, 2)
        daemon = Orchestrator(make(), recover=True)
        daemon.register(flow)
        with daemon:
            output = waiting.ended().output
            kinds = reading.ended()

    assert ((False, "pending"), "done", KINDS) == (before, output, kinds)


def test_a_run_elsewhere_fails_here_as_well(make):
    """The result's error is the recorded one."""
    flow = flow_of(lambda: 1 / 0)
    daemon = Orchestrator(make(), recover=True)
    daemon.register(flow)
    with daemon, Orchestrator(make()) as client:
        run = client.enqueue(flow)
        with pytest.raises(RunFailed, match="division by zero"):
            run.result(GUARD)
        assert "failed" == run.status


def test_a_run_elsewhere_is_cancelled_at_once(make, gate):
    """Its owner hears of it long before it renews its lease."""
    with Stage(make, gate, lease=3600.0) as stage:
        run = stage.elsewhere()
        run.cancel("enough")
        with pytest.raises(RunCancelled, match="enough"):
            run.result(GUARD)


def test_a_handle_is_right_after_the_run_went_on_here(make, gate):
    """Its record was left behind, and this very orchestrator takes it up."""
    left = make()
    accept(left, accepted("left", workflow_id=gate.flow.id, step_ids=tuple(gate.flow.steps)))
    left.close()
    with Orchestrator(make()) as orchestrator:
        old = orchestrator.get("left")
        waiting = Waiting(old.wait)
        listening(orchestrator)
        resumed = orchestrator.resume("left", gate.flow)
        during = old.done
        gate.open()
        result = resumed.wait(GUARD)

        assert result.outputs == waiting.ended().outputs
        assert (False, True, "completed") == (during, old.done, old.status)
        assert "run.completed" == [event.kind.value for event in old.events()][-1]


def test_a_handle_is_right_after_the_run_went_on_here_in_memory(make_orchestrator, gate):
    """Where no other orchestrator could have run it."""
    state = MemoryStateManager()
    orchestrator = make_orchestrator(state)
    accept(state, accepted("left", workflow_id=gate.flow.id, step_ids=tuple(gate.flow.steps)))
    old, late = orchestrator.get("left"), orchestrator.get("left")
    before = old.done
    resumed = orchestrator.resume("left", gate.flow)
    waiting = Waiting(lambda: wait_first([old], GUARD).wait())
    during = old.done
    gate.open()
    resumed.wait(GUARD)

    assert "completed" == waiting.ended().status == late.wait(GUARD).status
    assert (False, False, True) == (before, during, late.done)


def test_a_run_that_is_deleted_is_not_waited_for_for_ever(make):
    """It ended and was purged before its waiter could read it."""
    state = make()
    accept(state, accepted())
    write(state, happened(*STARTED))
    with Orchestrator(make()) as orchestrator:
        run = orchestrator.get("run")
        first = orchestrator.get("run")
        waiting = Waiting(run.wait)
        listening(orchestrator)
        write(state, happened(*COMPLETED[3:], after=3))
        state.purge(keep=0)
        outcome = waiting.ended()

        assert isinstance(outcome, RunNotFound) or "completed" == outcome.status
        assert first.done
        with pytest.raises(RunNotFound):
            first.wait(GUARD)


def test_a_shutdown_ends_the_waits_for_runs_elsewhere(stage):
    """They would last for ever: nothing is followed after it."""
    runs = [stage.elsewhere() for _ in range(6)]
    waits = [
        Waiting(runs[0].wait),
        Waiting(lambda: asyncio.run(runs[1].wait_async())),
        Waiting(lambda: list(runs[2].events())),
        Waiting(lambda: asyncio.run(_kinds(runs[3]))),
        Waiting(lambda: next(iter(as_completed(runs[4:5]))).wait()),
    ]
    listening(stage.other, len(waits))
    stage.other.shutdown(drain=0)
    outcomes = [waiting.ended() for waiting in waits]

    assert [OrchestratorClosed] * len(waits) == [type(it) for it in outcomes]
    with pytest.raises(OrchestratorClosed):
        runs[5].wait(GUARD)
    assert not runs[5].done
    stage.gate.open()
    stage.run.wait(GUARD)
    assert "completed" == runs[5].wait(GUARD).status


def test_nothing_is_followed_after_a_wait(stage):
    """However it ended."""
    run, following = stage.elsewhere(), stage.other._life.runtime("test").following
    for call in (run.wait, lambda seconds: wait_first([run], seconds)):
        with contextlib.suppress(TimeoutError):
            call(0.001)
    events = iter(run.events())
    next(events)
    events.close()

    assert {} == following._ends


def test_only_a_run_in_memory_is_unattended(make_orchestrator):
    """No other process can go on with it."""
    state = MemoryStateManager()
    accept(state, accepted())
    run = make_orchestrator(state).get("run")

    for call in (run.wait, lambda: wait_first([run]), lambda: list(as_completed([run]))):
        with pytest.raises(RunUnattended, match="says 'pending'"):
            call()
    assert ("pending", False) == (run.status, run.done)


# ── Several ──────────────────────────────────────────────────────────────────────────────────


def test_runs_come_in_the_order_of_their_ends(make_orchestrator, make):
    """Whichever orchestrator runs them."""
    gates = [Gate() for _ in range(3)]
    here = make_orchestrator()
    with Orchestrator(make()) as client, Orchestrator(make()) as owner:
        runs = [
            here.start(gates[0].flow),
            client.get(owner.start(gates[1].flow).id),
            here.start(gates[2].flow),
        ]
        ended, order = iter(as_completed(runs)), []
        for number in (1, 2, 0):
            gates[number].open()
            order.append(runs.index(next(ended)))

    assert [1, 2, 0] == order


# ── On the event loop ────────────────────────────────────────────────────────────────────────


def on_the_loop(make, gate, call):
    """Call a coroutine function on an orchestrator's own loop, with two runs, one of them here."""

    async def main():
        with Stage(make, gate) as stage:
            async with Orchestrator(make()) as here:
                elsewhere = await here.get_async(stage.run.id)
                own = await here.start_async(gate.flow)
                async for event in own.events():
                    if event.kind == "step.started":
                        break
                try:
                    return await call(here, elsewhere, own)
                finally:
                    gate.open()

    return asyncio.run(main())


BLOCKING = {
    "Run.done": lambda _here, run: run.done,
    "Run.status": lambda _here, run: run.status,
    "Run.snapshot()": lambda _here, run: run.snapshot(),
    "Run.cancel()": lambda _here, run: run.cancel(),
    "Run.wait()": lambda _here, run: run.wait(1),
    "Orchestrator.get()": lambda here, run: here.get(run.id),
    "Orchestrator.list()": lambda here, _run: here.list(),
    "Orchestrator.resume()": lambda here, run: here.resume(run.id),
    "wait_first()": lambda _here, run: wait_first([run]),
    "iterating over as_completed() with `for`": lambda _here, run: list(as_completed([run])),
}


@pytest.mark.parametrize("what", BLOCKING)
def test_a_call_that_would_block_the_loop_is_refused_with_the_cure(make, gate, what):
    """Because the answer is in the database."""

    async def call(here, elsewhere, _own):
        with pytest.raises(WrongLoop) as caught:
            BLOCKING[what](here, elsewhere)
        return str(caught.value)

    said = on_the_loop(make, gate, call)

    assert said.startswith(f"{what} would block the event loop")
    assert "_async" in said or "async for" in said


def test_what_is_known_in_memory_is_answered_on_the_loop(make, gate):
    """A run in progress here, and one whose result is known."""

    async def call(here, elsewhere, own):
        during = own.status, own.done, here.get(own.id) is own, here.resume(own.id) is own
        gate.open()
        await elsewhere.wait_async()
        await own
        return during, (elsewhere.status, elsewhere.done, own.status)

    during, after = on_the_loop(make, gate, call)

    assert ("running", False, True, True) == during
    assert ("completed", True, "completed") == after


def test_each_of_the_calls_has_an_async_twin(make, gate):
    """With the same answers."""

    async def call(here, elsewhere, own):
        page = await here.list_async(status="running", limit=1)
        before = await elsewhere.status_async(), (await elsewhere.snapshot_async()).status
        resumed = await here.resume_async(own.id) is own
        await elsewhere.cancel_async("enough")
        cancelled = await elsewhere.wait_async()
        again = await here.resume_async(elsewhere.id, gate.flow)
        gate.open()
        return page, before, resumed, cancelled, await again

    page, before, resumed, cancelled, again = on_the_loop(make, gate, call)

    assert (2, 1, ("running", "running"), True) == (page.total, len(page.runs), before, resumed)
    assert ("cancelled", "enough") == (cancelled.status, cancelled.reason)
    assert (cancelled.run_id, True) == (again.run_id, again.output)


def test_a_resumption_that_is_given_up_ends_the_run(make, gate):
    """It is cancelled with the task that asked for it, or did not begin."""
    state = make()
    accept(state, accepted("left", workflow_id=gate.flow.id, step_ids=tuple(gate.flow.steps)))
    state.close()

    async def main():
        async with Orchestrator(make(), stop_grace=0.1) as orchestrator:
            runtime = orchestrator._life.runtime("test")
            claim, claims = runtime.state.claim, asyncio.Event()
            loop = asyncio.get_running_loop()

            def slow(run_id):
                loop.call_soon_threadsafe(claims.set)
                return claim(run_id)

            runtime.state.claim = slow
            task = asyncio.create_task(orchestrator.resume_async("left", gate.flow))
            await claims.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await (await orchestrator.get_async("left")).wait_async()

    assert "cancelled" == asyncio.run(main()).status


def test_the_events_of_a_run_that_is_not_there_are_refused_when_they_are_read(make):
    """On the loop, where nothing can be asked before."""

    async def main():
        state = make()
        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.enqueue_async(flow_of(lambda: 1))
            await run.cancel_async()
            await asyncio.to_thread(state.purge, keep=0)
            stream = run.events()
            with pytest.raises(RunNotFound):
                [event async for event in stream]

    asyncio.run(main())


@pytest.mark.parametrize("timeout", ["5", True, float("nan")])
def test_a_timeout_of_events_that_makes_no_sense_is_refused(orchestrator, timeout):
    """Before anything is read."""
    run = orchestrator.start(flow_of(lambda: 1))

    with pytest.raises(DefinitionError, match="timeout must be a number of"):
        run.events(timeout)

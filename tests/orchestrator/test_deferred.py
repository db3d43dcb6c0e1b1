"""Runs that wait for their time, or for the run with the same key, in one orchestrator."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading

import pytest

from actorflow import (
    KeyInUse,
    MemoryStateManager,
    NotRescheduled,
    Orchestrator,
    RunFailed,
    Workflow,
)
from actorflow.errors.definition import DefinitionError, OrchestratorClosed, WrongLoop
from actorflow.errors.running import Overloaded
from actorflow.errors.storage import RunUnattended, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.state.sql import SQLStateManager
from tests.support.flows import flow_of

# Their steps are lambdas and closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

GUARD = 60
LONG = 1_000_000.0
UTC = dt.UTC


@pytest.fixture(params=["memory", "sqlite"])
def state(request, tmp_path):
    """A state manager in memory, and one in a database."""
    if request.param == "memory":
        yield MemoryStateManager()
        return
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True, lease=1.0)
    yield state
    state.close()


@pytest.fixture
def started(state, make_orchestrator):
    """A started orchestrator with that state manager."""
    return make_orchestrator(state)


class Steps:
    """A workflow whose runs return their input `n`, each as soon as it is let go."""

    def __init__(self, version="1.0.0"):
        self.flow = Workflow("flow", version=version)
        self.flow.step(self.body, id="a")
        self.began = []
        self._gates = {}

    def gate(self, number):
        """What holds the runs with that input up."""
        return self._gates.setdefault(number, threading.Event())

    def body(self, ctx, n=0):
        """Wait to be let go."""
        self.began.append(n)
        while not self.gate(n).wait(0.005):
            ctx.raise_if_cancelled()
        return n

    def let_go(self, *numbers):
        """Let these runs end."""
        for number in numbers:
            self.gate(number).set()


@pytest.fixture
def steps():
    """Runs that are let go."""
    return Steps()


# ── Later ────────────────────────────────────────────────────────────────────────────────────────


def test_a_delayed_run_waits_and_starts_when_its_time_has_come(started, steps):
    """It is pending until then, and its snapshot says when that is."""
    steps.let_go(1)
    run = started.start(steps.flow, {"n": 1}, delay=LONG)
    waiting = run.snapshot()
    run.reschedule(delay=0)

    assert 1 == run.result(GUARD).output
    assert RunStatus.PENDING is waiting.status
    assert waiting.start_at == pytest.approx(waiting.created_at + LONG)


def test_a_delay_passes_by_itself(started, steps):
    """Without anything else that happens."""
    steps.let_go(1)

    assert 1 == started.start(steps.flow, {"n": 1}, delay=0.05).result(GUARD).output


def test_a_run_for_a_moment_that_has_passed_starts_at_once(started, steps):
    """Its record has no time at all."""
    steps.let_go(1)
    run = started.start(steps.flow, {"n": 1}, at=dt.datetime(2020, 1, 1, tzinfo=UTC))

    assert 1 == run.result(GUARD).output
    assert run.snapshot().start_at is None


def test_a_process_without_threads_to_spare_refuses_the_start(started, steps, monkeypatch):
    """The next start tries again, and the shutdown waits for no thread that never was."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "actorflow starter":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        started.start(steps.flow, delay=LONG)
    assert 0 == started.list().total
    monkeypatch.undo()

    steps.let_go(1)
    assert 1 == started.start(steps.flow, {"n": 1}, delay=0.01).result(GUARD).output


def test_a_moment_keeps_its_time_zone(started, steps):
    """The same moment, wherever it was written."""
    zone = dt.timezone(dt.timedelta(hours=-5))
    moment = dt.datetime(2100, 1, 1, tzinfo=zone)
    run = started.start(steps.flow, at=moment)

    assert moment.timestamp() == run.snapshot().start_at


def test_a_delayed_run_can_be_cancelled(started, steps):
    """It ends cancelled, for whoever waits, and nothing of it runs."""
    run = started.start(steps.flow, delay=LONG)
    run.cancel("not wanted")

    result = run.wait(GUARD)
    assert (RunStatus.CANCELLED, "not wanted") == (result.status, result.reason)
    assert RunStatus.CANCELLED is run.snapshot().status
    assert [] == steps.began


def test_a_cancellation_that_is_not_recorded_leaves_the_run_to_others(make, steps, monkeypatch):
    """It would stay pending for as long as the owner lives that has forgotten it."""
    steps.let_go(1)
    state = make()
    with Orchestrator(state) as owner, Orchestrator(make(), recover=True) as other:
        other.register(steps.flow)
        run = owner.start(steps.flow, {"n": 1}, delay=LONG)
        with monkeypatch.context() as broken:

            def refuse(*_arguments):
                raise StoreUnavailable("record events", "the disk is full")

            broken.setattr(state, "record", refuse)
            run.cancel()
            with pytest.raises(RunUnattended, match="the disk is full"):
                run.wait(GUARD)
        other.get(run.id).reschedule(delay=0)

        assert 1 == other.get(run.id).result(GUARD).output


def test_delayed_runs_hold_no_place(state, make_orchestrator, steps):
    """Any number of them leaves room for runs of today, and each gets its place in turn."""
    orchestrator = make_orchestrator(
        state, max_active_runs=1, max_queued_runs=0, when_full="reject"
    )
    later = [orchestrator.start(steps.flow, {"n": number}, delay=LONG) for number in range(5)]
    now = orchestrator.start(steps.flow, {"n": 9})
    for run in later:
        run.reschedule(delay=0)
    with pytest.raises(Overloaded):
        orchestrator.start(steps.flow, {"n": 10}, key="k")
    steps.let_go(*range(10))

    assert 9 == now.result(GUARD).output
    assert list(range(5)) == [run.result(GUARD).output for run in later]


@pytest.mark.usefixtures("quick_switching")
def test_runs_become_due_while_others_are_accepted(started):
    """The two do not wait for each other."""
    flow = Workflow("quick")
    flow.step(lambda n: n, id="a")
    runs = [started.start(flow, {"n": n}, delay=0.001) for n in range(300)]

    assert list(range(300)) == [run.result(GUARD).output for run in runs]


def test_a_run_that_does_not_wait_is_not_rescheduled(started, steps):
    """One in progress, one that has ended."""
    run = started.start(steps.flow, {"n": 1}, delay=LONG)
    run.reschedule(delay=0)
    steps.let_go(1)
    run.result(GUARD)
    plain = started.start(steps.flow, {"n": 2})

    for one in (run, plain):
        with pytest.raises(NotRescheduled, match="cannot be rescheduled"):
            one.reschedule(delay=5)


def test_a_run_is_rescheduled_to_a_moment(started, steps):
    """As with `at` of a start."""
    run = started.start(steps.flow, delay=LONG)
    run.reschedule(at=dt.datetime(2100, 1, 1, tzinfo=UTC))

    assert dt.datetime(2100, 1, 1, tzinfo=UTC).timestamp() == run.snapshot().start_at
    with pytest.raises(DefinitionError, match="needs a new time"):
        run.reschedule()


def test_a_run_is_rescheduled_on_the_loop_by_the_async_twin_alone(sqlite_tables, tmp_path):
    """The other would block it, with a database; in memory it does not."""
    flow = flow_of(lambda: "done")

    async def move(state):
        async with Orchestrator(state) as orchestrator:
            run = await orchestrator.start_async(flow, delay=LONG)
            await run.reschedule_async(at=dt.datetime(2100, 1, 1, tzinfo=UTC))
            moved = (await run.snapshot_async()).start_at
            try:
                run.reschedule(delay=2 * LONG)
            except WrongLoop as wrong:
                said = str(wrong)
            else:
                said = ""
            await run.reschedule_async(delay=0)
            return moved, said, (await run).output

    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    moment = dt.datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert (moment, "", "done") == asyncio.run(move(MemoryStateManager()))
    moved, said, output = asyncio.run(move(state))
    assert (moment, "done") == (moved, output)
    assert said.endswith("Instead, use `await run.reschedule_async()`.")


def test_a_step_that_fails_fails_a_delayed_run(started):
    """As any other."""
    flow = Workflow("bad")
    flow.step(lambda: 1 / 0, id="a")

    with pytest.raises(RunFailed):
        started.start(flow, delay=0.01).result(GUARD)


def test_deferred_runs_start_on_the_callers_own_loop(state, steps):
    """Without blocking it."""
    steps.let_go(1, 2)

    async def main():
        async with Orchestrator(state) as orchestrator:
            later = await orchestrator.start_async(steps.flow, {"n": 1}, delay=0.02)
            keyed = await orchestrator.start_async(steps.flow, {"n": 2}, key="k")
            return (await later).output, (await keyed).output

    assert (1, 2) == asyncio.run(main())


def test_a_run_waits_for_its_time(started, steps):
    """`run` returns when it has ended."""
    steps.let_go(1)

    assert 1 == started.run(steps.flow, {"n": 1}, delay=0.02).output


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_returns_the_live_run_by_default(started, steps):
    """And starts another one when it has ended."""
    first = started.start(steps.flow, {"n": 1}, key="k")
    again = started.start(steps.flow, {"n": 2}, key="k")
    steps.let_go(1, 2)
    first.result(GUARD)
    later = started.start(steps.flow, {"n": 2}, key="k")

    assert first.id == again.id != later.id
    assert 2 == later.result(GUARD).output


def test_a_key_in_use_is_an_error_that_names_the_run(started, steps):
    """And what to do about it."""
    run = started.start(steps.flow, {"n": 1}, key="k")
    with pytest.raises(
        KeyInUse, match=rf"{run.id}.*in progress with key 'k'.*on_conflict="
    ) as error:
        started.start(steps.flow, {"n": 2}, key="k", on_conflict="reject")

    assert ("flow", "k", run.id, False) == (
        error.value.workflow_id,
        error.value.key,
        error.value.run_id,
        error.value.waits,
    )


def test_a_queued_run_starts_when_the_running_one_has_ended(started, steps):
    """Not before; and one waits at a time."""
    first = started.start(steps.flow, {"n": 1}, key="k")
    second = started.start(steps.flow, {"n": 2}, key="k", on_conflict="queue")
    with pytest.raises(KeyInUse, match=rf"{second.id}.*waits") as error:
        started.start(steps.flow, {"n": 3}, key="k", on_conflict="queue")
    steps.let_go(2)
    before = second.status
    steps.let_go(1)

    assert 2 == second.result(GUARD).output
    assert RunStatus.PENDING is before
    assert error.value.waits
    assert [1, 2] == steps.began
    assert first.result(GUARD).finished_at <= second.snapshot().started_at


def test_a_queued_run_holds_no_place(state, make_orchestrator, steps):
    """Until its turn has come; then it waits for one, however full the orchestrator is."""
    full = {"max_active_runs": 2, "max_queued_runs": 0, "when_full": "reject"}
    orchestrator = make_orchestrator(state, **full)
    orchestrator.start(steps.flow, {"n": 1}, key="k")
    queued = orchestrator.start(steps.flow, {"n": 2}, key="k", on_conflict="queue")
    other = orchestrator.start(steps.flow, {"n": 3})
    with pytest.raises(Overloaded):
        orchestrator.start(steps.flow, {"n": 4})
    steps.let_go(1, 2, 3)

    assert (2, 3) == (queued.result(GUARD).output, other.result(GUARD).output)


def test_a_queued_run_is_replaced_by_the_next(started, steps):
    """It ends cancelled, and says by which; the last inputs run."""
    started.start(steps.flow, {"n": 1}, key="k")
    queued = [
        started.start(steps.flow, {"n": number}, key="k", on_conflict="replace_queued")
        for number in (2, 3)
    ]
    replaced = queued[0].wait(GUARD)
    steps.let_go(1, 3)

    assert 3 == queued[1].result(GUARD).output
    assert RunStatus.CANCELLED is replaced.status
    assert f"run {queued[1].id} with the same key has taken its place" == replaced.reason
    assert [1, 3] == steps.began


def test_a_running_run_makes_way(started, steps):
    """It is cancelled, and the new one starts once it has ended."""
    first = started.start(steps.flow, {"n": 1}, key="k")
    steps.let_go(2)
    second = started.start(steps.flow, {"n": 2}, key="k", on_conflict="cancel_running")

    assert 2 == second.result(GUARD).output
    assert f"it makes way for run {second.id} with the same key" == first.wait(GUARD).reason
    assert first.wait(GUARD).finished_at <= second.snapshot().started_at


def test_requests_are_debounced_to_one_run_with_the_last_inputs(started, steps):
    """Each of them moves its start, and returns it."""
    runs = [started.start(steps.flow, {"n": number}, key="k", debounce=LONG) for number in range(5)]
    starts_at = runs[0].snapshot().start_at
    runs[0].reschedule(delay=0)
    steps.let_go(4)

    assert {runs[0].id} == {run.id for run in runs}
    assert 4 == runs[-1].result(GUARD).output
    assert [4] == steps.began
    assert starts_at > runs[0].snapshot().created_at + LONG


def test_a_debounced_run_waits_for_the_running_one(started, steps):
    """And takes inputs as long as it waits."""
    first = started.start(steps.flow, {"n": 1}, key="k")
    second = started.start(steps.flow, {"n": 2}, key="k", debounce=0.01)
    third = started.start(steps.flow, {"n": 3}, key="k", debounce=0.01)
    steps.let_go(1, 3)

    assert (1, 3) == (first.result(GUARD).output, second.result(GUARD).output)
    assert second.id == third.id


def test_a_debounced_run_of_another_version_is_replaced(started, steps):
    """Its steps would not fit the new inputs."""
    first = started.start(steps.flow, {"n": 1}, key="k", debounce=LONG)
    second = started.start(Steps("2.0.0").flow, {"n": 2}, key="k", debounce=LONG)

    assert first.id != second.id
    assert RunStatus.CANCELLED is first.wait(GUARD).status


def test_a_debounced_run_is_found_by_the_last_attributes(started, steps):
    """As if there had been no other request."""
    for number in (1, 2):
        run = started.start(
            steps.flow, key="k", debounce=LONG, attributes={"round": number, f"is_{number}": True}
        )

    assert {"round": 2, "is_2": True} == run.snapshot().attributes
    assert [run.id] == [it.run_id for it in started.list(attributes={"round": 2}).runs]
    assert 0 == started.list(attributes={"round": 1}).total
    assert 0 == started.list(attributes={"is_1": True}).total


def test_attributes_of_a_run_that_waits_outlast_a_new_time(started, steps):
    """They are what they were set to last."""
    run = started.start(steps.flow, delay=LONG, attributes={"tier": 1})
    run.set_attributes({"tier": 2})
    run.reschedule(delay=2 * LONG)

    assert {"tier": 2} == run.snapshot().attributes


def test_a_step_waits_for_a_child_for_later_although_all_places_are_taken(
    state, make_orchestrator, steps
):
    """The child gets a place at once when it is due, as all children do."""
    orchestrator = make_orchestrator(state, max_active_runs=1, max_queued_runs=0)
    orchestrator.register(steps.flow)
    steps.let_go(7)
    parent = Workflow("parent")
    parent.step(lambda ctx: ctx.run(steps.flow, {"n": 7}, delay=0.01).output, id="waits")

    assert 7 == orchestrator.start(parent).result(GUARD).output


def test_a_child_for_later_is_cancelled_with_its_parent(started, steps):
    """It waits, and so is no run in progress."""
    started.register(steps.flow)
    children, parent = [], Workflow("parent")

    @parent.step
    def fails(ctx):
        children.append(ctx.start(steps.flow, delay=LONG))
        raise ValueError("no")

    run = started.start(parent)
    assert RunStatus.FAILED is run.wait(GUARD).status
    (child,) = children

    assert f"its parent, run {run.id!r}, has failed" == child.wait(GUARD).reason


def test_keys_of_different_workflows_are_different(started, steps):
    """And so are two keys of one."""
    other = Workflow("other")
    other.step(lambda: "other", id="a")
    started.start(steps.flow, {"n": 1}, key="k")
    steps.let_go(2)

    assert "other" == started.start(other, key="k", on_conflict="reject").result(GUARD).output
    assert 2 == started.start(steps.flow, {"n": 2}, key="l").result(GUARD).output


def test_a_failed_run_is_resumed_only_while_its_key_is_free(started):
    """Otherwise it would run beside another one with its key."""
    fails, gate = [True], threading.Event()
    flow = Workflow("flaky")

    @flow.step
    def a():
        if fails:
            raise ValueError
        gate.wait(GUARD)

    started.register(flow)
    with pytest.raises(RunFailed) as failed:
        started.run(flow, key="k")
    fails.clear()
    run_id = failed.value.result.run_id
    second = started.start(flow, key="k", on_conflict="reject")
    with pytest.raises(KeyInUse):
        started.resume(run_id)
    gate.set()
    second.result(GUARD)

    assert RunStatus.COMPLETED is started.resume(run_id).result(GUARD).status


# ── The end of the orchestrator ──────────────────────────────────────────────────────────────────


def test_runs_in_memory_that_wait_are_cancelled_at_the_end(steps):
    """They could never start, and the report names them."""
    with Orchestrator() as orchestrator:
        run = orchestrator.start(steps.flow, delay=LONG)
        report = orchestrator.shutdown(drain=GUARD)

    assert (run.id,) == report.cancelled
    assert "the orchestrator is shutting down" == run.wait(GUARD).reason


def test_runs_in_a_database_outlive_their_orchestrator(make, steps):
    """Another one takes them when their time has come."""
    with Orchestrator(make()) as orchestrator:
        run = orchestrator.start(steps.flow, {"n": 1}, delay=LONG)
        report = orchestrator.shutdown(drain=GUARD)
    with pytest.raises(OrchestratorClosed, match="left the run, which stays pending"):
        run.wait(GUARD)
    ended, state = threading.Event(), make()
    steps.let_go(1)
    daemon = Orchestrator(
        state, recover=True, recover_every=0.01, observers=[lambda it: _note(it, ended)]
    )
    daemon.register(steps.flow)
    with daemon:
        daemon.get(run.id).reschedule(delay=0)
        assert ended.wait(GUARD)

    assert ((), (run.id,)) == (report.cancelled, report.left)
    assert 1 == state.snapshot(run.id).outputs["a"]


def test_a_run_that_waits_is_handed_back_before_the_shutdown_has_drained(make, steps):
    """So that it starts in time elsewhere, however long another one takes."""
    steps.let_go(2)
    with Orchestrator(make()) as orchestrator, Orchestrator(make()) as other:
        first = orchestrator.start(steps.flow, {"n": 1})
        waits = orchestrator.start(steps.flow, {"n": 2}, delay=LONG)
        closing = threading.Thread(target=orchestrator.shutdown, kwargs={"drain": GUARD})
        closing.start()
        with pytest.raises(OrchestratorClosed):
            waits.wait(GUARD)

        assert 2 == other.resume(waits.id, steps.flow).result(GUARD).output
        assert not first.done
        steps.let_go(1)
        closing.join()


def test_runs_in_a_database_that_wait_are_cancelled_on_request(make, steps):
    """Like those in progress, by leave=False."""
    with Orchestrator(make()) as orchestrator:
        run = orchestrator.start(steps.flow, delay=LONG)
        report = orchestrator.shutdown(drain=GUARD, leave=False)

    assert ((run.id,), ()) == (report.cancelled, report.left)
    assert "the orchestrator is shutting down" == run.wait(GUARD).reason
    assert RunStatus.CANCELLED is make().snapshot(run.id).status


def _note(event, ended):
    if event.kind.value == "run.completed":
        ended.set()


def test_no_run_is_accepted_after_the_end(steps):
    """For later neither."""
    with Orchestrator() as orchestrator:
        orchestrator.shutdown()
        with pytest.raises(OrchestratorClosed):
            orchestrator.start(steps.flow, delay=LONG)


# ── The queue ────────────────────────────────────────────────────────────────────────────────────


def test_an_enqueued_run_is_taken_when_it_is_due(make, steps):
    """Sooner than the next regular search."""
    ended = threading.Event()
    steps.let_go(1)
    daemon = Orchestrator(
        make(), recover=True, recover_every=1000.0, observers=[lambda it: _note(it, ended)]
    )
    daemon.register(steps.flow)
    with Orchestrator(make()) as client:
        run = client.enqueue(steps.flow, {"n": 1}, delay=0.2)
        assert RunStatus.PENDING is run.status
        with daemon:
            assert ended.wait(GUARD)


def test_enqueued_runs_with_a_key_are_taken_one_after_the_other(make, steps):
    """By whatever orchestrator; the second waits while the first is in progress."""
    ends = threading.Semaphore(0)

    def note(event):
        if event.kind.value == "run.completed":
            ends.release()

    daemons = [
        Orchestrator(make(), recover=True, recover_every=0.01, observers=[note]) for _ in range(2)
    ]
    for daemon in daemons:
        daemon.register(steps.flow)
    with Orchestrator(make()) as client, daemons[0], daemons[1]:
        runs = [
            client.enqueue(steps.flow, {"n": number}, key="k", on_conflict="queue")
            for number in (1, 2)
        ]
        with pytest.raises(KeyInUse, match=runs[1].id):
            client.enqueue(steps.flow, {"n": 3}, key="k", on_conflict="queue")
        steps.let_go(1, 2)
        assert ends.acquire(timeout=GUARD)
        assert ends.acquire(timeout=GUARD)

        one, two = (run.snapshot() for run in runs)
        assert one.finished_at <= two.started_at


def test_a_run_in_another_process_makes_way(make, steps):
    """Its owner hears of it when it renews its lease, and the new run starts after that."""
    with Orchestrator(make(lease=0.5)) as owner, Orchestrator(make(lease=0.5)) as other:
        first = owner.start(steps.flow, {"n": 1}, key="k")
        steps.let_go(2)
        second = other.start(steps.flow, {"n": 2}, key="k", on_conflict="cancel_running")

        assert 2 == second.result(GUARD).output
        assert RunStatus.CANCELLED is first.wait(GUARD).status


def test_a_waiting_run_that_another_process_replaces_ends_here(make, steps):
    """Its owner hears of it when it renews its lease."""
    with Orchestrator(make(lease=0.5)) as owner, Orchestrator(make(lease=0.5)) as other:
        first = owner.start(steps.flow, {"n": 1}, key="k", delay=LONG)
        second = other.start(
            steps.flow, {"n": 2}, key="k", delay=LONG, on_conflict="replace_queued"
        )

        assert f"run {second.id} with the same key has taken its place" == first.wait(GUARD).reason


# ── Arguments ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at": dt.datetime(2100, 1, 1)}, "has no time zone.*ZoneInfo"),  # noqa: DTZ001 - it is wrong
        ({"at": "tomorrow"}, "is not a datetime"),
        ({"at": dt.datetime(2100, 1, 1, tzinfo=UTC), "delay": 1}, "two ways"),
        ({"delay": -1}, "delay must be"),
        ({"delay": float("inf")}, "delay is longer"),
        ({"key": ""}, "key=''.*is empty"),
        ({"key": 7}, "key=7 is not a string"),
        ({"key": "k", "on_conflict": "wait"}, 'one of "return", "reject".*\'wait\''),
        ({"on_conflict": "queue"}, "Pass key= as well"),
        ({"debounce": 1}, "Pass key= as well"),
        ({"key": "k", "debounce": 0}, "debounce must be"),
        ({"key": "k", "debounce": 1, "delay": 1}, "exclude each other"),
        ({"key": "k", "debounce": 1, "on_conflict": "queue"}, "exclude each other"),
        ({"key": "k", "debounce": 1, "idempotency_key": "i"}, "exclude each other"),
        ({"reuse": "if_failed"}, "Pass idempotency_key= as well"),
        ({"expires": 1}, "Pass idempotency_key= as well"),
        ({"idempotency_key": "i", "reuse": "always"}, 'one of "never", "if_failed"'),
        ({"idempotency_key": "i", "expires": 0}, "expires must be"),
    ],
)
def test_a_mistaken_option_is_refused_with_the_cure(orchestrator, steps, options, said):
    """At once, and nothing is recorded."""
    with pytest.raises(DefinitionError, match=said):
        orchestrator.start(steps.flow, **options)

    assert 0 == orchestrator.list().total


def test_a_start_for_later_must_not_block_the_loop(tmp_path, steps):
    """As any other start with a database."""

    async def main():
        state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
        async with Orchestrator(state) as orchestrator:
            with pytest.raises(WrongLoop):
                orchestrator.start(steps.flow, delay=1)
            run = await orchestrator.start_async(steps.flow, delay=LONG)
            with pytest.raises(WrongLoop):
                run.reschedule(delay=1)

    asyncio.run(main())


# ── Idempotency keys ─────────────────────────────────────────────────────────────────────────────


def flaky():
    """A workflow that fails until it is told not to."""
    fails = [True]
    flow = Workflow("flaky")
    flow.step(lambda: 1 / 0 if fails else "done", id="a")
    return flow, fails


def test_the_key_of_a_failed_run_starts_another_one_if_that_is_wanted(started):
    """The key then stands for that one."""
    flow, fails = flaky()
    with pytest.raises(RunFailed) as failed:
        started.run(flow, idempotency_key="i")
    with pytest.raises(RunFailed):
        started.run(flow, idempotency_key="i")
    fails.clear()
    again = started.start(flow, idempotency_key="i", reuse="if_failed")

    assert "done" == again.result(GUARD).output
    assert again.id == started.start(flow, idempotency_key="i").id
    assert again.id == started.start(flow, idempotency_key="i", reuse="if_failed").id
    assert failed.value.result.run_id != again.id


def test_the_key_of_a_cancelled_run_starts_another_one_as_well(started, steps):
    """But not that of one in progress."""
    first = started.start(steps.flow, {"n": 1}, idempotency_key="i")
    same = started.start(steps.flow, {"n": 1}, idempotency_key="i", reuse="if_failed")
    first.cancel()
    first.wait(GUARD)
    other = started.start(steps.flow, {"n": 1}, idempotency_key="i", reuse="if_failed")

    assert first.id == same.id != other.id


def test_a_refused_key_reserves_no_idempotency_key(started, steps):
    """Otherwise it would stand for a run that does not exist."""
    started.start(steps.flow, {"n": 1}, key="k")
    options = {"key": "k", "on_conflict": "reject", "idempotency_key": "i"}
    with pytest.raises(KeyInUse):
        started.start(steps.flow, {"n": 2}, **options)
    steps.let_go(1, 2)

    assert 2 == started.start(steps.flow, {"n": 2}, idempotency_key="i").result(GUARD).output


def test_an_idempotency_key_comes_before_a_key(started, steps):
    """A message that is delivered again means its first run, whatever runs now."""
    first = started.start(steps.flow, {"n": 1}, key="k", idempotency_key="i")
    options = {"key": "k", "on_conflict": "cancel_running", "idempotency_key": "i"}

    assert first.id == started.start(steps.flow, {"n": 1}, **options).id
    assert RunStatus.CANCELLED is not first.status

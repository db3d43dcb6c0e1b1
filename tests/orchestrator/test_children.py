"""Child runs: what they inherit, how they end with their parents, and how they are found again."""

from __future__ import annotations

import asyncio
import threading

import attrs
import pytest

from actorflow import (
    ChildChanged,
    DefinitionError,
    MemoryStateManager,
    NotStorable,
    Orchestrator,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    Step,
    UnknownInput,
    Workflow,
)
from actorflow.errors.storage import StoreUnavailable
from actorflow.orchestrator import children, launch
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD, broken, endless, flow_of, in_thread, until_closing

pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

AGAIN = RetryPolicy(max_attempts=3, initial_interval=0.0, jitter=0.0)


def double(number):
    """Be a step with an input."""
    return 2 * number


DOUBLE = flow_of(double, "double")


async def run_on_loop(ctx, flow, values, options):
    """Run a child in a coroutine step."""
    return (await ctx.run(flow, values, **options)).output


def run_on_thread(ctx, flow, values, options):
    """Run a child in a plain step."""
    return ctx.run(flow, values, **options).output


async def start_on_loop(ctx, flow, values, options):
    """Start a child in a coroutine step, and await it."""
    return (await (await ctx.start(flow, values, **options))).output


def start_on_thread(ctx, flow, values, options):
    """Start a child in a plain step, and wait for it."""
    return ctx.start(flow, values, **options).result().output


every_way = pytest.mark.parametrize(
    "body", [run_on_loop, run_on_thread, start_on_loop, start_on_thread]
)


@pytest.fixture(params=["memory", "sqlite"])
def state(request, tmp_path):
    """A state manager of each kind."""
    if request.param == "memory":
        return MemoryStateManager()
    return SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)


def given(flow=DOUBLE, inputs=None, **options):
    """Return the inputs of one of the bodies above."""
    inputs = {"number": 4} if inputs is None and flow is DOUBLE else inputs
    return {"flow": flow, "values": inputs, "options": options}


def children_of(orchestrator, run):
    """Return the runs that were started by steps of a run, the oldest first."""
    found = [it for it in orchestrator.list().runs if it.parent_run_id == run.id]
    return sorted(found, key=lambda it: it.created_at)


# ── The link ─────────────────────────────────────────────────────────────────────────────────


@every_way
def test_a_step_runs_a_child(body):
    """With one worker and one place; the child knows its parent."""
    with Orchestrator(async_workers=1, max_active_runs=1, max_queued_runs=0) as orchestrator:
        run = orchestrator.start(flow_of(body, async_=True), given())

        assert 8 == run.result(GUARD).output
        (child,) = children_of(orchestrator, run)
    assert ("double", "step", run.id) == (
        child.workflow_id,
        child.parent_step_id,
        child.root_run_id,
    )
    assert (None, run.id) == (run.snapshot().parent_run_id, run.snapshot().root_run_id)


@every_way
def test_a_child_may_be_named_by_the_id_of_its_workflow(body, orchestrator):
    """If that is registered."""
    orchestrator.register(DOUBLE)

    assert 8 == orchestrator.run(flow_of(body), given("double", {"number": 4})).output


def test_a_child_inherits_from_its_parent(orchestrator):
    """Its own options go before those of the parent."""
    told = {"metadata": {"a": 1, "b": 2}, "trace_id": "t", "business_id": "b", "priority": 7}
    own = {"metadata": {"b": 3}, "business_id": "own"}
    run = orchestrator.start(flow_of(run_on_loop), given(**own), **told)
    run.result(GUARD)
    (child,) = children_of(orchestrator, run)

    assert ({"a": 1, "b": 3}, "t", None, "own", 7) == (
        dict(child.metadata),
        child.trace_id,
        child.correlation_id,
        child.business_id,
        child.priority,
    )


def test_the_root_of_a_family_is_the_first_run(orchestrator):
    """However deep a run is."""

    async def descend(ctx, depth):
        return depth and (await ctx.run(flow, {"depth": depth - 1})).output

    flow = flow_of(descend)
    run = orchestrator.start(flow, {"depth": 3})
    run.result(GUARD)

    assert {run.id} == {it.root_run_id for it in orchestrator.list().runs}


@pytest.mark.parametrize("own", [None, 30.0])
def test_a_child_has_the_earlier_deadline_of_the_two(orchestrator, own):
    """That of its parent here."""

    async def left(ctx):
        return ctx.remaining

    options = {} if own is None else {"timeout": own}
    inputs = given(flow_of(left), {}, **options)

    assert orchestrator.run(flow_of(run_on_loop), inputs, timeout=20.0).output < 20.0
    assert orchestrator.run(flow_of(run_on_loop), inputs, timeout=90.0).output < (own or 90.0)


@pytest.mark.parametrize("detached", [False, True])
def test_a_run_that_a_step_starts_otherwise_is_linked_too(orchestrator, detached):
    """Unless it is detached."""

    def start(options):
        return orchestrator.run(DOUBLE, {"number": 1}, **options).output

    run = orchestrator.start(flow_of(start), {"options": {"detached": detached}})
    run.result(GUARD)

    assert detached is (children_of(orchestrator, run) == [])


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────


@every_way
def test_a_child_that_fails_fails_the_step(body, orchestrator):
    """The chain of causes leads down to the first error."""
    with pytest.raises(RunFailed) as caught:
        orchestrator.run(flow_of(body), given(flow_of(broken)))

    assert isinstance(caught.value.__cause__, RunFailed)
    assert isinstance(caught.value.__cause__.__cause__, LookupError)


class Endless:
    """A workflow whose step waits until its run is cancelled, and says when it has begun."""

    def __init__(self):
        self.begun = threading.Event()

        async def wait():
            self.begun.set()
            await asyncio.Event().wait()

        self.flow = flow_of(wait, "endless")


@every_way
@pytest.mark.parametrize(("policy", "status"), [("cancel", "cancelled"), ("abandon", "running")])
def test_a_child_ends_with_its_parent(body, policy, status):
    """Unless it is to be abandoned then."""
    inner = Endless()
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(body), given(inner.flow, on_parent_end=policy))
        assert inner.begun.wait(GUARD)
        run.cancel("enough")
        run.wait(GUARD)
        (child,) = children_of(orchestrator, run)
        handle = orchestrator.get(child.run_id)
        if policy == "cancel":
            assert f"its parent, run {run.id!r}, has been cancelled" == handle.wait(GUARD).reason
        assert status == handle.status
        handle.cancel("over")


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "sqlite"])
@pytest.mark.parametrize("body", [run_on_loop, run_on_thread, start_on_loop, start_on_thread])
def test_a_run_that_is_drained_has_its_children(body, shared, tmp_path):
    """A deploy would otherwise fail each run that comes to such a call within the drain."""
    begun, goes_on = threading.Event(), threading.Event()
    flow = Workflow("outer")

    @flow.step
    def before():
        begun.set()
        assert goes_on.wait(GUARD)

    flow.step(body, id="step", after="before", async_=True)
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True) if shared else None
    with Orchestrator(state) as orchestrator:
        orchestrator.register(DOUBLE)
        run = orchestrator.start(flow, given("double", {"number": 4}))
        assert begun.wait(GUARD)
        closing = in_thread(lambda: orchestrator.shutdown(drain=GUARD))
        until_closing(orchestrator)
        goes_on.set()
        result = run.wait(GUARD)
        report = closing.result(GUARD)

    assert ("completed", 8) == (result.status, result.outputs["step"])
    assert (2, (), ()) == (report.drained, report.left, report.cancelled)


def test_the_children_of_a_completed_run_go_on(orchestrator):
    """They belong to themselves then."""
    inner = Endless()

    async def start(ctx):
        return (await ctx.start(inner.flow)).id

    child = orchestrator.get(orchestrator.run(flow_of(start)).output)

    assert inner.begun.wait(GUARD)
    assert "running" == child.status
    child.cancel("over")


def test_a_child_whose_wait_is_cancelled_is_cancelled(orchestrator):
    """As by a timeout of the step's own; the step goes on."""
    inner = Endless()

    async def wait(ctx):
        task = asyncio.ensure_future(ctx.run(inner.flow))
        await asyncio.to_thread(inner.begun.wait, GUARD)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "gone on"

    run = orchestrator.start(flow_of(wait, async_=True))
    assert "gone on" == run.result(GUARD).output
    (child,) = children_of(orchestrator, run)

    with pytest.raises(RunCancelled, match="has stopped waiting"):
        orchestrator.get(child.run_id).result(GUARD)


def test_children_that_run_at_once_are_waited_for_at_once():
    """The step holds nothing until the last of them has ended."""
    inner = flow_of(double, "double", async_=True)

    async def gather(ctx):
        runs = await asyncio.gather(*(ctx.run(inner, {"number": n}) for n in range(5)))
        return [run.output for run in runs]

    with Orchestrator(async_workers=1, max_active_runs=1) as orchestrator:
        assert [0, 2, 4, 6, 8] == orchestrator.run(flow_of(gather, async_=True)).output


# ── Found again ──────────────────────────────────────────────────────────────────────────────


def attempts(fail_until, call, most=3):
    """Return a body that calls the same children in each attempt, and fails at first."""

    async def body(ctx):
        outputs = await call(ctx)
        if ctx.attempt < fail_until:
            raise LookupError("again")
        return outputs

    return flow_of(body, retry=attrs.evolve(AGAIN, max_attempts=most))


def test_a_later_attempt_takes_the_children_of_the_earlier_ones(orchestrator):
    """Calls are told apart by their order, or by a key."""

    async def call(ctx):
        plain = [(await ctx.run(DOUBLE, {"number": n})).output for n in (1, 2)]
        keyed = [(await ctx.run(DOUBLE, {"number": n}, key=f"k{n}")).output for n in (4, 3)]
        return plain + keyed

    run = orchestrator.start(attempts(3, call))

    assert [2, 4, 8, 6] == run.result(GUARD).output
    assert 4 == len(children_of(orchestrator, run))


def test_a_call_with_the_same_key_means_the_same_child(orchestrator):
    """Within an attempt too."""

    async def call(ctx):
        return [(await ctx.run(DOUBLE, {"number": 1}, key="k")).run_id for _ in "ab"]

    first, second = orchestrator.run(attempts(1, call)).output

    assert first == second


@every_way
def test_a_child_is_the_parent_of_what_its_steps_start(body, orchestrator):
    """Not the step that started it, in whose context it was made."""
    gate, slow = threading.Event(), Workflow("slow")
    slow.step(lambda: gate.wait(GUARD), id="wait")

    def start():
        return orchestrator.start(slow).result().output

    run = orchestrator.start(flow_of(body), given(flow_of(start, "child"), {}))
    while not (children := children_of(orchestrator, run)):
        threading.Event().wait(0.001)
    child = orchestrator.get(children[0].run_id)
    kinds = (event.kind.value for event in child.events(timeout=GUARD))
    assert "step.suspended" in kinds
    gate.set()

    assert run.result(GUARD).output is True
    (grandchild,) = children_of(orchestrator, child)
    assert ("slow", run.id) == (grandchild.workflow_id, grandchild.root_run_id)


def test_a_later_attempt_starts_a_failed_child_again(orchestrator):
    """In a run of its own."""
    tries = []

    def fail_once():
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("the first")
        return "second"

    async def call(ctx):
        return (await ctx.run(flow_of(fail_once))).output

    run = orchestrator.start(attempts(1, call))

    assert "second" == run.result(GUARD).output
    assert ["failed", "completed"] == [it.status for it in children_of(orchestrator, run)]


def test_a_later_attempt_waits_for_a_child_in_progress(orchestrator):
    """It does not start another."""
    inner = Endless()

    async def call(ctx):
        run = await ctx.start(inner.flow, key="k")
        if ctx.attempt == 2:
            run.cancel("over")
        return run.id

    run = orchestrator.start(attempts(2, call))
    run.result(GUARD)

    assert 1 == len(children_of(orchestrator, run))


def test_other_inputs_for_the_same_child_are_refused(orchestrator):
    """The error names the step, the child and what differs."""

    async def call(ctx):
        return (await ctx.run(DOUBLE, {"number": ctx.attempt})).output

    with pytest.raises(RunFailed) as caught:
        orchestrator.run(attempts(2, call))
    said = str(caught.value.__cause__)

    assert isinstance(caught.value.__cause__, ChildChanged)
    assert "step 'step' of run" in said
    assert "other values of the input 'number'" in said
    assert "key=" in said


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "sqlite"])
def test_a_resumed_run_takes_the_children_of_its_former_life(shared, tmp_path):
    """And does not start again what has completed."""
    ran = []

    def once(number):
        ran.append(number)
        return number

    inner, fails = flow_of(once, "inner"), [True]

    async def body(ctx):
        output = (await ctx.run(inner, {"number": 1})).output
        if fails:
            raise LookupError("the first life")
        return output

    outer = flow_of(body)
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True) if shared else None
    with Orchestrator(state or MemoryStateManager()) as orchestrator:
        orchestrator.register(inner)
        run = orchestrator.start(outer)
        assert "failed" == run.wait(GUARD).status
        fails.clear()

        assert 1 == orchestrator.resume(run.id, outer).result(GUARD).output
        assert [1] == ran
        (child,) = children_of(orchestrator, run)
        assert run.id == child.root_run_id


def away(runtime, times):
    """Let the database not answer so many times; return the ids of the runs that were asked for."""
    snapshot, asked = runtime.snapshot, []

    def answer(run_id):
        asked.append(run_id)
        if len(asked) <= times:
            raise StoreUnavailable("answer", "it restarts")
        return snapshot(run_id)

    runtime.snapshot = answer
    return asked


@pytest.mark.parametrize(("times", "status"), [(3, "completed"), (4, "failed")])
def test_a_database_that_restarts_delays_a_step_with_children(
    orchestrator, monkeypatch, times, status
):
    """As it delays whatever is recorded; a step fails only when it stays away."""
    monkeypatch.setattr(children, "PAUSES", (0.0, 0.0, 0.0))
    runtime = orchestrator._life.runtime("test")

    async def call(ctx):
        if ctx.attempt == 2:
            away(runtime, times)
        return (await ctx.run(DOUBLE, {"number": 4})).output

    run = orchestrator.start(attempts(2, call, most=2))

    assert status == run.wait(GUARD).status


def test_a_step_that_goes_on_with_its_child_takes_it_over(tmp_path):
    """It sets no counts back, as a person does: a child that kills its process must be found."""
    url, seen_attempts, begun = f"sqlite:///{tmp_path}/runs.db", [], threading.Event()

    async def work(ctx):
        seen_attempts.append(ctx.attempt)
        begun.set()
        if len(seen_attempts) == 1:
            await asyncio.Event().wait()

    inner = flow_of(work, "inner")

    async def body(ctx):
        await ctx.run(inner)

    outer = flow_of(body)
    with Orchestrator(SQLStateManager(url, create=True)) as first:
        first.register(inner)
        run = first.start(outer)
        assert begun.wait(GUARD)
        first.shutdown(drain=0, leave=True)
    with Orchestrator(SQLStateManager(url)) as second:
        second.register(inner)
        second.resume(run.id, outer).result(GUARD)

    assert [1, 2] == seen_attempts


def test_a_compensator_has_children_of_its_own():
    """It too holds nothing while it waits."""
    done = []

    async def undo(ctx):
        done.append((await ctx.run(DOUBLE, {"number": 5})).output)

    async def do(ctx):
        return (await ctx.run(DOUBLE, {"number": 4})).output

    flow = Workflow("saga")
    flow.add(Step("first", do, async_=True, compensate=Step("undo", undo, async_=True)))
    flow.add(Step("second", broken, after="first"))
    with Orchestrator(async_workers=1, max_active_runs=1) as orchestrator:
        run = orchestrator.start(flow)
        run.wait(GUARD)
        kinds = [event.kind.value for event in run.events()]
        children = children_of(orchestrator, run)

    assert [10] == done
    assert 2 == len(children)
    assert "compensation.suspended" in kinds
    assert "compensation.continued" in kinds


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"on_parent_end": "kill"},
            'on_parent_end must be one of "cancel", "abandon"; got \'kill\'',
        ),
        ({"key": ""}, "key='' is not a string, or is empty"),
        ({"key": 3}, "key=3 is not a string"),
    ],
)
@pytest.mark.parametrize("body", [run_on_loop, run_on_thread])
def test_a_wrong_option_is_refused(orchestrator, body, options, said):
    """Before the child starts."""
    with pytest.raises(RunFailed) as caught:
        orchestrator.run(flow_of(body), given(**options))

    assert said in str(caught.value.__cause__)
    assert 1 == orchestrator.list().total


def test_an_unknown_input_of_a_child_is_refused(orchestrator):
    """As that of any run."""
    with pytest.raises(RunFailed) as caught:
        orchestrator.run(flow_of(run_on_loop), given(DOUBLE, {"number": 1, "other": 2}))

    assert isinstance(caught.value.__cause__, UnknownInput)


# ── Told apart ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("attempt", [1, 2])
def test_calls_with_the_same_key_at_once_mean_the_same_child(state, attempt):
    """In the first attempt, and in a later one, which looks for it."""
    ran = []

    def once(number):
        ran.append(number)
        return number

    inner = flow_of(once, "inner")

    async def call(ctx):
        if ctx.attempt < attempt:
            return None
        runs = await asyncio.gather(*(ctx.run(inner, {"number": 1}, key="k") for _ in range(9)))
        return [run.output for run in runs]

    with Orchestrator(state) as orchestrator:
        orchestrator.register(inner)
        run = orchestrator.start(attempts(attempt, call))

        assert [1] * 9 == run.result(GUARD).output
        assert [1] == ran
        assert 1 == len(children_of(orchestrator, run))


def test_threads_of_a_step_with_the_same_key_mean_the_same_child(state):
    """A plain step may make its calls from threads of its own."""
    inner, together = flow_of(double, "double"), threading.Barrier(4)

    def body(ctx):
        def call():
            together.wait(GUARD)
            return ctx.start(inner, {"number": 2}, key="k").id

        return len({future.result(GUARD) for future in [in_thread(call) for _ in range(4)]})

    with Orchestrator(state) as orchestrator:
        orchestrator.register(inner)
        run = orchestrator.start(flow_of(body))

        assert 1 == run.result(GUARD).output
        assert 1 == len(children_of(orchestrator, run))


def test_another_workflow_for_the_same_key_is_refused(orchestrator):
    """It would otherwise get the result of the first one."""

    async def call(ctx):
        return [(await ctx.run(it, {"number": 1}, key="k")).output for it in (DOUBLE, other)]

    other = flow_of(double, "other")
    with pytest.raises(RunFailed) as caught:
        orchestrator.run(attempts(1, call, most=1))

    assert isinstance(caught.value.__cause__, ChildChanged)
    assert "workflow 'double' instead of 'other'" in str(caught.value.__cause__)


def test_a_call_without_a_key_means_a_child_of_its_workflow(orchestrator):
    """Another workflow is another child, in a later attempt too."""

    async def call(ctx):
        flow = flow_of(double, f"double {ctx.attempt}")
        return (await ctx.run(flow, {"number": 3})).output

    run = orchestrator.start(attempts(2, call))

    assert 6 == run.result(GUARD).output
    assert ["double 1", "double 2"] == [it.workflow_id for it in children_of(orchestrator, run)]


@pytest.mark.parametrize("body", [run_on_loop, run_on_thread])
def test_a_child_cannot_be_detached(orchestrator, body):
    """Who asks for that means a call of the orchestrator."""
    with pytest.raises(RunFailed) as caught:
        orchestrator.run(flow_of(body), given(detached=True))

    assert isinstance(caught.value.__cause__, DefinitionError)
    assert "detached=True" in str(caught.value.__cause__)
    assert 1 == orchestrator.list().total


# ── Many, and deep ───────────────────────────────────────────────────────────────────────────


@every_way
def test_nesting_exhausts_nothing(body):
    """Fifty deep, with one worker and one place."""

    async def on_loop(ctx, depth):
        return 1 + await body(ctx, flow, {"depth": depth - 1}, {}) if depth else 0

    def on_thread(ctx, depth):
        return 1 + body(ctx, flow, {"depth": depth - 1}, {}) if depth else 0

    flow = flow_of(on_loop if asyncio.iscoroutinefunction(body) else on_thread, async_=True)
    with Orchestrator(async_workers=1, max_active_runs=1, max_queued_runs=0) as orchestrator:
        assert 50 == orchestrator.start(flow, {"depth": 50}).result(GUARD).output


@pytest.mark.parametrize("body", [run_on_loop, run_on_thread])
def test_many_parents_with_children_share_few_places(body):
    """Two hundred, three at once; each has two children in turn."""

    async def on_loop(ctx, n):
        return [await body(ctx, DOUBLE, {"number": it}, {}) for it in (n, n + 1)]

    def on_thread(ctx, n):
        return [body(ctx, DOUBLE, {"number": it}, {}) for it in (n, n + 1)]

    flow = flow_of(on_loop if body is run_on_loop else on_thread, async_=True)
    with Orchestrator(async_workers=2, max_active_runs=3, max_queued_runs=200) as orchestrator:
        runs = [orchestrator.start(flow, {"n": n}) for n in range(200)]

        assert [[2 * n, 2 * n + 2] for n in range(200)] == [it.result(GUARD).output for it in runs]
        assert 600 == orchestrator.list().total


def test_a_recursion_without_end_is_refused(monkeypatch, state):
    """The error comes up through all of them; the text names the step and the cure."""
    monkeypatch.setattr(launch, "MOST_GENERATIONS", 5)

    async def descend(ctx):
        await ctx.run(flow)

    flow = flow_of(descend, async_=True)
    with Orchestrator(state) as orchestrator:
        orchestrator.register(flow)
        run = orchestrator.start(flow)
        error = run.wait(GUARD).error
        while error.__cause__ is not None:
            error = error.__cause__

        assert isinstance(error, DefinitionError)
        assert "more than 5 runs above it. End the recursion earlier" in str(error)
        assert {"failed": 6} == {k: n for k, n in orchestrator.count(by="status").items() if n}
        generations = [it.parent.generation for it in orchestrator.list().runs if it.parent]
        assert [5, 4, 3, 2, 1] == generations


def test_a_step_may_have_a_thousand_children(state):
    """They wait for places like other runs, and all of them end with their parent."""
    leaf = flow_of(endless, "leaf", async_=True)

    async def body(ctx):
        await asyncio.gather(*(ctx.start(leaf, key=str(n)) for n in range(1000)))
        raise LookupError("enough")

    with Orchestrator(state, max_active_runs=9) as orchestrator:
        orchestrator.register(leaf)
        run = orchestrator.start(flow_of(body))

        assert "failed" == run.wait(GUARD).status
        assert 1000 == orchestrator.list(parent_run_id=run.id, status="cancelled").total


# ── Results ──────────────────────────────────────────────────────────────────────────────────


def test_a_childs_output_that_cannot_be_stored_fails_the_child(tmp_path):
    """And with it the step that waits, whose error leads to the cause."""
    inner = flow_of(lambda: {"file": object()}, "inner")
    with Orchestrator(SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)) as it:
        it.register(inner)
        result = it.start(flow_of(run_on_loop), given("inner", {})).wait(GUARD)

    assert isinstance(result.error, RunFailed)
    assert isinstance(result.error.__cause__, NotStorable)
    assert "inner" in str(result.error)

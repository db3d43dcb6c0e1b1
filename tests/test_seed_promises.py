"""The promises of the seed's lessons, each as a test by name.

Compensation and the database have their own files. Nothing here waits for time to pass: steps
wait for each other, and `GUARD` only turns a hang into a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import threading
from collections import Counter

import attrs
import pytest

from actorflow import (
    DefinitionError,
    EventKind,
    GiveUp,
    MemoryStateManager,
    Orchestrator,
    RetryAfter,
    RetryPolicy,
    RetryPolicyBuilder,
    RunResult,
    RunStatus,
    Step,
    StepBuilder,
    StepStatus,
    StepTimeout,
    Workflow,
    WorkflowBuilder,
)
from tests.support.flows import GUARD, seen

QUICKLY = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=0)
NEVER = RetryPolicy(max_attempts=3, initial_interval=3600, max_interval=3600)


def ready(run, count):
    """Return once so many steps of the run have become ready."""
    return list(itertools.islice((e for e in run.events() if e.kind == "step.ready"), count))


def flow_of(*functions, **options):
    """A workflow whose steps are these functions, none of which depends on another."""
    flow = Workflow("flow", timeout=GUARD)
    for function in functions:
        flow.step(function, **options)
    return flow


def as_coroutine(function):
    """The same step as a coroutine function, which must not block."""

    async def body(ctx):
        return function(ctx)

    return body


both_kinds = pytest.mark.parametrize(
    "kind", [as_coroutine, lambda function: function], ids=["coroutine", "thread"]
)


# ── Async steps run in parallel, and every result is right ───────────────────────────────────


def lesson():
    """The lesson's flow: one step, three beside each other, and one that joins them."""
    flow = Workflow("lesson-5")

    @flow.step
    def fetch(url):
        return {"url": url, "items": [1, 2, 3]}

    @flow.step(after=fetch, async_=True, timeout=GUARD, retry=RetryPolicy())
    async def process(fetch):
        return {"sum": sum(fetch["items"])}

    @flow.step(after=fetch, async_=True, timeout=GUARD, retry=RetryPolicy())
    async def enrich(fetch):
        await asyncio.sleep(0)
        return {"source": fetch["url"]}

    @flow.step(after=fetch, async_=True, timeout=GUARD, retry=RetryPolicy())
    async def analyze(fetch):
        return {"count": len(fetch["items"])}

    @flow.step(after=[process, enrich, analyze])
    def aggregate(process, enrich, analyze):
        return {"summary": process | enrich | analyze}

    return flow


def summary_of(number):
    """What the lesson's run with this number has to return."""
    return {"summary": {"sum": 6, "source": f"u{number}", "count": 3}}


def run_together(flow, numbers):
    """Run a flow many times at once on an orchestrator's own thread."""
    with Orchestrator(async_workers=20) as orchestrator:
        runs = [orchestrator.start(flow, {"url": f"u{number}"}) for number in numbers]
        return [run.result().output for run in runs]


def run_together_here(flow, numbers):
    """Run a flow many times at once on this thread's event loop."""

    async def main():
        async with Orchestrator(async_workers=20) as orchestrator:
            runs = [await orchestrator.start_async(flow, {"url": f"u{n}"}) for n in numbers]
            return [(await run).output for run in runs]

    return asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("together", [run_together, run_together_here])
def test_all_of_20_000_repetitions_of_the_lesson_are_right(together, unlogged):
    """Half of them on a thread, half on the caller's loop; the seed's library died of one."""
    numbers = range(10_000)

    outputs = together(lesson(), numbers)

    assert [summary_of(number) for number in numbers] == outputs


def test_the_lesson_is_right_when_its_branches_are_plain_functions():
    """Threads carry the same flow."""
    flow = Workflow("lesson-5")
    flow.step(lambda url: {"url": url}, id="fetch")
    for branch in ("process", "enrich", "analyze"):
        flow.step(
            lambda inputs, branch=branch: inputs["fetch"]["url"] + branch,
            id=branch,
            after="fetch",
            async_=True,
        )
    flow.step(
        lambda process, enrich, analyze: [process, enrich, analyze],
        id="aggregate",
        after=["process", "enrich", "analyze"],
    )

    with Orchestrator(async_workers=20) as orchestrator:
        runs = [orchestrator.start(flow, {"url": f"u{number}"}) for number in range(300)]
        outputs = [run.result().output for run in runs]

    expected = [[f"u{n}process", f"u{n}enrich", f"u{n}analyze"] for n in range(300)]
    assert expected == outputs


# ── No waves ─────────────────────────────────────────────────────────────────────────────────


def test_a_step_starts_when_its_own_dependencies_have_settled():
    """The slow step ends only when the quick one's child has run beside it."""
    flow = Workflow("flow", timeout=GUARD)
    child_has_run = threading.Event()

    @flow.step(async_=True)
    async def quick():
        return 1

    @flow.step(async_=True)
    def slow():
        return child_has_run.wait(GUARD)

    @flow.step(after=quick, async_=True)
    async def child(quick):
        child_has_run.set()

    with Orchestrator() as orchestrator:
        result = orchestrator.run(flow)

    assert result.outputs["slow"] is True


@pytest.mark.parametrize("sync_first", [True, False])
def test_sync_and_async_steps_that_are_ready_do_not_delay_each_other(sync_first):
    """Each of the two ends only when the other one has started; whatever their priorities."""
    flow = Workflow("flow", timeout=GUARD)
    meet = threading.Barrier(2, timeout=GUARD)

    def lane(ctx):
        meet.wait()
        return ctx.step_id

    for async_ in (False, True) if sync_first else (True, False):
        priority = 10 if async_ is sync_first else -10
        flow.step(lane, id=f"async_{async_}", async_=async_, priority=priority)

    with Orchestrator(async_workers=1) as orchestrator:
        result = orchestrator.run(flow)

    assert {"async_True", "async_False"} == set(result.outputs.values())


def test_ready_async_steps_do_not_wait_for_a_queue_of_sync_steps():
    """The first of five sync steps ends only when an async one, defined last, has run."""
    flow = Workflow("flow", timeout=GUARD)
    ran = threading.Event()
    for number in range(5):
        flow.step(lambda: ran.wait(GUARD), id=f"sync{number}", priority=100)

    @flow.step(async_=True)
    async def last():
        ran.set()

    with Orchestrator() as orchestrator:
        result = orchestrator.run(flow)

    assert {True, None} == set(result.outputs.values())


def test_sync_steps_of_one_run_go_one_at_a_time():
    """They share no moment, though each is on a thread; other runs have lanes of their own."""
    inside, most = Counter(), Counter()
    meet = threading.Barrier(2, timeout=GUARD)

    def body(ctx):
        inside[ctx.run_id] += 1
        most[ctx.run_id] = max(most[ctx.run_id], inside[ctx.run_id])
        meet.wait()  # with the other run's step
        inside[ctx.run_id] -= 1

    flow = Workflow("flow", timeout=GUARD)
    for number in range(10):
        flow.step(body, id=f"s{number}")

    with Orchestrator() as orchestrator:
        runs = [orchestrator.start(flow) for _ in range(2)]
        for run in runs:
            run.result()

    assert {run.id: 1 for run in runs} == most


def test_an_async_step_that_ends_does_not_open_the_sync_lane():
    """The waiting sync step is still ready, and not started, when the async one has completed."""
    flow = Workflow("flow", timeout=GUARD)

    @flow.step
    def holds_the_lane(ctx, orchestrator):
        run = orchestrator.get(ctx.run_id)
        seen(run, "step.completed", "beside")
        return run.snapshot().steps["waits"].status

    @flow.step
    def waits():
        return None

    @flow.step(async_=True)
    async def beside(ctx, orchestrator):
        async for event in orchestrator.get(ctx.run_id).events():
            if event.kind == "step.ready" and event.step_id == "waits":
                return

    with Orchestrator() as orchestrator:
        result = orchestrator.run(flow, {"orchestrator": orchestrator})

    assert "ready" == result.outputs["holds_the_lane"]


# ── The budget ───────────────────────────────────────────────────────────────────────────────


class Crowd:
    """Counts who is inside, and lets people through in pairs."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = self.most = self.passed = 0

    def enter(self):
        """Come in."""
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self):
        """Go out."""
        with self.lock:
            self.inside -= 1
            self.passed += 1


def crowded_thread(crowd):
    """A plain step that passes the barrier only beside another one."""
    pair = threading.Barrier(2, timeout=GUARD)

    def body():
        crowd.enter()
        pair.wait()
        crowd.leave()

    return body


def crowded_coroutine(crowd):
    """The same as a coroutine."""
    pair = asyncio.Barrier(2)

    async def body():
        crowd.enter()
        await pair.wait()
        await asyncio.sleep(0)
        crowd.leave()

    return body


@pytest.mark.parametrize("make", [crowded_coroutine, crowded_thread])
@pytest.mark.parametrize("runs", [1, 4])
def test_two_async_workers_run_exactly_two_of_forty_steps_at_once(make, runs):
    """By the steps' own count: never three, in one run or over all runs, and in fact two."""
    crowd = Crowd()
    body = make(crowd)
    flow = Workflow("flow", timeout=GUARD)
    for number in range(40 // runs):
        flow.step(body, id=f"s{number}", async_=True)

    with Orchestrator.with_async_workers(MemoryStateManager(), 2) as orchestrator:
        for run in [orchestrator.start(flow) for _ in range(runs)]:
            run.result()

    assert (40, 2, 0) == (crowd.passed, crowd.most, crowd.inside)


def test_a_lease_comes_back_from_every_kind_of_end():
    """With one worker: after failures, retries, timeouts and cancellations another step runs."""
    ends = Workflow("ends", fail_fast=False)
    attempts = itertools.count(1)

    @ends.step(async_=True, required=False)
    async def fails():
        raise ValueError

    @ends.step(async_=True, retry=QUICKLY)
    async def retries():
        if next(attempts) < 3:
            raise ValueError

    @ends.step(async_=True, timeout=0.01, required=False)
    async def hangs():
        await asyncio.Event().wait()

    @ends.step(async_=True)
    def works():
        return "ran"

    with Orchestrator(async_workers=1) as orchestrator:
        cut = orchestrator.start(flow_of(waits_for_ever, async_=True))
        seen(cut, "step.started")
        behind = orchestrator.start(ends)
        cut.cancel()
        result = behind.result(GUARD)

    assert RunStatus.CANCELLED is cut.wait().status
    assert {"retries": None, "works": "ran"} == result.outputs


async def waits_for_ever():
    """Be a coroutine step that ends only by cancellation."""
    await asyncio.Event().wait()


# ── Outputs ──────────────────────────────────────────────────────────────────────────────────


def all_of(inputs):
    """Be a step that returns all that it sees."""
    return dict(inputs)


def test_a_step_sees_only_the_outputs_of_its_own_dependencies():
    """By step id, beside the run's inputs: not those of every finished step."""
    flow = Workflow("flow")
    flow.step(lambda: {"value": 1}, id="first")
    flow.step(lambda first: first | {"value": 2}, id="second", after="first")
    flow.step(all_of, id="third", after="second")

    with Orchestrator() as orchestrator:
        result = orchestrator.run(flow, {"url": "u"})

    assert {"url": "u", "second": {"value": 2}} == result.output


def test_equal_keys_in_outputs_are_never_merged():
    """The last finisher wins nothing: every output stands under its step's id."""
    flow = Workflow("flow")
    flow.step(lambda: {"value": "a"}, id="a", async_=True)
    flow.step(lambda: {"value": "b"}, id="b", async_=True)
    flow.step(lambda inputs: {id_: inputs[id_] for id_ in "ab"}, id="join", after=["a", "b"])

    with Orchestrator() as orchestrator:
        result = orchestrator.run(flow)

    assert {"a": {"value": "a"}, "b": {"value": "b"}} == result.output


def test_outputs_of_runs_that_run_together_do_not_mix():
    """Inputs and outputs belong to a run."""
    flow = Workflow("flow")
    flow.step(lambda number: number, id="a", async_=True)
    flow.step(lambda a, number: (a, number), id="b", after="a", async_=True)

    with Orchestrator() as orchestrator:
        runs = [orchestrator.start(flow, {"number": number}) for number in range(100)]
        outputs = [run.result().output for run in runs]

    assert [(number, number) for number in range(100)] == outputs


# ── Timeouts ─────────────────────────────────────────────────────────────────────────────────


def hang():
    """Be a thread that ends when the test does."""
    # One line, so that a stack shows it from the first moment on.
    return ENTERED.set() or RELEASE.wait()


ENTERED = threading.Event()
RELEASE = threading.Event()
# On a busy machine a short timeout may pass before the body has begun: then it is tried again.
PATIENTLY = RetryPolicy(max_attempts=10_000, initial_interval=0.001, multiplier=1)
UNTIL_ENTERED = attrs.evolve(PATIENTLY, retryable_errors=lambda _error: not ENTERED.is_set())


@pytest.fixture(autouse=True)
def released():
    """Let hanging threads go at the end of each test."""
    ENTERED.clear()
    RELEASE.clear()
    yield
    RELEASE.set()


def test_a_coroutine_that_takes_too_long_is_stopped():
    """It sees its cancellation, and the step fails with the limit in the error."""
    stopped = []

    async def waits():
        ENTERED.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow_of(waits, timeout=0.01, retry=UNTIL_ENTERED)).wait(GUARD)

    last = result.steps["waits"].attempts
    assert [True] == stopped
    assert repr(StepTimeout(result.run_id, "waits", last, 0.01, "attempt")) == repr(result.error)


def test_a_coroutine_that_returns_after_its_timeout_has_failed_all_the_same():
    """It swallows the cancellation: its late output is discarded."""

    async def step():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "late"

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow_of(step, timeout=0.01)).wait(GUARD)

    assert ({}, StepTimeout) == (result.outputs, type(result.error))


def test_a_thread_that_takes_too_long_is_abandoned_and_reported():
    """The run goes on without it, and the event says where it hangs."""
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(hang, timeout=0.01, retry=UNTIL_ENTERED))
        result = run.wait(GUARD)
        abandoned = [event for event in run.events() if event.kind is EventKind.STEP_ABANDONED]
        RELEASE.set()

    last = result.steps["hang"].attempts
    assert repr(StepTimeout(run.id, "hang", last, 0.01, "attempt")) == repr(result.error)
    assert "RELEASE.wait()" in abandoned[-1].data["stack"]


def test_the_late_result_of_an_abandoned_thread_is_discarded():
    """The first attempt returns when the second one is over; its result is discarded."""
    second_is_over, first_returned = threading.Event(), threading.Event()
    flow = Workflow("flow")

    @flow.step(timeout=0.05, retry=PATIENTLY)
    def step():
        if ENTERED.is_set():
            return "in time"
        ENTERED.set()
        second_is_over.wait(GUARD)
        first_returned.set()
        return "late"

    @flow.step(after="step")
    def after(step):
        second_is_over.set()
        return step, first_returned.wait(GUARD)

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow).wait(GUARD)

    assert ("in time", True) == result.output
    assert "in time" == result.outputs["step"]


def test_the_timeout_is_for_each_attempt():
    """A second attempt has the whole of it again: only the first one hangs."""
    flow = Workflow("flow")

    @flow.step(timeout=0.05, retry=PATIENTLY)
    async def step():
        if not ENTERED.is_set():
            ENTERED.set()
            await asyncio.Event().wait()
        return "again"

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        result = run.wait(GUARD)

    assert "again" == result.output
    assert {"attempt"} == {e.data["limit"] for e in run.events() if e.kind == "step.timed_out"}


@pytest.mark.parametrize("body", [waits_for_ever, hang])
def test_the_total_timeout_is_for_all_attempts_together(body):
    """However many attempts the policy has left, the step fails with its total."""
    flow = Workflow("flow")
    flow.step(body, id="step", total_timeout=0.05, retry=QUICKLY)

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow).wait(GUARD)
        RELEASE.set()

    assert repr(StepTimeout(result.run_id, "step", 1, 0.05, "total")) == repr(result.error)


def test_a_backoff_that_would_outlast_the_total_timeout_is_not_begun():
    """The step fails at once, with its own error and not with a timeout that hides it."""
    flow = Workflow("flow")

    @flow.step(total_timeout=60, retry=NEVER)
    def step():
        raise ValueError("mine")

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow).wait(GUARD)

    assert ("ValueError('mine')", 1) == (repr(result.error), result.steps["step"].attempts)


def test_the_total_timeout_runs_while_the_step_waits_for_a_lease_again():
    """Its second attempt is ready, but the only lease never comes free."""
    flow = Workflow("flow")

    @flow.step(async_=True, total_timeout=0.5, retry=QUICKLY)
    def again():
        raise ValueError

    @flow.step(async_=True, required=False)
    async def holds():
        await asyncio.Event().wait()

    with Orchestrator(async_workers=1) as orchestrator:
        run = orchestrator.start(flow)
        result = run.wait(GUARD)

    assert repr(StepTimeout(run.id, "again", 1, 0.5, "total")) == repr(result.error)


# ── Retries ──────────────────────────────────────────────────────────────────────────────────


def attempts_of(step_policy, *errors):
    """Run a step that raises these errors one after the other; return what became of it."""
    left = iter(errors)

    def step():
        error = next(left, None)
        if error is not None:
            raise error
        return "done"

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(step, retry=step_policy))
        result = run.wait(GUARD)
    return result.status.value, result.steps["step"].attempts, type(result.error).__name__


def has_arguments(error):
    """A predicate."""
    return error.args


def asks_amiss(error):
    """A predicate that raises."""
    return error.gone


def policy(**options):
    """A policy that does not keep a test waiting."""
    return RetryPolicy(initial_interval=0.001, jitter=0, **options)


@pytest.mark.parametrize(
    ("options", "errors", "expected"),
    [
        ({}, [OSError(), OSError()], ("completed", 3, "NoneType")),
        ({"max_attempts": 2}, [OSError(), OSError()], ("failed", 2, "OSError")),
        ({"max_attempts": 1}, [OSError()], ("failed", 1, "OSError")),
        ({"retryable_errors": OSError}, [OSError()], ("completed", 2, "NoneType")),
        ({"retryable_errors": OSError}, [KeyError()], ("failed", 1, "KeyError")),
        ({"retryable_errors": "busy"}, [OSError("busy")], ("completed", 2, "NoneType")),
        ({"retryable_errors": "busy"}, [OSError("gone")], ("failed", 1, "OSError")),
        ({"retryable_errors": has_arguments}, [OSError(1)], ("completed", 2, "NoneType")),
        ({"retryable_errors": has_arguments}, [OSError()], ("failed", 1, "OSError")),
        ({"retryable_errors": asks_amiss}, [OSError()], ("failed", 1, "OSError")),
        ({"give_up_on": KeyError}, [OSError(), KeyError()], ("failed", 2, "KeyError")),
        ({}, [GiveUp("closed")], ("failed", 1, "GiveUp")),
        ({"retryable_errors": OSError}, [RetryAfter(0)], ("completed", 2, "NoneType")),
        ({"max_attempts": 2}, [RetryAfter(0)] * 2, ("failed", 2, "RetryAfter")),
        ({}, [SystemExit()], ("failed", 1, "SystemExit")),
        ({"retryable_errors": SystemExit}, [SystemExit()], ("completed", 2, "NoneType")),
    ],
    ids=lambda value: re.sub(r"<(?:function|class) '?(\w+)[^>]*>", r"\1", str(value)),
)
def test_a_retry_policy_is_honoured(options, errors, expected):
    """Classes, texts, predicates, what is given up on, and what the step asks for itself."""
    assert expected == attempts_of(policy(**options), *errors)


@pytest.mark.parametrize("panic", [SystemExit, KeyboardInterrupt])
def test_a_predicate_that_panics_is_no_more_than_one_that_says_no(panic):
    """The step fails with its own error, and the next run does not notice."""

    def predicate(_error):
        raise panic

    with Orchestrator() as orchestrator:
        flow = flow_of(always_fails, retry=policy(retryable_errors=predicate))
        result = orchestrator.start(flow).wait(GUARD)
        after = orchestrator.start(optional_flow()).wait(GUARD).status

    assert (RunStatus.FAILED, OSError) == (result.status, type(result.error))
    assert RunStatus.COMPLETED is after


def test_a_step_without_a_policy_is_tried_once():
    """Trying again is asked for, not assumed."""
    assert ("failed", 1, "OSError") == attempts_of(None, OSError())


def test_no_attempts_at_all_is_a_definition_error():
    """The seed's library crashed when it ran such a step."""
    with pytest.raises(DefinitionError, match="max_attempts of RetryPolicy is 0"):
        RetryPolicy(max_attempts=0)
    with pytest.raises(DefinitionError, match="max_attempts of RetryPolicy is 0"):
        RetryPolicyBuilder().with_max_attempts(0).build()


def test_every_backoff_lies_within_the_bounds_of_its_jitter():
    """And they are not all the same: the waits of 20 steps that failed together."""
    jittered = RetryPolicy(initial_interval=0.001, multiplier=3, max_interval=0.003, jitter=0.5)
    flow = Workflow("flow")
    for number in range(20):
        flow.step(lambda: 1 / 0, id=f"s{number}", async_=True, required=False, retry=jittered)

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        run.wait(GUARD)
        waits = [(e.attempt, e.data["delay"]) for e in run.events() if e.kind == "step.retrying"]

    bounds = {attempt: jittered.bounds(attempt) for attempt in (1, 2)}
    assert 40 == len(waits)
    assert [] == [w for a, w in waits if not bounds[a][0] <= w <= bounds[a][1]]
    assert len(set(waits)) > 2


def test_what_a_step_asks_for_replaces_its_next_backoff():
    """Only the next: after the second attempt the policy's own interval is back."""
    left = iter([RetryAfter(0), OSError()])

    def step():
        for error in left:
            raise error

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(step, retry=QUICKLY))
        run.result(GUARD)
        waits = [e.data["delay"] for e in run.events() if e.kind == "step.retrying"]

    assert [0, QUICKLY.delay(2)] == waits


def test_a_backoff_holds_no_lease():
    """With one worker another step runs while the first one waits an hour for its next try."""
    flow = Workflow("flow")

    @flow.step(async_=True, retry=NEVER)
    def fails():
        raise OSError

    @flow.step(async_=True)
    def works():
        return "ran"

    with Orchestrator(async_workers=1) as orchestrator:
        run = orchestrator.start(flow)
        seen(run, "step.completed", "works")
        run.cancel()
        result = run.wait(GUARD)

    assert {"works": "ran"} == result.outputs


# ── Optional steps ───────────────────────────────────────────────────────────────────────────


def optional_flow():
    """A failing optional step, and what depends on it."""
    flow = Workflow("flow")
    flow.step(lambda: 1 / 0, id="maybe", required=False)
    flow.step(lambda: "there", id="sure")

    @flow.step(after=["maybe", "sure"])
    def join(inputs, sure, maybe="the default"):
        return dict(inputs), sure, maybe

    return flow


def test_dependents_run_without_an_optional_step_that_failed():
    """Its key is absent in `inputs`, and a parameter by its name takes its default."""
    with Orchestrator() as orchestrator:
        result = orchestrator.run(optional_flow())

    assert ({"sure": "there"}, "there", "the default") == result.output


def test_an_optional_step_that_failed_is_skipped_with_its_error_kept():
    """It has no output, and its run completes."""
    with Orchestrator() as orchestrator:
        result = orchestrator.run(optional_flow())

    maybe = result.steps["maybe"]
    assert (StepStatus.SKIPPED, "skipped", None) == (maybe.status, maybe.status, maybe.output)
    assert isinstance(maybe.error, ZeroDivisionError)
    assert (RunStatus.COMPLETED, None) == (result.status, result.error)
    assert "maybe" not in result.outputs


def test_a_run_input_does_not_show_in_the_place_of_a_skipped_step():
    """The id belongs to the step, whatever became of it."""
    with Orchestrator() as orchestrator:
        result = orchestrator.run(optional_flow(), {"maybe": "an input"})

    assert ({"sure": "there"}, "there", "the default") == result.output


def test_an_optional_step_is_tried_as_often_as_its_policy_says():
    """It is skipped when its last attempt has failed, not its first."""
    flow = Workflow("flow")
    flow.step(lambda: 1 / 0, id="maybe", required=False, retry=QUICKLY)

    with Orchestrator() as orchestrator:
        result = orchestrator.run(flow)

    assert (StepStatus.SKIPPED, 3) == (result.steps["maybe"].status, result.steps["maybe"].attempts)


# ── Priorities ───────────────────────────────────────────────────────────────────────────────

PRIORITIES = {"a": 0, "b": 5, "c": -3, "d": 5, "e": 0, "f": -3, "g": 100}
BY_PRIORITY = ["g", "b", "d", "a", "e", "c", "f"]


@pytest.mark.parametrize("async_", [True, False], ids=["async", "sync"])
@both_kinds
def test_the_higher_priority_goes_first_and_equals_keep_their_order(async_, kind):
    """All are ready before the first may start; negative ones are allowed, and 0 is the default."""
    order, opened = [], threading.Event()
    flow = Workflow("flow")
    flow.step(lambda: opened.wait(GUARD), id="holds", async_=async_)
    for step_id, priority in PRIORITIES.items():
        options = {"priority": priority} if priority else {}
        body = kind(lambda ctx: order.append(ctx.step_id))
        flow.step(body, id=step_id, async_=async_, **options)

    with Orchestrator(async_workers=1) as orchestrator:
        run = orchestrator.start(flow)
        ready(run, 1 + len(PRIORITIES))
        opened.set()
        run.result(GUARD)

    assert BY_PRIORITY == order


def test_the_runs_priority_goes_before_the_steps():
    """A step of an urgent run precedes every step of a lesser one."""
    order, opened = [], threading.Event()
    flow = Workflow("flow")
    for step_id, priority in {"low": -1, "high": 1}.items():
        body = lambda name, ctx: order.append(f"{name}.{ctx.step_id}")  # noqa: E731 - one line
        flow.step(body, id=step_id, async_=True, priority=priority)

    with Orchestrator(async_workers=1) as orchestrator:
        orchestrator.start(flow_of(waits_as("holds", opened), async_=True))
        runs = [
            orchestrator.start(flow, {"name": name}, priority=priority)
            for name, priority in {"idle": -5, "usual": 0, "urgent": 5}.items()
        ]
        for run in runs:
            ready(run, 2)
        opened.set()
        for run in runs:
            run.result(GUARD)

    expected = [f"{run}.{step}" for run in ("urgent", "usual", "idle") for step in ("high", "low")]
    assert expected == order


def waits_as(name, event):
    """A plain step with this name, which waits for the event."""

    def waits():
        return event.wait(GUARD)

    waits.__name__ = name
    return waits


def test_equal_runs_take_turns():
    """A run of many steps does not keep a later run of few waiting."""
    order, opened = [], threading.Event()
    large, small = Workflow("large"), Workflow("small")
    for flow, count in ((large, 4), (small, 2)):
        for number in range(count):
            flow.step(lambda ctx: order.append(ctx.workflow_id), id=f"s{number}", async_=True)

    with Orchestrator(async_workers=1) as orchestrator:
        orchestrator.start(flow_of(waits_as("holds", opened), async_=True))
        runs = [(orchestrator.start(large), 4), (orchestrator.start(small), 2)]
        for run, count in runs:
            ready(run, count)
        opened.set()
        for run, _ in runs:
            run.result(GUARD)

    assert ["large", "small", "large", "small", "large", "large"] == order


def test_waiting_runs_are_begun_by_priority():
    """And equals in the order in which they were started."""
    order, opened = [], threading.Event()
    flow = Workflow("flow")

    @flow.step
    def step(name):
        order.append(name)

    with Orchestrator(max_active_runs=1) as orchestrator:
        orchestrator.start(flow_of(waits_as("holds", opened)))
        runs = [
            orchestrator.start(flow, {"name": name}, priority=priority)
            for name, priority in PRIORITIES.items()
        ]
        opened.set()
        for run in runs:
            run.result(GUARD)

    assert BY_PRIORITY == order


# ── Resuming ─────────────────────────────────────────────────────────────────────────────────


class Broken:
    """A flow one of whose steps fails until it is mended, and which counts its calls."""

    def __init__(self):
        self.calls = Counter()
        self.mended = False
        self.flow = Workflow("broken")
        self.flow.step(self.step, id="first")
        self.flow.step(self.fails, id="maybe", required=False)
        self.flow.step(self.sometimes, id="second", after="first", retry=QUICKLY)
        self.flow.step(self.join, id="third", after=["first", "second", "maybe"])

    def step(self, ctx):
        """Count a call and say its number."""
        self.calls[ctx.step_id] += 1
        return f"{ctx.step_id} {self.calls[ctx.step_id]}"

    def fails(self, ctx):
        """Count a call and fail."""
        self.step(ctx)
        raise OSError

    def sometimes(self, ctx):
        """Fail until it is mended."""
        return self.step(ctx) if self.mended else self.fails(ctx)

    def join(self, inputs, first, second, maybe=None):
        """Return what the others gave."""
        return first, second, maybe, "maybe" in inputs


@pytest.fixture
def broken():
    """A flow that fails until it is mended."""
    return Broken()


def test_a_failed_run_resumes_from_what_is_recorded(broken):
    """What completed or was skipped is not run again, and its output is there for the rest."""
    with Orchestrator() as orchestrator:
        orchestrator.register(broken.flow)
        failed = orchestrator.start("broken")
        failed.wait(GUARD)
        broken.mended = True
        resumed = orchestrator.resume(failed.id)
        result = resumed.result(GUARD)

    assert (failed.id, ("first 1", "second 4", None, False)) == (resumed.id, result.output)
    assert {"first": 1, "maybe": 1, "second": 4} == broken.calls


def test_a_resumed_step_has_all_its_attempts_again(broken):
    """It fails three times in each life, and the run fails again."""
    with Orchestrator() as orchestrator:
        failed = orchestrator.start(broken.flow)
        failed.wait(GUARD)
        again = orchestrator.resume(failed.id, broken.flow).wait(GUARD)

    assert (RunStatus.FAILED, 3) == (again.status, again.steps["second"].attempts)
    assert {"first": 1, "maybe": 1, "second": 6} == broken.calls


def test_a_completed_run_is_resumed_as_it_is(broken):
    """Nothing runs, and nothing is recorded."""
    broken.mended = True
    with Orchestrator() as orchestrator:
        run = orchestrator.start(broken.flow)
        result = run.result(GUARD)
        before = len(list(run.events()))
        again = orchestrator.resume(run.id)
        after = len(list(again.events()))

    assert (result, before) == (again.result(), after)
    assert {"first": 1, "maybe": 1, "second": 1} == broken.calls


def test_a_cancelled_run_resumes():
    """The step that was cut runs again."""
    flow, attempts = Workflow("flow"), []

    @flow.step
    def first():
        attempts.append("first")

    @flow.step(after=first)
    async def second():
        attempts.append("second")
        if attempts.count("second") == 1:
            await asyncio.Event().wait()

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        seen(run, "step.started", "second")
        run.cancel()
        run.wait(GUARD)
        result = orchestrator.resume(run.id, flow).wait(GUARD)

    assert RunStatus.COMPLETED is result.status
    assert ["first", "second", "second"] == attempts


def test_a_run_that_was_cancelled_after_its_last_step_resumes_to_its_end():
    """The last step completed though it had been asked to stop: nothing is left to run."""
    flow = Workflow("flow")

    @flow.step
    def last():
        hang()
        return True

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        ENTERED.wait(GUARD)
        run.cancel()
        RELEASE.set()
        first = run.wait(GUARD)
        again = orchestrator.resume(run.id, flow).wait(GUARD)

    assert (RunStatus.CANCELLED, StepStatus.COMPLETED) == (first.status, first.steps["last"].status)
    assert (RunStatus.COMPLETED, True) == (again.status, again.output)


def test_a_run_in_progress_is_resumed_as_it_is():
    """The handle is the same."""
    opened = threading.Event()
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(waits_as("holds", opened)))
        again = orchestrator.resume(run.id)
        opened.set()
        run.result(GUARD)

    assert run is again


# ── Status, listing, events, ids ─────────────────────────────────────────────────────────────


def test_the_status_of_a_run_is_complete_at_any_instant():
    """In the middle: outputs, errors, attempts and states of all steps."""
    flow, shot = Workflow("flow"), []
    flow.step(lambda: "one", id="done")
    flow.step(lambda: 1 / 0, id="maybe", required=False, retry=QUICKLY)

    @flow.step(after=["done", "maybe"])
    def looks(ctx, orchestrator):
        shot.append(orchestrator.get(ctx.run_id).snapshot())

    flow.step(lambda: None, id="later", after=looks)
    with Orchestrator() as orchestrator:
        orchestrator.run(flow, {"orchestrator": orchestrator})

    (snapshot,) = shot
    states = {step.step_id: (step.status, step.attempts) for step in snapshot.steps.values()}
    assert {
        "done": ("completed", 1),
        "maybe": ("skipped", 3),
        "looks": ("running", 1),
        "later": ("pending", 0),
    } == states
    assert (RunStatus.RUNNING, {"done": "one"}) == (snapshot.status, snapshot.outputs)
    assert isinstance(snapshot.steps["maybe"].error, ZeroDivisionError)


@pytest.mark.parametrize("fail_fast", [True, False])
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "both"])
def test_the_record_of_a_run_says_what_its_result_says(end, fail_fast):
    """Folded from the events, after every kind of end."""
    flow = Workflow("flow", fail_fast=fail_fast)
    flow.step(lambda: "one", id="first")
    flow.step(lambda: 1 / 0, id="maybe", required=False, retry=QUICKLY)
    if end in {"failed", "both"}:
        flow.step(lambda: 1 / 0, id="fails", after="first")
    if end in {"cancelled", "both"}:
        flow.step(waits_for_ever, async_=True, after="first")
    flow.step(lambda: "four", id="last", after="first")

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        if end in {"cancelled", "both"}:
            seen(run, *(("step.failed",) if end == "both" else ("step.completed", "last")))
            run.cancel("enough")
        result = run.wait(GUARD)

    assert result == RunResult.of(run.snapshot())


@pytest.fixture
def listed():
    """An orchestrator with five runs of two workflows, and their ids from old to new."""
    with Orchestrator() as orchestrator:
        good, bad = Workflow("good"), Workflow("bad")
        good.step(lambda: 1, id="step")
        bad.step(lambda: 1 / 0, id="step")
        ids = []
        for number, flow in enumerate([good, bad, good, bad, good]):
            run = orchestrator.start(
                flow, trace_id=f"t{number}", correlation_id=f"c{number % 2}", business_id="b' OR 1"
            )
            run.wait(GUARD)
            ids.append(run.id)
        yield orchestrator, ids


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"status": "completed"}, [4, 2, 0]),
        ({"status": RunStatus.FAILED}, [3, 1]),
        ({"status": "running"}, []),
        ({"workflow_id": "bad"}, [3, 1]),
        ({"trace_id": "t2"}, [2]),
        ({"correlation_id": "c1"}, [3, 1]),
        ({"business_id": "b' OR 1"}, [4, 3, 2, 1, 0]),
        ({"business_id": "b"}, []),
        ({"business_id": ""}, []),
        ({"correlation_id": "c0", "status": "completed", "workflow_id": "good"}, [4, 2, 0]),
        ({"correlation_id": "c0", "status": "failed"}, []),
    ],
    ids=str,
)
def test_runs_are_listed_by_filters(listed, filters, expected):
    """A plain text is a status, a quote is a character, and all filters must match."""
    orchestrator, ids = listed

    page = orchestrator.list(**filters)

    assert ([ids[n] for n in expected], len(expected)) == (
        [r.run_id for r in page.runs],
        page.total,
    )


def test_pages_are_stable_and_do_not_overlap(listed):
    """The newest first; put together they are the whole, and the total says how many."""
    orchestrator, ids = listed

    pages = [orchestrator.list(limit=2, offset=offset) for offset in (0, 2, 4, 6)]

    assert [ids[:2:-1], ids[2:0:-1], ids[:1], []] == [[r.run_id for r in p.runs] for p in pages]
    assert {5} == {page.total for page in pages}
    assert 0 == len(orchestrator.list(limit=0).runs)


@pytest.mark.parametrize("filters", [{"status": "done"}, {"limit": -1}, {"offset": True}], ids=str)
def test_a_filter_that_is_none_is_refused(listed, filters):
    """A page of nothing would hide the mistake."""
    orchestrator, _ = listed

    with pytest.raises(DefinitionError):
        orchestrator.list(**filters)


def test_events_are_numbered_without_gaps(broken):
    """From 1, over the lives of a run, also while others run beside it."""
    with Orchestrator() as orchestrator:
        runs = [orchestrator.start(broken.flow) for _ in range(20)]
        for run in runs:
            run.wait(GUARD)
        broken.mended = True
        for run in runs:
            orchestrator.resume(run.id, broken.flow).wait(GUARD)
        histories = [list(run.events()) for run in runs]

    for history in histories:
        assert list(range(1, len(history) + 1)) == [event.number for event in history]
        assert 1 == len({event.run_id for event in history})


def test_every_transition_has_its_event():
    """In the order in which things happened, with what is known of each."""
    flow, left = Workflow("flow"), iter([OSError("busy")])

    @flow.step(retry=QUICKLY)
    def step():
        for error in left:
            raise error
        return "out"

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        run.result(GUARD)
        told = [(e.kind.value, e.step_id, e.attempt) for e in run.events()]
        data = {event.kind: event.data for event in run.events()}

    assert [
        ("run.accepted", None, None),
        ("run.started", None, None),
        ("step.ready", "step", None),
        ("step.started", "step", 1),
        ("step.retrying", "step", 1),
        ("step.ready", "step", None),
        ("step.started", "step", 2),
        ("step.completed", "step", 2),
        ("run.completed", None, None),
    ] == told
    assert "out" == data["step.completed"]["output"]
    assert ("busy", 0.001) == (str(data["step.retrying"]["error"]), data["step.retrying"]["delay"])


def test_an_event_is_recorded_before_anybody_sees_it():
    """Readers and observers of an event find it in the record, too."""
    state, behind = MemoryStateManager(), []

    def look(event):
        if state.events(event.run_id)[event.number - 1] != event:
            behind.append(event)

    with Orchestrator(state, observers=[look]) as orchestrator:
        for run in [orchestrator.start(lesson(), {"url": "u"}) for _ in range(20)]:
            for event in run.events():
                look(event)

    assert [] == behind


IDS = {"trace_id": "t", "correlation_id": "c", "business_id": "b"}


@pytest.mark.parametrize("given", [IDS, {"metadata": IDS}], ids=["options", "metadata"])
def test_the_three_ids_are_in_the_context_the_logs_the_events_and_the_filters(given, caplog):
    """As options of the run or as entries of its metadata."""
    flow = Workflow("flow")

    @flow.step
    def step(ctx):
        ctx.log.warning("my.line")
        return ctx.trace_id, ctx.correlation_id, ctx.business_id

    with caplog.at_level(logging.INFO, "actorflow"), Orchestrator() as orchestrator:
        run = orchestrator.start(flow, **given)
        output = run.result(GUARD).output
        totals = [orchestrator.list(**{name: value}).total for name, value in IDS.items()]
        orchestrator.shutdown()  # the last line is written by then

    lines = [record.getMessage() for record in caplog.records if run.id in record.getMessage()]
    text = "trace_id='t' correlation_id='c' business_id='b'"
    assert ("t", "c", "b") == output
    assert [1, 1, 1] == totals
    assert IDS | {"workflow_id": "flow"} == seen(run, "run.started").data
    of_run = {"run.accepted", "run.started", "run.completed"}
    assert of_run | {"step.started", "my.line", "step.completed"} == {
        line.split("'")[1] for line in lines
    }
    assert [] == [line for line in lines if text not in line]


# ── Definitions ──────────────────────────────────────────────────────────────────────────────


def test_a_cycle_is_refused_and_printed():
    """The seed's library reported success and had run nothing."""
    flow = Workflow("flow")
    flow.add(Step("a", lambda: 1, after="c"))
    flow.add(Step("b", lambda: 1, after="a"))
    flow.add(Step("c", lambda: 1, after="b"))

    with Orchestrator() as orchestrator:
        for call in (orchestrator.run, orchestrator.start, orchestrator.register):
            with pytest.raises(DefinitionError, match="a -> b -> c -> a"):
                call(flow)


def test_a_duplicate_step_id_is_refused():
    """The second one of two would never have run."""
    flow = Workflow("flow")
    flow.add(Step("a", lambda: 1))

    with pytest.raises(DefinitionError, match="step 'a': its id is taken"):
        flow.add(Step("a", lambda: 2))
    with pytest.raises(DefinitionError, match="step 'a': its id is taken"):
        WorkflowBuilder("flow", "Flow").add_step(Step("a", lambda: 1)).add_step(
            Step("a", lambda: 2)
        ).build()


# ── Cancellation ─────────────────────────────────────────────────────────────────────────────


def ended(run, reason="enough"):
    """Cancel a run and return its status, and those of its steps."""
    run.cancel(reason)
    result = run.wait(GUARD)
    return result.status.value, {step.step_id: step.status.value for step in result.steps.values()}


def test_a_run_that_waits_for_its_turn_is_cancelled():
    """It never starts, and its place goes to the next."""
    opened, flow = threading.Event(), flow_of(hang)
    after = Workflow("after")
    after.step(lambda: "ran", id="step")

    with Orchestrator(max_active_runs=1) as orchestrator:
        orchestrator.start(flow_of(waits_as("holds", opened)))
        run, behind = orchestrator.start(flow), orchestrator.start(after)
        outcome = ended(run)
        opened.set()
        output = behind.result(GUARD).output

    assert ("cancelled", {"hang": "cancelled"}) == outcome
    kinds = [event.kind for event in run.events()]
    assert ["run.accepted", "step.cancelled", "run.cancelled"] == kinds
    assert ("ran", None) == (output, run.wait().started_at)


def test_ready_and_pending_steps_of_a_cancelled_run_never_start():
    """One holds the only lease, one is ready, one waits for both."""
    started = []
    flow = Workflow("flow")
    flow.step(waits_for_ever, id="running", async_=True)
    flow.step(lambda: started.append("ready"), id="ready", async_=True)
    flow.step(lambda: started.append("pending"), id="pending", after=["running", "ready"])

    with Orchestrator(async_workers=1) as orchestrator:
        run = orchestrator.start(flow)
        ready(run, 2)
        outcome = ended(run)

    assert ("cancelled", dict.fromkeys(["running", "ready", "pending"], "cancelled")) == outcome
    assert [] == started


def test_a_running_coroutine_is_cancelled():
    """It gets to clean up, and its run ends only then."""
    log = []

    async def step():
        try:
            ENTERED.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(step))
        ENTERED.wait(GUARD)
        outcome = ended(run)
        log.append("ended")

    assert ("cancelled", {"step": "cancelled"}) == outcome
    assert ["cleaned up", "ended"] == log


@pytest.mark.parametrize("look", ["cancelled", "raise_if_cancelled", "heartbeat"])
def test_a_running_thread_is_asked_to_stop(look):
    """It sees the request in its context, by asking or by being thrown out."""

    def step(ctx):
        ENTERED.set()
        while not ctx.cancelled:
            RELEASE.wait(0.001)
        if look != "cancelled":
            getattr(ctx, look)()

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(step))
        ENTERED.wait(GUARD)
        status, steps = ended(run)

    assert "cancelled" == status
    assert {"step": "completed" if look == "cancelled" else "cancelled"} == steps


def test_a_thread_that_does_not_stop_is_abandoned():
    """After the grace the run ends without it."""
    with Orchestrator(stop_grace=0.01) as orchestrator:
        run = orchestrator.start(flow_of(hang))
        ENTERED.wait(GUARD)
        outcome = ended(run)
        RELEASE.set()

    assert ("cancelled", {"hang": "cancelled"}) == outcome
    assert "step.abandoned" in [event.kind for event in run.events()]


def test_a_backoff_is_interrupted_by_cancelling():
    """The step would have tried again in an hour."""
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(always_fails, retry=NEVER))
        seen(run, "step.retrying")
        outcome = ended(run)

    assert ("cancelled", {"always_fails": "cancelled"}) == outcome


def always_fails():
    """Be a step that always fails."""
    raise OSError


@pytest.mark.parametrize("end", ["failed", "completed"])
def test_cancelling_a_finished_run_changes_nothing(end):
    """Its status, its result and its record stay."""
    flow = flow_of(always_fails, required=end == "failed")
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        before = run.wait(GUARD), list(run.events())
        run.cancel()
        run.cancel()
        again = run.wait(GUARD), list(run.events())

    assert before == again


def test_cancelling_twice_keeps_the_first_reason():
    """The second one comes while the run ends."""
    with Orchestrator(stop_grace=0.05) as orchestrator:
        run = orchestrator.start(flow_of(hang))
        ENTERED.wait(GUARD)
        run.cancel("first")
        run.cancel("second")
        reason = run.wait(GUARD).reason
        RELEASE.set()

    assert "first" == reason


# ── A step that panics ───────────────────────────────────────────────────────────────────────


class Panic(BaseException):
    """An error that is not an `Exception`."""


@pytest.mark.parametrize(
    "error",
    [Panic, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, MemoryError],
)
@pytest.mark.parametrize("form", ["coroutine", "later", "thread"])
def test_a_step_that_raises_is_an_attempt_that_failed_and_nothing_else(error, form):
    """Whatever it raises: the loop, the process and the next run do not notice."""
    flow = Workflow("flow")

    def thread():
        raise error("panic")

    async def coroutine():
        raise error("panic")

    async def later():
        await asyncio.sleep(0)
        raise error("panic")

    flow.step({"coroutine": coroutine, "later": later, "thread": thread}[form], id="step")
    fine = Workflow("fine")
    fine.step(as_coroutine(lambda ctx: ctx.step_id), id="fine")

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow).wait(GUARD)
        after = orchestrator.run(fine).output

    step = result.steps["step"]
    assert (RunStatus.FAILED, StepStatus.FAILED, 1) == (result.status, step.status, step.attempts)
    assert (error, ("panic",)) == (type(result.error), result.error.args)
    assert "fine" == after


def test_a_step_that_recurses_too_deeply_is_an_attempt_that_failed():
    """Neither a thread's nor the loop's stack is lost by it."""

    def dive():
        dive()

    async def plunge():
        await plunge()

    with Orchestrator() as orchestrator:
        errors = [orchestrator.start(flow_of(body)).wait(GUARD).error for body in (dive, plunge)]

    assert [RecursionError, RecursionError] == [type(error) for error in errors]


# ── The seed's names ─────────────────────────────────────────────────────────────────────────


def test_the_seeds_spelling_builds_and_runs_the_lesson():
    """Builders, the constructor with workers, register, and runs by id."""
    flow = WorkflowBuilder("lesson", "Lesson").with_version("1.0.0")
    flow.add_step(StepBuilder("fetch", "Fetch", lambda url: url).build())
    for branch in ("process", "enrich", "analyze"):
        flow.add_step(
            StepBuilder(branch, branch.title(), as_coroutine(lambda ctx: ctx.step_id))
            .with_dependencies("fetch")
            .with_async(True)
            .with_timeout(GUARD)
            .with_retry_policy(RetryPolicyBuilder().with_max_attempts(3).build())
            .build()
        )
    flow.add_step(
        StepBuilder("aggregate", "Aggregate", all_of)
        .with_dependencies("process", "enrich", "analyze")
        .build()
    )

    with Orchestrator.with_async_workers(MemoryStateManager(), 20) as orchestrator:
        orchestrator.register(flow.build())
        result = orchestrator.run("lesson", {"url": "u"})
        started = orchestrator.start("lesson", {"url": "u"})
        again = orchestrator.get(started.id).result(GUARD)
        total = orchestrator.list(workflow_id="lesson").total

    branches = {"process": "process", "enrich": "enrich", "analyze": "analyze"}
    assert {"url": "u"} | branches == result.output == again.output
    assert 2 == total

"""The steps' own functions, in virtual time: what asyncio offers, and what it does not here."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import logging
import threading
import time

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.running import StepCancelled
from actorflow.support.warnings import ActorflowWarning
from actorflow.testing import (
    LawBroken,
    NotEnded,
    NotSimulated,
    Outcome,
    Script,
    Simulation,
    Tape,
    laws,
    raises,
    real,
    returns,
    simulate,
)
from actorflow.testing.simulation.values import changed, snapshot
from tests.support.brain import flow, task

REAL = Script(default=real())
variable = contextvars.ContextVar("variable", default="nobody's")


def run(function, *more, inputs=None, script=REAL, after=(), tape=None, **options):
    """Run a coroutine function or a plain one as step `a`, for real."""
    step = Step("a", function, after=after, async_=True, **options)
    return simulate(flow(step, *more), inputs, script=script, tape=tape)


def output_of(function, **options):
    """What it returned; anything else is a failure of the test."""
    trace = run(function, **options)
    trace.result.raise_for_status()
    assert trace.leftovers.nothing
    return trace.result.outputs["a"], trace.duration


# ── Plain functions ──────────────────────────────────────────────────────────────────────────


def test_a_plain_function_is_called_with_what_production_would_call_it_with():
    """Inputs, outputs and context."""

    def join(url, ctx, inputs):
        return url, ctx.run_id, ctx.attempt, dict(inputs)

    assert (("u", "run-1", 1, {"url": "u"}), 0.0) == output_of(join, inputs={"url": "u"})


def test_a_plain_function_is_called_at_the_end_of_the_time_that_it_takes():
    """The context's clock is virtual."""

    def remaining(ctx):
        return ctx.remaining

    script = Script({"a": real(after=3)})

    assert (7.0, 3.0) == output_of(remaining, timeout=10.0, script=script)


def test_whatever_a_plain_function_raises_is_its_attempts_failure():
    """Also what is no `Exception`."""

    def leave():
        raise SystemExit(3)

    trace = run(leave)

    assert isinstance(trace.result.error, SystemExit)
    assert [Outcome.RAISED] == [one.outcome for one in trace.attempts]


def test_an_interrupt_reaches_whoever_simulates():
    """Ctrl-C in the midst of a million schedules ends them."""

    def interrupted():
        raise KeyboardInterrupt

    async def interrupted_too():
        raise KeyboardInterrupt

    for function in (interrupted, interrupted_too):
        with pytest.raises(KeyboardInterrupt):
            run(function)


def test_a_plain_function_is_called_although_it_was_abandoned_meanwhile():
    """A thread cannot be stopped: this is the step that charges twice."""
    charged = []

    def charge(ctx):
        charged.append((ctx.attempt, ctx.cancelled))
        return len(charged)

    script = Script({"a": [real(after=3), real(after=1)]})
    trace = run(charge, timeout=2.0, retry=RetryPolicy(max_attempts=2, jitter=0), script=script)

    assert [(1, True), (2, False)] == charged
    assert [Outcome.ABANDONED, Outcome.RETURNED] == [one.outcome for one in trace.attempts]
    assert 2 == trace.result.outputs["a"]


def test_a_plain_function_that_returns_a_coroutine_is_told_so():
    """As in production."""

    async def work():
        """Never run."""

    def forgetful():
        return work()

    trace = run(forgetful)

    assert "Define the step with `async def`" in str(trace.result.error)


# ── Coroutines ───────────────────────────────────────────────────────────────────────────────


def test_a_sleep_takes_virtual_time():
    """And no other."""

    async def sleep(ctx):
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(86400)
        return before, asyncio.get_running_loop().time(), ctx.remaining

    began = time.monotonic()
    result = output_of(sleep, timeout=100000.0)

    assert ((0.0, 86400.0, 13600.0), 86400.0) == result
    assert time.monotonic() - began < 3600


def test_what_asyncio_offers_works():
    """Events, queues, tasks, groups, timeouts, gather, and callbacks."""

    async def everything():
        loop, event, queue = asyncio.get_running_loop(), asyncio.Event(), asyncio.Queue(1)
        loop.call_later(1, event.set)
        await event.wait()

        async def produce():
            for number in range(3):
                await asyncio.sleep(0.5)
                await queue.put(number)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            got = [await queue.get() for _ in range(3)]
        try:
            async with asyncio.timeout(0.25):
                await asyncio.sleep(60)
        except TimeoutError:
            got.append("timeout")
        got += await asyncio.gather(asyncio.sleep(2, "a"), asyncio.sleep(1, "b"))
        return got

    trace = run(everything)

    assert [0, 1, 2, "timeout", "a", "b"] == trace.result.outputs["a"]
    assert (4.75, 4.75) == (trace.duration, trace.now), "what was cancelled lets no time pass"


def test_a_coroutine_that_does_not_wait_shares_a_task():
    """As in production, whose executor runs it."""

    async def name():
        return asyncio.current_task().get_name()

    assert ("actorflow runner", 0.0) == output_of(name)


def test_a_coroutine_that_waits_has_a_task_of_its_own():
    """From its first line to its last."""

    async def task():
        first = asyncio.current_task()
        await asyncio.sleep(0)
        return first is asyncio.current_task(), first.get_name()

    assert ((True, "step a of run run-1"), 0.0) == output_of(task)


def test_tasks_have_names_that_are_the_schedules_own():
    """The names that asyncio gives count the tasks of the whole process."""

    async def names():
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
        await asyncio.wait(tasks)
        return [task.get_name() for task in tasks]

    assert [["Task-1", "Task-2"]] * 2 == [output_of(names)[0] for _ in range(2)]


def test_a_timeout_cancels_the_task():
    """The body may clean up, for as long as the grace."""
    seen = []

    async def sleeper():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")
            await asyncio.sleep(0.5)
            seen.append("cleaned up")

    trace = run(sleeper, timeout=2.0)

    assert ["cancelled", "cleaned up"] == seen
    assert (Outcome.STOPPED, 2.5) == (trace.attempts[0].outcome, trace.attempts[0].finished_at)


def test_a_coroutine_that_was_stopped_before_it_began_is_not_entered():
    """Its moment had not come."""
    entered = []

    async def enter():
        entered.append("entered")

    trace = run(enter, timeout=2.0, script=Script({"a": real(after=5)}))

    assert [] == entered
    assert isinstance(trace.attempts[0].error, StepCancelled)


def test_a_coroutine_that_refuses_to_end_is_abandoned_and_tells_where_it_hangs():
    """And it is ended with the simulation, without a word."""
    gone = []

    async def stubborn():
        try:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    gone.append("no")
        finally:
            gone.append("gone")

    simulation = Simulation(script=REAL, stop_grace=3.0, max_happenings=100)
    simulation.start(flow(Step("a", stubborn, async_=True, timeout=2.0)))
    simulation.run_until_quiet()
    trace = simulation.trace()
    simulation.close()
    gc.collect()

    (abandoned,) = [event for event in trace.events if event.kind == "step.abandoned"]
    assert "await asyncio.sleep(3600)" in abandoned.data["stack"]
    assert 1 == trace.leftovers.tasks
    assert "gone" == gone[-1]


def test_sleeps_that_end_at_the_same_moment_race():
    """Which of them is first is chosen; callbacks that are ready keep their order."""

    async def race():
        order = []

        async def sleep(name):
            await asyncio.sleep(1)
            order.append(name)

        await asyncio.gather(sleep("a"), sleep("b"))
        return "".join(order)

    assert {"ab", "ba"} == {output_of(race, tape=Tape({"timer": [choice]}))[0] for choice in (0, 1)}


def test_ready_callbacks_keep_their_order():
    """That much asyncio promises."""

    async def ready():
        order, loop = [], asyncio.get_running_loop()
        for number in range(5):
            loop.call_soon(order.append, number)
        await asyncio.sleep(0)
        return order

    assert [0, 1, 2, 3, 4] == output_of(ready, tape=lambda options, _label: options - 1)[0]


REAL_WORLD = {
    "threads": lambda: asyncio.to_thread(print),
    "sockets": lambda: asyncio.open_connection("localhost", 1),
    "processes": lambda: asyncio.create_subprocess_exec("true"),
    "names": lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
}


@pytest.mark.parametrize("ask", REAL_WORLD.values(), ids=REAL_WORLD)
def test_the_real_world_is_out_of_reach(ask):
    """With an error that says what to do instead."""

    async def reach():
        await ask()

    with pytest.warns(ActorflowWarning, match="Pass the step a fake"):
        trace = run(reach)

    assert isinstance(trace.result.error, NotSimulated)
    assert "Pass the step a fake" in str(trace.result.error)


def test_another_thread_cannot_call_into_a_simulation():
    """It would come at a moment that nobody has chosen; its own thread may call."""
    refused = []

    async def call():
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def from_outside():
            try:
                loop.call_soon_threadsafe(called.set)
            except NotSimulated as error:
                refused.append(error)

        thread = threading.Thread(target=from_outside)
        thread.start()
        thread.join()
        loop.call_soon_threadsafe(called.set)
        return await called.wait()

    assert (True, 0.0) == output_of(call)
    assert "loop.call_soon_threadsafe() needs threads" in str(*refused)


def test_a_coroutine_that_waits_for_the_real_world_for_ever_is_told_of():
    """A script in which it ends would not help there."""

    async def wait():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(
        NotEnded, match=r"a#1 never ends: a coroutine .* such as a thread\. Give it"
    ):
        _ = run(wait).result


def test_a_coroutine_that_goes_on_and_on_is_named_by_the_law():
    """It is no lost wake-up of the runtime's."""

    async def poll():
        for _ in itertools.count():
            await asyncio.sleep(1)

    with pytest.raises(
        LawBroken, match=r"come to an end at .*, and a#1 had not ended\. Give a timeout"
    ):
        laws.runs_come_to_an_end.check(run(poll))


def test_context_variables_travel_to_both_kinds_of_functions():
    """And what a step sets is its own."""

    async def coroutine():
        await asyncio.sleep(1)
        seen = variable.get()
        variable.set("the step's")
        return seen

    def plain():
        seen = variable.get()
        variable.set("the step's")
        return seen

    token = variable.set("the run's")
    outputs = [output_of(function)[0] for function in (coroutine, plain)]
    variable.reset(token)

    assert ["the run's"] * 2 == outputs
    assert "nobody's" == variable.get()


def test_a_simulation_may_run_within_a_running_loop():
    """An asynchronous test has one of its own."""

    async def sleep():
        await asyncio.sleep(3)
        return asyncio.get_running_loop().time()

    async def test():
        before = asyncio.get_running_loop(), asyncio.current_task()
        output = output_of(sleep)
        return output, before == (asyncio.get_running_loop(), asyncio.current_task())

    assert ((3.0, 3.0), True) == asyncio.run(test())


def test_an_error_that_nobody_waits_for_is_logged(caplog):
    """As any loop does."""

    async def fail():
        raise ValueError("unseen")

    async def careless():
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task
        gc.collect()

    with caplog.at_level(logging.ERROR, "asyncio"):
        output_of(careless)

    assert "unseen" in caplog.text


def test_what_a_coroutine_leaves_behind_is_told_and_cleaned_up():
    """A task that outlives its step is a leak."""
    ended = []

    async def forget():
        async def forgotten():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("forgotten")

        task = asyncio.create_task(forgotten())
        await asyncio.sleep(1)
        return task.done()

    trace = run(forget)

    assert 1 == trace.leftovers.tasks
    assert ["forgotten"] == ended


# ── Mutations ────────────────────────────────────────────────────────────────────────────────


def test_a_step_that_changes_what_it_was_given_is_caught():
    """Inputs and outputs are passed by reference, and are everybody's."""

    def grow(a, settings):
        a.append(4)
        settings["seen"] = True

    async def look(a, settings):
        return len(a) + len(settings)

    steps = [Step("b", grow, after="a"), Step("c", look, after=["a", "b"], async_=True)]
    trace = run(lambda: [1, 2, 3], *steps, inputs={"settings": {}})

    assert [("run-1", "b", 1, "a"), ("run-1", "b", 1, "settings")] == [*map(tuple, trace.mutations)]


def test_what_is_seen_through_inputs_is_watched_too():
    """Each value by its own name."""

    def grow(inputs):
        inputs["a"].append(4)

    trace = run(lambda: [1], Step("b", grow, after="a"))

    assert ["a"] == [mutation.name for mutation in trace.mutations]


def test_scripted_steps_change_nothing():
    """Nobody looks, because nobody calls them."""
    trace = simulate(flow(task("a"), task("b", "a")), script=Script({"a": returns([1])}))

    assert () == trace.mutations


class Plain:
    """A value without an equality of its own."""

    def __init__(self, value):
        self.value = value


class Slotted:
    """The same with slots."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Contrary:
    """A value that is equal to nothing."""

    def __eq__(self, other):
        return False

    __hash__ = None


CHANGES = [
    ([1], lambda value: value.append(2)),
    ({"a": [1]}, lambda value: value["a"].append(2)),
    ({1}, lambda value: value.add(2)),
    (([1],), lambda value: value[0].append(2)),
    (Plain([1]), lambda value: value.value.append(2)),
    (Slotted([1]), lambda value: value.value.append(2)),
    (Plain(1), lambda value: setattr(value, "value", 2)),
    (Plain(1), lambda value: setattr(value, "another", 2)),
    (bytearray(b"a"), lambda value: value.extend(b"b")),
    ({"a": 1}, lambda value: value.update({"a": True}) or value.update(b=1)),
]


@pytest.mark.parametrize(("value", "change"), CHANGES, ids=range(len(CHANGES)))
def test_a_change_is_noticed_wherever_it_is_made(value, change):
    """And what has not been changed is what it was."""
    before = snapshot({"x": value})
    untouched = changed(before, {"x": value})
    change(value)

    assert ([], ["x"]) == (untouched, changed(before, {"x": value}))


LEFT_ALONE = {
    "nan": float("nan"),
    "nan within": [float("nan")],
    "contrary": Contrary(),
    "contrary within": [Contrary()],
    "function": len,
    "object": object(),
    "iterator": iter([1]),
}


@pytest.mark.parametrize("value", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_a_step_is_accused_only_of_what_can_be_shown(value):
    """Values that cannot be copied, or do not know their own copies, are left alone."""
    assert [] == changed(snapshot({"x": value}), {"x": value})


def test_a_value_that_holds_itself_can_be_watched():
    """However deep it goes."""
    value = [1]
    value.append(value)
    before = snapshot({"x": value})
    untouched = changed(before, {"x": value})
    value.append(2)

    assert ([], ["x"]) == (untouched, changed(before, {"x": value}))


def test_the_retries_of_a_true_function_see_their_number():
    """Scripted attempts and true ones may be mixed."""
    script = Script({"a": [raises(ValueError, after=1), real()]})

    output, duration = output_of(
        lambda ctx: ctx.attempt, retry=RetryPolicy(jitter=0), script=script
    )

    assert (2, 2.0) == (output, duration)

"""Coroutine bodies: guests of the loop, each in a task that is its own while it waits."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools

import pytest

from actorflow.executors import CoroutineExecutor
from tests.support.executor_rigs import CoroutineRig, Rig, starts_in

__all__ = ["starts_in"]

variable = contextvars.ContextVar("variable", default="nobody's")


@pytest.fixture
def rig():
    """A coroutine executor on a loop that runs only while the test waits for something."""
    rig = CoroutineRig()
    yield rig
    rig.close()


def test_a_body_runs_in_one_task_from_its_first_line_to_its_last(rig):
    """Whether or not it waits in between."""

    async def body():
        tasks = [asyncio.current_task()]
        for _ in range(3):
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
        return tasks

    tasks, error = rig.run(body)

    assert error is None
    assert None not in tasks
    assert 1 == len(set(tasks))


def test_no_two_bodies_that_wait_share_a_task(rig):
    """A timeout of one must not cancel another."""
    tasks = []

    async def body():
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)

    for _ in range(20):
        rig.submit(body)
    rig.until(lambda: len(rig.reports) == 20)

    assert 20 == len(set(tasks))


def test_a_body_that_does_not_wait_ends_before_the_loop_goes_round(rig):
    """A chain of such bodies costs no round of the loop each."""
    order = []

    async def body(n):
        order.append(n)

    for number in range(5):
        rig.submit(body, n=number)
    rig.loop.call_soon(rig.loop.call_soon, order.append, "a round later")
    rig.until(lambda: "a round later" in order)

    assert [0, 1, 2, 3, 4, "a round later"] == order


def test_bodies_that_do_not_wait_leave_the_loop_to_others():
    """A runner that always finds work goes round now and then."""
    loop = asyncio.new_event_loop()
    ticks = iter(range(10**9))
    executor = CoroutineExecutor(loop, lambda: False, lambda: None, lambda: float(next(ticks)))
    rig = Rig(executor)
    seen = []

    async def body():
        seen.append("body")
        if seen.count("body") < 50:
            executor.submit(rig.attempt(body))

    executor.submit(rig.attempt(body))
    loop.call_soon(seen.append, "guest")
    for _ in range(100):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert 50 == seen.count("body")
    assert seen.index("guest") <= 2


def test_a_runner_that_is_cancelled_leaves_its_work_to_another():
    """Somebody who cancels every task on the loop does not lose the steps that wait."""
    loop = asyncio.new_event_loop()
    ticks = iter(range(10**9))
    rig = Rig(CoroutineExecutor(loop, lambda: False, lambda: None, lambda: float(next(ticks))))

    async def body():
        return "ran"

    attempts = [rig.attempt(body) for _ in range(3)]
    for attempt in attempts:
        rig.executor.submit(attempt)
    loop.call_soon(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    for _ in range(10):
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert [[("ran", None)]] * 3 == [rig.of(attempt) for attempt in attempts]


def test_a_runner_that_is_cancelled_before_it_begins_is_replaced():
    """Nobody else would come for the steps that wait, now or later."""
    loop = asyncio.new_event_loop()
    rig = Rig(CoroutineExecutor(loop, lambda: False, lambda: None, loop.time))

    async def body():
        return "ran"

    attempts = [rig.attempt(body) for _ in range(2)]
    rig.executor.submit(attempts[0])
    for task in asyncio.all_tasks(loop):
        task.cancel()
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    rig.executor.submit(attempts[1])
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert [[("ran", None)]] * 2 == [rig.of(attempt) for attempt in attempts]


def test_a_loop_that_starts_tasks_eagerly_starts_no_body_in_mid_delivery():
    """Whoever submits is an actor, and its handler has to return first."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(_eager)
    rig = Rig(CoroutineExecutor(loop, lambda: False, lambda: None, loop.time))
    entered = []

    async def body():
        entered.append("body")

    rig.executor.submit(rig.attempt(body))
    entered.append("submitted")
    for _ in range(3):
        loop.call_soon(loop.stop)
        loop.run_forever()  # makes no task, which the factory would run at once
    loop.close()

    assert ["submitted", "body"] == entered


def _eager(loop, coroutine, **options):
    """Run a coroutine's first lines at once, as the factory that Python 3.12 offers does."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
    future = loop.create_future()
    future.set_result(None)
    return future


def test_bodies_that_wait_begin_in_one_round_of_the_loop():
    """Once one has waited, each gets a runner at once: they do not queue for the loop."""
    loop = asyncio.new_event_loop()
    rig = Rig(CoroutineExecutor(loop, lambda: False, lambda: None, loop.time))
    begun = []

    async def body():
        begun.append(rounds[0])
        await asyncio.sleep(0)

    rounds = [0]
    rig.executor.submit(rig.attempt(body))
    loop.run_until_complete(asyncio.sleep(0))
    for _ in range(5):
        rig.executor.submit(rig.attempt(body))
    for rounds[0] in range(1, 4):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert [0, *[1] * 5] == begun


def test_bodies_that_end_in_one_round_are_dealt_with_together():
    """All but the last leave the delivery to a turn of its own; a lone one does not wait."""
    loop = asyncio.new_event_loop()
    told = []
    deliver = lambda: told.append("now")  # noqa: E731 - one word is enough
    rig = Rig(CoroutineExecutor(loop, deliver, lambda: told.append("later"), loop.time))

    async def body():
        await asyncio.sleep(0)

    for _ in range(3):
        rig.executor.submit(rig.attempt(body))
    for _ in range(6):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert ["later", "later", "now"] == told


@pytest.mark.parametrize("starts_in", ["a runner"], indirect=True)
def test_the_runner_delivers_what_bodies_cause():
    """What ended one step makes the next one ready, without going round the loop."""
    loop = asyncio.new_event_loop()
    mail = []

    def deliver():
        if mail:
            mail.pop()()
        return bool(mail)

    rig = Rig(CoroutineExecutor(loop, deliver, lambda: None, loop.time))
    rounds = []

    async def second():
        return len(rounds)

    async def first():
        mail.append(lambda: rig.executor.submit(last))

    last = rig.attempt(second)
    rig.executor.submit(rig.attempt(first))
    loop.call_soon(rounds.append, "round 1")
    loop.call_soon(loop.call_soon, rounds.append, "round 2")
    loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
    loop.run_forever()
    loop.close()

    assert [(0, None)] == rig.of(last)


# ── What asyncio offers ──────────────────────────────────────────────────────────────────────


def test_asyncio_timeout_works_in_a_body(rig):
    """It cancels its own body's wait, and nothing else."""

    async def body():
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "timed out"

    async def bystander():
        for _ in range(10):
            await asyncio.sleep(0)
        return "undisturbed"

    attempts = [rig.submit(bystander), rig.submit(body), rig.submit(bystander)]
    rig.until(lambda: len(rig.reports) == 3)

    outputs = [rig.of(attempt)[0] for attempt in attempts]
    assert [("undisturbed", None), ("timed out", None), ("undisturbed", None)] == outputs


def test_a_timeout_that_did_not_pass_leaves_no_trace(rig):
    """Also when the body left it without ever having waited."""

    async def body():
        async with asyncio.timeout(3600):  # noqa: ASYNC100 - that it never waits is the point
            return "in time"

    outputs = [rig.run(body)[0] for _ in range(3)]

    assert ["in time"] * 3 == outputs


def test_a_task_group_works_in_a_body(rig):
    """Its children run, and a failing one cancels the others and fails the body."""

    async def child(n):
        await asyncio.sleep(0)
        return n

    async def body():
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(child(n)) for n in range(3)]
        return [one.result() for one in children]

    async def failing():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            group.create_task(broken())

    async def broken():
        raise ValueError("a child's")

    assert ([0, 1, 2], None) == rig.run(body)
    _, error = rig.run(failing)
    assert [ValueError] == [type(one) for one in error.exceptions]
    assert ([0, 1, 2], None) == rig.run(body)


def test_shield_protects_what_a_stopped_body_awaits(rig):
    """The body is cancelled, the shielded task goes on."""
    gate, done = asyncio.Event(), []

    async def inner():
        await gate.wait()
        done.append("inner")

    async def body():
        await asyncio.shield(asyncio.ensure_future(inner()))

    attempt = rig.submit(body)
    rig.flush()
    rig.stop(attempt)
    rig.until(lambda: rig.of(attempt))
    gate.set()
    rig.until(lambda: done)

    assert isinstance(rig.of(attempt)[0][1], asyncio.CancelledError)


def test_a_body_may_await_what_is_no_coroutine(rig):
    """Futures, gatherings, and other people's awaitables."""

    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    async def body():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "future")
        return [await future, *await asyncio.gather(other(), other()), await Awaitable()]

    async def other():
        await asyncio.sleep(0)
        return "gathered"

    assert (["future", "gathered", "gathered", "awaited"], None) == rig.run(body)


def test_a_body_that_awaits_nonsense_gets_the_error(rig):
    """As it would in a task that nobody else has touched."""

    class Nonsense:
        def __await__(self):
            yield "nonsense"

    async def body():
        try:
            await Nonsense()
        except RuntimeError as error:
            await asyncio.sleep(0)
            return str(error)

    output, error = rig.run(body)

    assert error is None
    assert "nonsense" in output


# ── Cancelling ───────────────────────────────────────────────────────────────────────────────


async def cancels_and_returns():
    """Cancel the own task, and end without waiting."""
    asyncio.current_task().cancel()


async def cancels_and_raises():
    """The same, with an error."""
    asyncio.current_task().cancel()
    raise ValueError("its own")


async def cancels_and_takes_it_back():
    """Cancel the own task, and think better of it."""
    asyncio.current_task().cancel()
    asyncio.current_task().uncancel()


async def cancels_and_waits():
    """Cancel the own task, and run into it."""
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def waits_and_cancels():
    """Cancel the own task, after having waited."""
    await asyncio.sleep(0)
    asyncio.current_task().cancel()


async def swallows():
    """Cancel the own task, and go on regardless."""
    asyncio.current_task().cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    return "went on"


@pytest.mark.parametrize(
    "body",
    [
        cancels_and_returns,
        cancels_and_raises,
        cancels_and_takes_it_back,
        cancels_and_waits,
        waits_and_cancels,
        swallows,
    ],
)
def test_a_body_that_cancels_its_own_task_does_not_hurt_the_next(rig, body):
    """Those that come after it wait undisturbed."""

    async def following():
        for _ in range(5):
            await asyncio.sleep(0)
        return "undisturbed"

    first = rig.submit(body)
    others = [rig.submit(following) for _ in range(3)]
    rig.until(lambda: len(rig.reports) == 4)

    assert 1 == len(rig.of(first))
    assert [[("undisturbed", None)]] * 3 == [rig.of(other) for other in others]


def test_a_stopped_body_is_cancelled_where_it_waits(rig):
    """It may clean up, and even wait for that."""
    cleaned = []

    async def body():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    attempt = rig.submit(body)
    rig.flush()
    rig.stop(attempt)
    rig.until(lambda: rig.of(attempt))

    assert ["up"] == cleaned
    assert isinstance(rig.of(attempt)[0][1], asyncio.CancelledError)


def test_a_body_that_swallows_its_cancellation_is_reported_with_its_output(rig):
    """What the supervisor makes of that is the supervisor's business."""

    async def body():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return "went on"

    attempt = rig.submit(body)
    rig.flush()
    rig.stop(attempt)
    rig.until(lambda: rig.of(attempt))

    assert [("went on", None)] == rig.of(attempt)


def test_an_attempt_that_was_given_up_before_it_began_is_forgotten(rig):
    """It is neither begun nor reported, and not left behind either."""
    called = []
    attempt = rig.submit(lambda: called.append("called"))
    rig.stop(attempt)

    rig.executor.abandon(attempt)
    rig.flush()

    assert [] == called == rig.of(attempt)
    assert [] == list(rig.executor.close())


# ── Context ──────────────────────────────────────────────────────────────────────────────────


def test_context_variables_last_over_waits(rig):
    """While others set the same variable."""

    async def body(n):
        seen = []
        for _ in range(5):
            variable.set(f"body {n}'s")
            await asyncio.sleep(0)
            seen.append(variable.get())
        return seen

    attempts = [rig.submit(body, n=n) for n in range(3)]
    rig.until(lambda: len(rig.reports) == 3)

    assert [[f"body {n}'s"] * 5 for n in range(3)] == [rig.of(one)[0][0] for one in attempts]


def test_tasks_that_a_body_makes_inherit_its_context(rig):
    """As they would anywhere."""

    async def child():
        return variable.get()

    async def body():
        variable.set("the body's")
        before = asyncio.ensure_future(child())
        await asyncio.sleep(0)
        return [await before, await asyncio.ensure_future(child())]

    assert (["the body's"] * 2, None) == rig.run(body)


def test_the_runner_is_not_in_a_bodys_context():
    """What is delivered between bodies sees nothing of them."""
    loop = asyncio.new_event_loop()
    seen = []

    def deliver():
        seen.append(variable.get())
        return False

    rig = Rig(CoroutineExecutor(loop, deliver, lambda: None, loop.time))

    async def body():
        variable.set("the body's")

    for _ in range(3):
        rig.executor.submit(rig.attempt(body))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert {"nobody's"} == set(seen)


# ── Bodies of other kinds ────────────────────────────────────────────────────────────────────


class Callable:
    """An object that is called like a coroutine function."""

    async def __call__(self, n):
        """Wait, and return."""
        await asyncio.sleep(0)
        return n


@pytest.mark.parametrize("function", [Callable(), functools.partial(Callable(), n=7)])
def test_whatever_gives_a_coroutine_is_a_body(rig, function):
    """Partials, and objects with an asynchronous call."""
    attempt = rig.attempt(function, **({} if isinstance(function, functools.partial) else {"n": 7}))
    rig.executor.submit(attempt)
    rig.until(lambda: rig.reports)

    assert [(7, None)] == rig.of(attempt)


def test_a_body_is_named_while_it_waits(rig):
    """Whoever lists the loop's tasks finds the step and the run."""
    gate = rig.gate()
    rig.submit(rig.waiting(gate))
    rig.until(lambda: gate.entered)

    names = [task.get_name() for task in asyncio.all_tasks(rig.loop)]

    assert ["step s1 of run run"] == names


def test_a_loop_that_closes_takes_its_bodies_along():
    """Each is closed as a generator would be, and may clean up what needs no waiting."""
    rig, cleaned = CoroutineRig(), []

    async def body():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    rig.submit(body)
    rig.flush()
    rig.close()

    assert ["up"] == cleaned


def test_it_says_which_body_the_loop_is_in(rig):
    """For the watchdog: somebody while a body runs, nobody while all of them wait."""
    executor = rig.executor
    gate = rig.gate()

    async def body():
        first = executor.running(), executor.legs
        executor.probe()
        await gate.event.wait()
        return first, (executor.running(), executor.legs)

    attempt = rig.submit(body)
    rig.flush()
    meanwhile = executor.running()
    gate.open()
    rig.until(lambda: rig.of(attempt))

    ((first, second), _) = rig.of(attempt)[0]
    assert (attempt, attempt) == (first[0], second[0])
    assert first[1] < second[1]
    assert (None, None) == (meanwhile, executor.running())


def test_a_delivery_that_ctrl_c_interrupts_costs_no_attempt():
    """Another runner takes over, and what was interrupted is delivered later."""
    loop = asyncio.new_event_loop()
    deliveries, turns = iter([KeyboardInterrupt, None, None, None]), []

    def deliver():
        if next(deliveries) is not None:
            raise KeyboardInterrupt
        return False

    executor = CoroutineExecutor(loop, deliver, lambda: turns.append("turn"), loop.time)
    rig = Rig(executor)

    async def body():
        return "ran"

    attempts = [rig.attempt(body) for _ in range(2)]
    executor.submit(attempts[0])
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(0))
    executor.submit(attempts[1])
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert [[("ran", None)]] * 2 == [rig.of(attempt) for attempt in attempts]
    assert ["turn"] == turns


# ── Tasks that are cancelled, and what the watchdog is told ──────────────────────────────────


def test_a_task_that_is_cancelled_twice_before_it_starts_runs_its_body_once(rig):
    """Several may cancel all tasks on the loop at the same moment."""
    entered = []

    async def body():
        entered.append("body")
        await asyncio.sleep(0)
        return "ran"

    attempts = [rig.submit(body) for _ in range(3)]
    for _ in range(2):
        for task in asyncio.all_tasks(rig.loop):
            task.cancel()
    rig.flush()

    assert [[("ran", None)]] * 3 == [rig.of(attempt) for attempt in attempts]
    assert ["body"] * 3 == entered


async def returns():
    """Return without waiting."""


async def raises():
    """Raise without waiting."""
    raise ValueError("at once")


async def waits_and_returns():
    """Wait, and return."""
    await asyncio.sleep(0)


async def waits_and_raises():
    """Wait, and raise."""
    await asyncio.sleep(0)
    raise ValueError("later")


async def stops_short():
    """Wait, and handle the cancellation by returning."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "body", [returns, raises, waits_and_returns, waits_and_raises, stops_short]
)
def test_a_body_that_has_ended_is_not_the_one_that_runs(body):
    """Neither while its end is delivered nor afterwards: it would be blamed for blocking."""
    loop = asyncio.new_event_loop()
    seen = []
    deliver = lambda: seen.append(executor.running())  # noqa: E731 - one word is enough
    executor = CoroutineExecutor(loop, deliver, lambda: None, loop.time)
    rig = Rig(executor)

    attempt = rig.attempt(body)
    executor.submit(attempt)
    for _ in range(4):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert 1 == len(rig.of(attempt))
    assert {None} == {*seen, executor.running()}

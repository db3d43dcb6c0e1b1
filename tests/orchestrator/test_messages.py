"""Messages to runs: sent from anywhere, received once by steps that hold nothing meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from actorflow import (
    DefinitionError,
    MemoryStateManager,
    Orchestrator,
    RetryPolicy,
    RunEnded,
    RunNotFound,
    Step,
    Workflow,
    WrongLoop,
)
from actorflow.errors.running import StepCancelled
from actorflow.errors.storage import NotStorable, StoreUnavailable, TooLarge
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD, broken, flow_of, in_thread
from tests.test_state_powers import Minimal

AGAIN = RetryPolicy(max_attempts=2, initial_interval=0.0, jitter=0.0)


async def receive(ctx):
    """Wait for one message."""
    return await ctx.wait_for("go")


RECEIVE = flow_of(receive, "receive", async_=True)


def until(run, kind="step.suspended", count=1):
    """Wait until something has happened in a run, so many times."""
    for event in run.events(timeout=GUARD):
        count -= event.kind == kind
        if not count:
            return event
    raise AssertionError(f"there was no {kind}")


def received(run):
    """The numbers of the messages that attempts of a run were given, in order."""
    return [it.data["message"] for it in run.events() if it.kind == "step.received"]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def anywhere(request):
    """State managers of each kind."""
    if request.param == "memory":
        yield MemoryStateManager()
        return
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
        url = url.copy_of(request.getfixturevalue("postgresql_tables"))
    else:
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/runs.db"
    state = SQLStateManager(url, create=True)
    yield state
    state.close()


# ── To a run of this orchestrator ────────────────────────────────────────────────────────────


def test_a_step_receives_a_message(anywhere, make_orchestrator):
    """That is sent while it waits, or before."""
    run = make_orchestrator(anywhere).start(flow_of(two_messages, async_=True))
    until(run)
    run.send("go", {"by": "Ada"})
    run.send("stop", [1, 2])

    assert [{"by": "Ada"}, [1, 2]] == list(run.result(GUARD).output)
    assert [1, 2] == received(run)


async def two_messages(ctx):
    """Wait for one and then for the other."""
    return await ctx.wait_for("go"), await ctx.wait_for("stop")


def test_a_message_may_come_before_the_run_has_started(anywhere, gate, make_orchestrator):
    """It is kept."""
    orchestrator = make_orchestrator(anywhere, max_active_runs=1)
    orchestrator.start(gate.flow)
    run = orchestrator.start(RECEIVE)
    run.send("go", 1)
    gate.open()

    assert 1 == run.result(GUARD).output


def test_runs_that_wait_fill_nothing(make_orchestrator):
    """Neither workers nor places: with one of each, all of them begin."""
    orchestrator = make_orchestrator(async_workers=1, max_active_runs=1)
    runs = [orchestrator.start(RECEIVE) for _ in range(5)]
    for run in runs:
        until(run)
    for number, run in enumerate(runs):
        run.send("go", number)

    assert list(range(5)) == [run.result(GUARD).output for run in runs]


def test_a_retried_step_receives_the_same_messages(anywhere, make_orchestrator):
    """And consumes them once it completes."""

    async def fails_once(ctx):
        first = await ctx.wait_for("go")
        if ctx.attempt == 1:
            raise ValueError(first)
        return [first, await ctx.wait_for("go")]

    run = make_orchestrator(anywhere).start(flow_of(fails_once, async_=True, retry=AGAIN))
    run.send("go", 1)
    run.send("go", 2)

    assert [1, 2] == run.result(GUARD).output
    assert [1, 1, 2] == received(run)


def test_a_step_may_wait_for_several_messages_at_once(make_orchestrator):
    """The waits for one name are served in their order."""

    async def gather(ctx):
        waits = (ctx.wait_for(name) for name in ("b", "a", "a"))
        return list(await asyncio.gather(*waits))

    run = make_orchestrator().start(flow_of(gather, async_=True))
    until(run, "step.awaiting", 3)
    for name, payload in (("a", 1), ("a", 2), ("b", 3)):
        run.send(name, payload)

    assert [3, 1, 2] == run.result(GUARD).output


def test_a_wait_that_loses_a_race_receives_nothing(make_orchestrator):
    """Its message goes to the next wait."""

    async def first_of(ctx):
        waits = [asyncio.ensure_future(ctx.wait_for(name)) for name in ("yes", "no")]
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return [done.pop().result(), await ctx.wait_for("no")]

    run = make_orchestrator().start(flow_of(first_of, async_=True))
    until(run, "step.awaiting", 2)
    run.send("yes", 1)
    until(run, "step.awaiting", 3)
    run.send("no", 2)

    assert [1, 2] == run.result(GUARD).output
    assert [1, 2] == received(run)


def test_a_wait_may_time_out(anywhere, make_orchestrator):
    """It raises a `TimeoutError`, which fails the step unless it catches it."""

    async def impatient(ctx):
        with contextlib.suppress(TimeoutError):
            await ctx.wait_for("go", timeout=0.01)
        return await ctx.wait_for("go", timeout=0.01)

    result = make_orchestrator(anywhere).start(flow_of(impatient, async_=True)).wait(GUARD)

    assert isinstance(result.error, TimeoutError)
    assert "got no message 'go' within 0.01 s" in str(result.error)


def test_the_timeout_of_a_run_goes_on_while_it_waits(make_orchestrator):
    """It ends the run."""
    result = make_orchestrator().start(RECEIVE, timeout=0.02).wait(GUARD)

    assert "failed" == result.status
    assert "exceeded its timeout of 0.02 s" in str(result.error)


def test_a_cancelled_run_ends_although_a_step_waits(make_orchestrator):
    """At once."""
    run = make_orchestrator().start(RECEIVE)
    until(run)
    run.cancel()

    assert "cancelled" == run.wait(GUARD).status


def test_an_attempt_that_was_asked_to_stop_waits_for_nothing(anywhere, make_orchestrator):
    """Its run would otherwise end only when the attempt is abandoned."""
    told = []

    async def stubborn(ctx):
        try:
            await ctx.wait_for("go")
        finally:
            try:
                await ctx.wait_for("leave")
            except StepCancelled as error:
                told.append(error.reason)

    run = make_orchestrator(anywhere).start(flow_of(stubborn, async_=True))
    until(run)
    run.cancel()

    assert "cancelled" == run.wait(GUARD).status
    assert ["the attempt was asked to stop, and waits for no message"] == told


def test_a_compensator_receives_a_message(anywhere, make_orchestrator):
    """While the run is `compensating`."""
    flow = Workflow("saga")
    flow.add(Step("a", nothing, async_=True, compensate=Step("undo", receive, async_=True)))
    flow.add(Step("b", broken, after=("a",)))
    run = make_orchestrator(anywhere).start(flow)
    until(run, "compensation.suspended")
    run.send("go")

    assert "compensated" == run.wait(GUARD).steps["a"].status


async def nothing():
    """Do nothing."""


# ── Ids and ends ─────────────────────────────────────────────────────────────────────────────


def test_an_id_is_one_message(anywhere, make_orchestrator):
    """Also after the end of the run, which takes no new one."""
    run = make_orchestrator(anywhere).start(RECEIVE)
    run.send("go", 1, id="a")
    run.send("go", 2, id="a")
    run.result(GUARD)
    run.send("go", 3, id="a")

    assert [1] == received(run)
    for id_ in (None, "b"):
        with pytest.raises(RunEnded, match=r"ended \(completed\) and cannot be sent message 'go'"):
            run.send("go", id=id_)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("",), r"Run.send\(\) got name=''. Give a non-empty string"),
        ((1,), r"Run.send\(\) got name=1. Give a non-empty string"),
        (("a\0",), r"got name='a\\x00'. Leave out NUL"),
        (("n" * 2000,), r"Shorten it: it takes 2,000 bytes, and the limit is 1,024"),
        (("go", 1, ""), r"got id=''. Give a non-empty string"),
    ],
)
def test_what_is_no_name_is_refused(make_orchestrator, arguments, problem):
    """Likewise what is no id."""
    run = make_orchestrator().start(RECEIVE)
    with pytest.raises(DefinitionError, match=problem):
        run.send(*arguments)
    run.send("go")


def test_what_cannot_be_stored_is_refused_at_once(make, make_orchestrator):
    """Nothing is sent then."""
    run = make_orchestrator(make()).start(RECEIVE)
    with pytest.raises(NotStorable, match=r"payload of message 'go' to run .*\['a'\]"):
        run.send("go", {"a": object()})
    run.send("go", 1)

    assert 1 == run.result(GUARD).output


def test_a_run_that_was_deleted_takes_nothing(make_orchestrator):
    """It is said so."""
    run = make_orchestrator(MemoryStateManager(max_runs=0)).start(RECEIVE)
    run.send("go", id="a")
    run.wait(GUARD)
    with pytest.raises(RunNotFound):
        run.send("go", id="a")


# ── Where it cannot be done ──────────────────────────────────────────────────────────────────


def test_a_plain_function_is_told_to_be_a_coroutine(make_orchestrator):
    """By an error that names its step."""

    def plain(ctx):
        return ctx.wait_for("go")

    result = make_orchestrator().start(flow_of(plain)).wait(GUARD)

    assert isinstance(result.error, DefinitionError)
    assert "step 'step': ctx.wait_for() was called in a plain function" in str(result.error)
    assert "async def" in str(result.error)


@pytest.mark.parametrize(
    ("given", "problem"),
    [({"name": ""}, "got name=''"), ({"name": "go", "timeout": "x"}, "timeout of ctx.wait_for()")],
)
def test_a_wait_that_makes_no_sense_is_refused(make_orchestrator, given, problem):
    """Before anything is waited for, with the workflow and the step."""

    async def wrong(ctx):
        await ctx.wait_for(**given)

    flow = flow_of(wrong, async_=True)
    result = make_orchestrator().start(flow).wait(GUARD)

    assert isinstance(result.error, DefinitionError)
    assert problem in str(result.error)
    assert (flow.id, "step") == (result.error.workflow_id, result.error.step_id)


@pytest.mark.parametrize("call", ["wait_for", "run", "start"])
def test_a_call_that_was_not_awaited_is_named_as_its_step_made_it(make_orchestrator, call):
    """Python warns of it by the name of the coroutine, and not by one of actorflow's own."""

    async def careless(ctx):
        given = "go" if call == "wait_for" else RECEIVE
        getattr(ctx, call)(given)

    with pytest.warns(RuntimeWarning) as warned:
        make_orchestrator().run(flow_of(careless, async_=True))

    wanted = f"coroutine 'ctx.{call}() of step 'step'' was never awaited"
    assert [wanted] == [str(it.message) for it in warned]


def test_a_database_does_not_block_the_event_loop(make):
    """`send` is refused there, and `send_async` does it."""

    async def use():
        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.start_async(RECEIVE)
            with pytest.raises(WrongLoop, match=r"use `await run.send_async\(\)`"):
                run.send("go")
            await run.send_async("go", 1)
            return (await run).output

    assert 1 == asyncio.run(use())


def test_memory_may_be_used_on_the_event_loop():
    """By both."""

    async def use():
        async with Orchestrator() as orchestrator:
            run = await orchestrator.start_async(flow_of(two_messages, async_=True))
            run.send("go", 1)
            await run.send_async("stop", 2)
            return (await run).output

    assert (1, 2) == asyncio.run(use())


def test_a_state_manager_that_keeps_no_messages_is_named(make_orchestrator):
    """Both by the sender and by the step."""
    run = make_orchestrator(Minimal()).start(RECEIVE)
    result = run.wait(GUARD)

    assert "ctx.wait_for() needs a state manager with send_message()" in str(result.error)
    with pytest.raises(DefinitionError, match=r"Run.send\(\) needs a state manager with send_m"):
        run.send("go")


class Unreadable(MemoryStateManager):
    """Its messages cannot be read at first."""

    def __init__(self, *failures):
        super().__init__()
        self.failures = list(failures)

    def read_messages(self, run_id, after):
        """Fail as often as was said."""
        if self.failures:
            raise self.failures.pop()
        return super().read_messages(run_id, after)


def test_a_database_that_is_away_delays_a_wait_and_does_not_fail_it(make_orchestrator):
    """As it delays any record."""
    away = [StoreUnavailable("answer", "it is away") for _ in range(2)]
    run = make_orchestrator(Unreadable(*away)).start(RECEIVE)
    run.send("go", 1)

    assert 1 == run.result(GUARD).output
    assert [1] == [it.attempts for it in run.snapshot().steps.values()]


def test_messages_that_cannot_be_read_fail_the_attempt(make_orchestrator):
    """And the next one tries again."""
    state = Unreadable(OSError("no such message"))
    run = make_orchestrator(state).start(flow_of(receive, async_=True, retry=AGAIN))
    run.send("go", 1)

    assert 1 == run.result(GUARD).output
    assert [2] == [it.attempts for it in run.snapshot().steps.values()]


def test_a_database_that_stays_away_fails_the_attempt(make_orchestrator, monkeypatch):
    """With its own error."""
    monkeypatch.setattr("actorflow.orchestrator.mail.PAUSES", (0.0,))
    away = [StoreUnavailable("answer", "it is away") for _ in range(2)]
    run = make_orchestrator(Unreadable(*away)).start(RECEIVE)

    assert isinstance(run.wait(GUARD).error, StoreUnavailable)


# ── To a run of another orchestrator ─────────────────────────────────────────────────────────


def test_a_message_reaches_a_run_of_another_orchestrator(make, make_orchestrator):
    """Whoever runs it."""
    run = make_orchestrator(make()).start(RECEIVE)
    until(run)
    make_orchestrator(make()).get(run.id).send("go", 1)

    assert 1 == run.result(GUARD).output


def test_a_message_reaches_a_run_that_no_orchestrator_runs_yet(make, make_orchestrator):
    """It waits for it in the database."""
    orchestrator = make_orchestrator(make())
    run = orchestrator.enqueue(RECEIVE)
    run.send("go", 1)
    taker = make_orchestrator(make(), recover=True)
    taker.register(RECEIVE)

    assert 1 == run.result(GUARD).output


def test_an_announcement_may_be_lost(make, make_orchestrator, monkeypatch):
    """The owner looks when it renews its lease."""
    owner = make(lease=0.3)
    monkeypatch.setattr(owner._watcher, "_ensure", lambda: None)
    run = make_orchestrator(owner).start(RECEIVE)
    until(run)
    other = make()
    other.send_message(run.id, "go", 1, None, 0.0)

    assert 1 == run.result(GUARD).output


async def stuck_at_first(ctx):
    """Wait for two messages, but not in the first attempt."""
    first = await ctx.wait_for("go")
    if ctx.attempt == 1:
        await asyncio.Event().wait()
    return first, await ctx.wait_for("go")


def test_a_run_that_is_taken_over_receives_its_messages_again(make, make_orchestrator):
    """Those that a completed step has consumed are gone."""
    flow = Workflow("two")
    flow.add(Step("a", receive, async_=True))
    flow.add(Step("b", stuck_at_first, async_=True, after=("a",)))
    first = make_orchestrator(make())
    run = first.start(flow)
    for number in (1, 2, 3):
        run.send("go", number)
    until(run, "step.received", 2)
    first.shutdown(drain=0, grace=1)
    second = make_orchestrator(make(), recover=True)
    second.register(flow)
    result = second.get(run.id).result(GUARD)

    assert (1, [2, 3]) == (result.outputs["a"], list(result.outputs["b"]))


# ── What senders may do wrong ────────────────────────────────────────────────────────────────


def test_a_payload_that_is_too_large_is_refused_at_once(make, make_orchestrator):
    """By its size, and the limit."""
    run = make_orchestrator(make(max_input=1000)).start(RECEIVE)
    with pytest.raises(TooLarge, match="payload of message 'go'"):
        run.send("go", "x" * 2000)
    run.send("go", "x" * 900)

    assert "x" * 900 == run.result(GUARD).output


def test_a_left_run_takes_messages(make, make_orchestrator):
    """Its attempt, which only waited, begins again as the same attempt."""
    first = make_orchestrator(make())
    run = first.start(RECEIVE)
    until(run)
    assert (run.id,) == first.shutdown(drain=0, grace=1).left
    second = make_orchestrator(make(), recover=True, recover_every=0.02)
    again = second.get(run.id)
    again.send("go", 1)
    second.register(RECEIVE)
    result = again.result(GUARD)

    assert (1, 1) == (result.output, result.steps["step"].attempts)


def test_senders_in_several_threads_and_processes_send_one_id_once(make, make_orchestrator):
    """Whoever is first."""
    run = make_orchestrator(make()).start(flow_of(two_messages, async_=True))
    others = [make(), make()]

    def send(state, payload):
        state.send_message(run.id, "go", payload, "one", 0.0)

    senders = [in_thread(lambda it=it, n=n: send(it, n)) for it in others for n in range(4)]
    for sender in senders:
        sender.result(GUARD)
    run.send("stop", "end")
    first, last = run.result(GUARD).output

    assert (True, "end") == (first in range(4), last)
    assert ["go", "stop"] == [it.name for it in others[0].read_messages(run.id, 0)]

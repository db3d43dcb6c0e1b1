"""Plug-ins may raise anything anywhere: one run fails, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
import structlog

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    RetryPolicy,
    RunStatus,
    RunUnattended,
)
from actorflow.executors import ThreadExecutor
from actorflow.executors.watchdog import Watchdog
from tests.support.flows import GUARD, fine, flow_of, in_thread

pytestmark = pytest.mark.usefixtures("nothing_stays")


class Panic(BaseException):
    """An error that is not an `Exception`."""


PANICS = [
    OSError,
    Panic,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    StopIteration,
    MemoryError,
]
whatever = pytest.mark.parametrize("error", PANICS)


def plugged(kind, method, error):
    """A kind of plug-in, one method of which raises, the first time that it is called."""
    panics = [error("panic")]

    def panic(self, *arguments, **options):
        if panics:
            raise panics.pop()
        return getattr(kind, method)(self, *arguments, **options)

    return type("Plugged", (kind,), {method: panic})()


def shut_down(orchestrator):
    """Shut down on another thread, which may hang; return the report."""
    return in_thread(lambda: orchestrator.shutdown(drain=0, grace=0.5)).result(GUARD)


# ── Executors ────────────────────────────────────────────────────────────────────────────────


@whatever
def test_an_executor_that_cannot_be_opened_fails_the_start(error):
    """With its own error; what had been opened is closed, and no thread is left."""
    orchestrator = Orchestrator(executors={"mine": plugged(ThreadExecutor, "open", error)})
    expected = RuntimeError if error is StopIteration else error
    with pytest.raises(expected):
        orchestrator.__enter__()

    assert shut_down(orchestrator).clean


@whatever
def test_an_executor_that_takes_no_attempt_fails_the_attempt(error):
    """It may be tried again, like any other."""
    mine = plugged(ThreadExecutor, "submit", error)
    again = RetryPolicy(max_attempts=2, initial_interval=0.001, retryable_errors=[BaseException])
    with Orchestrator(executors={"mine": mine}) as orchestrator:
        result = orchestrator.start(flow_of(fine, executor="mine", retry=again)).wait(GUARD)
        report = shut_down(orchestrator)

    assert ("fine", 2) == (result.output, result.steps["step"].attempts)
    assert report.clean


@whatever
@pytest.mark.parametrize("method", ["stop", "abandon"])
def test_an_executor_that_cannot_let_go_does_not_keep_the_run(error, method):
    """It is cancelled, and its lease is free again."""
    release, entered = threading.Event(), threading.Event()

    def hangs():
        entered.set()
        release.wait(GUARD)

    options = {"executors": {"mine": plugged(ThreadExecutor, method, error)}, "stop_grace": 0.01}
    with Orchestrator(async_workers=1, **options) as orchestrator:
        run = orchestrator.start(flow_of(hangs, executor="mine", async_=True))
        assert entered.wait(GUARD)
        run.cancel()
        result = run.wait(GUARD)
        after = orchestrator.run(flow_of(fine, async_=True)).output
        release.set()

    assert (RunStatus.CANCELLED, "fine") == (result.status, after)


@whatever
def test_an_executor_that_cannot_be_closed_is_reported(error):
    """And the rest is closed all the same."""
    mine = plugged(ThreadExecutor, "close", error)
    orchestrator = Orchestrator(executors={"mine": mine}, observers=[lambda _event: None])
    orchestrator.__enter__()
    orchestrator.run(flow_of(fine, executor="mine"))
    report = shut_down(orchestrator)
    mine.close()

    (line,) = report.abandoned
    assert "executor 'mine' could not be closed" in line


# ── State managers ───────────────────────────────────────────────────────────────────────────


@whatever
def test_a_state_manager_that_accepts_no_run_refuses_the_start(error):
    """The place at the door is free again."""
    state = plugged(MemoryStateManager, "create", error)
    with Orchestrator(state, max_active_runs=1, max_queued_runs=0) as orchestrator:
        with pytest.raises(error):
            orchestrator.start(flow_of(fine))

        assert "fine" == orchestrator.run(flow_of(fine)).output


@whatever
@pytest.mark.parametrize("kind", ["run.started", "step.started", "step.completed", "run.completed"])
def test_a_state_manager_that_records_nothing_ends_the_run(error, kind):
    """Whatever it was to record; the next run is recorded as if nothing had been."""

    class Panics(MemoryStateManager):
        panics = [error("panic")]  # noqa: RUF012 - one for all, and only once

        def record(self, events, done):
            if self.panics and kind in {event.kind for event in events}:
                raise self.panics.pop()
            return super().record(events, done)

    with Orchestrator(Panics(), stop_grace=0.01) as orchestrator:
        result = orchestrator.start(flow_of(fine)).wait(GUARD)
        after = orchestrator.run(flow_of(fine)).output

    assert "panic" in f"{result.reason} {result.error!r}"
    assert "fine" == after


@whatever
def test_a_state_manager_that_cannot_be_closed_is_reported(error):
    """And the rest is closed all the same."""
    state = plugged(MemoryStateManager, "close", error)
    orchestrator = Orchestrator(state, observers=[lambda _event: None]).__enter__()
    orchestrator.run(flow_of(fine))
    (line,) = shut_down(orchestrator).abandoned

    assert "the state manager could not be closed" in line


def test_a_run_that_can_neither_be_cancelled_nor_looked_up_keeps_nobody_waiting():
    """Its brain is broken, and so is the memory of it."""

    class Forgetful(MemoryStateManager):
        def snapshot(self, run_id):
            raise Panic

    entered, release = threading.Event(), threading.Event()
    with Orchestrator(Forgetful()) as orchestrator:
        run = orchestrator.start(flow_of(lambda: (entered.set(), release.wait(GUARD))))
        assert entered.wait(GUARD)
        orchestrator._life._runtime._brain.runs[run.id].steps = None
        run.cancel()
        with pytest.raises(RunUnattended, match="lost: Panic"):
            run.wait(GUARD)
        release.set()


# ── Errors that cannot be shown ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("panic", [Panic, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("base", [Exception, BaseException])
def test_an_error_without_a_text_is_an_error_all_the_same(base, panic):
    """From a step, a predicate, an executor or a state manager; the next run completes."""

    class Unspeakable(base):
        """An error whose text cannot be made."""

        def __str__(self):
            raise panic

        __repr__ = __str__
        add_note = property(__str__)

    def predicate(_error):
        raise Unspeakable

    def raises():
        raise Unspeakable

    policy = RetryPolicy(retryable_errors=[predicate, "x"])
    mine = plugged(ThreadExecutor, "abandon", lambda _text: Unspeakable())
    state = plugged(MemoryStateManager, "record", lambda _text: Unspeakable())
    with Orchestrator(state, executors={"mine": mine}, stop_grace=0.01) as orchestrator:
        runs = [orchestrator.start(flow_of(raises, retry=policy)).wait(GUARD) for _ in range(2)]
        release = threading.Event()
        hangs = flow_of(lambda: release.wait(GUARD), executor="mine", timeout=0.01)
        runs.append(orchestrator.start(hangs).wait(GUARD))
        after = orchestrator.run(flow_of(fine)).output
        release.set()

    assert ["failed"] * 3 == [run.status for run in runs]
    assert "fine" == after


# ── Logs ─────────────────────────────────────────────────────────────────────────────────────


@whatever
def test_a_log_that_panics_does_not_end_the_watch(error):
    """A body that blocks the loop is reported to those that still listen."""

    def broken(*_arguments):
        raise error("panic")

    class Executor:
        """One that has been at the same body for ever."""

        current, legs = type("Body", (), {})(), 1

        @classmethod
        def running(cls):
            return cls.current

        @staticmethod
        def probe():
            pass

    told = []
    Executor.current.scope = type("Scope", (), {"run_id": "run", "bindings": dict})
    Executor.current.step_id, Executor.current.number = "step", 1
    clock = type("Clock", (), {"now": staticmethod(iter(range(100)).__next__)})
    dog = Watchdog(Executor, clock, lambda *report: told.append(report), threshold=0.5)
    structlog.configure(processors=[broken])
    try:
        dog.look()
        dog.look()
    finally:
        structlog.reset_defaults()

    assert 1 == len(told)


@whatever
def test_a_log_that_panics_does_not_add_to_a_defect(error):
    """What is to be reported is dealt with all the same."""

    class Handler(logging.Handler):
        def emit(self, _record):
            raise error("panic")

    handler = Handler()
    logging.getLogger("actorflow").addHandler(handler)
    state = plugged(MemoryStateManager, "record", error)
    mine = plugged(ThreadExecutor, "close", error)
    try:
        with Orchestrator(state, executors={"mine": mine}) as orchestrator:
            result = orchestrator.start(flow_of(fine)).wait(GUARD)
            after = orchestrator.run(flow_of(fine)).output
            shut_down(orchestrator)
    finally:
        logging.getLogger("actorflow").removeHandler(handler)
        mine.close()

    assert (RunStatus.FAILED, "fine") == (result.status, after)

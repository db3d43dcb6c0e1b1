"""Every executor of actorflow keeps the contract that is shipped for executors of others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading

import pytest

from actorflow.errors.definition import DefinitionError
from actorflow.executors import FuturesExecutor, ThreadExecutor
from actorflow.orchestrator.settings import checked_executors
from actorflow.testing.contracts import ExecutorContract
from tests.support.executor_rigs import CoroutineRig, FuturesRig, SimulatedRig, ThreadRig


class Preemptive(ExecutorContract):
    """The contract of an executor of coroutines."""

    errors = (*ExecutorContract.errors, asyncio.CancelledError())

    def test_a_stopped_attempt_is_cancelled(self):
        """In the way of asyncio."""
        gate = self.bench.gate()
        attempt = self._submit(self.bench.waiting(gate))
        self.bench.until(lambda: gate.entered)

        self.bench.stop(attempt)
        self.bench.until(lambda: self.bench.reports)

        ((_, error),) = self.bench.of(attempt)
        assert isinstance(error, asyncio.CancelledError)


class TellsStacks(ExecutorContract):
    """And that of one that knows which body hangs where."""

    def test_an_abandoned_attempt_has_a_stack(self):
        """With the line at which it hangs."""
        gate = self.bench.gate()

        _, stack = self._abandoned(gate)
        gate.open()

        assert "waits_at_the_gate" in stack


class TestCoroutines(Preemptive, TellsStacks):
    """Coroutines on an event loop."""

    def make_bench(self):
        """Return one whose loop runs while the test waits."""
        return CoroutineRig()


class TestSimulated(Preemptive, TellsStacks):
    """Coroutines in virtual time."""

    def make_bench(self):
        """Return one in which things happen while the test waits."""
        return SimulatedRig()


class TestThreads(TellsStacks):
    """Plain functions on threads of actorflow."""

    def make_bench(self):
        """Return one whose idle threads stay."""
        return ThreadRig()


class TestFutures(ExecutorContract):
    """Plain functions on a pool; only the pool knows which thread has which body."""

    def make_bench(self):
        """Return one that shuts its pool down."""
        return FuturesRig()


# ── The contract can fail ────────────────────────────────────────────────────────────────────


class ReportsLate(ThreadExecutor):
    """Reports what was abandoned."""

    def abandon(self, _attempt):
        """Do nothing."""
        return ""


class ReportsTwice(ThreadExecutor):
    """Reports everything twice."""

    def open(self, report):
        """Have each report made two times."""

        def twice(*reported):
            report(*reported)
            report(*reported)

        super().open(twice)


class RefusesSome(ThreadExecutor):
    """Raises for a body that was cancelled before it began, instead of reporting it."""

    def submit(self, attempt):
        """Run an attempt."""
        if attempt.cancelled:
            raise RuntimeError("it was cancelled")
        super().submit(attempt)


class KeepsTheLast(ThreadExecutor):
    """Keeps the attempt that it was given last."""

    def submit(self, attempt):
        """Run an attempt."""
        self.last = attempt
        super().submit(attempt)


class Waits(ThreadExecutor):
    """Runs a body where it is submitted."""

    def submit(self, attempt):
        """Run an attempt, here."""
        self._report(attempt, attempt.variables.run(attempt.function, **attempt.arguments), None)


class Forgets(ThreadExecutor):
    """Says nothing of what it leaves behind."""

    def close(self):
        """Return nothing."""
        super().close()
        return []


class Shares(ThreadExecutor):
    """Runs bodies in a copy of the attempt's context."""

    def submit(self, attempt):
        """Run an attempt in another context than its own."""
        attempt.function = functools.partial(attempt.variables.copy().run, attempt.function)
        super().submit(attempt)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (ReportsLate, "test_an_abandoned_attempt_is_never_reported"),
        (ReportsTwice, "test_an_output_is_reported_once"),
        (RefusesSome, "test_an_attempt_that_was_stopped_before_it_began_never_begins"),
        (KeepsTheLast, "test_nothing_of_an_ended_attempt_is_kept"),
        (Waits, "test_submitting_does_not_wait_for_the_body"),
        (Waits, "test_whatever_a_body_raises_is_its_error"),
        (Forgets, "test_an_abandoned_attempt_that_still_runs_is_returned_at_the_end"),
        (Shares, "test_what_a_body_sets_is_the_attempts"),
    ],
)
def test_an_executor_that_breaks_a_promise_breaks_its_test(broken, test):
    """Otherwise the contract would be words."""

    class Held(ExecutorContract):
        patience = 0.3

        def make_executor(self):
            return broken()

    held = Held()
    try:
        with pytest.raises((AssertionError, RuntimeError, ValueError, KeyError, TimeoutError)):
            getattr(held, test)()
    finally:
        held.teardown_method()


def test_a_contract_has_to_be_told_what_to_test():
    """And refuses what is not an executor."""

    class NoExecutor(ExecutorContract):
        def make_executor(self):
            return threading.Event()

    with pytest.raises(NotImplementedError, match="has to say how its executor is made"):
        _ = ExecutorContract().bench
    with pytest.raises(
        DefinitionError, match=r"is not an executor: it has no open\(\), submit\(\)"
    ):
        _ = NoExecutor().bench


class OneAtATime(ThreadExecutor):
    """Runs a body when the one before has ended."""

    def open(self, report):
        """Have one pool thread."""
        self.pool = FuturesExecutor(concurrent.futures.ThreadPoolExecutor(1))
        self.pool.open(report)

    def submit(self, attempt):
        """Run an attempt after the others."""
        self.pool.submit(attempt)


class Silent(ThreadExecutor):
    """Runs nothing."""

    def submit(self, _attempt):
        """Forget it."""


@pytest.mark.parametrize(
    ("executor", "promise", "complaint"),
    [
        (
            OneAtATime,
            "test_submitting_does_not_wait_for_the_body",
            " of 4 bodies did not begin within 0.2 s; an executor must run at least four bodies",
        ),
        (
            Silent,
            "test_a_stopped_attempt_is_reported_as_any_other",
            "the body did not begin within 0.2 s; an executor must run at least four bodies",
        ),
        (
            Silent,
            "test_an_output_is_reported_once",
            "the attempt was not reported within 0.2 s; an executor must report every attempt",
        ),
        (
            Silent,
            "test_arguments_are_passed_by_name",
            "<Attempt 1 of step 's1' in run run> was not reported within 0.2 s",
        ),
        (
            Silent,
            "test_many_attempts_are_reported_once_each",
            "300 of 300 attempts were not reported within 0.2 s",
        ),
        (
            KeepsTheLast,
            "test_nothing_of_an_ended_attempt_is_kept",
            "the executor still keeps an argument of an attempt that has ended",
        ),
    ],
)
def test_a_broken_promise_is_named(executor, promise, complaint):
    """Not only that something has not happened."""

    class Contract(ExecutorContract):
        """The contract of a broken executor, in a hurry."""

        patience = 0.2

        def make_executor(self):
            """Return one."""
            return executor()

    contract = Contract()
    with pytest.raises(AssertionError) as caught:
        getattr(contract, promise)()
    contract.teardown_method()

    assert complaint in str(caught.value)


def test_an_executor_with_a_coroutine_function_is_refused():
    """It would be called without `await`."""

    class Awaits(ThreadExecutor):
        """One that wants to wait in `submit`."""

        async def submit(self, attempt):
            """Run an attempt, later."""

    with pytest.raises(DefinitionError, match=r"submit\(\) is a coroutine function; it must be a"):
        checked_executors({"mine": Awaits()})

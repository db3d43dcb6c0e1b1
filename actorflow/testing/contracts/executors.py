"""The whole contract of an executor."""

from __future__ import annotations

import contextvars
import functools
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from actorflow.errors.running import StepCancelled
from actorflow.orchestrator.settings import checked_executors
from actorflow.testing.contracts.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Executor
    from actorflow.testing.contracts.bench import Gate

__all__ = ["ExecutorContract"]

_variable = contextvars.ContextVar("_variable", default="the default")
_MANY = 300


class _Odd(BaseException):
    """An exception that is no `Exception`."""


class _Thing:
    """Something whose end can be watched."""


class ExecutorContract:
    """Every promise of `Executor`, as a test; derive a class whose name begins with `Test`.

    The executor must call functions in this process, and have room for four bodies that hang at
    the same time. One whose bodies are no plain functions needs a `make_bench` of its own.
    """

    patience: ClassVar[float] = 60.0
    """Seconds to wait for what should happen at once; then a test fails."""
    errors: ClassVar[Sequence[BaseException]] = (
        ValueError("an error"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        TimeoutError(),
        MemoryError(),
        _Odd(),
    )
    """What bodies raise, each of which has to be reported."""

    def make_executor(self) -> Executor:
        """Return a new executor, which has not been opened."""
        raise NotImplementedError(f"{type(self).__name__} has to say how its executor is made")

    def make_bench(self) -> Bench:
        """Return the bench at which the executor is tested."""
        executor = self.make_executor()
        checked_executors({"mine": executor})
        return Bench(executor, self.patience)

    @functools.cached_property
    def bench(self) -> Bench:
        """The one at which it is tested; each test has its own."""
        return self.make_bench()

    def teardown_method(self) -> None:
        """Let go of it."""
        if "bench" in vars(self):
            vars(self).pop("bench").close()  # pytest keeps this instance until it ends

    # ── Reports ──────────────────────────────────────────────────────────────────────────────

    def test_an_output_is_reported_once(self) -> None:
        """By reference, and with no error."""
        output = object()

        attempt = self.bench.submit(lambda: output)
        self.bench.until_reported()
        self.bench.flush()

        assert [(output, None)] == self.bench.of(attempt)

    def test_whatever_a_body_raises_is_its_error(self) -> None:
        """Reported once; and the executor goes on with the next."""
        for error in self.errors:
            attempt = self.bench.submit(functools.partial(_raise, error))
            self.bench.until_reported(attempt)
            self.bench.flush()

            assert [(None, error)] == self.bench.of(attempt)
            assert ("next", None) == self.bench.run(lambda: "next")

    def test_an_error_keeps_its_traceback(self) -> None:
        """Down to the line of the body that raised it."""
        _, error = self.bench.run(functools.partial(_raise, ValueError("here")))

        last = None if error is None else error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        assert last is not None
        assert "_raise" == last.tb_frame.f_code.co_name

    def test_arguments_are_passed_by_name(self) -> None:
        """Whatever their names are."""
        given = {"a": 1, "self": 2, "fn": 3, "callable": 4, "function": 5}
        output, _ = self.bench.run(lambda **arguments: arguments, **given)

        assert given == output

    def test_a_call_that_does_not_fit_is_an_error(self) -> None:
        """A body that cannot be called has failed."""
        _, error = self.bench.run(lambda: None, unexpected=1)

        assert isinstance(error, TypeError)

    def test_submitting_does_not_wait_for_the_body(self) -> None:
        """Several hang at once, and each ends on its own."""
        bench = self.bench
        gates = [bench.gate() for _ in range(4)]
        attempts = [self._submit(bench.waiting(gate, n)) for n, gate in enumerate(gates)]
        bench.until_begun(*gates)
        before = list(bench.reports)
        for gate in reversed(gates):
            gate.open()
        bench.until_reported(len(gates))

        assert [] == before
        assert [[(n, None)] for n in range(4)] == [bench.of(attempt) for attempt in attempts]

    def test_many_attempts_are_reported_once_each(self) -> None:
        """However they come and go."""
        attempts = [self.bench.submit(lambda n: n, n=number) for number in range(_MANY)]
        self.bench.until_reported(_MANY)
        self.bench.flush()

        reports = [self.bench.of(attempt) for attempt in attempts]
        assert [[(n, None)] for n in range(_MANY)] == reports

    def test_nothing_of_an_ended_attempt_is_kept(self) -> None:
        """An idle executor keeps neither a step's output alive nor its arguments."""
        outputs, arguments = threading.Event(), threading.Event()
        self.bench.submit(lambda **_given: _watched(outputs), thing=_watched(arguments))
        self.bench.until_reported()
        self.bench.reports.clear()

        self._is_let_go(outputs, "the output")
        self._is_let_go(arguments, "an argument")

    # ── Context variables ────────────────────────────────────────────────────────────────────

    def test_context_variables_travel_to_the_body(self) -> None:
        """Those that the attempt carries."""
        attempt = self.bench.attempt(self.bench.body(_variable.get))
        attempt.variables.run(_variable.set, "the run's")

        self.bench.executor.submit(attempt)
        self.bench.until_reported()

        assert [("the run's", None)] == self.bench.of(attempt)

    def test_context_variables_do_not_leak_between_bodies(self) -> None:
        """What one sets, neither the next nor the program sees."""
        outputs = [self.bench.run(_get_and_set, number=number)[0] for number in range(5)]

        assert ["the default"] * 5 == outputs
        assert "the default" == _variable.get()

    def test_what_a_body_sets_is_the_attempts(self) -> None:
        """Its context is the one that the attempt carries, so that its caller can look."""
        attempt = self.bench.submit(_get_and_set, number=7)
        self.bench.until_reported()

        assert "body 7's" == attempt.variables[_variable]

    # ── Stopping ─────────────────────────────────────────────────────────────────────────────

    def test_a_stopped_attempt_is_reported_as_any_other(self) -> None:
        """Once: with an error where stopping ends a body, and else with what it returns."""
        bench, gate = self.bench, self.bench.gate()
        attempt = self._submit(bench.waiting(gate, "went on"))
        bench.until_begun(gate)

        bench.stop(attempt)
        if not bench.executor.preemptive:
            gate.open()
        bench.until_reported()
        bench.flush()

        ((output, error),) = bench.of(attempt)
        if bench.executor.preemptive:
            assert output is None
            assert error is not None
        else:
            assert ("went on", None) == (output, error)

    def test_stopping_an_attempt_that_has_ended_does_nothing(self) -> None:
        """An orchestrator may not have heard of the end yet."""
        attempt = self.bench.submit(lambda: "done")
        self.bench.until_reported()

        self.bench.stop(attempt)
        self.bench.flush()

        assert [("done", None)] == self.bench.of(attempt)

    def test_stopping_one_attempt_leaves_the_others_alone(self) -> None:
        """Each is its own."""
        bench = self.bench
        gates = [bench.gate(), bench.gate()]
        stopped, other = (self._submit(bench.waiting(gate, "went on")) for gate in gates)
        bench.until_begun(*gates)

        bench.stop(stopped)
        bench.flush()
        before = bench.of(other)
        for gate in gates:
            gate.open()
        bench.until_reported(other)

        assert [] == before
        assert [("went on", None)] == bench.of(other)

    def test_an_attempt_that_was_stopped_before_it_began_never_begins(self) -> None:
        """It is reported as cancelled, and its function is not called."""
        called: list[str] = []
        attempt = self.bench.attempt(self.bench.body(lambda: called.append("called")))
        attempt.cancelled = True

        self.bench.executor.submit(attempt)
        self.bench.until_reported()
        self.bench.flush()

        ((_, error),) = self.bench.of(attempt)
        assert isinstance(error, StepCancelled)
        assert [] == called

    # ── Abandoning ───────────────────────────────────────────────────────────────────────────

    def test_an_abandoned_attempt_is_never_reported(self) -> None:
        """Even if its body ends after all."""
        gate, ended = self.bench.gate(), threading.Event()
        step_id = self._abandoned(gate, _watched(ended))[0].step_id

        gate.open()
        self.bench.flush()
        before = [attempt.step_id for attempt, *_ in self.bench.reports]
        assert step_id not in before
        self._is_let_go(ended, "an argument")  # when its body has ended

        assert step_id not in [attempt.step_id for attempt, *_ in self.bench.reports]

    def test_an_abandoned_attempt_tells_where_it_hangs(self) -> None:
        """As far as the executor can know: some cannot, and return an empty string."""
        gate = self.bench.gate()

        _, stack = self._abandoned(gate)
        gate.open()

        assert not stack or "waits_at_the_gate" in stack

    def test_an_abandoned_attempt_that_still_runs_is_returned_at_the_end(self) -> None:
        """So that a shutdown can say what it left behind."""
        gate = self.bench.gate()
        attempt, _ = self._abandoned(gate)

        left = self.bench.end()
        gate.open()

        assert [attempt] == left

    def test_an_abandoned_attempt_that_has_ended_is_let_go(self) -> None:
        """Nothing of it is kept, and it is not among those that still run."""
        gate, ended = self.bench.gate(), threading.Event()
        self._abandoned(gate, _watched(ended))

        gate.open()
        self.bench.flush()
        self._is_let_go(ended, "an argument")

        assert [] == self.bench.end()

    def test_an_executor_goes_on_beside_an_abandoned_attempt(self) -> None:
        """Its place is taken, the others are not."""
        gate = self.bench.gate()
        self._abandoned(gate)

        outputs = [self.bench.run(lambda n: n, n=number)[0] for number in range(20)]
        gate.open()

        assert list(range(20)) == outputs

    def test_abandoning_an_attempt_that_has_ended_does_nothing(self) -> None:
        """Its end and the end of its grace may meet in the mail."""
        attempt = self.bench.submit(lambda: "done")
        self.bench.until_reported()

        stack = self.bench.executor.abandon(attempt)
        self.bench.flush()

        assert not stack
        assert [("done", None)] == self.bench.of(attempt)
        assert [] == self.bench.end()

    def test_abandoning_an_attempt_that_had_waited_and_ended_does_nothing(self) -> None:
        """The same for a body that was suspended in between."""
        bench, gate = self.bench, self.bench.gate()
        attempt = self._submit(bench.waiting(gate, "done"))
        bench.until_begun(gate)
        gate.open()
        bench.until_reported()

        bench.executor.abandon(attempt)
        bench.flush()

        assert [("done", None)] == bench.of(attempt)
        assert [] == bench.end()

    def test_closing_without_anything_running_leaves_nothing(self) -> None:
        """The ordinary end."""
        self.bench.flush()

        assert [] == self.bench.end()

    # ── Ways to get there ────────────────────────────────────────────────────────────────────

    def _submit(self, body: Any, **arguments: Any) -> Attempt:
        """Submit a body of the executor's own kind."""
        attempt = self.bench.attempt(body, **arguments)
        self.bench.executor.submit(attempt)
        return attempt

    def _is_let_go(self, gone: threading.Event, what: str) -> None:
        """Wait until the executor keeps no reference to a part of an attempt that has ended."""
        try:
            self.bench.wait_for(gone)
        except (AssertionError, TimeoutError) as late:
            problem = f"the executor still keeps {what} of an attempt that has ended"
            raise AssertionError(problem) from late

    def _abandoned(self, gate: Gate, thing: object = None) -> tuple[Attempt, str]:
        """Return an attempt that did not end when asked to, was given up, and hangs at a gate."""
        bench = self.bench
        attempt = self._submit(bench.stubborn(gate), thing=thing)
        bench.until_begun(gate)
        bench.stop(attempt)
        bench.flush()
        return attempt, bench.executor.abandon(attempt)


def _raise(error: BaseException) -> None:
    raise error


def _get_and_set(number: int) -> str:
    seen = _variable.get()
    _variable.set(f"body {number}'s")
    return seen


def _watched(event: threading.Event) -> _Thing:
    """Return a thing whose end sets an event."""
    thing = _Thing()
    weakref.finalize(thing, event.set)
    return thing

"""How a test of the contract works an executor: bodies, gates, and waiting for reports."""

from __future__ import annotations

import contextvars
import gc
import itertools
import threading
from typing import TYPE_CHECKING, Any, Final

from actorflow.model.context import Attempt, RunScope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.protocols import Executor

__all__ = ["Bench", "Gate"]

_FLUSHES: Final = 3
_LOOK: Final = 0.05


class Gate:
    """A place where a body waits until the test lets it go on."""

    def __init__(self, event: Any) -> None:
        self.event = event
        self.entered = 0
        """How many bodies have come here."""

    def open(self) -> None:
        """Let every body pass."""
        self.event.set()


class Bench:
    """An executor at work, and what it has reported.

    This one is for executors that call plain functions in this process. Derive another one for an
    executor whose bodies are something else, and return it from `ExecutorContract.make_bench`.

    Args:
        executor: The executor, which is opened here.
        patience: Seconds to wait for what should happen at once.
    """

    def __init__(self, executor: Executor, patience: float = 60.0) -> None:
        self.executor = executor
        self.patience = patience
        self.reports: list[tuple[Attempt, Any, BaseException | None]] = []
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._gates: list[Gate] = []
        self._ended = False
        executor.open(self._report)

    def end(self) -> Sequence[Attempt]:
        """Close the executor, and return the attempts that it says still run."""
        self._ended = True
        return list(self.executor.close())

    def close(self) -> None:
        """Let go of everything, however far the test has come."""
        for gate in self._gates:
            gate.open()
        if not self._ended:
            self.end()

    # ── Bodies ───────────────────────────────────────────────────────────────────────────────

    def body(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a plain function as the kind of body that the executor runs."""
        return function

    def gate(self) -> Gate:
        """Return a gate, which is open when the test has ended."""
        self._gates.append(Gate(self.event()))
        return self._gates[-1]

    def event(self) -> Any:
        """Return an event that a body can wait for."""
        return threading.Event()

    def waiting(self, gate: Gate, output: Any = None) -> Callable[..., Any]:
        """Return a body that waits at a gate."""

        def waits_at_the_gate(**_given: Any) -> Any:
            self.enter(gate)
            if not gate.event.wait(self.patience):
                raise TimeoutError("the gate was not opened")
            return output

        return waits_at_the_gate

    def stubborn(self, gate: Gate) -> Callable[..., Any]:
        """Return a body that waits at a gate whatever is asked of it."""
        return self.waiting(gate, "late")

    def enter(self, gate: Gate) -> None:
        """Note that a body has come to a gate."""
        with self._changed:
            gate.entered += 1
            self._changed.notify_all()

    # ── Attempts ─────────────────────────────────────────────────────────────────────────────

    def attempt(self, function: Callable[..., Any], /, **arguments: Any) -> Attempt:
        """Return an attempt that has not been submitted yet."""
        attempt = Attempt(_scope(), f"s{next(self._numbers)}", 1, None, self.executor)
        attempt.function = function
        attempt.arguments = arguments
        attempt.variables = contextvars.copy_context()
        return attempt

    def submit(self, function: Callable[..., Any], /, **arguments: Any) -> Attempt:
        """Submit an attempt that calls a plain function by name."""
        attempt = self.attempt(self.body(function), **arguments)
        self.executor.submit(attempt)
        return attempt

    def run(
        self, function: Callable[..., Any], /, **arguments: Any
    ) -> tuple[Any, BaseException | None]:
        """Have a plain function called, and return how that was reported."""
        attempt = self.submit(function, **arguments)
        self.until_reported(attempt)
        (report,) = self.of(attempt)
        return report

    def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end, as an orchestrator does."""
        attempt.cancelled = True
        self.executor.stop(attempt)

    # ── Reports ──────────────────────────────────────────────────────────────────────────────

    def of(self, attempt: Attempt) -> list[tuple[Any, BaseException | None]]:
        """Return what was reported of an attempt."""
        return [(output, error) for one, output, error in self.reports.copy() if one is attempt]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; it is looked at whenever something has happened."""
        with self._changed:
            held = self._changed.wait_for(condition, self.patience)
        assert held, self._late("the executor did not do what the test waits for")

    def until_begun(self, *gates: Gate) -> None:
        """Wait until a body has come to each of the gates."""
        try:
            self.until(lambda: all(gate.entered for gate in gates))
        except (AssertionError, TimeoutError) as late:
            begun = sum(gate.entered > 0 for gate in gates)
            which = (
                "the body" if len(gates) == 1 else f"{len(gates) - begun} of {len(gates)} bodies"
            )
            rule = "an executor must run at least four bodies at once"
            raise AssertionError(f"{self._late(f'{which} did not begin')}; {rule}") from late

    def until_reported(self, what: Attempt | int = 1) -> None:
        """Wait until an attempt is reported, or at least a number of them."""
        try:
            if isinstance(what, int):
                self.until(lambda: len(self.reports) >= what)
            else:
                self.until(lambda: self.of(what))
        except (AssertionError, TimeoutError) as late:
            which = f"{what} was"
            if isinstance(what, int):
                which = f"{what - len(self.reports)} of {what} attempts were"
                which = "the attempt was" if what == 1 else which
            rule = "an executor must report every attempt that was not abandoned"
            raise AssertionError(f"{self._late(f'{which} not reported')}; {rule}") from late

    def _late(self, what: str) -> str:
        return f"{what} within {self.patience:g} s"

    def flush(self) -> None:
        """Let reports arrive that are under way: other attempts begin and end."""
        for _ in range(_FLUSHES):
            self.run(lambda: None)

    def wait_for(self, event: threading.Event) -> None:
        """Wait for something that an executor does not report."""
        for _ in range(int(self.patience / _LOOK) + 1):
            gc.collect()
            if event.wait(_LOOK):
                return
        raise AssertionError(self._late("the executor did not do what the test waits for"))

    def _report(self, attempt: Attempt, output: Any, error: BaseException | None) -> None:
        with self._changed:
            self.reports.append((attempt, output, error))
            self._changed.notify_all()


def _scope() -> RunScope:
    return RunScope(
        run_id="run",
        workflow_id="flow",
        inputs={},
        metadata={},
        variables=contextvars.Context(),
        now=lambda: 0.0,
    )

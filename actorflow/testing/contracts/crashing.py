"""Contract tests: a run resumes from any event at which it was cut off."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Workflow
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.records import RunRecord
from actorflow.orchestrator import Orchestrator
from actorflow.state.folding import fold
from actorflow.state.memory import MemoryStateManager
from actorflow.testing.contracts.accounts import EPOCH, PATIENCE, Patient, accept, told, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import StateManager

__all__ = ["Crashing"]

_STEPS: Final = 20
_GUARD: Final = 2 * PATIENCE


class Crashing(Patient):
    """Runs of twenty steps, each with a different part of its record."""

    def test_a_run_goes_on_from_every_instant_at_which_it_was_cut_off(self) -> None:
        """No recorded step runs again, and the others run once."""
        work = _Work()
        whole = work.events_of_a_whole_run()
        recorded = work.cut_off(self.state, whole, self.patience)
        guard = 2 * self.patience
        with Orchestrator(self.state, async_workers=4) as orchestrator:
            results = {it: orchestrator.resume(it, work.flow).result(guard) for it in recorded}

        for run_id, steps in recorded.items():
            assert work.outputs == results[run_id].outputs
            missing = {*work.flow.steps} - steps
            assert dict.fromkeys(missing, 1) == work.begun(run_id)
            events = self.state.events(run_id)
            assert [*range(1, len(events) + 1)] == [event.number for event in events]
            assert told(fold(work.record(run_id), events)) == told(self.state.snapshot(run_id))

    def test_an_undoing_goes_on_from_every_instant_at_which_it_was_cut_off(self) -> None:
        """No step with a recorded compensation is compensated again."""
        work = _Work(fails=True)
        whole = work.events_of_a_whole_run()
        first = next(it.number for it in whole if it.kind is EventKind.RUN_COMPENSATING)
        recorded = work.cut_off(self.state, whole[:-1], self.patience, at_least=first)
        guard = 2 * self.patience
        with Orchestrator(self.state, async_workers=4) as orchestrator:
            results = {it: orchestrator.resume(it, work.flow).wait(guard) for it in recorded}

        for run_id in recorded:
            snapshot = self.state.snapshot(run_id)
            before = work.undone_before[run_id]
            assert RunStatus.FAILED is results[run_id].status
            undone = {it for it, one in snapshot.steps.items() if one.status in _UNDONE}
            assert {*snapshot.compensations} == undone
            assert dict.fromkeys(undone - before, 1) == work.undone(run_id)
            assert told(fold(work.record(run_id), self.state.events(run_id))) == told(snapshot)


_UNDONE: Final = frozenset({StepStatus.COMPENSATED})


class _Work:
    """A workflow of twenty steps, and how often each step has begun, by run.

    Args:
        fails: Whether its last step fails for good, so that the run is compensated.
    """

    def __init__(self, *, fails: bool = False) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()
        self.flow = Workflow("twenty")
        self.outputs: dict[str, Any] = {}
        self.undone_before: dict[str, set[str]] = {}
        for number in range(_STEPS):
            self._add(number, fails=fails and number == _STEPS - 1)

    def _add(self, number: int, *, fails: bool) -> None:
        name = f"s{number:02}"
        after = [f"s{earlier:02}" for earlier in {number // 2, number - 3} if 0 <= earlier < number]
        self.flow.step(
            self._body(number, fails=fails),
            id=name,
            after=after,
            async_=number % 3 > 0,
            retry=RetryPolicy(max_attempts=2, initial_interval=0.001) if number == 1 else None,
            compensate=self._undo(name) if number % 2 else None,
        )

    def _body(self, number: int, *, fails: bool) -> Callable[..., Any]:
        def body(ctx: Any, inputs: Any) -> list[int]:
            self._count("run", ctx)
            if fails:
                raise ValueError("the last step fails")
            return [number, len(inputs)]

        async def body_async(ctx: Any, inputs: Any) -> list[int]:
            return body(ctx, inputs)

        return body_async if number % 3 > 0 else body

    def _undo(self, _name: str) -> Callable[..., Any]:
        def undo(ctx: Any) -> None:
            self._count("undo", ctx)

        return undo

    def _count(self, what: str, ctx: Any) -> None:
        with self._lock:
            self._counts[what, ctx.run_id, ctx.step_id] += 1

    def begun(self, run_id: str) -> dict[str, int]:
        """Return how often each step has begun, for steps that have."""
        return self._of("run", run_id)

    def undone(self, run_id: str) -> dict[str, int]:
        """Return how often each step was compensated, for steps that were."""
        return self._of("undo", run_id)

    def _of(self, what: str, run_id: str) -> dict[str, int]:
        return {it[2]: times for it, times in self._counts.items() if it[:2] == (what, run_id)}

    def record(self, run_id: str) -> RunRecord:
        """Return the accepted run."""
        plan = self.flow.plan()
        return RunRecord(
            run_id=run_id,
            workflow_id=plan.workflow_id,
            workflow_version=plan.version,
            step_ids=tuple(plan.by_id),
            last_steps=plan.last_steps,
            inputs={},
            metadata={},
            priority=0,
            created_at=EPOCH,
            trace_id=None,
            correlation_id=None,
            business_id=None,
        )

    def events_of_a_whole_run(self) -> list[Event]:
        """Return the events of an undisturbed run."""
        state = MemoryStateManager()
        with Orchestrator(state, async_workers=4) as orchestrator:
            result = orchestrator.start(self.flow).wait(_GUARD)
        self.outputs = dict(result.outputs)
        self._counts.clear()
        return list(state.events(result.run_id))

    def cut_off(
        self, state: StateManager, whole: Sequence[Event], patience: float, at_least: int = 0
    ) -> dict[str, set[str]]:
        """Record runs cut off after each number of events; return their completed steps."""
        recorded: dict[str, set[str]] = {}
        for number in range(at_least, len(whole) + 1):
            run_id = f"cut off after {number:03}"
            events = [event._replace(run_id=run_id) for event in whole[:number]]
            accept(state, self.record(run_id), patience)
            write(state, events, patience)
            recorded[run_id] = _steps(events, EventKind.STEP_COMPLETED)
            self.undone_before[run_id] = _steps(events, EventKind.COMPENSATION_COMPLETED)
        return recorded


def _steps(events: Sequence[Event], kind: EventKind) -> set[str]:
    return {event.step_id for event in events if event.kind is kind and event.step_id is not None}

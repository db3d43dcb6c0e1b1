"""The executors of a simulation, and which of them runs a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.testing.simulation.executor import SimulatedExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.protocols import Executor, Report
    from actorflow.testing.simulation.account import Account
    from actorflow.testing.simulation.mail import SimulatedMail

    Reporters = tuple[Report, Report, Callable[[object], None]]
    """How an executor reports: scheduling a delivery, without one, and what bodies say that wait.
    """

__all__ = ["SimulatedPlaces"]


class SimulatedPlaces:
    """The two executors: one for coroutine functions, one for plain functions."""

    def __init__(self, account: Account, mail: SimulatedMail) -> None:
        self._coroutines = SimulatedExecutor(account, mail, preemptive=True)
        self._threads = SimulatedExecutor(account, mail, preemptive=False)

    def open(self, coroutines: Reporters, threads: Reporters) -> None:
        """Open both executors."""
        self._coroutines.open(*coroutines)
        report, _, tell = threads
        self._threads.open(report, None, tell)

    def of(self, plan: WorkflowPlan) -> Mapping[str, Executor]:
        """Return the executor of each step, by step id."""
        return {step.id: self._executor_for(step) for step in plan.steps}

    def of_compensators(self, plan: WorkflowPlan) -> Mapping[str, Executor]:
        """Return the executor of each compensator, by step id."""
        compensators = {step.id: step.compensation for step in plan.steps if step.compensation}
        return {step_id: self._executor_for(step) for step_id, step in compensators.items()}

    def _executor_for(self, step: StepPlan) -> Executor:
        return self._coroutines if step.is_coroutine else self._threads

    @property
    def tasks(self) -> int:
        """Number of coroutine tasks that have not ended."""
        return self._coroutines.tasks

    @property
    def waiting(self) -> int:
        """Number of real coroutines whose turn has not come."""
        return self._coroutines.waiting

    def close(self) -> None:
        """Let running coroutines clean up."""
        self._coroutines.close()

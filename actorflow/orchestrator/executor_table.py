"""The executors of one orchestrator by name, and the choice of one for each step."""

from __future__ import annotations

import concurrent.futures
import contextlib
import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from actorflow.definition.compiling import COROUTINE
from actorflow.definition.parameters import name_of
from actorflow.errors.definition import DefinitionError, UnknownExecutor
from actorflow.executors import FuturesExecutor
from actorflow.model.messages import AttemptFinished
from actorflow.support.logs import get_logger
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.protocols import Executor, Report

    _ByPlan = weakref.WeakKeyDictionary[WorkflowPlan, Mapping[str, Executor]]

    from actorflow.model.context import Attempt
    from actorflow.orchestrator.powers import Powers

    Finished = Callable[[Attempt, Any, BaseException | None], AttemptFinished]

__all__ = ["COROUTINE", "THREAD", "Places", "finishing"]

THREAD: Final = "thread"
_NONE: Final[Mapping[str, Executor]] = MappingProxyType({})


class Places:
    """The executors for step bodies.

    Args:
        coroutines: Runs coroutine steps; the only one that reports on the loop's thread.
        threads: Runs plain functions of steps that name no executor.
        others: The program's own executors, by the name that steps use.
    """

    def __init__(
        self,
        coroutines: Executor,
        threads: Executor,
        others: Mapping[str, Executor | concurrent.futures.Executor],
    ) -> None:
        adapted = {name: _adapted(executor) for name, executor in others.items()}
        self._executors: dict[str, Executor] = {THREAD: threads, **adapted, COROUTINE: coroutines}
        self._opened: list[str] = []
        self._of: _ByPlan = weakref.WeakKeyDictionary()
        self._of_compensators: _ByPlan = weakref.WeakKeyDictionary()

    def open(self, report_here: Report, report_from_anywhere: Report) -> None:
        """Open them all."""
        for name, executor in self._executors.items():
            executor.open(report_here if name == COROUTINE else report_from_anywhere)
            self._opened.append(name)

    def close(self) -> list[str]:
        """Close those that are open; return a line for each attempt that still runs."""
        left = [line for name in self._opened for line in self._close(name)]
        self._opened.clear()
        return left

    def _close(self, name: str) -> list[str]:
        try:
            running = self._executors[name].close()
        except BaseException as error:  # noqa: BLE001 - the others must be closed too
            with contextlib.suppress(BaseException):  # a log that raises must not add to it
                get_logger().error("executor.failed", executor=name, method="close", exc_info=error)
            return [f"executor {name!r} could not be closed: {text_of(error)}"]
        return [f"{attempt} still runs in executor {name!r}" for attempt in running]

    def of(self, plan: WorkflowPlan) -> Mapping[str, Executor]:
        """Return the executor of each step, by step id.

        Raises:
            UnknownExecutor: When a step names an executor that does not exist.
            DefinitionError: When a step takes its context, and its executor cannot pass it on.
        """
        known = self._of.get(plan)
        if known is None:
            known = {step.id: self._choose(plan, step) for step in plan.steps}
            self._of[plan] = known
        return known

    def of_compensators(self, plan: WorkflowPlan) -> Mapping[str, Executor]:
        """Return the executor of each compensator, by step id; see `of`."""
        if not plan.compensations:
            return _NONE
        known = self._of_compensators.get(plan)
        if known is None:
            known = {
                step_id: self._choose(plan, undo) for step_id, undo in plan.compensations.items()
            }
            self._of_compensators[plan] = known
        return known

    def _choose(self, plan: WorkflowPlan, step: StepPlan) -> Executor:
        name = step.step.executor or (COROUTINE if step.is_coroutine else THREAD)
        if name not in self._executors:
            raise UnknownExecutor(step.id, name, tuple(self._executors))
        executor = self._executors[name]
        if isinstance(executor, FuturesExecutor):
            _check_function(plan, step, name, executor)
            if step.wants_context:
                _check_context(plan, step, name, executor)
        return executor


def _check_function(
    plan: WorkflowPlan, step: StepPlan, name: str, executor: FuturesExecutor
) -> None:
    error = executor.refusal(step.step.run)
    if error is not None:
        problem = (
            f"{name_of(step.step.run)} cannot be sent to the processes of executor {name!r}: "
            f"{text_of(error)}"
        )
        cure = (
            "Use a function at the top level of a module, or leave executor= out to run it on a "
            "thread"
        )
        raise DefinitionError(plan.workflow_id, problem, cure, step.id)


def _check_context(
    plan: WorkflowPlan, step: StepPlan, name: str, executor: FuturesExecutor
) -> None:
    if not executor.takes_context:
        problem = (
            f"{name_of(step.step.run)} takes ctx, which cannot be sent to the processes of "
            f"executor {name!r}"
        )
        cure = (
            "Pass what it needs as inputs and leave ctx out, or leave executor= out to run it on a "
            "thread"
        )
        raise DefinitionError(plan.workflow_id, problem, cure, step.id)


def _adapted(executor: Executor | concurrent.futures.Executor) -> Executor:
    if isinstance(executor, concurrent.futures.Executor):
        return FuturesExecutor(executor)
    return executor


def finishing(powers: Powers) -> Finished:
    """Return a function that makes the message for a finished attempt.

    A state manager that cannot keep every value checks outputs with `admit`. An output that it
    refuses fails the attempt before anything else sees the output.
    """
    if powers.outputs is None:
        return AttemptFinished
    admit = powers.outputs.admit

    def finished(attempt: Attempt, output: Any, error: BaseException | None) -> AttemptFinished:
        if error is None:
            try:
                admit(attempt.scope.run_id, attempt.step_id, output)
            except BaseException as refusal:  # noqa: BLE001 - any error fails the attempt
                return AttemptFinished(attempt, None, refusal)
        return AttemptFinished(attempt, output, error)

    return finished

"""The actor that a step is."""

from __future__ import annotations

from typing import Any, Final

from thespian.actors import Actor, ActorAddress

from actorflow.context import StepContext
from actorflow.messages import (
    AttemptFinished,
    ConfigureStep,
    DependencyCompleted,
    DependentMoved,
    Execute,
    Settled,
    StepReady,
)

__all__ = ["StepActor"]

_SKIPPED: Final = object()
_UNCONFIGURED: Final = -1
_SETTLED: Final = -2
"""What a step expects that is not waiting for dependencies."""


class StepActor(Actor):
    """Waits for its dependencies, runs when the supervisor lets it, tells its dependents.

    Messages keep their order per sender only, so a dependency's completion can arrive before
    the actor has been configured, and a revived sender can say a thing twice. Both are
    harmless: completions are kept by step id from the first moment on.
    """

    leaves_quietly = True

    __slots__ = ("_any_skipped", "_configuration", "_expected", "_myRef", "_outputs")

    _configuration: ConfigureStep

    def __init__(self) -> None:
        self._expected = _UNCONFIGURED
        self._outputs: dict[str, Any] = {}
        self._any_skipped = False

    def receiveMessage(self, message: Any, _sender: ActorAddress) -> None:  # noqa: N802, D102
        # A chain of tests, the most frequent first, costs less than a table.
        kind = type(message)
        if kind is DependencyCompleted:
            self._dependency_completed(message)
        elif kind is Execute:
            self._execute(message)
        elif kind is Settled:
            self._settled(message)
        elif kind is ConfigureStep:
            self._configure(message)
        elif kind is DependentMoved:
            self._dependent_moved(message)

    def _configure(self, message: ConfigureStep) -> None:
        for completed in message.settled:
            self._dependency_completed(completed)
        self._configuration = message
        self._expected = len(message.plan.dependencies)
        if len(self._outputs) == self._expected:
            self._report_ready()

    def _dependency_completed(self, message: DependencyCompleted) -> None:
        outputs = self._outputs
        if message.step_id not in outputs:
            if message.skipped:
                self._any_skipped = True
                outputs[message.step_id] = _SKIPPED
            else:
                outputs[message.step_id] = message.output
            if len(outputs) == self._expected:
                self._report_ready()

    def _report_ready(self) -> None:
        configuration, reference = self._configuration, self._myRef
        reference.actor_send(
            configuration.supervisor,
            StepReady(
                configuration.scope.run_id,
                configuration.plan.id,
                reference.address,
                configuration.incarnation,
            ),
        )

    def _execute(self, message: Execute) -> None:
        attempt = message.attempt
        configuration, outputs = self._configuration, self._outputs
        plan, scope = configuration.plan, configuration.scope
        if self._any_skipped:
            outputs = {name: out for name, out in outputs.items() if out is not _SKIPPED}
        try:
            attempt.function = plan.step.run
            context = StepContext(attempt) if plan.wants_context else None
            attempt.arguments = plan.arguments(scope.inputs, outputs, context)
            attempt.variables = scope.variables.copy()
            attempt.submitted = True
            attempt.executor.submit(attempt)
        except BaseException as error:  # noqa: BLE001 - an attempt that cannot start has failed
            self.send(configuration.supervisor, AttemptFinished(attempt, None, error))

    def _settled(self, message: Settled) -> None:
        configuration, send = self._configuration, self._myRef.actor_send
        completed = DependencyCompleted(configuration.plan.id, message.output, message.skipped)
        for dependent in configuration.dependents:
            send(dependent, completed)
        # A run of many steps need not keep what each of them has waited for, only the outcome.
        self._expected = _SETTLED
        self._outputs = {configuration.plan.id: message.output}
        self._any_skipped = message.skipped
        del self._configuration

    def _dependent_moved(self, message: DependentMoved) -> None:
        if self._expected == _SETTLED:
            # It has told the dependent's dead predecessor.
            for step_id, output in self._outputs.items():
                told = DependencyCompleted(step_id, output, self._any_skipped)
                self.send(message.new, told)
        else:
            known = self._configuration.dependents
            known[:] = [message.new if each == message.old else each for each in known]

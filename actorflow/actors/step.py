"""The actor that a step is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from thespian.actors import Actor, ActorAddress, ActorExitRequest

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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.context import Attempt

__all__ = ["StepActor"]

_SKIPPED: Final = object()


class StepActor(Actor):
    """Waits for its dependencies, runs when the supervisor lets it, tells its dependents.

    Messages keep their order per sender only, so a dependency's completion can arrive before
    the actor has been configured, and a revived sender can say a thing twice. Both are
    harmless: completions are kept by step id from the first moment on.
    """

    __slots__ = ("_any_skipped", "_configuration", "_myRef", "_outputs")

    _configuration: ConfigureStep

    def __init__(self) -> None:
        super().__init__()
        self._outputs: dict[str, Any] = {}
        self._any_skipped = False

    def receiveMessage(self, message: object, _sender: ActorAddress) -> None:  # noqa: N802, D102
        _HANDLERS[type(message)](self, message)

    def _configure(self, message: ConfigureStep) -> None:
        self._configuration = message
        for completed in message.settled:
            self._keep(completed)
        if len(self._outputs) == len(message.plan.dependencies):
            self._report_ready()

    def _dependency_completed(self, message: DependencyCompleted) -> None:
        if message.step_id not in self._outputs:
            self._keep(message)
            configuration = getattr(self, "_configuration", None)
            if configuration and len(self._outputs) == len(configuration.plan.dependencies):
                self._report_ready()

    def _keep(self, message: DependencyCompleted) -> None:
        if message.skipped:
            self._any_skipped = True
            self._outputs[message.step_id] = _SKIPPED
        else:
            self._outputs[message.step_id] = message.output

    def _report_ready(self) -> None:
        configuration = self._configuration
        self.send(
            configuration.supervisor,
            StepReady(configuration.scope.run_id, configuration.plan.id, self.myAddress),
        )

    def _execute(self, message: Execute) -> None:
        attempt = message.attempt
        try:
            self._prepare(attempt)
            attempt.submitted = True
            attempt.executor.submit(attempt)
        except Exception as error:  # noqa: BLE001 - an attempt that cannot start has failed
            self.send(self._configuration.supervisor, AttemptFinished(attempt, None, error))

    def _prepare(self, attempt: Attempt) -> None:
        plan, scope = self._configuration.plan, self._configuration.scope
        attempt.function = plan.step.run
        attempt.arguments = plan.arguments(
            scope.inputs,
            self._completed(),
            StepContext(attempt) if plan.wants_context else None,
        )
        attempt.variables = scope.variables.copy()

    def _completed(self) -> Mapping[str, Any]:
        if not self._any_skipped:
            return self._outputs
        return {name: out for name, out in self._outputs.items() if out is not _SKIPPED}

    def _settled(self, message: Settled) -> None:
        configuration = self._configuration
        completed = DependencyCompleted(configuration.plan.id, message.output, message.skipped)
        for dependent in configuration.dependents:
            self.send(dependent, completed)
        # Nobody asks for the dependencies' outputs again: let go of them before the run ends.
        self._outputs = dict.fromkeys(self._outputs)

    def _dependent_moved(self, message: DependentMoved) -> None:
        dependents = self._configuration.dependents
        dependents[:] = [message.new if address == message.old else address for address in dependents]

    def _exit(self, _message: ActorExitRequest) -> None:
        """Die quietly; the actor system does the rest."""


_HANDLERS: dict[type[Any], Callable[[StepActor, Any], None]] = {
    ConfigureStep: StepActor._configure,
    DependencyCompleted: StepActor._dependency_completed,
    DependentMoved: StepActor._dependent_moved,
    Execute: StepActor._execute,
    Settled: StepActor._settled,
    ActorExitRequest: StepActor._exit,
}

"""The step actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from thespian.actors import Actor, ActorAddress

from actorflow.model.context import StepContext
from actorflow.model.messages import (
    AttemptFinished,
    ConfigureStep,
    DependencyCompleted,
    DependentMoved,
    Execute,
    Settled,
    StepReady,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CompensatorActor", "StepActor"]

_SKIPPED: Final = object()
_UNCONFIGURED: Final = -1
"""The dependencies of a step that is not configured yet."""


class _Everything(dict[str, Any]):
    """The outputs that a settled step holds: it ignores and keeps none."""

    def __contains__(self, _step_id: object) -> bool:
        return True


_EVERYTHING: Final = _Everything()


class StepActor(Actor):
    """Waits for its dependencies, runs when the supervisor grants it, and tells its dependents.

    Messages keep their order per sender only. A dependency's completion can therefore arrive before
    the actor is configured, and a revived sender can repeat a message. Both are harmless:
    completions are kept by step id from the start, an attempt is submitted once, and a settled step
    ignores what arrives.
    """

    leaves_quietly = True

    __slots__ = (
        "_addresses",
        "_any_skipped",
        "_configuration",
        "_expected",
        "_myRef",
        "_outputs",
        "_told",
    )

    _configuration: ConfigureStep
    _addresses: Mapping[str, ActorAddress]

    def __init__(self) -> None:
        self._expected = _UNCONFIGURED
        self._outputs: dict[str, Any] = {}
        self._any_skipped = False
        self._told: DependencyCompleted | None = None
        """What it told its dependents when it settled."""

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
        if self._told is not None:
            return
        for completed in message.settled:
            self._dependency_completed(completed)
        self._configuration = message
        self._addresses = message.addresses
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
        if attempt.submitted:
            return
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
        if self._told is not None:
            return
        plan, addresses, send = self._configuration.plan, self._addresses, self._myRef.actor_send
        self._told = completed = DependencyCompleted(plan.id, message.output, message.skipped)
        for name in plan.dependents:
            # A resumed run may have kept a dependent of a step that it runs again, if the
            # workflow was changed in between. A kept step has no actor and waits for nothing.
            if name in addresses:
                send(addresses[name], completed)
        # Drop the dependencies' outputs of a settled step; only the outcome is still needed.
        self._outputs = _EVERYTHING
        del self._configuration, self._addresses

    def _dependent_moved(self, message: DependentMoved) -> None:
        if self._told is not None:
            # It told the dependent's previous actor, which has died.
            self.send(message.addresses[message.step_id], self._told)
        else:
            self._addresses = message.addresses


class CompensatorActor(StepActor):
    """Runs one attempt of a compensator; it starts at once and has no dependents to tell."""

    __slots__ = ()

    def _report_ready(self) -> None:
        """Send nothing: it was created because its turn has come."""

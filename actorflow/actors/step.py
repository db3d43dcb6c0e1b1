"""The step actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from thespian.actors import Actor, ActorAddress, PoisonMessage

from actorflow.model.context import StepContext
from actorflow.model.messages import (
    ActorBroken,
    AttemptFinished,
    DependencyCompleted,
    Execute,
    Settled,
)

if TYPE_CHECKING:
    from actorflow.model.context import Attempt

__all__ = ["CompensatorActor", "StepActor"]

_SKIPPED: Final = object()


class _Everything(dict[str, Any]):
    """The outputs that a settled step holds: it ignores and keeps none."""

    def __contains__(self, _step_id: object) -> bool:
        return True


_EVERYTHING: Final = _Everything()


class StepActor(Actor):
    """Runs when it has its dependencies' outputs and the supervisor's grant; tells its dependents.

    Messages keep their order per sender only, so data and grant may arrive in either order. After a
    crash they may arrive twice. Both are harmless: completions are kept by step id from the start,
    an attempt is submitted once, and a settled step ignores what arrives.
    """

    leaves_quietly = True

    __slots__ = ("_any_skipped", "_granted", "_myRef", "_outputs", "_supervisor")

    _supervisor: ActorAddress
    """Who answers for this actor: the sender of its grant or of its end."""

    def __init__(self) -> None:
        self._outputs: dict[str, Any] = {}
        self._any_skipped = False
        self._granted: Attempt | None = None
        """The attempt that waits for the completion of dependencies."""

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:  # noqa: N802, D102
        # A chain of tests, the most frequent first, costs less than a table.
        kind = type(message)
        if kind is DependencyCompleted:
            self._dependency_completed(message)
        elif kind is Execute:
            self._supervisor, attempt = sender, message.attempt
            if len(self._outputs) == len(attempt.plan.dependencies):
                self._submit(attempt)
            elif not attempt.submitted:  # else it was stopped, and may arrive after a later one
                self._granted = attempt
        elif kind is Settled:
            self._settled(message, sender)
        elif kind is PoisonMessage:
            # A dependent could not handle its data.
            self.send(self._supervisor, ActorBroken(sender, str(message.details)))

    def _dependency_completed(self, message: DependencyCompleted) -> None:
        outputs = self._outputs
        if message.step_id not in outputs:
            if message.skipped:
                self._any_skipped = True
                outputs[message.step_id] = _SKIPPED
            else:
                outputs[message.step_id] = message.output
        granted = self._granted
        if granted is not None and len(outputs) == len(granted.plan.dependencies):
            self._submit(granted)

    def _submit(self, attempt: Attempt) -> None:
        self._granted = None
        if attempt.submitted:
            return
        plan, scope, outputs = attempt.plan, attempt.scope, self._outputs
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
            self.send(self._supervisor, AttemptFinished(attempt, None, error))

    def _settled(self, message: Settled, sender: ActorAddress) -> None:
        if self._outputs is _EVERYTHING:
            return
        self._supervisor = sender
        plan, addresses, send = message.plan, message.addresses, self._myRef.actor_send
        completed = DependencyCompleted(plan.id, message.output, message.skipped)
        for name in plan.dependents:
            # A resumed run may have kept a dependent of a step that it runs again, if the
            # workflow was changed in between. A kept step has no actor and waits for nothing.
            if name in addresses:
                send(addresses[name], completed)
        # Drop the dependencies' outputs of a settled step; only the outcome is still needed.
        self._outputs = _EVERYTHING


class CompensatorActor(StepActor):
    """Runs one attempt of a compensator, which has no dependents to tell."""

    __slots__ = ()

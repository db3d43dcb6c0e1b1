"""The actor that a run is: the parent of its steps' actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thespian.actors import Actor, ActorAddress, ChildActorExited, PoisonMessage

from actorflow.actors.step import StepActor
from actorflow.messages import (
    ActorLost,
    ConfigureRun,
    ConfigureStep,
    DependentMoved,
    ReviveStep,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.messages import DependencyCompleted

__all__ = ["RunActor"]


class RunActor(Actor):
    """Makes the step actors of one run, tells them of each other, and replaces the dead.

    It stands between the supervisor and the steps so that a whole run leaves with one exit
    request: a parent's exit takes its children along, and nobody counts them.
    """

    _configuration: ConfigureRun

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[str, ActorAddress] = {}

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802, D102
        if isinstance(message, PoisonMessage):
            self._lost(sender, str(message.details))
        else:
            handler = _HANDLERS.get(type(message))
            if handler is not None:
                handler(self, message)

    def _configure(self, message: ConfigureRun) -> None:
        self._configuration = message
        addresses, create, settled = self._addresses, self.createActor, message.settled
        steps = [plan for plan in message.plan.steps if plan.id not in settled]
        for plan in steps:
            addresses[plan.id] = create(StepActor)
        for plan in steps:
            known = [settled[name] for name in plan.dependencies if name in settled]
            self._configure_step(plan.id, known)

    def _configure_step(self, step_id: str, settled: Sequence[DependencyCompleted]) -> None:
        configuration, addresses = self._configuration, self._addresses
        plan = configuration.plan.by_id[step_id]
        self.send(
            addresses[step_id],
            ConfigureStep(
                plan,
                configuration.scope,
                configuration.supervisor,
                [addresses[name] for name in plan.dependents if name in addresses],
                settled,
            ),
        )

    def _child_exited(self, message: ChildActorExited) -> None:
        self._lost(message.childAddress, "the actor exited")

    def _lost(self, address: ActorAddress, details: str) -> None:
        for step_id, known in self._addresses.items():
            if known == address:
                lost = ActorLost(self._configuration.scope.run_id, step_id, details)
                self.send(self._configuration.supervisor, lost)
                return

    def _revive(self, message: ReviveStep) -> None:
        old = self._addresses[message.step_id]
        new = self._addresses[message.step_id] = self.createActor(StepActor)
        self._configure_step(message.step_id, message.dependencies)
        if message.outcome is not None:
            self.send(new, message.outcome)
        for dependency in self._configuration.plan.by_id[message.step_id].dependencies:
            if dependency in self._addresses:
                self.send(self._addresses[dependency], DependentMoved(old, new))


_HANDLERS: dict[type[Any], Callable[[RunActor, Any], None]] = {
    ConfigureRun: RunActor._configure,
    ReviveStep: RunActor._revive,
    ChildActorExited: RunActor._child_exited,
}

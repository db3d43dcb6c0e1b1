"""The run actor: the parent of its steps' actors and of its compensators'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thespian.actors import Actor, ActorAddress, ChildActorExited, PoisonMessage

from actorflow.actors.step import CompensatorActor, StepActor
from actorflow.model.messages import (
    ActorLost,
    AttemptLost,
    Compensate,
    ConfigureRun,
    ConfigureStep,
    DependentMoved,
    Execute,
    ReviveStep,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.definition.plan import StepPlan
    from actorflow.model.context import Attempt
    from actorflow.model.messages import DependencyCompleted

__all__ = ["RunActor"]


class RunActor(Actor):
    """Creates the step actors of one run, tells them of each other, and replaces dead ones.

    It stands between the supervisor and the steps so that a whole run leaves by one exit request:
    a parent's exit ends its children, without a message for each.
    """

    _configuration: ConfigureRun

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[str, ActorAddress] = {}
        self._incarnations: dict[str, int] = {}
        """The current actors of steps whose first actors have died."""
        self._undoing: tuple[ActorAddress, Attempt] | None = None

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802, D102
        if isinstance(message, ConfigureRun):
            self._configure(message)
        elif isinstance(message, ReviveStep):
            self._revive(message)
        elif isinstance(message, Compensate):
            self._compensate(message)
        elif isinstance(message, ChildActorExited):
            self._lost(message.childAddress, "the actor exited")
        elif isinstance(message, PoisonMessage):
            self._lost(sender, str(message.details))

    def _configure(self, message: ConfigureRun) -> None:
        self._configuration = message
        addresses, create, settled = self._addresses, self._myRef.createActor, message.settled
        steps = [plan for plan in message.plan.steps if plan.id not in settled]
        for plan in steps:
            addresses[plan.id] = create(StepActor, None, None, None)
        for plan in steps:
            known = _known(plan, settled) if settled else ()
            self._configure_step(plan, known, message.incarnation)

    def _configure_step(
        self, plan: StepPlan, settled: Sequence[DependencyCompleted], incarnation: int
    ) -> None:
        configuration, addresses = self._configuration, self._addresses
        self._myRef.actor_send(
            addresses[plan.id],
            ConfigureStep(
                plan,
                configuration.scope,
                configuration.supervisor,
                addresses,
                settled,
                incarnation,
            ),
        )

    def _lost(self, address: ActorAddress, details: str) -> None:
        configuration = self._configuration
        if self._undoing is not None and self._undoing[0] == address:
            self.send(configuration.supervisor, AttemptLost(self._undoing[1], details))
            return
        for step_id, known in self._addresses.items():
            if known == address:
                incarnation = self._incarnations.get(step_id, configuration.incarnation)
                lost = ActorLost(configuration.scope.run_id, step_id, details, incarnation)
                self.send(configuration.supervisor, lost)
                return

    def _revive(self, message: ReviveStep) -> None:
        new = self.createActor(StepActor)
        # A new mapping, because the actors that received the old one still hold it.
        self._addresses = {**self._addresses, message.step_id: new}
        self._incarnations[message.step_id] = message.incarnation
        plan = self._configuration.plan.by_id[message.step_id]
        self._configure_step(plan, message.dependencies, message.incarnation)
        if message.outcome is not None:
            self.send(new, message.outcome)
        for dependency in plan.dependencies:
            if dependency in self._addresses:
                moved = DependentMoved(message.step_id, self._addresses)
                self.send(self._addresses[dependency], moved)

    def _compensate(self, message: Compensate) -> None:
        """Create an actor for one attempt of a compensator, and start it."""
        attempt = message.attempt
        plan = self._configuration.plan.by_id[attempt.step_id].compensation
        if plan is None:
            raise AssertionError(f"{attempt.step_id} has no compensator")
        address = self.createActor(CompensatorActor)
        self._undoing = address, attempt
        configuration = self._configuration
        scope, supervisor = configuration.scope, configuration.supervisor
        told = ConfigureStep(plan, scope, supervisor, {}, message.seen, configuration.incarnation)
        self.send(address, told)
        self.send(address, Execute(attempt))


def _known(plan: StepPlan, settled: Mapping[str, DependencyCompleted]) -> list[DependencyCompleted]:
    return [settled[name] for name in plan.dependencies if name in settled]

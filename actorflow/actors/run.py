"""The run actor: the parent of its steps' actors and of its compensators'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ChildActorExited,
    PoisonMessage,
)

from actorflow.actors.step import CompensatorActor, StepActor
from actorflow.model.messages import (
    ActorBroken,
    ActorLost,
    AttemptFinished,
    Compensate,
    CompensatorLost,
    Execute,
    ForStep,
    MakeSteps,
    ReviveStep,
    Settled,
    StepMoved,
    StepsMade,
)

if TYPE_CHECKING:
    from actorflow.model.context import Attempt

__all__ = ["RunActor"]


class RunActor(Actor):
    """Creates the step actors of one run, and replaces those that die.

    It stands between the supervisor and the steps so that a whole run leaves by one exit request:
    a parent's exit ends its children, without a message for each. It passes messages on to steps
    whose addresses the supervisor does not know yet.
    """

    _supervisor: ActorAddress
    _run_id: str

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[str, ActorAddress] | None = None
        """The current actor of each step; a dead one until it is replaced."""
        self._reported: frozenset[str] = frozenset()
        """The steps whose dead actors have been reported and not yet replaced."""
        self._undoing: tuple[ActorAddress, Attempt] | None = None

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802, D102
        if isinstance(message, ForStep):
            self._pass_on(message)
        elif isinstance(message, MakeSteps):
            self._make_steps(message, sender)
        elif isinstance(message, Compensate):
            self._compensate(message)
        elif isinstance(message, ReviveStep):
            self._revive(message)
        elif isinstance(message, ChildActorExited):
            self._lost(message.childAddress, "the actor exited")
        elif isinstance(message, PoisonMessage):
            self._lost(sender, str(message.details))
        elif isinstance(message, ActorBroken):
            self._lost(message.address, message.details)
        elif isinstance(message, AttemptFinished):
            self.send(self._supervisor, message)

    def _make_steps(self, message: MakeSteps, supervisor: ActorAddress) -> None:
        if self._addresses is not None:
            return
        self._supervisor, self._run_id = supervisor, message.scope.run_id
        create = self._myRef.createActor
        self._addresses = {name: create(StepActor, None, None, None) for name in message.step_ids}
        if message.step_ids:
            self.send(supervisor, StepsMade(self._run_id, self._addresses))

    def _pass_on(self, message: ForStep) -> None:
        inner, addresses = message.message, self._addresses or {}
        if isinstance(inner, Settled):
            inner = Settled(inner.plan, inner.output, inner.skipped, addresses)
        if message.step_id in addresses:
            self.send(addresses[message.step_id], inner)

    def _lost(self, address: ActorAddress, details: str) -> None:
        if self._undoing is not None and self._undoing[0] == address:
            self.send(self._supervisor, CompensatorLost(self._undoing[1], details))
            return
        for step_id, known in (self._addresses or {}).items():
            if known == address and step_id not in self._reported:
                self._reported |= {step_id}
                self.send(self._supervisor, ActorLost(self._run_id, step_id, details))
                return

    def _revive(self, message: ReviveStep) -> None:
        step_id, former = message.step_id, self._addresses or {}
        self._reported -= {step_id}
        # A new mapping, because the actors that received the old one still hold it.
        self._addresses = {**former, step_id: self.createActor(StepActor)}
        self.send(self._supervisor, StepMoved(self._run_id, step_id, self._addresses))
        if step_id in former:
            # It may be alive, but unable to handle a message.
            self.send(former[step_id], ActorExitRequest())

    def _compensate(self, message: Compensate) -> None:
        """Create an actor for one attempt of a compensator, and start it."""
        address = self.createActor(CompensatorActor)
        self._undoing = address, message.attempt
        self.send(address, Execute(message.attempt))
        for completed in message.seen:
            self.send(address, completed)

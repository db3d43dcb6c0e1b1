"""What an actor is about: Thespian's status messages, which its own bases answer themselves."""

from __future__ import annotations

from datetime import timedelta

from thespian.actors import Actor
from thespian.system.messages.status import Thespian_ActorStatus
from thespian.system.timing import ExpirationTimer

from actorflow.systems.delivery import Cell

__all__ = ["StatusReporter", "status_of"]


class StatusReporter(Actor):
    """Tells whoever sends it an actor's address what that actor is about."""

    def receiveMessage(self, subject: object, sender: Cell) -> None:  # noqa: N802, D102
        if isinstance(subject, Cell) and subject.actor is not None:
            self.send(sender, status_of(subject))


def status_of(cell: Cell) -> Thespian_ActorStatus:
    """Return an actor's class, parent, children and pending wakeups."""
    system = cell.system
    status = Thespian_ActorStatus(
        cell, type(cell.actor).__name__, system.system_cell, parentAddress=cell.parent
    )
    for child in cell.children or ():
        status.addChild(child)
    status.addWakeups(
        [
            (cell, ExpirationTimer(timedelta(seconds=when - system.now())))
            for when in system.wakeups_of(cell)
        ]
    )
    return status

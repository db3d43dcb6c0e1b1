"""Which messages a fault may strike, so that it is one that actorflow promises to survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.actors.run import RunActor
from actorflow.actors.step import CompensatorActor, StepActor
from actorflow.model.messages import (
    AttemptAbandoned,
    AttemptFinished,
    CancelRun,
    DependencyCompleted,
    Execute,
    Settled,
    StepReady,
)
from actorflow.systems.simulated.mischief import Fault

if TYPE_CHECKING:
    from actorflow.systems.delivery import Envelope

__all__ = ["MESSAGE_FAULTS", "SPANS", "may_strike"]

MESSAGE_FAULTS: Final = (Fault.CRASH, Fault.POISON, Fault.DUPLICATE, Fault.DELAY)
"""What may strike a message, in the order in which it is asked whether one does.

Not `Fault.REORDER`: Thespian promises that messages between two actors keep their order."""

SPANS: Final = {
    "crash": 6,
    "poison": 1,
    "duplicate": 5,
    "delay": 7,
    "cancel": 8,
    "restart": 8,
    "store fails": 3,
    "store stalls": 3,
    "late result": 1,
}
"""How many occasions there are for a fault in a run, for each of its steps, or so: a fault that
happens is as likely to happen on the last of them as on the first."""

_TOLD_TWICE: Final = frozenset(
    {
        AttemptAbandoned,
        AttemptFinished,
        CancelRun,
        DependencyCompleted,
        Execute,
        Settled,
        StepReady,
    }
)
"""What changes nothing when it is heard again: what has happened, and what is to be done once.

Not what makes actors or tells of their deaths, nor where they live: to hear the old address
again, after the new one, would be to believe it.
"""
_MORTAL: Final = frozenset({StepActor, RunActor, CompensatorActor})


def may_strike(fault: Fault, envelope: Envelope) -> bool:
    """Return whether a fault may strike a message."""
    target, message, _ = envelope
    if fault is Fault.CRASH:
        return type(target.actor) in _MORTAL
    if fault is Fault.POISON:
        return type(message) is Execute
    if fault is Fault.DUPLICATE:
        return type(message) in _TOLD_TWICE
    return True

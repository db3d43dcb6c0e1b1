"""Which messages a fault may strike, so that it is one that actorflow promises to survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.actors.run import RunActor
from actorflow.actors.step import CompensatorActor, StepActor
from actorflow.messages import (
    AttemptFinished,
    CancelRun,
    DependencyCompleted,
    Execute,
    StepReady,
)
from actorflow.systems.mischief import Fault

if TYPE_CHECKING:
    from actorflow.systems.delivery import Envelope

__all__ = ["MESSAGE_FAULTS", "SPANS", "may_strike"]

MESSAGE_FAULTS: Final = (Fault.CRASH, Fault.POISON, Fault.DUPLICATE, Fault.DELAY)
"""What may strike a message, in the order in which it is asked whether one does.

Not `Fault.REORDER`: Thespian promises that messages between two actors keep their order."""

SPANS: Final = {
    "crash": 6,
    "poison": 1,
    "duplicate": 4,
    "delay": 7,
    "cancel": 8,
    "restart": 8,
    "store fails": 3,
    "store stalls": 3,
    "late result": 1,
}
"""How many occasions there are for a fault in a run, for each of its steps, or so: a fault that
happens is as likely to happen on the last of them as on the first."""

_TOLD_TWICE: Final = frozenset({StepReady, DependencyCompleted, AttemptFinished, CancelRun})
"""What says that something has happened: to hear it again must change nothing."""
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

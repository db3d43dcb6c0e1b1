"""Which messages a fault may strike, so that actorflow promises to survive it."""

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
"""The faults that may strike a message, in the order in which they are tried.

`Fault.REORDER` is not one of them: Thespian keeps the order of messages between two actors."""

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
"""Approximate number of occasions for each fault, per step of a run. They make a fault about as
likely to strike the last occasion as the first."""

_IDEMPOTENT: Final = frozenset(
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
"""Messages that change nothing when they are received twice: reports of what has happened, and
instructions to do something once.

Messages that create actors, report their deaths or tell their addresses are not included: an old
address received after the new one would be believed."""
_MORTAL: Final = frozenset({StepActor, RunActor, CompensatorActor})


def may_strike(fault: Fault, envelope: Envelope) -> bool:
    """Return whether a fault may strike a message."""
    target, message, _ = envelope
    if fault is Fault.CRASH:
        return type(target.actor) in _MORTAL
    if fault is Fault.POISON:
        return type(message) is Execute
    if fault is Fault.DUPLICATE:
        return type(message) in _IDEMPOTENT
    return True

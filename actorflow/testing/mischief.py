"""Which messages a fault may strike, so that it is one that actorflow promises to survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.actors.run import RunActor
from actorflow.actors.step import StepActor
from actorflow.messages import (
    AttemptFinished,
    CancelRun,
    DependencyCompleted,
    Execute,
    StepReady,
)
from actorflow.systems.mischief import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.systems.delivery import Envelope
    from actorflow.testing.faults import Faults

__all__ = ["budgets", "may_strike"]

_TOLD_TWICE: Final = frozenset({StepReady, DependencyCompleted, AttemptFinished, CancelRun})
"""What says that something has happened: to hear it again must change nothing."""
_MORTAL: Final = frozenset({StepActor, RunActor})


def budgets(faults: Faults) -> Mapping[Fault, int]:
    """Return how often each fault may strike a message."""
    return {
        Fault.CRASH: faults.crashes,
        Fault.POISON: faults.poisons,
        Fault.DUPLICATE: faults.duplicates,
        Fault.DELAY: faults.delays,
    }


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

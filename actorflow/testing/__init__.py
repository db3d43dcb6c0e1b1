"""Workflows in virtual time, on every schedule there is: simulation for test suites."""

from __future__ import annotations

from actorflow.testing import laws
from actorflow.testing.account import Outcome, RunTrace
from actorflow.testing.errors import LawBroken, NotEnded, NotSimulated, StoreFault
from actorflow.testing.faults import Faults
from actorflow.testing.scripts import Script, either, hangs, raises, real, returns
from actorflow.testing.simulation import Simulation, simulate
from actorflow.testing.tape import Choices, Tape
from actorflow.testing.trace import (
    AttemptTrace,
    DeliveryTrace,
    FaultTrace,
    Idle,
    Leftovers,
    Mutation,
    Settings,
    Trace,
)

__all__ = [
    "AttemptTrace",
    "Choices",
    "DeliveryTrace",
    "FaultTrace",
    "Faults",
    "Idle",
    "LawBroken",
    "Leftovers",
    "Mutation",
    "NotEnded",
    "NotSimulated",
    "Outcome",
    "RunTrace",
    "Script",
    "Settings",
    "Simulation",
    "StoreFault",
    "Tape",
    "Trace",
    "either",
    "hangs",
    "laws",
    "raises",
    "real",
    "returns",
    "simulate",
]

"""Workflows in virtual time, on every schedule there is: simulation for test suites."""

from __future__ import annotations

from actorflow.testing.faults import Faults
from actorflow.testing.scripts import Script, either, hangs, raises, real, returns
from actorflow.testing.simulation import Simulation, simulate
from actorflow.testing.tape import Choices, Tape
from actorflow.testing.trace import Trace

__all__ = [
    "Choices",
    "Faults",
    "Script",
    "Simulation",
    "Tape",
    "Trace",
    "either",
    "hangs",
    "raises",
    "real",
    "returns",
    "simulate",
]

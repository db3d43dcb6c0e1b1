"""Thespian system bases for actorflow's actors."""

from __future__ import annotations

from actorflow.systems.embedded import EmbeddedSystem
from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["EmbeddedSystem", "SimulatedSystem"]

"""The Thespian system bases that actorflow's actors run on."""

from __future__ import annotations

from actorflow.systems.embedded import EmbeddedSystem
from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["EmbeddedSystem", "SimulatedSystem"]

"""The system base for simulations: actors in virtual time, on a chosen schedule."""

from __future__ import annotations

from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["SimulatedSystem"]

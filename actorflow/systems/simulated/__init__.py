"""Actors in virtual time: the system base on which every schedule is a choice."""

from __future__ import annotations

from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["SimulatedSystem"]

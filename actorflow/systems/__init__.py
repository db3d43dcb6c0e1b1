"""Thespian system bases for actorflow's actors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.support.lazy import lazy_names

if TYPE_CHECKING:
    from actorflow.systems.embedded import EmbeddedSystem
    from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["EmbeddedSystem", "SimulatedSystem"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "actorflow.systems.embedded": ("EmbeddedSystem",),
        "actorflow.systems.simulated.system": ("SimulatedSystem",),
    },
)

"""The actors: a step each, a supervisor for all, and the supervisor's pure brain."""

from __future__ import annotations

from actorflow.actors.step import StepActor
from actorflow.actors.supervisor import ConfigureSupervisor, Supervisor

__all__ = ["ConfigureSupervisor", "StepActor", "Supervisor"]

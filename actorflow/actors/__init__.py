"""The Thespian actors: one a step, one a run, and the supervisor."""

from __future__ import annotations

from actorflow.actors.host import ConfigureSupervisor
from actorflow.actors.step import StepActor
from actorflow.actors.supervisor import Supervisor

__all__ = ["ConfigureSupervisor", "StepActor", "Supervisor"]

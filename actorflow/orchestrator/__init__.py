"""The orchestrator: it assembles actors, systems, executors and state, and runs workflows."""

from __future__ import annotations

from actorflow.orchestrator.orchestrator import Orchestrator

__all__ = ["Orchestrator"]

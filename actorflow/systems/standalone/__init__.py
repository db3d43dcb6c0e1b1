"""The embedded base as a standalone system for any Thespian program."""

from __future__ import annotations

from actorflow.systems.standalone.system import StandaloneSystem

__all__ = ["StandaloneSystem"]

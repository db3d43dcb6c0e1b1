"""The embedded base on its own, for any Thespian program."""

from __future__ import annotations

from actorflow.systems.standalone.system import StandaloneSystem

__all__ = ["StandaloneSystem"]

"""State managers: where runs are kept."""

from __future__ import annotations

from actorflow.state.folding import RunFold
from actorflow.state.memory import MemoryStateManager

__all__ = ["MemoryStateManager", "RunFold"]

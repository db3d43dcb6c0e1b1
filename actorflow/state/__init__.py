"""State managers: where runs are kept."""

from __future__ import annotations

from actorflow.model.filters import RunQuery
from actorflow.state.folding import RunFold
from actorflow.state.memory import MemoryStateManager

__all__ = ["MemoryStateManager", "RunFold", "RunQuery"]

"""`actorflow run`: one run, watched from its first event to its last."""

from __future__ import annotations

__all__: list[str] = []

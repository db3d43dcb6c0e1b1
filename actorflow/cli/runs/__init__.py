"""`actorflow runs`: the runs that a database keeps."""

from __future__ import annotations

__all__: list[str] = []

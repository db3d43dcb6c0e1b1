"""`actorflow simulate` and `actorflow replay`."""

from __future__ import annotations

__all__: list[str] = []

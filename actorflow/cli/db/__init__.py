"""`actorflow db`, and the databases that other commands are about."""

from __future__ import annotations

__all__: list[str] = []

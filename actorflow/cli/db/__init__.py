"""`actorflow db`, and access to databases for other commands."""

from __future__ import annotations

__all__: list[str] = []

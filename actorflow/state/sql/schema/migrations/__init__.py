"""What Alembic runs, on behalf of `upgrades`."""

from __future__ import annotations

__all__: list[str] = []

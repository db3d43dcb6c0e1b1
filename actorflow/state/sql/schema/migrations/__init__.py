"""The scripts that Alembic runs for `upgrades`."""

from __future__ import annotations

__all__: list[str] = []

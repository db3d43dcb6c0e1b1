"""What Alembic runs; `migrating` tells it to."""

from __future__ import annotations

__all__: list[str] = []

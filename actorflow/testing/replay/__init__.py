"""Files that hold a schedule, so that it can be replayed."""

from __future__ import annotations

__all__: list[str] = []

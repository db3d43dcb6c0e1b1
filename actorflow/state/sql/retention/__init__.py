"""How long runs are kept, and how the others are deleted."""

from __future__ import annotations

__all__: list[str] = []

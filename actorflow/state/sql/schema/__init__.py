"""The tables and their migrations."""

from __future__ import annotations

__all__: list[str] = []

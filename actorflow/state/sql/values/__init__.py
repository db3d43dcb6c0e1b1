"""How values, errors and events are written to a database, and read back."""

from __future__ import annotations

__all__: list[str] = []

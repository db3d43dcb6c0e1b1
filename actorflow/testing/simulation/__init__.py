"""One simulation: the production actors in virtual time, on a schedule that is chosen."""

from __future__ import annotations

__all__: list[str] = []

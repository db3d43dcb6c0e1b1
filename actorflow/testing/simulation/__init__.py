"""One simulation: the production actors in virtual time, on a chosen schedule."""

from __future__ import annotations

__all__: list[str] = []

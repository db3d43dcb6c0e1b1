"""The pure brain: messages and the time go in, events and effects come out."""

from __future__ import annotations

__all__: list[str] = []

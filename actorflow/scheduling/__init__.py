"""The supervisor's brain, which is pure: messages and the time in, events and effects out."""

from __future__ import annotations

__all__: list[str] = []

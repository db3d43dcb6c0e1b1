"""Small tools for every other room: one-shot results, the clock, the log, safe text."""

from __future__ import annotations

__all__: list[str] = []

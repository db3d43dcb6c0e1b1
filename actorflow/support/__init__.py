"""Small tools that every other room may use: one-shot results, clocks, logs, safe text."""

from __future__ import annotations

__all__: list[str] = []

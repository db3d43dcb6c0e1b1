"""Replay files, which hold one schedule each."""

from __future__ import annotations

__all__: list[str] = []

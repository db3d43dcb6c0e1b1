"""Retention: how long runs are kept, and how they are deleted."""

from __future__ import annotations

__all__: list[str] = []

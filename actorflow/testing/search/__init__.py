"""The search for schedules that break a law, and for the smallest of them."""

from __future__ import annotations

__all__: list[str] = []

"""The handle of a run, and the stream of its events."""

from __future__ import annotations

__all__: list[str] = []

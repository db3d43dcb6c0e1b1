"""Writing on a single thread: the queue, grouping, and the commit of a group."""

from __future__ import annotations

__all__: list[str] = []

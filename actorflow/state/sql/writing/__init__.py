"""The one thread that writes: what waits, how it is grouped, how a group is committed."""

from __future__ import annotations

__all__: list[str] = []

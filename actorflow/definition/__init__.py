"""What a user writes: steps, workflows, retry policies; checked, then compiled into a plan."""

from __future__ import annotations

__all__: list[str] = []

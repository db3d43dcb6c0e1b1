"""Steps, workflows and retry policies: checked as they are written, then compiled into a plan."""

from __future__ import annotations

__all__: list[str] = []

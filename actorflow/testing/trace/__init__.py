"""Traces: what happened in a simulation, as a value and as a chart."""

from __future__ import annotations

__all__: list[str] = []

"""Schedules: nominal times, and which of them fire.

Nothing in this room reads a clock, a state manager or a run. It is given a definition, the last
state and the current time, and returns the next state.
"""

from __future__ import annotations

__all__: list[str] = []

"""The vocabulary of the parts: events, results, messages, contexts and protocols."""

from __future__ import annotations

__all__: list[str] = []

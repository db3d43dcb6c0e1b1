"""Connections, transactions, and what the refusals of a database mean."""

from __future__ import annotations

__all__: list[str] = []

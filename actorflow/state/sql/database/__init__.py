"""Database connections, transactions, and the classification of database errors."""

from __future__ import annotations

__all__: list[str] = []

"""The migrations: one file for each version of the tables, never changed once released."""

from __future__ import annotations

__all__: list[str] = []

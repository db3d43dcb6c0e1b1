"""A trace arranged for the laws."""

from __future__ import annotations

__all__: list[str] = []

"""Conversion of values, errors and events to strings and back."""

from __future__ import annotations

__all__: list[str] = []

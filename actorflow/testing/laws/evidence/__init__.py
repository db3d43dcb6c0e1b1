"""A trace put in order, so that laws can be read off it."""

from __future__ import annotations

__all__: list[str] = []

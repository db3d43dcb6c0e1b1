"""The tables, and how they get from one version to the next."""

from __future__ import annotations

__all__: list[str] = []

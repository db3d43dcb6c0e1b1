"""The migrations: one file for each version, never changed after its release."""

from __future__ import annotations

__all__: list[str] = []

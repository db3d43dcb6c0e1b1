"""The migrations: one file a version, never changed once it is released."""

from __future__ import annotations

__all__: list[str] = []

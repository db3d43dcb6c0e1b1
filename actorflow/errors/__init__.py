"""Every error that actorflow raises, by subject: definitions, runs, storage."""

from __future__ import annotations

__all__: list[str] = []

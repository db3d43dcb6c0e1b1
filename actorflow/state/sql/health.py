"""A snapshot of a store's health."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["StoreHealth"]


@attrs.frozen(kw_only=True)
class StoreHealth:
    """How a store was when it was asked."""

    status: Literal["ok", "retrying", "down"]
    """`"retrying"` while a write is being tried again, `"down"` since one was given up."""
    waiting: int
    """How many events wait to be written."""
    failures: int
    """How many times in a row the database has refused."""
    error: str | None
    """What it said last; None when all is well."""

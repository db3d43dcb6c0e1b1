"""The ownership of runs: leases, idempotency keys and requests to cancel."""

from __future__ import annotations

__all__: list[str] = []

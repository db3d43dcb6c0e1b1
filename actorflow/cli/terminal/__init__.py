"""Terminal support for all commands: streams, tables, values, exit statuses."""

from __future__ import annotations

__all__: list[str] = []

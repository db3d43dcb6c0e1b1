"""What every command needs of a terminal: streams, columns, values, exit codes."""

from __future__ import annotations

__all__: list[str] = []

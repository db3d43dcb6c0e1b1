"""Runs the command `actorflow` with `python -m actorflow.cli`."""

from __future__ import annotations

import sys

from actorflow.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

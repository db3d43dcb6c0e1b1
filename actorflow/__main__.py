"""`python -m actorflow`: the command line, like the command `actorflow`."""

from __future__ import annotations

import sys

from actorflow.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

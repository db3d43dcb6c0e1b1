"""How long the tests of races go on: a moment in every run of the suite, or for hours.

`ACTORFLOW_SOAK=100 python -m pytest tests/stress` does a hundred times as much.
"""

from __future__ import annotations

import os

__all__ = ["SOAK"]

SOAK = int(os.environ.get("ACTORFLOW_SOAK", "1"))
"""By how much the usual counts are multiplied."""

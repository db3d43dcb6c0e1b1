"""The factor by which `ACTORFLOW_SOAK` multiplies the work of the stress tests.

`ACTORFLOW_SOAK=100 python -m pytest tests/stress` runs them for an hour or two.
"""

from __future__ import annotations

import os

__all__ = ["SOAK"]

SOAK = int(os.environ.get("ACTORFLOW_SOAK", "1"))
"""The factor; 1 in an ordinary run of the suite."""

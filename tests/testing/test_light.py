"""What importing the simulation costs."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
import actorflow.testing
print(*sorted({"hypothesis", "pytest"} & set(sys.modules)))
"""


def test_the_simulation_needs_no_test_framework():
    """A program may simulate its own workflows."""
    ended = subprocess.run(
        [sys.executable, "-c", PROBE], check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )

    assert "" == ended.stdout.strip()

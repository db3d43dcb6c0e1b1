"""What importing the simulation costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


WITHOUT = """
import sys
sys.modules["hypothesis"] = None
from actorflow import MissingExtra
try:
    import actorflow.testing.{0}
except MissingExtra as missing:
    print(missing)
"""


@pytest.mark.parametrize("module", ["machine", "strategies"])
def test_without_hypothesis_the_error_names_the_extra(module):
    """Only for the two modules that need it."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )

    assert (
        f"actorflow.testing.{module} needs hypothesis, which is not installed. "
        "Type: pip install 'actorflow[testing]'"
    ) == ended.stdout.strip()

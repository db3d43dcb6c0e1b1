"""A test that fails, to show how pytest reports a broken law.

python -m pytest docs/examples/careless_orders.py
"""

from __future__ import annotations

from actorflow.testing import Script, real
from docs.examples.double_charge import careless, charged_once

SCRIPT = Script(default=real(after=None))


def test_no_schedule_charges_twice(simulation):
    """No schedule breaks the law."""
    simulation.explore(careless, script=SCRIPT, laws=[charged_once])

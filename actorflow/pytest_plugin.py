"""actorflow's pytest plugin: the fixture `simulation`, and two options.

pytest imports every plugin that is installed into its environment, for every project. So this
module imports nothing else of the package until a test asks for the fixture, and stands outside
of `actorflow.testing`, which cannot be imported without all that it offers.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from actorflow.testing.plugin import Simulations

__all__ = ["pytest_addoption", "simulation"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("actorflow", "schedules of workflows in virtual time")
    group.addoption(
        "--actorflow-schedules",
        type=_how_many,
        metavar="N",
        help="how many schedules each simulation.explore() tries, whatever the test says",
    )
    group.addoption(
        "--actorflow-seed",
        type=int,
        metavar="N",
        help="where simulation.explore() begins, whatever the test says; equal seeds give "
        "equal schedules",
    )


def _how_many(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Simulations:
    """Workflows in virtual time: `simulation.explore(flow)` and `simulation.check(flow)`."""
    from actorflow.testing.plugin import Simulations  # noqa: PLC0415 - only if it is used

    return Simulations(request)

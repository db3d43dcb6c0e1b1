"""What the tests of the simulation share: the machine's cores, and a line in the report."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest


@pytest.fixture(scope="session")
def cores():
    """As many processes as the machine has cores, to search in."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        yield pool


def pytest_terminal_summary(terminalreporter):
    """Tell how many schedules were explored in all, as tests have recorded it."""
    reports = [one for several in terminalreporter.stats.values() for one in several]
    calls = [one for one in reports if getattr(one, "when", None) == "call"]
    properties = [pair for one in calls for pair in one.user_properties]
    explored = [count for name, count in properties if name == "schedules"]
    if explored:
        terminalreporter.write_line(f"{sum(explored):,} schedules explored")

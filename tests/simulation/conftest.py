"""A line in the tests' report: how many schedules were explored."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter):
    """Add up what tests have recorded as the property "schedules", in whatever process."""
    reports = [one for several in terminalreporter.stats.values() for one in several]
    calls = [one for one in reports if getattr(one, "when", None) == "call"]
    properties = [pair for one in calls for pair in one.user_properties]
    explored = [count for name, count in properties if name == "schedules"]
    if explored:
        terminalreporter.write_line(f"{sum(explored):,} schedules explored")

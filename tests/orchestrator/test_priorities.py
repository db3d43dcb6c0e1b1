"""Which of the steps that are ready together starts first, with a real orchestrator.

Every order is held fifty times over: it is decided, not raced for.
"""

from __future__ import annotations

import pytest

from actorflow import Orchestrator, Workflow
from tests.support.flows import GUARD

TIMES = 50
KINDS = ["coroutines and one worker", "functions and one worker", "functions in the sync lane"]


@pytest.fixture(params=KINDS)
def started(request):
    """Run a workflow of names, dependencies and priorities; return its steps in order of start."""
    is_coroutine = request.param.startswith("coroutines")
    async_ = not request.param.endswith("sync lane")

    with Orchestrator(async_workers=1) as orchestrator:

        def run(*steps):
            order = []
            flow = Workflow("ranked")
            for name, after, priority in steps:
                body = coroutine(order, name) if is_coroutine else function(order, name)
                flow.step(id=name, after=after, priority=priority, async_=async_)(body)
            orchestrator.run(flow, timeout=GUARD)
            return order

        yield run


def function(order, name):
    """A step that takes note of its start."""

    def step():
        order.append(name)

    return step


def coroutine(order, name):
    """A step that takes note of its start, and does not wait."""

    async def step():
        order.append(name)

    return step


def test_steps_that_become_ready_together_start_by_priority(started):
    """One completion makes all three ready."""
    steps = ("fetch", (), 0), ("low", "fetch", -5), ("mid", "fetch", 0), ("high", "fetch", 9)

    assert [["fetch", "high", "mid", "low"]] * TIMES == [started(*steps) for _ in range(TIMES)]


def test_first_steps_start_by_priority(started):
    """The run's start makes all three ready, in whatever order they are defined."""
    steps = ("low", (), -5), ("mid", (), 0), ("high", (), 9)

    assert [["high", "mid", "low"]] * TIMES == [started(*steps) for _ in range(TIMES)]


def test_a_dependent_starts_before_lower_steps_that_have_waited(started):
    """It is ready in the decision that frees the worker or the lane."""
    steps = (
        ("one", (), -10),
        ("two", (), -10),
        ("a", (), 20),
        ("three", (), -10),
        ("b", "a", 20),
    )

    expected = ["a", "b", "one", "two", "three"]
    assert [expected] * TIMES == [started(*steps) for _ in range(TIMES)]


def test_equals_start_in_order_of_definition(started):
    """They become ready in one decision; nothing else tells them apart."""
    steps = ("first", (), 3), ("second", (), 3), ("third", (), 3)

    assert [["first", "second", "third"]] * TIMES == [started(*steps) for _ in range(TIMES)]

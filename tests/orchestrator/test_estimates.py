"""Estimates: when durations are read, on which thread, and what a bad state manager can do."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from actorflow import MemoryStateManager, Orchestrator, Workflow
from actorflow.orchestrator.estimates import _MOST, Estimates
from tests.support.brain import flow, task
from tests.support.flows import GUARD


class Measures:
    """Knows durations, and counts how often it is asked."""

    def __init__(self, durations=None):
        self.known = {"a": 5.0} if durations is None else durations
        self.asked = []

    def durations(self, workflow_id):
        """Return what it knows, or raise it."""
        self.asked.append(workflow_id)
        if isinstance(self.known, BaseException):
            raise self.known
        return self.known


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self):
        """Return its moment."""
        return self.now


def at_once(read):
    """Call what may wait, here and now."""
    read()


def ranked(*steps, **options):
    """A plan that is ordered by critical path."""
    return flow(*steps, order="critical_path", **options).plan()


# ── When durations are read ──────────────────────────────────────────────────────────────────


def test_recorded_durations_rank_the_steps_that_say_nothing():
    """A step's own `expected` counts before its record, and 1 second if there is neither."""
    plan = ranked(task("a"), task("b", "a", expected=2.0), task("c", "b"))
    measures = Measures({"a": 5.0, "b": 100.0, "stranger": 7.0})

    assert {"a": 8.0, "b": 3.0, "c": 1.0} == Estimates(measures, Clock(), at_once).ways(plan)


def test_durations_are_read_once_a_minute_for_each_workflow():
    """However many runs are started."""
    clock, measures = Clock(), Measures()
    estimates = Estimates(measures, clock, at_once)
    plans = [ranked(task("a"), id=name) for name in ("one", "other")]

    for seconds in (0, 1, 58.9, 0.1, 59.9):
        clock.now += seconds
        for plan in plans:
            estimates.ways(plan)

    assert ["one", "other"] * 2 == measures.asked


def test_durations_that_are_read_later_replace_the_earlier():
    """A step that is no longer known counts as one that never was."""
    clock, measures = Clock(), Measures({"a": 5.0, "b": 3.0})
    estimates, plan = Estimates(measures, clock, at_once), ranked(task("a"), task("b"))
    estimates.ways(plan)
    measures.known = {"a": 9.0}
    clock.now += 60

    assert {"a": 9.0, "b": 1.0} == estimates.ways(plan)


@pytest.mark.parametrize(
    "plan",
    [
        flow(task("a")).plan(),
        ranked(task("a", expected=3.0), task("b", "a", expected=0.5)),
    ],
    ids=["by readiness", "all expected"],
)
def test_durations_that_are_not_needed_are_not_read(plan):
    """In a workflow by readiness, or in one whose steps all say how long they take."""
    measures = Measures()
    Estimates(measures, Clock(), at_once).ways(plan)

    assert [] == measures.asked


def test_a_state_manager_without_the_power_is_not_asked():
    """Each step without `expected` counts with 1 second."""
    assert {"a": 1.0} == Estimates(None, Clock(), at_once).ways(ranked(task("a")))


def test_what_is_read_on_another_thread_ranks_the_next_run():
    """The run that asked does not wait for it."""
    later = []
    estimates, plan = Estimates(Measures(), Clock(), later.append), ranked(task("a"))

    first = estimates.ways(plan)
    for read in later:
        read()

    assert ({"a": 1.0}, {"a": 5.0}) == (first, estimates.ways(plan))
    assert 1 == len(later)


def test_the_durations_of_few_workflows_are_kept():
    """A program that makes up a workflow for each run does not fill the memory."""
    measures = Measures()
    estimates = Estimates(measures, Clock(), at_once)
    for number in range(_MOST + 5):
        estimates.ways(ranked(task("a"), id=f"flow {number}"))

    assert _MOST == len(estimates._known) == len(estimates._read_at)
    assert {"a": 5.0} == estimates.ways(ranked(task("a"), id=f"flow {_MOST}"))
    assert _MOST + 5 == len(measures.asked)


# ── What goes wrong ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("no database"),
        7,
        {"a": "long"},
        {"a": None},
        {"a": math.nan},
        {"a": -1.0},
        {"a": math.inf},
    ],
    ids=repr,
)
def test_a_bad_answer_costs_nothing(answer):
    """The run is ranked as if nothing was known, and the next minute begins."""
    measures = Measures(answer)
    estimates, plan = Estimates(measures, Clock(), at_once), ranked(task("a"))

    assert [{"a": 1.0}] * 2 == [estimates.ways(plan), estimates.ways(plan)]
    assert 1 == len(measures.asked)


def test_an_error_keeps_what_was_known():
    """Old durations are better than none."""
    clock, measures = Clock(), Measures()
    estimates, plan = Estimates(measures, clock, at_once), ranked(task("a"))
    estimates.ways(plan)
    measures.known = RuntimeError("no database")
    clock.now += 60

    assert {"a": 5.0} == estimates.ways(plan)


def test_a_thread_that_cannot_be_had_costs_nothing():
    """The loop's threads have been shut down."""

    def refuse(_read):
        raise RuntimeError("cannot schedule new futures after shutdown")

    assert {"a": 1.0} == Estimates(Measures(), Clock(), refuse).ways(ranked(task("a")))


# ── In an orchestrator ───────────────────────────────────────────────────────────────────────


class Slow(MemoryStateManager):
    """Reads as slowly as a database does, and knows which thread it is asked on."""

    slow_to_read = True

    def __init__(self, error=None):
        super().__init__()
        self.threads, self.go_on, self.asked = [], threading.Event(), threading.Event()
        self._error = error

    def durations(self, workflow_id):
        """Wait until the test lets it go on."""
        self.threads.append(threading.current_thread())
        self.asked.set()
        assert self.go_on.wait(GUARD)
        if self._error:
            raise self._error
        return super().durations(workflow_id)


def two_branches(order):
    """A workflow with a short branch and a long one; `order` receives the steps as they start."""
    made = Workflow("branches", order="critical_path")
    for name, after in [("short", ()), ("long", ()), ("last", "long")]:

        async def run(name=name):
            order.append(name)

        made.step(id=name, after=after, async_=True)(run)
    return made


def test_a_slow_state_manager_never_blocks_the_event_loop():
    """It is asked on another thread, and runs go on meanwhile."""
    state, order = Slow(), []

    async def main():
        async with Orchestrator(state, async_workers=1) as orchestrator:
            await asyncio.wait_for(orchestrator.run_async(two_branches(order)), GUARD)
            assert await asyncio.to_thread(state.asked.wait, GUARD)
            await asyncio.wait_for(orchestrator.run_async(two_branches(order)), GUARD)
            state.go_on.set()

    asyncio.run(main())

    assert [True] == [thread is not threading.main_thread() for thread in state.threads]
    assert ["long", "short", "last"] * 2 == order


def test_a_state_manager_that_fails_costs_a_run_nothing():
    """On the caller's thread too, where it is asked directly."""
    state, order = Slow(RuntimeError("no database")), []
    state.go_on.set()
    with Orchestrator(state, async_workers=1) as orchestrator:
        result = orchestrator.run(two_branches(order))

    assert ("completed", 1) == (result.status, len(state.threads))

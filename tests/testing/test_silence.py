"""A search that could not simulate anything is no proof, and says so."""

from __future__ import annotations

import asyncio
import pickle
import warnings

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.testing import (
    LawBroken,
    NothingExplored,
    Script,
    explore,
    explore_scenarios,
    law,
    real,
    returns,
)
from actorflow.testing.search import search as searching
from actorflow.testing.simulation.checks import Doubts
from actorflow.testing.soak import main
from tests.support.brain import flow, task

pytestmark = pytest.mark.filterwarnings("ignore::actorflow.ActorflowWarning")

REAL = Script(default=real(after=None))


async def thread():
    """Ask for a thread, which a simulation does not have."""
    await asyncio.to_thread(print)


async def sometimes(ctx):
    """Ask for a thread in the first attempt only."""
    if ctx.attempt == 1:
        await asyncio.to_thread(print)


def asking(**options):
    """A step that asks for a thread."""
    return Step("ask", thread, async_=True, **options)


@law
def never_mind(trace):
    """A run has a result."""
    assert trace.runs


@pytest.mark.parametrize(
    ("workflow", "options"),
    [
        (flow(asking()), {}),
        (flow(asking(retry=RetryPolicy(max_attempts=3))), {}),
        (flow(asking()), {"timeout": 2.0}),
        (flow(asking(required=False)), {}),
        (flow(Step("plain", lambda: 1), asking(after="plain")), {}),
    ],
    ids=["one step", "retried", "with a deadline", "optional", "after another step"],
)
def test_a_search_that_simulated_nothing_says_so(workflow, options):
    """It has broken no law, and that means nothing."""
    found = explore(workflow, script=REAL, schedules=60, **options)

    assert found.broken is None
    assert str(found).splitlines()[-1].startswith("nothing was explored: step 'ask' fails")
    with pytest.raises(NothingExplored, match=r"(?s)any of 60 schedules: .*run_in_executor"):
        found.check()
    assert 0 == found.explored


def test_a_search_that_simulated_some_schedules_says_how_many():
    """The others are no proof of anything."""
    workflow = flow(Step("ask", sometimes, async_=True, retry=RetryPolicy(max_attempts=2)))
    partly = flow(
        Step("ask", sometimes, async_=True, retry=RetryPolicy(max_attempts=2), total_timeout=2.0)
    )

    every, some = (explore(one, script=REAL, schedules=60) for one in (workflow, partly))

    every.check()
    some.check()
    assert 60 == every.explored
    assert 0 < some.explored < 60
    said = f"no law broken, but only {some.explored} of 60 schedules explored anything: step 'ask'"
    assert str(some).splitlines()[-1].startswith(said)


def test_a_search_without_such_a_step_explored_every_schedule():
    """Also those in which a deadline passed before anything ended."""
    found = explore(flow(task("a")), script=Script(default=returns(after=5.0)), timeout=1.0)

    assert found.schedules == found.explored
    assert found.refusal is None
    assert str(found).endswith("\nno law broken")
    found.check()


def test_a_broken_law_comes_first():
    """It is the better answer."""

    @law
    def breaks(trace):
        """A run completes."""
        assert trace.result.status == "completed"

    with pytest.raises(LawBroken, match="breaks"):
        explore(flow(asking()), script=REAL, laws=[breaks]).check()


def test_the_error_survives_pickling():
    """As it must, to leave a worker process."""
    error = NothingExplored(3, "step 'a' fails")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - it was pickled here

    assert (str(error), 3) == (str(again), again.schedules)
    assert isinstance(error, AssertionError)


def test_a_soak_that_simulated_nothing_fails(monkeypatch, capsys):
    """Scenarios have no real steps: only a defect of the simulation could cause it."""

    class Refused(Doubts):
        """Counts every trace as refused."""

        explored = 0

        def note(self, trace):
            self.refusal = "nothing works"

    monkeypatch.setattr(searching, "Doubts", Refused)

    assert 1 == main(["--schedules", "4"])
    assert capsys.readouterr().out.endswith("nothing was explored: nothing works\n")


def test_scenarios_are_explored():
    """All of them."""
    found = explore_scenarios(schedules=40, laws=[never_mind])

    assert 40 == found.explored


def test_without_a_warning_there_is_still_an_error():
    """Warnings may be filtered out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explore(flow(asking()), script=REAL, schedules=3)

    with pytest.raises(NothingExplored):
        found.check()

"""Every way to search finds defects that are planted into the runtime, and makes them small.

Three defects of different kinds, each a few lines: one shows only when a timeout passes, one
only when steps have to wait for a lease, one only when mail is late. How many of a larger number
of defects are found, and how fast, is the subject of the tests of mutants.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, settings

from actorflow.definition.retry import RetryPolicy
from actorflow.scheduling.decisions import Decisions
from actorflow.scheduling.starts import Starts
from actorflow.testing import Script, explore, explore_scenarios, laws, raises, returns, simulate
from actorflow.testing.search.search import judged
from actorflow.testing.strategies import scenarios, tapes
from tests.support.brain import flow, task

pytestmark = pytest.mark.slow

release = Starts.release
find_attempt = Decisions._find


def leak_a_lease(self, run, step):
    """Give no lease back for an attempt that was stopped because of an error."""
    release(self, run, step)
    if step.stop_error is not None and step.step.async_:
        self._workers.free -= 1


def grant_nothing(self):
    """Let those who wait for a lease wait on."""


def accept_what_is_late(self, attempt):
    """Take the result of an attempt that is over for a result of its step, until that has ended."""
    found = find_attempt(self, attempt)
    run = self.runs.get(attempt.scope.run_id)
    if found is None and run is not None and not run.steps[attempt.step_id].status.settled:
        return run, run.steps[attempt.step_id]
    return found


DEFECTS = {
    "a leaked lease": (Starts, "release", leak_a_lease),
    "nothing is granted": (Starts, "grant", grant_nothing),
    "late results count": (Decisions, "_find", accept_what_is_late),
}
DIAMOND = flow(
    task("fetch", retry=RetryPolicy(max_attempts=2), timeout=2.0),
    task("left", "fetch"),
    task("middle", "fetch"),
    task("right", "fetch", timeout=5.0),
    task("join", "left", "middle", "right"),
)
SCRIPT = Script({"fetch": [raises(OSError, after=None), returns(after=None)]})
HYPOTHESIS = settings(
    max_examples=3000,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(params=DEFECTS)
def defect(request, monkeypatch):
    """The name of a defect that is there now."""
    monkeypatch.setattr(*DEFECTS[request.param])
    return request.param


def broken_by(trace):
    """How a trace breaks the laws, or None."""
    return judged(laws.ALL, trace)


@pytest.mark.parametrize("seed", range(3))
def test_a_search_over_a_workflow_finds_it(defect, seed):
    """In a workflow at hand."""
    exploration = explore(DIAMOND, script=SCRIPT, schedules=2000, seed=seed)

    assert exploration.broken is not None
    assert exploration.failure.tape.deviations <= 10
    assert broken_by(simulate(DIAMOND, script=SCRIPT, tape=exploration.failure.tape))


@pytest.mark.parametrize("seed", range(3))
def test_a_search_over_scenarios_finds_it(defect, seed):
    """And makes the scenario small: it takes few steps to see any of them."""
    exploration = explore_scenarios(schedules=2000, seed=seed)

    assert exploration.broken is not None
    assert exploration.case.size <= 4
    assert exploration.shrunk_by <= 4000
    assert broken_by(exploration.case.simulate(exploration.failure.tape))


def test_hypothesis_finds_it_in_a_workflow(defect):
    """By drawn tapes alone."""
    tape = find(
        tapes(),
        lambda tape: broken_by(simulate(DIAMOND, script=SCRIPT, tape=tape)) is not None,
        settings=HYPOTHESIS,
    )

    assert simulate(DIAMOND, script=SCRIPT, tape=tape).tape.deviations <= 14


def test_hypothesis_finds_it_in_scenarios():
    """By drawn scenarios and the plainest schedule, where it takes no more."""
    for name in ("a leaked lease", "nothing is granted"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*DEFECTS[name])
            one = find(
                scenarios(),
                lambda one: broken_by(one.simulate()) is not None,
                settings=HYPOTHESIS,
            )

            assert one.size <= 4


def test_without_a_defect_nothing_is_found():
    """Neither in the workflow nor in scenarios."""
    explore(DIAMOND, script=SCRIPT, schedules=1000).check()
    explore_scenarios(schedules=1000).check()

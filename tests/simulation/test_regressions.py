"""Defects that the laws have found in the runtime: the schedules that show them, kept.

Each is a scenario and a tape, made small by the search. It keeps all laws now. With the mistake
planted again it breaks the law that it broke then: so long as that is so, it shows something.
"""

from __future__ import annotations

import heapq
from functools import partial

import pytest

from actorflow.actors import supervisor
from actorflow.actors.supervisor import Supervisor
from actorflow.model.lifecycle import StepStatus
from actorflow.scheduling.decisions import Decisions
from actorflow.scheduling.queues import ReadyQueue
from actorflow.testing import Faults, Scenario, ScenarioRun, ScenarioStep, Settings, Tape, laws
from tests.support.doctored_traces import broken
from tests.support.mutants import shown_by

REGRESSIONS = []


regression = partial(shown_by, REGRESSIONS)


@regression(
    2,
    Scenario(
        steps=(ScenarioStep(id="a"), ScenarioStep(id="b", async_=True)),
        settings=Settings(faults=Faults(crashes=2)),
    ),
    Tape({"crash": (3, 1), "deliver": (1, 0, 1, 1)}),
    Decisions,
    "_step_ready",
)
def a_dead_actor_was_listened_to(ready, brain, message):
    """A step is ready, says one of its actors that has died since: its attempt went nowhere."""
    message.incarnation = brain.runs[message.run_id].steps[message.step_id].incarnation
    ready(brain, message)


@regression(
    10,
    Scenario(
        steps=(ScenarioStep(id="c", on_thread=True, retry="once", timeout=5.0),),
        runs=(ScenarioRun(cancels=(0.0,)), ScenarioRun()),
        settings=Settings(faults=Faults(poisons=1)),
    ),
    Tape(
        {
            "deliver": (1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1),
            "poison": (2,),
        }
    ),
    Decisions,
    "_attempt_lost",
)
def the_wrong_attempt_was_lost(_lose, brain, message):
    """The actor could not handle one, which was over already."""
    run = brain.runs[message.attempt.scope.run_id]
    brain._replace(run, run.steps[message.attempt.step_id], message.details)


@regression(
    19,
    Scenario(
        steps=(
            ScenarioStep(id="a", async_=True, retry="once", does=("raises",)),
            ScenarioStep(
                id="b",
                async_=True,
                required=False,
                retry="once",
                total_timeout=3.0,
                does=("raises",),
            ),
        ),
        runs=(ScenarioRun(), ScenarioRun()),
        settings=Settings(async_workers=1),
    ),
    Tape({"deliver": (0, 0, 0, 1), "jitter": (2,)}),
    ReadyQueue,
    "pop",
)
def a_step_that_had_ended_took_its_runs_turn(_pop, queue):
    """It waited for a lease when its time was up, and was passed over: a turn for nothing."""
    while queue.order:
        level = queue._levels[queue.order[0]]
        run_id, line = next(iter(level.items()))
        step = line.steps.popleft()
        level.move_to_end(run_id)
        if not line.steps:
            del level[run_id]
        if not level:
            del queue._levels[heapq.heappop(queue.order)]
        if step.status is StepStatus.READY:
            return line.run, step
    return None


@regression(
    31,
    Scenario(
        steps=(ScenarioStep(id="a"),),
        settings=Settings(faults=Faults(cancels=1, store_failures=1, store_stalls=1)),
    ),
    Tape({"cancel": (1,), "deliver": (1, 1), "store fails": (2,), "store stalls": (1,)}),
    Supervisor,
    "_go_on",
)
def an_end_overtook_a_beginning(go_on, actor):
    """A write failed while the one before it stalled: the run ended before it had its actors."""
    last = actor._held[-1]
    if last.error is not None:
        actor._held.pop()
        actor._give_up(last.events, last.effects, last.error)
    go_on(actor)


@regression(
    18,
    Scenario(
        steps=(ScenarioStep(id="b"), ScenarioStep(id="c", after=("b",))),
        runs=(ScenarioRun(), ScenarioRun(at=2.0)),
        settings=Settings(faults=Faults(crashes=1, store_failures=1)),
    ),
    Tape({"crash": (5,), "deliver": (0, 0, 0, 0, 0, 0, 0, 1), "store fails": (4,)}),
    supervisor,
    "is_of_another",
)
def a_failed_write_of_one_run_stopped_another(_is, *_effect):
    """Both were decided upon together, and the other one had nothing to record."""
    return False


@pytest.mark.parametrize(("number", "scenario", "tape", "mistake"), REGRESSIONS)
def test_a_schedule_that_showed_a_defect_keeps_the_laws(
    number, scenario, tape, mistake, monkeypatch
):
    """Until the mistake is made again."""
    laws.check(scenario.simulate(tape))

    mistake.plant(monkeypatch)
    assert number in broken(scenario.simulate(tape))

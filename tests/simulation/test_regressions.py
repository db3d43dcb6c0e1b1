"""Defects that the laws have found in the runtime: the schedules that show them, kept.

Each is a scenario and a tape, made small by the search. It keeps all laws now. With the mistake
planted again it breaks the law that it broke then: so long as that is so, it shows something.
"""

from __future__ import annotations

import heapq
from functools import partial

import pytest

from actorflow.actors import supervisor
from actorflow.actors.step import StepActor
from actorflow.actors.supervisor import Supervisor
from actorflow.model.lifecycle import StepStatus
from actorflow.model.messages import Execute
from actorflow.scheduling.queues import ReadyQueue
from actorflow.testing import Faults, Scenario, ScenarioRun, ScenarioStep, Settings, Tape, laws
from tests.support.doctored_traces import broken
from tests.support.mutants import shown_by

REGRESSIONS = []


regression = partial(shown_by, REGRESSIONS)


@regression(
    2,
    Scenario(
        steps=(ScenarioStep(id="b", async_=True),),
        settings=Settings(faults=Faults(crashes=1)),
    ),
    Tape({"crash": (2,), "deliver": (0, 1)}),
    Supervisor,
    "_is_believed",
)
def a_dead_actor_was_listened_to(_is, _actor, _message, _sender):
    """A run's former actor has told where its steps live, and has died since."""
    return True


@regression(
    2,
    Scenario(
        steps=(
            ScenarioStep(id="a", async_=True),
            ScenarioStep(id="b", after=("a",), async_=True),
            ScenarioStep(id="c", after=("a",), async_=True),
        ),
        settings=Settings(faults=Faults(poisons=2)),
    ),
    Tape({"deliver": (0, 0, 0, 0, 0, 1, 2, 2), "poison": (2, 1)}),
    Supervisor,
    "_broken",
)
def a_second_broken_actor_was_not_found(_find, actor, message):
    """The addresses of the run's steps were not known, because the first one was replaced."""
    for run_id, run in actor._brain.runs.items():
        if run.addresses is not None and message.address in run.addresses.values():
            actor.send(actor._run_actors[run_id], message)
            return True
    return False


@regression(
    2,
    Scenario(
        steps=(
            ScenarioStep(id="a", async_=True),
            ScenarioStep(id="b", after=("a",), async_=True, retry="at once", timeout=1.0),
        ),
        settings=Settings(faults=Faults(crashes=1, delays=2)),
    ),
    Tape(
        {
            "crash": (2,),
            "delay": (10,),
            "deliver": (1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2),
            "withhold": (4,),
        }
    ),
    StepActor,
    "receiveMessage",
)
def a_late_grant_displaced_the_next(receive, actor, message, sender):
    """An attempt had been stopped before its grant arrived, behind that of the next attempt."""
    receive(actor, message, sender)
    if isinstance(message, Execute):
        attempt = message.attempt
        if len(actor._outputs) < len(attempt.plan.dependencies):
            actor._granted = attempt


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
            ScenarioStep(id="c", async_=True),
        ),
        runs=(ScenarioRun(), ScenarioRun()),
        settings=Settings(async_workers=1),
    ),
    Tape({"jitter": (2,), "take b#1": (1,), "take run-2/a#1": (1,), "take run-2/c#1": (3,)}),
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
        steps=(ScenarioStep(id="a", async_=True),),
        runs=(ScenarioRun(), ScenarioRun()),
        settings=Settings(
            async_workers=1, faults=Faults(cancels=1, store_failures=1, store_stalls=1)
        ),
    ),
    Tape(
        {
            "cancel": (4,),
            "deliver": (1, 1, 1, 0, 3, 3, 1, 2, 2, 2, 2, 2, 3, 3),
            "store fails": (3,),
            "store stalls": (2,),
        }
    ),
    Supervisor,
    "_go_on",
)
def an_end_overtook_a_beginning(go_on, actor):
    """A write failed while the one before it stalled: the run ended before it had its actors."""
    last = actor._held[-1]
    if last.error is not None:
        actor._held.pop()
        actor._give_up(last, last.error)
    go_on(actor)


@regression(
    18,
    Scenario(
        steps=(ScenarioStep(id="b"), ScenarioStep(id="c", after=("b",))),
        runs=(ScenarioRun(), ScenarioRun(at=2.0)),
        settings=Settings(faults=Faults(store_failures=1)),
    ),
    Tape({"deliver": (0, 0, 1, 0, 0, 0, 0, 0, 1), "store fails": (2,)}),
    supervisor,
    "is_of_another",
)
def a_failed_write_of_one_run_stopped_another(_is, *_effect):
    """Both were decided upon together, and the other one had nothing to record."""
    return False


@regression(
    2,
    Scenario(
        steps=(
            ScenarioStep(id="a", async_=True, undo=("raises", "returns")),
            ScenarioStep(id="b", does=("raises another",)),
            ScenarioStep(id="c", after=("b",)),
        ),
        settings=Settings(faults=Faults(poisons=1, pauses=1, store_failures=1)),
    ),
    Tape({"pause": (15,), "poison": (3,), "store fails": (4,)}),
    Supervisor,
    "_take_back",
)
def a_grant_that_was_repeated_was_lost(take_back, actor, attempt, lost):
    """To a compensator whose actor had died; the write of the same decision failed."""
    if not attempt.compensates:
        take_back(actor, attempt, lost)


@pytest.mark.parametrize(("number", "scenario", "tape", "mistake"), REGRESSIONS)
def test_a_schedule_that_showed_a_defect_keeps_the_laws(
    number, scenario, tape, mistake, monkeypatch
):
    """Until the mistake is made again."""
    laws.check(scenario.simulate(tape))

    mistake.plant(monkeypatch)
    assert number in broken(scenario.simulate(tape))


# ── Laws that asked too much ─────────────────────────────────────────────────────────────────


def choices(digits):
    """Return choices from their digits."""
    return tuple(map(int, digits))


EXCUSED = [
    pytest.param(
        Scenario(
            steps=(
                ScenarioStep(id="b", waits="ends waiting", children="runs two"),
                ScenarioStep(id="c", after=("b",), does=("raises",)),
            ),
            runs=(ScenarioRun(), ScenarioRun()),
            child=(ScenarioStep(id="d", undo=("returns",)),),
            settings=Settings(async_workers=10, max_active_runs=1),
        ),
        Tape(
            {
                "deliver": choices(
                    "100110111000101211210101121010001102210101111111021110110022100010010101100002201111101011110023000102020110000101011"
                ),
                "take run-2/b#1": (0, 0, 0, 2),
                "take undo of run-2.b.1/d#1": (1,),
                "wait b#1": (2,),
            }
        ),
        id="a run took its place back while one that is undone had got it",
    ),
    pytest.param(
        Scenario(
            steps=(
                ScenarioStep(id="b", does=("raises",), children="starts and runs"),
                ScenarioStep(id="c", children="starts and runs"),
            ),
            child=(ScenarioStep(id="f"),),
        ),
        Tape(
            {
                "deliver": choices("1100000000000000000000232222222222222222202223022211211111"),
                "take c#1": (0, 1),
                "take run-1.b.2/f#1": (3,),
                "take run-1.c.1/f#1": (1,),
            }
        ),
        id="two children ended after their parent had asked for their ends",
    ),
    pytest.param(
        Scenario(
            steps=(
                ScenarioStep(id="a", children="runs two"),
                ScenarioStep(id="b", after=("a",)),
                ScenarioStep(id="c", after=("b",)),
            ),
            runs=(ScenarioRun(cancels=(0.0,)), ScenarioRun(cancels=(2.0,), undone=True)),
            child=(
                ScenarioStep(id="e", undo=("raises", "returns")),
                ScenarioStep(id="d", async_=True, on_thread=True, children="starts and runs"),
            ),
            settings=Settings(async_workers=10, faults=Faults(store_failures=1)),
        ),
        Tape({"store fails": (15,)}),
        id="the record of a child ended early while it was undone",
    ),
    pytest.param(
        Scenario(
            steps=(ScenarioStep(id="b", async_=True), ScenarioStep(id="a", async_=True)),
            runs=(ScenarioRun(), ScenarioRun(cancels=(1.0,), resumes=(8.0, 20.0))),
            settings=Settings(async_workers=1, faults=Faults(delays=2, pauses=1, handovers=1)),
        ),
        Tape(
            {
                "delay": (4,),
                "deliver": choices("10000000212313220033"),
                "hand over": (12,),
                "pause": (8,),
            }
        ),
        id="a run was resumed twice and left twice, within one message",
    ),
]


@pytest.mark.parametrize(("scenario", "tape"), EXCUSED)
def test_a_schedule_that_broke_a_law_which_asked_too_much_keeps_it(scenario, tape):
    """The runtime was right."""
    laws.check(scenario.simulate(tape))

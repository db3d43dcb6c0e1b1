"""Mistakes that few schedules show: the laws know them when one of those comes by.

Each is planted, as in `mutants`, but the search finds it from some seeds only. So the schedule
is kept that shows it.
"""

from __future__ import annotations

import heapq
from functools import partial

import pytest

from actorflow.scheduling.compensations import Compensations
from actorflow.scheduling.endings import Endings
from actorflow.scheduling.ledger import RunState
from actorflow.scheduling.queues import RunQueue, SyncLane
from actorflow.scheduling.starts import Starts
from actorflow.testing import Faults, Scenario, ScenarioRun, ScenarioStep, Settings, Tape, laws
from tests.support.doctored_traces import broken
from tests.support.mutants import shown_by

RARE = []


rare = partial(shown_by, RARE)


@rare(
    1,
    Scenario(
        steps=(ScenarioStep(id="a"),),
        runs=(ScenarioRun(), ScenarioRun(cancels=(2.0,)), ScenarioRun(at=2.0)),
        settings=Settings(max_active_runs=1),
    ),
    Tape({"deliver": (1,)}),
    RunQueue,
    "forget",
)
def a_run_gives_back_a_place_that_it_never_had(forget, queue, run):
    """It was cancelled while it waited for one."""
    forget(queue, run)
    queue.release()


@rare(
    16,
    Scenario(
        steps=(
            *(ScenarioStep(id=name) for name in ("busy", "short", "waits")),
            ScenarioStep(id="gate", async_=True),
            ScenarioStep(id="long", after=("gate",), expected=5.0),
        ),
        order="critical_path",
    ),
    Tape(),
    SyncLane,
    "push",
)
def the_lane_ignores_the_way(push, lane, step, level, _way):
    """It ranks by priority and readiness alone."""
    push(lane, step, level, 0.0)


@rare(
    19,
    Scenario(
        steps=(ScenarioStep(id="a", async_=True), ScenarioStep(id="b", after=("a",), async_=True)),
        runs=(ScenarioRun(), ScenarioRun(at=0.5)),
        settings=Settings(async_workers=1, ageing=1.0),
    ),
    Tape(),
    Starts,
    "_rank",
)
def waiting_counts_from_the_start_of_the_run(rank, starts):
    """So the steps of an old run pass all others, whenever they became ready."""
    if starts._ageing is None:
        rank(starts)
        return
    ranks = {run: run.rank for _, _, _, run, _ in starts._ready}
    for run in ranks:
        run.rank -= (starts._outbox.wall - run.started_at) / starts._ageing
    rank(starts)
    for run, before in ranks.items():
        run.rank = before


@rare(
    19,
    Scenario(
        steps=(ScenarioStep(id="a", async_=True),),
        runs=(ScenarioRun(), ScenarioRun(), ScenarioRun(at=0.75, priority=1)),
        settings=Settings(async_workers=1, ageing=0.5),
    ),
    Tape(),
    Starts,
    "_level",
)
def a_wait_counts_for_nothing(level, starts, run, step):
    """A step of a higher priority passes those that have waited for longer than it is worth."""
    _, _ = level(starts, run, step)
    return 0, run + step


@rare(
    16,
    Scenario(
        steps=(ScenarioStep(id="a", async_=True),),
        runs=(ScenarioRun(), ScenarioRun(), ScenarioRun(at=0.75, priority=2)),
        settings=Settings(async_workers=1, ageing=0.5),
    ),
    Tape(),
    Starts,
    "_level",
)
def a_priority_counts_for_nothing(level, starts, run, step):
    """A step of a higher priority waits although no other has waited for so long."""
    _, key = level(starts, run, step)
    return 0, key - run - step


@rare(
    16,
    Scenario(
        steps=(ScenarioStep(id="a"),),
        runs=(ScenarioRun(), ScenarioRun(at=1.0, priority=1), ScenarioRun()),
        settings=Settings(max_active_runs=1),
    ),
    Tape({"deliver": (1,)}),
    RunQueue,
    "push",
)
def runs_get_places_whatever_their_priority(_push, queue, run):
    """In the order in which they were asked for."""
    queue._arrivals += 1
    heapq.heappush(queue._waiting, (0, queue._arrivals, run))


@rare(
    22,
    Scenario(
        steps=(
            ScenarioStep(id="a", undo=("raises", "returns")),
            ScenarioStep(id="b", undo=("does anything",)),
            ScenarioStep(id="c", does=("raises",)),
        ),
        settings=Settings(faults=Faults(restarts=1)),
    ),
    Tape({"restart": (20,)}),
    RunState,
    "_can_undo",
)
def a_resumed_run_forgets_the_order_of_completion(can_undo, run, step_ids):
    """It undoes in the order of names."""
    can_undo(run, sorted(step_ids, reverse=True))


@rare(
    32,
    Scenario(
        steps=(
            ScenarioStep(id="b", undo=("returns",)),
            ScenarioStep(id="c", total_timeout=2.0, does=("holds on",)),
        ),
        runs=(ScenarioRun(cancels=(2.0,), grace=0.0, undone=True), ScenarioRun(at=2.0)),
    ),
    Tape(),
    Endings,
    "give_grace",
)
def a_shutdown_has_to_wait_for_what_is_stopping(_give, ends, run, grace):
    """An attempt that was asked to stop before keeps the grace that it had."""


@rare(
    32,
    Scenario(
        steps=(ScenarioStep(id="a", undo=("hangs",)), ScenarioStep(id="b", timeout=5.0)),
        runs=(ScenarioRun(cancels=(2.0,), grace=1.0, undone=True),),
    ),
    Tape(),
    Compensations,
    "cut",
)
def a_shutdown_has_to_wait_for_an_undoing(_cut, undoings, run):
    """However long that takes."""


@pytest.mark.parametrize(("number", "scenario", "tape", "mistake"), RARE)
def test_a_schedule_that_shows_a_mistake_breaks_its_law(
    number, scenario, tape, mistake, monkeypatch
):
    """And none without it."""
    laws.check(scenario.simulate(tape))

    mistake.plant(monkeypatch)
    assert number in broken(scenario.simulate(tape))


# ── Graces that laws have once miscounted ────────────────────────────────────────────────────


def test_a_grace_that_is_given_again_counts_from_then():
    """So a run may take longer than the first of its cancellations would leave to it."""
    holds_on = Scenario(
        steps=(ScenarioStep(id="e", does=("holds on",)),),
        runs=(ScenarioRun(cancels=(1.0, 3.0), grace=8.0),),
        settings=Settings(faults=Faults(cancels=1)),
    )
    trace = holds_on.simulate(Tape({"cancel": (4,)}))

    laws.check(trace)
    assert 11.0 == trace.result.finished_at


def test_a_compensator_that_is_cut_is_not_tried_again():
    """Not even if its own time is over at that very moment."""
    cut = Scenario(
        steps=(
            ScenarioStep(id="a", on_thread=True, retry="once", timeout=1.0, undo=("hangs",)),
            ScenarioStep(id="b", does=("raises",)),
        ),
        runs=(ScenarioRun(cancels=(2.0,), grace=0.0),),
    )
    trace = cut.simulate(Tape({"take a#1": (1,)}))

    laws.check(trace)
    assert 1 == len(trace.compensations)

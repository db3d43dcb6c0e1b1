"""The laws of undoing: kept by actorflow in every schedule, and broken by every planted fault."""

from __future__ import annotations

import random

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.scheduling.compensations import Compensations
from actorflow.scheduling.endings import Endings
from actorflow.scheduling.ledger import RunState
from actorflow.testing import Faults, Script, Simulation, either, hangs, laws, raises, returns
from tests.support.brain import flow, nothing, step, task

RETRIED = RetryPolicy(max_attempts=3, initial_interval=1.0, jitter=0.0)
FAULTS = (
    Faults(),
    Faults(crashes=2, poisons=1, duplicates=2, delays=3, late_results=1),
    Faults(crashes=1, duplicates=1, delays=1, cancels=1, restarts=2),
    Faults(restarts=1, store_failures=1, store_stalls=2),
)


async def coroutine():
    """The function of a coroutine step that nobody calls."""


UNDO = Step("undo", coroutine, async_=True, retry=RETRIED, timeout=4.0)
SAGA = flow(
    task("a", compensate=UNDO, timeout=4.0, retry=RETRIED),
    Step("b", coroutine, after="a", async_=True, compensate=nothing, timeout=4.0),
    task("plain", "a", timeout=4.0),
    task("c", "a", compensate=UNDO, timeout=4.0),
    step("d", "b", "c", compensate=nothing, timeout=4.0),
    step("last", "d", "plain", timeout=4.0),
)
SCRIPT = Script(
    {"last": raises(ValueError("no"), after=None)},
    compensators={
        name: either(returns(after=None), raises(OSError, after=None), hangs()) for name in "ac"
    },
    default=returns(after=None),
)


def traced(seed):
    """Two runs that fail, on a schedule of its own."""
    faults = FAULTS[seed % len(FAULTS)]
    with Simulation(script=SCRIPT, tape=random.Random(seed), faults=faults) as simulation:
        simulation.start(SAGA)
        simulation.start(SAGA)
        if seed % 7 == 1:
            simulation.cancel_at(6.0, "run-1")
        simulation.run_until_quiet()
        return simulation.trace()


@pytest.mark.parametrize("seed", range(100))
def test_runs_that_are_undone_keep_all_laws(seed):
    """Those of undoing, and all others."""
    trace = traced(seed)

    laws.check(trace)


def test_compensators_are_run_in_these_schedules():
    """In all the ways that they can go."""
    kinds = {event.kind.value for seed in range(100) for event in traced(seed).events}

    assert {
        "run.compensating",
        "compensation.started",
        "compensation.retrying",
        "compensation.timed_out",
        "compensation.abandoned",
        "compensation.completed",
        "compensation.failed",
    } <= kinds


# ── Planted faults ───────────────────────────────────────────────────────────────────────────


def in_any_order(monkeypatch):
    """Undo what was completed first first."""
    undo = Compensations.undo

    def wrong(self, run):
        if run.undoing is None and run.undoable:
            run.undoable.reverse()
        return undo(self, run)

    monkeypatch.setattr(Compensations, "undo", wrong)


def only_the_last(monkeypatch):
    """Forget all but one."""
    begin = Compensations._begin

    def wrong(self, run, steps):
        begin(self, run, steps)
        del run.undoable[:-1]

    monkeypatch.setattr(Compensations, "_begin", wrong)


def never(monkeypatch):
    """Undo nothing."""
    monkeypatch.setattr(Compensations, "undo", lambda _self, _run: False)


def in_another_order_after_a_crash(monkeypatch):
    """Go on from the wrong end."""
    go_on = RunState._go_on_undoing

    def wrong(self, recorded):
        go_on(self, recorded)
        self.undoable.reverse()

    monkeypatch.setattr(RunState, "_go_on_undoing", wrong)


def too_early(monkeypatch):
    """Take what is asked to stop for what has stopped."""
    stop = Endings.stop

    def wrong(self, run, step, error):
        stop(self, run, step, error)
        if run.ending and step.undoes is None and step.current is not None:
            run.in_flight -= 1
            run.unsettled -= 1

    monkeypatch.setattr(Endings, "stop", wrong)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (in_any_order, {laws.compensations_run_backwards}),
        (only_the_last, {laws.compensations_happen_once}),
        (never, {laws.compensations_happen_once}),
        (in_another_order_after_a_crash, {laws.compensations_run_backwards}),
        (too_early, {laws.compensations_run_backwards}),
    ],
)
def test_a_planted_fault_breaks_a_law(monkeypatch, plant, expected):
    """Within a hundred schedules."""
    plant(monkeypatch)
    broken = {law for seed in range(100) for law in broken_by(traced(seed))}

    assert expected & broken


def broken_by(trace):
    """The laws that a trace breaks."""
    for law in laws.ALL:
        try:
            law.check(trace)
        except laws.LawBroken:
            yield law

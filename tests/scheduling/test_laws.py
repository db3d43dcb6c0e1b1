"""The brain keeps the laws on every drawn schedule, and every run ends.

The laws are in `tests.support.brain`, the schedules in `tests.support.brain_schedules`.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actorflow.model.lifecycle import RunStatus
from tests.support.brain import (
    COROUTINES,
    Driver,
    flow,
    step,
    task,
)
from tests.support.brain_schedules import (
    Schedule,
    compensators,
    rarely,
    runs,
    tapes,
    workflows,
)

pytestmark = pytest.mark.slow


def scheduled(drawn, tape, workers, places, *, kind=Schedule, **others):
    """Start the drawn runs and let the tape choose what becomes of them."""
    driver = Driver(workers=workers, places=places, posted=True, **others)
    for number, (workflow, priority, place) in enumerate(drawn):
        executors = dict.fromkeys(workflow.steps, place)
        driver.start(
            workflow,
            f"run {number}",
            priority=priority,
            executors=executors,
            compensators=executors,
            settle=False,
        )
    kind(driver, tape).run()
    return driver


@settings(max_examples=400)
@given(
    runs,
    tapes,
    st.integers(1, 3),
    st.integers(1, 2),
    st.fixed_dictionaries(
        {
            "unit": st.sampled_from([0.0, 0.5, 1.0]),
            "recording": st.booleans(),
            "ageing": st.sampled_from([None, 2.0, 0.5]),
        }
    ),
)
def test_every_schedule_keeps_the_laws_and_ends(drawn, tape, workers, places, others):
    """Leases, lanes, order, attempts, timeouts, terminal events, and no lost wake-up."""
    driver = scheduled(drawn, tape, workers, places, **others)

    assert len(drawn) == len(driver.results)
    driver.laws.at_rest()


class Waiting(Schedule):
    """A schedule in which bodies often wait."""

    def _moves(self):
        moves = super()._moves()
        return [*moves, *[self._suspend] * 3] if moves and self.driver.in_flight else moves


@settings(max_examples=400)
@given(
    runs, tapes, st.integers(1, 3), st.integers(1, 2), st.booleans(), st.sampled_from([None, 2.0])
)
def test_schedules_with_many_waits_keep_the_laws_and_end(  # noqa: PLR0917 - what is drawn
    drawn, tape, workers, places, recording, ageing
):
    """Workers, lanes and places are given back and taken again, each exactly once."""
    others = {"recording": recording, "ageing": ageing}
    driver = scheduled(drawn, tape, workers, places, kind=Waiting, **others)

    assert len(drawn) == len(driver.results)
    assert places == driver.brain.waiting.free
    driver.laws.at_rest()


@settings(max_examples=100)
@given(runs, tapes, st.integers(1, 3))
def test_equal_choices_give_equal_traces(drawn, tape, workers):
    """The brain draws nothing by itself, and asks no clock."""
    first, second = (scheduled(drawn, tape, workers, 2) for _ in range(2))

    assert [str(event) for event in first.events] == [str(event) for event in second.events]


@settings(max_examples=100)
@given(workflows(), tapes, tapes)
def test_a_run_that_failed_can_be_resumed_until_it_completes(workflow, tape, second_tape):
    """What completed or was skipped in one life does not run in the next."""
    driver = scheduled([(workflow, 0, COROUTINES)], tape, 2, 1)
    kept = {
        name
        for name, one in driver.results["run 0"].steps.items()
        if one.status in {"completed", "skipped"}
    }
    if driver.results["run 0"].status is not RunStatus.COMPLETED:
        before = len(driver.events)
        driver.resume(workflow, "run 0")
        Schedule(driver, second_tape).run()
        again = {one.step_id for one in driver.events[before:] if one.kind == "step.started"}

        assert not kept & again
    driver.laws.at_rest()


@given(st.integers(1, 4), st.lists(st.integers(1, 6), min_size=2, max_size=5))
@example(1, [6, 1, 1])
def test_equal_runs_take_turns(workers, sizes):
    """While several have ready steps, none is served twice before another is served once."""
    driver = Driver(workers=workers, places=99)
    for number, size in enumerate(sizes):
        driver.start(flow(*[task(f"s{n}") for n in range(size)]), f"run {number}")
    waiting = {f"run {n}": size for n, size in enumerate(sizes)}
    for run_id, _ in driver.in_flight:
        waiting[run_id] -= 1
    since = dict.fromkeys(waiting, 0)

    while driver.in_flight:
        run_id, step_id = next(iter(driver.in_flight))
        before = set(driver.in_flight)
        driver.end(step_id, run_id=run_id)
        for served, _ in set(driver.in_flight) - before:
            rivals = [rival for rival, left in waiting.items() if left and rival != served]
            waiting[served] -= 1
            since[served] = 0
            for rival in rivals:
                since[rival] += 1

                assert since[rival] <= len(sizes)


# ── Undoing ──────────────────────────────────────────────────────────────────────────────────


@st.composite
def sagas(draw):
    """A workflow of steps most of which can be undone, and a last one, for `Doomed`."""
    made = [
        draw(st.sampled_from([task, task, step]))(
            f"s{number}",
            *[f"s{n}" for n in range(number) if draw(rarely)],
            compensate=draw(compensators),
            required=draw(st.sampled_from([True, True, False])),
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    return flow(*made, step("last", *[one.id for one in made]), fail_fast=draw(st.booleans()))


class Doomed(Schedule):
    """A schedule in which few steps fail but for the last one, and compensators now and then."""

    def _moves(self):
        finish = [self._finish] * 5 if self.driver.in_flight else []
        return [*finish, *moves] if (moves := super()._moves()) else []

    def _report(self, key, attempt, error):
        doomed = self.choose([False, True]) if attempt.compensates else attempt.step_id == "last"
        super()._report(key, attempt, error or (ValueError("doomed") if doomed else None))


@settings(max_examples=200)
@given(sagas(), tapes, st.integers(1, 3))
def test_each_completed_step_that_can_be_undone_is_undone_once(saga, tape, workers):
    """In reverse order of completion, after all have stopped; and no other step is."""
    driver = Driver(workers=workers, posted=True)
    driver.start(saga, "run 0", settle=False)
    Doomed(driver, tape).run()
    told = [(one.kind.value, one.step_id) for one in driver.events]
    completed = [step_id for kind, step_id in told if kind == "step.completed"]
    undoable = [step_id for step_id in completed if saga.steps[step_id].compensate is not None]
    undone = [step_id for kind, step_id in told if kind in UNDOING_ENDS]

    result = driver.results["run 0"]
    if result.status is RunStatus.FAILED and "run 0" not in driver.cut:
        assert undoable[::-1] == undone == [*result.compensations]
    if "run.compensating" in {kind for kind, _ in told}:
        place = told.index(("run.compensating", None))
        assert "step" not in {kind.partition(".")[0] for kind, _ in told[place:]}
    driver.laws.at_rest()


UNDOING_ENDS = frozenset({"compensation.completed", "compensation.failed"})


@settings(max_examples=200)
@given(sagas(), tapes, st.integers(1, 12), tapes)
def test_a_crash_after_any_event_is_gone_on_from(saga, tape, lost, second_tape):
    """From nothing but the events that were recorded before it, those of undoing among them."""
    driver = Driver(workers=2, posted=True)
    driver.start(saga, "run 0", settle=False)
    Doomed(driver, tape).run()
    del driver.events[max(1, len(driver.events) - lost) :]
    before = [(one.kind.value, one.step_id) for one in driver.events]
    undoing = ("run.compensating", None) in before
    driver.crash()
    driver.results.clear()
    driver.resume(saga, "run 0")
    Doomed(driver, second_tape).run()
    after = [(one.kind.value, one.step_id) for one in driver.events[len(before) :]]

    assert 1 == len(driver.results)
    if undoing:
        over = {step_id for kind, step_id in before if kind in UNDOING_ENDS}
        assert not over & {step_id for _, step_id in after}
        assert "step.started" not in {kind for kind, _ in after}
    driver.laws.at_rest()

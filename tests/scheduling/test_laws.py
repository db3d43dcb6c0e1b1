"""Whatever happens, in whatever order: the brain keeps the laws, and every run ends.

Hypothesis draws workflows, and a tape of integers that chooses what happens next. Nought is
the plainest choice, and past its end the tape reads nought, so that every example ends.
The laws themselves are in `tests.support.brain`.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.running import GiveUp, RetryAfter
from actorflow.model.lifecycle import RunStatus
from actorflow.model.messages import AttemptFinished, AttemptLost, BlockedLoop, CancelRun, Wake
from tests.support.brain import (
    COROUTINES,
    THREADS,
    Driver,
    cancelled_error,
    flow,
    nothing,
    step,
    task,
)

pytestmark = pytest.mark.slow

MOST = 3_000
"""Messages after which a schedule counts as endless; the longest takes a few hundred."""

rarely = st.sampled_from([False, False, False, True])
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(2, 4),
    initial_interval=st.sampled_from([1.0, 5.0]),
    jitter=st.sampled_from([0.0, 0.5]),
    retryable_errors=st.sampled_from([(), (ValueError, "StepTimeout", "ActorCrashed")]),
)


compensators = st.one_of(
    st.none(),
    st.just(nothing),
    st.builds(
        Step,
        st.just("undo"),
        st.just(nothing),
        async_=st.booleans(),
        retry=st.one_of(policies, st.none()),
        timeout=st.sampled_from([None, 2.0]),
        total_timeout=st.sampled_from([None, 7.0, 4.0]),
    ),
)


@st.composite
def workflows(draw):
    """A workflow of up to six steps, with all that the brain cares about."""
    steps = []
    for number in range(draw(st.integers(1, 6))):
        after = [f"s{n}" for n in range(number) if draw(rarely)]
        make = draw(st.sampled_from([task, task, step]))
        steps.append(
            make(
                f"s{number}",
                *after,
                priority=draw(st.sampled_from([0, 0, 1, -1])),
                required=draw(st.booleans()),
                retry=draw(st.one_of(policies, st.none(), policies)),
                timeout=draw(st.sampled_from([None, None, 2.0])),
                total_timeout=draw(st.sampled_from([None, 7.0, 4.0])),
                compensate=draw(compensators),
            )
        )
    return flow(
        *steps,
        fail_fast=draw(st.booleans()),
        timeout=draw(st.sampled_from([None, 2.0, 6.0])),
    )


runs = st.lists(
    st.tuples(workflows(), st.integers(0, 1), st.sampled_from([COROUTINES, THREADS])),
    min_size=1,
    max_size=3,
)
# Blocks of one size find faults many times faster than lists that Hypothesis grows.
tapes = st.one_of(*[st.binary(min_size=size, max_size=size) for size in (0, 16, 64, 160)])


class Schedule:
    """One way in which everything can happen, chosen by a tape."""

    def __init__(self, driver, tape):
        self.driver = driver
        self._tape = iter(tape)
        self._ended = []
        self._stale = []

    def choose(self, options):
        """Take one of the options; the first is the plainest."""
        return options[next(self._tape, 0) % len(options)]

    def run(self):
        """Let things happen until nothing can."""
        for _ in range(MOST):
            moves = self._moves()
            if not moves:
                break
            self.choose(moves)()
        else:
            raise AssertionError("the schedule does not end")

    def _moves(self):
        driver = self.driver
        if not (driver.brain.runs or driver.pending):
            return []
        moves = []
        if driver.pending:
            moves += [self._deliver_first, self._deliver_any]
        if driver.in_flight:
            moves += [self._finish, self._fail, self._fail]
        if driver.brain.deadlines.earliest < float("inf"):
            moves += [self._next_deadline, self._oversleep, self._let_time_pass]
        assert moves, "every attempt has ended, nothing is under way, and a run has not ended"
        return [*moves, self._disturb]

    def _disturb(self):
        again, lose = self._say_again, self._lose
        self.choose([lose, again, self._block, again, lose, self._cancel])()

    def _deliver_first(self):
        self.driver.say(self.driver.pending.pop(0))

    def _deliver_any(self):
        pending = self.driver.pending
        self.driver.say(pending.pop(self.choose(range(len(pending)))))

    def _finish(self):
        key, attempt = self._one_in_flight()
        error = cancelled_error(attempt) if attempt.cancelled else None
        self._report(key, attempt, error)

    def _fail(self):
        key, attempt = self._one_in_flight()
        others = [KeyError("k"), RetryAfter(3), GiveUp("g"), SystemExit(), None]
        self._report(key, attempt, self.choose([*[ValueError("v")] * 5, *others]))

    def _one_in_flight(self):
        return self.choose(list(self.driver.in_flight.items()))

    def _report(self, key, attempt, error):
        del self.driver.in_flight[key]
        finished = AttemptFinished(attempt, f"output of {key}", error)
        self._ended.append(finished)
        self.driver.pending.append(finished)

    def _next_deadline(self):
        self.driver.now = max(self.driver.now, self.driver.brain.deadlines.earliest)
        self.driver.say(Wake())

    def _oversleep(self):
        self.driver.now = max(self.driver.now, self.driver.brain.deadlines.earliest)
        self.driver.now += self.choose([0.5, 3.0, 10.0])
        self.driver.say(Wake())

    def _let_time_pass(self):
        self.driver.now += self.choose([0.5, 3.0])

    def _cancel(self):
        run_id = self.choose(list(self.driver.starts))
        grace, compensate = self.choose([None, 0.0, 1.0]), self.choose([False, True])
        self.driver.say(CancelRun(run_id, "enough", grace, compensate))

    def _lose(self):
        undoing = [one for one in self.driver.in_flight.values() if one.compensates]
        if undoing and self.choose([True, False]):
            self.driver.say(AttemptLost(self.choose(undoing), "it was shot"))
            return
        run_id = self.choose(list(self.driver.starts))
        if run_id in self.driver.brain.runs and self.driver.brain.runs[run_id].active:
            step_id = self.choose([*self.driver.starts[run_id].plan.by_id, None])
            for victim in self.driver.starts[run_id].plan.by_id if step_id is None else [step_id]:
                said = self.driver.ready(run_id, victim), self.driver.lost(victim, run_id)
                self._stale.extend(said)
            if step_id is None:
                self.driver.die_with_all(run_id)
            else:
                self.driver.die(step_id, run_id=run_id)

    def _say_again(self):
        again = [*self._ended, *self._stale, self.driver.ready("run 0", "s0"), Wake()]
        self.driver.say(self.choose(again[::-1]))

    def _block(self):
        if self.driver.in_flight:
            _, attempt = self._one_in_flight()
            self.driver.say(BlockedLoop(attempt, 1.0, "here"))


def scheduled(drawn, tape, workers, places, unit=0.5):
    """Start the drawn runs and let the tape choose what becomes of them."""
    driver = Driver(workers=workers, places=places, unit=unit)
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
    Schedule(driver, tape).run()
    return driver


@settings(max_examples=400)
@given(runs, tapes, st.integers(1, 3), st.integers(1, 2), st.sampled_from([0.0, 0.5, 1.0]))
def test_every_schedule_keeps_the_laws_and_ends(drawn, tape, workers, places, unit):
    """Leases, lanes, order, attempts, timeouts, terminal events, and no lost wake-up."""
    driver = scheduled(drawn, tape, workers, places, unit)

    assert len(drawn) == len(driver.results)
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
    """In reverse order of completion, after all have stopped; and nobody else is."""
    driver = Driver(workers=workers)
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
    driver = Driver(workers=2)
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

"""The pure parts beside naive twins, at sizes where heaps have depth.

A heap of three entries is in order whatever is done to it, and compaction begins above 64 dead
entries. These tests go through random operations on up to three hundred entries, and compare each
answer with that of a twin which keeps a plain list and sorts it every time.
"""

from __future__ import annotations

import random

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.scheduling.deadlines import Deadlines, Due
from actorflow.scheduling.queues import ReadyQueue, RunQueue, SyncLane, Workers
from actorflow.systems.simulated.system import SimulatedSystem
from tests.support.brain import Driver, flow, nothing, ready_run, step, task
from tests.support.mutants import PURE

SIZES = (10, 40, 120, 300)
NEVER = float("inf")

sized = pytest.mark.parametrize("size", SIZES)
seeded = pytest.mark.parametrize("seed", range(5))


def named(popped):
    """Return the names of a run and a step that a queue has given, or None."""
    return None if popped is None else (popped[0].run_id, popped[1].id)


# ── Ready steps ──────────────────────────────────────────────────────────────────────────────


class NaiveReadyQueue:
    """A list of lines, one for each run at each level, searched every time."""

    def __init__(self):
        self.lines = []

    def push(self, run, one):
        """Add a step to its run's line, which is new at the end if there is none."""
        level = (run.priority, one.step.priority)
        for known, waiting_run, steps in self.lines:
            if (known, waiting_run.run_id) == (level, run.run_id):
                steps.append(one)
                return
        self.lines.append((level, run, [one]))

    def pop(self):
        """Take the first ready step of the first line at the highest level."""
        while self.lines:
            line = max(self.lines, key=lambda it: it[0])  # the first one of equals
            _, run, steps = line
            one = steps.pop(0)
            ready = one.status is StepStatus.READY
            if not steps:
                self.lines.remove(line)
            elif ready:
                self.lines.remove(line)
                self.lines.append(line)
            if ready:
                return run, one
        return None

    def forget(self, run_id):
        """Drop all lines of a run."""
        self.lines = [line for line in self.lines if line[1].run_id != run_id]


@seeded
@sized
def test_the_ready_queue_behaves_like_a_list(size, seed):
    """Steps come and are cancelled, runs end and are resumed, in any order."""
    chance = random.Random(seed)
    queue, twin, waiting = ReadyQueue(), NaiveReadyQueue(), []

    def new_run(number, again=0):
        names = [f"{again}s{it}" for it in range(max(2, size // 8))]
        steps = [task(it, priority=chance.randrange(3)) for it in names]
        return ready_run(f"r{number}", *steps, priority=chance.randrange(-1, 2))

    runs = [new_run(number) for number in range(8)]
    left = {run: list(run.steps.values()) for run in runs}
    for turn in range(4 * size):
        action = chance.random()
        run = chance.choice(runs)
        if action < 0.5 and left[run]:
            one = left[run].pop(chance.randrange(len(left[run])))
            waiting.append(one)
            queue.push(run, one, (run.rank, -one.step.priority))
            twin.push(run, one)
        elif action < 0.85:
            assert named(twin.pop()) == named(queue.pop())
        elif action < 0.93 and waiting:
            chance.choice(waiting).status = StepStatus.CANCELLED
        elif action > 0.97:
            queue.forget(run.run_id)
            twin.forget(run.run_id)
            runs[runs.index(run)] = resumed = new_run(run.run_id[1:], turn)
            left[resumed] = list(resumed.steps.values())

        assert bool(queue.order) == bool(twin.lines)
    while (following := twin.pop()) is not None:
        assert named(following) == named(queue.pop())
    assert queue.pop() is None


@seeded
@sized
def test_the_lane_behaves_like_a_list(size, seed):
    """By priority, then by arrival, without what is no longer ready."""
    chance, lane, twin, arrived = random.Random(seed), SyncLane(), [], 0
    run = ready_run("r", *(step(f"s{it}", priority=chance.randrange(5)) for it in range(size)))
    left = list(run.steps.values())
    chance.shuffle(left)
    for _ in range(3 * size):
        action = chance.random()
        if action < 0.5 and left:
            arrived += 1
            one = left.pop()
            lane.push(one, -one.step.priority, 0.0)
            twin.append((-one.step.priority, arrived, one))
        elif action < 0.8:
            twin = [it for it in twin if it[2].status is StepStatus.READY]
            first = min(twin, key=lambda it: it[:2], default=None)
            if first is not None:
                twin.remove(first)

            assert (first and first[2]) is lane.pop()
        elif twin:
            chance.choice(twin)[2].status = StepStatus.SKIPPED


def test_workers_are_held_or_free():
    """Whatever is taken and given back."""
    workers = Workers(300)
    for free in random.Random(1).sample(range(301), 300):
        workers.free = free

        assert (300, 300 - free) == (workers.total, workers.held)


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────


@seeded
@sized
def test_the_queue_of_runs_behaves_like_a_list(size, seed):
    """Runs arrive, get places, end before they got one, and give theirs back."""
    chance = random.Random(seed)
    places = free = chance.randrange(1, 5)
    queue, twin, active = RunQueue(places), [], 0
    for number in range(4 * size):
        action = chance.random()
        if action < 0.45 and len(twin) < size:
            run = ready_run(f"r{number}", step("s"), priority=chance.randrange(4))
            queue.push(run)
            twin.append((-run.priority, number, run))
        elif action < 0.65:
            first = min(twin, default=None, key=lambda it: it[:2]) if free else None
            if first is not None:
                twin.remove(first)
                free, active = free - 1, active + 1

            assert (first and first[2]) is queue.pop()
        elif action < 0.85 and twin:
            gone = chance.choice(twin)
            twin.remove(gone)
            queue.forget(gone[2])
        elif active:
            queue.release()
            free, active = free + 1, active - 1
    for _ in twin:
        queue.release()
    twin.sort(key=lambda it: it[:2])
    assert [run.run_id for _, _, run in twin] == [queue.pop().run_id for _ in twin]


@sized
def test_a_run_knows_what_is_settled_of_it(size):
    """When it is resumed: what is kept, what runs again, and what can be undone, in which order."""
    chance, driver = random.Random(size), Driver(workers=size, places=10)
    workflow = flow(
        *(task(f"s{it}", compensate=nothing if it % 3 else None) for it in range(size)),
        step("last", *(f"s{it}" for it in range(size))),
    )
    driver.start(workflow)
    done = chance.sample([f"s{it}" for it in range(size)], size // 2)
    for name in done:
        driver.end(name, name)
    driver.cancel()
    for name in driver.running():
        driver.end(name, error=ValueError("stopped"))
    driver.resume(workflow)

    run = driver.brain.runs["run"]
    settled = {name for name, one in run.steps.items() if one.status is StepStatus.COMPLETED}
    assert set(done) == settled
    assert size + 1 - len(done) == run.unsettled
    assert [it for it in done if int(it[1:]) % 3] == [one.id for one in run.undoable]
    assert {f"s{it}" for it in range(size)} - set(done) == set(driver.running())


# ── Moments ──────────────────────────────────────────────────────────────────────────────────


@seeded
@sized
def test_deadlines_behave_like_a_list(size, seed):
    """Most are cancelled, so that the heap is compacted again and again."""
    chance, deadlines, twin, now = random.Random(seed), Deadlines(), {}, 0.0
    for number in range(12 * size):
        action = chance.random()
        if action < 0.55 or not twin:
            when = now + chance.choice((1.0, 30.0, chance.random() * 100))
            twin[number] = when, deadlines.set(when, Due.RUN, str(number))
        elif action < 0.95:
            for gone in chance.sample(list(twin), min(len(twin), chance.choice((1, 1, size)))):
                deadlines.cancel(twin.pop(gone)[1])
        else:
            now += chance.random() * 20
            due = sorted((when, it) for it, (when, _) in twin.items() if when <= now)
            for _, it in due:
                del twin[it]
                assert (Due.RUN, str(it), None) == deadlines.pop_due(now)

            assert deadlines.pop_due(now) is None
        assert len(twin) == len(deadlines)
        assert deadlines.earliest <= min((it for it, _ in twin.values()), default=NEVER)
    rest = [str(it) for _, it in sorted((when, it) for it, (when, _) in twin.items())]
    assert rest == [deadlines.pop_due(NEVER)[1] for _ in rest]


@pytest.mark.parametrize("alive", [3, 30, 60])
def test_what_is_left_after_compaction_comes_in_order(alive):
    """More than 64 dead, and the living are scattered among them."""
    for seed in range(20):
        chance, deadlines = random.Random(seed), Deadlines()
        moments = [chance.random() for _ in range(alive + 100)]
        made = [deadlines.set(when, Due.RUN, str(it)) for it, when in enumerate(moments)]
        living = set(chance.sample(range(alive + 100), alive))
        for it in chance.sample(range(alive + 100), alive + 100):
            if it not in living:
                deadlines.cancel(made[it])

        expected = [str(it) for _, it in sorted((moments[it], it) for it in living)]
        assert expected == [deadlines.pop_due(1.0)[1] for _ in expected]
        assert deadlines.pop_due(1.0) is None


@seeded
@sized
def test_simulated_timers_behave_like_a_list(size, seed):
    """In the order of their times, equal ones in that of their making, without the cancelled."""
    chance, rung, twin = random.Random(seed), [], {}
    system = SimulatedSystem(lambda _options, _label: 0)
    for number in range(3 * size):
        if chance.random() < 0.6:
            when = float(chance.randrange(size))
            twin[number] = max(when, system.time), system.call_at(when, rung.append, number)
        elif chance.random() < 0.7 and twin:
            twin.pop(chance.choice(list(twin)))[1].cancel()
        else:
            first = min(((when, it) for it, (when, _) in twin.items()), default=None)
            rung.clear()

            assert (0 if first is None else 1) == system.run(1)
            assert ([] if first is None else [first[1]]) == rung
            if first is not None:
                assert twin.pop(first[1])[0] == system.time
        moments = sorted(when for when, _ in twin.values())
        assert (len(twin), moments[0] if moments else None) == (system.timers, system.next_timer())
        assert moments == [when for when, _, _ in system.agenda]


# ── The brain ────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_was_cancelled_while_it_waited_gets_its_turn_when_it_is_resumed():
    """Nothing of its former life is left in the queue."""
    workflow = flow(task("a"), task("b"))
    driver = Driver(workers=1)
    driver.start(workflow, "busy")
    driver.start(workflow, "other")
    driver.cancel("other")
    driver.resume(workflow, "other")
    for name in "ab":
        driver.end(name, run_id="busy")
    for name in "ab":
        driver.end(name, run_id="other")

    assert RunStatus.COMPLETED is driver.results["other"].status
    driver.laws.at_rest()


@pytest.mark.parametrize("second", [1.0, 30.0])
def test_the_first_limit_of_undoing_counts(second):
    """A shorter or a longer one comes too late."""
    driver = Driver()
    driver.start(flow(step("a", compensate=nothing), step("last", "a")))
    driver.end("a")
    driver.fail("last")
    driver.cancel(grace=3.0)
    driver.cancel(grace=second)
    driver.wait(2.9)
    before = list(driver.stopped)
    driver.wait(0.2)

    assert [] == before
    assert ["a"] == [attempt.step_id for attempt in driver.stopped]


@pytest.mark.parametrize("seed", range(12))
def test_many_large_runs_end_however_often_they_are_cancelled_and_resumed(seed):
    """Eight runs of twenty steps on few workers, by all laws of the brain."""
    chance = random.Random(seed)
    driver = Driver(workers=chance.choice((1, 3, 10)), places=chance.choice((1, 3, 10)))
    flows = {f"r{it}": _large(chance) for it in range(8)}
    for run_id, workflow in flows.items():
        driver.start(workflow, run_id, priority=chance.randrange(2))
    resumed = 0
    for _ in range(400):
        action = chance.random()
        run_id = chance.choice(list(flows))
        ended = run_id not in driver.brain.runs
        if action < 0.05 and not ended:
            driver.cancel(run_id, grace=chance.choice((None, 1.0)))
        elif ended and driver.results[run_id].status is not RunStatus.COMPLETED:
            driver.resume(flows[run_id], run_id)
            resumed += 1
        elif action < 0.15:
            driver.wait_for_next() if driver.brain.deadlines.earliest < NEVER else driver.wait(1.0)
        elif driver.in_flight:
            where = chance.choice(list(driver.in_flight))
            error = ValueError("it fails") if chance.random() < 0.1 else None
            driver.end(where[1], None, error, run_id=where[0])
    for _ in range(5_000):
        if not driver.brain.runs:
            break
        if driver.in_flight:
            run_id, name = next(iter(driver.in_flight))
            driver.end(name, run_id=run_id)
        else:
            driver.wait_for_next()

    assert not driver.brain.runs
    assert resumed
    driver.laws.at_rest()


def _large(chance):
    """A workflow of twenty steps, of any kind."""
    again = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0.0)
    steps = []
    for it in range(20):
        after = chance.sample([one.id for one in steps], min(len(steps), chance.randrange(3)))
        make = task if chance.random() < 0.7 else step
        options = {"retry": again} if chance.random() < 0.3 else {}
        steps.append(
            make(
                f"s{it}",
                *after,
                priority=chance.randrange(2),
                required=chance.random() < 0.8,
                timeout=chance.choice((None, 5.0)),
                compensate=chance.choice((None, nothing)),
                **options,
            )
        )
    return flow(*steps, fail_fast=chance.random() < 0.5)


# ── Planted mistakes ─────────────────────────────────────────────────────────────────────────

FOUND_BY = {
    "a run that has ended is not forgotten": [
        test_a_run_that_was_cancelled_while_it_waited_gets_its_turn_when_it_is_resumed
    ],
    "compaction leaves no heap": [lambda: test_what_is_left_after_compaction_comes_in_order(60)],
    "what is left of a queue is no heap": [
        lambda: test_the_queue_of_runs_behaves_like_a_list(300, 2)
    ],
    "the last limit of undoing counts": [
        lambda: test_the_first_limit_of_undoing_counts(1.0),
        lambda: test_the_first_limit_of_undoing_counts(30.0),
    ],
}


@pytest.mark.parametrize("mutant", PURE, ids=str)
def test_a_planted_mistake_is_found(mutant, monkeypatch):
    """By the tests above."""
    for check in FOUND_BY[str(mutant)]:
        check()
    mutant.plant(monkeypatch)
    for check in FOUND_BY[str(mutant)]:
        with pytest.raises((AssertionError, KeyError)):
            check()

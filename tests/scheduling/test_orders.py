"""Orders other than readiness: the longest way to the end first, and priorities that age."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.model.lifecycle import StepStatus
from actorflow.scheduling.queues import ReadyQueue, SyncLane
from tests.support.brain import Driver, flow, nothing, step, task

KINDS = pytest.mark.parametrize("make", [step, task])
sizes = st.sampled_from([10, 30, 100, 300])
"""Numbers of entries: heaps of a few hide what is no heap."""
seeds = st.integers(0, 2**32 - 1)
TURN = RetryPolicy(max_attempts=3, initial_interval=10.0, multiplier=1.0, jitter=0.0)


def ranked(*steps, **options):
    """A workflow that is ordered by critical path."""
    return flow(*steps, order="critical_path", **options)


def drained(driver):
    """End all attempts, one after the other; return the steps in the order of their starts."""
    order = []
    while driver.in_flight:
        run_id, step_id = next(iter(driver.in_flight))
        order.append(f"{run_id}.{step_id}")
        driver.end(step_id, run_id=run_id)
    return order


# ── Ways ─────────────────────────────────────────────────────────────────────────────────────


def longest_ways(after, seconds):
    """The longest ways by relaxation: each is raised until no edge raises one."""
    ways, raised = dict(seconds), True
    while raised:
        raised = False
        for name, dependencies in after.items():
            for dependency in dependencies:
                if ways[dependency] < seconds[dependency] + ways[name]:
                    ways[dependency] = seconds[dependency] + ways[name]
                    raised = True
    return ways


@settings(max_examples=40)
@given(sizes, seeds)
def test_the_way_is_the_longest_path_to_the_end(size, seed):
    """As a naive twin finds it, in any graph and with any mixture of what is known."""
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(size)]
    after = {
        name: tuple(chance.sample(names[:place], min(place, chance.choice([0, 1, 1, 2, 5]))))
        for place, name in enumerate(names)
    }
    expected = {name: chance.choice([None, 1 + chance.randrange(9)]) for name in names}
    known = {name: float(chance.randrange(9)) for name in names if chance.random() < 0.5}
    defined = chance.sample(names, size)
    plan = ranked(*[task(name, *after[name], expected=expected[name]) for name in defined]).plan()

    seconds = {name: expected[name] or known.get(name, 1.0) for name in names}
    assert longest_ways(after, seconds) == plan.ways(known)


def test_a_plan_by_readiness_has_no_ways():
    """Whatever is expected of its steps."""
    assert flow(task("a", expected=3.0)).plan().ways({"a": 5.0}) is None


# ── The queue and the lane beside naive twins ────────────────────────────────────────────────


@attrs.define(eq=False)
class Waiting:
    """A step, as far as a queue looks at one."""

    id: str
    status: StepStatus = StepStatus.READY


@attrs.define(eq=False)
class Competing:
    """A run, as far as a queue looks at one."""

    run_id: str
    ways: dict | None


class NaiveQueue:
    """The queue as one list that is searched, and the line of runs in the order of their turns."""

    def __init__(self):
        self.waiting = []
        self.line = []

    def push(self, run, one, level):
        """Add a step, and its run to the end of the line if it does not stand there."""
        way = 0.0 if run.ways is None else run.ways[one.id]
        self.waiting.append((level, run, -way, len(self.waiting), one))
        if (level, run) not in self.line:
            self.line.append((level, run))

    def pop(self):
        """Take the best step of the run whose turn it is, at the lowest level."""
        while self.line:
            turn = min(self.line, key=lambda one: one[0])
            mine = [entry for entry in self.waiting if entry[:2] == turn]
            best = min(mine, key=lambda entry: entry[2:4])
            # Numbers of arrival stay unique if the list does not shrink.
            self.waiting[self.waiting.index(best)] = (None, None, 0, 0, None)
            ready = best[4].status is StepStatus.READY
            if len(mine) == 1:
                self.line.remove(turn)
            elif ready:
                self.line.remove(turn)
                self.line.append(turn)
            if ready:
                return turn[1], best[4]
        return None

    def forget(self, run_id):
        """Drop the steps of a run."""
        self.line = [one for one in self.line if one[1].run_id != run_id]
        self.waiting = [
            entry if entry[1] is None or entry[1].run_id != run_id else (None, None, 0, 0, None)
            for entry in self.waiting
        ]


def levels_of(chance, ageing):
    """Yield levels as the brain makes them, while time goes on."""
    now = 1000.0
    while True:
        run, priority = -chance.randrange(3), -chance.randrange(3)
        now += chance.choice([0.0, 0.0, 0.5, 3.0])
        yield (run, priority) if ageing is None else (0, run + priority + now / ageing)


@settings(max_examples=60)
@given(sizes, seeds, st.sampled_from([None, 0.5, 10.0]))
def test_the_queue_does_what_its_naive_twin_does(size, seed, ageing):
    """With runs by readiness and by way side by side; steps and runs end while they wait."""
    chance = random.Random(seed)
    queue, twin, levels = ReadyQueue(), NaiveQueue(), levels_of(chance, ageing)
    steps = [Waiting(f"s{number}") for number in range(size)]
    ways = {one.id: float(chance.randrange(4)) for one in steps}
    runs = [Competing(f"r{number}", chance.choice([None, ways])) for number in range(5)]
    fates = chance.choice([(7, 3, 1, 0.1), (3, 3, 1, 0.3), (9, 1, 0.5, 0)])
    left = iter(steps)

    for fate in chance.choices(["push", "pop", "cancel", "forget"], fates, k=2 * size):
        if fate == "push" and (one := next(left, None)) is not None:
            given_to = chance.choice(runs), one, next(levels)
            queue.push(*given_to)
            twin.push(*given_to)
        elif fate == "pop":
            assert twin.pop() == queue.pop()
        elif fate == "cancel":
            chance.choice(steps).status = StepStatus.CANCELLED
        elif fate == "forget":
            gone = chance.choice(runs).run_id
            queue.forget(gone)
            twin.forget(gone)
    while (following := twin.pop()) is not None:
        assert following == queue.pop()

    assert queue.pop() is None
    assert not queue.order


@settings(max_examples=60)
@given(sizes, seeds, st.sampled_from([None, 0.5, 10.0]))
def test_the_lane_does_what_its_naive_twin_does(size, seed, ageing):
    """A list that is sorted: by level, by way, by arrival."""
    chance = random.Random(seed)
    lane, twin, levels = SyncLane(), [], levels_of(chance, ageing)
    for number in range(size):
        one, (_, level), way = Waiting(f"s{number}"), next(levels), float(chance.randrange(4))
        if chance.random() < 0.1:
            one.status = StepStatus.CANCELLED
        lane.push(one, level, way)
        twin.append((level, -way, number, one))
        if chance.random() < 0.3:
            twin.sort(key=lambda entry: entry[:3])
            while twin and twin[0][3].status is not StepStatus.READY:
                twin.pop(0)
            assert (twin.pop(0)[3] if twin else None) is lane.pop()

    rest = [entry[3] for entry in sorted(twin, key=lambda entry: entry[:3])]
    for one in [one for one in rest if one.status is StepStatus.READY]:
        assert one is lane.pop()
    assert lane.pop() is None


# ── The longest way first ────────────────────────────────────────────────────────────────────


@KINDS
def test_the_longest_way_goes_first(make):
    """Not the longest step: what waits for a step counts as well."""
    driver = Driver(workers=1)
    steps = [
        make("short", expected=1.0),
        make("long", expected=5.0),
        make("head", expected=1.0),
        make("tail", "head", expected=9.0),
    ]
    driver.start(ranked(*steps))

    assert ["run.head", "run.tail", "run.long", "run.short"] == drained(driver)


@KINDS
def test_equal_ways_go_in_the_order_of_definition(make):
    """As they do in a workflow by readiness."""
    driver = Driver(workers=1)
    driver.start(ranked(*[make(name, expected=2.0) for name in "cab"]))

    assert ["run.c", "run.a", "run.b"] == drained(driver)


@KINDS
def test_a_step_with_a_longer_way_overtakes_those_that_were_ready_before(make):
    """By readiness it would wait for all of them."""
    steps = [
        make("first", expected=9.0),
        make("w0", expected=2.0),
        make("w1", expected=3.0),
        make("late", "first", expected=8.0),
    ]
    by_way, by_readiness = Driver(workers=1), Driver(workers=1)
    by_way.start(ranked(*steps))
    by_readiness.start(flow(*steps))

    assert ["run.first", "run.late", "run.w1", "run.w0"] == drained(by_way)
    assert ["run.first", "run.w0", "run.w1", "run.late"] == drained(by_readiness)


@KINDS
def test_a_priority_outranks_the_way(make):
    """The way decides among equals alone."""
    driver = Driver(workers=1)
    driver.start(ranked(make("long", expected=100.0), make("urgent", expected=0.1, priority=1)))

    assert ["run.urgent", "run.long"] == drained(driver)


def test_runs_take_turns_and_each_by_its_own_ways():
    """The ways of different runs are not compared, or small runs would starve."""
    driver = Driver(workers=1)
    driver.start(flow(task("busy")), "first")
    large = [task(f"l{seconds}", expected=seconds) for seconds in (100, 300, 200)]
    driver.start(ranked(*large), "large")
    driver.start(ranked(task("s1", expected=1), task("s3", expected=3)), "small")
    driver.start(flow(task("p1"), task("p2")), "plain")

    assert [
        *("first.busy", "large.l300", "small.s3", "plain.p1"),
        *("large.l200", "small.s1", "plain.p2", "large.l100"),
    ] == drained(driver)


@KINDS
def test_a_retry_goes_back_to_the_place_of_its_way(make):
    """When its backoff is over."""
    driver = Driver(workers=1)
    steps = [make("long", expected=9.0, retry=TURN), make("mid", expected=5.0), make("short")]
    driver.start(ranked(*steps))
    driver.fail("long")
    driver.wait_for_next()

    assert ["run.mid", "run.long", "run.short"] == drained(driver)


@KINDS
def test_a_resumed_run_goes_on_by_its_ways(make):
    """What has completed is not ranked again."""
    made = ranked(
        make("a", expected=1.0),
        make("done", expected=20.0),
        make("long", expected=9.0),
        make("fails", expected=12.0),
    )
    driver = Driver(workers=1)
    driver.start(made)
    driver.end("done")
    driver.fail("fails")
    driver.resume(made)

    assert ["run.fails", "run.long", "run.a"] == drained(driver)


def test_a_run_by_way_is_undone_in_reverse_order_all_the_same():
    """Ways rank steps, not compensators, of which a run has one at a time."""
    driver = Driver(workers=1)
    steps = [
        task(name, compensate=nothing, expected=seconds) for name, seconds in [("a", 1), ("b", 5)]
    ]
    driver.start(ranked(*steps, task("last", "a", "b")))
    assert ["b"] == driver.running()
    driver.end("b")
    driver.end("a")
    driver.fail("last")

    assert ["run.a", "run.b"] == drained(driver)


# ── Ageing ───────────────────────────────────────────────────────────────────────────────────


def arrivals(chance, size):
    """Priorities of a run and a step, and a moment, for each of several runs of one step."""
    moments = chance.sample(range(10 * size), size)
    return [(chance.randrange(-3, 4), chance.randrange(-3, 4), at) for at in sorted(moments)]


@settings(max_examples=20)
@given(sizes, seeds, st.sampled_from([0.25, 1.0, 7.0, 1e6]))
def test_no_step_is_passed_by_one_that_came_too_late_to_a_worker(size, seed, ageing):
    """Across runs: d less priority is worth d times `ageing` seconds, and no more."""
    driver, chance = Driver(workers=1, ageing=ageing, places=1000), random.Random(seed)
    driver.start(flow(task("busy")), "first")
    came, began = {}, driver.now
    for number, (urgency, priority, at) in enumerate(arrivals(chance, size)):
        driver.now = began + at
        driver.start(flow(task("s", priority=priority)), f"r{number}", priority=urgency)
        came[f"r{number}.s"] = urgency + priority, at
    order = drained(driver)[1:]

    check_nothing_was_passed(order, came, ageing)


@settings(max_examples=20)
@given(st.sampled_from([10, 30, 60]), seeds, st.sampled_from([0.25, 1.0, 7.0, 1e6]))
def test_no_step_is_passed_by_one_that_came_too_late_to_the_lane(size, seed, ageing):
    """Within a run; its own priority counts for all of its steps."""
    driver, chance = Driver(workers=size, ageing=ageing), random.Random(seed)
    drawn = arrivals(chance, size)
    gates = [task(f"g{number}", priority=9) for number in range(size)]
    steps = [step(f"s{n}", f"g{n}", priority=drawn[n][1]) for n in range(size)]
    driver.start(flow(step("busy", priority=9), *gates, *steps), priority=3)
    came, began = {}, driver.now
    for number, (_, priority, at) in enumerate(drawn):
        driver.now = began + at
        driver.end(f"g{number}")
        came[f"run.s{number}"] = priority, at
    order = drained(driver)[1:]

    check_nothing_was_passed(order, came, ageing)


def check_nothing_was_passed(order, came, ageing):
    """Hold an order of starts to the promise, pair by pair."""
    assert sorted(came) == sorted(order)
    for place, name in enumerate(order):
        priority, at = came[name]
        for passed in order[place + 1 :]:
            other, since = came[passed]
            assert at - since <= (priority - other) * ageing + 1e-6, f"{name} passed {passed}"


def test_without_ageing_a_low_priority_starves():
    """However long it has waited; with it, only for so long."""
    orders = {}
    for ageing in (None, 10.0):
        driver = Driver(workers=1, ageing=ageing)
        driver.start(flow(task("s")), "first")
        driver.start(flow(task("s")), "low", priority=-1)
        for number in range(4):
            driver.now += 4.0
            driver.start(flow(task("s")), f"r{number}")
        orders[ageing] = drained(driver)

    assert ["first.s", "r0.s", "r1.s", "r2.s", "r3.s", "low.s"] == orders[None]
    assert ["first.s", "r0.s", "r1.s", "low.s", "r2.s", "r3.s"] == orders[10.0]


def test_with_ageing_the_priorities_of_run_and_step_are_added_up():
    """So a very urgent step of a modest run can go before an important run."""
    driver = Driver(workers=1, ageing=10.0)
    driver.start(flow(task("busy")), "first")
    driver.start(flow(task("s")), "important", priority=1)
    driver.start(flow(task("s", priority=2)), "modest")

    assert ["first.busy", "modest.s", "important.s"] == drained(driver)


@KINDS
def test_equals_of_one_moment_go_by_their_ways_with_ageing_too(make):
    """Those of different moments go by their moments: an earlier one has waited longer."""
    driver = Driver(workers=1, ageing=10.0)
    steps = [
        make("first", expected=99.0),
        make("w1", expected=1.0),
        make("w3", expected=3.0),
        make("late", "first", expected=50.0),
    ]
    driver.start(ranked(*steps))
    driver.now += 1.0

    assert ["run.first", "run.w3", "run.w1", "run.late"] == drained(driver)


def test_a_retry_waits_for_the_lane_from_the_end_of_its_backoff():
    """Neither the backoff nor what it waited before its first attempt counts again."""
    driver = Driver(ageing=1.0)
    driver.start(flow(step("a", retry=TURN), step("busy"), step("b", "gate"), task("gate")))
    driver.fail("a")
    driver.now += 5.0
    driver.end("gate")  # b waits from here on
    driver.wait(5.0)  # and a from here on

    assert ["run.busy", "run.b", "run.a"] == drained(driver)


def test_a_retry_waits_for_a_worker_from_the_end_of_its_backoff():
    """A step of the same priority that came during the backoff goes before it."""
    driver = Driver(workers=1, ageing=1.0)
    driver.start(flow(task("s", retry=TURN)), "retried")
    driver.fail("s", run_id="retried")
    driver.start(flow(task("s")), "busy")
    driver.now += 5.0
    driver.start(flow(task("s")), "between")
    driver.wait(5.0)
    driver.now += 1.0
    driver.start(flow(task("s", priority=1)), "later")

    # `later` came 1 second after `retried` was ready again, which is worth its priority.
    assert ["busy.s", "between.s", "retried.s", "later.s"] == drained(driver)


def test_a_resumed_run_waits_from_its_resumption():
    """Its former life does not count."""
    driver, made = Driver(workers=1, ageing=1.0), flow(task("s"))
    driver.start(made, "old")
    driver.fail("s", run_id="old")
    driver.start(flow(task("s")), "busy")
    driver.now += 50.0
    driver.start(flow(task("s")), "new")
    driver.now += 1.0
    driver.resume(made, "old")

    assert ["busy.s", "new.s", "old.s"] == drained(driver)


def test_a_compensator_ages_like_a_step():
    """Otherwise the runs that begin later could keep a run from being undone."""
    orders = {}
    for ageing in (None, 2.0):
        driver = Driver(workers=1, ageing=ageing)
        steps = task("a", compensate=nothing), task("fails", "a", "gate"), step("gate")
        driver.start(flow(*steps), "failing", priority=-1)
        driver.end("a", run_id="failing")
        driver.start(flow(task("s")), "busy")
        driver.end("gate", run_id="failing")
        driver.cancel("failing", compensate=True)
        driver.now += 5.0
        driver.start(flow(task("s")), "later")
        orders[ageing] = drained(driver)

    assert ["busy.s", "later.s", "failing.a"] == orders[None]
    assert ["busy.s", "failing.a", "later.s"] == orders[2.0]

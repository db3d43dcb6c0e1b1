"""The queue of ready async steps, the sync lane, and the queue of runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actorflow.model.lifecycle import StepStatus
from actorflow.scheduling.queues import ReadyQueue, RunQueue, SyncLane
from tests.support.brain import ready_run, step


def popped(queue):
    """All that a queue gives, as `run.step`."""
    order = []
    while (following := queue.pop()) is not None:
        run, one = following
        order.append(f"{run.run_id}.{one.id}")
    return order


def push(queue, run, step):
    """Add a step at the level of its priorities, as the brain does if steps do not age."""
    queue.push(run, step, (run.rank, -step.step.priority))


def push_to(lane, step):
    """Add a step to a lane at the level of its priority."""
    lane.push(step, -step.step.priority, 0.0)


# ── The queue ────────────────────────────────────────────────────────────────────────────────


def test_the_queue_keeps_the_order_of_readiness():
    """Within one run and one priority."""
    queue, run = ReadyQueue(), ready_run("r", *[step(name) for name in "cab"])
    for name in "bca":
        push(queue, run, run.steps[name])

    assert ["r.b", "r.c", "r.a"] == popped(queue)


def test_a_step_that_is_no_longer_ready_costs_its_run_no_turn():
    """Its run goes on where it stood in the line."""
    queue = ReadyQueue()
    one, other = (ready_run(name, step("a"), step("b")) for name in ("one", "other"))
    for run in (other, one):
        for waiting in run.steps.values():
            push(queue, run, waiting)
    queue.pop()
    one.steps["a"].status = StepStatus.SKIPPED

    assert ["one.b", "other.b"] == popped(queue)


def test_runs_take_turns_at_each_priority():
    """The run's priority first, then the step's."""
    queue = ReadyQueue()
    runs = [
        ready_run("x", step("a"), step("b"), step("h", priority=1)),
        ready_run("y", step("a"), step("b")),
        ready_run("z", step("a", priority=-5), priority=1),
    ]
    for run in runs:
        for one in run.steps.values():
            push(queue, run, one)

    assert ["z.a", "x.h", "x.a", "y.a", "x.b", "y.b"] == popped(queue)


def test_what_is_no_longer_ready_is_passed_over():
    """It was cancelled while it waited."""
    queue, run = ReadyQueue(), ready_run("r", step("a"), step("b"), step("c"))
    for one in run.steps.values():
        push(queue, run, one)
    run.steps["a"].status = run.steps["c"].status = StepStatus.CANCELLED

    assert ["r.b"] == popped(queue)
    assert queue.pop() is None


pushes = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 1)), min_size=1, max_size=30)


@given(pushes, st.lists(st.integers(-1, 1), min_size=4, max_size=4))
def test_the_queue_gives_back_what_was_pushed_by_priority(pushes, priorities):
    """Everything once, never a lower priority before a higher one, equals of a run in order."""
    queue, line = ReadyQueue(), {}
    runs = [
        ready_run(
            f"r{number}",
            *[
                step(f"s{n}", priority=level)
                for n, (who, level) in enumerate(pushes)
                if who == number
            ],
            step("other"),
            priority=priorities[number],
        )
        for number in range(4)
    ]
    for n, (who, level) in enumerate(pushes):
        push(queue, runs[who], runs[who].steps[f"s{n}"])
        line[f"r{who}.s{n}"] = (-priorities[who], -level, who, n)

    order = popped(queue)

    assert sorted(line) == sorted(order)
    levels = [line[name][:2] for name in order]
    assert sorted(levels) == levels
    for who in range(4):
        for level in set(levels):
            mine = [line[name][3] for name in order if line[name][:3] == (*level, who)]
            assert sorted(mine) == mine


# ── The lane ─────────────────────────────────────────────────────────────────────────────────


def test_the_lane_gives_the_higher_priority_first():
    """Equals in the order of readiness."""
    run, lane = (
        ready_run("r", step("a"), step("b", priority=2), step("c"), step("d", priority=2)),
        SyncLane(),
    )
    for one in run.steps.values():
        push_to(lane, one)

    assert ["b", "d", "a", "c"] == [lane.pop().id for _ in range(4)]
    assert lane.pop() is None


def test_the_lane_passes_over_what_is_no_longer_ready():
    """As the queue does."""
    run, lane = ready_run("r", step("a"), step("b")), SyncLane()
    for one in run.steps.values():
        push_to(lane, one)
    run.steps["a"].status = StepStatus.CANCELLED

    assert "b" == lane.pop().id
    assert lane.pop() is None


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────


def test_runs_get_places_by_priority_and_then_by_arrival():
    """As many as there are."""
    queue = RunQueue(2)
    for run_id, priority in [("a", 0), ("b", 1), ("c", 1), ("d", -1)]:
        queue.push(ready_run(run_id, step("s"), priority=priority))

    first = [queue.pop().run_id, queue.pop().run_id, queue.pop()]
    queue.release()

    assert ["b", "c", None] == first
    assert "a" == queue.pop().run_id
    assert queue.pop() is None


def test_a_run_that_ended_while_it_waited_takes_no_place():
    """And is not kept, however long the others wait."""
    queue = RunQueue(1)
    runs = [ready_run(run_id, step("s")) for run_id in ("a", "gone", "b")]
    for run in runs:
        queue.push(run)
    queue.forget(runs[1])

    first = queue.pop()
    queue.release()

    assert ["a", "b"] == [first.run_id, queue.pop().run_id]


def test_the_steps_of_a_run_that_ended_are_not_kept_in_the_queue():
    """However long the others hold all leases."""
    queue = ReadyQueue()
    runs = [ready_run(run_id, step("s"), step("t", priority=1)) for run_id in ("a", "gone")]
    for run in runs:
        for one in run.steps.values():
            push(queue, run, one)
    queue.forget("gone")
    queue.forget("unknown")

    assert ["a.t", "a.s"] == popped(queue)
    push(queue, runs[1], runs[1].steps["s"])
    queue.forget("gone")
    assert not queue.order

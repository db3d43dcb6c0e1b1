"""Attempts that wait hold nothing, and compete again for what they gave back."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.model.lifecycle import StepStatus
from tests.support.brain import THREADS, Driver, flow, kinds, nothing, step, task

KINDS = pytest.mark.parametrize("make", [step, task])
TWICE = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0.0)


@KINDS
def test_a_step_that_waits_gives_back_what_it_holds(make):
    """Another step of its kind starts, and the step itself stays `running`."""
    driver = Driver(workers=1)
    driver.start(flow(make("a"), make("b")))

    assert ["step.suspended a", "step.started b"] == kinds(driver.suspend("a"))
    assert ["a", "b"] == driver.running()
    assert StepStatus.RUNNING is driver.brain.runs["run"].steps["a"].status


@KINDS
def test_a_step_continues_once_there_is_room(make):
    """When its wait is over and the other has ended; its body is told then."""
    driver = Driver(workers=1)
    driver.start(flow(make("a"), make("b")))
    driver.suspend("a")

    assert [] == kinds(driver.wake("a"))
    assert [] == driver.continued
    assert ["step.completed b", "step.continued a"] == kinds(driver.end("b"))
    assert [driver.attempt("a")] == driver.continued
    driver.end("a")
    driver.laws.at_rest()


@KINDS
@pytest.mark.parametrize(("priority", "next_"), [(0, "step.continued a"), (1, "step.started c")])
def test_a_step_that_continues_competes_by_its_priority(make, priority, next_):
    """And goes before an equal one that became ready later."""
    driver = Driver(workers=1)
    driver.start(flow(make("a"), make("b"), make("c", "b", priority=priority)))
    driver.suspend("a")
    driver.wake("a")

    assert ["step.completed b", "step.ready c", next_] == kinds(driver.end("b"))


def test_a_step_waits_once_at_a_time():
    """Nothing happens when it is said twice, when the wait is over twice, or to others."""
    driver = Driver(workers=2)
    driver.start(flow(task("a"), task("b")))

    assert [] == driver.wake("b")
    driver.suspend("a")
    assert [] == driver.suspend("a")
    driver.wake("a")
    assert [] == driver.wake("a")
    assert 1 == len(driver.continued)


def test_a_step_may_wait_several_times():
    """With room in between."""
    driver = Driver(workers=1)
    driver.start(flow(task("a")))
    for _ in range(3):
        driver.suspend("a")
        driver.wake("a")
    driver.end("a")

    assert 3 == len(driver.continued)
    driver.laws.at_rest()


# ── Timeouts ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [{"timeout": 5.0}, {"total_timeout": 5.0}])
def test_the_timeouts_of_a_step_stand_still_while_it_waits(options):
    """And go on with what was left."""
    driver = Driver()
    driver.start(flow(task("a", **options)))
    driver.wait(3.0)
    driver.suspend("a")
    assert None is driver.attempt("a").deadline
    driver.wait(100.0)
    driver.wake("a")

    assert driver.now + 2.0 == driver.attempt("a").deadline
    assert [] == driver.wait(1.5)
    assert "step.timed_out a" in kinds(driver.wait(1.0))


def test_the_timeout_of_the_run_goes_on():
    """The attempt that waits is stopped."""
    driver = Driver()
    driver.start(flow(task("a", timeout=3.0)), timeout=10.0)
    driver.suspend("a")
    assert 1010.0 == driver.attempt("a").deadline

    driver.wait(10.0)

    assert [driver.attempt("a")] == driver.stopped
    assert ["step.cancelled a", "run.failed"] == kinds(driver.fail("a"))
    driver.laws.at_rest()


def test_what_is_left_of_the_total_timeout_counts_for_the_next_attempt():
    """Also when the body ends by an error while it waits."""
    driver = Driver()
    driver.start(flow(task("a", total_timeout=5.0, retry=TWICE)))
    driver.wait(3.0)
    driver.suspend("a")
    driver.wait(100.0)
    driver.fail("a")
    driver.wait(1.0)

    assert ["a"] == driver.running()
    assert driver.now + 1.0 == driver.attempt("a").deadline


def test_the_clocks_go_on_when_the_grant_is_sent():
    """A record that takes long does not count."""
    driver = Driver(recording=True)
    driver.start(flow(task("a", timeout=5.0)))
    driver.commit()
    driver.settle()
    driver.commit()
    driver.suspend("a")
    driver.commit()
    driver.wake("a")
    driver.now += 50.0
    driver.settle()
    while driver.held:
        driver.commit()

    assert driver.now + 5.0 == driver.attempt("a").deadline


def test_an_attempt_may_end_before_the_grant_to_continue_is_sent():
    """What was left of its total timeout counts for the next one all the same."""
    driver = Driver(recording=True)
    driver.start(flow(task("a", total_timeout=5.0, retry=TWICE)))
    driver.commit()
    driver.settle()
    driver.commit()
    driver.wait(3.0)
    driver.suspend("a")
    driver.commit()
    driver.wake("a")
    driver.fail("a")
    while driver.held:
        driver.commit()

    assert driver.now + 2.0 == driver.brain.runs["run"].steps["a"].total_deadline[0]


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────


@KINDS
@pytest.mark.parametrize("woken", [False, True])
def test_a_step_that_waits_is_stopped_with_its_run(make, woken):
    """It does not continue, and it gives nothing back twice."""
    driver = Driver(workers=1)
    driver.start(flow(make("a"), make("b")))
    driver.suspend("a")
    if woken:
        driver.wake("a")
    driver.cancel()
    driver.fail("b")
    driver.fail("a")

    assert [] == driver.continued
    assert "cancelled" == driver.results["run"].status
    driver.laws.at_rest()


@KINDS
def test_a_body_may_end_although_it_waits(make):
    """As one whose wait has timed out in the body."""
    driver = Driver(workers=1)
    driver.start(flow(make("a"), make("b", "a")))
    driver.suspend("a")

    assert ["step.completed a", "step.ready b", "step.started b"] == kinds(driver.end("a"))
    driver.end("b")
    driver.laws.at_rest()


def test_a_thread_that_waits_is_abandoned_after_its_grace():
    """As any other that does not stop."""
    driver = Driver(grace=2.0)
    driver.start(flow(step("a")), executors={"a": THREADS})
    driver.suspend("a")
    driver.cancel()

    assert "step.abandoned a" in kinds(driver.wait(2.0))
    driver.laws.at_rest()


# ── Places ───────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_only_waits_gives_its_place_back():
    """Another run begins, and the first continues when that has ended."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "first")
    driver.start(flow(task("b")), "second")
    driver.suspend("a", run_id="first")

    assert ["b"] == driver.running("second")
    driver.wake("a", run_id="first")
    assert [] == driver.continued
    driver.end("b", run_id="second")
    assert [driver.attempt("a", "first")] == driver.continued
    driver.end("a", run_id="first")
    driver.laws.at_rest()


def test_a_run_keeps_its_place_while_another_of_its_steps_runs():
    """Until that step waits as well, or ends."""
    driver = Driver(places=1)
    driver.start(flow(task("a"), task("c")), "first")
    driver.start(flow(task("b")), "second")
    driver.suspend("a", run_id="first")
    assert [] == driver.running("second")

    driver.end("c", run_id="first")

    assert ["b"] == driver.running("second")


def test_a_run_gets_its_place_back_by_priority():
    """Before a run of lower priority that has waited longer."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "first", priority=1)
    driver.start(flow(task("b")), "second")
    driver.start(flow(task("c")), "third")
    driver.suspend("a", run_id="first")
    driver.wake("a", run_id="first")

    driver.end("b", run_id="second")

    assert [driver.attempt("a", "first")] == driver.continued
    assert [] == driver.running("third")


def test_a_run_whose_body_ends_takes_its_place_back_at_once():
    """Although there is none free: what has happened cannot wait."""
    driver = Driver(places=1)
    driver.start(flow(task("a"), task("d", "a")), "first")
    driver.start(flow(task("b")), "second")
    driver.suspend("a", run_id="first")
    driver.end("a", run_id="first")

    assert ["d"] == driver.running("first")
    assert -1 == driver.brain.waiting.free
    driver.end("d", run_id="first")
    driver.end("b", run_id="second")
    driver.laws.at_rest()
    assert 1 == driver.brain.waiting.free


def test_a_run_without_a_place_waits_for_one_to_be_undone():
    """Its compensators start when it has it."""
    driver = Driver(places=1)
    undoable = flow(task("a", compensate=nothing), task("b", "a"))
    driver.start(undoable, "first")
    driver.end("a", run_id="first")
    driver.suspend("b", run_id="first")
    driver.start(flow(task("c")), "second")
    driver.cancel("first", compensate=True)
    driver.fail("b", run_id="first")
    assert ["c"] == driver.running("second")

    driver.end("c", run_id="second")

    assert ["a"] == driver.running("first")
    driver.end("a", run_id="first")
    assert ("a",) == driver.results["first"].compensations
    driver.laws.at_rest()


@KINDS
@pytest.mark.parametrize("woken", [False, True])
@pytest.mark.parametrize("others", [False, True])
def test_a_run_that_waits_is_left(make, woken, others):
    """Its attempt is stopped and does not continue; nothing is recorded, and nothing kept."""
    driver = Driver(workers=1, places=1)
    driver.start(flow(make("a"), *([make("b")] if others else [])))
    driver.suspend("a")
    if woken and others:
        driver.wake("a")
    before = len(driver.events)
    driver.leave(grace=1.0)
    for step_id in driver.running():
        driver.fail(step_id)

    assert ["run"] == driver.left
    assert [] == driver.continued
    assert before == len(driver.events)
    assert 0 == driver.brain.workers.held


def test_a_compensator_that_ends_while_it_waits_takes_the_place_of_its_run_back():
    """It may be retried, which needs one."""
    driver = Driver(places=1)
    undo = Step("undo", nothing, async_=True, retry=TWICE)
    driver.start(flow(task("a", compensate=undo), task("b", "a")), "first")
    driver.end("a", run_id="first")
    driver.start(flow(task("c")), "second")
    driver.fail("b", run_id="first")
    driver.suspend("a", run_id="first")
    assert ["c"] == driver.running("second")

    driver.fail("a", run_id="first")

    assert driver.brain.runs["first"].active
    driver.wait(2.0)
    driver.end("a", run_id="first")
    driver.end("c", run_id="second")
    assert 1 == driver.brain.waiting.free
    driver.laws.at_rest()

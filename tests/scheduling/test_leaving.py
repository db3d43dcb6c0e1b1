"""Runs that are left: stopped without an end, and without an event."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.model.lifecycle import RunStatus
from actorflow.model.messages import AttemptFinished, BlockedLoop, LeaveRuns
from tests.scheduling.test_compensations import failed, undoing, undone
from tests.support.brain import THREADS, Driver, flow, kinds, step, task

TWICE = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0)
END = [None, ValueError("late")]


@pytest.mark.parametrize("error", END)
@pytest.mark.parametrize("make", [task, step])
def test_a_left_run_records_nothing_whatever_its_attempt_returns(make, error):
    """Its attempt is asked to stop, and then its worker or lane is free."""
    driver = Driver()
    driver.start(flow(make("a", retry=TWICE), make("b", "a")))
    told = driver.leave()
    stopped = [attempt.step_id for attempt in driver.stopped]
    waits = list(driver.left)
    told += driver.end("a", "late", error)

    assert ([], ["a"], [], ["run"]) == (told, stopped, waits, driver.left)
    driver.laws.at_rest()


def test_an_attempt_that_does_not_stop_is_abandoned_after_the_grace_of_the_shutdown():
    """And that is no event either."""
    driver = Driver(grace=60.0)
    driver.start(flow(step("a")), executors={"a": THREADS})
    driver.leave(grace=2.0)
    early = driver.wait(1.9), list(driver.abandoned)
    told = driver.wait(0.2)

    assert ([], []) == early
    assert ([], ["a"], ["run"]) == (told, [one.step_id for one in driver.abandoned], driver.left)
    driver.laws.at_rest()


def test_timeouts_and_backoffs_of_a_left_run_pass_without_effect():
    """Only its grace is still waited for."""
    driver = Driver()
    driver.start(flow(task("a", timeout=1.0), task("b", retry=TWICE)), timeout=3.0)
    driver.fail("b")
    driver.leave(grace=60.0)
    told = driver.wait(10.0)

    assert ([], []) == (told, driver.abandoned)
    driver.end("a")
    assert ["run"] == driver.left
    driver.laws.at_rest()


def test_ready_steps_of_a_left_run_do_not_start_when_workers_and_lanes_are_free():
    """Neither those that wait for one, nor those that have just become ready."""
    driver = Driver(workers=1)
    driver.start(flow(task("a"), task("b"), step("c"), step("d"), task("e", "a")))
    attempt = driver.in_flight.pop(("run", "a"))
    driver.now += 1.0
    driver.say(AttemptFinished(attempt, 1, None), LeaveRuns(["run"], 5.0))
    driver.settle()
    last = kinds(driver.events)[-2:]
    told = driver.end("c")

    assert ["step.completed a", "step.ready e"] == last
    assert ([], ["run"]) == (told, driver.left)
    driver.laws.at_rest()


def test_a_run_that_waits_for_a_place_stays_queued():
    """And gets none although the run before it is left."""
    driver = Driver(places=1)
    driver.start(flow(step("a")), "one")
    driver.start(flow(step("a")), "two")
    driver.leave()
    driver.end("a", run_id="one")

    assert {"one", "two"} == {*driver.left}
    assert ["run.accepted"] == kinds(driver.of("two"))
    driver.laws.at_rest()


def test_runs_that_the_brain_does_not_know_yet_are_left_too():
    """Their start may arrive later, and has no effect."""
    driver = Driver()
    driver.leave("late")
    told = driver.start(flow(step("a")), "late")

    assert ([], ["late", "late"]) == (told, driver.left)
    driver.laws.at_rest()


def test_a_run_that_was_cancelled_before_ends_first():
    """Or the cancellation would be lost."""
    driver = Driver()
    driver.start(flow(task("a")))
    driver.cancel()
    driver.leave()
    driver.end("a", error=ValueError())

    assert ([], RunStatus.CANCELLED) == (driver.left, driver.results["run"].status)
    driver.laws.at_rest()


def test_a_run_that_was_cancelled_before_lets_no_other_begin():
    """The place that it gives back when it ends stays free."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "one")
    driver.start(flow(task("a")), "two")
    driver.cancel("one")
    driver.leave()
    driver.end("a", error=ValueError(), run_id="one")

    assert (["two"], {"one"}) == (driver.left, {*driver.results})
    assert ["run.accepted"] == kinds(driver.of("two"))


def test_a_run_that_was_cancelled_before_gets_the_grace_of_the_shutdown():
    """However long its own is."""
    driver = Driver(grace=3600.0)
    driver.start(flow(task("a")))
    driver.cancel()
    driver.leave(grace=1.0)
    driver.wait(1.0)

    assert ([], RunStatus.CANCELLED) == (driver.left, driver.results["run"].status)


def test_a_run_that_is_cancelled_while_its_attempts_stop_is_cancelled():
    """It is still in progress here, and nothing else would hear of it."""
    driver = Driver(workers=1)
    driver.start(flow(task("a"), task("b"), step("c"), step("d")))
    driver.leave()
    driver.end("a")
    driver.cancel()
    told = driver.end("c", error=ValueError())

    assert "run.cancelled" == kinds(told)[-1]
    assert ([], RunStatus.CANCELLED) == (driver.left, driver.results["run"].status)
    driver.laws.at_rest()


def test_a_run_that_has_failed_is_left_when_it_is_recorded_that_it_is_undone():
    """Then another orchestrator undoes it."""
    driver = Driver()
    driver.start(flow(undone("a"), task("b", "a"), task("c", "a")))
    driver.end("a")
    driver.fail("b")
    driver.leave()
    told = driver.end("c", error=ValueError())

    assert "run.compensating" == kinds(told)[-1]
    assert ["run"] == driver.left
    driver.laws.at_rest()


def test_a_run_that_waits_for_a_place_to_be_undone_is_left_as_compensating():
    """Its cancellation is recorded with it; it would be lost if the run were only left."""
    workflow = flow(undone("a"), task("b", "a"))
    driver = Driver(places=1)
    driver.start(workflow)
    driver.end("a")
    driver.leave()
    driver.end("b")
    driver.crash()
    driver.brain = Driver(places=1).brain
    driver.start(flow(step("x")), "other")
    driver.resume(workflow)
    driver.cancel(compensate=True)
    told = driver.leave()
    driver.end("x", run_id="other")

    assert ["run.compensating"] == kinds(told)
    assert ["run", "run", "other"] == driver.left
    driver.laws.at_rest()


def test_a_compensator_is_stopped_and_its_run_stays_compensating():
    """It is undone where the run goes on; that the attempt was cut is no event."""
    driver = failed(flow(undone("a"), undone("b", "a"), step("last", "b")), "a", "b")
    told = driver.leave()
    told += driver.end("b", error=ValueError())

    assert ([], ["run"]) == (told, driver.left)
    driver.laws.at_rest()


def test_a_compensator_that_waits_for_its_next_attempt_is_left_at_once():
    """Nothing of it is in flight, and its backoff passes without effect."""
    workflow = flow(undone("a", compensate=undoing(retry=TWICE)), step("last", "a"))
    driver = failed(workflow, "a")
    driver.fail("a")
    driver.leave()
    told = driver.wait(60.0)

    assert ([], ["run"]) == (told, driver.left)
    driver.laws.at_rest()


@pytest.mark.parametrize("blocked", [True, False])
def test_reports_about_the_attempts_of_a_left_run_are_no_events(blocked):
    """A blocked loop, or an actor that dies."""
    driver = Driver()
    driver.start(flow(task("a")))
    attempt = driver.attempt("a")
    driver.leave()
    told = driver.tell(BlockedLoop(attempt, 1.0, "")) if blocked else driver.lose("a")
    told += driver.end("a")

    assert ([], ["run"]) == (told, driver.left)


def test_a_grant_that_waits_for_its_record_begins_nothing_when_that_comes_late():
    """Its executor does not call a function that is cancelled already."""
    driver = Driver(recording=True)
    driver.start(flow(task("a")), settle=False)
    driver.leave()
    while driver.held:
        driver.commit()
        driver.settle()
    cancelled, waits = driver.attempt("a").cancelled, list(driver.left)
    driver.end("a", error=ValueError())
    driver.commit()

    assert (True, []) == (cancelled, waits)
    assert ["run"] == driver.left


def test_a_second_shutdown_leaves_nothing_twice():
    """The first grace counts."""
    driver = Driver()
    driver.start(flow(task("a")))
    driver.leave(grace=1.0)
    driver.leave(grace=60.0)
    driver.wait(1.0)

    assert ["run"] == driver.left
    driver.laws.at_rest()


def test_what_was_left_goes_on_elsewhere_and_counts_its_attempts_on():
    """The attempt that was cut used up none of the step's attempts."""
    workflow = flow(task("a"), task("b", "a", retry=TWICE))
    driver = Driver()
    driver.start(workflow)
    driver.end("a", 1)
    driver.leave()
    driver.end("b")
    driver.take_over(workflow)
    driver.fail("b")
    driver.wait(60.0)
    numbers = [one.attempt for one in driver.of() if one.kind == "step.started"]
    driver.end("b", 2)

    assert [1, 1, 2, 3] == numbers
    assert {"a": 1, "b": 2} == driver.results["run"].outputs

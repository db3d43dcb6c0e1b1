"""Runs that are taken over after crashes: how long, and how attempts are counted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.running import TakenOverTooOften
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.past import Past
from tests.scheduling.test_compensations import chain, failed, undoing, undone
from tests.support.brain import Driver, flow, kinds, step, task

TWICE = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0)


def crashed(driver, workflow, times, *, before=0, **options):
    """Crash so many times in a row while something is in flight, and take over each time."""
    for number in range(before + 1, before + times + 1):
        driver.take_over(workflow, takeovers=number, **options)
    return driver


# ── Crashes in a row ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_run_is_taken_over_so_often_and_then_fails(most):
    """Its error names the steps in flight at each crash, and nothing starts any more."""
    workflow = flow(task("a"), task("b", "a"), task("c", "b"))
    driver = Driver()
    driver.start(workflow)
    driver.end("a")
    crashed(driver, workflow, most, most=most)
    alive = driver.running()
    crashed(driver, workflow, 1, before=most, most=most)
    result = driver.results["run"]

    assert ["b"] == alive
    assert RunStatus.FAILED is result.status
    assert isinstance(result.error, TakenOverTooOften)
    assert ((("b",),) * (most + 1), most) == (result.error.crashes, result.error.limit)
    assert {"a": 1, "b": most + 1, "c": 0} == {
        name: one.attempts for name, one in result.steps.items()
    }
    driver.laws.at_rest()


def test_a_run_that_is_given_up_is_undone_as_any_failure():
    """What had completed, in reverse order."""
    workflow = flow(undone("a"), undone("b", "a"), step("c", "b"))
    driver = Driver()
    driver.start(workflow)
    driver.end("a")
    driver.end("b")
    crashed(driver, workflow, 2, most=1)
    order = []
    while driver.running():
        order += driver.running()
        driver.end(order[-1])

    assert ["b", "a"] == order
    assert isinstance(driver.results["run"].error, TakenOverTooOften)


def test_a_step_that_settles_in_between_sets_the_count_back():
    """The next crash is the first of a new row."""
    workflow = flow(task("a"), task("b", "a"))
    driver = Driver()
    driver.start(workflow)
    crashed(driver, workflow, 2, most=2)
    driver.end("a")
    crashed(driver, workflow, 2, before=2, most=2)

    assert ["b"] == driver.running()


def test_a_hand_over_does_not_count():
    """However often it happens, with something in flight each time."""
    workflow = flow(task("a"))
    driver = Driver()
    driver.start(workflow)
    for _ in range(5):
        driver.leave()
        driver.end("a")
        driver.take_over(workflow, most=0)

    assert ["a"] == driver.running()


def test_a_crash_does_not_count_while_the_run_only_waits():
    """For a backoff, for example."""
    workflow = flow(task("a", retry=TWICE))
    driver = Driver()
    driver.start(workflow)
    driver.fail("a")
    crashed(driver, workflow, 1, most=0)

    assert ["a"] == driver.running()
    assert "in_flight" not in driver.of()[-3].data


def test_a_crash_before_a_hand_over_does_not_make_that_count():
    """Each is told apart by whether its owner had died."""
    workflow = flow(task("a"))
    driver = Driver()
    driver.start(workflow)
    crashed(driver, workflow, 1, most=1)
    for _ in range(3):
        driver.leave()
        driver.end("a")
        driver.take_over(workflow, takeovers=1, most=1)

    assert ["a"] == driver.running()


def test_a_person_who_resumes_a_run_sets_the_counts_back():
    """Of attempts, and of take-overs."""
    workflow = flow(task("a", retry=TWICE))
    driver = Driver()
    driver.start(workflow)
    driver.fail("a")
    driver.wait(10.0)
    crashed(driver, workflow, 2, most=1)
    driver.crash()
    driver.resume(workflow, takeovers=2)
    first = driver.attempt("a").number
    crashed(driver, workflow, 1, before=2, most=1)

    assert (1, 2) == (first, driver.attempt("a").number)


def test_a_compensator_that_ends_the_process_is_given_up_and_the_others_go_on():
    """Its run would be taken over for ever otherwise."""
    workflow = chain("a", "b")
    driver = failed(workflow, "a", "b")
    crashed(driver, workflow, 2, most=1)
    running = driver.running()
    driver.end("a")
    result = driver.results["run"]

    assert ["a"] == running
    assert (("a",), ("b",)) == (result.compensated, result.uncompensated)
    assert isinstance(result.steps["b"].error, TakenOverTooOften)
    driver.laws.at_rest()


def test_a_run_that_is_given_up_while_it_waits_for_a_place_fails_when_it_is_cancelled():
    """It had failed before."""
    workflow = flow(task("a"))
    driver = Driver(places=1)
    driver.start(workflow)
    driver.crash()
    driver.start(flow(task("x")), "other")
    events = driver.of()
    past = Past.of(events, 1)
    poison = TakenOverTooOften("run", past.crashes, 0)
    driver.resume(workflow, past=past, poison=poison, takeovers=1)
    driver.cancel()

    assert RunStatus.FAILED is driver.results["run"].status


# ── Attempts over all lives ──────────────────────────────────────────────────────────────────


def test_an_attempt_that_was_cut_has_a_number_and_uses_up_none():
    """Two attempts may fail after two that were cut."""
    workflow = flow(task("a", retry=TWICE))
    driver = Driver()
    driver.start(workflow)
    crashed(driver, workflow, 2)
    driver.fail("a")
    driver.wait(10.0)
    driver.fail("a")
    taken = driver.results["run"].steps["a"].attempts_taken

    assert [(1, "cut"), (2, "cut"), (3, "failed"), (4, "failed")] == [
        (one.number, one.outcome) for one in taken
    ]


def test_failures_count_over_all_lives():
    """Two attempts may fail: one before the crashes, and one after them."""
    workflow = flow(task("a", retry=TWICE))
    driver = Driver()
    driver.start(workflow)
    driver.fail("a")
    driver.wait(10.0)
    crashed(driver, workflow, 2)
    driver.fail("a")
    result = driver.results["run"]

    assert [1, 2, 3, 4] == [one.number for one in result.steps["a"].attempts_taken]
    assert ["failed", "cut", "cut", "failed"] == [
        one.outcome for one in result.steps["a"].attempts_taken
    ]


def test_the_backoff_does_not_grow_by_attempts_that_were_cut():
    """It is that of the failures."""
    policy = RetryPolicy(max_attempts=3, initial_interval=1.0, multiplier=10.0, jitter=0)
    workflow = flow(task("a", retry=policy))
    driver = Driver()
    driver.start(workflow)
    crashed(driver, workflow, 3)
    driver.fail("a")

    assert 1.0 == driver.of()[-1].data["delay"]


def test_attempts_of_a_compensator_are_counted_over_all_lives_too():
    """One that was cut uses up none."""
    undo = undoing(retry=TWICE)
    workflow = flow(undone("a", compensate=undo), step("last", "a"))
    driver = failed(workflow, "a")
    crashed(driver, workflow, 2)
    driver.fail("a")
    driver.wait(10.0)
    driver.fail("a")
    numbers = [one.attempt for one in driver.of() if one.kind == "compensation.started"]

    assert [1, 2, 3, 4] == numbers
    assert StepStatus.COMPENSATION_FAILED is driver.statuses()["a"]


@pytest.mark.parametrize("fail_fast", [True, False])
def test_a_step_that_has_failed_is_not_tried_again_when_its_run_is_taken_over(fail_fast):
    """It has used up its attempts; the run goes on to fail."""
    workflow = flow(task("a"), task("b"), task("c", "a"), fail_fast=fail_fast)
    driver = Driver()
    driver.start(workflow)
    driver.fail("a")
    driver.take_over(workflow, takeovers=1)
    running = driver.running()
    if not fail_fast:
        driver.end("b")
    result = driver.results["run"]

    assert ([] if fail_fast else ["b"]) == running
    assert (RunStatus.FAILED, "a") == (result.status, result.failed_step)
    assert 1 == result.steps["a"].attempts
    driver.laws.at_rest()


# ── A model ──────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.sampled_from(["crash", "hand over", "settle", "fail", "resume"]), max_size=12),
    st.integers(0, 3),
)
def test_a_run_is_given_up_exactly_after_too_many_crashes_in_a_row(deeds, most):
    """A counter says when, whatever else happens in between."""
    names = [f"s{number}" for number in range(14)]
    policy = RetryPolicy(max_attempts=99, initial_interval=0.001, jitter=0)
    chained = itertools.pairwise([None, *names])
    workflow = flow(*(task(name, *filter(None, [last]), retry=policy) for last, name in chained))
    driver, row, died = Driver(), 0, 0
    driver.start(workflow)
    for deed in deeds:
        (name,) = driver.running()
        if deed == "settle":
            row = 0
            driver.end(name)
        elif deed == "fail":
            driver.fail(name)
            driver.wait(10.0)
        elif deed == "hand over":
            driver.leave()
            driver.end(name)
            driver.take_over(workflow, takeovers=died, most=most)
        elif deed == "resume":
            row = 0
            died += 1
            driver.crash()
            driver.resume(workflow, takeovers=died)
        else:
            row, died = row + 1, died + 1
            driver.take_over(workflow, takeovers=died, most=most)
            if row > most:
                break

    assert (row > most) is ("run" in driver.results)
    assert ("run.failed" in kinds(driver.of())) is (row > most)

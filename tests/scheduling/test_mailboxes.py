"""Messages go to the attempts that wait for them, in order, and none is lost or given twice."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.model.mail import Receipts
from actorflow.model.messages import AttemptFinished
from tests.support.brain import Driver, flow, kinds, nothing, step, task

TWICE = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0.0)
NONE_YET = [("awaiting", None)]


def got(*numbers, name="go"):
    """What a body is told that gets messages."""
    return [("received", f"{name} {number}") for number in numbers]


@pytest.fixture
def driver():
    """A run with two steps side by side."""
    driver = Driver(workers=2)
    driver.start(flow(task("a", retry=TWICE), task("b"), fail_fast=False))
    return driver


def test_a_message_that_comes_before_the_wait_is_kept(driver):
    """The body gets it at once, and its step is not suspended."""
    assert [] == driver.arrive(1)
    assert got(1) == driver.ask("a")
    assert ["step.received a"] == kinds(driver.events[-1:])
    assert {"name": "go", "call": 1, "message": 1} == driver.events[-1].data


def test_a_message_goes_to_the_body_that_waits_for_its_name(driver):
    """Others go on waiting."""
    assert NONE_YET == driver.ask("a", "stop")
    assert NONE_YET == driver.ask("b")

    assert [("b", "go 1")] == driver.arrive(1)
    assert [("a", "stop 2")] == driver.arrive(2, name="stop")


def test_bodies_get_messages_in_the_order_of_their_waits(driver):
    """And messages are given in the order of their numbers."""
    driver.ask("b")
    driver.ask("a")
    driver.ask("b", call=2)

    assert [("b", "go 1"), ("a", "go 2")] == driver.arrive(1, 2)
    assert [("b", "go 3")] == driver.arrive(3)


def test_messages_that_are_said_again_are_not_given_again(driver):
    """As when two reads of them overlap."""
    driver.arrive(1, 2)
    driver.arrive(1, 2)

    assert [got(1), got(2), NONE_YET] == [driver.ask("a", call=call) for call in (1, 2, 3)]


def test_a_message_waits_for_those_before_it(driver):
    """As when a later read of them is heard of first."""
    driver.ask("a")
    driver.ask("b")

    assert [] == driver.arrive(2)
    assert [("a", "go 1"), ("b", "go 2")] == driver.arrive(1, 2)


def test_an_attempt_gets_what_the_failed_one_before_it_got(driver):
    """Nothing else does in between, although it waits; new messages come after them."""
    driver.arrive(1, 2)
    driver.ask("a")
    driver.ask("a", call=2)
    driver.ask("b")
    driver.suspend("b")
    driver.fail("a")
    driver.wait(1.0)

    assert [got(1), got(2)] == [driver.ask("a", call=call) for call in (1, 2)]
    assert [("b", "go 3")] == driver.arrive(3)


def test_what_a_completed_step_has_not_received_goes_to_others(driver):
    """Its last attempt asked for less than the one before."""
    driver.arrive(1, 2)
    driver.ask("a")
    driver.ask("a", call=2)
    driver.fail("a")
    driver.wait(1.0)
    driver.ask("a")
    driver.ask("b")
    driver.suspend("b")
    before = len(driver.answers)
    driver.end("a")

    assert [("b", "go 2")] == [(it.attempt.step_id, it.payload) for it in driver.answers[before:]]


def test_what_a_failed_step_received_goes_to_others(driver):
    """To the front of the line, before later messages."""
    driver.arrive(1, 2)
    driver.ask("a")
    driver.fail("a")
    driver.wait(1.0)
    driver.fail("a")

    assert [got(1), got(2)] == [driver.ask("b", call=call) for call in (1, 2)]


def test_what_a_failed_step_gives_back_goes_to_the_longest_wait():
    """Not to one that begins at that moment."""
    driver = Driver(workers=3)
    driver.start(flow(task("a"), task("b"), task("c"), fail_fast=False))
    driver.arrive(1)
    driver.ask("a")
    driver.ask("b")
    driver.say(AttemptFinished(driver.in_flight.pop(("run", "a")), None, ValueError("a")))
    driver.ask("c")

    assert [("b", "go 1")] == [
        (it.attempt.step_id, it.payload) for it in driver.answers if it.outcome == "received"
    ][1:]


def test_what_a_completed_step_received_is_gone(driver):
    """It was consumed."""
    driver.arrive(1)
    driver.ask("a")
    driver.end("a")

    assert NONE_YET == driver.ask("b")


def test_a_wait_expires(driver):
    """When its time is over; it gets nothing afterwards."""
    assert NONE_YET == driver.ask("a", timeout=2.0)
    assert {"name": "go", "call": 1, "until": 1_700_001_002.0} == driver.events[-1].data
    driver.wait(1.9)
    assert NONE_YET[0][0] == driver.answers[-1].outcome
    assert ["step.expired a"] == kinds(driver.wait(0.1))
    assert "expired" == driver.answers[-1].outcome
    assert [] == driver.arrive(1)
    assert got(1) == driver.ask("b")


def test_a_message_that_comes_in_time_ends_the_timeout(driver):
    """Nothing expires then."""
    driver.ask("a", timeout=2.0)
    driver.arrive(1)

    assert [] == driver.wait(5.0)
    assert 0 == len(driver.brain.deadlines)


def test_a_wait_that_is_forgotten_gets_nothing(driver):
    """The message goes to the next one."""
    driver.ask("a", timeout=2.0)
    driver.ask("b")
    driver.forget("a")

    assert [("b", "go 1")] == driver.arrive(1)
    assert 0 == len(driver.brain.deadlines)


def test_what_a_forgotten_wait_got_goes_to_the_next_wait_of_its_step(driver):
    """Its body was told too late."""
    driver.arrive(1, 2)
    driver.ask("a")
    driver.forget("a")

    assert [got(1), got(2)] == [driver.ask("a", call=call) for call in (2, 3)]


def test_an_attempt_that_must_stop_gets_nothing(driver):
    """Its message is there for the step when the run is resumed."""
    driver.ask("a")
    driver.suspend("a")
    driver.cancel()

    assert [] == driver.arrive(1)


def test_an_ended_run_leaves_no_deadline_and_no_mailbox():
    """Whatever waits in it."""
    driver = Driver(workers=1)
    driver.start(flow(task("a")))
    driver.ask("a", timeout=100.0)
    driver.end("a")

    driver.laws.at_rest()
    assert ({}, 0) == (driver.brain._mail.boxes, len(driver.brain.deadlines))
    assert [] == driver.arrive(1)


def test_a_left_run_forgets_its_waits():
    """And its timers."""
    driver = Driver(workers=1)
    driver.start(flow(task("a")))
    driver.ask("a", timeout=100.0)
    driver.leave()

    assert {} == driver.brain._mail.boxes


# ── Earlier lives ────────────────────────────────────────────────────────────────────────────


def test_a_run_that_is_taken_over_gives_its_steps_what_they_had():
    """Completed steps have consumed theirs; an interrupted one gets its own again."""
    workflow = flow(task("a"), task("b"), task("c"))
    driver = Driver(workers=3)
    driver.start(workflow)
    driver.arrive(1, 2, 3)
    driver.ask("a")
    driver.ask("b")
    driver.end("a")
    driver.take_over(workflow)
    driver.arrive(1, 2, 3)

    assert got(3) == driver.ask("c")
    assert got(2) == driver.ask("b")
    assert NONE_YET == driver.ask("c", call=2)


def test_receipts_follow_the_events_of_attempts():
    """The last attempt counts; what a failed step had is for anyone."""
    workflow = flow(task("a", retry=TWICE), task("b"), task("c"), fail_fast=False)
    driver = Driver(workers=3)
    driver.start(workflow)
    assert None is Receipts.of(driver.events)
    driver.arrive(1, 2, 3, 4)
    driver.ask("a")
    driver.ask("a", call=2)
    driver.ask("b")
    driver.fail("b")
    driver.ask("c")
    driver.fail("a")

    assert Receipts(frozenset(), {1: ("a", False), 2: ("a", False), 3: ("c", False)}) == (
        Receipts.of(driver.events)
    )
    driver.wait(1.0)
    driver.ask("a")
    driver.end("a")
    assert Receipts(frozenset({1}), {3: ("c", False)}) == Receipts.of(driver.events)


# ── Compensators ─────────────────────────────────────────────────────────────────────────────


def undone(**options):
    """A workflow whose first step is undone."""
    return flow(
        Step("a", nothing, async_=True, compensate=Step("undo", nothing, async_=True, **options)),
        step("b", "a"),
    )


def test_a_compensator_receives_messages_of_its_own():
    """Its events say so; what the step itself received stays consumed."""
    driver = Driver(workers=1)
    driver.start(undone())
    driver.arrive(1, 2)
    driver.ask("a")
    driver.end("a")
    driver.fail("b")

    assert got(2) == driver.ask("a")
    assert ["compensation.received a"] == kinds(driver.events[-1:])
    assert NONE_YET == driver.ask("a", call=2, timeout=1.0)
    driver.suspend("a")
    assert ["compensation.expired a"] == kinds(driver.wait(1.0))
    driver.wake("a")
    driver.end("a")
    assert Receipts(frozenset({1, 2})) == Receipts.of(driver.events)


def test_a_compensator_that_is_tried_again_gets_the_same_messages():
    """As a step does."""
    driver = Driver(workers=1)
    driver.start(undone(retry=TWICE))
    driver.end("a")
    driver.fail("b")
    driver.arrive(1)
    driver.ask("a")
    driver.fail("a")
    driver.wait(1.0)

    assert got(1) == driver.ask("a")

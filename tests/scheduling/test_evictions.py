"""Runs that wait for messages leave memory, and go on later as if they had not."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.model.mail import Eviction
from actorflow.model.mailing import EvictRun
from tests.support.brain import EPOCH, Driver, flow, kinds, task

AGAIN = RetryPolicy(max_attempts=3, initial_interval=1.0, jitter=0.0)
FLOW = flow(task("a", timeout=5.0, retry=AGAIN), task("b", retry=AGAIN), fail_fast=False)


@pytest.fixture
def driver():
    """A run with two steps side by side, of a brain that evicts after ten seconds."""
    driver = Driver(workers=2, evict_after=10.0)
    driver.start(FLOW)
    return driver


def waits(driver, step_id, *asked, **options):
    """Let a step's body wait for a message, which it does not get."""
    assert ("awaiting", None) == driver.ask(step_id, *asked, **options)[-1]
    driver.suspend(step_id)


def wall(driver):
    """The brain's moment, in seconds since the epoch."""
    return EPOCH + driver.now


# ── When a run goes ──────────────────────────────────────────────────────────────────────────


def test_a_run_that_only_waits_is_evicted(driver):
    """After a while, without an event; nothing of it is left."""
    waits(driver, "a", "go")
    waits(driver, "b", "stop")
    before = len(driver.events)

    assert [] == driver.wait(9.0)
    assert [] == driver.evicted
    driver.wait(1.0)
    for step_id in ("a", "b"):
        driver.end(step_id, error=ValueError("stopped"))
    assert [Eviction("message 'go', 'stop'", 0, None, None)] == driver.evicted
    assert before == len(driver.events)
    assert {} == driver.brain.runs == driver.brain.leaving.runs == driver.brain._mail.boxes
    assert 0 == len(driver.brain.deadlines) == driver.brain.workers.held


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda it: it.ask("b"), id="runs"),
        pytest.param(lambda it: it.fail("b"), id="retries"),
        pytest.param(lambda it: it.suspend("b"), id="waits for something else"),
        pytest.param(lambda it: waits(it, "b", evict=False), id="keeps its frame"),
    ],
)
def test_a_run_stays_while_a_step_does_anything_else(driver, act):
    """However long the others wait."""
    waits(driver, "a")
    act(driver)
    driver.wait(0.5)
    driver.wait(100.0)

    assert [] == driver.evicted
    assert ["run"] == list(driver.brain.runs)


def test_a_paused_run_goes_when_its_pause_is_over(driver):
    """Its clocks may stand still, which only memory knows."""
    waits(driver, "a")
    waits(driver, "b")
    driver.pause(freeze=True)
    driver.wait(100.0)
    assert [] == driver.evicted

    driver.unpause()
    driver.wait(10.0)
    for step_id in ("a", "b"):
        driver.end(step_id, error=ValueError("stopped"))
    assert 1 == len(driver.evicted)


def test_a_run_goes_when_its_last_other_step_has_ended(driver):
    """Ten seconds after that at the latest."""
    waits(driver, "a")
    driver.wait(30.0)
    driver.end("b")
    driver.wait(10.0)
    driver.end("a", error=ValueError("stopped"))

    assert 1 == len(driver.evicted)


def test_the_last_wait_counts(driver):
    """Each attempt has waited for ten seconds."""
    waits(driver, "a")
    driver.wait(6.0)
    waits(driver, "b")
    driver.wait(4.0)
    driver.wait(5.0)
    assert [] == driver.stopped
    driver.wait(1.0)

    assert {"a", "b"} == {it.step_id for it in driver.stopped}


def test_the_host_may_have_a_run_stay(driver):
    """As it does while a step waits for a child; later it has it go."""
    driver.stays = True
    waits(driver, "a")
    waits(driver, "b")
    driver.wait(10.0)
    driver.wait(100.0)
    assert [] == driver.stopped
    driver.tell(EvictRun("run"))

    assert 2 == len(driver.stopped)


def test_a_message_that_comes_first_keeps_the_run(driver):
    """It came between the question and the eviction."""
    driver.stays = True
    waits(driver, "a")
    waits(driver, "b")
    driver.wait(10.0)
    driver.arrive(1)
    driver.wake("a")
    driver.tell(EvictRun("run"))

    assert [] == driver.stopped
    assert ["run"] == list(driver.brain.runs)


def test_a_run_that_is_compensated_stays():
    """Its compensator keeps its frame."""
    driver = Driver(workers=1, evict_after=10.0)
    driver.start(flow(task("a", compensate=task("undo").run), task("b", "a")))
    driver.end("a")
    driver.fail("b")
    waits(driver, "a")
    driver.wait(100.0)

    assert [] == driver.stopped


def test_a_cancelled_run_ends_although_it_is_being_evicted(driver):
    """Its end is recorded when its bodies have ended."""
    waits(driver, "a")
    waits(driver, "b")
    driver.wait(10.0)
    driver.end("a", error=ValueError("stopped"))
    driver.cancel()

    assert "run.cancelled" in kinds(driver.end("b", error=ValueError("stopped")))
    assert [] == driver.evicted


def test_a_cancelled_run_is_not_evicted_when_it_is_left_later():
    """A shutdown leaves it while it is compensated."""
    driver = Driver(workers=2, evict_after=10.0)
    undone = task("a", compensate=task("undo").run)
    driver.start(flow(undone, task("b", "a"), task("c", "a")))
    driver.end("a")
    waits(driver, "b")
    waits(driver, "c")
    driver.wait(10.0)
    driver.cancel(compensate=True)
    driver.end("b", error=ValueError("stopped"))
    driver.end("c", error=ValueError("stopped"))
    driver.leave()
    driver.end("a", error=ValueError("stopped"))

    assert ([], ["run"]) == (driver.evicted, driver.left)


def test_a_stubborn_body_is_abandoned_by_an_eviction(driver):
    """After the grace, without an event."""
    waits(driver, "a")
    waits(driver, "b")
    driver.wait(10.0)
    driver.end("a", error=ValueError("stopped"))
    driver.wait(5.0)

    assert ["b"] == [it.step_id for it in driver.abandoned]
    assert 1 == len(driver.evicted)


# ── What is kept of it ───────────────────────────────────────────────────────────────────────


def test_an_eviction_says_when_the_run_must_go_on():
    """At the end of its first wait, or of its own time."""
    driver = Driver(workers=2, evict_after=10.0)
    driver.start(FLOW, timeout=300.0)
    began = wall(driver)
    waits(driver, "a", timeout=100.0)
    waits(driver, "b", timeout=50.0)
    driver.wait(10.0)
    for step_id in ("a", "b"):
        driver.end(step_id, error=ValueError("stopped"))

    [eviction] = driver.evicted
    assert (began + 50.0, began + 300.0) == (eviction.wake_at, eviction.deadline_at)


def evicted(driver):
    """Have the run evicted, and taken up by another brain."""
    driver.wait(10.0)
    for step_id in [step_id for _, step_id in driver.in_flight]:
        driver.end(step_id, error=ValueError("stopped"))
    assert driver.evicted
    driver.take_over(FLOW)


def test_an_attempt_begins_again_under_its_number(driver):
    """And is told what it was told before: messages, and that a wait expired."""
    driver.fail("a")
    driver.wait(1.0)
    driver.arrive(1)
    driver.ask("a")
    waits(driver, "a", "never", timeout=1.0)
    driver.wait(1.0)
    driver.wake("a")
    waits(driver, "a", "go", 2)
    waits(driver, "b", "stop")
    evicted(driver)
    before = len(driver.events)

    assert 2 == driver.in_flight["run", "a"].number
    assert 1 == driver.in_flight["run", "b"].number
    driver.arrive(1)
    assert [("received", "go 1")] == driver.ask("a")
    assert [("expired", None)] == driver.ask("a", "never", timeout=1.0)
    assert before == len(driver.events)
    assert [("awaiting", None)] == driver.ask("a", "go", 2)
    assert [("a", "go 2")] == driver.arrive(2)


def test_a_wait_that_begins_again_keeps_its_time(driver):
    """It expires when it would have expired."""
    driver.end("b")
    waits(driver, "a", timeout=15.0)
    evicted(driver)
    driver.ask("a", timeout=15.0)
    driver.suspend("a")

    assert [] == driver.wait(4.0)
    assert ["step.expired a"] == kinds(driver.wait(1.0))


def test_a_wait_that_expired_meanwhile_expires_at_once(driver):
    """Unless there is a message: that comes first."""
    driver.end("b")
    waits(driver, "a", timeout=15.0)
    driver.wait(10.0)
    driver.end("a", error=ValueError("stopped"))
    driver.wait(60.0)
    driver.take_over(FLOW)
    driver.ask("a", timeout=15.0)

    assert ["step.expired a"] == kinds(driver.wait(0.0))


def test_attempts_that_begin_again_use_up_none_of_their_number(driver):
    """However often that happens."""
    driver.end("b")
    for _ in range(5):
        waits(driver, "a")
        evicted(driver)

    assert 1 == driver.in_flight["run", "a"].number
    driver.fail("a")
    driver.wait(1.0)
    assert 2 == driver.in_flight["run", "a"].number


def test_a_crash_while_attempts_only_wait_is_like_an_eviction(driver):
    """Their bodies begin again under their numbers; one that kept its frame is tried again."""
    waits(driver, "a")
    waits(driver, "b", evict=False)
    driver.take_over(FLOW, takeovers=1)

    assert 1 == driver.in_flight["run", "a"].number
    assert 2 == driver.in_flight["run", "b"].number


def test_a_crash_before_the_body_was_told_gives_it_the_same_message(driver):
    """The message was given to it, but it may not have gone on."""
    driver.end("b")
    waits(driver, "a")
    driver.arrive(1)
    driver.take_over(FLOW, takeovers=1)
    driver.arrive(1)

    assert 1 == driver.in_flight["run", "a"].number
    assert [("received", "go 1")] == driver.ask("a")


def test_a_person_who_resumes_begins_anew(driver):
    """Messages that were not consumed are given to the new attempts."""
    driver.end("b")
    driver.arrive(1)
    driver.ask("a")
    waits(driver, "a", "go", 2)
    evicted(driver)
    driver.cancel()
    driver.end("a", error=ValueError("stopped"))
    driver.resume(FLOW)

    assert 1 == driver.in_flight["run", "a"].number

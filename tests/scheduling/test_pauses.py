"""Nothing of a paused run starts; what is in flight goes on, and so does everything afterwards."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.model.families import ChildStarted, ChildUndone
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.messages import AttemptFinished, PauseRun, StartPaused
from actorflow.model.pausing import Pause, Pausing
from tests.support.brain import EPOCH, Driver, flow, kinds, nothing, scope, step, task

TWICE = RetryPolicy(max_attempts=2, initial_interval=4.0, jitter=0.0)
PAUSE = Pause(reason="a rest")
FREEZE = pytest.mark.parametrize("freeze", [False, True])
KINDS = pytest.mark.parametrize("make", [step, task])


# ── What starts ──────────────────────────────────────────────────────────────────────────────


@KINDS
def test_what_is_in_flight_ends_and_its_dependents_wait(make):
    """They are ready, and start when the pause is over."""
    driver = Driver()
    driver.start(flow(make("a"), make("b", "a"), make("c", "a")))

    (paused,) = driver.pause()
    assert ("run.paused", {"reason": "a rest", "freeze": False}) == (paused.kind, paused.data)
    assert ["step.completed a", "step.ready b", "step.ready c"] == kinds(driver.end("a"))
    started = ["step.started b", "step.started c"] if make is task else ["step.started b"]
    assert ["run.unpaused", *started] == kinds(driver.unpause())


def test_pausing_twice_is_pausing_once():
    """The first pause counts, and nothing is said of a run that is not paused."""
    driver = Driver()
    driver.start(flow(task("a", timeout=5.0)), timeout=10.0)

    assert [] == driver.unpause()
    driver.pause()
    assert [] == driver.pause(freeze=True)
    assert ["run.unpaused"] == kinds(driver.unpause())
    assert [] == driver.unpause()
    assert [] == driver.pause("another")


def test_what_waits_for_a_worker_is_withdrawn():
    """Another run gets the worker; afterwards the step competes again."""
    driver = Driver(workers=1)
    driver.start(flow(task("a"), task("b")), "first")
    driver.start(flow(task("c")), "second")
    driver.pause("first")

    assert ["step.completed a", "step.started c"] == kinds(driver.end("a", run_id="first"))
    assert ["run.unpaused"] == kinds(driver.unpause("first"))
    assert "step.started b" in kinds(driver.end("c", run_id="second"))


def test_what_waits_for_the_sync_lane_is_withdrawn():
    """It starts once, after the pause."""
    driver = Driver()
    driver.start(flow(step("a"), step("b")))
    driver.pause()

    assert ["step.completed a"] == kinds(driver.end("a"))
    assert ["run.unpaused", "step.started b"] == kinds(driver.unpause())


def test_a_pause_within_the_decision_that_makes_a_step_ready_holds_it():
    """And one that ends within a decision changes nothing."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    end = AttemptFinished(driver.in_flight.pop(("run", "a")), None, None)
    driver.say(end, PauseRun("run", PAUSE))
    assert [] == driver.running()

    driver.say(PauseRun("run", None), PauseRun("run", PAUSE), PauseRun("run", None))

    assert ["b"] == driver.running()


def test_a_retry_waits_for_the_end_of_the_pause():
    """Its backoff goes on."""
    driver = Driver()
    driver.start(flow(task("a", retry=TWICE)))
    driver.pause()
    driver.fail("a")

    assert ["step.ready a"] == kinds(driver.wait(4.0))
    assert ["run.unpaused", "step.started a"] == kinds(driver.unpause())


@KINDS
def test_a_suspended_attempt_does_not_continue(make):
    """Although its wait is over."""
    driver = Driver(workers=1)
    driver.start(flow(make("a")))
    driver.suspend("a")
    driver.pause()

    assert [] == driver.wake("a")
    assert ["run.unpaused", "step.continued a"] == kinds(driver.unpause())


def test_the_end_of_a_waiting_body_changes_nothing_of_the_pause():
    """What follows from it waits."""
    driver = Driver(places=1)
    driver.start(flow(task("a"), task("b", "a")))
    driver.suspend("a")
    driver.pause()

    assert ["step.completed a", "step.ready b"] == kinds(driver.end("a"))
    assert ["run.unpaused", "step.started b"] == kinds(driver.unpause())


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_run_does_not_complete():
    """But when the pause is over, without a place."""
    driver = Driver(places=1)
    driver.start(flow(task("a")))
    driver.start(flow(task("b")), "other")
    driver.pause()

    assert ["step.completed a", "run.started", "step.ready b", "step.started b"] == kinds(
        driver.end("a")
    )
    assert ["run.unpaused", "run.completed"] == kinds(driver.unpause())


def test_a_paused_run_fails_with_what_was_in_flight():
    """There is nothing to wait for."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    driver.pause()

    assert ["step.failed a", "step.cancelled b", "run.failed"] == kinds(driver.fail("a"))
    driver.laws.at_rest()


def test_the_deadline_of_a_paused_run_goes_on():
    """It fails by it."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")), timeout=10.0)
    driver.pause()
    driver.end("a")

    assert ["step.cancelled b", "run.failed"] == kinds(driver.wait(10.0))
    driver.laws.at_rest()


@FREEZE
def test_cancelling_a_paused_run_ends_the_pause(freeze):
    """Its event says so, and it is not paused again."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")), timeout=10.0)
    driver.pause(freeze=freeze)
    unpaused, cancelled = driver.cancel()

    assert ("run.unpaused", True) == (unpaused.kind, unpaused.data["cancelled"])
    assert "step.cancelled" == cancelled.kind
    assert ["run.unpaused"] == kinds(driver.pause())
    driver.fail("a")
    assert RunStatus.CANCELLED is driver.results["run"].status
    driver.laws.at_rest()


def test_a_cancelled_run_is_undone_after_its_pause():
    """At once."""
    driver = Driver()
    driver.start(flow(task("a", compensate=nothing), task("b", "a")))
    driver.pause()
    driver.end("a")

    assert ["run.unpaused", "step.cancelled b", "run.compensating", "compensation.started a"] == (
        kinds(driver.cancel(compensate=True))
    )


def test_a_failed_run_is_undone_when_its_pause_is_over():
    """No compensator starts before."""
    driver = Driver()
    driver.start(flow(task("a", compensate=nothing), task("b", "a"), task("c", "b")))
    driver.end("a")
    driver.pause()

    assert "compensation.started a" not in kinds(driver.fail("b"))
    assert RunStatus.COMPENSATING is driver.brain.runs["run"].status
    assert ["run.unpaused", "compensation.started a"] == kinds(driver.unpause())
    assert ["compensation.completed a", "run.failed"] == kinds(driver.end("a"))


def test_a_compensator_in_flight_ends_and_the_next_one_waits():
    """As steps do."""
    driver = Driver()
    undo = {"compensate": Step("undo", nothing, async_=True)}
    driver.start(flow(task("a", **undo), task("b", "a", **undo), task("c", "b")))
    driver.end("a")
    driver.end("b")
    driver.fail("c")
    driver.pause()

    assert ["compensation.completed b"] == kinds(driver.end("b"))
    assert ["run.unpaused", "compensation.started a"] == kinds(driver.unpause())


# ── Places ───────────────────────────────────────────────────────────────────────────────────


def test_a_paused_run_gives_its_place_back_when_nothing_of_it_is_in_flight():
    """And takes it again by its priority."""
    driver = Driver(places=1)
    driver.start(flow(task("a"), task("b", "a")), priority=1)
    driver.start(flow(task("c")), "other")
    driver.start(flow(task("d")), "third")
    driver.pause()
    assert "step.started c" in kinds(driver.end("a"))

    assert ["run.unpaused"] == kinds(driver.unpause())
    assert ["step.completed c", "run.completed", "step.started b"] == kinds(
        driver.end("c", run_id="other")
    )


def test_what_becomes_ready_while_a_run_waits_for_its_place_waits_with_it():
    """Such as a step whose backoff is over then."""
    driver = Driver(places=1)
    driver.start(flow(task("a", retry=TWICE)))
    driver.start(flow(task("c")), "other")
    driver.pause()
    driver.fail("a")
    driver.unpause()

    assert ["step.ready a"] == kinds(driver.wait(4.0))
    assert "step.started a" in kinds(driver.end("c", run_id="other"))


@pytest.mark.parametrize("over", [False, True])
def test_a_run_leaves_its_place_to_the_child_that_is_undone(over):
    """Also when its pause is over; afterwards it goes on, when it is not paused."""
    driver = Driver(places=1)
    driver.children["run"] = [("a", "child")]
    driver.start(flow(task("z", compensate=nothing), task("a", "z"), task("b", "a")))
    driver.end("z")
    driver.wait(1.0)
    driver.tell(ChildStarted("run", "a"))
    driver.end("a")
    driver.fail("b")
    (child,) = driver.undone
    driver.pause()
    if over:
        driver.unpause()
    assert 1 == driver.brain.waiting.free

    goes_on = ["compensation.started z"]
    ended = kinds(driver.tell(ChildUndone("run", child.child_id)))
    assert (goes_on if over else []) == ended
    assert ([] if over else ["run.unpaused", *goes_on]) == kinds(driver.unpause())


def test_a_run_that_waits_for_a_place_is_paused_where_it_stands():
    """It holds up no other, and begins afterwards."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "first")
    driver.start(flow(task("b")), "second")
    driver.start(flow(task("c")), "third")
    driver.pause("second")

    assert "step.started c" in kinds(driver.end("a", run_id="first"))
    assert ["run.unpaused"] == kinds(driver.unpause("second"))
    assert "step.started b" in kinds(driver.end("c", run_id="third"))


def test_a_run_may_be_paused_again_while_it_waits_for_its_place():
    """It waits no longer."""
    driver = Driver(places=1)
    driver.start(flow(task("a"), task("b", "a")))
    driver.start(flow(task("c")), "other")
    driver.pause()
    driver.end("a")
    driver.unpause()
    driver.pause()
    driver.end("c", run_id="other")

    assert [] == driver.running()
    assert ["run.unpaused", "step.started b"] == kinds(driver.unpause())


# ── Clocks ───────────────────────────────────────────────────────────────────────────────────


def test_a_frozen_deadline_is_moved_by_the_pause():
    """By exactly its length, also for attempts in flight and for children."""
    driver = Driver()
    driver.start(flow(task("a")), timeout=10.0)
    driver.wait(3.0)
    driver.pause(freeze=True)
    attempt = driver.attempt("a")
    assert (None, None) == (attempt.deadline, attempt.scope.deadline)

    assert [] == driver.wait(100.0)
    driver.unpause()

    assert driver.now + 7.0 == attempt.deadline == attempt.scope.deadline
    driver.wait(6.5)
    assert [] == driver.stopped
    driver.wait(0.5)
    assert [attempt] == driver.stopped


def test_a_frozen_total_timeout_is_moved_by_the_pause():
    """While the timeout of the attempt goes on."""
    driver = Driver()
    driver.start(flow(task("a", total_timeout=10.0, timeout=6.0, retry=TWICE)))
    driver.wait(3.0)
    driver.pause(freeze=True)
    assert 1006.0 == driver.attempt("a").deadline

    assert ["step.timed_out a"] == kinds(driver.wait(3.0))
    driver.fail("a")
    assert [] == driver.wait(100.0)
    assert ["run.unpaused"] == kinds(driver.unpause())
    assert ["step.ready a", "step.started a"] == kinds(driver.wait(4.0))
    assert driver.now + 3.0 == driver.attempt("a").deadline


def test_a_backoff_that_begins_in_a_frozen_pause_begins_after_it():
    """And its end comes no sooner."""
    driver = Driver()
    driver.start(flow(task("a", retry=TWICE)))
    driver.pause(freeze=True)
    driver.wait(50.0)
    driver.fail("a")
    assert [] == driver.wait(50.0)
    driver.unpause()

    assert [] == driver.wait(3.5)
    assert ["step.ready a", "step.started a"] == kinds(driver.wait(0.5))


def test_a_backoff_goes_on_where_a_frozen_pause_has_stopped_it():
    """With what was left."""
    driver = Driver()
    driver.start(flow(task("a", retry=TWICE)))
    driver.fail("a")
    driver.wait(1.0)
    driver.pause(freeze=True)
    assert [] == driver.wait(50.0)
    driver.unpause()

    assert [] == driver.wait(2.5)
    assert ["step.ready a", "step.started a"] == kinds(driver.wait(0.5))


def test_a_clock_that_would_begin_in_a_frozen_pause_begins_after_it():
    """A grant that waits for its record leaves in the pause."""
    driver = Driver(recording=True)
    driver.start(flow(task("a", total_timeout=5.0)))
    while driver.held and driver.brain.runs["run"].steps["a"].current is None:
        driver.commit()
        driver.settle()
    driver.say(PauseRun("run", Pause(reason="a rest", freeze=True)))
    while driver.held:
        driver.commit()
        driver.settle()
    assert [] == driver.wait(50.0)
    driver.unpause()

    assert driver.now + 5.0 == driver.attempt("a").deadline


def test_the_timeouts_of_a_suspended_attempt_stand_still_in_any_case():
    """In the pause as well, whichever comes first."""
    driver = Driver()
    driver.start(flow(task("a", total_timeout=10.0)))
    driver.wait(2.0)
    driver.pause(freeze=True)
    driver.wait(10.0)
    driver.suspend("a")
    driver.wait(10.0)
    driver.unpause()
    driver.wake("a")

    assert driver.now + 8.0 == driver.attempt("a").deadline


def test_a_compensator_does_not_time_out_by_a_clock_that_stands_still():
    """Although its end comes later than that."""
    driver = Driver()
    undo = Step("undo", nothing, async_=True, total_timeout=5.0)
    driver.start(flow(task("a", compensate=undo), task("b", "a")))
    driver.end("a")
    driver.fail("b")
    driver.pause(freeze=True)
    driver.wait(10.0)
    driver.in_flight["run", "a"].ended_at = driver.now

    assert ["compensation.completed a", "run.failed"] == kinds(driver.end("a"))


# ── Other lives ──────────────────────────────────────────────────────────────────────────────


def paused_start(driver, workflow, pausing, **others):
    """Have a run begin that its record says is paused."""
    plan = workflow.plan()
    driver.start(workflow, "known")
    known = driver.starts["known"]
    message = StartPaused(scope("run"), plan, known.executors, None, None, 0, None, 0, **others)
    message = StartPaused(
        **{it: getattr(message, it) for it in known.__match_args__}, pausing=pausing
    )
    driver.starts["run"] = message
    driver.laws.begin("run", message)
    return driver.tell(message)


def test_a_run_may_begin_paused():
    """It has no place, and begins when the pause is over."""
    driver = Driver()
    pausing = Pausing(wanted=PAUSE, recorded=False)

    assert ["run.accepted", "run.paused"] == kinds(paused_start(driver, flow(task("a")), pausing))
    assert ["run.unpaused", "run.started", "step.ready a", "step.started a"] == kinds(
        driver.unpause()
    )


def test_a_run_whose_pause_is_over_says_so_when_it_begins():
    """It ended while no orchestrator had the run."""
    driver = Driver()
    pausing = Pausing(wanted=None, recorded=True)

    assert ["run.accepted", "run.unpaused", "run.started", "step.ready a", "step.started a"] == (
        kinds(paused_start(driver, flow(task("a")), pausing))
    )


def test_a_paused_run_can_be_left():
    """Its record goes on saying that it is paused."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    driver.pause()
    driver.end("a")

    assert [] == driver.leave()
    assert ["run"] == driver.left
    assert [] == driver.unpause()


def test_a_paused_run_that_is_left_can_be_cancelled():
    """Its attempts are being stopped then."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    driver.pause()
    driver.leave()

    assert ["run.unpaused", "step.cancelled b"] == kinds(driver.cancel())
    assert "run.cancelled" in kinds(driver.fail("a"))


def test_a_run_that_is_undone_in_a_pause_is_gone_on_with_when_it_is_cancelled():
    """It takes a place that is free at once."""
    driver = Driver(places=1)
    driver.start(flow(task("a", compensate=nothing), task("b", "a")))
    driver.end("a")
    driver.pause()
    driver.fail("b")

    assert ["run.unpaused", "compensation.started a"] == kinds(driver.cancel())


def test_the_steps_of_a_paused_run_keep_their_statuses():
    """There is no status for it."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    driver.pause()
    driver.end("a")
    run = driver.brain.runs["run"]

    assert (RunStatus.RUNNING, StepStatus.READY) == (run.status, run.steps["b"].status)
    assert EPOCH + driver.now == run.steps["a"].finished_at

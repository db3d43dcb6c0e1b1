"""How what a run has done is undone: one message after the other, and no actor, loop or clock."""

from __future__ import annotations

import asyncio

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.running import (
    ActorCrashed,
    CompensationCut,
    DeadlineExceeded,
    GiveUp,
    RetryAfter,
    StepTimeout,
)
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.messages import AttemptFinished, BlockedLoop, CancelRun
from tests.support.brain import THREADS, Driver, flow, kinds, nothing, step, task

EVENTUALLY = RetryPolicy(max_attempts=3, initial_interval=1.0, multiplier=2.0, jitter=0)


def undoing(id="undo", **options):
    """A compensator with limits of its own."""
    return Step(id, nothing, **options)


def undone(id, *after, **options):
    """A step that can be undone."""
    return step(id, *after, compensate=options.pop("compensate", nothing), **options)


def chain(*ids, **options):
    """Steps that can be undone, one after the other, and then one that fails."""
    steps = [undone(name, *ids[:place][-1:], **options) for place, name in enumerate(ids)]
    return flow(*steps, step("last", *ids[-1:]))


def failed(workflow, *ids, **options):
    """Drive a run until the steps named have completed, in that order, and "last" has failed."""
    driver = Driver(**options.pop("driver", {}))
    driver.start(workflow, **options)
    for name in ids:
        driver.end(name, f"of {name}")
    driver.fail("last")
    return driver


# ── Which steps are undone, and in which order ───────────────────────────────────────────────


def test_completed_steps_are_undone_in_reverse_order_of_completion():
    """One after the other: what built on a step is gone before the step is."""
    driver = failed(chain("a", "b"), "a", "b")
    first = driver.running()
    driver.end("b")
    second = driver.running()
    driver.end("a")

    assert (["b"], ["a"]) == (first, second)
    assert [
        "step.failed last",
        "run.compensating",
        "compensation.started b",
        "compensation.completed b",
        "compensation.started a",
        "compensation.completed a",
        "run.failed",
    ] == kinds(driver.events)[-7:]
    driver.laws.at_rest()


def test_it_is_the_order_of_completion_that_counts():
    """Not that of the definition, of the starts, or of what the clock says of the ends."""
    steps = [task(name, compensate=nothing) for name in "abc"]
    driver = failed(flow(*steps, step("last", "b")), "b", "c", "a", driver={"workers": 3})

    assert ("a", "c", "b") == driver.events[-2].data["steps"]
    assert ["a"] == driver.running()


def test_the_record_says_why_and_what_before_anything_is_undone():
    """A reader of the record can go on from there."""
    driver = failed(chain("a", "b"), "a", "b")

    data = driver.events[-2].data
    assert {"error", "failed_step", "steps"} == set(data)
    assert ("last", ("b", "a")) == (data["failed_step"], data["steps"])


def test_steps_without_a_compensator_and_steps_that_did_not_complete_are_left_alone():
    """There is nothing to call, or nothing to undo."""
    driver = Driver(workers=4)
    driver.start(
        flow(
            task("plain"),
            task("optional", required=False, compensate=nothing),
            task("stopped", compensate=nothing),
            task("done", compensate=nothing),
            step("last", compensate=nothing),
        )
    )
    driver.end("plain")
    driver.fail("optional")
    driver.end("done")
    driver.fail("last")
    driver.end("stopped", error=asyncio.CancelledError())
    driver.end("done")

    result = driver.results["run"]
    assert ("done",) == result.compensated == result.compensations
    assert {
        "plain": StepStatus.COMPLETED,
        "optional": StepStatus.SKIPPED,
        "stopped": StepStatus.CANCELLED,
        "done": StepStatus.COMPENSATED,
        "last": StepStatus.FAILED,
    } == driver.statuses()


def test_undoing_begins_when_the_running_steps_have_stopped():
    """One that ends well all the same is undone too, and first."""
    driver = Driver()
    driver.start(flow(undone("a"), task("slow", "a", compensate=nothing), step("last", "a")))
    driver.end("a")
    driver.fail("last")
    before = driver.running()
    driver.end("slow")

    assert ["slow"] == before
    assert ("slow", "a") == driver.events[-2].data["steps"]


def test_undoing_does_not_wait_for_what_was_abandoned():
    """It may hang for ever, and its step has not completed."""
    driver = Driver()
    driver.start(
        flow(undone("a"), task("hangs", "a", compensate=nothing), step("last", "a")),
        executors={"hangs": THREADS},
    )
    driver.end("a")
    driver.fail("last")
    driver.wait(5.0)

    assert ["hangs"] == [attempt.step_id for attempt in driver.abandoned]
    assert ["a"] == driver.running()


def test_without_fail_fast_the_branches_finish_first():
    """And are undone then."""
    driver = Driver()
    driver.start(flow(task("a", compensate=nothing), step("last"), fail_fast=False))
    driver.fail("last")
    before = driver.running()
    driver.end("a")

    assert ["a"] == before
    assert ["step.completed a", "run.compensating", "compensation.started a"] == kinds(
        driver.events
    )[-3:]


def test_a_run_that_completes_undoes_nothing():
    """Nor does one that has nothing to undo."""
    driver = Driver()
    driver.start(flow(undone("a")))
    driver.end("a")
    nobody = failed(flow(step("a"), undone("b", "last"), step("last", "a")), "a")

    assert "run.completed" == driver.events[-1].kind
    assert "run.failed" == nobody.events[-1].kind
    assert not {"run.compensating"} & {*kinds(driver.events), *kinds(nobody.events)}


def test_a_run_whose_timeout_passes_is_undone():
    """For whatever reason it fails. The timeout does not cut its undoing."""
    driver = Driver()
    driver.start(flow(undone("a"), step("b", "a"), timeout=10.0))
    driver.end("a")
    driver.wait(10.0)
    driver.end("b", error=asyncio.CancelledError())
    driver.wait(1000.0)
    running, deadline = driver.running(), driver.attempt("a").deadline
    driver.end("a")

    assert (["a"], None) == (running, deadline)
    assert isinstance(driver.results["run"].error, DeadlineExceeded)
    assert ("a",) == driver.results["run"].compensated


# ── What a compensator is given ──────────────────────────────────────────────────────────────


def test_a_compensator_is_given_what_its_step_saw_and_made():
    """By step id; a dependency that was skipped has no output then either."""
    driver = Driver()
    driver.start(
        flow(
            step("a"),
            step("b", required=False),
            undone("c", "a", "b"),
            step("last", "c"),
        )
    )
    driver.end("a", 1)
    driver.fail("b")
    driver.end("c", 3)
    driver.fail("last")

    told = [(one.step_id, one.output, one.skipped) for one in driver.seen["c"]]
    assert [("a", 1, False), ("b", None, True), ("c", 3, False)] == told


def test_an_attempt_of_a_compensator_is_one_of_its_own():
    """It is counted apart, and acts under another key."""
    driver = Driver()
    driver.start(flow(undone("a", retry=EVENTUALLY), step("last", "a")))
    driver.fail("a")
    driver.wait(1.0)
    driver.end("a")
    driver.fail("last")

    attempt = driver.attempt("a")
    assert (True, 1) == (attempt.compensates, attempt.number)
    assert 2 == driver.brain.runs["run"].steps["a"].attempts


# ── Leases and the lane ──────────────────────────────────────────────────────────────────────


def test_the_compensator_of_an_async_step_holds_a_lease():
    """And waits for one as long as there is none."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", compensate=nothing), step("last", "a")))
    driver.end("a")
    driver.start(flow(task("other")), "other run")
    driver.fail("last")
    waiting = driver.running()
    driver.end("other", run_id="other run")

    assert [] == waiting
    assert ["a"] == driver.running()
    assert 1 == driver.brain.workers.held


def test_a_compensator_waits_for_its_lease_by_priority():
    """As its step did: a bare function is run as the step is."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", priority=5, compensate=nothing), step("last", "a")))
    driver.end("a")
    driver.start(flow(task("holds"), task("low"), id="other"), "other run")
    driver.fail("last")
    driver.end("holds", run_id="other run")

    assert [("run", "a")] == list(driver.in_flight)


def test_the_compensator_of_a_sync_step_holds_no_lease():
    """It runs in its run's lane, where no other step is left."""
    driver = Driver(workers=1)
    driver.start(flow(task("other")), "other run")
    driver.start(chain("a"))
    driver.end("a")
    driver.fail("last")

    assert ["a"] == driver.running()


def test_a_compensator_may_say_for_itself_how_it_is_run():
    """An async step can be undone in the lane, and the other way round."""
    driver = Driver(workers=1)
    driver.start(
        flow(
            task("a", compensate=undoing()),
            undone("b", "a", compensate=undoing(async_=True)),
            step("last", "b"),
        )
    )
    driver.end("a")
    driver.end("b")
    driver.fail("last")
    of_b = driver.brain.workers.held
    driver.end("b")

    assert (1, 0) == (of_b, driver.brain.workers.held)
    assert ["a"] == driver.running()


# ── Retries and timeouts ─────────────────────────────────────────────────────────────────────


def test_a_failed_compensation_does_not_stop_the_others():
    """The result says which were undone and which were not, and why."""
    driver = failed(chain("a", "b", "c"), "a", "b", "c")
    error = OSError("gone")
    driver.end("c")
    driver.fail("b", error)
    driver.end("a")

    result = driver.results["run"]
    assert (("c", "a"), ("b",)) == (result.compensated, result.uncompensated)
    assert StepStatus.COMPENSATION_FAILED is result.steps["b"].status
    assert error is result.steps["b"].error
    assert ("b",) == driver.events[-1].data["uncompensated"]
    assert {} == result.outputs


def test_a_compensator_is_retried_by_its_own_policy():
    """While the step itself was tried once."""
    workflow = flow(undone("a", compensate=undoing(retry=EVENTUALLY)), step("last", "a"))
    driver = failed(workflow, "a")
    retrying = driver.fail("a")
    before = driver.wait(0.9)
    again = driver.wait(0.1)
    driver.end("a")

    assert ["compensation.retrying a"] == kinds(retrying)
    assert (1.0, 1) == (retrying[0].data["delay"], retrying[0].attempt)
    assert [] == before
    assert ["compensation.started a"] == kinds(again)
    assert 2 == again[0].attempt
    assert ("a",) == driver.results["run"].compensated
    assert driver.results["run"].steps["a"].error is None


@pytest.mark.parametrize(
    ("error", "delay"), [(GiveUp("no use"), None), (RetryAfter(30), 30.0), (KeyError(), 1.0)]
)
def test_a_compensator_steers_its_retries_as_a_step_does(error, delay):
    """By what it raises."""
    workflow = flow(undone("a", compensate=undoing(retry=EVENTUALLY)), step("last", "a"))
    driver = failed(workflow, "a")

    events = driver.fail("a", error)
    if delay is not None:
        assert delay == events[0].data["delay"]
        driver.wait(delay)
        driver.end("a")
    else:
        assert ["compensation.failed a", "run.failed"] == kinds(events)
    driver.laws.at_rest()


def test_a_compensator_has_no_more_attempts_than_its_policy_says():
    """Its last error is the step's then."""
    driver = failed(flow(undone("a", retry=EVENTUALLY), step("last", "a")), "a")
    last = ValueError("third")
    driver.fail("a")
    driver.wait(1.0)
    driver.fail("a")
    driver.wait(2.0)
    driver.fail("a", last)

    assert last is driver.results["run"].steps["a"].error
    driver.laws.at_rest()


def test_a_compensators_timeout_is_kept():
    """It is asked to stop, and has failed."""
    driver = failed(flow(undone("a", timeout=2.0), step("last", "a")), "a")
    events = driver.wait(2.0)
    driver.end("a", error=asyncio.CancelledError())

    assert ["compensation.timed_out a"] == kinds(events)
    assert [True] == [attempt.compensates for attempt in driver.stopped]
    assert isinstance(driver.results["run"].steps["a"].error, StepTimeout)


def test_each_attempt_of_a_compensator_has_its_timeout():
    """What became of the first does not count for the second."""
    undo = undoing(retry=EVENTUALLY, timeout=2.0)
    driver = failed(flow(undone("a", compensate=undo), step("last", "a")), "a")
    driver.wait(2.0)
    driver.end("a", error=asyncio.CancelledError())
    driver.wait(1.0)
    driver.wait(2.0)

    assert [1, 2] == [attempt.number for attempt in driver.stopped]


def test_a_compensator_that_hangs_on_a_thread_is_abandoned():
    """At once when its timeout passes, and with the stack that it hangs in."""
    workflow = flow(undone("a"), undone("b", "a", timeout=2.0), step("last", "b"))
    driver = failed(workflow, "a", "b", compensators={"b": THREADS})
    late = driver.attempt("b")
    events = driver.wait(2.0)
    driver.say(AttemptFinished(late, "late", None))

    assert [
        "compensation.timed_out b",
        "compensation.abandoned b",
        "compensation.failed b",
        "compensation.started a",
    ] == kinds(events)
    assert "where it hangs" == events[1].data["stack"]
    assert 1 == driver.brain.late


def test_a_compensators_total_timeout_ends_its_backoff():
    """A wait that would outlast it is not begun, and one that does is cut."""
    policy = RetryPolicy(max_attempts=3, initial_interval=5.0, jitter=0)
    undo = undoing(retry=policy, total_timeout=6.0)
    driver = failed(flow(undone("a", compensate=undo), step("last", "a")), "a")
    driver.fail("a")
    driver.wait(5.0)
    driver.fail("a", error := ValueError("again"))

    assert error is driver.results["run"].steps["a"].error
    driver.laws.at_rest()


def test_a_total_timeout_that_passes_while_a_compensator_waits_for_a_lease_fails_it():
    """It had its first attempt, and there is no worker for the second."""
    undo = undoing(async_=True, retry=EVENTUALLY, total_timeout=3.0)
    driver = failed(
        flow(undone("a", compensate=undo), step("last", "a")), "a", driver={"workers": 1}
    )
    driver.fail("a")
    driver.start(flow(task("other")), "other run")
    driver.wait(1.0)
    events = driver.wait(2.0)

    assert ["compensation.timed_out a", "compensation.failed a", "run.failed"] == kinds(events)
    driver.end("other", run_id="other run")
    driver.laws.at_rest()


def test_a_compensator_that_blocks_the_loop_is_told_of():
    """As a step that does."""
    driver = failed(chain("a"), "a")

    events = driver.tell(BlockedLoop(driver.attempt("a"), 1.5, "here"))

    assert ["compensation.blocking a"] == kinds(events)
    assert {"seconds": 1.5, "stack": "here"} == events[0].data


# ── Crashes ──────────────────────────────────────────────────────────────────────────────────


def test_the_death_of_a_compensators_actor_does_not_matter_once_the_body_runs():
    """Its executor reports how the body ended."""
    driver = failed(chain("a", retry=EVENTUALLY), "a")
    lost = driver.lose_compensator("a")
    events = driver.end("a")

    assert [] == lost == driver.stopped
    assert ["compensation.completed a", "run.failed"] == kinds(events)


def test_a_compensator_that_never_began_because_its_actor_died_is_granted_again():
    """The same attempt, with all that it sees: the death has lost messages and no decision."""
    driver = failed(chain("a"), "a")
    attempt, seen = driver.attempt("a"), driver.seen.pop("a")
    events = driver.lose_compensator("a", submitted=False)

    assert [] == events
    assert attempt is driver.attempt("a")
    assert str(seen) == str(driver.seen["a"])


def test_a_compensator_whose_actors_keep_dying_is_given_up():
    """After three deaths before the attempt could be submitted; then its policy decides."""
    driver = failed(chain("a", retry=EVENTUALLY), "a")
    lost = [driver.lose_compensator("a", submitted=False) for _ in range(4)]
    driver.wait(1.0)

    assert [[], [], []] == lost[:3]
    assert ["compensation.retrying a"] == kinds(lost[3])
    assert isinstance(lost[3][0].data["error"], ActorCrashed)
    assert 2 == driver.attempt("a").number


def test_the_death_of_the_runs_actor_loses_no_compensator():
    """It had the compensator's actor with it. No step's actor is made again."""
    driver = failed(chain("a"), "a")
    attempt = driver.in_flight.pop(("run", "a"))
    attempt.submitted = False
    events = driver.lose_all()

    assert [] == events == driver.revived
    assert attempt is driver.attempt("a")


def test_the_death_of_the_runs_actor_does_not_matter_to_a_compensator_that_runs():
    """It is not begun a second time."""
    driver = failed(chain("a"), "a")
    events = driver.lose_all()

    assert [] == events
    assert ["a"] == driver.running()
    assert ["compensation.completed a", "run.failed"] == kinds(driver.end("a"))


def test_the_death_of_a_steps_own_actor_does_not_matter_any_more():
    """It has told everybody what it had to tell."""
    driver = failed(chain("a", "b"), "a", "b")

    assert [] == driver.lose("b")
    assert [] == driver.revived
    assert ["b"] == driver.running()


# ── Cancelling ───────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_run_is_undone_when_that_is_asked_for():
    """And ends as cancelled."""
    driver = Driver()
    driver.start(chain("a"))
    driver.end("a")
    driver.cancel(compensate=True)
    driver.end("last", error=asyncio.CancelledError())
    driver.end("a")

    result = driver.results["run"]
    assert (RunStatus.CANCELLED, "enough") == (result.status, result.reason)
    assert ("a",) == result.compensated
    driver.laws.at_rest()


def test_a_cancelled_run_is_not_undone_unasked():
    """It can be resumed from where it is."""
    driver = Driver()
    driver.start(chain("a"))
    driver.end("a")
    driver.cancel()
    driver.end("last", error=asyncio.CancelledError())

    assert StepStatus.COMPLETED is driver.statuses()["a"]
    assert "run.compensating" not in kinds(driver.events)


def test_undoing_can_be_asked_for_while_a_cancelled_run_stops():
    """The last request counts, as long as it can be met."""
    driver = Driver()
    driver.start(chain("a"))
    driver.end("a")
    driver.cancel()
    driver.cancel(compensate=True)
    driver.end("last", error=asyncio.CancelledError())

    assert ["a"] == driver.running()


def test_cancelling_a_run_that_is_being_undone_changes_nothing():
    """It failed, and is undone to the end."""
    driver = failed(chain("a", "b"), "a", "b")

    assert [] == driver.cancel()
    assert [] == driver.cancel(compensate=True)
    assert [] == driver.wait(1000.0)
    driver.end("b")
    driver.end("a")

    assert RunStatus.FAILED is driver.results["run"].status
    assert ("b", "a") == driver.results["run"].compensated


def test_a_cancelled_run_that_waits_for_its_place_is_undone_when_it_has_one():
    """It was resumed, and had kept what can be undone."""
    driver = Driver(places=1)
    driver.start(chain("a"))
    driver.end("a")
    driver.cancel()
    driver.end("last", error=asyncio.CancelledError())
    driver.start(flow(step("other")), "other run")
    driver.resume(chain("a"))
    driver.cancel(compensate=True)
    waiting = driver.running()
    driver.end("other", run_id="other run")

    assert [] == waiting
    assert ["a"] == driver.running()
    driver.end("a")
    driver.laws.at_rest()


# ── Shutdowns ────────────────────────────────────────────────────────────────────────────────


def test_a_shutdown_lets_undoing_go_on_for_its_grace():
    """What is done by then is done."""
    driver = failed(chain("a", "b"), "a", "b")
    driver.cancel(grace=3.0)
    driver.end("b")
    driver.end("a")

    assert ("b", "a") == driver.results["run"].compensated
    driver.laws.at_rest()


def test_a_shutdown_cuts_what_takes_longer_and_the_record_says_so():
    """What was begun has failed; what was not is still completed."""
    driver = failed(chain("a", "b", "c"), "a", "b", "c")
    driver.cancel(grace=3.0)
    driver.end("c")
    driver.wait(3.0)
    events = driver.end("b", error=asyncio.CancelledError())

    result = driver.results["run"]
    assert ["compensation.failed b", "run.failed"] == kinds(events)
    assert (("c",), ("b", "a")) == (result.compensated, result.uncompensated)
    assert isinstance(result.steps["b"].error, CompensationCut)
    assert StepStatus.COMPLETED is result.steps["a"].status
    assert ("b", "a") == events[-1].data["uncompensated"]
    driver.laws.at_rest()


def test_a_compensator_that_does_not_stop_at_a_shutdown_is_abandoned_soon():
    """Or as good as that: the grace is over already."""
    driver = failed(chain("a"), "a")
    driver.cancel(grace=3.0)
    driver.wait(3.0)
    events = driver.wait(0.5)

    assert ["compensation.abandoned a", "compensation.failed a", "run.failed"] == kinds(events)


def test_a_compensator_that_ends_well_after_the_cut_has_undone_its_step():
    """It did not notice that it was to stop."""
    driver = failed(chain("a", "b"), "a", "b")
    driver.cancel(grace=3.0)
    driver.wait(3.0)
    driver.end("b")

    result = driver.results["run"]
    assert (("b",), ("a",)) == (result.compensated, result.uncompensated)


def test_a_shutdown_cuts_a_compensator_that_waits_to_be_retried():
    """With the error of its last attempt."""
    driver = failed(chain("a", retry=EVENTUALLY), "a")
    driver.fail("a", error := ValueError("first"))
    driver.cancel(grace=0.5)
    driver.wait(0.5)

    assert error is driver.results["run"].steps["a"].error
    assert StepStatus.COMPENSATION_FAILED is driver.statuses()["a"]
    driver.laws.at_rest()


def test_a_shutdown_cuts_a_compensator_that_waits_for_a_lease():
    """It never began, so nothing has happened to its step."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", compensate=nothing), step("last", "a")))
    driver.end("a")
    driver.start(flow(task("other")), "other run")
    driver.fail("last")
    driver.cancel(grace=0.5)
    driver.wait(0.5)
    driver.end("other", run_id="other run")

    assert StepStatus.COMPLETED is driver.statuses()["a"]
    assert ("a",) == driver.results["run"].uncompensated
    driver.laws.at_rest()


def test_a_shutdown_that_has_no_time_left_undoes_nothing_and_says_so():
    """The run was still stopping its steps when the grace was over."""
    driver = Driver()
    driver.start(flow(undone("a"), task("slow", "a"), step("last", "a")))
    driver.end("a")
    driver.fail("last")
    driver.cancel(grace=1.0)
    driver.wait(1.0)

    assert ["run.compensating", "run.failed"] == kinds(driver.events)[-2:]
    assert ("a",) == driver.results["run"].uncompensated
    driver.laws.at_rest()


def test_to_be_told_twice_of_a_shutdown_changes_nothing():
    """The first limit counts."""
    driver = failed(chain("a"), "a")
    driver.cancel(grace=3.0)
    driver.wait(2.0)
    driver.tell(CancelRun("run", "enough", 3.0))
    driver.wait(1.0)

    assert [True] == [attempt.compensates for attempt in driver.stopped]


# ── Other lives ──────────────────────────────────────────────────────────────────────────────


def test_undone_steps_are_run_again_when_the_run_is_resumed():
    """What was undone is done again; what could not be undone by anybody is kept."""
    workflow = flow(step("kept"), undone("a", "kept"), step("last", "a"))
    driver = failed(workflow, "kept", "a")
    driver.end("a")
    events = driver.resume(workflow)
    driver.end("a", "again")
    driver.end("last")

    assert ["run.resumed", "step.ready a", "step.started a"] == kinds(events)
    result = driver.results["run"]
    assert {"kept": "of kept", "a": "again", "last": None} == result.outputs
    assert () == result.compensations


def test_a_step_that_could_not_be_undone_is_run_again_too():
    """What is left of it is not known."""
    driver = failed(chain("a"), "a")
    driver.fail("a")
    driver.resume(chain("a"))

    assert ["a"] == driver.running()


def test_a_resumed_run_that_fails_again_undoes_what_both_lives_have_done():
    """In the order in which it was completed, and once."""
    workflow = flow(undone("a"), step("b", "a"), undone("c", "b"), step("last", "c"))
    driver = Driver()
    driver.start(workflow)
    driver.end("a")
    driver.cancel()
    driver.end("b", error=asyncio.CancelledError())
    driver.resume(workflow)
    driver.end("b")
    driver.end("c")
    driver.fail("last")

    assert ("c", "a") == driver.events[-2].data["steps"]
    driver.end("c")
    driver.end("a")
    driver.resume(workflow)
    driver.end("a")
    driver.end("c")
    driver.fail("last")
    driver.end("c")
    driver.end("a")

    assert ("c", "a") == driver.results["run"].compensated


def test_a_crash_while_a_run_is_undone_is_gone_on_from():
    """From what is recorded: what is undone stays so, and what was begun is begun again."""
    driver = failed(chain("a", "b", "c"), "a", "b", "c")
    driver.end("c")
    driver.crash()
    events = driver.resume(chain("a", "b", "c"))
    driver.end("b")
    driver.end("a")

    result = driver.results["run"]
    assert ["run.resumed", "compensation.started b"] == kinds(events)
    assert ("c", "b", "a") == result.compensated
    assert (RunStatus.FAILED, "last") == (result.status, result.failed_step)
    assert "ValueError('last')" == repr(result.error)
    assert ["run.failed"] == kinds(driver.events)[-1:]
    driver.laws.at_rest()


def test_a_crash_after_the_last_compensation_is_gone_on_from():
    """Only the run's end is missing."""
    driver = Driver()
    driver.start(chain("a"))
    driver.end("a", "of a")
    driver.cancel(compensate=True)
    driver.end("last", error=asyncio.CancelledError())
    driver.end("a")
    del driver.events[-1], driver.results["run"]
    driver.crash()
    events = driver.resume(chain("a"))

    assert ["run.resumed", "run.cancelled"] == kinds(events)
    assert ("enough", ("a",)) == (driver.results["run"].reason, driver.results["run"].compensated)


def test_going_on_needs_the_compensators():
    """One that the workflow has no more is reported as what was not undone."""
    driver = failed(chain("a", "b"), "a", "b")
    driver.crash()
    without = flow(undone("a"), step("b", "a"), step("last", "b"))
    driver.resume(without)
    driver.end("a")

    result = driver.results["run"]
    assert (("a",), ("b",)) == (result.compensated, result.uncompensated)

"""What scheduling promises, one message after the other, and no actor, loop or clock."""

from __future__ import annotations

import asyncio

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.running import ActorCrashed, DeadlineExceeded, GiveUp, RetryAfter, StepTimeout
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.messages import (
    ActorLost,
    AttemptFinished,
    BlockedLoop,
    CancelRun,
    RunActorLost,
    StartRun,
    StepMoved,
    StepsMade,
    Wake,
)
from actorflow.model.results import StepResult
from actorflow.scheduling.decisions import Decisions
from tests.support.brain import (
    COROUTINES,
    EPOCH,
    THREADS,
    Driver,
    decide,
    flow,
    kinds,
    scope,
    step,
    task,
)

EVENTUALLY = RetryPolicy(max_attempts=3, initial_interval=1.0, multiplier=2.0, jitter=0)


# ── Ready when its own dependencies have settled ─────────────────────────────────────────────


def test_a_step_without_dependencies_starts_with_the_run():
    """There is nothing that it could wait for."""
    driver = Driver()

    events = driver.start(flow(step("a")))

    assert ["run.accepted", "run.started", "step.ready a", "step.started a"] == kinds(events)
    assert ["a"] == driver.running()


def test_a_step_starts_when_its_own_dependencies_have_settled():
    """An unrelated step that takes long delays no other: there are no waves."""
    driver = Driver()
    driver.start(flow(task("slow"), task("quick"), task("child", "quick")))

    driver.end("quick")

    assert ["slow", "child"] == driver.running()


def test_a_step_waits_for_the_last_of_its_dependencies():
    """One of two is not enough."""
    driver = Driver(workers=2)
    driver.start(flow(task("a"), task("b"), task("both", "a", "b")))

    driver.end("a")
    after_one = driver.running()
    driver.end("b")

    assert ["b"] == after_one
    assert ["both"] == driver.running()


def test_a_run_completes_when_its_last_step_has():
    """Its result holds every output by step id, and its last event comes last."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    driver.end("a", 1)

    events = driver.end("b", 2)

    assert ["step.completed b", "run.completed"] == kinds(events)
    assert {"a": 1, "b": 2} == driver.results["run"].outputs
    assert RunStatus.COMPLETED is driver.results["run"].status
    driver.laws.at_rest()


# ── The async worker budget ──────────────────────────────────────────────────────────────────


def test_never_more_async_steps_run_than_there_are_workers():
    """The others wait for a lease, over all runs."""
    driver = Driver(workers=3)
    driver.start(flow(*[task(f"a{n}") for n in range(4)]), "one")
    driver.start(flow(*[task(f"b{n}") for n in range(4)]), "two")

    assert 3 == len(driver.in_flight)
    assert (3, 0) == (driver.brain.workers.held, driver.brain.workers.free)


@pytest.mark.parametrize("error", [None, ValueError("no"), asyncio.CancelledError()])
def test_an_attempt_that_ends_gives_its_lease_back_once(error):
    """However it ended."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", required=False), task("b")))

    driver.end("a", error=error)

    assert ["b"] == driver.running()
    assert 1 == driver.brain.workers.held


def test_asking_an_attempt_to_stop_frees_nothing():
    """A coroutine that was cancelled still runs, until its executor says otherwise."""
    driver = Driver(workers=1)
    driver.start(flow(task("a")), "one")
    driver.start(flow(task("b")), "two")

    driver.cancel("one")

    assert [] == driver.running("two")
    assert 1 == driver.brain.workers.held


def test_sync_steps_hold_no_lease():
    """They have the lane of their run."""
    driver = Driver(workers=1)

    driver.start(flow(step("a"), task("b")))

    assert ["a", "b"] == driver.running()
    assert 1 == driver.brain.workers.held


def test_a_step_that_waits_between_attempts_holds_no_lease():
    """Backoff is no work."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", retry=EVENTUALLY), task("b")))

    driver.fail("a")

    assert ["b"] == driver.running()


# ── The sync lane ────────────────────────────────────────────────────────────────────────────


def test_sync_steps_of_a_run_take_their_turn_one_at_a_time():
    """In the order in which they became ready."""
    driver = Driver()
    driver.start(flow(step("a"), step("b"), step("c")))

    order = []
    while driver.in_flight:
        (running,) = driver.running()
        order.append(running)
        driver.end(running)

    assert ["a", "b", "c"] == order


def test_every_run_has_a_sync_lane_of_its_own():
    """One run's lane is nothing to another run."""
    driver = Driver()

    driver.start(flow(step("a")), "one")
    driver.start(flow(step("a")), "two")

    assert (["a"], ["a"]) == (driver.running("one"), driver.running("two"))


def test_neither_sync_nor_async_steps_delay_the_other():
    """A full budget does not stop the lane, nor a busy lane the budget."""
    driver = Driver(workers=1)
    driver.start(flow(step("s1"), step("s2"), task("a1"), task("a2")))

    driver.end("s1")
    lane = driver.running()
    driver.end("a1")

    assert ["a1", "s2"] == lane
    assert ["s2", "a2"] == driver.running()


def test_a_sync_step_that_is_cancelled_while_it_waits_is_passed_over():
    """The lane goes on with the next one that still wants it."""
    driver = Driver()
    steps = [
        step("first", required=False),
        task("bad"),
        step("child", "bad"),
        step("second"),
    ]
    driver.start(flow(*steps, fail_fast=False))
    driver.fail("bad")

    driver.end("first")

    assert ["second"] == driver.running()


def test_the_lane_waits_for_a_step_whose_actor_has_died():
    """Whose turn it is does not depend on which actors live: the new one gets the grant."""
    driver = Driver()
    driver.start(flow(step("a"), step("b"), step("c")))
    driver.die("b")

    driver.say(AttemptFinished(driver.in_flight.pop(("run", "a")), None, None))
    driver.settle()

    assert ["b"] == driver.running()


# ── Who is next ──────────────────────────────────────────────────────────────────────────────


def drained(driver, *, run_ids=("run",)):
    """End what runs, one at a time, and return the order in which the rest started."""
    order = []
    while driver.in_flight:
        run_id, step_id = next(iter(driver.in_flight))
        events = driver.end(step_id, run_id=run_id)
        order += [
            event.step_id if len(run_ids) == 1 else f"{event.run_id}.{event.step_id}"
            for event in events
            if event.kind is EventKind.STEP_STARTED
        ]
    return order


@pytest.mark.parametrize("make", [step, task])
def test_among_ready_steps_the_higher_priority_goes_first(make):
    """Negative is below the default; what waits for the same goes in the order of readiness."""
    driver = Driver(workers=1)
    steps = [
        make("low", "first", priority=-5),
        make("mid", "first"),
        make("high", "first", priority=9),
    ]
    driver.start(flow(make("first"), *steps))

    assert ["high", "mid", "low"] == drained(driver)


@pytest.mark.parametrize("make", [step, task])
def test_the_first_steps_of_a_run_are_ready_together(make):
    """The run has not started one of them before it has looked at the others."""
    driver = Driver(workers=1)

    driver.start(flow(make("low", priority=-5), make("mid"), make("high", priority=9)))

    assert ["high"] == driver.running()
    assert ["mid", "low"] == drained(driver)


@pytest.mark.parametrize("make", [step, task])
def test_a_critical_path_goes_on_before_what_waits(make):
    """The step that a completion makes ready competes with those that were ready before."""
    driver = Driver(workers=1)
    waiting = [make(f"w{number}", priority=-10) for number in range(3)]
    path = [make("a", priority=20), make("b", "a", priority=20)]
    driver.start(flow(*waiting, *path))

    assert ["a"] == driver.running()
    assert ["b", "w0", "w1", "w2"] == drained(driver)


@pytest.mark.parametrize("make", [step, task])
def test_among_steps_that_wait_the_one_with_the_longest_way_goes_first(make):
    """Though it became ready after the others, in a run that is ordered so."""
    brain = Decisions(async_workers=2, max_active_runs=1, grace=5.0, random=lambda: 0.5)
    plan = flow(make("busy"), task("before"), make("short"), make("long", "before")).plan()
    places = dict.fromkeys(plan.by_id, COROUTINES)
    ways = {"busy": 9.0, "before": 8.0, "short": 1.0, "long": 7.0}
    start = StartRun(scope("run"), plan, places, None, None, 0, None, 0, ways=ways)
    _, _, grants = decide(brain, start, 0.0, 0.0)
    attempts = {one.id: message.attempt for _, one, message in grants}
    for name in ("before", "busy"):
        _, _, grants = decide(brain, AttemptFinished(attempts[name], None, None), 0.0, 0.0)
        attempts |= {one.id: message.attempt for _, one, message in grants}

    assert ["busy", "before", "long"] == list(attempts)[:3]


@pytest.mark.parametrize("make", [step, task])
def test_equals_that_become_ready_together_go_in_order_of_definition(make):
    """In whichever order their dependencies have been settled, and whichever name they have."""
    driver = Driver(workers=1)
    steps = [make("c", "first"), make("a", "first"), make("b", "first")]
    driver.start(flow(make("first"), *steps))

    assert ["c", "a", "b"] == drained(driver)


@pytest.mark.parametrize("make", [step, task])
def test_what_was_ready_earlier_goes_before_what_is_defined_earlier(make):
    """Definition decides only among those that became ready within one decision."""
    driver = Driver(workers=1)
    driver.start(flow(make("child", "parent"), make("parent", priority=1), make("early")))

    assert ["early", "child"] == drained(driver)


@pytest.mark.parametrize("late_first", [False, True])
def test_completions_that_are_taken_together_are_ranked_together(late_first):
    """Whichever of the two is taken first, and equals go in order of definition."""
    driver = Driver(workers=3)
    steps = [task("a"), task("b"), task("other"), task("x", "a"), task("y", "b", priority=1)]
    driver.start(flow(*steps, task("z", "a")))
    ends = [AttemptFinished(driver.in_flight.pop(("run", name)), None, None) for name in "ab"]

    driver.say(*(ends[::-1] if late_first else ends))
    driver.settle()

    started = [event.step_id for event in driver.of() if event.kind is EventKind.STEP_STARTED]
    assert ["a", "b", "other", "y", "x"] == started
    assert ["z"] == drained(driver)[:1]


def test_completions_that_are_taken_together_leave_equals_in_order_of_definition():
    """Though the one that is defined later became ready first."""
    driver = Driver(workers=3)
    driver.start(flow(task("a"), task("b"), task("busy"), task("x", "a"), task("y", "b")))
    driver.start(flow(task("other", priority=1)), "other", priority=1)
    ends = [AttemptFinished(driver.in_flight.pop(("run", name)), None, None) for name in "ba"]

    driver.say(*ends)
    driver.settle()

    assert ["busy", "x"] == driver.running()


def test_completions_that_are_taken_one_after_the_other_are_decided_so():
    """The second finds its worker taken."""
    driver = Driver(workers=2)
    driver.start(flow(task("a"), task("b"), task("x", "a"), task("y", "b", priority=1)))

    driver.end("a")
    driver.end("b")

    assert ["x", "y"] == driver.running()


def test_a_step_that_is_cancelled_within_the_decision_that_readied_it_does_not_start():
    """Nothing starts before the decision is concluded."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    ended = AttemptFinished(driver.in_flight.pop(("run", "a")), None, None)

    driver.say(ended, CancelRun("run", "enough", None))

    assert ["step.completed a", "step.ready b", "step.cancelled b", "run.cancelled"] == kinds(
        driver.batches[-1]
    )
    driver.laws.at_rest()


@pytest.mark.parametrize("make", [step, task])
def test_whatever_a_step_settles_readies_and_starts_is_in_one_batch(make):
    """A chain takes one decision a step."""
    driver = Driver(workers=1)
    names = "abcd"
    after = zip(names, ["", *names], strict=False)
    driver.start(flow(*[make(one, *before) for one, before in after]))
    for name in names:
        driver.end(name)

    batches = [kinds(batch) for batch in driver.batches if batch]
    assert [
        ["run.accepted", "run.started", "step.ready a", "step.started a"],
        ["step.completed a", "step.ready b", "step.started b"],
        ["step.completed b", "step.ready c", "step.started c"],
        ["step.completed c", "step.ready d", "step.started d"],
        ["step.completed d", "run.completed"],
    ] == batches


def test_a_skipped_step_readies_and_starts_its_dependents_in_its_own_batch():
    """As one that completes does."""
    driver = Driver()
    driver.start(flow(task("maybe", required=False), task("child", "maybe")))

    driver.fail("maybe")

    assert ["step.skipped maybe", "step.ready child", "step.started child"] == kinds(
        driver.batches[-1]
    )


def test_a_runs_priority_counts_before_a_steps():
    """A modest step of an urgent run goes before an urgent step of a modest run."""
    driver = Driver(workers=1)
    driver.start(flow(task("busy")), "zero")
    driver.start(flow(task("urgent", priority=100)), "modest", priority=0)
    driver.start(flow(task("plain")), "important", priority=1)

    order = drained(driver, run_ids=("all", "of them"))

    assert ["important.plain", "modest.urgent"] == order


def test_equal_runs_take_turns():
    """A run with many ready steps does not starve one that came later with few."""
    driver = Driver(workers=1)
    driver.start(flow(*[task(f"s{n}") for n in range(4)]), "many")
    driver.start(flow(*[task(f"s{n}") for n in range(2)]), "few")

    order = drained(driver, run_ids=("many", "few"))

    assert ["many.s1", "few.s0", "many.s2", "few.s1", "many.s3"] == order


def test_a_lease_does_not_go_to_a_step_of_a_cancelled_run():
    """Its place in the queue is passed over."""
    driver = Driver(workers=1)
    driver.start(flow(task("busy")), "one")
    driver.start(flow(task("gone")), "two")
    driver.start(flow(task("wanted")), "three")
    driver.cancel("two")

    driver.end("busy", run_id="one")

    assert ["wanted"] == driver.running("three")
    assert RunStatus.CANCELLED is driver.results["two"].status


# ── Retries ──────────────────────────────────────────────────────────────────────────────────


def test_a_failed_attempt_is_followed_by_another_after_the_backoff():
    """And by none before it."""
    driver = Driver()
    driver.start(flow(task("a", retry=EVENTUALLY)))

    failing = driver.fail("a")
    too_early = driver.wait(0.999)
    in_time = driver.wait(0.001)

    assert ["step.retrying a"] == kinds(failing)
    assert 1.0 == failing[0].data["delay"]
    assert [] == too_early
    assert ["step.ready a", "step.started a"] == kinds(in_time)
    assert 2 == driver.attempt("a").number


def test_the_backoff_grows_from_attempt_to_attempt():
    """By the policy's multiplier."""
    driver = Driver()
    driver.start(flow(task("a", retry=EVENTUALLY)))

    delays = []
    for _ in range(2):
        (retrying,) = driver.fail("a")
        delays.append(retrying.data["delay"])
        driver.wait_for_next()

    assert [1.0, 2.0] == delays


def test_the_last_attempts_failure_is_the_steps():
    """After max_attempts there is no other."""
    driver = Driver()
    driver.start(flow(task("a", retry=EVENTUALLY)))
    for _ in range(2):
        driver.fail("a")
        driver.wait_for_next()

    last = RuntimeError("the third")
    events = driver.fail("a", last)

    assert ["step.failed a", "run.failed"] == kinds(events)
    assert 3 == driver.results["run"].steps["a"].attempts
    assert last is driver.results["run"].error
    assert "a" == driver.results["run"].failed_step


def test_a_step_without_a_policy_is_tried_once():
    """Whatever its error asks for."""
    driver = Driver()
    driver.start(flow(task("a")))

    events = driver.fail("a", RetryAfter(1))

    assert ["step.failed a", "run.failed"] == kinds(events)


@pytest.mark.parametrize("error", [KeyError("other"), GiveUp("no use"), SystemExit(1)])
def test_an_error_that_is_not_retryable_gets_no_second_attempt(error):
    """Nor does a step that has given up, or one that asked to leave the program."""
    driver = Driver()
    policy = RetryPolicy(max_attempts=5, retryable_errors=ValueError)
    driver.start(flow(task("a", retry=policy)))

    events = driver.fail("a", error)

    assert ["step.failed a", "run.failed"] == kinds(events)


def test_a_step_may_ask_for_its_own_wait():
    """It replaces the policy's, once."""
    driver = Driver()
    driver.start(flow(task("a", retry=EVENTUALLY)))

    (asked,) = driver.fail("a", RetryAfter(60))
    driver.wait(60)
    (policys,) = driver.fail("a")

    assert 60.0 == asked.data["delay"]
    assert 2.0 == policys.data["delay"]


def test_jitter_is_drawn_from_the_handed_in_chance():
    """So that a simulation can choose it."""
    policy = RetryPolicy(initial_interval=10, jitter=0.5)
    driver = Driver(unit=0.0)
    driver.start(flow(task("a", retry=policy)))

    (retrying,) = driver.fail("a")

    assert 5.0 == retrying.data["delay"]


def test_a_retried_sync_step_leaves_the_lane_to_others():
    """And gets in line again when its backoff has passed."""
    driver = Driver()
    driver.start(flow(step("a", retry=EVENTUALLY), step("b")))

    driver.fail("a")
    meanwhile = driver.running()
    driver.wait(1)
    in_line = driver.running()
    driver.end("b")

    assert ["b"] == meanwhile == in_line
    assert ["a"] == driver.running()


# ── Timeouts ─────────────────────────────────────────────────────────────────────────────────


def test_a_timeout_asks_the_attempt_to_stop():
    """The step has failed when the attempt has ended, and not before."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0)))
    attempt = driver.attempt("a")

    early = driver.wait(1.999)
    late = driver.wait(0.001)
    ended = driver.end("a", error=asyncio.CancelledError())

    assert [] == early
    assert ["step.timed_out a"] == kinds(late)
    assert ("attempt", 2.0) == (late[0].data["limit"], late[0].data["timeout"])
    assert [attempt] == driver.stopped
    assert attempt.cancelled
    assert ["step.failed a", "run.failed"] == kinds(ended)
    assert isinstance(driver.results["run"].error, StepTimeout)


def test_a_step_that_completes_after_its_timeout_has_timed_out():
    """Completion and timeout never both win, and the first wins."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0)))
    driver.wait(2.0)

    events = driver.end("a", "too late")

    assert ["step.failed a", "run.failed"] == kinds(events)
    assert {} == driver.results["run"].outputs


def test_a_step_that_completes_before_the_wakeup_has_completed():
    """A deadline that passed unnoticed is no timeout."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0)))
    driver.now += 3.0

    events = driver.end("a", "in time")

    assert ["step.completed a", "run.completed"] == kinds(events)
    assert [] == driver.wait(1)


def test_an_attempts_timeout_is_followed_by_another_attempt():
    """A timeout is an error like others; each attempt has the whole time."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0, retry=EVENTUALLY)))
    driver.wait(2.0)

    (retrying,) = driver.end("a", error=asyncio.CancelledError())
    driver.wait(1.0)

    assert "step.retrying" == retrying.kind
    assert isinstance(retrying.data["error"], StepTimeout)
    assert driver.now + 2.0 == driver.attempt("a").deadline


def test_an_attempt_is_not_held_to_what_became_of_the_one_before():
    """It may complete although the first one timed out, and time out itself."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0, retry=EVENTUALLY)))
    for wait in (1.0, 2.0):
        driver.wait(2.0)
        driver.end("a", error=asyncio.CancelledError())
        driver.wait(wait)

    driver.end("a", "at last")

    assert 2 == len(driver.stopped)
    assert {"a": "at last"} == driver.results["run"].outputs


def test_the_total_timeout_spans_all_attempts():
    """It begins with the first attempt and cuts a later one."""
    driver = Driver()
    policy = RetryPolicy(max_attempts=9, initial_interval=1, jitter=0)
    driver.start(flow(task("a", total_timeout=5.0, retry=policy)))
    driver.wait(1.0)
    driver.fail("a")
    driver.wait(1.0)

    early = driver.wait(2.999)
    (late,) = driver.wait(0.001)
    ended = driver.end("a", error=asyncio.CancelledError())

    assert [] == early
    assert "total" == late.data["limit"]
    assert ["step.failed a", "run.failed"] == kinds(ended)


def test_the_total_timeout_does_not_count_the_wait_for_the_first_lease():
    """A step is not to blame for a full budget."""
    driver = Driver(workers=1)
    driver.start(flow(task("busy"), task("a", total_timeout=5.0)))

    driver.wait(100)
    driver.end("busy")

    assert [] == driver.wait(4.999)
    assert ["step.timed_out a"] == kinds(driver.wait(0.001))


@pytest.mark.parametrize("make", [step, task])
def test_the_total_timeout_reaches_a_step_that_waits_for_its_turn(make):
    """One that would be tried again, if there were room."""
    driver = Driver(workers=1)
    policy = RetryPolicy(max_attempts=2, initial_interval=1, jitter=0)
    driver.start(flow(make("a", total_timeout=5.0, retry=policy), make("b")))
    driver.fail("a")
    driver.wait(1.0)

    events = driver.wait(4.0)

    assert ["b"] == driver.running()
    assert ["step.timed_out a", "step.failed a"] == kinds(events)


def test_a_backoff_that_would_outlast_the_total_timeout_is_not_begun():
    """The step fails at once, and with its own error."""
    driver = Driver()
    policy = RetryPolicy(max_attempts=2, initial_interval=10, max_interval=10, jitter=0)
    driver.start(flow(task("a", total_timeout=5.0, retry=policy)))

    error = ValueError("itself")
    events = driver.fail("a", error)

    assert ["step.failed a", "run.failed"] == kinds(events)
    assert error is driver.results["run"].error


def test_an_attempt_knows_the_nearest_of_its_deadlines():
    """Of the attempt's own, the step's and the run's."""
    driver = Driver()
    driver.start(flow(task("a", timeout=3.0), task("b", total_timeout=2.0)), timeout=2.5)

    assert driver.now + 2.5 == driver.attempt("a").deadline
    assert driver.now + 2.0 == driver.attempt("b").deadline


def test_a_run_that_outlasts_its_timeout_fails():
    """What runs is stopped, what waits never starts."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")), timeout=4.0)

    early = driver.wait(3.999)
    cut = driver.wait(0.001)
    ended = driver.end("a", error=asyncio.CancelledError())

    assert [] == early
    assert ["step.cancelled b"] == kinds(cut)
    assert ["step.cancelled a", "run.failed"] == kinds(ended)
    assert isinstance(driver.results["run"].error, DeadlineExceeded)


def test_the_timeout_counts_while_the_run_waits_for_a_place():
    """A run that never got to start fails all the same."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "one")
    driver.start(flow(task("a")), "two", timeout=1.0)

    events = driver.wait(1.0)
    driver.end("a", run_id="one")

    assert ["step.cancelled a", "run.failed"] == kinds(events)
    assert driver.results["two"].started_at is None
    driver.laws.at_rest()


def test_deadlines_that_pass_together_are_each_looked_at_anew():
    """What the first of them ended, the others leave alone: here a wakeup came late."""
    driver = Driver(workers=2)
    driver.start(
        flow(task("stuck"), task("a", retry=RetryPolicy(initial_interval=3, jitter=0))),
        timeout=2.0,
    )
    driver.fail("a")

    events = driver.wait(10.0)

    assert ["step.cancelled a"] == kinds(events)
    assert ["run.failed"] == kinds(driver.end("stuck"))[-1:]


def test_a_total_timeout_leaves_alone_what_another_deadline_has_cancelled():
    """Two steps in backoff, whose total timeouts pass while the machine sleeps."""
    driver = Driver(workers=2)
    policy = RetryPolicy(max_attempts=2, initial_interval=1, jitter=0)
    steps = [task("busy1"), task("busy2", "busy1")]
    waits = [task(name, total_timeout=5.0, retry=policy) for name in ("a", "b")]
    driver.start(flow(*waits, *steps))
    driver.fail("a")
    driver.fail("b")
    driver.start(flow(task("x"), task("y")), "other", priority=1)
    driver.wait(1.0)

    events = driver.wait(10.0)

    assert {"step.timed_out a", "step.failed a", "step.cancelled b"} <= set(kinds(events))
    assert "step.timed_out b" not in kinds(events)


# ── Clocks ───────────────────────────────────────────────────────────────────────────────────


def recorded_late(*steps, seconds, **options):
    """A run whose first decision took some seconds to record."""
    driver = Driver(recording=True)
    driver.start(flow(*steps), settle=False, **options)
    driver.now += seconds
    driver.commit()
    driver.recording = False
    driver.settle()
    return driver


@pytest.mark.parametrize("limit", ["timeout", "total_timeout"])
def test_a_timeout_counts_from_the_moment_in_which_the_grant_leaves(limit):
    """The time that the state manager took to record the start counts for nothing."""
    driver = recorded_late(task("a", **{limit: 2.0}), seconds=10.0)

    early = driver.wait(1.999)
    late = driver.wait(0.001)

    assert [] == early
    assert ["step.timed_out a"] == kinds(late)
    assert driver.now == driver.stopped[0].deadline


def test_an_attempt_that_waits_for_its_record_has_no_deadline():
    """There is nothing to be awake for."""
    driver = Driver(recording=True)
    driver.start(flow(task("a", timeout=2.0, total_timeout=5.0)), settle=False)

    assert 0 == len(driver.brain.deadlines)
    assert driver.granted["run", "a"].deadline is None


def test_the_runs_deadline_does_not_wait_for_the_record():
    """A run's timeout counts from its acceptance; its attempts learn of it with their grants."""
    driver = recorded_late(task("a"), seconds=3.0, timeout=4.0)

    assert driver.now + 1.0 == driver.attempt("a").deadline


@pytest.mark.parametrize("posted", [False, True])
def test_an_attempt_that_is_stopped_before_its_grant_leaves_gets_no_clock(posted):
    """Its grant leaves all the same, and is met by the stop on its way or at the executor."""
    driver = Driver(recording=True, posted=posted)
    driver.start(flow(task("a", timeout=2.0, total_timeout=5.0)), settle=False)
    attempt = driver.granted["run", "a"]
    driver.say(CancelRun("run", "enough", None))
    driver.commit()
    clocks = len(driver.brain.deadlines)
    driver.recording = False
    driver.commit()
    driver.settle()

    assert 1 == clocks, "only the grace of the stop"
    assert attempt.deadline is None
    assert ([], ["a"])[not posted] == driver.running()


def test_an_attempt_that_is_over_when_its_grant_leaves_gets_no_clock():
    """It was given up because its step's actors kept dying."""
    driver = Driver(recording=True)
    again = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0)
    driver.start(flow(task("a", timeout=2.0, total_timeout=5.0, retry=again)), settle=False)
    for _ in range(4):
        driver.say(ActorLost("run", "a", "it was shot"))
    driver.recording = False
    while driver.held:
        driver.commit()

    assert 1 == len(driver.brain.deadlines), "only the backoff"


def test_the_total_timeout_counts_from_the_first_grant_that_leaves():
    """Though an attempt was given up before."""
    driver = Driver(recording=True)
    again = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0)
    driver.start(flow(task("a", total_timeout=5.0, retry=again)), settle=False)
    for _ in range(4):
        driver.say(ActorLost("run", "a", "it was shot"))
    driver.recording = False
    while driver.held:
        driver.commit()
    driver.settle()
    driver.wait(1.0)

    assert [] == driver.wait(4.999)
    assert ["step.timed_out a"] == kinds(driver.wait(0.001))


def test_a_later_attempt_has_its_own_clock_and_the_total_one_goes_on():
    """Each attempt's starts with its grant; the total one started with the first."""
    driver = Driver()
    again = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0)
    driver.start(flow(task("a", timeout=4.0, total_timeout=6.0, retry=again)))
    driver.fail("a")
    driver.recording = True
    driver.wait(1.0)
    driver.now += 2.0
    driver.commit()

    assert driver.now + 3.0 == driver.attempt("a").deadline, "the total one is nearer"
    assert driver.now + 4.0 == driver.brain.runs["run"].steps["a"].attempt_deadline[0]
    driver.recording = False
    driver.wait(2.999)
    (late,) = driver.wait(0.001)
    assert "total" == late.data["limit"]


# ── Abandoning ───────────────────────────────────────────────────────────────────────────────


def test_a_thread_that_times_out_is_abandoned_at_once():
    """The timeout is kept, the lease is free, and the stack is told."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", timeout=2.0), task("b")), executors={"a": THREADS})
    attempt = driver.attempt("a")

    events = driver.wait(2.0)

    assert ["step.timed_out a", "step.abandoned a", "step.failed a"] == kinds(events)[:3]
    assert "where it hangs" == events[1].data["stack"]
    assert [attempt] == driver.abandoned
    assert 0 == driver.brain.workers.held


def test_a_coroutine_that_times_out_gets_the_grace_to_end():
    """Then it is given up as well."""
    driver = Driver(grace=5.0)
    driver.start(flow(task("a", timeout=2.0)))
    driver.wait(2.0)

    early = driver.wait(4.999)
    late = driver.wait(0.001)

    assert [] == early
    assert ["step.abandoned a", "step.failed a", "run.failed"] == kinds(late)


def test_a_thread_that_is_merely_not_wanted_gets_the_grace_to_notice():
    """Cancelling a run is no reason to leave a thread behind at once."""
    driver = Driver(grace=5.0)
    driver.start(flow(task("a")), executors={"a": THREADS})
    driver.cancel()

    early = driver.wait(4.999)
    late = driver.wait(0.001)

    assert [] == early
    assert ["step.abandoned a", "step.cancelled a", "run.cancelled"] == kinds(late)


def test_an_abandoned_attempt_may_be_followed_by_another():
    """It has failed, and nothing more."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", timeout=2.0, retry=EVENTUALLY)), executors={"a": THREADS})

    driver.wait(2.0)
    driver.wait(1.0)

    assert 2 == driver.attempt("a").number


def test_a_late_result_changes_nothing():
    """It is counted, and its lease does not come back a second time."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", timeout=2.0), task("b")), executors={"a": THREADS})
    attempt = driver.attempt("a")
    driver.wait(2.0)

    events = driver.tell(AttemptFinished(attempt, "late", None))

    assert [] == events
    assert 1 == driver.brain.late
    assert (0, 1) == (driver.brain.workers.held, driver.brain.workers.free)


def test_a_late_result_of_one_attempt_is_not_the_next_ones():
    """The second attempt goes on."""
    driver = Driver(workers=1)
    driver.start(flow(task("a", timeout=2.0, retry=EVENTUALLY)), executors={"a": THREADS})
    first = driver.attempt("a")
    driver.wait(2.0)
    driver.wait(1.0)

    events = driver.tell(AttemptFinished(first, "late", None))

    assert [] == events
    assert ["a"] == driver.running()


def test_the_last_heartbeat_is_told_with_a_timeout():
    """It says how long the step has been silent."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0)), executors={"a": THREADS})
    driver.attempt("a").heartbeat_at = driver.now + 1

    timed_out, abandoned, *_ = driver.wait(2.0)

    assert EPOCH + driver.now - 1 == timed_out.data["heartbeat_at"]
    assert EPOCH + driver.now - 1 == abandoned.data["heartbeat_at"]


# ── Failures ─────────────────────────────────────────────────────────────────────────────────


def test_a_required_steps_failure_ends_the_run():
    """Running steps are stopped, waiting ones never start."""
    driver = Driver(workers=2)
    driver.start(flow(task("bad"), task("other"), task("in line"), task("child", "other")))
    other = driver.attempt("other")

    failed = driver.fail("bad")
    ended = driver.end("other", error=asyncio.CancelledError())

    assert ["step.failed bad", "step.cancelled in line", "step.cancelled child"] == kinds(failed)
    assert [other] == driver.stopped
    assert ["step.cancelled other", "run.failed"] == kinds(ended)
    assert "bad" == driver.results["run"].failed_step


def test_a_step_that_completes_in_a_failing_run_keeps_its_output():
    """It did what it was asked to; its dependents still do not start."""
    driver = Driver()
    driver.start(flow(task("bad"), task("other"), task("child", "other")))
    driver.fail("bad")

    driver.end("other", "done all the same")

    assert {"other": "done all the same"} == driver.results["run"].outputs
    assert StepStatus.CANCELLED is driver.statuses()["child"]


def test_without_fail_fast_independent_branches_finish_first():
    """Only what depends on the failure, directly or not, is cancelled."""
    driver = Driver()
    driver.start(
        flow(
            task("bad"),
            task("good"),
            task("child", "bad"),
            task("grandchild", "child"),
            task("mixed", "good", "grandchild"),
            task("free", "good"),
            fail_fast=False,
        )
    )

    failed = driver.fail("bad")
    driver.end("good")
    ended = driver.end("free")

    assert {"step.failed bad", "step.cancelled child", "step.cancelled grandchild"} < set(
        kinds(failed)
    )
    assert ["step.completed free", "run.failed"] == kinds(ended)
    assert StepStatus.CANCELLED is driver.statuses()["mixed"]


def test_the_first_of_several_failures_is_the_runs():
    """The others are told by their steps."""
    driver = Driver()
    first, second = ValueError("first"), ValueError("second")
    driver.start(flow(task("a"), task("b"), fail_fast=False))

    driver.fail("a", first)
    driver.fail("b", second)

    assert first is driver.results["run"].error
    assert second is driver.results["run"].steps["b"].error


def test_a_failed_optional_step_is_skipped_and_its_dependents_run():
    """Without its output, and with its error kept."""
    driver = Driver()
    error = ValueError("never mind")
    driver.start(flow(task("maybe", required=False), task("child", "maybe")))

    driver.fail("maybe", error)
    running = driver.running()
    driver.end("child", 1)

    assert ["child"] == running
    assert RunStatus.COMPLETED is driver.results["run"].status
    assert error is driver.results["run"].steps["maybe"].error
    assert {"child": 1} == driver.results["run"].outputs


def test_an_optional_step_is_retried_before_it_is_skipped():
    """Optional does not mean unwanted."""
    driver = Driver()
    driver.start(flow(task("maybe", required=False, retry=EVENTUALLY)))

    assert ["step.retrying maybe"] == kinds(driver.fail("maybe"))


def test_an_optional_step_that_depends_on_a_failure_is_cancelled():
    """It never had a chance, which is not the same as skipped."""
    driver = Driver()
    driver.start(flow(task("bad"), task("maybe", "bad", required=False), fail_fast=False))

    driver.fail("bad")

    assert StepStatus.CANCELLED is driver.statuses()["maybe"]


# ── Cancelling ───────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_run_starts_nothing_more():
    """It ends when what runs has stopped."""
    driver = Driver(workers=1)
    driver.start(flow(task("a"), task("b"), task("c", "a")))

    cut = driver.cancel()
    ended = driver.end("a", error=asyncio.CancelledError())

    assert ["step.cancelled b", "step.cancelled c"] == kinds(cut)
    assert ["step.cancelled a", "run.cancelled"] == kinds(ended)
    assert "enough" == driver.results["run"].reason
    assert driver.results["run"].steps["a"].error is None


def test_cancelling_twice_is_cancelling_once():
    """The first reason stays."""
    driver = Driver()
    driver.start(flow(task("a")))
    driver.cancel()

    events = driver.tell(CancelRun("run", "again", None))
    driver.end("a", error=asyncio.CancelledError())

    assert [] == events
    assert "enough" == driver.results["run"].reason
    assert 1 == len(driver.stopped)


def test_cancelling_a_run_that_has_ended_does_nothing():
    """Nor does cancelling one that never was; the caller is told that there is none."""
    driver = Driver()
    driver.start(flow(task("a")))
    driver.end("a")

    assert [] == driver.cancel()
    assert [] == driver.cancel("unknown")
    assert ["run", "unknown"] == driver.unknown


def test_a_run_that_ended_although_its_events_were_not_recorded_is_not_reported_as_unknown():
    """It may have been taken up again, and about to start: it must not be discarded."""
    driver = Driver()
    driver.start(flow(task("a")))
    driver.end("a")

    assert [] == driver.tell(CancelRun("run", "lost", None, unrecorded=True))
    assert [] == driver.unknown


def test_a_run_that_waits_for_a_place_can_be_cancelled():
    """It ends at once, takes no place, and gives none back."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "one")
    driver.start(flow(task("a")), "two")
    driver.start(flow(task("a")), "three")

    driver.cancel("two")
    before = driver.running("three")
    driver.end("a", run_id="one")

    assert RunStatus.CANCELLED is driver.results["two"].status
    assert [] == before
    assert ["a"] == driver.running("three")


def test_a_cancel_may_bring_its_own_grace():
    """A shutdown has less patience than usual."""
    driver = Driver(grace=60.0)
    driver.start(flow(task("a")))
    driver.cancel(grace=1.0)

    assert ["step.abandoned a", "step.cancelled a", "run.cancelled"] == kinds(driver.wait(1.0))


def fails_fast(driver):
    """Let a run end by itself, because one of its steps has failed."""
    driver.fail("b")


def times_out(driver):
    """Let an attempt's timeout pass."""
    driver.wait(2.0)


@pytest.mark.parametrize("asked", [Driver.cancel, fails_fast, times_out])
@pytest.mark.parametrize("grace", [1.0, 300.0])
def test_the_grace_of_a_shutdown_counts_for_those_that_have_been_asked_to_stop(asked, grace):
    """From its cancel on, however long they had before."""
    driver = Driver(grace=60.0)
    driver.start(flow(task("a", timeout=2.0), task("b")))
    asked(driver)
    driver.wait(30.0)

    driver.cancel(grace=grace)
    early = driver.wait(grace - 0.001)
    late = driver.wait(0.001)

    assert [] == early
    assert "step.abandoned a" == kinds(late)[0]
    driver.laws.at_rest()


def test_an_attempt_that_is_given_up_is_not_given_up_twice():
    """A shutdown comes between a thread's timeout and the word that the thread was left."""
    driver = Driver()
    driver.start(flow(task("a", timeout=2.0)), executors={"a": THREADS})
    driver.now += 2.0
    driver.say(Wake())

    driver.cancel(grace=1.0)
    driver.wait(1.0)

    assert 1 == len(driver.abandoned)
    driver.laws.at_rest()


def test_a_step_in_backoff_is_cancelled_at_once():
    """Nothing of it is left in the deadlines."""
    driver = Driver()
    driver.start(flow(task("a", retry=EVENTUALLY, total_timeout=50.0)), timeout=100.0)
    driver.fail("a")

    events = driver.cancel()

    assert ["step.cancelled a", "run.cancelled"] == kinds(events)
    driver.laws.at_rest()


def test_a_run_cancelled_after_a_failure_says_so_in_record_and_result_alike():
    """With fail_fast off, a run may have failed steps when it is cancelled."""
    driver = Driver()
    driver.start(flow(task("a"), task("b"), fail_fast=False))
    driver.fail("a")

    driver.cancel()
    driver.end("b", error=asyncio.CancelledError())

    assert RunStatus.CANCELLED is driver.results["run"].status


# ── Places for runs ──────────────────────────────────────────────────────────────────────────


def test_only_so_many_runs_are_in_progress():
    """The others wait, the important ones in front."""
    driver = Driver(places=1)
    driver.start(flow(task("a")), "one")
    driver.start(flow(task("a")), "two")
    driver.start(flow(task("a")), "three", priority=1)

    driver.end("a", run_id="one")
    second = [run_id for run_id, _ in driver.in_flight]
    driver.end("a", run_id="three")

    assert ["three"] == second
    assert ["two"] == [run_id for run_id, _ in driver.in_flight]


@pytest.mark.parametrize("wall", [0.0, 1.0])
def test_a_waiting_run_that_was_cancelled_never_starts(wall):
    """Whatever the clock on the wall says: a simulated one may begin at nothing."""
    driver = Driver(places=1)
    plan = flow(task("a")).plan()
    first, second = (
        StartRun(scope(run_id), plan, {"a": COROUTINES}, None, None, 0, None, 0)
        for run_id in ("one", "two")
    )
    _, _, ((_, _, execute),) = decide(driver.brain, first, 0.0, wall)
    decide(driver.brain, second, 0.0, wall)
    decide(driver.brain, CancelRun("two", "enough", None), 0.0, wall)

    ended = AttemptFinished(execute.attempt, None, None)
    events, _, _ = decide(driver.brain, ended, 0.0, wall)

    assert {"one"} == {event.run_id for event in events}


# ── Actors that die ──────────────────────────────────────────────────────────────────────────


def test_a_pending_steps_actor_is_replaced():
    """It is told again what had settled, and the step notices nothing."""
    driver = Driver()
    driver.start(flow(task("a"), task("b"), task("c", "a", "b")))
    driver.end("a", "from a")

    lost = driver.lose("c")
    driver.end("b", "from b")

    assert [] == lost
    assert ["c"] == driver.revived == driver.running()
    assert [("a", "from a", False), ("b", "from b", False)] == told(driver, "c")


def told(driver, step_id):
    """What a step's actor had been told when it submitted its attempt."""
    return [(one.step_id, one.output, one.skipped) for one in driver.seen[step_id]]


def test_a_ready_steps_actor_is_replaced_and_its_turn_stays():
    """The next worker is its, as if nothing had happened."""
    driver = Driver(workers=1)
    driver.start(flow(task("busy"), task("a"), task("b")))

    lost = driver.lose("a")
    driver.end("busy")

    assert [] == lost
    assert ["a"] == driver.running()


def test_a_grant_that_died_with_its_actor_is_said_again():
    """The same attempt, with all data; it is neither failed nor counted twice."""
    driver = Driver(posted=True)
    driver.start(flow(task("a"), task("b", "a")))
    attempt = driver.in_flight.pop(("run", "a"))
    driver.say(AttemptFinished(attempt, "from a", None))
    driver.die("b")
    driver.settle()

    assert ["b"] == driver.running()
    assert 1 == driver.attempt("b").number
    assert [("a", "from a", False)] == told(driver, "b")


def test_the_loss_of_a_running_steps_actor_does_not_matter():
    """The executor has the attempt and reports to the supervisor."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    attempt = driver.attempt("a")

    lost = driver.lose("a")
    driver.end("a", "from a")

    assert [] == lost == driver.stopped
    assert attempt.submitted
    assert ["b"] == driver.running()
    assert [("a", "from a", False)] == told(driver, "b")


@pytest.mark.parametrize("skipped", [False, True])
def test_the_dependents_of_a_settled_step_whose_actor_died_are_told_directly(skipped):
    """Before it could tell them; no new actor is made for it."""
    driver = Driver(posted=True)
    driver.start(flow(task("a", required=False), task("b", "a"), task("c", "a", "b")))
    attempt = driver.in_flight.pop(("run", "a"))
    driver.say(AttemptFinished(attempt, "from a", ValueError("no") if skipped else None))
    driver.die("a")
    driver.settle()

    assert [] == driver.revived
    assert ["b"] == driver.running()
    assert [("a", None if skipped else "from a", skipped)] == told(driver, "b")
    driver.end("b", "from b")
    assert ["c"] == driver.running()


def test_a_settled_steps_dependents_that_have_settled_are_not_told():
    """There is nothing that they could need."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a"), task("c", "b")))
    driver.end("a")
    driver.end("b")
    driver.posted = True
    driver.die("a")

    assert [] == driver.mail


def test_while_a_new_actor_is_not_known_messages_go_through_the_runs_actor():
    """It knows where the step lives before the supervisor does."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    driver.die("b")
    driver.say(AttemptFinished(driver.in_flight.pop(("run", "a")), "from a", None))

    unknown = driver.brain.runs["run"].addresses
    assert unknown is None
    assert ["b"] == driver.running()
    driver.settle()
    assert driver.brain.runs["run"].addresses is not None


def test_addresses_are_known_again_when_every_lost_actor_has_a_new_one():
    """Two of a run's actors die at once; after the first StepMoved one of them is still dead."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")))
    run = driver.brain.runs["run"]
    for name in "bc":
        driver.bury(name)
    first, second, *_ = driver.pending
    driver.pending.clear()
    driver.say(first)
    driver.say(second)

    known = [run.addresses]
    while driver.pending:
        driver.say(driver.pending.pop(0))
        known.append(run.addresses)
    assert [None, None] == known[:2]
    assert known[2] is not None
    assert all(home.alive for home in known[2].values())
    driver.end("a", "from a")
    assert ["b", "c"] == driver.running()


def test_the_death_of_a_runs_actor_loses_nothing():
    """All its steps have new actors; they know what had settled, and hold their grants."""
    driver = Driver(workers=2, posted=True)
    steps = [task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"), task("e")]
    driver.start(flow(*steps))
    driver.end("a", "from a")
    running = driver.running()
    attempt = driver.in_flight.pop(("run", "e"))
    driver.say(AttemptFinished(attempt, "from e", None))  # c is granted by this
    driver.die_with_all()
    driver.settle()

    assert ["e", "b"] == running
    assert ["b", "c"] == driver.running()
    assert [("a", "from a", False)] == told(driver, "c")
    driver.end("b", "from b")
    driver.end("c", "from c")
    driver.end("d")
    assert RunStatus.COMPLETED is driver.results["run"].status
    assert [1, 1, 1, 1, 1] == [one.attempts for one in driver.results["run"].steps.values()]


def test_the_death_of_a_runs_actor_forgets_which_of_its_steps_had_none():
    """Their new actors have died with it; the next run actor tells all addresses at once."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a"), task("c", "a")))
    for name in "bc":
        driver.bury(name)
    lost = driver.pending[:]
    driver.pending.clear()
    for message in lost:
        driver.say(message)
    driver.lose_all()

    addresses = driver.brain.runs["run"].addresses
    assert addresses is not None
    assert all(home.alive for home in addresses.values())
    driver.end("a")
    assert ["b", "c"] == driver.running()


@pytest.mark.parametrize("whole_run", [False, True])
@pytest.mark.parametrize("victim", ["a", "b"])
def test_a_step_whose_actor_keeps_dying_is_given_up(victim, whole_run):
    """After three deaths, whether it waits for a dependency or holds a grant."""
    driver = Driver(posted=True)
    driver.start(flow(task("a"), task("b", "a")), settle=victim == "b")

    lost = []
    for _ in range(4):
        before = len(driver.events)
        if victim == "b" and not whole_run:
            driver.lose("b")
        elif whole_run:
            driver.die_with_all()
        else:
            driver.say(ActorLost("run", "a", "it was shot"))
        lost.append(driver.events[before:])
    driver.settle()

    assert [[], [], []] == lost[:3]
    assert f"step.failed {victim}" in kinds(lost[3])
    error = driver.brain.runs["run"].error if driver.brain.runs else driver.results["run"].error
    assert isinstance(error, ActorCrashed)


def test_an_attempt_that_is_given_up_gives_its_worker_back_and_may_be_followed_by_another():
    """Its actors have died before it could be submitted, and no former grant is obeyed."""
    driver = Driver(workers=1, posted=True)
    driver.start(flow(task("a", retry=EVENTUALLY), task("b")), settle=False)
    attempt = driver.granted["run", "a"]
    for _ in range(4):
        driver.say(ActorLost("run", "a", "it was shot"))
    events = driver.batches[-1]
    driver.settle()
    driver.end("b")
    driver.wait(1.0)

    assert ["step.retrying a", "step.started b"] == kinds(events)
    assert isinstance(events[0].data["error"], ActorCrashed)
    assert attempt.submitted, "it can no longer begin"
    assert 2 == driver.attempt("a").number


def test_a_running_step_is_never_given_up_because_of_its_actors():
    """However often they die."""
    driver = Driver()
    driver.start(flow(task("a")))
    lost = [driver.lose("a") for _ in range(9)]
    driver.end("a", "from a")

    assert not any(lost)
    assert {"a": "from a"} == driver.results["run"].outputs


def test_an_attempt_that_is_stopped_before_its_submission_is_over_at_once():
    """Its grant is on the way; when it arrives, nothing begins."""
    driver = Driver(workers=1, posted=True)
    driver.start(flow(task("a")), settle=False)
    driver.say(CancelRun("run", "enough", None))
    driver.settle()

    assert [] == driver.stopped == driver.running()
    assert RunStatus.CANCELLED is driver.results["run"].status
    driver.laws.at_rest()


def test_a_timeout_stops_an_attempt_that_waits_for_its_data():
    """The clock started with the grant, though a message was lost."""
    driver = Driver(posted=True)
    driver.start(flow(task("a"), task("b", "a", timeout=2.0)))
    driver.say(AttemptFinished(driver.in_flight.pop(("run", "a")), None, None))
    driver.mail.clear()
    driver.now += 2.0
    driver.say(Wake())
    events = driver.batches[-1]
    driver.settle()

    assert ["step.timed_out b"] == kinds(events)
    assert isinstance(driver.results["run"].error, StepTimeout)
    driver.laws.at_rest()


def test_a_grant_before_its_data_waits_for_it():
    """And so does data before its grant: they come from different actors."""
    driver = Driver(posted=True)
    driver.start(flow(task("a"), task("b", "a")))
    driver.say(AttemptFinished(driver.in_flight.pop(("run", "a")), "from a", None))
    settled, execute = driver.mail
    driver.mail[:] = [execute, settled]
    driver.deliver()
    before = driver.running()
    driver.settle()

    assert [] == before
    assert ["b"] == driver.running()


# ── What else reaches the brain ──────────────────────────────────────────────────────────────


def test_a_body_that_blocks_the_loop_is_told_of():
    """As an event of its attempt, with the place where it blocks."""
    driver = Driver()
    driver.start(flow(task("a")))

    (event,) = driver.tell(BlockedLoop(driver.attempt("a"), 0.7, "where it blocks"))

    assert ("step.blocking", "a", 1) == (event.kind, event.step_id, event.attempt)
    assert {"seconds": 0.7, "stack": "where it blocks"} == dict(event.data)


def test_a_report_of_a_body_that_has_ended_is_too_late():
    """The watchdog's report travels behind the end of what it reports."""
    driver = Driver()
    driver.start(flow(task("a")))
    attempt = driver.attempt("a")
    driver.end("a")

    assert [] == driver.tell(BlockedLoop(attempt, 0.7, ""))


def test_a_duplicated_message_leaves_the_outcome_unchanged():
    """A result that was reported counts once."""
    driver = Driver()
    driver.start(flow(task("a"), task("b", "a")))
    attempt = driver.attempt("a")
    driver.end("a")

    assert [] == driver.tell(AttemptFinished(attempt, "other", None))
    assert ["b"] == driver.running()


def test_a_message_for_a_run_that_is_gone_does_nothing():
    """Actors of an ended run may still have something on the way."""
    driver = Driver()
    driver.start(flow(task("a")))
    attempt = driver.attempt("a")
    driver.end("a")

    for message in (
        StepsMade("run", {}),
        StepMoved("run", "a", {}),
        AttemptFinished(attempt, None, None),
        ActorLost("run", "a", "it was shot"),
        RunActorLost("run", "it was shot"),
    ):
        assert [] == driver.tell(message)


def test_a_wakeup_for_nothing_does_nothing():
    """Wakeups cannot be cancelled, so stale ones come."""
    driver = Driver()
    driver.start(flow(task("a", timeout=50.0)))

    assert [] == driver.tell(Wake())


# ── Resuming ─────────────────────────────────────────────────────────────────────────────────


def failed_half_way(driver):
    """A run in which one step completed, one was skipped, one failed and one never ran."""
    workflow = flow(
        task("done"),
        task("maybe", required=False),
        task("bad", "done", "maybe"),
        task("last", "bad", "done"),
    )
    driver.start(workflow)
    driver.fail("maybe")
    driver.end("done", "kept")
    driver.fail("bad")
    return workflow


def test_a_resumed_run_runs_what_has_no_outcome():
    """What completed or was skipped is not run again."""
    driver = Driver()
    workflow = failed_half_way(driver)

    events = driver.resume(workflow)

    assert ["run.resumed", "step.ready bad", "step.started bad"] == kinds(events)
    assert 1 == driver.attempt("bad").number


def test_a_resumed_run_goes_on_counting_its_events():
    """One run, one row of numbers, over all of its lives."""
    driver = Driver()
    workflow = failed_half_way(driver)
    before = len(driver.events)

    driver.resume(workflow)
    driver.end("bad", 1)
    driver.end("last", 2)

    assert list(range(1, len(driver.events) + 1)) == [event.number for event in driver.of()]
    assert before + 1 == driver.events[before].number


def test_a_resumed_runs_result_holds_what_was_kept():
    """Outputs from both lives, and nothing of the old failure."""
    driver = Driver()
    workflow = failed_half_way(driver)
    driver.resume(workflow)
    driver.end("bad", 1)
    driver.end("last", 2)

    result = driver.results["run"]
    assert RunStatus.COMPLETED is result.status
    assert {"done": "kept", "bad": 1, "last": 2} == result.outputs
    assert (None, None) == (result.error, result.failed_step)
    assert isinstance(result.steps["maybe"], StepResult)
    driver.laws.at_rest()


def test_a_run_whose_steps_all_have_an_outcome_ends_when_it_is_resumed():
    """It was cancelled in the instant in which its last step completed."""
    driver = Driver()
    workflow = flow(task("a"))
    driver.start(workflow)
    driver.cancel()
    driver.end("a", "done all the same")

    events = driver.resume(workflow)

    assert ["run.resumed", "run.completed"] == kinds(events)
    driver.laws.at_rest()

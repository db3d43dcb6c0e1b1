"""The laws: each can be broken, each is kept by what is in order, and users add their own."""

from __future__ import annotations

import pickle
import random
import re

import attrs
import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.model.attempts import AttemptOutcome
from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import (
    AttemptFinished,
    CancelRun,
    DependencyCompleted,
    Execute,
    PauseRun,
    StartRun,
)
from actorflow.systems.simulated.mischief import Fault
from actorflow.testing import (
    Faults,
    Outcome,
    Scenario,
    ScenarioRun,
    ScenarioStep,
    Script,
    Settings,
    Simulation,
    Tape,
    hangs,
    laws,
    raises,
    returns,
    simulate,
)
from actorflow.testing.errors import LawBroken
from actorflow.testing.trace.trace import AttemptTrace
from docs.examples.lesson import flow as lesson
from tests.support import doctored_traces as doctored
from tests.support.brain import flow, nothing, step, task
from tests.support.doctored_traces import broken

TWICE = RetryPolicy(max_attempts=2, jitter=0.0)
THRICE = RetryPolicy(max_attempts=3, jitter=0.0)
FAILS = raises(ValueError("no"))
CASES = []


def breaks(number, *others):
    """Keep a trace that breaks a law; and others with it, where it cannot be done otherwise."""

    def keep(doctor):
        name = doctor.__name__.replace("_", " ")
        CASES.append(pytest.param(sorted([number, *others]), doctor, id=f"{number}: {name}"))
        return doctor

    return keep


def several(*runs, cancel_at=None, **settings):
    """The trace of several runs: flows with how they are started; the first may be cancelled."""
    simulation = Simulation(**settings)
    for one, options in runs:
        simulation.start(one, **options)
    if cancel_at is not None:
        simulation.cancel_at(cancel_at, "run-1")
    simulation.run_until_quiet()
    return simulation.trace()


def chain():
    """The trace of two steps, one after the other."""
    return simulate(flow(task("a"), task("b", "a")))


def retried():
    """The trace of a step that fails twice, and then completes."""
    return simulate(flow(task("a", retry=THRICE)), script=Script({"a": [FAILS, FAILS, returns()]}))


def branches(**options):
    """A workflow of two branches."""
    return flow(task("a"), task("b", "a"), task("c"), task("d", "c"), **options)


def failed(**options):
    """The trace of two branches of which one fails."""
    script = Script({"a": FAILS, "c": returns(after=2.0)})
    return simulate(branches(**options), script=script)


def cancelled():
    """The trace of two steps of which the first one runs when the run is cancelled."""
    return simulate(flow(task("a"), task("b", "a")), script=Script({"a": hangs()}), cancel_at=3.0)


# ── Budget ───────────────────────────────────────────────────────────────────────────────────


@breaks(1)
def more_async_attempts_in_flight_than_workers():
    """As the executors have counted."""
    return attrs.evolve(chain(), max_in_flight=3)


@breaks(1, 10)
def two_attempts_in_the_lane_of_one_run():
    """The first one is not over when the second one begins, whatever was recorded."""
    trace = simulate(flow(step("a"), step("b")))
    return doctored.with_body(trace, "a", over=trace.attempts[1].begun + 1)


@breaks(2)
def a_lease_that_leaked():
    """It is held, and nothing is in flight."""
    return doctored.with_lull(chain(), -1, leases_held=1, leases_free=1)


@breaks(2)
def a_lease_that_came_back_twice():
    """There are more than there were."""
    return doctored.with_lull(chain(), -1, leases_free=3)


@breaks(2)
def a_lease_that_came_back_too_early():
    """An attempt in flight holds none."""
    return doctored.with_lull(chain(), 0, leases_held=0, leases_free=2)


@breaks(2, 31)
def a_lease_that_is_held_at_the_end():
    """Nothing has run since."""
    trace = chain()
    return attrs.evolve(trace, leftovers=attrs.evolve(trace.leftovers, leases=1))


@breaks(16)
def a_lower_priority_that_was_granted_first():
    """There was one worker for two steps."""
    trace = simulate(flow(task("a"), task("b"), task("c")), async_workers=1)
    return doctored.planned(trace, flow(task("a"), task("b"), task("c", priority=1)))


@breaks(16)
def an_order_that_was_not_that_of_readiness():
    """The last one of three is the second to start."""
    steps = [task("a"), task("b"), task("c")]
    return doctored.planned(
        simulate(flow(*steps[:2], task("c", priority=1)), async_workers=1), flow(*steps)
    )


@breaks(16)
def a_lower_priority_that_came_first_in_the_lane():
    """The lane has an order as well."""
    trace = simulate(flow(step("a"), step("b"), step("c")))
    return doctored.planned(trace, flow(step("a"), step("b"), step("c", priority=1)))


@breaks(17)
def a_free_worker_beside_a_ready_step():
    """When nothing could be delivered."""
    trace = simulate(flow(task("a"), task("b"), task("c")))
    return doctored.with_lull(trace, 0, leases_held=1, leases_free=1, in_flight=1)


@breaks(17)
def a_free_lane_beside_a_ready_step():
    """The step before it had ended when time went on, and it had not started."""
    trace = simulate(flow(step("a"), step("b")))
    place = doctored.place_of(trace, "step.started", "b")
    return with_another_lull(trace, 1.0, place, free=2)


def with_another_lull(trace, time, events, *, free):
    """The trace with a lull between its first and the others."""
    lull = time, events, len(trace.envelopes), 2 - free, free, 2 - free, 0
    return attrs.evolve(trace, lulls=(trace.lulls[0], lull, *trace.lulls[1:]))


@breaks(19)
def a_run_that_was_granted_two_leases_in_a_row():
    """Another one of equal priority waited."""
    twins = flow(task("a"), task("b"), task("c"))
    trace = several((twins, {"priority": 1}), (twins, {}), async_workers=1)
    return doctored.planned(trace, priority=0)


# ── Steps ────────────────────────────────────────────────────────────────────────────────────


@breaks(3)
def a_step_that_did_not_wait_for_its_dependency():
    """Both run at once."""
    trace = simulate(flow(task("a"), task("b")))
    return doctored.planned(trace, flow(task("a"), task("b", "a")))


@breaks(3, 5)
def a_step_that_began_before_its_dependency_was_over():
    """The events are in order, and the executors tell another story."""
    trace = chain()
    return doctored.with_body(trace, "b", begun=trace.attempts[0].over)


@breaks(4)
def an_attempt_too_many():
    """Three, where two are allowed."""
    return doctored.planned(retried(), flow(task("a", retry=TWICE)))


@breaks(5)
def a_gap_in_the_numbers_of_attempts():
    """There is no third one."""
    trace = retried()
    return doctored.with_changed(trace, "step.started", "a", which=3, attempt=4)


@breaks(5, 12)
def attempts_that_overlap():
    """The second one begins before the first one ends."""
    trace = retried()
    return doctored.with_body(trace, "a", 2, started_at=0.5)


@breaks(5)
def an_attempt_that_began_twice():
    """The same one."""
    trace = simulate(flow(task("a", retry=THRICE)), script=Script({"a": [FAILS, returns()]}))
    return attrs.evolve(trace, rows=(trace.rows[0], *trace.rows))


@breaks(5)
def an_attempt_whose_start_is_not_recorded_before_it_begins():
    """It is recorded too late."""
    trace = chain()
    return doctored.with_body(trace, "a", begun=1)


@breaks(6)
def a_step_that_never_ended_although_its_run_has():
    """One event is missing."""
    return doctored.without(failed(), "step.cancelled", "b")


@breaks(6, 8, 9)
def a_step_that_ended_twice():
    """One event too many, which is one that the table does not have, after its end."""
    before = "run.completed", None
    return doctored.with_added(chain(), "step.skipped", "a", before=before, attempt=1)


@breaks(8)
def a_result_of_another_status():
    """The record says that it completed."""
    return doctored.with_result(chain(), status="failed")


@breaks(8)
def a_result_with_another_output():
    """Equal, and not the same: outputs are handed on as they are."""
    trace = simulate(flow(task("a")), script=Script({"a": returns([1])}))
    return doctored.with_result(trace, outputs={"a": [1]})


@breaks(8)
def a_result_with_another_error_of_the_same_text():
    """Nothing was restored, so errors are handed on as they are."""
    trace = failed()
    one = attrs.evolve(trace.result.steps["a"], error=copied(trace.result.steps["a"].error))
    return doctored.with_result(trace, steps={**trace.result.steps, "a": one})


def with_attempts_of_a(change):
    """The trace of a retried step whose result has its attempts changed."""
    trace = retried()
    step_a = trace.result.steps["a"]
    one = attrs.evolve(step_a, retried=change(*step_a.retried))
    return doctored.with_result(trace, steps={**trace.result.steps, "a": one})


@breaks(8)
def a_result_with_an_attempt_too_few():
    """The second one is missing."""
    return with_attempts_of_a(lambda first, _, last: (first, last))


@breaks(8)
def a_result_with_an_attempt_at_another_time():
    """The last one began later than recorded."""
    return with_attempts_of_a(
        lambda first, second, last: (
            first,
            second,
            attrs.evolve(last, started_at=last.finished_at),
        )
    )


@breaks(8)
def a_result_with_an_attempt_of_another_outcome():
    """It failed, and did not time out."""
    return with_attempts_of_a(
        lambda first, *others: (attrs.evolve(first, outcome=AttemptOutcome.TIMED_OUT), *others)
    )


@breaks(8)
def a_result_with_an_attempt_of_another_error():
    """Equal, and not the same."""
    return with_attempts_of_a(
        lambda first, *others: (attrs.evolve(first, error=copied(first.error)), *others)
    )


@breaks(8)
def a_result_with_an_output_too_many():
    """Of a step that failed."""
    return doctored.with_result(failed(), outputs={"a": None})


@breaks(8)
def a_step_whose_end_was_overwritten():
    """The result says that it failed, and the record that it was skipped."""
    optional = flow(task("a", required=False), task("b"))
    trace = simulate(optional, script=Script({"a": FAILS}))
    one = attrs.evolve(trace.result.steps["a"], status="failed")
    return doctored.with_result(trace, steps={**trace.result.steps, "a": one})


@breaks(8, 9)
def an_event_after_a_steps_end():
    """Its timeout passes when it is over."""
    timed_out = {"timeout": 1.0, "limit": "attempt"}
    trace = doctored.planned(chain(), flow(task("a", timeout=1.5), task("b", "a")))
    late = doctored.with_added(trace, "step.timed_out", "a", attempt=1, **timed_out)
    return doctored.with_moved(
        doctored.with_changed(late, "step.timed_out", "a", time=2.0),
        "step.timed_out",
        "a",
        before=("run.completed", None),
    )


@breaks(9)
def a_step_that_started_without_being_ready():
    """The table has no such move."""
    return doctored.without(chain(), "step.ready", "a")


@breaks(9)
def a_run_that_ended_without_a_start():
    """The table has no such move either."""
    return doctored.without(chain(), "run.started")


@breaks(15, 8, 9)
def a_step_that_started_after_it_was_cancelled():
    """By the record."""
    trace = cancelled()
    return doctored.with_moved(trace, "step.cancelled", "a", before=("step.started", "a"))


@breaks(15, 5, 20)
def a_step_that_began_after_it_was_cancelled():
    """By the executors' account."""
    trace = cancelled()
    count = len(trace.envelopes)
    body = AttemptTrace(
        "run-1", "b", 1, True, 3.0, 4.0, Outcome.RETURNED, {}, None, None, count, count
    )
    return attrs.evolve(trace, rows=(*trace.rows, tuple(body)))


# ── Attempts ─────────────────────────────────────────────────────────────────────────────────


@breaks(10)
def an_end_that_is_recorded_while_the_attempt_is_in_flight():
    """It is over only later."""
    trace = chain()
    return doctored.with_body(trace, "b", over=len(trace.envelopes) + 1)


@breaks(10)
def a_step_that_completed_by_an_attempt_that_failed():
    """Its executor knows better."""
    return doctored.with_body(chain(), "b", outcome=Outcome.RAISED)


@breaks(10)
def a_step_that_completed_by_an_attempt_that_was_given_up():
    """The result came after it was recorded that nobody waited for it."""
    trace = doctored.with_body(chain(), "b", outcome=Outcome.ABANDONED)
    return doctored.with_added(
        trace, "step.abandoned", "b", before=("step.completed", "b"), attempt=1, stack=""
    )


@breaks(10, 8)
def an_output_that_was_not_returned():
    """It was made up."""
    return doctored.with_changed(chain(), "step.completed", "b", data={"output": "other"})


@breaks(11)
def a_timeout_that_fired_early():
    """After a second, of two."""
    trace = simulate(flow(task("a", timeout=2.0)), script=Script({"a": hangs()}))
    return doctored.with_changed(trace, "step.timed_out", "a", time=1.0)


@breaks(11)
def a_timeout_that_nobody_has_set():
    """The step has none."""
    trace = simulate(flow(task("a", timeout=2.0)), script=Script({"a": hangs()}))
    return doctored.planned(trace, flow(task("a")))


@breaks(11)
def a_total_timeout_that_fired_early():
    """It counts from the first start."""
    trace = simulate(flow(task("a", total_timeout=2.0)), script=Script({"a": hangs()}))
    return doctored.with_changed(trace, "step.timed_out", "a", time=1.0)


@breaks(11)
def a_timeout_and_a_completion_that_both_won():
    """The attempt timed out, and it completed its step."""
    trace = doctored.planned(chain(), flow(task("a"), task("b", "a", timeout=1.5)))
    timed_out = {"timeout": 1.5, "limit": "attempt"}
    before = "step.completed", "b"
    added = doctored.with_added(trace, "step.timed_out", "b", before=before, attempt=1, **timed_out)
    return doctored.with_changed(added, "step.timed_out", "b", time=2.5)


@breaks(11)
def a_completion_after_the_time_was_up():
    """It took a second, and had half of one."""
    return doctored.planned(chain(), flow(task("a"), task("b", "a", timeout=0.5)))


@breaks(11, 8)
def a_runs_timeout_that_passed_early():
    """It was not due."""
    trace = simulate(flow(task("a"), timeout=2.0), script=Script({"a": hangs()}))
    return doctored.with_changed(trace, "run.failed", time=1.0)


@breaks(12)
def a_wait_out_of_the_policys_bounds():
    """It was to be ten times as long."""
    slow = RetryPolicy(initial_interval=10.0, jitter=0.0)
    return doctored.planned(retried(), flow(task("a", retry=slow)))


@breaks(12)
def a_step_that_was_ready_before_its_backoff_was_over():
    """By half a second."""
    trace = retried()
    pairs, place = doctored.pairs_of(trace), doctored.place_of(trace, "step.retrying", "a") + 1
    mark, again = pairs[place]
    pairs[place] = mark, again._replace(time=again.time - 0.5)
    return doctored.told(trace, pairs)


@breaks(12)
def an_attempt_that_began_before_the_backoff_was_over():
    """Whatever the events say."""
    return doctored.with_body(retried(), "a", 2, started_at=1.2)


@breaks(13)
def an_error_that_was_not_to_be_retried():
    """The policy retries others."""
    keys_only = RetryPolicy(max_attempts=3, jitter=0.0, retryable_errors=KeyError)
    return doctored.planned(retried(), flow(task("a", retry=keys_only)))


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────


@breaks(7, 9)
def a_run_that_ended_twice():
    """Which the table does not have."""
    return doctored.with_added(chain(), "run.completed")


@breaks(7)
def an_event_after_the_runs_end():
    """The run did not wait for its last step."""
    return doctored.with_moved(chain(), "step.completed", "b", before=None)


@breaks(7, 8)
def a_run_that_completed_although_a_step_has_failed():
    """The steps do not bear it out."""
    return doctored.with_changed(failed(), "run.failed", kind=EventKind.RUN_COMPLETED)


@breaks(14)
def a_start_after_a_failure():
    """Nothing was to start any more."""
    return doctored.planned(failed(fail_fast=False), branches())


@breaks(14)
def a_step_that_was_cancelled_and_depends_on_nothing_that_failed():
    """Only dependents were to be cancelled."""
    return doctored.planned(failed(), branches(fail_fast=False))


@breaks(14)
def a_step_that_was_cancelled_before_anything_had_failed():
    """There was no reason."""
    return doctored.with_moved(failed(), "step.cancelled", "b", before=("step.failed", "a"))


@breaks(18)
def a_run_that_stands_still():
    """Nothing can be delivered, its first step has settled, and the second one is not ready."""
    trace = chain()
    return with_another_lull(trace, 1.0, doctored.place_of(trace, "step.ready", "b"), free=2)


@breaks(18)
def an_attempt_that_goes_on_for_ever_and_has_a_timeout():
    """Nobody has stopped it."""
    trace = simulate(flow(task("a")), script=Script({"a": hangs()}))
    return doctored.planned(trace, flow(task("a", timeout=2.0)))


@breaks(18)
def a_run_that_outlives_its_timeout():
    """Nothing is left that could end it."""
    return doctored.planned(simulate(flow(task("a")), script=Script({"a": hangs()})), deadline=5.0)


@breaks(18)
def an_end_of_which_nobody_was_told():
    """The run's handle waits for ever."""
    return attrs.evolve(chain(), results={})


@breaks(18)
def a_message_that_could_not_be_handled():
    """Somebody waits for what it would have brought."""
    return attrs.evolve(chain(), defects=("a message could not be handled",))


@breaks(18)
def a_schedule_without_an_end():
    """It was cut at a bound."""
    return attrs.evolve(chain(), endless=True)


@breaks(18)
def a_backoff_whose_end_nobody_noticed():
    """Time went on without it."""
    trace = retried()
    place = doctored.place_of(trace, "step.retrying", "a") + 1
    return with_another_lull(trace, 2.5, place, free=2)


@breaks(18)
def a_timeout_that_nobody_noticed():
    """Time went on without it."""
    again = flow(task("a", timeout=2.0, retry=TWICE))
    trace = simulate(again, script=Script({"a": [hangs(), returns()]}))
    return with_another_lull(trace, 2.5, doctored.place_of(trace, "step.timed_out", "a"), free=1)


@breaks(20)
def an_attempt_that_began_after_the_run_was_cancelled():
    """The cancel was heard before."""
    return with_cancel_at(cancelled(), 2, 3.0)


def with_cancel_at(trace, index, time):
    """The trace in which a cancel is the message at a place, at a moment."""
    envelopes = list(trace.envelopes)
    cancel = next(one for one in envelopes if isinstance(one[1][1], CancelRun))
    envelopes.remove(cancel)
    envelopes.insert(index, (time, cancel[1]))
    return attrs.evolve(trace, envelopes=tuple(envelopes))


@breaks(20)
def a_cancel_for_another_reason():
    """Somebody else came later, and was believed."""
    trace = cancelled()
    return doctored.with_changed(trace, "run.cancelled", data={"reason": "another"})


@breaks(20)
def a_run_that_completed_although_it_was_cancelled():
    """Seconds before."""
    trace = simulate(flow(task("a")), script=Script({"a": returns(after=5.0)}), cancel_at=9.0)
    return with_cancel_at(trace, trace.attempts[0].begun, 1.0)


@breaks(31)
def an_actor_that_was_left():
    """The run has ended."""
    trace = chain()
    return attrs.evolve(trace, leftovers=attrs.evolve(trace.leftovers, actors=1))


@breaks(31)
def a_task_that_was_left():
    """And no attempt was abandoned."""
    trace = chain()
    return attrs.evolve(trace, leftovers=attrs.evolve(trace.leftovers, tasks=1))


@breaks(32)
def a_run_that_did_not_end_within_its_grace():
    """It had five seconds, and was to have one."""
    clockwork = [step("t", retry=RetryPolicy(max_attempts=9, jitter=0.0))]
    trace = several(
        (flow(task("a")), {"script": Script({"a": hangs(stubborn=True)})}),
        (flow(*clockwork), {"script": Script({"t": FAILS})}),
        cancel_at=3.0,
    )
    return attrs.evolve(trace, settings=attrs.evolve(trace.settings, stop_grace=1.0))


@breaks(32, 18)
def a_result_that_was_handed_out_and_not_recorded():
    """A crash would lose it."""
    return doctored.without(chain(), "run.completed")


# ── Compensation ─────────────────────────────────────────────────────────────────────────────


def undone():
    """The trace of a run that fails, and undoes its steps."""
    undo = {"compensate": lambda: None}
    steps = task("a", **undo), task("b", "a", **undo), task("c", "b", **undo)
    return simulate(flow(*steps), script=Script({"c": FAILS}))


def undone_too(step_id):
    """That trace, with one more step that is undone."""
    trace = undone()
    for kind in ("compensation.started", "compensation.completed"):
        trace = doctored.with_added(trace, kind, step_id, before=("run.failed", None), attempt=1)
    return trace


@breaks(21)
def a_compensation_that_never_came():
    """The step had completed."""
    trace = doctored.without(undone(), "compensation.started", "a")
    return doctored.without(trace, "compensation.completed", "a")


@breaks(21, 8, 18)
def a_run_that_was_never_undone():
    """It had failed."""
    trace = undone()
    for event in [one for one in trace.events if one.kind.startswith("compensation.")]:
        trace = doctored.without(trace, event.kind, event.step_id)
    return doctored.without(trace, "run.compensating")


@breaks(21, 4, 5, 9, 10)
def a_compensation_that_ran_twice():
    """Which neither the table nor the executors know."""
    return undone_too("a")


@breaks(21, 9, 10)
def a_compensation_of_a_step_that_had_failed():
    """There was nothing to undo, and no executor was told to."""
    return undone_too("c")


@breaks(22)
def compensations_in_the_order_of_completion():
    """The last one was to be undone first."""
    trace = undone()
    for kind in ("compensation.started", "compensation.completed"):
        trace = doctored.with_moved(trace, kind, "a", before=("compensation.started", "b"))
    return trace


@breaks(22)
def a_record_in_the_order_of_completion():
    """What was to be undone, and when, was wrong from the beginning."""
    trace = undone()
    event = trace.events[doctored.place_of(trace, "run.compensating")]
    data = {**event.data, "steps": event.data["steps"][::-1]}
    return doctored.with_changed(trace, "run.compensating", data=data)


@breaks(22)
def a_compensation_that_began_while_a_step_ran():
    """It had not stopped."""
    return doctored.with_moved(undone(), "step.failed", "c", before=("run.failed", None))


@breaks(22, 10)
def a_compensator_that_began_while_an_executor_was_at_a_step():
    """Whatever the events say."""
    trace = undone()
    return doctored.with_body(trace, "c", over=trace.compensations[0].begun + 1)


# ── Outputs ──────────────────────────────────────────────────────────────────────────────────


def joined():
    """The trace of a step that gets the output of one, and that of another if there is one."""

    def join(a, b=None):
        return None

    def see(inputs):
        return None

    steps = [task("a"), task("b", required=False), Step("c", join, after=["a", "b"])]
    return simulate(flow(*steps, Step("d", see, after=["a", "b"])), script=Script({"b": FAILS}))


@breaks(23)
def an_output_that_was_changed():
    """By a step that had it."""
    return attrs.evolve(chain(), changes=(("run-1", "b", 1, "a"),))


@breaks(23)
def an_argument_that_is_not_what_was_recorded():
    """Somebody else's."""
    return doctored.with_body(joined(), "c", arguments={"a": "b#1"})


@breaks(23)
def an_argument_of_a_step_that_was_skipped():
    """It has no output."""
    return doctored.with_body(joined(), "c", arguments={"a": "a#1", "b": "b#1"})


@breaks(23)
def an_argument_that_is_missing():
    """The step had it coming."""
    return doctored.with_body(joined(), "c", arguments={})


@breaks(23)
def inputs_that_hold_an_output_too_many():
    """That of the step which was skipped."""
    return doctored.with_body(joined(), "d", arguments={"inputs": {"a": "a#1", "b": None}})


@breaks(23)
def inputs_in_the_order_of_completion():
    """A step that joins them would depend on the schedule."""

    def see(inputs):
        return None

    trace = simulate(flow(task("a"), task("b"), Step("c", see, after=["a", "b"])))
    return doctored.with_body(trace, "c", arguments={"inputs": {"b": "b#1", "a": "a#1"}})


@breaks(23)
def a_dependent_that_was_told_of_another_output():
    """The record says otherwise."""
    return doctored.with_messages(
        chain(),
        lambda one: attrs.evolve(one, output="x") if isinstance(one, DependencyCompleted) else one,
    )


@breaks(23)
def a_dependent_that_was_told_that_the_step_was_skipped():
    """It has completed."""
    return doctored.with_messages(
        chain(),
        lambda one: (
            attrs.evolve(one, skipped=True) if isinstance(one, DependencyCompleted) else one
        ),
    )


@breaks(23)
def a_dependent_that_was_told_twice():
    """No fault had anything to do with it."""
    trace = chain()
    again = [one for one in trace.envelopes if isinstance(one[1][1], DependencyCompleted)]
    return attrs.evolve(trace, envelopes=(*trace.envelopes, *again))


# ── Records ──────────────────────────────────────────────────────────────────────────────────


def restarted(workflow=None, until="step.completed", **options):
    """The trace of a run whose orchestrator crashed as soon as something was recorded."""
    simulation = Simulation(**options)
    run_id = simulation.start(workflow or flow(task("a"), task("b", "a")))
    while until not in {event.kind for event in simulation.trace().events}:
        simulation.deliver()
    simulation.crash()
    simulation.resume(run_id)
    simulation.run_until_quiet()
    return simulation.trace()


def undone_in_two_lives():
    """The trace of two undoings, of which the first is recorded when the orchestrator crashes."""
    workflow = flow(
        task("a", compensate=nothing), task("b", "a", compensate=nothing), task("c", "b")
    )
    return restarted(workflow, "compensation.completed", script=Script({"c": FAILS}))


@breaks(26)
def a_dependent_that_was_told_before_it_was_recorded():
    """A crash in between would have run the step twice."""
    trace, place = chain(), 4
    marks = list(trace.marks)
    marks[place] += 3
    return attrs.evolve(trace, marks=tuple(marks))


@breaks(26)
def an_event_that_was_shown_before_it_was_recorded():
    """Watchers saw the second one when there was one."""
    trace = chain()
    early = [(recorded - (place == 1), it) for place, (recorded, it) in enumerate(shown(trace))]
    return attrs.evolve(trace, shown=tuple(early))


def shown(trace):
    """What watchers of a trace would be shown, one by one."""
    return doctored.shown(trace.events)


@breaks(26)
def an_event_that_was_shown_and_never_recorded():
    """It is not the one that is recorded."""
    trace = chain()
    recorded, (event,) = shown(trace)[-1]
    other = event._replace(time=9.0)
    return attrs.evolve(trace, shown=(*shown(trace)[:-1], (recorded, (other,))))


@breaks(26)
def a_result_that_was_handed_out_before_it_was_recorded():
    """The run had not ended yet by its record."""
    trace = chain()
    ((recorded, *rest),) = trace.handed
    return attrs.evolve(trace, handed=((recorded - 1, *rest),))


@breaks(27)
def a_recorded_step_that_was_run_again():
    """It went to its executor, if only to be stopped at once."""
    trace = restarted()
    count = len(trace.envelopes)
    body = AttemptTrace(
        "run-1", "a", 1, True, 9.0, 9.0, Outcome.NOT_BEGUN, {}, None, None, count, count
    )
    return attrs.evolve(trace, rows=(*trace.rows, tuple(body)))


@breaks(27, 10)
def a_step_that_had_not_completed_and_was_not_run_again():
    """Its end is recorded, and no executor knows of it."""
    trace = restarted()
    return attrs.evolve(trace, rows=trace.rows[:1])


@breaks(27)
def a_recorded_undoing_that_was_done_again():
    """After the crash that it had outlived."""
    trace = undone_in_two_lives()
    again = trace.compensations[0]._replace(begun=len(trace.envelopes), over=len(trace.envelopes))
    return attrs.evolve(trace, undoings=(*trace.undoings, tuple(again)))


@breaks(28)
def a_run_that_was_resumed_while_it_was_in_progress():
    """Nothing had crashed."""
    return attrs.evolve(restarted(), crashes=())


@breaks(28)
def a_resumption_that_is_told_too_late():
    """Something had happened before it was said that the run goes on."""
    return doctored.with_moved(restarted(), "run.resumed", None, before=("step.completed", "b"))


@breaks(28)
def a_write_of_a_former_life():
    """It was asked for before the run was resumed, and made afterwards."""
    trace = restarted()
    return attrs.evolve(trace, late=((len(trace.events) - 1, 1),))


@breaks(29)
def a_gap_in_the_numbers_of_events():
    """The last one comes a number later."""
    trace = chain()
    last = trace.events[-1]
    events = (*trace.events[:-1], last._replace(number=last.number + 1))
    return attrs.evolve(trace, events=events, shown=doctored.shown(events))


@breaks(29)
def a_run_that_was_resumed_as_it_was_not():
    """Its first step had come to something else."""
    trace = restarted()

    def misread(message):
        if not isinstance(message, StartRun) or message.resumed is None:
            return message
        step = attrs.evolve(message.resumed.steps["a"], output="another")
        steps = {**message.resumed.steps, "a": step}
        return attrs.evolve(message, resumed=attrs.evolve(message.resumed, steps=steps))

    return doctored.with_messages(trace, misread)


# ── Outcomes ─────────────────────────────────────────────────────────────────────────────────


def given_up(**options):
    """The trace of a step that fails, and had another attempt."""
    trace = simulate(flow(task("a", **options), task("b")), script=Script({"a": FAILS}))
    return doctored.planned(trace, flow(task("a", retry=TWICE, **options), task("b")))


def struck(trace, fault, kind):
    """The trace as if a fault had struck the first message of a kind that is about step a."""
    count, time, envelope = next(
        (count, time, envelope)
        for count, (time, envelope) in enumerate(trace.envelopes)
        if isinstance(envelope[1], kind) and envelope[1].attempt.step_id == "a"
    )
    return attrs.evolve(trace, struck=((count, time, fault, envelope),))


@breaks(24)
def a_duplicate_that_cost_a_step_its_second_attempt():
    """It would have had one."""
    return struck(given_up(), Fault.DUPLICATE, AttemptFinished)


@breaks(25)
def a_crash_that_cost_a_step_its_second_attempt():
    """It would have had one."""
    return struck(given_up(), Fault.CRASH, Execute)


@breaks(30)
def a_step_that_was_not_tried_again():
    """It would have had a second attempt."""
    return given_up()


@breaks(30)
def a_compensator_that_was_not_tried_again():
    """It would have had a second attempt."""

    def saga(**options):
        undo = Step("undo", lambda: None, **options)
        return flow(task("a", compensate=undo), task("b", "a"))

    script = Script({"b": FAILS}, compensators={"a": FAILS})
    return doctored.planned(simulate(saga(), script=script), saga(retry=TWICE))


@breaks(30)
def an_optional_step_that_failed():
    """It was to be skipped."""
    trace = simulate(flow(task("a"), task("b")), script=Script({"a": FAILS}))
    return doctored.planned(trace, flow(task("a", required=False), task("b")))


@breaks(30)
def a_required_step_that_was_skipped():
    """It was to fail."""
    trace = simulate(flow(task("a", required=False), task("b")), script=Script({"a": FAILS}))
    return doctored.planned(trace, flow(task("a"), task("b")))


@breaks(30)
def a_step_that_failed_although_its_attempt_returned():
    """Its executor knows better."""
    trace = simulate(flow(task("a")), script=Script({"a": FAILS}))
    return doctored.with_body(trace, "a", outcome=Outcome.RETURNED)


@breaks(30)
def a_step_that_failed_with_an_error_that_was_not_its_own():
    """It raised another one."""
    trace = simulate(flow(task("a")), script=Script({"a": FAILS}))
    return doctored.with_body(trace, "a", error=KeyError())


@breaks(30)
def an_attempt_that_was_stopped_for_no_reason():
    """No timeout has passed, and the run was not ending."""
    trace = simulate(flow(task("a")), script=Script({"a": FAILS}))
    return doctored.with_body(trace, "a", outcome=Outcome.STOPPED)


# ── Take-overs ───────────────────────────────────────────────────────────────────────────────


def handed_over(workflow, script=None, seconds=0.5, times=1, **options):
    """The trace of a run that was left at a shutdown so many times, and then went on."""
    simulation = Simulation(script=script, **options)
    simulation.start(workflow)
    for _ in range(times):
        simulation.advance(seconds)
        simulation.hand_over()
    return simulation.conclude()


def crashed(workflow, times, **options):
    """The trace of a run whose orchestrator crashed so many times after a step had begun."""
    simulation = Simulation(**options)
    run_id = simulation.start(workflow)
    for _ in range(times):
        simulation.advance(0.5)
        simulation.crash()
        simulation.resume(run_id, taken_over=True)
    return simulation.conclude()


@breaks(33)
def a_left_run_whose_stop_is_an_event():
    """Another one was left; this one started a step in spite of that."""
    trace = handed_over(flow(task("a")))
    place = doctored.place_of(trace, "step.started", "a")
    return attrs.evolve(trace, late=((place, trace.left[0][1]), *trace.late))


@breaks(33)
def a_left_run_of_which_something_is_recorded_after_it_was_handed_back():
    """By the orchestrator that had handed it back."""
    trace = handed_over(flow(task("a")))
    (_, delivered, run_id), *_ = trace.left
    return attrs.evolve(trace, left=((2, delivered, run_id),))


@breaks(34)
def a_run_that_was_taken_over_too_often():
    """It was to be taken over once."""
    trace = crashed(flow(task("a")), 3)
    return attrs.evolve(trace, settings=attrs.evolve(trace.settings, max_takeovers=1))


@breaks(34)
def a_run_that_was_given_up_too_early():
    """It was to be taken over ten times."""
    trace = crashed(flow(task("a")), 3, max_takeovers=2)
    return attrs.evolve(trace, settings=attrs.evolve(trace.settings, max_takeovers=10))


# ── Waits ────────────────────────────────────────────────────────────────────────────────────

ASKS = returns(after=1.0).waiting(2.0)


def waiting(make=task, script=ASKS, **options):
    """The trace of a step that waits from 1 s to 3 s and ends at 4 s, beside one of 4 s."""
    simulation = Simulation(
        script=Script({"a": script, "b": returns(after=4.0), "c": returns()}), async_workers=1
    )
    simulation.start(flow(make("a", **options), make("b"), make("c")))
    simulation.run_until_quiet()
    return simulation.trace()


def in_a_lane():
    """The trace of steps that are not async."""
    return waiting(step)


def alone(make=step, script=ASKS, **options):
    """The trace of a step that waits, and of no other."""
    return simulate(flow(make("a", **options)), script=Script({"a": script}))


def places():
    """The trace of two runs that take turns with one place, because the first waits."""
    one = flow(step("a"))
    return several((one, {}), (one, {}), script=Script({"a": ASKS}), max_active_runs=1)


def with_wait(trace, index=0, **changes):
    """The trace with a wait of which its executor says something else."""
    waits = list(trace.waits)
    waits[index] = waits[index]._replace(**changes)
    return attrs.evolve(trace, pauses=tuple(map(tuple, waits)))


@breaks(35)
def a_wait_without_a_suspension():
    """The sync lane is kept from the other steps of the run."""
    trace = doctored.without(alone(), "step.continued", "a")
    return doctored.without(trace, "step.suspended", "a")


@breaks(35)
def a_woken_attempt_that_was_left_waiting():
    """Nothing else wanted the sync lane."""
    return with_wait(doctored.without(alone(), "step.continued", "a"), until=None, continued=False)


@breaks(35)
def an_attempt_that_continued_before_its_wait_was_over():
    """Its body had not said that it is."""
    return with_wait(alone(), woken=None)


@breaks(35)
def a_run_that_waited_for_the_place_of_one_that_only_waits():
    """It had to start when the first was suspended."""
    trace = places()
    second = [event.run_id for event in trace.events].index("run-2", 4)
    lull = 1.0, second, trace.marks[second - 1], 0, 2, 0, 0
    return attrs.evolve(trace, lulls=(trace.lulls[0], lull, *trace.lulls[1:]))


@breaks(1)
def more_runs_in_progress_than_places_although_none_only_waits():
    """The first one ran on."""
    trace = doctored.without(places(), "step.continued", "a")
    return with_wait(doctored.without(trace, "step.suspended", "a"), stopped=0)


@breaks(1)
def an_attempt_that_continued_in_the_lane_of_another():
    """The other one was not over."""
    trace = in_a_lane()
    return with_wait(trace, until=trace.attempts[1].begun + 1)


@breaks(2)
def a_worker_that_a_suspended_attempt_kept():
    """It waited, and nothing else was in flight."""
    trace = alone(task)
    index = next(index for index, one in enumerate(trace.idle) if one.time == 1.0 < one.events)
    return doctored.with_lull(trace, index, leases_held=1, leases_free=1)


@breaks(11)
def a_timeout_that_went_on_while_the_attempt_was_suspended():
    """It has 2 s left when the attempt continues at 3 s."""
    trace = alone(script=hangs().waiting(3.0), make=task, timeout=2.0)
    return doctored.with_changed(trace, "step.timed_out", "a", time=4.0)


@breaks(14, 35)
def an_attempt_that_continued_after_a_failure():
    """It had to be stopped instead."""
    script = Script({"a": hangs().waiting(9.0), "b": raises(OSError, after=2.0)})
    trace = simulate(flow(task("a"), task("b")), script=script)
    before = "step.cancelled", "a"
    return doctored.with_added(trace, "step.continued", "a", before=before, attempt=1)


@breaks(20, 35)
def an_attempt_that_continued_after_a_cancel():
    """It had to be stopped instead."""
    script = Script({"a": hangs().waiting(9.0)})
    trace = simulate(flow(task("a")), script=script, cancel_at=3.0)
    before = "step.cancelled", "a"
    return doctored.with_added(trace, "step.continued", "a", before=before, attempt=1)


@breaks(16)
def an_attempt_that_continued_before_a_step_of_higher_priority():
    """Both wanted the worker when the second step ended."""
    trace = waiting(priority=1)
    return doctored.planned(trace, flow(task("a"), task("b"), task("c", priority=1)))


@breaks(16)
def a_step_that_started_before_a_woken_one_of_higher_priority():
    """Both wanted the worker when the second step ended."""
    return doctored.planned(waiting(), flow(task("a", priority=1), task("b"), task("c")))


@breaks(17)
def a_ready_step_beside_the_worker_that_a_suspended_attempt_gave_back():
    """When nothing could be delivered."""
    trace = waiting()
    place = doctored.place_of(trace, "step.started", "b")
    lull = 1.0, place, trace.marks[place - 1], 0, 1, 1, 0
    return attrs.evolve(trace, lulls=(trace.lulls[0], lull, *trace.lulls[1:]))


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────


def paused(script=None, *, freeze=False, **options):
    """The trace of a run that is paused from 0.5 s to 5 s."""
    simulation = Simulation(script=script)
    run_id = simulation.start(flow(task("a", **options), task("b", "a")))
    simulation.call_at(0.5, lambda: simulation.pause(run_id, freeze=freeze))
    simulation.call_at(5.0, simulation.unpause, run_id)
    simulation.run_until_quiet()
    return simulation.trace()


@breaks(36, 17)
def a_step_that_started_in_a_pause():
    """Just before its end."""
    return doctored.with_moved(paused(), "step.started", "b", before=("run.unpaused", None))


@breaks(36, 17)
def a_step_that_started_after_a_pause_that_was_asked_for():
    """Which nothing tells of."""
    trace = doctored.without(paused(), "run.paused")

    def without_end(message):
        if isinstance(message, PauseRun) and message.pause is None:
            return PauseRun("another", None)
        return message

    return doctored.with_messages(doctored.without(trace, "run.unpaused"), without_end)


@breaks(37)
def a_pause_that_began_twice():
    """Without an end in between."""
    before = "run.unpaused", None
    return doctored.with_added(paused(), "run.paused", before=before, reason="", freeze=False)


@breaks(36, 37)
def a_run_that_completed_in_a_pause():
    """It did not end."""
    return doctored.without(paused(), "run.unpaused")


@breaks(11)
def a_total_timeout_that_a_frozen_pause_did_not_move():
    """It was due at 6 s."""
    trace = paused(Script({"a": hangs()}), freeze=True, total_timeout=1.5)
    return doctored.with_changed(trace, "step.timed_out", "a", time=5.5)


@breaks(38, 17)
def a_backoff_that_a_frozen_pause_did_not_stop():
    """It was over in the pause."""
    trace = paused(Script({"a": [FAILS, returns()]}), freeze=True, retry=TWICE)
    events = enumerate(trace.events)
    again = max(place for place, one in events if (one.kind, one.step_id) == ("step.ready", "a"))
    rest = doctored.removed(trace, again)
    there = doctored.place_of(rest, "run.unpaused")
    return doctored.inserted(rest, there, doctored.pairs_of(trace)[again])


# ── Families ───────────────────────────────────────────────────────────────────────────────────

SOLD = flow(task("sell", compensate=Step("undo", nothing)), id="sale")


def family(**options):
    """The trace of a run that fails: its first step has had two children, its second one a third.

    Args:
        options: How the third one is run.
    """
    script = Script(
        {
            "a": returns().running(SOLD).running(SOLD),
            "b": returns().running(SOLD, **options),
            "c": raises(ValueError),
        }
    )
    return simulate(flow(task("a"), task("b", "a"), task("c", "b")), script=script)


def adopted(trace, run_id, **changes):
    """The trace with a child that has another parent, or is linked to it in another way."""
    known = trace.runs[run_id]
    parent = attrs.evolve(known.parent, **changes)
    return attrs.evolve(trace, runs={**trace.runs, run_id: attrs.evolve(known, parent=parent)})


def test_a_family_keeps_the_laws():
    """As it is."""
    trace = family()

    assert [] == broken(trace)
    assert ["failed", *["cancelled"] * 3] == [trace.result_of(it).status for it in trace.runs]


@breaks(39)
def a_child_that_was_started_for_a_call_that_had_one():
    """The first one had completed."""
    return adopted(family(), "run-1.a.2", call="1")


@breaks(39)
def a_child_that_was_undone_although_it_was_abandoned():
    """Its parent had nothing to say about it."""
    return adopted(family(), "run-1.b.1", on_end="abandon")


@breaks(39)
def a_child_that_stayed_when_its_parent_was_undone():
    """It was abandoned, and is taken for one that was not."""
    trace = family(on_parent_end="abandon")
    return adopted(trace, "run-1.b.1", on_end="cancel")


@breaks(39)
def a_child_that_went_on_after_its_parents_failure():
    """As the former one, but in progress."""
    script = Script({"sell": returns(after=50.0)})
    trace = family(on_parent_end="abandon", waits=False, script=script)
    return adopted(trace, "run-1.b.1", on_end="cancel")


@breaks(39)
def a_child_that_was_undone_before_a_later_one():
    """Of another step."""
    trace = adopted(family(), "run-1.a.1", step_id="b", call="9")
    return adopted(trace, "run-1.b.1", step_id="a", call="9")


# ── Messages ─────────────────────────────────────────────────────────────────────────────────

RECEIVES = returns().receiving("go")


async def receives():
    """The function of a step that waits for a message."""


def mailed(*moments, evict_after=None, script=RECEIVES, ids=False, **options):
    """The trace of two steps that wait for messages, which are sent at these moments."""
    simulation = Simulation(script=Script({"a": script, "b": script}), evict_after=evict_after)
    workflow = flow(Step("a", receives, async_=True), Step("b", receives, async_=True))
    run_id = simulation.start(workflow, **options)
    for place, moment in enumerate(moments):
        id_ = "one" if ids else None
        simulation.call_at(moment, simulation.send, run_id, "go", f"payload {place}", id_)
    simulation.run_until_quiet()
    return simulation.trace()


def with_messages(trace, index=0, **changes):
    """The trace with a message that was sent otherwise."""
    sent = list(trace.messages)
    sent[index] = sent[index]._replace(**changes)
    return attrs.evolve(trace, messages=tuple(sent))


@breaks(52)
def a_message_that_was_kept_twice():
    """It had an id."""
    return with_messages(mailed(0.5, 2.0, 3.0, ids=True), 1, number=2)


@breaks(52)
def a_message_that_an_ended_run_took():
    """It has to be refused."""
    return with_messages(mailed(0.0, 0.0, 9.0), 2, number=3, refused=False)


@breaks(52)
def a_body_that_got_another_payload_than_was_sent():
    """Its record says which message it was given."""
    trace = mailed(2.0, 3.0)
    got = list(trace.receipts)
    got[0] = got[0]._replace(payload="another")
    return attrs.evolve(trace, receipts=tuple(got))


@breaks(52)
def a_message_that_two_steps_received():
    """The second step got the first one's."""
    trace = mailed(2.0, 3.0)
    data = {"name": "go", "call": 1, "message": 1}
    return doctored.with_changed(trace, "step.received", "b", data=data)


@breaks(53)
def a_wait_that_was_passed_by_a_later_one():
    """The first message is for the step that waited first."""
    trace = mailed(2.0, 3.0)
    for step_id, number in (("a", 2), ("b", 1)):
        data = {"name": "go", "call": 1, "message": number}
        trace = doctored.with_changed(trace, "step.received", step_id, data=data)
    first, second = trace.receipts
    swapped = first._replace(payload=second.payload), second._replace(payload=first.payload)
    return attrs.evolve(trace, receipts=swapped)


@breaks(54)
def an_evicted_run_that_was_not_taken_up():
    """There was a message that it had not seen."""
    trace = mailed(evict_after=5.0)
    return attrs.evolve(trace, messages=mailed(2.0).messages)


@breaks(54)
def an_evicted_run_whose_time_was_up():
    """It had to end."""
    trace = mailed(evict_after=5.0)
    return doctored.planned(trace, deadline=60.0)


@breaks(2, 35, 54)
def a_run_that_was_evicted_although_it_had_work():
    """One of its steps waited for an attempt."""
    trace = mailed(evict_after=5.0)
    return doctored.without(trace, "step.suspended", "b")


# ── All of them ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("numbers", "doctor"), CASES)
def test_a_doctored_trace_breaks_the_law_that_it_is_doctored_against(numbers, doctor):
    """And no other, unless the one cannot be had without the others."""
    assert numbers == broken(doctor())


SEVERAL = {*range(40, 52), *range(55, 64)}
"""The numbers of the laws about several processes; see `test_sharing_laws`."""


def test_each_law_is_broken_by_a_doctored_trace():
    """A law that nothing can break says nothing; others are about several processes."""
    first = {int(case.id.partition(":")[0]) for case in CASES}

    assert {law.number for law in laws.ALL if law.number not in SEVERAL} == first


def test_the_laws_have_numbers_names_and_texts():
    """From one on, without gaps."""
    assert [*range(1, 64)] == [law.number for law in laws.ALL]

    assert list(laws.ALL) == [getattr(laws, law.name) for law in laws.ALL]
    assert all(law.text.endswith(".") for law in laws.ALL)


@pytest.mark.parametrize(
    "trace",
    [
        chain,
        retried,
        failed,
        cancelled,
        joined,
        restarted,
        undone_in_two_lives,
        lambda: failed(fail_fast=False),
        waiting,
        in_a_lane,
        alone,
        places,
    ],
)
def test_a_trace_that_is_in_order_keeps_all_laws(trace):
    """It is what the doctored ones are made of."""
    assert [] == broken(trace())


def test_a_step_that_is_being_stopped_does_not_notice_that_its_whole_time_is_over():
    """Its own attempt's time was over before, and the grace counts from then."""
    holds_on = ScenarioStep(
        id="a", required=False, timeout=2.0, total_timeout=3.0, does=("holds on",)
    )
    other = ScenarioStep(id="b", async_=True)

    trace = Scenario(steps=(holds_on, other)).simulate(Tape({"take b#1": [3]}))

    assert any(3 < lull.time < 7 for lull in trace.idle)
    laws.check(trace)


def test_an_attempt_that_never_began_need_not_be_over_before_dependents_begin():
    """Where mail is slow its executor hears of it last, and has nothing to run."""
    trace = simulate(
        flow(task("a", retry=TWICE), task("b", "a")), script=Script({"a": [FAILS, returns(1)]})
    )
    begun = next(one.begun for one in trace.attempts if one.step_id == "b")
    late = doctored.with_body(trace, "a", over=begun + 1)
    never = doctored.with_body(trace, "a", over=begun + 1, outcome=Outcome.NOT_BEGUN)

    assert 3 in broken(late)
    assert 3 not in broken(never)


@pytest.mark.parametrize("delivered", range(4))
@pytest.mark.parametrize("times", [1, 3])
def test_a_resumption_that_a_crash_cuts_short_need_not_be_recorded(delivered, times):
    """The run is then as it was before: cancelled, and with the result that it had."""
    simulation = Simulation()
    run_id = simulation.start(flow(task("a")))
    simulation.cancel(run_id)
    simulation.run_until_quiet()
    for _ in range(times):
        simulation.resume(run_id)
        simulation.start(flow(task("b")))  # while more mail waits nothing is recorded
        for _ in range(delivered):
            simulation.deliver()
        simulation.crash()
    simulation.run_until_quiet()

    laws.check(simulation.trace())


def test_the_actors_of_a_former_life_may_hear_of_it_after_the_next_has_begun():
    """No step was told twice: each message reached an actor of its own life."""
    steps = (
        ScenarioStep(id="c", required=False, timeout=5.0),
        ScenarioStep(id="d", after=("c",), timeout=1.0),
    )
    scenario = Scenario(steps=steps, runs=(ScenarioRun(resumes=(8.0,)),))
    delivered = (0, 0, *[1] * 12, 0, 0, 0, 1, 1, 1)

    trace = scenario.simulate(Tape({"deliver": delivered}))

    late = [it for it in trace.deliveries if it.message == "DependencyCompleted c"]
    assert [8.0, 8.0] == [it.time for it in late]
    laws.check(trace)


def test_the_actor_of_a_run_that_was_not_told_of_it_died_in_the_life_that_made_it():
    """Although the run was resumed since: what its steps have died of is not forgotten."""
    scenario = Scenario(
        steps=[ScenarioStep(id=name) for name in "abc"],
        settings=Settings(faults=Faults(crashes=4, restarts=1)),
    )

    laws.check(scenario.simulate(Tape({"crash": (1, 4, 3, 1), "restart": (21,)})))


def test_a_run_may_wait_for_ever_to_be_undone_while_another_keeps_its_place():
    """Its timeout has passed, and it has cancelled its steps, but it has no place to undo them."""
    steps = (ScenarioStep(id="c", undo=("hangs",)), ScenarioStep(id="d", does=("raises",)))
    late = ScenarioRun(timeout=5.0, cancels=(2.0,), resumes=(4.0,))
    settings = Settings(max_active_runs=1)
    scenario = Scenario(steps=steps, runs=(late, ScenarioRun()), settings=settings)

    laws.check(scenario.simulate(Tape()))


def test_a_trace_in_which_nothing_has_happened_keeps_all_laws():
    """Nor does one that is taken between two deliveries break any."""
    simulation = Simulation(tape=random.Random(3))
    assert [] == broken(simulation.trace())

    simulation.start(lesson, {"url": "u"})
    while simulation.deliver():
        assert [] == broken(simulation.trace())


# ── What is said ─────────────────────────────────────────────────────────────────────────────


def test_a_broken_law_says_what_it_is_what_was_seen_and_how_it_came_to_that():
    """The law in one line, what was seen, the tape as a literal, and the chart."""
    trace = doctored.planned(retried(), flow(task("a", retry=TWICE)))

    with pytest.raises(LawBroken) as caught:
        laws.check(trace)

    law, seen, tape, *chart = str(caught.value).split("\n")
    assert (
        "law 4 (attempts_are_limited) is broken: A step is attempted at most `max_attempts` times."
        == law
    )
    assert "seen: step 'a' of run-1 was attempted 3 times, but may be attempted 2 times" == seen
    assert "tape: Tape()" == tape
    assert trace.chart() == "\n".join(chart[1:])
    assert (4, Tape()) == (caught.value.number, caught.value.tape)


def copied(value):
    """The value after a round trip through a pickle."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


def test_a_broken_law_survives_pickling():
    """With its tape and its chart, and without the trace."""
    error = LawBroken(
        4, "name", "Text.", "seen", simulate(lesson, {"url": "u"}, tape=random.Random(5))
    )

    copy = copied(error)

    assert str(error) == str(copy)
    assert (error.tape, error.chart) == (copy.tape, copy.chart)
    assert str(copy) == str(copied(copy))


def test_the_first_law_that_is_broken_is_the_one_that_is_told():
    """In the order in which they are given."""
    trace = attrs.evolve(chain(), results={}, endless=True, max_in_flight=9)

    with pytest.raises(LawBroken, match="law 1 "):
        laws.check(trace)
    with pytest.raises(LawBroken, match="law 18 "):
        laws.check(trace, [laws.runs_come_to_an_end, laws.budget_is_kept])


# ── Laws of one's own ────────────────────────────────────────────────────────────────────────


@laws.law
def a_after_b(trace):
    """Step a is later than step b.

    The rest of the docstring is for those who read the code.
    """
    a, b = trace.attempts
    assert a.started_at > b.started_at, f"a began at {a.started_at} s"


def test_a_function_that_asserts_is_a_law():
    """It is called what the function is called, and says what its docstring's first line says."""
    assert ("a_after_b", "Step a is later than step b.", None) == (
        a_after_b.name,
        a_after_b.text,
        a_after_b.number,
    )
    assert "<law a_after_b: Step a is later than step b.>" == repr(a_after_b)
    with pytest.raises(LawBroken, match=r"law a_after_b is broken: Step a is .*\nseen: .*0.0 s"):
        a_after_b.check(chain())


def test_a_law_of_ones_own_is_checked_beside_the_others():
    """In the order in which they are given."""
    with pytest.raises(LawBroken, match="a_after_b"):
        laws.check(chain(), [*laws.ALL, a_after_b])


def test_a_law_may_be_named():
    """A lambda has no name and no docstring."""
    quick = laws.law(name="quick", text="It takes a second.")(lambda trace: trace.duration <= 1.0)

    quick.check(simulate(flow(task("a"))))
    with pytest.raises(
        LawBroken, match=r"law quick is broken: It takes a second\.\nseen: it returned"
    ):
        quick.check(chain())


def test_whatever_a_law_raises_means_that_it_is_broken():
    """Its own cause is the cause."""

    @laws.law
    def wants_too_much(trace):
        return trace.result_of("run-9")

    with pytest.raises(LawBroken, match="seen: NotEnded: run 'run-9' has not ended") as caught:
        wants_too_much.check(chain())
    assert "NotEnded" == type(caught.value.__cause__).__name__


def test_an_assertion_without_a_text_is_told_by_its_line():
    """Where nobody rewrites assertions."""

    @laws.law
    def never(trace):
        raise AssertionError

    with pytest.raises(LawBroken, match="seen: AssertionError: raise AssertionError"):
        never.check(chain())


def test_a_law_may_say_what_it_has_seen():
    """In a text that it returns."""
    told = laws.law(name="told")(lambda _trace: "something odd")

    with pytest.raises(LawBroken, match="seen: something odd"):
        told.check(chain())


@pytest.mark.parametrize("answer", [0, "", [], ["odd"]], ids=repr)
def test_a_law_that_returns_neither_yes_nor_no_is_broken(answer):
    """A list of what is wrong would otherwise be taken for a law that holds."""
    unclear = laws.law(name="unclear")(lambda _trace: answer)

    with pytest.raises(LawBroken) as caught:
        unclear.check(chain())

    assert caught.value.observed.startswith(f"it returned {answer!r}. Return None or True if")


@pytest.mark.parametrize("test", [lambda: None, lambda _one, _two: None], ids=["none", "two"])
def test_a_function_that_takes_no_trace_is_no_law(test):
    """It would break on every schedule, with an error of Python's."""
    with pytest.raises(DefinitionError, match=r"with a trace alone\. Give it one parameter"):
        laws.law(test)


def test_a_law_may_take_more_that_has_a_default_and_need_not_say_what_it_takes():
    """Such as a bound of its own; what is written in C has no signature."""
    bounded = laws.law(lambda trace, most=1e9: trace.duration <= most)
    counted = laws.law(name="counted")(bool)

    for one in (bounded, counted):
        one.check(chain())


def test_what_checks_nothing_when_it_is_called_is_no_law():
    """A coroutine function, a generator, and what is no function."""

    async def waits(trace):
        """Wait."""

    def yields(trace):
        yield trace

    for test in (waits, yields):
        with pytest.raises(
            DefinitionError, match="not a plain function: calling it checks nothing"
        ):
            laws.law(test)
    with pytest.raises(DefinitionError, match="a law cannot be made from 3"):
        laws.law(3)


# ── More than one trace ──────────────────────────────────────────────────────────────────────


def test_the_same_tape_gives_the_same_trace():
    """Whatever the choices come from at first."""

    def run(source):
        return simulate(lesson, {"url": "u"}, tape=source)

    trace = laws.same(run, random.Random(8))

    assert trace.hash == run(trace.tape).hash


def test_something_that_no_tape_chooses_breaks_the_law():
    """Such as what a script has kept in mind; the first line that differs is told."""
    outputs = iter("xy")

    def run(source):
        return simulate(flow(task("a")), script=Script({"a": returns(next(outputs))}), tape=source)

    with pytest.raises(LawBroken, match=r"law 30 .*\n.*a#1 returned 'x'.* and then .*returned 'y'"):
        laws.same(run)


def test_a_result_may_say_that_nothing_could_be_recorded():
    """Of a resumed run, too, whose next orchestrator crashes as well."""
    simulation = Simulation(
        tape=Tape({"restart": (3,), "store fails": (2,)}),
        faults=Faults(restarts=1, store_failures=1),
    )
    run_id = simulation.start(flow(task("a")))
    simulation.advance(0.5)
    simulation.crash()

    assert "could not be recorded" in simulation.results[run_id].reason
    laws.check(simulation.conclude())


def test_runs_that_have_ended_alike_are_alike():
    """Whatever the order was, if it does not matter."""
    script = Script(default=[FAILS, returns()])
    retrying = flow(*[task(name, retry=TWICE) for name in "abc"], task("d", "a", "c", retry=TWICE))
    plain = simulate(retrying, script=script)

    for seed in range(20):
        other = simulate(retrying, script=script, tape=random.Random(seed))
        laws.alike(plain, other.results.values())


def test_runs_that_have_ended_differently_are_not_alike():
    """By a status or by an output."""
    with pytest.raises(LawBroken, match="run-1 ended as completed, the other run as failed"):
        laws.alike(chain(), failed().results.values())
    other = simulate(flow(task("a"), task("b", "a")), script=Script({"b": returns("x")}))
    with pytest.raises(LawBroken, match=re.escape("'b#1', 1 attempts, and in the other run: ")):
        laws.alike(chain(), other.results.values())

"""Planted bugs: what the runtime would be like with one mistake in it.

Each mutant replaces one function of the runtime by a twin with a mistake, of a few lines, and is
named for what it breaks. Laws that do not find it would not find the like of it either.
"""

from __future__ import annotations

import heapq

import attrs
import pytest

from actorflow.actors.run import RunActor
from actorflow.actors.step import _SKIPPED, StepActor
from actorflow.actors.supervisor import Supervisor
from actorflow.errors.running import DeadlineExceeded, StepTimeout
from actorflow.model.families import ChildrenFound
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus, move_run
from actorflow.model.messages import CancelRun, DependencyCompleted, Execute, RunFinished, Settled
from actorflow.orchestrator import family
from actorflow.orchestrator.family import HasFamilies
from actorflow.scheduling import endings, families, ledger, starts
from actorflow.scheduling.alarms import Alarms
from actorflow.scheduling.compensations import Compensations
from actorflow.scheduling.crashes import Crashes
from actorflow.scheduling.deadlines import Deadlines, Due
from actorflow.scheduling.decisions import Decisions
from actorflow.scheduling.endings import Endings, timeout_of
from actorflow.scheduling.families import Families
from actorflow.scheduling.ledger import RunState, StepState
from actorflow.scheduling.outbox import Outbox
from actorflow.scheduling.queues import ReadyQueue, RunQueue
from actorflow.scheduling.starts import Starts
from actorflow.testing.simulation.children import SimulatedChildren

__all__ = ["MUTANTS", "PURE", "Mutant", "shown_by"]

MUTANTS = []


@attrs.frozen
class Mutant:
    """A mistake, and how it is planted: the twin is given the function that it replaces."""

    owner: object
    function: str
    twin: object

    def __str__(self):
        return self.twin.__name__.replace("_", " ")

    def plant(self, patch):
        """Put the mistake into the runtime, until a `MonkeyPatch` takes it out."""
        original, twin = getattr(self.owner, self.function), self.twin
        patch.setattr(
            self.owner, self.function, lambda *given, **named: twin(original, *given, **named)
        )


def replaces(owner, function):
    """Make a mutant of a function's twin."""

    def keep(twin):
        MUTANTS.append(Mutant(owner, function, twin))
        return twin

    return keep


def shown_by(cases, number, scenario, tape, *function):
    """Make a mutant of a function's twin, and keep it among cases for a parametrised test.

    Args:
        cases: A list; each case is the number of a law, a scenario, a tape and the mutant.
        number: The law that the mutant breaks.
        scenario: The scenario in which it does.
        tape: The schedule on which it does.
        function: The owner of the function, and its name there.
    """

    def keep(twin):
        mutant = Mutant(*function, twin)
        cases.append(pytest.param(number, scenario, tape, mutant, id=str(mutant)))
        return twin

    return keep


# ── Leases and lanes ─────────────────────────────────────────────────────────────────────────


@replaces(Decisions, "_attempt_finished")
def a_slot_leaks_when_a_timeout_races_a_completion(finish, brain, message):
    """The attempt has returned when it is known that it has timed out."""
    found = brain._find(message.attempt)
    raced = found and message.error is None and isinstance(found[1].stop_error, StepTimeout)
    finish(brain, message)
    if raced and found[1].step.async_:
        brain.workers.free -= 1


@replaces(Alarms, "_timed_out")
def a_slot_is_freed_while_the_executor_still_runs(_time_out, alarms, due, run, step):
    """A timeout counts as the attempt's end, which only its executor can tell."""
    error = timeout_of(due, run, step)
    if step.current is None:
        alarms._endings.time_out(run, step, error)
    elif not step.stopping:
        alarms._endings.time_out(run, step, error)
        alarms._starts.release(run, step)
        alarms._endings.failed(run, step, error)
    alarms._follow(run)


@replaces(Decisions, "_attempt_abandoned")
def a_slot_comes_back_twice(abandon, brain, message):
    """For the attempt that was given up, and for giving it up."""
    found = brain._find(message.attempt)
    abandon(brain, message)
    if found and found[1].step.async_:
        brain.workers.free += 1


@replaces(Crashes, "_say_again")
def a_crash_loses_a_lease(say_again, crashes, run, step):
    """The grant that is said again takes another worker."""
    say_again(crashes, run, step)
    if step.step.async_ and step.current is not None and not step.current.submitted:
        crashes._starts._workers.free -= 1


@replaces(Starts, "grant")
def a_wake_up_is_lost(grant, starts):
    """A lease that is free alone is not handed out."""
    kept = 1 if starts._workers.free == 1 else 0
    starts._workers.free -= kept
    grant(starts)
    starts._workers.free += kept


@replaces(Starts, "release")
def two_steps_share_a_lane(release, starts, run, step):
    """The next step of the lane starts as soon as anything ends in the run."""
    release(starts, run, step)
    if run.lane.waiting and not run.ending:
        run.lane.busy = False
        starts._freed.append(run)


@replaces(Starts, "_fill_lanes")
def a_lane_is_freed_and_not_filled(_fill_lanes, starts):
    """Those that wait for it wait until another step of the run is ready."""
    starts._freed.clear()


# ── Whose turn it is ─────────────────────────────────────────────────────────────────────────


@replaces(Starts, "grant")
def what_is_ready_together_is_not_ranked(grant, starts):
    """It is looked at in the order in which it became ready."""
    starts._ready = [(0, (0, 0), *others) for _, _, *others in starts._ready]
    grant(starts)


@replaces(Starts, "ready")
def a_step_is_granted_before_the_decision_is_concluded(ready, starts, run, step):
    """As soon as it is ready, whatever else becomes ready with it."""
    ready(starts, run, step)
    starts.grant()


@replaces(ReadyQueue, "push")
def priority_is_ignored(push, queue, run, step, _level):
    """A step waits on the level of all others, whatever its priority is."""
    push(queue, run, step, (0, 0))


@replaces(ReadyQueue, "pop")
def turns_are_not_taken(_pop, queue):
    """A run that was granted a lease stays in front of its equals."""
    while queue.order:
        level = queue._levels[queue.order[0]]
        run_id, line = next(iter(level.items()))
        step = line.steps.popleft() if line.ways is None else heapq.heappop(line.steps)[2]
        if not line.steps:
            del level[run_id]
        if not level:
            del queue._levels[heapq.heappop(queue.order)]
        if step.status is StepStatus.READY:
            return line.run, step
    return None


@replaces(ReadyQueue, "push")
def the_shortest_way_goes_first(push, queue, run, step, level):
    """The way is not negated in a heap whose least entry goes first."""
    ways = run.ways
    run.ways = None if ways is None else {name: -way for name, way in ways.items()}
    push(queue, run, step, level)
    run.ways = ways


@replaces(starts, "_by_way")
def what_is_ready_together_is_not_ranked_by_way(by_way, ready):
    """Only what waits in a queue is."""
    rank, priority, _, *others = by_way(ready)
    return (rank, priority, *others)


@replaces(Starts, "_level")
def ageing_is_multiplied(_level, starts, run, step):
    """So seconds of waiting count the less, the more they should."""
    if starts._ageing is None:
        return run, step
    return 0, run + step + starts._outbox.now * starts._ageing


@replaces(RunQueue, "push")
def runs_are_admitted_last_come_first_served(push, queue, run):
    """Of those that wait for a place, the last goes first."""
    queue._arrivals -= 2
    push(queue, run)


@replaces(RunQueue, "pop")
def there_is_a_place_too_many(_pop, queue):
    """The last one is handed out although it is taken."""
    if not queue._waiting or queue._places < 0:
        return None
    queue._places -= 1
    return heapq.heappop(queue._waiting)[2]


# ── Attempts ─────────────────────────────────────────────────────────────────────────────────


@replaces(Decisions, "_find")
def a_late_result_is_accepted(find, brain, attempt):
    """Whatever is reported of a step counts, until it has ended."""
    run = brain.runs.get(attempt.scope.run_id)
    step = run and run.steps[attempt.step_id]
    return (run, step) if step and not step.status.settled else find(brain, attempt)


@replaces(Decisions, "_attempt_finished")
def a_timeout_and_a_completion_both_win(finish, brain, message):
    """What has timed out, and returns all the same, has returned."""
    found = brain._find(message.attempt)
    if found and message.error is None:
        found[1].stop_error = None
    finish(brain, message)


@replaces(Deadlines, "cancel")
def a_stale_timer_is_obeyed(cancel, deadlines, deadline):
    """The timeout of an attempt that has ended strikes the next one."""
    if deadline[2] is not Due.ATTEMPT:
        cancel(deadlines, deadline)


@replaces(Starts, "start_clocks")
def a_total_timeout_begins_anew(start_clocks, starts, grants, now):
    """It is counted from the last attempt's start, rather than from the first one's."""
    for _, step, _ in grants:
        if step.total_deadline is not None:
            starts._deadlines.cancel(step.total_deadline)
            step.total_deadline = None
    return start_clocks(starts, grants, now)


@replaces(Starts, "start_clocks")
def a_clock_starts_with_the_decision(start_clocks, starts, grants, now):
    """Rather than when the grant leaves, after the start has been recorded."""
    effects = []
    for grant in grants:
        _, step, _ = grant
        decided = step.started_at if step.attempts == 1 else now
        effects += start_clocks(starts, [grant], decided)
    return effects


@replaces(Endings, "retry")
def a_retry_comes_before_its_backoff(retry, ends, run, step, error):
    """It waits for half as long as it says."""
    again = retry(ends, run, step, error)
    if again:
        ends._deadlines.cancel(step.backoff)
        moment = (ends._outbox.now + step.backoff[0]) / 2
        step.backoff = ends._deadlines.set(moment, Due.BACKOFF, run.run_id, step)
    return again


@replaces(endings, "backoff")
def a_final_error_is_tried_again(backoff, step, error, now, random, *, cut):
    """The policy is not asked whether the error may be retried."""
    policy = step.step.retry
    if policy is None or error is None or step.attempts - cut >= policy.max_attempts:
        return None
    return backoff(step, error, now, random, cut=cut) or policy.delay(step.attempts)


@replaces(endings, "backoff")
def there_is_an_attempt_too_many(backoff, step, error, now, random, *, cut):
    """The first one is not counted."""
    policy = step.step.retry
    if policy is None or error is None or step.attempts - cut > policy.max_attempts:
        return None
    return policy.delay(step.attempts, random()) if policy.accepts(error) else None


@replaces(StepActor, "receiveMessage")
def a_duplicate_is_executed_twice(receive, actor, message, sender):
    """A message that comes again is obeyed again."""
    if isinstance(message, Execute):
        message.attempt.submitted = False
    receive(actor, message, sender)


@replaces(Supervisor, "_stop_attempt")
def a_stopped_attempt_begins_all_the_same(stop, supervisor, message):
    """It was stopped before its submission, and its grant is obeyed when it arrives."""
    waits = not message.attempt.submitted
    stop(supervisor, message)
    if waits:
        message.attempt.submitted = message.attempt.cancelled = False


# ── Dependencies ─────────────────────────────────────────────────────────────────────────────


@replaces(StepState, "__init__")
def an_open_dependency_is_not_counted(make, step, *given):
    """A step that waits for several is ready when all but one have settled."""
    make(step, *given)
    step.open -= step.open > 1


@replaces(Endings, "emit")
def a_dependency_is_counted_twice(emit, ends, run, step, output, *, skipped):
    """A step that waits for another one too does not wait for that."""
    for name in step.plan.dependents:
        run.steps[name].open -= run.steps[name].open > 1
    emit(ends, run, step, output, skipped=skipped)


@replaces(StepActor, "_submit")
def a_skipped_dependency_leaks(submit, actor, attempt):
    """Its output is None, rather than none."""
    for name, output in actor._outputs.items():
        if output is _SKIPPED:
            actor._outputs[name] = None
    submit(actor, attempt)


@replaces(Crashes, "_say_again")
def a_new_actor_is_not_told(say_again, crashes, run, step):
    """What its dead predecessor knew of the dependencies."""
    effects = crashes._outbox.effects
    before = len(effects)
    say_again(crashes, run, step)
    effects[before:] = [one for one in effects[before:] if isinstance(one[2], Execute)]


@replaces(Crashes, "_say_again")
def a_new_actor_is_not_granted(say_again, crashes, run, step):
    """What its dead predecessor had been granted."""
    effects = crashes._outbox.effects
    before = len(effects)
    say_again(crashes, run, step)
    effects[before:] = [one for one in effects[before:] if not isinstance(one[2], Execute)]


@replaces(Crashes, "_tell_dependents")
def the_dead_tell_nobody(_tell_dependents, _crashes, _run, _step):
    """A settled step's actor dies before it has told its dependents."""


@replaces(RunActor, "_pass_on")
def a_message_is_passed_on_without_addresses(pass_on, actor, message):
    """A step that has settled does not know where its dependents live."""
    if isinstance(message.message, Settled):
        actor.send(actor._addresses[message.step_id], message.message)
    else:
        pass_on(actor, message)


@replaces(Endings, "emit")
def a_skipped_step_tells_nobody(emit, ends, run, step, output, *, skipped):
    """Its dependents wait for ever."""
    if not skipped:
        emit(ends, run, step, output, skipped=skipped)


@replaces(Endings, "emit")
def an_outcome_does_not_reach_the_dependents(emit, ends, run, step, output, *, skipped):
    """They are granted, and wait for data for ever."""
    before = len(ends._outbox.effects)
    emit(ends, run, step, output, skipped=skipped)
    del ends._outbox.effects[before:]


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────


@replaces(Endings, "end")
def a_terminal_status_is_overwritten(end, ends, run):
    """Completed steps are cancelled with the others, and no event says so."""
    end(ends, run)
    for step in run.steps.values():
        if step.status is StepStatus.COMPLETED:
            step.status = StepStatus.CANCELLED


@replaces(Endings, "end")
def a_ready_step_survives_a_cancel(_end, ends, run):
    """It waits for its turn, and gets it."""
    run.ending = True
    for step in run.steps.values():
        if step.current is not None:
            ends.stop(run, step, None)
        elif not step.status.settled and step.status is not StepStatus.READY:
            ends.cancel(run, step)


@replaces(Decisions, "_cancel_run")
def a_second_cancel_overrules_the_first(cancel, brain, message):
    """The run ends for the reason that was given last."""
    cancel(brain, message)
    run = brain.runs.get(message.run_id)
    if run and run.cancel_reason:
        run.cancel_reason = message.reason


@replaces(endings, "_dependents")
def a_failure_cancels_strangers(_dependents, run, _failed):
    """Steps that do not wait for the one that has failed, directly or not."""
    yield from [one for one in run.steps.values() if one.status is StepStatus.PENDING]


@replaces(endings, "_dependents")
def a_failure_forgets_distant_dependents(dependents, run, failed):
    """Those who wait for those who wait for it."""
    near = failed.plan.dependents
    yield from [one for one in dependents(run, failed) if one.id in near]


@replaces(Endings, "fail")
def an_optional_step_fails_its_run(fail, ends, run, step, error):
    """If it had more than one attempt."""
    required = step.step
    if step.attempts > 1 and not step.step.required:
        step.step = attrs.evolve(step.step, required=True)
    fail(ends, run, step, error)
    step.step = required


@replaces(RunState, "_keep")
def a_recorded_step_runs_again(_keep, run, steps):
    """A run that is resumed begins from its beginning."""


@replaces(Endings, "fail")
def the_last_failure_is_the_runs(fail, ends, run, step, error):
    """A later failure overwrites why the run has failed."""
    if step.step.required:
        run.error = None
    fail(ends, run, step, error)


@replaces(Endings, "expire")
def a_timeout_overrules_a_failure(expire, ends, run):
    """It passes while the others are being stopped, and counts all the same."""
    if run.ending and run.cancel_reason is None and run.undoing is None:
        run.error = DeadlineExceeded(run.run_id, run.timeout)
    expire(ends, run)


@replaces(Decisions, "_cancel_run")
def a_cancel_overrules_a_failure(cancel, brain, message):
    """It comes while the others are being stopped, and counts all the same."""
    run = brain.runs.get(message.run_id)
    if run and run.ending and run.cancel_reason is None and run.status is RunStatus.RUNNING:
        run.cancel_reason = message.reason
    cancel(brain, message)


@replaces(ledger, "_row")
def a_result_counts_an_attempt_too_few(row, step):
    """The last one of several."""
    status, output, error, attempts, *times = row(step)
    return status, output, error, min(attempts, max(1, attempts - 1)), *times


@replaces(ledger, "_row")
def a_result_keeps_an_error_to_itself(row, step):
    """It says that a step has failed, and not of what."""
    status, output, _, *others = row(step)
    return status, output, None, *others


# ── Undoing ──────────────────────────────────────────────────────────────────────────────────


@replaces(Compensations, "_settle")
def a_step_is_undone_twice(settle, undoings, run, undo, error):
    """If its compensator has failed before, and not for good."""
    again = undo.attempts > 1 and error is None
    settle(undoings, run, undo, error)
    if again:
        run.undoable.append(undo.undoes)


@replaces(Compensations, "_begin")
def steps_are_undone_in_the_order_of_completion(begin, undoings, run, steps):
    """What others have built on goes first."""
    steps.reverse()
    begin(undoings, run, steps)


@replaces(Compensations, "_settle")
def an_undoing_that_fails_ends_all(settle, undoings, run, undo, error):
    """What was done before is not undone."""
    settle(undoings, run, undo, error)
    if error is not None:
        run.undoable.clear()


@replaces(Compensations, "_failed")
def a_compensator_is_not_tried_again(_failed, undoings, run, undo, error):
    """Whatever its policy says."""
    undo.stopping, undo.stop_error = False, None
    undoings._settle(run, undo, error)


@replaces(starts, "seen_by")
def a_compensator_does_not_see_what_its_step_has_made(seen_by, run, undo):
    """It is told that there was nothing."""
    return [DependencyCompleted(one.step_id, None, one.skipped) for one in seen_by(run, undo)]


@replaces(Decisions, "_cancel_run")
def a_cancelled_run_is_undone_unasked(cancel, brain, message):
    """Every cancellation is taken to ask for it."""
    cancel(brain, CancelRun(message.run_id, message.reason, message.grace, True))


# ── Records ──────────────────────────────────────────────────────────────────────────────────


@replaces(Supervisor, "_conclude")
def watchers_see_what_is_not_recorded_yet(conclude, supervisor):
    """And once more what is."""
    supervisor._audience.publish(tuple(supervisor._brain._outbox.events))
    conclude(supervisor)


@replaces(Supervisor, "_conclude")
def a_result_does_not_wait_for_its_record(conclude, supervisor):
    """Its caller has it before the run's end is recorded."""
    for run, _, message in supervisor._brain._outbox.effects:
        if run is None and isinstance(message, RunFinished):
            supervisor._host.finished(message.result)
    conclude(supervisor)


@replaces(Outbox, "run")
def a_resumption_is_not_recorded(happen, outbox, run, kind, *data):
    """The record goes on as if nothing had happened."""
    if kind is EventKind.RUN_RESUMED:
        run.status = move_run(run.run_id, run.status, kind)
    else:
        happen(outbox, run, kind, *data)


@replaces(RunState, "_take_up")
def a_resumed_run_counts_its_events_anew(take_up, run, *recorded):
    """From one."""
    take_up(run, *recorded)
    run.events = 0


# ── Around the brain ─────────────────────────────────────────────────────────────────────────


@replaces(Supervisor, "_configure")
def the_record_is_not_waited_for(configure, supervisor, message):
    """Effects come before their events are recorded."""
    configure(supervisor, message)
    record = supervisor._record
    supervisor._record = lambda events, _done: record(events, lambda _error: None) or True


@replaces(Supervisor, "wakeupAfter")
def an_earlier_deadline_is_slept_through(wakeup_after, supervisor, delay):
    """A wakeup is asked for only when none is under way."""
    if supervisor._wakeups[2:]:
        heapq.heappop(supervisor._wakeups)
    else:
        wakeup_after(supervisor, delay)


@replaces(Supervisor, "_run_finished")
def a_run_leaves_its_actors_behind(finished, supervisor, message):
    """They are not told to exit."""
    supervisor._run_actors.pop(message.result.run_id, None)
    finished(supervisor, message)


@replaces(Supervisor, "_run_finished")
def ended_runs_are_remembered(finished, supervisor, message):
    """Where their actors were, though they are gone."""
    run_id = message.result.run_id
    address = supervisor._run_actors.get(run_id)
    finished(supervisor, message)
    if address is not None:
        supervisor._run_actors[run_id] = address


# ── Families ─────────────────────────────────────────────────────────────────────────────────


@replaces(Families, "ask")
def a_parent_leaves_its_children_alone(_ask, families, run):
    """It ends whether they have or not."""
    return False


@replaces(HasFamilies, "_cancel_child")
def children_in_progress_go_on(_cancel, runtime, asked, child):
    """A parent that is undone waits for their ends; another one leaves them behind."""


@replaces(family, "ends_with_parent")
def abandoned_children_end_with_their_parents(ends, child):
    """As if nobody had said so."""
    return ends(child) or (child.parent is not None and not child.parent.compensates)


@replaces(SimulatedChildren, "wants")
def completed_children_stay(_wants, children, runtime, child):
    """Although their parent is undone."""
    return False


@replaces(families, "_merged")
def the_first_child_is_undone_first(merged, run, undoable, message):
    """The children of a step are undone in the order in which they ended."""
    children = tuple(reversed(message.children))
    return merged(run, undoable, ChildrenFound(message.run_id, message.asked, children))


@replaces(Families, "undo")
def a_parent_keeps_its_place_while_a_child_is_undone(undo, families, run, child):
    """Which the child may need."""
    active = run.active
    run.active = False
    undo(families, run, child)
    run.active = active


# ── Where heaps have depth ───────────────────────────────────────────────────────────────────

PURE = []
"""Mistakes that show only with more entries than a search has; models find them."""


def replaces_in_model(owner, function):
    """Make a mutant of a function's twin, for the tests that compare models."""

    def keep(twin):
        PURE.append(Mutant(owner, function, twin))
        return twin

    return keep


@replaces_in_model(Starts, "forget")
def a_run_that_has_ended_is_not_forgotten(_forget, starts, run):
    """Its steps go on waiting for a worker, in the name of its former life."""


@replaces_in_model(Deadlines, "_compact")
def compaction_leaves_no_heap(_compact, deadlines):
    """The living are kept in any order."""
    deadlines._heap = [deadline for deadline in deadlines._heap if deadline[2] is not None]
    deadlines._dead = 0


@replaces_in_model(RunQueue, "forget")
def what_is_left_of_a_queue_is_no_heap(_forget, queue, run):
    """A run that has ended leaves its place in the heap to its neighbour."""
    queue._waiting = [entry for entry in queue._waiting if entry[2] is not run]


@replaces_in_model(Compensations, "limit")
def the_last_limit_of_undoing_counts(limit, undoings, run, message):
    """A later grace replaces an earlier one."""
    if message.grace is not None and run.cut is not None:
        undoings._deadlines.cancel(run.cut)
        run.cut = None
    limit(undoings, run, message)

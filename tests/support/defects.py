"""Planted defects: mistakes in the source, each with the tests that must fall.

    python -m tests.support.defects --all                  # every defect
    python -m tests.support.defects --sample 6 --seed X    # six of them, the same for each X
    python -m tests.support.defects NAME ...               # these

The mutants in `mutants` are for the search of the simulation. These defects are for direct tests,
and most are where no simulation looks: in threads, tasks, the writer and the leases. Each is one
to three lines of the source, replaced in a copy of the checkout in a temporary directory. The named
tests run there in another process.

It says for each defect how it was found and how long that took, and exits with 1 if one survives,
if it no longer applies, or if its tests fail without it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

__all__ = ["CHECKOUT", "DEFECTS", "Defect", "main"]

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("actorflow", "benchmarks", "tests", "pyproject.toml", "setup.cfg")
HANGS = 20
"""Seconds after which a test hangs, which counts as falling."""


@attrs.frozen
class Defect:
    """A mistake, and how it is planted."""

    name: str
    file: str
    text: str
    """Occurs once in the file."""
    replacement: str
    tests: tuple[str, ...]
    """The tests that must fall: one case of each."""
    why: str
    """What a user would see of it."""

    @property
    def source(self):
        """The source of the file, without the mistake."""
        return (CHECKOUT / self.file).read_text()

    @property
    def applies(self):
        """Whether the text is in the file, once."""
        return self.source.count(self.text) == 1

    @property
    def mistaken(self):
        """The source of the file with the mistake."""
        return self.source.replace(self.text, self.replacement)


DEFECTS = []


def defect(name, file, text, replacement, *tests, why):
    """Add a defect."""
    DEFECTS.append(Defect(name, f"actorflow/{file}", text, replacement, tests, why))


# ── The brain ────────────────────────────────────────────────────────────────────────────────

MODELS = "tests/scheduling/test_models.py::"
CHILDREN = "tests/orchestrator/test_children.py::"
CHILD_ENDS = "tests/orchestrator/test_child_ends.py::"
DECISIONS = "tests/scheduling/test_decisions.py::"
UNDOING = "tests/scheduling/test_compensations.py::"

defect(
    "an ended run stays in the ready queue",
    "scheduling/decisions.py",
    "        self._starts.forget(run)\n        if not run.active:\n",
    "        if not run.active:\n",
    MODELS + "test_a_run_that_was_cancelled_while_it_waited_gets_its_turn_when_it_is_resumed",
    why="A run that is cancelled while a step waits for a worker hangs when it is resumed.",
)
SUPERVISOR = "tests/actors/test_supervisor.py::"
LEAVING = "tests/scheduling/test_leaving.py::"
TAKEN = "tests/scheduling/test_takeovers.py::"

defect(
    "a run that was taken up again is discarded",
    "scheduling/decisions.py",
    "if not (message.unrecorded or message.run_id in self.leaving.runs):",
    "if not (message.run_id in self.leaving.runs):",
    DECISIONS + "test_a_run_that_ended_although_its_events_were_not_recorded_is_not_reported_as_"
    "unknown",
    "tests/testing/test_cluster.py::test_a_run_that_is_taken_up_again_is_not_discarded",
    why="After an outage of the database a run is run twice at once, and a worker is lost.",
)
defect(
    "a run that waits gets its place while runs are left",
    "scheduling/decisions.py",
    "while not self.leaving.begun and (run := self.waiting.pop()) is not None:",
    "while (run := self.waiting.pop()) is not None:",
    LEAVING + "test_a_run_that_was_cancelled_before_lets_no_other_begin",
    why="A deploy starts steps of queued runs only to cut them.",
)
defect(
    "a ready step of a left run starts",
    "scheduling/leaving.py",
    "                step.step_back()\n",
    "                pass\n",
    LEAVING + "test_ready_steps_of_a_left_run_do_not_start_when_workers_and_lanes_are_free",
    why="A deploy starts steps of runs that it gives away, which then run twice at once.",
)
defect(
    "a cancelled run is left",
    "scheduling/leaving.py",
    "        if not run.ending or run.status is RunStatus.COMPENSATING:\n",
    "        if run.status is not RunStatus.PENDING or not run.ending:\n",
    LEAVING + "test_a_run_that_was_cancelled_before_ends_first",
    why="A cancellation just before a deploy is lost, and the run goes on elsewhere.",
)
defect(
    "an unrecorded run is not handed back",
    "actors/supervisor.py",
    "AbandonAttempt, RunFinished, RunLeft, EndChildren, UndoChild)",
    "AbandonAttempt, RunFinished, EndChildren, UndoChild)",
    SUPERVISOR + "test_a_run_is_left_though_what_it_recorded_last_has_failed",
    why="A shutdown waits in vain for a run whose last write has failed.",
)
defect(
    "hand-overs count as crashes",
    "model/past.py",
    "        crashed = takeovers > lives.takeovers and bool(lives.in_flight)\n",
    "        crashed = takeovers >= lives.takeovers and bool(lives.in_flight)\n",
    TAKEN + "test_a_hand_over_does_not_count",
    why="Ten deploys fail a long run that never failed.",
)
defect(
    "a step that settles does not set the count back",
    "model/past.py",
    "            self.crashes.clear()\n",
    "",
    TAKEN + "test_a_step_that_settles_in_between_sets_the_count_back",
    why="A long run on a flaky machine fails although it advances.",
)
defect(
    "a crash counts while a run only waits",
    "model/past.py",
    "        crashed = takeovers > lives.takeovers and bool(lives.in_flight)\n",
    "        crashed = takeovers > lives.takeovers\n",
    TAKEN + "test_a_crash_does_not_count_while_the_run_only_waits",
    why="A run that waits for a retry fails when other runs crash its process.",
)
defect(
    "a cut attempt uses up an attempt",
    "scheduling/endings.py",
    "policy, spent = step.step.retry, step.attempts - cut\n",
    "policy, spent = step.step.retry, step.attempts\n",
    TAKEN + "test_an_attempt_that_was_cut_has_a_number_and_uses_up_none",
    why="A deploy costs a step one of its attempts.",
)
defect(
    "an owner that hands back counts as dead",
    "state/sql/writing/group.py",
    "        runs.c.owner.not_in([_NO_OWNER, claimant]),\n",
    "        runs.c.owner != claimant,\n",
    "tests/state/sql/test_takeovers.py::test_a_run_that_was_handed_back_is_not_counted",
    why="Ten deploys fail a long run that never failed.",
)
defect(
    "compaction leaves no heap",
    "scheduling/deadlines.py",
    "        heapq.heapify(self._heap)\n",
    "",
    MODELS + "test_what_is_left_after_compaction_comes_in_order",
    why="Timeouts fire late when most of many have been cancelled.",
)
defect(
    "the queue of runs is no heap after a cancellation",
    "scheduling/queues.py",
    "        heapq.heapify(self._waiting)\n",
    "",
    MODELS + "test_the_queue_of_runs_behaves_like_a_list",
    why="Of many waiting runs, urgent ones start after others once one of them was cancelled.",
)
defect(
    "the levels are no heap after a run has ended",
    "scheduling/queues.py",
    "                heapq.heapify(self.order)\n",
    "",
    MODELS + "test_the_ready_queue_behaves_like_a_list",
    why="Steps of a lower priority start first once a run has been cancelled.",
)
defect(
    "the last limit of undoing counts",
    "scheduling/compensations.py",
    "and run.cut is None and",
    "and",
    MODELS + "test_the_first_limit_of_undoing_counts",
    why="A second shutdown call cuts compensators that the first one had given more time.",
)
defect(
    "a backoff outlives its step",
    "scheduling/endings.py",
    "        if step.backoff is not None:\n            self._deadlines.cancel(step.backoff)\n",
    "",
    DECISIONS + "test_deadlines_that_pass_together_are_each_looked_at_anew",
    why="A step that was cancelled in its backoff becomes ready again, which is an illegal move.",
)
defect(
    "a grace outlives its attempt",
    "scheduling/starts.py",
    "        if step.grace is not None:\n            self._cancel(step.grace)\n",
    "",
    UNDOING + "test_a_cancelled_run_is_undone_when_that_is_asked_for",
    why="The retry of an attempt that stopped in time is abandoned by the former one's grace.",
)
defect(
    "a timeout outlives its run",
    "scheduling/endings.py",
    "for deadline in (run.expiry, run.cut):",
    "for deadline in (run.cut,):",
    DECISIONS + "test_a_step_in_backoff_is_cancelled_at_once",
    why="A resumed run is ended by the timeout of its former life.",
)
defect(
    "what becomes ready overtakes what waits",
    "scheduling/starts.py",
    "        enough = len(ready) <= self._workers.free and not queue.order\n",
    "        enough = len(ready) <= self._workers.free\n",
    DECISIONS + "test_what_was_ready_earlier_goes_before_what_is_defined_earlier",
    why="Steps wait for ever behind dependents that become ready when a worker is freed.",
)
defect(
    "the lane ignores the longest way",
    "scheduling/starts.py",
    "run.lane.push(step, level, 0.0 if run.ways is None else run.ways[step.id])",
    "run.lane.push(step, level, 0.0)",
    DECISIONS + "test_among_steps_that_wait_the_one_with_the_longest_way_goes_first",
    why='order="critical_path" has no effect on functions that wait for the sync lane.',
)
ORDERS = "tests/scheduling/test_orders.py::"
ESTIMATES = "tests/orchestrator/test_estimates.py::"
defect(
    "the shortest way goes first",
    "scheduling/queues.py",
    "(-line.ways[step.id], self._arrivals, step)",
    "(line.ways[step.id], self._arrivals, step)",
    ORDERS + "test_the_queue_does_what_its_naive_twin_does",
    ORDERS + "test_runs_take_turns_and_each_by_its_own_ways",
    why='With order="critical_path" the critical path waits for all others.',
)
defect(
    "ageing is multiplied",
    "scheduling/starts.py",
    "self._outbox.now / self._ageing",
    "self._outbox.now * self._ageing",
    ORDERS + "test_without_ageing_a_low_priority_starves",
    why="A step waits for much longer than its priority is worth.",
)
defect(
    "a way is the shortest one",
    "definition/plan.py",
    "own + max((ways[name]",
    "own + min((ways[name]",
    ORDERS + "test_the_way_is_the_longest_path_to_the_end",
    why="Steps go by the shortest branch behind them, and the critical path waits.",
)
defect(
    "durations are read for every run",
    "orchestrator/estimates.py",
    "        read_at[workflow_id] = now\n",
    "        read_at[workflow_id] = now - _FRESH_FOR\n",
    ESTIMATES + "test_durations_are_read_once_a_minute_for_each_workflow",
    why="Each start of a run costs a query of the database.",
)
defect(
    "an error of durations is raised",
    "orchestrator/estimates.py",
    "contextlib.suppress(Exception)",
    "contextlib.suppress(KeyError)",
    ESTIMATES + "test_a_bad_answer_costs_nothing",
    ESTIMATES + "test_a_state_manager_that_fails_costs_a_run_nothing",
    why="No run starts while the database cannot be read.",
)
defect(
    "durations of failed runs count",
    "state/memory.py",
    " and entry.status is RunStatus.COMPLETED\n",
    "\n",
    "tests/state/test_memory.py::test_durations_are_those_of_runs_that_are_kept_and_completed",
    why="Steps that were cut off seem to be short.",
)
defect(
    "durations of purged runs count",
    "state/sql/reading.py",
    "completed, NOT_PURGED)",
    "completed)",
    "tests/state/sql/test_purging.py::test_durations_of_purged_runs_do_not_count",
    why="A purge that is under way changes the order of steps.",
)

# ── Attempts that wait ───────────────────────────────────────────────────────────────────────

SUSPENSIONS = "tests/scheduling/test_suspensions.py::"
WAITS = "tests/testing/test_waits.py::"
_GIVES_BACK = """    def _give_back(self, run: RunState, step: StepState) -> None:
        if step.step.async_:
            self._workers.free += 1
        else:
            run.lane.busy = False
"""

defect(
    "a suspended attempt keeps its worker",
    "scheduling/starts.py",
    _GIVES_BACK,
    _GIVES_BACK.replace("self._workers.free += 1", "pass"),
    SUSPENSIONS + "test_a_step_that_waits_gives_back_what_it_holds",
    WAITS + "test_nesting_exhausts_nothing",
    why="Runs that wait for their child runs hold the workers that these need, for ever.",
)
defect(
    "a suspended attempt keeps its lane",
    "scheduling/starts.py",
    _GIVES_BACK,
    _GIVES_BACK.replace("run.lane.busy = False", "pass"),
    SUSPENSIONS + "test_a_step_that_waits_gives_back_what_it_holds",
    WAITS + "test_what_waits_makes_room_for_others",
    why="While a plain step waits for a message, no other plain step of its run starts.",
)
defect(
    "a body that ends while it waits gives back twice",
    "scheduling/starts.py",
    "        if run.suspended and self._held_nothing(run, step):\n            return\n",
    "        if run.suspended:\n            self._held_nothing(run, step)\n",
    SUSPENSIONS + "test_a_body_may_end_although_it_waits",
    WAITS + "test_a_body_may_end_without_waiting_for_its_attempt_to_continue",
    why="More async steps run at once than `async_workers` allows.",
)
defect(
    "a woken attempt of a stopped run continues",
    "scheduling/starts.py",
    "        if step.stopping:\n            self._give_back(run, step)\n            return\n",
    "",
    SUSPENSIONS + "test_a_step_that_waits_is_stopped_with_its_run",
    why="A step is recorded as continued although its run was cancelled before.",
)
defect(
    "what was left of the total timeout is forgotten",
    "scheduling/starts.py",
    "        known.leave()\n        if known.total_left is not None:\n            self._restart(",
    "        known.leave()\n        if known.total_left == -1:\n            self._restart(",
    SUSPENSIONS + "test_what_is_left_of_the_total_timeout_counts_for_the_next_attempt",
    why="A step whose body has ended while it waited is retried for longer than it may take.",
)
defect(
    "what was left is forgotten when a continued attempt ends at once",
    "scheduling/starts.py",
    "        if known.total_left is not None:  # the attempt may",
    "        if known.total_left == -1:  # the attempt may",
    SUSPENSIONS + "test_an_attempt_may_end_before_the_grant_to_continue_is_sent",
    why="A step is retried for longer than it may take if its record is slow.",
)
defect(
    "the timeouts of an attempt that continues stay off",
    "scheduling/starts.py",
    "                    self._restart_clocks(run, step, attempt, now)\n",
    "                    pass\n",
    SUSPENSIONS + "test_the_timeouts_of_a_step_stand_still_while_it_waits",
    WAITS + "test_a_body_may_fail_or_hang_after_its_wait",
    why="A step that has waited once runs without a timeout.",
)
defect(
    "a run takes its place back only when it waits for one",
    "scheduling/starts.py",
    "            self._reclaim(run)\n",
    "            pass\n",
    SUSPENSIONS + "test_a_run_whose_body_ends_takes_its_place_back_at_once",
    why="A run goes on without a place, and gives one back at its end that it did not have.",
)
defect(
    "timeouts go on while an attempt waits",
    "scheduling/suspensions.py",
    "        self._deadlines.cancel(deadline)\n",
    "",
    SUSPENSIONS + "test_the_timeouts_of_a_step_stand_still_while_it_waits",
    WAITS + "test_timeouts_stand_still_while_an_attempt_waits",
    why="A step that waits for a person's approval times out.",
)
defect(
    "a run that only waits keeps its place",
    "scheduling/suspensions.py",
    "        self._waiting.release()\n",
    "",
    SUSPENSIONS + "test_a_run_that_only_waits_gives_its_place_back",
    WAITS + "test_nesting_exhausts_nothing",
    why="Runs that wait for their child runs hold the places that these need, for ever.",
)
defect(
    "a run that only waits gives its place back twice",
    "scheduling/suspensions.py",
    "        self._waiting.release()\n",
    "        self._waiting.release()\n        self._waiting.release()\n",
    SUSPENSIONS + "test_a_run_gets_its_place_back_by_priority",
    why="More runs are in progress than `max_active_runs` allows.",
)
defect(
    "a woken run does not ask for a place",
    "scheduling/suspensions.py",
    "        else:\n            self.rejoin(run)\n",
    "",
    SUSPENSIONS + "test_a_run_that_only_waits_gives_its_place_back",
    WAITS + "test_nesting_exhausts_nothing",
    why="A run whose child run has ended waits for ever.",
)
defect(
    "a run that has its place back goes on waiting",
    "scheduling/suspensions.py",
    "            if known.woken:\n                self._starts.ready_to_continue(run, known)\n",
    "            pass\n",
    SUSPENSIONS + "test_a_run_that_only_waits_gives_its_place_back",
    WAITS + "test_nesting_exhausts_nothing",
    why="A run whose child run has ended gets a place, and does nothing with it.",
)

# ── Actors and delivery ──────────────────────────────────────────────────────────────────────


defect(
    "an earlier timer is not seen",
    "systems/delivery.py",
    "        if self._timers[0] is entry:\n",
    "        if len(self._timers) == 1:\n",
    "tests/contracts/test_system_bases.py::"
    "test_wakeups_come_at_their_times_and_with_their_payloads",
    why="A short timeout fires only when a longer one does that was set before.",
)
defect(
    "a turn drops what it has not delivered",
    "systems/embedded.py",
    "                    del mail[:delivered]\n",
    "                    mail.clear()\n",
    "tests/systems/test_embedded.py::test_a_guest_that_delivers_keeps_within_the_bounds",
    why="Runs hang when more than 512 messages wait at once.",
)
defect(
    "attempts share context variables",
    "actors/step.py",
    "attempt.variables = scope.variables.copy()",
    "attempt.variables = scope.variables",
    "tests/actors/test_step.py::test_every_attempt_has_context_variables_of_its_own",
    why="Steps see each other's context variables, and parallel functions cannot enter theirs.",
)
defect(
    "a stopped grant replaces a later one",
    "actors/step.py",
    "            elif not attempt.submitted:  # else",
    "            else:  # or",
    "tests/actors/test_step.py::"
    "test_the_grant_of_a_stopped_attempt_does_not_take_the_place_of_a_later_one",
    why="A retry never begins, and its run hangs.",
)
defect(
    "a decision overtakes those that wait for their record",
    "actors/supervisor.py",
    "            if recorded and not self._held:\n",
    "            if recorded:\n",
    SUPERVISOR + "test_what_is_decided_meanwhile_waits_in_order",
    why="Steps start before the events that led to them are in the database.",
)
defect(
    "every message sets a wakeup",
    "actors/supervisor.py",
    "            # Also after a KeyboardInterrupt.\n"
    "            if self._deadlines.earliest < self._wakeups[0]:",
    "            # Also after a KeyboardInterrupt.\n"
    "            if self._deadlines.earliest != _NEVER:",
    SUPERVISOR + "test_wakeups_do_not_pile_up",
    why="Memory grows by a timer for each message while a timeout is pending.",
)
defect(
    "what is not recorded is not abandoned",
    "actors/supervisor.py",
    "(StopAttempt, AbandonAttempt, RunFinished, RunLeft, EndChildren, UndoChild)",
    "(StopAttempt, RunFinished, RunLeft, EndChildren, UndoChild)",
    SUPERVISOR + "test_a_thread_that_timed_out_is_abandoned_though_that_is_not_recorded",
    why="A run hangs when the disk is full at the moment in which a thread times out.",
)
defect(
    "a second attempt to undo is not watched",
    "actors/run.py",
    "        self._undoing = address, message.attempt\n",
    "        self._undoing = self._undoing or (address, message.attempt)\n",
    "tests/actors/test_run.py::test_the_next_attempt_of_a_compensator_is_watched_as_the_first_one",
    why="A run hangs when the actor of a retried compensator dies.",
)

# ── Executors ────────────────────────────────────────────────────────────────────────────────

THREADS = "tests/executors/test_threads.py::"
COROUTINES = "tests/executors/test_coroutines.py::"

defect(
    "a thread takes its attempt before it says so",
    "executors/threads.py",
    "        running[attempt] = thread"
    "  # before it is taken out, so that `abandon` finds it in one\n"
    "        if self._waiting.pop(attempt, _TAKEN) is _TAKEN:\n"
    "            del running[attempt]  # abandoned before it began\n"
    "            self._idle.append(None)\n"
    "            return True\n",
    "        if self._waiting.pop(attempt, _TAKEN) is _TAKEN:\n"
    "            self._idle.append(None)\n"
    "            return True\n"
    "        running[attempt] = thread\n",
    THREADS + "test_an_attempt_that_is_given_up_as_its_thread_takes_it_is_not_reported",
    why="A hanging thread is not counted, and a step that was given up is reported all the same.",
)
defect(
    "a thread is idle only after its report",
    "executors/threads.py",
    "        self._idle.append(None)\n        self._report(attempt, output, error)\n",
    "        self._report(attempt, output, error)\n        self._idle.append(None)\n",
    THREADS + "test_a_thread_that_reports_is_free_for_what_the_report_submits",
    why="A chain of steps starts threads that it does not need.",
)
defect(
    "a thread whose attempt was given up is never idle",
    "executors/threads.py",
    "            self._idle.append(None)\n            return True\n        thread.attempt",
    "            return True\n        thread.attempt",
    THREADS + "test_a_thread_that_finds_its_attempt_given_up_is_idle_again",
    why="Each step that is given up before it begins leaves a thread behind for ever.",
)
defect(
    "an attempt that ends as it is given up counts as abandoned",
    "executors/threads.py",
    "            del self._abandoned[attempt]  # it has ended in between\n",
    "",
    THREADS + "test_an_attempt_that_ends_as_it_is_given_up_does_not_count_as_abandoned",
    why="After a hundred such steps, every function fails with TooManyAbandoned.",
)
defect(
    "a delivery runs in a step's context",
    "executors/coroutines.py",
    "self._context.run(self._deliver)",
    "self._deliver()",
    COROUTINES + "test_the_runner_is_not_in_a_bodys_context",
    why="Observers and other steps' tasks see context variables that a step has set.",
)
defect(
    "a task that is cancelled twice is started twice",
    "executors/coroutines.py",
    "            self.started = True\n"
    "            self.get_loop().call_soon(self._on_missed, attempt)\n",
    "            self.get_loop().call_soon(self._on_missed, attempt)\n",
    COROUTINES + "test_a_task_that_is_cancelled_twice_before_it_starts_runs_its_body_once",
    why="One attempt calls its function twice at the same time.",
)
defect(
    "a body that has raised still counts as running",
    "executors/coroutines.py",
    "            self.current = task.attempt = None\n"
    "            self._report(attempt, None, error)\n",
    "            task.attempt = None\n            self._report(attempt, None, error)\n",
    COROUTINES + "test_a_body_that_has_ended_is_not_the_one_that_runs",
    why="The watchdog logs that a step blocks the loop which has failed long ago.",
)
defect(
    "a task keeps its attempt while it delivers",
    "executors/coroutines.py",
    "        task.attempt = None\n        # A GeneratorExit",
    "        # A GeneratorExit",
    COROUTINES + "test_a_body_that_has_ended_is_not_the_one_that_runs",
    why="The watchdog blames a step for what is done after its end.",
)
defect(
    "a body that is cancelled may not wait while it cleans up",
    "executors/coroutines.py",
    "                    waiting = throw_into(coroutine, thrown)\n            output",
    "                    throw_into(coroutine, thrown)\n"
    "                    break\n            output",
    COROUTINES + "test_a_task_group_works_in_a_body",
    why="The clean-up of a cancelled step goes on before what it awaits has happened.",
)
defect(
    "the watchdog does not ask whether the loop turns",
    "executors/watchdog.py",
    "            if attempt is not None:\n                self._executor.probe()\n",
    "",
    "tests/executors/test_watchdog.py::test_a_body_that_goes_on_in_its_task_does_not_block",
    why="Steps that await often are reported as blocking the loop.",
)
defect(
    "a pool's abandoned attempts are kept",
    "executors/futures.py",
    "                del self._abandoned[attempt]\n                return\n",
    "                return\n",
    "tests/executors/test_futures.py::"
    "test_an_abandoned_attempt_is_forgotten_when_its_body_has_returned",
    why="Memory grows by each attempt that times out in a pool, with its arguments.",
)

# ── The writer and the group commit ──────────────────────────────────────────────────────────

MANAGER = "tests/state/sql/test_manager.py::"
CHILDREN = "tests/orchestrator/test_children.py::"

defect(
    "only the last statement's rows count",
    "state/sql/writing/bulk.py",
    "            matched += connection",
    "            matched = connection",
    "tests/state/sql/test_bulk.py::test_every_row_arrives_however_many_there_are",
    why="Three runs that have events in one group are all lost.",
)
defect(
    "a refused start is not told next to a lost run",
    "state/sql/writing/writer.py",
    "            return duplicates | self._persist_owned(",
    "            return self._persist_owned(",
    MANAGER + "test_a_second_start_is_told_so_next_to_a_run_that_is_lost",
    why="A second start with the same idempotency key runs, and nothing of it is recorded.",
)
defect(
    "a lost answer is looked for with refused starts",
    "state/sql/writing/writer.py",
    "return statements.is_written(connection, _without(batch, duplicates))",
    "return statements.is_written(connection, batch)",
    MANAGER + "test_a_commit_whose_answer_is_lost_is_not_repeated_next_to_a_refused_start",
    why="Runs fail whose events were committed just before the connection was lost.",
)
defect(
    "a resumption does not write the steps that it resets",
    "state/sql/writing/open_runs.py",
    "before = dict(fold.steps) if event.kind is EventKind.RUN_RESUMED else fold.steps",
    "before = fold.steps",
    MANAGER + "test_a_run_that_somebody_else_has_claimed_is_not_written_any_more",
    why="The record of a resumed run shows its steps as failed until they start.",
)
defect(
    "lost runs are remembered after their end",
    "state/sql/writing/open_runs.py",
    "                    self._broken.pop(event.run_id, None)\n",
    "",
    MANAGER + "test_a_run_that_was_lost_is_forgotten_when_it_has_ended",
    why="Memory grows by each run that could not be recorded.",
)
defect(
    "only the last of a refused group's runs is told",
    "state/sql/writing/writer.py",
    "            lost |= self._persist({run_id: change})\n",
    "            lost = self._persist({run_id: change})\n",
    MANAGER + "test_one_run_that_cannot_be_written_does_not_hurt_the_others",
    why="A run goes on as if it were recorded, though the database has refused it.",
)

# ── Leases, ownership, recovery ──────────────────────────────────────────────────────────────

TAKEOVER = "tests/orchestrator/test_takeover.py::"

defect(
    "a heartbeat looks for the first runs alone",
    "state/sql/leases.py",
    "run_ids[start : start + _RUNS_PER_QUERY]",
    "run_ids[:_RUNS_PER_QUERY]",
    MANAGER + "test_every_run_is_looked_for_at_a_heartbeat",
    why="An orchestrator with more than 500 runs cancels the others at each heartbeat.",
)
OWNERS = "tests/state/sql/test_owners.py::"
FILES = "tests/state/sql/test_sqlite_files.py::"

defect(
    "the lease of a killed process is waited out",
    "state/leases.py",
    "            return 0.0\n        if self._by_clock",
    "            pass\n        if self._by_clock",
    OWNERS + "test_a_process_id_that_is_used_again_names_another_process",
    why="A daemon that was killed and restarted waits 30 s for its own runs.",
)
defect(
    "a process id of another container is believed",
    "state/sql/processes.py",
    "self._place != other._place",
    "False",
    OWNERS + "test_a_process_id_of_another_place_says_nothing",
    why="A healthy daemon loses its runs to another one, in which its process id is not in use.",
)
defect(
    "a hidden process counts as ended",
    "state/sql/processes.py",
    "return found is not None and (",
    "return found is None or (",
    OWNERS + "test_a_process_that_is_hidden_is_not_known_to_have_ended",
    why="Where /proc hides the processes of other users, their daemons lose their runs.",
)
defect(
    "a lease follows the wall clock",
    "state/leases.py",
    "self._seen[row.owner].at + row.lease - now",
    "0.0 if row.expired else 1.0",
    OWNERS + "test_on_sqlite_a_lease_is_over_when_its_counter_has_stood_still_for_as_long",
    why="A clock that is set two hours ahead lets another daemon take a healthy run.",
)
defect(
    "a heartbeat is not seen",
    "state/leases.py",
    "same = seen is not None and seen.beat == beat",
    "same = seen is not None",
    OWNERS + "test_a_counter_that_moves_is_watched_from_the_beginning",
    why="Every owner loses its runs once it has been watched for the duration of its lease.",
)
defect(
    "a purge deletes leases by the wall clock",
    "state/sql/leases.py",
    ", ~needed)",
    ")",
    OWNERS + "test_a_purge_leaves_the_lease_of_a_run_in_progress_whatever_the_clock_says",
    why="A clock that is set ahead lets others take the runs of every owner after a purge.",
)
defect(
    "a commit to a deleted log is acknowledged",
    "state/sql/writing/connection.py",
    "            if done:\n                confirm_files(self._connection)\n",
    "",
    FILES + "test_a_commit_is_acknowledged_only_once_it_is_in_a_file_that_has_a_name",
    why="A run that was started while the log was deleted is lost when the process dies.",
)
defect(
    "a deleted log is not saved",
    "state/sql/sqlite_files.py",
    "        _save_log(raw, opened)\n",
    "        pass\n",
    FILES + "test_two_managers_go_on_after_their_log_was_deleted",
    why="Everything that SQLite had not yet copied from the log is lost.",
)
defect(
    "a run that is taken stays parked",
    "state/sql/writing/group.py",
    '            "parked": None,\n            **WOKEN,',
    "            **WOKEN,",
    TAKEOVER + "test_a_run_of_an_unknown_version_is_parked_until_somebody_knows_it",
    why="Lists say of runs in progress that no orchestrator knows their workflow.",
)
defect(
    "a search takes what runs here",
    "state/sql/writing/group.py",
    "                runs.c.run_id.not_in(among(connection.dialect.name, wanted.besides)),\n",
    "",
    MANAGER + "test_the_most_urgent_is_taken_first_and_of_equals_the_one_that_has_waited_longest",
    why="Each search gives every live run a new fencing token, and its next events are refused.",
)
defect(
    "a live run is handed back",
    "orchestrator/takeover.py",
    "    if not runtime.live(run_id):\n        hand_back(runtime.powers, run_id, parked)\n",
    "    hand_back(runtime.powers, run_id, parked)\n",
    TAKEOVER + "test_a_run_whose_resumption_is_interrupted_late_is_not_handed_back",
    why="After a Ctrl-C in resume(), the run is cancelled here and runs again elsewhere.",
)
defect(
    "an orchestrator that is full parks runs for good",
    "orchestrator/takeover.py",
    "(Overloaded, StoreOverloaded, StoreUnavailable)",
    "(StoreOverloaded, StoreUnavailable)",
    TAKEOVER + "test_a_run_that_cannot_be_taken_up_now_is_taken_up_a_moment_later",
    why="A run in the queue is never taken again by an orchestrator that was full once.",
)
defect(
    "more runs are taken than there is room for",
    "orchestrator/takeover.py",
    "        room = min(self._most - busy, self._life.admission.free, _AT_ONCE)\n",
    "        room = self._most\n",
    TAKEOVER + "test_no_more_runs_are_taken_than_there_is_room_for",
    why="A busy orchestrator takes runs from idle ones and hands them back, again and again.",
)
defect(
    "a connection that comes back late stays open",
    "state/sql/engines.py",
    "        for pool in tuple(self._disposed):\n            pool.dispose()\n",
    "",
    "tests/state/sql/test_manager.py::test_a_connection_that_comes_back_during_the_close_is_closed",
    why="A process that opens and closes managers runs out of connections.",
)
defect(
    "the handle of a lost run keeps its end here",
    "orchestrator/runtime.py",
    "error if self.is_shared and isinstance(error, LeaseLost) else None",
    "None",
    TAKEOVER + "test_who_waits_for_a_run_that_was_taken_over_hears_of_its_end",
    why="A run seems to have failed, and completes in another process.",
)
defect(
    "a parent fails when its child is taken over",
    "run/handle.py",
    "            with contextlib.suppress(LeaseLost):  # then its record is followed\n"
    "                if (end := self._end) is not None:\n"
    "                    return await self._runtime.wait_async(self.id, end)\n",
    "            if (end := self._end) is not None:\n"
    "                return await self._runtime.wait_async(self.id, end)\n",
    TAKEOVER + "test_a_parent_whose_child_was_taken_over_waits_for_it_there",
    why="A step fails with LeaseLost although its child completes elsewhere.",
)
defect(
    "a wait for a message fails when the database is away",
    "orchestrator/mail.py",
    "                if pause is None or attempt.cancelled:\n",
    "                if pause is not None:\n",
    "tests/orchestrator/test_messages.py::"
    "test_a_database_that_is_away_delays_a_wait_and_does_not_fail_it",
    why="A server that restarts fails the steps that begin to wait at that moment.",
)
defect(
    "a former owner starts children",
    "state/sql/writing/reservations.py",
    "if parent_id in lost}",
    "if False}",
    "tests/state/sql/test_manager.py::"
    "test_a_child_of_a_run_that_somebody_else_has_claimed_is_not_accepted",
    why="Two daemons start one child at once, and a parent fails with a duplicate key.",
)
defect(
    "a search that hangs keeps the lease",
    "orchestrator/shutdown.py",
    "until - self._margin / 2 - runtime.clock.now()",
    "until - runtime.clock.now()",
    "tests/state/sql/test_manager.py::test_a_search_that_hangs_does_not_keep_the_lease",
    why="Other daemons wait for the end of a lease after a clean shutdown.",
)
defect(
    "the caller's transaction is committed for him",
    "state/sql/writing/outside.py",
    "        statements.write(connection, batch)\n",
    "        statements.write(connection, batch)\n        connection.commit()\n",
    "tests/state/sql/test_outside.py::test_a_run_is_gone_when_the_transaction_rolls_back",
    why="A rollback leaves a run for an order that does not exist.",
)
defect(
    "a password stays in the URL of an engine",
    "state/sql/engines.py",
    "plain = address.difference_update_query(hidden)",
    "plain = address",
    "tests/state/sql/test_passwords.py::test_the_repr_of_a_manager_and_its_engines_has_no_password",
    why="SQLAlchemy hides only the password in front of the host.",
)
defect(
    "a silent server is waited for without end",
    "state/sql/postgresql.py",
    "                elif now() - since >= limit:\n",
    "                elif False:\n",
    "tests/state/sql/test_silence.py::test_silence_beyond_its_limit_ends_the_connection",
    why="A broken network holds up an orchestrator until it is killed.",
)
defect(
    "an abandoned transaction keeps its locks",
    "state/sql/postgresql.py",
    "        if writes:\n",
    "        if not writes:\n",
    "tests/state/sql/test_silence.py::"
    "test_only_connections_that_write_have_abandoned_transactions_ended",
    why="The runs of a machine that has vanished are locked until the server restarts.",
)
defect(
    "a step that goes on with its child sets its counts back",
    "orchestrator/children.py",
    "flow, by_person=False)",
    "flow, by_person=True)",
    CHILDREN + "test_a_step_that_goes_on_with_its_child_takes_it_over",
    why="A child that kills its process is tried for ever.",
)
defect(
    "calls with the same key at once do not wait for each other",
    "orchestrator/children.py",
    "earlier = self._starting.setdefault(run_id, turn)",
    "earlier = self._starting[run_id] = turn",
    f"{CHILDREN}test_calls_with_the_same_key_at_once_mean_the_same_child",
    why="Two calls that mean one child start two, of which the record keeps one.",
)
defect(
    "a key means whatever workflow it meant first",
    "orchestrator/children.py",
    "if changed or wanted != known.workflow_id:",
    "if changed:",
    f"{CHILDREN}test_another_workflow_for_the_same_key_is_refused",
    why="A step gets the result of another workflow than it has asked for.",
)
defect(
    "steps of a child count as the step that started it",
    "orchestrator/callers.py",
    "        copy.run(_caller.set, None)\n",
    "        pass\n",
    f"{CHILDREN}test_a_child_is_the_parent_of_what_its_steps_start",
    f"{CHILDREN}test_nesting_exhausts_nothing",
    why="Children of children hang, or end with the wrong run.",
)
defect(
    "a child may be detached, and is not",
    "orchestrator/children.py",
    'if options.get("detached"):',
    'if options.get("unknown"):',
    f"{CHILDREN}test_a_child_cannot_be_detached",
    why="A run that was to outlive the step is cancelled with it.",
)
defect(
    "a run without an owner ends without its children",
    "orchestrator/remote_cancel.py",
    "        _end_children(powers, run, cancel_child or",
    "        _is_over(run) and _end_children(powers, run, cancel_child or",
    f"{CHILD_ENDS}test_children_end_with_a_parent_that_nobody_runs",
    f"{CHILD_ENDS}test_a_child_in_progress_ends_with_a_parent_that_nobody_runs",
    why="Children of a run that was cancelled between two deploys run on.",
)
defect(
    "a run that makes way leaves its children behind",
    "state/sql/writing/turns.py",
    "self._cancel_family(connection, running.run_id,",
    "self._cancel(connection, running.run_id,",
    f"{CHILD_ENDS}test_children_end_with_a_parent_that_makes_way",
    why="Children of a run that another one with its key has replaced run on.",
)
defect(
    "a run that has made way may have more children",
    "state/sql/writing/turns.py",
    "fence=runs.c.fence + 1, owner=_NO_OWNER",
    "fence=runs.c.fence + 1",
    "tests/state/sql/test_manager.py::test_a_child_of_a_run_that_had_to_make_way_is_not_accepted",
    why="A process that stood still starts children of a run that was cancelled, which run on.",
)
defect(
    "an orphan goes on",
    "orchestrator/takeover.py",
    "        if is_orphan(runtime.state, recorded, events):\n",
    "        if is_orphan(runtime.state, recorded, events) is None:\n",
    f"{CHILD_ENDS}test_a_child_that_was_not_told_of_its_parents_end_ends_when_it_is_taken_up",
    why="A child that was started as its parent ended, and whose process died, runs on.",
)
defect(
    "a child that a person has resumed is an orphan",
    "orchestrator/family.py",
    "    return not any(event.kind in _ENDS_BADLY for event in known)\n",
    "    return known is not None\n",
    f"{CHILD_ENDS}test_a_child_that_a_person_resumes_after_its_parents_end_goes_on",
    why="A deploy cancels a run that a person has resumed.",
)
defect(
    "a child that has just been undone is resumed",
    "orchestrator/undoing.py",
    "None, by_person=False)",
    "None)",
    "tests/orchestrator/test_undone_children.py::"
    "test_a_child_that_has_been_undone_in_the_meantime_stays_as_it_is",
    why="A child that another process has undone runs a second time, and is undone again.",
)
defect(
    "a run that has not started is to be undone",
    "orchestrator/remote_cancel.py",
    "    if run.status is not RunStatus.PENDING:\n        if compensate:",
    "    if not _is_over(run):\n        if compensate:",
    "tests/orchestrator/test_remote_cancel.py::"
    "test_a_run_in_the_queue_can_be_cancelled_by_its_handle",
    why="A cancelled run waits in the queue until somebody takes it.",
)
defect(
    "a run that is drained gets no children",
    "orchestrator/launch.py",
    "self._admission.enter_at_once(ticket, even_closed=True)\n            return\n        await",
    "self._admission.enter_at_once(ticket)\n            return\n        await",
    CHILDREN + "test_a_run_that_is_drained_has_its_children",
    why="A deploy fails each run that comes to a call of ctx.run within the drain.",
)
defect(
    "a step does not wait for the database to find its child",
    "orchestrator/children.py",
    "pause = next(pauses, None)",
    "pause = None",
    CHILDREN + "test_a_database_that_restarts_delays_a_step_with_children",
    why="Runs with children fail when the server restarts.",
)
defect(
    "a wait for a run elsewhere fails with the database",
    "run/followed.py",
    "        except StoreUnavailable:\n            return None\n",
    "        except StoreUnavailable:\n            raise\n",
    "tests/orchestrator/test_elsewhere.py::test_a_wait_goes_on_when_the_end_cannot_be_read_at_once",
    why="Parents fail when the server restarts as their children end.",
)
defect(
    "a run that is being taken up is claimed by who cancels it",
    "orchestrator/changing.py",
    "        with self._live.claims:\n",
    "        if True:\n",
    "tests/orchestrator/test_cancel_at_take_up.py::"
    "test_a_run_that_is_cancelled_while_it_is_taken_up_ends",
    why="A cancelled run loses its owner, is taken up again, and goes on for ever.",
)
defect(
    "a run is cancelled before it is told to start",
    "orchestrator/runtime.py",
    "door.acquire(timeout=_HANDING_OVER)",
    "door.acquire(blocking=False)",
    "tests/orchestrator/test_cancel_at_take_up.py::"
    "test_a_run_that_is_cancelled_while_it_is_handed_over_ends",
    why="The caller of a run that was cancelled as it started is told that nobody runs it.",
)
defect(
    "a request that came before a run went on waits for the lease",
    "state/sql/writing/writer.py",
    "                self._lease.look_soon()",
    "                pass",
    "tests/orchestrator/test_remote_cancel.py::"
    "test_a_request_is_heard_as_soon_as_a_claimed_run_goes_on",
    why="A run that was cancelled between two deploys goes on for a third of a lease.",
)
defect(
    "a run that was handed back is still waited for",
    "state/sql/writing/open_runs.py",
    "        self._claimed.discard(run_id)\n",
    "",
    "tests/orchestrator/test_remote_cancel.py::test_a_claimed_run_that_is_handed_back_is_forgotten",
    why="Memory grows by each run that was claimed and handed back.",
)
defect(
    "a run that is cancelled from outside stays with who cancelled it",
    "orchestrator/remote_cancel.py",
    "        hand_back(powers, run_id)  # its next owner must not wait for this one's end\n",
    "        pass\n",
    "tests/orchestrator/test_remote_cancel.py::"
    "test_a_run_that_is_to_be_undone_goes_to_whoever_takes_it",
    why="A run in the queue is not undone before the process ends that asked for it.",
)
defect(
    "a later attempt starts its children again",
    "orchestrator/children.py",
    "again = attempt.number > 1 or attempt.scope.resumed",
    "again = attempt.scope.resumed",
    CHILDREN + "test_a_later_attempt_takes_the_children_of_the_earlier_ones",
    why="A step that is retried orders twice what its children order.",
)
defect(
    "a resumed run starts its children again",
    "orchestrator/children.py",
    "again = attempt.number > 1 or attempt.scope.resumed",
    "again = attempt.number > 1",
    CHILDREN + "test_a_resumed_run_takes_the_children_of_its_former_life",
    why="After a crash each child runs a second time.",
)
defect(
    "a child with other inputs is taken for the same",
    "orchestrator/children.py",
    "    if changed or wanted != known.workflow_id:\n",
    "    if wanted != known.workflow_id:\n",
    CHILDREN + "test_other_inputs_for_the_same_child_are_refused",
    why="A step gets the output for the inputs of an earlier attempt.",
)
defect(
    "a failed child is taken for good",
    "orchestrator/children.py",
    "if known.status not in _STARTED_AGAIN:",
    "if known.status is not None:",
    CHILDREN + "test_a_later_attempt_starts_a_failed_child_again",
    why="Retries of a step that waits for a child are of no use.",
)
defect(
    "a child whose wait is cancelled goes on",
    "orchestrator/children.py",
    "if not call.attempt.cancelled:  # the wait alone was cancelled",
    "if call.attempt.cancelled:",
    CHILDREN + "test_a_child_whose_wait_is_cancelled_is_cancelled",
    why="Children that nobody waits for any longer go on.",
)
defect(
    "a compensator finds the child of its step",
    "orchestrator/children.py",
    'undoes = "compensate" if attempt.compensates else ""',
    'undoes = ""',
    CHILDREN + "test_a_compensator_has_children_of_its_own",
    why="An undoing that runs the same workflow as its step does nothing.",
)
defect(
    "a child outlives the deadline of its parent",
    "orchestrator/requests.py",
    "timeout = left if timeout is None else min(timeout, left)",
    "timeout = left if timeout is None else timeout",
    CHILDREN + "test_a_child_has_the_earlier_deadline_of_the_two",
    why="A parent times out while its child goes on.",
)
defect(
    "an owner looks for requests only when it renews its lease",
    "state/sql/watching/watcher.py",
    "if signal.asked and self._owns and",
    "if signal.asked and not self._owns and",
    "tests/state/sql/test_watching.py::test_an_owner_hears_of_a_request_before_it_renews_its_lease",
    why="A run elsewhere goes on for seconds after it was cancelled.",
)
defect(
    "a take-over is not counted",
    "state/sql/writing/group.py",
    '"takeovers": runs.c.takeovers + sa.case((_died(owner), 1), else_=0),',
    '"takeovers": runs.c.takeovers,',
    "tests/state/sql/test_takeovers.py::test_each_take_over_from_a_dead_owner_counts",
    why="A run that kills its processes is taken over for ever.",
)
defect(
    "an owner that has recorded nothing is counted",
    "state/sql/writing/group.py",
    "runs.c.last_event > runs.c.claimed_event,",
    "runs.c.last_event >= runs.c.claimed_event,",
    "tests/state/sql/test_takeovers.py::test_an_owner_that_has_recorded_nothing_is_not_counted",
    why="A run is given up for processes that died before they came to it.",
)
defect(
    "a run that has begun waits for its time again",
    "state/sql/writing/turns.py",
    "runs.c.start_at <= database_time(dialect), begun)",
    "runs.c.start_at <= database_time(dialect))",
    "tests/state/sql/test_takeovers.py::"
    "test_a_run_that_has_begun_is_taken_though_the_clock_was_set_back",
    why="A run with a key stands still after a crash until the clock has caught up.",
)
defect(
    "a waiting run that began elsewhere waits for ever",
    "orchestrator/takeover.py",
    "if run_id in live and run_id not in live.waiting:",
    "if run_id in live:",
    "tests/testing/test_cluster.py::"
    "test_a_waiting_run_that_began_elsewhere_goes_on_where_it_waited",
    "tests/orchestrator/test_takeover.py::"
    "test_a_waiting_run_that_began_elsewhere_goes_on_where_it_waited",
    why="A run for later is lost to a process that stood still as its time came.",
)
defect(
    "a lease is renewed only when it is over",
    "state/leases.py",
    "_RENEWALS: Final = 3",
    "_RENEWALS: Final = 1",
    "tests/testing/test_cluster.py::test_a_signal_that_is_lost_is_made_up_for_by_the_next_renewal",
    why="Healthy orchestrators lose their runs to each other.",
)


# ── Keys and times ───────────────────────────────────────────────────────────────────────────

KEYS = "tests/state/test_keys.py::"
DEFERRED = "tests/orchestrator/test_deferred.py::"

defect(
    "a queued run is not looked at when the running one has ended",
    "state/keys.py",
    "                self._look_at(self.waiting[slots.queued])\n",
    "                pass\n",
    DEFERRED + "test_a_queued_run_starts_when_the_running_one_has_ended",
    why="A run that is queued behind another one with its key stays pending for ever.",
)
defect(
    "a debounced run takes the inputs of another version",
    "state/keys.py",
    "same and queued.terms.debounce",
    "queued.terms.debounce",
    DEFERRED + "test_a_debounced_run_of_another_version_is_replaced",
    why="After a deploy, the old version runs with the inputs of the new one.",
)
defect(
    "an ended run keeps its key",
    "state/sql/writing/group.py",
    "sa.case((given.c.finished_at.is_(None), runs.c.key_slot))",
    "runs.c.key_slot",
    DEFERRED + "test_a_key_returns_the_live_run_by_default",
    why="A key can be used once.",
)
defect(
    "a refused key reserves the idempotency key",
    "state/sql/writing/group.py",
    "                    reserved.rollback()\n",
    "                    pass\n",
    DEFERRED + "test_a_refused_key_reserves_no_idempotency_key",
    why="A request that was refused is lost: its repetition returns a run that does not exist.",
)
defect(
    "a debounced run keeps its first inputs",
    "state/sql/writing/turns.py",
    "            **entry.strings,\n",
    "",
    DEFERRED + "test_requests_are_debounced_to_one_run_with_the_last_inputs",
    why="The last inputs are lost without a word.",
)
defect(
    "a request that was merged is not merged again after a commit that failed",
    "state/sql/writing/writer.py",
    "            if len(duplicates) == len(batch):\n",
    "            if len(duplicates) > len(batch):\n",
    KEYS + "test_the_last_inputs_survive_a_commit_that_fails",
    why="The last inputs are lost when the database restarts at the wrong moment.",
)
defect(
    "a key is reused while its run is in progress",
    "state/sql/writing/reservations.py",
    "connection.execute(query).scalar_one_or_none() in _ENDED_BADLY",
    "connection.execute(query).scalar_one_or_none() is not None",
    KEYS + "test_an_idempotency_key_is_reused_only_after_a_bad_end",
    why="A request that is repeated while it is worked on is worked on twice.",
)
defect(
    "a search sleeps over the next due run",
    "orchestrator/takeover.py",
    "        return min(self._every, max(due, _SHORTEST))\n",
    "        return self._every\n",
    DEFERRED + "test_an_enqueued_run_is_taken_when_it_is_due",
    why="Runs for later start late by up to recover_every.",
)
defect(
    "runs are taken before their time",
    "state/sql/writing/turns.py",
    "sa.or_(runs.c.start_at.is_(None), runs.c.start_at <= database_time(dialect), begun)",
    "sa.true()",
    KEYS + "test_keys_in_a_database_behave_like_the_twin",
    why="A run for tomorrow starts at once where a daemon looks for runs.",
)
defect(
    "a queued run keeps its place",
    "orchestrator/starter.py",
    "            self._admission.leave(ticket)\n        self._wake()\n",
    "            pass\n        self._wake()\n",
    DEFERRED + "test_a_queued_run_holds_no_place",
    why="Runs that wait for others with their key fill the orchestrator.",
)
defect(
    "a resumed run runs beside another one with its key",
    "orchestrator/takeover.py",
    "                            runtime.powers.deferral.occupy(run_id)\n",
    "                            pass\n",
    DEFERRED + "test_a_failed_run_is_resumed_only_while_its_key_is_free",
    why="Two runs work on one document at once.",
)


# ── Finding runs ─────────────────────────────────────────────────────────────────────────────

IN_TABLES = "tests/state/sql/test_finding.py::"

defect(
    "a page leaves out runs of the instant in which the page before it ended",
    "state/sql/finding.py",
    "sa.or_(ordered.c.created_at < created_at, ordered.c.run_id > run_id)",
    "ordered.c.created_at < created_at",
    IN_TABLES + "test_pages_go_on_within_an_instant",
    why="A program that reads all runs page by page misses some.",
)
defect(
    "a filter by the number 1 finds True",
    "model/attributes.py",
    '        return "boolean", "true" if value else "false"\n',
    '        return "number", repr(int(value))\n',
    "tests/model/test_attributes.py::test_values_have_one_key_if_they_are_equal_and_of_one_kind",
    why="A cancellation of all runs with priority=1 takes those with priority=True along.",
)
defect(
    "an attribute that was removed still finds its run",
    "state/sql/attributes.py",
    "attributes.c.name.in_(list(changes))",
    "attributes.c.name.in_([name for name, it in changes.items() if it is not None])",
    IN_TABLES + "test_a_run_is_found_by_its_new_attributes_alone",
    why="A search by tenant has runs that belong to none.",
)
defect(
    "a run whose attributes match is found while it is purged",
    "state/sql/finding.py",
    "        statement = self._where(WITH_OWNER, NOT_PURGED, owned=True)\n",
    "        statement = self._where(WITH_OWNER, owned=True)\n",
    IN_TABLES + "test_a_run_that_is_being_purged_is_neither_found_nor_counted",
    why="A listing has runs that snapshot() does not find.",
)
defect(
    "a parked run has no time",
    "state/sql/writing/group.py",
    '{"parked": _PARKED, "parked_since": self._now}',
    '{"parked": _PARKED}',
    IN_TABLES + "test_a_run_is_parked_since_a_time_of_the_database",
    why="Nothing says for how long a run has been stuck.",
)
defect(
    "a deployment logs every run that it parks for a moment",
    "orchestrator/takeover.py",
    "if due <= now]",
    "if due]",
    "tests/orchestrator/test_stuck.py::"
    "test_a_parked_run_is_logged_when_it_has_stayed_so_for_a_while",
    why="Warnings in the log of runs that the next daemon takes a second later.",
)
defect(
    "an outage is logged at every search",
    "orchestrator/outage.py",
    "        if self._since is None:\n            self._since = now\n            log(",
    "        if self._since is None:\n            self._since = now\n"
    "        if now:\n            log(",
    "tests/orchestrator/test_stuck.py::test_an_outage_is_logged_once_and_so_is_its_end",
    why="A traceback a second for as long as the database is down.",
)
defect(
    "a state manager gets filters that it does not know",
    "orchestrator/powers.py",
    "        if unknown:\n            problem = f",
    "        if not names:\n            problem = f",
    "tests/orchestrator/test_finding_runs.py::"
    "test_a_filter_that_a_state_manager_does_not_know_is_refused",
    why="A TypeError from within, where an error that says what to do belongs.",
)
defect(
    "several runs are cancelled without consent",
    "cli/bulk.py",
    "        if self.yes or len(self.runs) == 1:\n",
    "        if self.yes or self.runs:\n",
    "tests/cli/test_many_runs.py::test_several_runs_are_cancelled_after_consent_only",
    why="A filter that was typed too wide cancels a day's work.",
)
defect(
    "following a run ends before the run",
    "cli/following.py",
    "    return last.kind in _ENDS\n",
    "    return last.kind in _ENDS or last.step_id is None\n",
    "tests/cli/test_many_runs.py::test_a_run_that_is_resumed_is_followed_further",
    why="`runs events --follow` says nothing of what happens after a resumption.",
)


# ── Schedules ────────────────────────────────────────────────────────────────────────────────

TIMES = "tests/schedules/test_times.py::"
FIRING = "tests/schedules/test_firing.py::"
SCHEDULES = "tests/orchestrator/test_schedules.py::"

defect(
    "a gap of daylight saving fires an hour late",
    "schedules/times.py",
    "    return float(late)\n",
    "    return moment\n",
    f"{TIMES}test_a_time_that_is_left_out_or_comes_twice_fires_once",
    f"{FIRING}test_a_nightly_schedule_fires_each_night_of_a_year",
    why="In the night of the change, a schedule fires later than at the end of the gap.",
)
defect(
    "a local time that comes twice fires the second time",
    "schedules/times.py",
    "    moment = local.replace(tzinfo=zone, fold=0).timestamp()\n",
    "    moment = local.replace(tzinfo=zone, fold=1).timestamp()\n",
    f"{TIMES}test_a_time_that_is_left_out_or_comes_twice_fires_once",
    f"{TIMES}test_any_times_around_a_change_agree_with_the_walk",
    why="In autumn a schedule fires an hour late.",
)
defect(
    "times that a change leaves out fire one by one",
    "schedules/times.py",
    "            if at > last:\n",
    "            if at >= last:\n",
    f"{TIMES}test_times_that_a_change_leaves_out_fire_together_with_the_one_at_its_end",
    why="Nominal times of one moment fire, or are counted, several times.",
)
defect(
    "two firings wait for one run",
    "schedules/firing.py",
    'elif overlap == "skip" or (overlap == "queue" and self._queued is not None):',
    'elif overlap == "skip":',
    f"{FIRING}test_queue_lets_one_wait",
    why="With overlap='queue', the first one that waits is dropped for the newest.",
)
defect(
    "the first of several due firings is not seen as running",
    "schedules/firing.py",
    "        return self._running or bool(self._pending)\n",
    "        return self._running\n",
    f"{FIRING}test_each_nominal_time_is_fired_skipped_or_missed_once_and_in_order",
    why="Runs of a schedule that must not overlap start together after a pause of the process.",
)
defect(
    "what is too late fires all the same",
    "schedules/firing.py",
    "        if late > self._definition.catch_up:\n",
    "        if late > 2 * self._definition.catch_up:\n",
    f"{FIRING}test_each_nominal_time_is_fired_skipped_or_missed_once_and_in_order",
    why="After a long downtime, runs start for nominal times beyond catch_up.",
)
defect(
    "two daemons write one decision",
    "state/sql/schedule_rows.py",
    "sa.and_(schedules.c.name == name, schedules.c.revision == revision)",
    "sa.and_(schedules.c.name == name)",
    f"{SCHEDULES}test_a_pause_at_the_moment_of_a_decision_prevails",
    why="A decision overwrites what another process has written, such as a pause.",
)
defect(
    "a firing has a key of its own",
    "orchestrator/firing.py",
    '        "idempotency_key": key_of(definition.name, at),\n',
    "",
    f"{SCHEDULES}test_each_nominal_time_is_one_run",
    f"{SCHEDULES}test_a_crash_between_the_decision_and_the_start_loses_nothing",
    why="A process that dies between start and record has its run started again by another.",
)
defect(
    "a run that cannot start now is given up",
    "orchestrator/firing.py",
    "        except (OrchestratorClosed, *_PASSES):\n",
    "        except OrchestratorClosed:\n",
    f"{SCHEDULES}test_a_run_that_cannot_start_now_is_started_later",
    f"{SCHEDULES}test_a_full_orchestrator_starts_the_run_later",
    why="A firing is missed because the orchestrator was full at that moment.",
)
defect(
    "the thread of schedules stays",
    "orchestrator/firing.py",
    "                if pause is None and self._leave():\n",
    "                if pause is None and self.over and self._leave():\n",
    f"{SCHEDULES}test_there_is_a_thread_only_while_there_are_schedules",
    why="A thread is left after the last schedule was deleted.",
)


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────

PAUSES = "tests/scheduling/test_pauses.py::"
PAUSING = "tests/orchestrator/test_pausing.py::"
MIXED = "tests/orchestrator/test_mixed_waits.py::"
MIDWAY = "tests/orchestrator/test_pausing_midway.py::"
DRAWN = "tests/testing/test_pauses.py::test_drawn_scenarios_with_many_pauses_keep_the_laws"

defect(
    "what becomes ready in a pause starts",
    "scheduling/pauses.py",
    "        self._starts.withhold()\n",
    "",
    f"{PAUSES}test_what_is_in_flight_ends_and_its_dependents_wait",
    f"{PAUSES}test_a_retry_waits_for_the_end_of_the_pause",
    DRAWN,
    why="A paused run goes on.",
)
defect(
    "what waits for a worker is not withdrawn",
    "scheduling/pauses.py",
    "        self._starts.withdraw(run)\n",
    "",
    f"{PAUSES}test_what_waits_for_a_worker_is_withdrawn",
    f"{PAUSES}test_what_waits_for_the_sync_lane_is_withdrawn",
    why="A step that was ready when its run was paused starts in the pause.",
)
defect(
    "a suspended attempt is forgotten",
    "scheduling/starts.py",
    "        for known in run.suspended.values():\n            if known.woken:\n",
    "        for known in run.suspended.values():\n            if known.woken and not run.steps:\n",
    f"{PAUSES}test_a_suspended_attempt_does_not_continue",
    why="A step whose child ends in a pause never continues.",
)
defect(
    "a pause counts for nothing",
    "scheduling/pauses.py",
    "        run.hold.count(run)\n",
    "",
    f"{PAUSES}test_a_paused_run_does_not_complete",
    DRAWN,
    why="A paused run completes.",
)
defect(
    "a paused run keeps its place",
    "scheduling/pauses.py",
    "                run.active, run.away = False, True\n                self._waiting.release()\n",
    "                run.active, run.away = True, False\n",
    f"{PAUSES}test_a_paused_run_gives_its_place_back_when_nothing_of_it_is_in_flight",
    why="Paused runs fill an orchestrator.",
)
defect(
    "a frozen deadline is not moved",
    "scheduling/pauses.py",
    "self._deadlines.set(hold.deadline + later, Due.RUN, run.run_id)",
    "self._deadlines.set(hold.deadline, Due.RUN, run.run_id)",
    f"{PAUSES}test_a_frozen_deadline_is_moved_by_the_pause",
    why="A run fails by its timeout as soon as its frozen pause is over.",
)
defect(
    "a backoff goes on in a frozen pause",
    "scheduling/endings.py",
    "            self._deadlines.cancel(step.backoff)  # set again when the pause is over\n",
    "            pass\n",
    f"{PAUSES}test_a_backoff_that_begins_in_a_frozen_pause_begins_after_it",
    why="A retry comes too early after a frozen pause.",
)
defect(
    "a clock that stands still has run out",
    "scheduling/endings.py",
    "deadline is not None and deadline[2] is not None and deadline[0] <= ended_at",
    "deadline is not None and deadline[0] <= ended_at",
    f"{PAUSES}test_a_compensator_does_not_time_out_by_a_clock_that_stands_still",
    why="A compensator that works times out in a frozen pause.",
)
defect(
    "a left run forgets that it is paused",
    "scheduling/pauses.py",
    "                self._forget(run)  # it has ended, or is left\n",
    "                self._drop(run)\n",
    f"{PAUSES}test_a_paused_run_that_is_left_can_be_cancelled",
    why="A run that was paused, left and cancelled never ends.",
)
defect(
    "a run takes the place that its child needs",
    "scheduling/pauses.py",
    "        elif run.family is not None and run.family.undoing is not None:\n",
    "        elif run.family is not None and run.family.undoing == '':\n",
    f"{PAUSES}test_a_run_leaves_its_place_to_the_child_that_is_undone",
    why="A run that is unpaused while its child is undone waits for it for ever.",
)
defect(
    "pauses are told in any order",
    "orchestrator/changing.py",
    "        with self._pauses.in_order:\n",
    "        if True:\n",
    f"{MIDWAY}test_the_supervisor_hears_last_what_is_recorded_last",
    why="A run stays paused although it was unpaused last.",
)
defect(
    "each pause is a message",
    "orchestrator/pausing.py",
    "        if under_way:\n",
    "        if under_way and pause == ():\n",
    f"{PAUSING}test_one_message_of_a_run_is_under_way",
    why="Memory grows with the number of pauses that the loop has not heard of.",
)
defect(
    "a paused run is taken",
    "state/sql/pausing.py",
    "sa.or_(runs.c.paused.is_(None), runs.c.cancel_asked.is_not(None), has_overrun)",
    "sa.or_(runs.c.run_id.is_not(None), runs.c.cancel_asked.is_not(None))",
    f"{PAUSING}test_a_paused_run_without_an_owner_is_left_where_it_is",
    why="Every daemon takes paused runs up, which fill its memory.",
)
defect(
    "a paused run without an owner has all the time in the world",
    "state/sql/pausing.py",
    "runs.c.cancel_asked.is_not(None), has_overrun)",
    "runs.c.cancel_asked.is_not(None))",
    f"{MIXED}test_the_timeout_of_an_evicted_run_passes_within_its_pause",
    why="Whoever waits for it waits until the end of the pause.",
)
defect(
    "the clock of an evicted run does not stand still",
    "state/sql/pausing.py",
    "        _postpone(connection, run_id, now)\n",
    "",
    f"{MIXED}test_the_clock_of_an_evicted_run_stands_still",
    why="It times out at the end of a long pause that was to freeze.",
)
defect(
    "a cancellation that meets an eviction is lost",
    "orchestrator/evicting.py",
    "            self._work(self._cancel_evicted(asked))",
    "            pass",
    f"{MIXED}test_a_cancellation_that_meets_an_eviction_is_not_lost",
    why="The run waits for ever, and so does whoever has cancelled it.",
)
defect(
    "a run that was taken over is cancelled by its former owner",
    "orchestrator/evicting.py",
    "asked is not None and not asked.kept and",
    "asked is not None and",
    f"{MIXED}test_what_is_asked_by_the_record_is_left_to_the_record",
    why="Every takeover would end in a cancellation.",
)
defect(
    "run_async leaves an evicted run",
    "orchestrator/launch.py",
    "                    await left.cancel_async(why)\n",
    "",
    f"{MIXED}test_run_async_cancels_an_evicted_run",
    why="A run of which nobody knows waits for ever.",
)
defect(
    "a parent that goes on elsewhere leaves a trace",
    "orchestrator/family.py",
    "            self._children.setdefault(run_id, {})  #",
    "            #",
    f"{MIXED}test_an_evicted_parent_finds_its_child",
    why="A daemon that takes up many of them runs out of memory.",
)
defect(
    "a pause is lost with its owner",
    "state/sql/writing/group.py",
    "            **pause_kept(),\n",
    '            "paused": None,\n',
    f"{PAUSING}test_a_pause_outlasts_the_orchestrator",
    why="A paused run goes on when another orchestrator has it.",
)
defect(
    "a second pause counts as lifted",
    "state/memory_pauses.py",
    "        event.number > last and event.kind is unpaused and",
    "        event.number > 0 and event.kind is unpaused and",
    f"{PAUSING}test_a_run_in_memory_can_be_paused_again_after_a_cancellation_has_ended_a_pause",
    why="A run that is undone in memory does not look paused, and goes on after a crash.",
)


# ── Running ──────────────────────────────────────────────────────────────────────────────────


class Workshop:
    """A copy of the checkout, in which defects are planted."""

    def __init__(self, place):
        self.place = place
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, place / name)  # compiled modules, too: that saves seconds
            else:
                shutil.copy2(source, place / name)

    @contextlib.contextmanager
    def planted(self, one):
        """Have a defect in the copy while the block runs."""
        file = self.place / one.file
        self._forget_compiled(file)
        file.write_text(one.mistaken)
        try:
            yield
        finally:
            self._forget_compiled(file)
            file.write_text(one.source)

    def _forget_compiled(self, file):
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()

    def test(self, *tests):
        """Run tests in the copy; return the exit status of pytest and what it printed."""
        options = [
            "--numprocesses=0",
            "--quiet",
            "--show-capture=no",
            "--tb=no",
            "-rfE",
            "-pno:cacheprovider",
            "--hypothesis-seed=0",
            f"--override-ini=faulthandler_timeout={HANGS}",
            "-mnot slow",
        ]
        if len(tests) == 1:
            options.append("--exitfirst")
        process = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": str(self.place), "COLUMNS": "1000"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return process.returncode, process.stdout


# ── Messages ─────────────────────────────────────────────────────────────────────────────────

MAILBOXES = "tests/scheduling/test_mailboxes.py::"
EVICTIONS = "tests/scheduling/test_evictions.py::"
MESSAGES = "tests/orchestrator/test_messages.py::"
EVICTED = "tests/orchestrator/test_evictions.py::"
ASLEEP = "tests/state/sql/test_evictions.py::"

defect(
    "a message is given to a failed attempt for good",
    "scheduling/mailboxes.py",
    "            for key in list(self.received):\n                self.give_back(key)\n",
    "            self.received.clear()\n",
    MAILBOXES + "test_an_attempt_gets_what_the_failed_one_before_it_got",
    why="A step that is tried again waits for ever for the message that it has got.",
)
defect(
    "a new wait takes what others have waited for",
    "scheduling/mailboxes.py",
    "        self.look(run)  # others have waited for longer for what settled steps give back\n",
    "        box.settle(run)\n",
    MAILBOXES + "test_what_a_failed_step_gives_back_goes_to_the_longest_wait",
    why="The message of a failed step goes to a step that came later than another.",
)
defect(
    "an id tells nothing",
    "state/sql/message_rows.py",
    '        if row["message_id"] is not None and self._is_known(connection, row):\n'
    "            return None\n",
    "",
    MESSAGES + "test_an_id_is_one_message",
    why="A sender that tries again is refused, after the run's end or before.",
)
defect(
    "a wait that was cancelled keeps its message",
    "scheduling/mailboxes.py",
    "        if holding is not None and holding.give_back(key):\n            self.look(run)\n",
    "        del holding\n",
    MAILBOXES + "test_what_a_forgotten_wait_got_goes_to_the_next_wait_of_its_step",
    why="A wait within asyncio.timeout() swallows a message that comes at that moment.",
)
defect(
    "a run is evicted while a step waits for something else",
    "scheduling/evictions.py",
    "waiting == run.suspended.keys()",
    "waiting",
    EVICTIONS + "test_a_run_stays_while_a_step_does_anything_else",
    why="Nothing wakes a run whose child has ended.",
)
defect(
    "a body that keeps its frame is closed",
    "scheduling/evictions.py",
    " and all(it.evict for it in waits)",
    "",
    EVICTIONS + "test_a_run_stays_while_a_step_does_anything_else",
    why="What a body did before its wait happens again, although it asked for its frame.",
)
defect(
    "an attempt that begins again gets a new number",
    "model/past.py",
    "        lives.attempts.subtract(again)\n",
    "",
    EVICTIONS + "test_an_attempt_begins_again_under_its_number",
    why="Evictions use up the attempts of steps, and ctx.attempt jumps.",
)
defect(
    "a body that begins again is not told what it was told",
    "scheduling/mailboxes.py",
    "        if reply.known:\n",
    "        if reply.known and reply.mail is None:\n",
    EVICTIONS + "test_an_attempt_begins_again_under_its_number",
    why="The record has one message as received twice.",
)
defect(
    "a wait begins its time anew",
    "scheduling/mailboxes.py",
    "            wait.until = reply.until\n",
    "            wait.until = None\n",
    EVICTIONS + "test_a_wait_that_begins_again_keeps_its_time",
    why="A wait of a week never expires in a daemon that is deployed every day.",
)
defect(
    "a cancelled run is evicted all the same",
    "scheduling/leaving.py",
    "        self._evicted.pop(run_id, None)\n        self._live[run_id]",
    "        self._live[run_id]",
    EVICTIONS + "test_a_cancelled_run_is_not_evicted_when_it_is_left_later",
    why="A run that was cancelled while it was evicted sleeps in the database.",
)
defect(
    "a message does not wake an evicted run",
    "state/sql/message_rows.py",
    "values(last_message=number, **WOKEN)",
    "values(last_message=number)",
    ASLEEP + "test_a_message_after_the_eviction_is_news",
    why="The run sleeps for ever.",
)
defect(
    "a message that comes with the eviction is lost",
    "state/sql/writing/handing_back.py",
    "            sa.func.coalesce(runs.c.last_message, 0) <= eviction.seen,\n",
    "",
    ASLEEP + "test_a_message_before_the_eviction_is_news",
    why="The run sleeps until another message comes.",
)
defect(
    "a cancellation that comes with the eviction is lost",
    "state/sql/writing/handing_back.py",
    "            runs.c.cancel_asked.is_(None),\n",
    "",
    ASLEEP + "test_a_cancellation_before_the_eviction_is_news",
    why="The run is cancelled when a message comes.",
)
defect(
    "time does not wake an evicted run",
    "state/sql/writing/group.py",
    "        connection.execute(self._wake)\n",
    "",
    ASLEEP + "test_time_is_news",
    why="Neither waits nor runs time out that are not in memory.",
)
defect(
    "the timeout of an evicted run begins anew",
    "orchestrator/requests.py",
    "        deadline = now + max(0.0, at - premises.clock.wall(now))\n",
    "        deadline = now + timeout\n",
    EVICTED + "test_the_timeout_of_a_run_is_not_begun_anew",
    why="A run with a timeout of a day lasts for a day after each message.",
)
defect(
    "a run with a child is evicted",
    "orchestrator/waits.py",
    "            if run_id in self._busy:\n",
    "            if False:\n",
    EVICTED + "test_a_run_that_waits_for_a_child_as_well_stays",
    why="Nothing wakes a run whose child has ended.",
)
defect(
    "waiting runs fill a daemon",
    "orchestrator/takeover.py",
    "        busy = len(self._life.live) - runtime.idle\n",
    "        busy = len(self._life.live)\n",
    EVICTED + "test_runs_that_wait_leave_room_for_enqueued_ones",
    why="Three runs that wait for people keep all others out.",
)


def verdict(one, status, printed):
    """Return what the tests say of a defect: "found", "hangs", or why it counts as missed."""
    if status == 0:
        return "survived"
    if "Timeout (" in printed:
        return "hangs"
    fell = [it.split()[1] for it in printed.splitlines() if it.startswith(("FAILED ", "ERROR "))]
    stood = [name for name in one.tests if not any(it.split("[")[0] == name for it in fell)]
    if status != 1 or stood:
        return f"unclear: pytest ends with {status} and says\n{printed[-2000:]}"
    return "found"


def check(chosen, say=print):
    """Plant defects one at a time; return how many were missed, all if their tests fail anyway."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="actorflow-defects.") as place:
        workshop = Workshop(Path(place))
        applicable = [one for one in chosen if one.applies]
        status, printed = workshop.test(*{name: 0 for one in applicable for name in one.tests})
        if status != 0:
            say(f"{printed}\nThe tests fail without any defect.")
            return len(chosen)
        for one in chosen:
            began = time.monotonic()
            said = "does not apply"
            if one in applicable:
                with workshop.planted(one):
                    said = verdict(one, *workshop.test(*one.tests))
            say(f"{time.monotonic() - began:5.1f} s  {one.name}: {said}")
            if said not in {"found", "hangs"}:
                missed += 1
                say("\n".join(f"         {it}" for it in (one.file, one.why, *one.tests)))
    say(f"{len(chosen) - missed} of {len(chosen)} defects found")
    return missed


def main(words=None):
    """Do as the command line says; return 0, or 1 if a defect was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.defects",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="the defects to plant")
    parser.add_argument("--all", action="store_true", help="plant every defect")
    parser.add_argument("--sample", type=int, metavar="N", help="plant this many")
    parser.add_argument("--seed", default="", help="what the sample is drawn from: any word")
    asked = parser.parse_args(words)
    named = {one.name: one for one in DEFECTS}
    if unknown := [name for name in asked.names if name not in named]:
        parser.error(f"no such defect: {', '.join(unknown)}")
    chosen = [named[name] for name in asked.names]
    if asked.all:
        chosen = list(DEFECTS)
    elif asked.sample is not None:
        chosen = random.Random(asked.seed).sample(DEFECTS, min(asked.sample, len(DEFECTS)))
    if not chosen:
        parser.error("say which: --all, --sample N, or names")
    return int(check(chosen) > 0)


if __name__ == "__main__":
    sys.exit(main())

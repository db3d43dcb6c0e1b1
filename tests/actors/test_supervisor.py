"""The supervisor's actor: it performs what its brain decides, and records before it does."""

from __future__ import annotations

from collections import deque

import pytest
from thespian.actors import ActorExitRequest, ChildActorExited, PoisonMessage

from actorflow.actors import StepActor
from actorflow.actors.run import RunActor
from actorflow.actors.step import CompensatorActor
from actorflow.definition.plan import StepPlan
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.running import ActorCrashed
from actorflow.errors.storage import InvalidAnswer, LeaseLost, NotRecorded
from actorflow.model.context import Compensation
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.messages import (
    ActorLost,
    AttemptFinished,
    BlockedLoop,
    CancelRun,
    CompensatorLost,
    LeaveRuns,
    MakeSteps,
    StepMoved,
    StepsMade,
)
from actorflow.scheduling.crashes import MOST_CRASHES
from actorflow.state import MemoryStateManager
from actorflow.systems.delivery import Cell
from tests.support.brain import flow, kinds, nothing, step, task
from tests.support.stage import HandExecutor, SimpleStage, Stage

STAGES = {"embedded": Stage, "Thespian's simple base": SimpleStage}


@pytest.fixture(params=STAGES)
def stage(request):
    """The actors on a system base."""
    stage = STAGES[request.param]()
    yield stage
    stage.actors.shutdown() if request.param != "embedded" else stage.system.close()


def lesson():
    """A sync step, three async ones, a sync one."""
    branches = ("process", "enrich", "analyze")
    return flow(
        step("fetch"),
        *[task(branch, "fetch") for branch in branches],
        step("aggregate", *branches),
    )


def played(stage):
    """Let whatever runs complete, until nothing does."""
    order = []
    while stage.running:
        order += stage.running
        for step_id in stage.running:
            stage.end(step_id, f"of {step_id}")
    return order


# ── On every base ────────────────────────────────────────────────────────────────────────────


def test_the_lessons_workflow_completes(stage):
    """From its first step to its last, with every output under its own id."""
    stage.start(lesson())

    order = played(stage)

    assert ["fetch", "process", "enrich", "analyze", "aggregate"] == order
    assert {name: f"of {name}" for name in order} == stage.results["run"].outputs
    assert [] == stage.defects


def test_outputs_travel_from_step_to_step(stage):
    """By reference, under the name of the step."""

    def child(parent):
        """Never called."""

    stage.start(flow(task("parent"), Step("child", child, after=["parent"])))
    output = object()
    stage.end("parent", output)

    (attempt,) = stage.executor.running.values()
    assert output is attempt.arguments["parent"]


def test_a_failure_ends_the_run(stage):
    """Others are asked to stop, and the run ends when they have."""
    stage.start(flow(task("bad"), task("other"), task("child", "other")))
    other = stage.executor.running["run", "other"]
    stage.end("bad", error=ValueError("no"))
    before = dict(stage.results)
    stage.end("other", error=RuntimeError("stopped"))

    assert {} == before
    assert [other] == stage.executor.stopped
    assert RunStatus.FAILED is stage.results["run"].status
    assert StepStatus.CANCELLED is stage.results["run"].steps["child"].status


def test_a_skipped_step_lets_its_dependents_run(stage):
    """Without its output."""
    stage.start(flow(task("maybe", required=False), task("child", "maybe")))
    stage.end("maybe", error=ValueError("no"))

    assert ["child"] == stage.running


def test_a_cancelled_run_ends(stage):
    """When its attempts have."""
    stage.start(flow(task("a"), task("b", "a")))
    stage.cancel()
    stage.end("a", error=RuntimeError("stopped"))

    assert RunStatus.CANCELLED is stage.results["run"].status


def test_runs_beside_each_other_do_not_mix(stage):
    """Equal steps of equal workflows, each with its own output."""
    for number in range(3):
        stage.start(flow(task("a"), task("b", "a")), f"run {number}")
    for step_id in "ab":
        for number in (2, 0, 1):
            stage.end(step_id, (step_id, number), run_id=f"run {number}")

    assert {f"run {n}": {"a": ("a", n), "b": ("b", n)} for n in range(3)} == {
        run_id: dict(result.outputs) for run_id, result in stage.results.items()
    }


def test_a_workflow_ends_alike_on_every_base():
    """The same events, but for their times."""
    stages = [make() for make in STAGES.values()]
    for stage in stages:
        stage.start(lesson())
        played(stage)

    first, second = ([str(event) for event in stage.state.events("run")] for stage in stages)
    assert first == second
    stages[1].actors.shutdown()


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


def test_timeouts_fire_while_nothing_else_happens():
    """One wakeup is enough for the earliest deadline."""
    stage = Stage()
    stage.start(flow(task("a", timeout=2.0)))
    attempt = stage.executor.running["run", "a"]

    stage.loop.advance(1.9)
    early = list(stage.executor.stopped)
    stage.loop.advance(0.2)

    assert [] == early
    assert [attempt] == stage.executor.stopped


def test_an_earlier_deadline_than_the_awaited_one_is_kept():
    """The wakeup for the later one is under way already."""
    stage = Stage()
    stage.start(flow(task("late", timeout=100.0)))
    stage.start(flow(task("soon", timeout=2.0)), "other")

    stage.loop.advance(2.1)

    assert ["soon"] == [attempt.step_id for attempt in stage.executor.stopped]


def test_a_retry_comes_after_its_backoff():
    """Woken by nothing but time."""
    stage = Stage()
    policy = RetryPolicy(initial_interval=3.0, jitter=0)
    stage.start(flow(task("a", retry=policy)))
    stage.end("a", error=ValueError("no"))

    stage.loop.advance(2.9)
    early = stage.running
    stage.loop.advance(0.2)

    assert [] == early
    assert ["a"] == stage.running


def test_wakeups_do_not_pile_up():
    """Many short deadlines before a long one: each is waited for, and none leaves a timer."""
    stage = Stage()
    stage.start(flow(task("long")), "long", timeout=3600.0)
    for number in range(30):
        stage.start(flow(task("a", timeout=5.0)), f"r{number}")
        stage.end("a", run_id=f"r{number}")
        stage.loop.advance(10.0)

    assert len(stage.system._timers) <= 3


# ── Executors ────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_stopped_is_abandoned():
    """The run ends without it, and its stack is told."""
    stage = Stage(executor=HandExecutor(preemptive=False))
    stage.start(flow(task("a", timeout=2.0)))
    attempt = stage.executor.running["run", "a"]

    stage.loop.advance(2.1)

    assert [attempt] == stage.executor.abandoned
    assert RunStatus.FAILED is stage.results["run"].status
    told = [event.data for event in stage.shown if event.kind == "step.abandoned"]
    assert ["where it hangs"] == [data["stack"] for data in told]


class Brittle(HandExecutor):
    """An executor that cannot do what it is asked to."""

    def __init__(self, *broken, preemptive=True):
        super().__init__(preemptive=preemptive)
        self.broken = broken

    def stop(self, attempt):
        """Fail, or not."""
        super().stop(attempt)
        if "stop" in self.broken:
            raise OSError("cannot stop")

    def abandon(self, attempt):
        """Fail, or not."""
        if "abandon" in self.broken:
            raise OSError("cannot abandon")
        return super().abandon(attempt)


@pytest.mark.parametrize("broken", [["stop"], ["abandon"], ["stop", "abandon"]])
def test_an_executor_that_raises_makes_no_run_hang(broken):
    """A pool that is the program's own may do anything."""
    stage = Stage(executor=Brittle(*broken))
    stage.start(flow(task("a"), task("b")))

    stage.cancel()
    stage.loop.advance(60.0)

    assert ["a", "b"] == [attempt.step_id for attempt in stage.executor.stopped]
    assert RunStatus.CANCELLED is stage.results["run"].status
    assert 5 == stage.brain.workers.free


def test_a_report_of_a_blocked_loop_becomes_an_event():
    """The watchdog's words reach the record."""
    stage = Stage()
    stage.start(flow(task("a")))
    stage.tell(BlockedLoop(stage.executor.running["run", "a"], 0.7, "here"))
    stage.settle()

    assert "step.blocking a" == kinds(stage.state.events("run"))[-1]


# ── Recording ────────────────────────────────────────────────────────────────────────────────


class Slow(MemoryStateManager):
    """A state manager that commits when the test says so."""

    def __init__(self):
        super().__init__()
        self.waiting = deque()

    def record(self, events, done):
        """Keep the events back."""
        self.waiting.append((events, done))
        return False

    def commit(self):
        """Record the oldest batch."""
        events, done = self.waiting.popleft()
        super().record(events, done)
        done(None)


def test_nothing_is_done_before_it_is_recorded():
    """No attempt starts and no event is shown before the record has both."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a")))
    seen = []
    while stage.state.waiting:
        seen.append((stage.running, kinds(stage.shown)))
        stage.state.commit()
        stage.settle()

    assert [([], [])] == seen
    assert ["a"] == stage.running


def test_no_dependent_hears_of_an_output_before_it_is_recorded():
    """Law 26, seen by the dependent."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a"), task("b", "a")))
    _commit_all(stage)
    stage.end("a", 1)
    before = stage.running
    _commit_all(stage)

    assert [] == before
    assert ["b"] == stage.running


def _commit_all(stage):
    while stage.state.waiting:
        stage.state.commit()
        stage.settle()


def test_a_run_ends_for_its_handle_when_its_end_is_recorded():
    """Not a moment before."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a")))
    _commit_all(stage)
    stage.end("a", 1)
    before = dict(stage.results)
    _commit_all(stage)

    assert {} == before
    assert RunStatus.COMPLETED is stage.results["run"].status


def test_what_is_decided_meanwhile_waits_in_order():
    """Also what needs no record itself: effects keep the order of decisions."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a")), "one")
    stage.start(flow(task("a")), "two")
    stage.cancel("one")
    _commit_all(stage)

    assert [] == stage.defects
    assert ["one", "two"] == [one.scope.run_id for one in stage.executor.submissions]
    assert ["one"] == [one.scope.run_id for one in stage.executor.stopped]


def test_an_attempt_that_is_stopped_before_it_was_submitted_is_over_at_once():
    """Its grant and its data are on the way; its step never runs, and no grace is waited for."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a"), task("b", "a", compensate=nothing)))
    _commit_all(stage)
    stage.end("a", 1)
    stage.cancel()
    while stage.state.waiting:
        stage.state.commit()
    stage.settle()
    _commit_all(stage)

    assert ["a"] == [attempt.step_id for attempt in stage.executor.submissions]
    assert [] == stage.executor.stopped
    assert RunStatus.CANCELLED is stage.results["run"].status
    assert StepStatus.CANCELLED is stage.results["run"].steps["b"].status
    assert (5, []) == (stage.brain.workers.free, stage.defects)


@pytest.mark.parametrize("victim", ["a", "b", "the run's actor"])
@pytest.mark.parametrize("when", ["before the end", "before the commit", "after the commit"])
def test_no_death_around_a_commit_loses_a_decision(victim, when):
    """What is decided and not sent yet, or sent and not received: the ledger says it again."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a"), Step("b", takes_a, after=["a"], async_=True)))
    _commit_all(stage)

    def die(moment):
        if when == moment and victim == "the run's actor":
            run_actor = stage.supervisor.actor._run_actors["run"]
            stage.system.post(run_actor, ActorExitRequest(), stage.system.system_cell)
        elif when == moment:
            stage.kill(victim)

    die("before the end")
    stage.end("a", "of a")
    die("before the commit")
    stage.loop.iterate()
    while stage.state.waiting:
        stage.state.commit()
        die("after the commit")
        stage.settle()
    attempt = stage.executor.running["run", "b"]
    stage.end("b")
    _commit_all(stage)

    assert {"a": "of a"} == attempt.arguments
    assert ["a", "b"] == [attempt.step_id for attempt in stage.executor.submissions]
    assert RunStatus.COMPLETED is stage.results["run"].status
    assert (5, []) == (stage.brain.workers.free, stage.defects)


def takes_a(a):
    """The function of a step that is never called."""
    return a


@pytest.mark.parametrize("limit", ["timeout", "total_timeout"])
def test_the_clock_of_an_attempt_starts_after_the_commit(limit):
    """A slow commit costs no step its timeout: this one returns at once."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a", **{limit: 0.1}), task("b", "a", **{limit: 0.1})))
    for step_id in "ab":
        stage.loop.advance(0.2)
        _commit_all(stage)
        attempt = stage.executor.running["run", step_id]
        attempt.ended_at = stage.loop.time()
        stage.end(step_id)
    _commit_all(stage)

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert "step.timed_out" not in {event.kind for event in stage.shown}


@pytest.mark.parametrize("limit", ["timeout", "total_timeout"])
def test_the_clock_of_an_attempt_is_set_after_the_commit(limit):
    """From then on it runs, and fires though no message arrives."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a", **{limit: 0.1})))
    stage.loop.advance(0.2)
    _commit_all(stage)
    attempt = stage.executor.running["run", "a"]
    stage.loop.advance(0.09)
    early = list(stage.executor.stopped)
    stage.loop.advance(0.02)
    _commit_all(stage)

    assert 0.3 == pytest.approx(attempt.deadline)
    assert [] == early
    assert [attempt] == stage.executor.stopped


class Blocks(MemoryStateManager):
    """A state manager that takes a fifth of a second to record, and has recorded then."""

    loop = None

    def record(self, events, done):
        """Record, and let time pass."""
        self.loop._now += 0.2
        return super().record(events, done)


@pytest.mark.parametrize("limit", ["timeout", "total_timeout"])
def test_the_clock_of_an_attempt_starts_after_a_commit_that_blocks(limit):
    """It makes no difference in which way a state manager is slow."""
    state = Blocks()
    stage = Stage(state=state)
    state.loop = stage.loop
    stage.start(flow(task("a", **{limit: 0.1})))
    attempt = stage.executor.running["run", "a"]
    stage.loop.advance(0.09)
    early = list(stage.executor.stopped)
    stage.loop.advance(0.02)

    assert 0.3 == pytest.approx(attempt.deadline)
    assert [] == early
    assert [attempt] == stage.executor.stopped


def test_a_total_timeout_is_set_once():
    """A retry does not start it again, however late it was committed."""
    stage = Stage(state=Slow())
    policy = RetryPolicy(max_attempts=9, initial_interval=0.2, multiplier=1.0, jitter=0)
    stage.start(flow(task("a", total_timeout=1.0, retry=policy)))
    _commit_all(stage)
    stage.end("a", error=ValueError("no"))
    _commit_all(stage)
    stage.loop.advance(0.5)
    _commit_all(stage)

    assert 1.0 == pytest.approx(stage.executor.running["run", "a"].deadline)


def test_what_needs_no_record_waits_for_what_does():
    """Asking an attempt to stop is no event, and yet it keeps its place in the order."""
    stage = Stage(state=Slow())
    stage.start(flow(task("a"), task("b")))
    _commit_all(stage)
    stage.end("a", 1)
    stage.cancel()
    before = list(stage.executor.stopped)
    _commit_all(stage)

    assert [] == before
    assert ["b"] == [attempt.step_id for attempt in stage.executor.stopped]


def test_events_are_recorded_once_and_in_order():
    """Numbered without gaps, over everything that happened."""
    stage = Stage()
    stage.start(lesson())
    played(stage)

    events = stage.state.events("run")
    assert list(range(1, 19)) == [event.number for event in events]
    assert list(events) == stage.shown


class Full(MemoryStateManager):
    """A state manager whose disk is full, from a kind of event on, or just for once."""

    def __init__(self, moment, *, lasts, later):
        super().__init__()
        self._moment, self._lasts, self._later = moment, lasts, later
        self._full, self._spent = False, False

    def record(self, events, done):
        """Record, as long as there is room."""
        if not self._spent and any(event.kind == self._moment for event in events):
            self._full, self._spent = True, True
        if not self._full:
            return super().record(events, done)
        self._full = self._lasts
        error = OSError("no space left on device")
        if not self._later:
            raise error
        done(error)
        return False


@pytest.mark.parametrize("moment", ["step.started", "step.completed", "run.completed"])
@pytest.mark.parametrize("lasts", [True, False])
@pytest.mark.parametrize("later", [True, False])
def test_a_run_that_cannot_be_recorded_ends_and_says_so(moment, lasts, later):
    """Nothing that was not recorded is done, and no caller waits for ever."""
    stage = Stage(state=Full(moment, lasts=lasts, later=later))
    stage.start(flow(task("a"), task("b", "a"), task("c", "b")))
    started = []
    while stage.running:
        started += stage.running
        for step_id in stage.running:
            stage.end(step_id, 1)

    assert moment in str(stage.lost[0])
    assert RunStatus.FAILED is stage.results["run"].status
    assert "no space" in str(stage.results["run"].error)
    assert (5, []) == (stage.brain.workers.free, stage.defects)
    assert not stage.supervisor.children
    expected = {"step.started": [], "step.completed": ["a"], "run.completed": ["a", "b", "c"]}
    assert expected[moment] == started


@pytest.mark.parametrize("later", [True, False])
def test_a_thread_that_timed_out_is_abandoned_though_that_is_not_recorded(later):
    """It may hang for ever, and its run would wait for it."""
    stage = Stage(
        state=Full("step.timed_out", lasts=True, later=later),
        executor=HandExecutor(preemptive=False),
    )
    stage.start(flow(task("a", timeout=2.0)))
    attempt = stage.executor.running["run", "a"]

    stage.loop.advance(2.1)

    assert [attempt] == stage.executor.abandoned
    assert "no space" in str(stage.results["run"].error)
    assert 5 == stage.brain.workers.free


@pytest.mark.parametrize("later", [True, False])
def test_a_run_is_left_though_what_it_recorded_last_has_failed(later):
    """Others go on with it from what is recorded, and a shutdown does not wait for it."""
    stage = Stage(state=Full("step.completed", lasts=True, later=later))
    stage.start(flow(task("a"), task("b", "a")))
    stage.report(stage.executor.running.pop(("run", "a")), 1, None)
    stage.tell(LeaveRuns(["run"], 5.0))
    stage.settle()

    assert (["run"], {}, []) == (stage.left_runs, stage.results, stage.running)
    assert ([], 0) == (stage.defects, stage.supervisor.actor.runs)
    assert "step.started" == stage.state.events("run")[-1].kind


class Late(MemoryStateManager):
    """A state manager that has recorded when the test says so."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def record(self, events, done):
        """Keep what is to be recorded."""
        self.waiting.append((events, done))
        return False

    def commit(self):
        """Record the oldest, and say so."""
        events, done = self.waiting.pop(0)
        super().record(events, done)
        done(None)


def test_a_run_is_left_only_when_all_that_it_had_to_record_is_recorded():
    """A late commit then has no effect any more: what it granted never begins."""
    stage = Stage(state=Late())
    stage.start(flow(task("a")))
    stage.tell(LeaveRuns(["run"], 5.0))
    stage.settle()
    before = list(stage.left_runs)
    while stage.state.waiting:
        stage.state.commit()
        stage.settle()

    assert ([], ["run"]) == (before, stage.left_runs)
    assert [] == [one for one in stage.executor.submissions if not one.cancelled]
    assert "step.started" == stage.state.events("run")[-1].kind
    assert ([], 0, 5) == (stage.defects, stage.supervisor.actor.runs, stage.brain.workers.free)


def test_what_could_not_be_recorded_does_not_hurt_other_runs():
    """They go on, when there is room again."""
    stage = Stage(state=Full("step.completed", lasts=False, later=True))
    stage.start(flow(task("a")), "one")
    stage.start(flow(task("a"), task("b", "a")), "two")
    stage.end("a", run_id="one")
    stage.end("a", run_id="two")
    stage.end("b", run_id="two")

    assert RunStatus.COMPLETED is stage.results["two"].status
    assert RunStatus.COMPLETED is not stage.results["one"].status


def test_a_run_whose_writes_fail_again_is_cancelled_once(monkeypatch):
    """A second message might come when the run has been resumed."""
    stage = Stage(state=Full("step.completed", lasts=True, later=True))
    stage.start(flow(task("a"), task("b")))
    heard, supervisor = [], stage.supervisor.actor
    take = supervisor._take
    monkeypatch.setattr(supervisor, "_take", lambda message: (heard.append(message), take(message)))
    while stage.running:
        stage.end(stage.running[0])

    assert RunStatus.FAILED is stage.results["run"].status
    assert 1 == sum(isinstance(message, CancelRun) for message in heard)
    assert len(stage.lost) > 1


class Partial(MemoryStateManager):
    """A state manager that records nothing more of one run, once it is told so."""

    lost = None

    def record(self, events, done):
        """Record what belongs to the others."""
        mine = [event for event in events if event.run_id != self.lost]
        super().record(mine, done)
        if len(mine) == len(events):
            return True
        done(NotRecorded({self.lost: LeaseLost(self.lost)}))
        return False


def test_a_run_that_is_lost_takes_no_other_along():
    """What was decided in the same instant for others is recorded, and is done."""
    state = Partial()
    stage = Stage(state=state)
    stage.start(flow(task("a"), task("b", "a")), "one")
    stage.start(flow(task("a"), task("b", "a")), "two")
    state.lost = "one"
    for attempt in list(stage.executor.running.values()):
        stage.report(attempt, 1, None)
    stage.executor.running.clear()
    stage.settle()
    running = list(stage.executor.running)
    stage.end("b", run_id="two")

    assert [("two", "b")] == running
    assert RunStatus.COMPLETED is stage.results["two"].status
    assert RunStatus.FAILED is stage.results["one"].status
    assert isinstance(stage.results["one"].error, LeaseLost)
    assert (5, []) == (stage.brain.workers.free, stage.defects)


@pytest.mark.parametrize("later", [True, False])
def test_what_could_not_be_recorded_does_not_hurt_runs_that_had_nothing_to_record(later):
    """What is decided together is recorded together; a run that gets a new actor records nothing.

    Found by simulation: the new actor was never made, and the run never ended.
    """
    stage = Stage(state=Full("step.completed", lasts=False, later=later))
    stage.start(flow(task("a")), "one")
    stage.start(flow(task("a", retry=RetryPolicy(jitter=0))), "two")
    stage.end("a", error=ValueError("once"), run_id="two")
    run_actor = stage.supervisor.actor._run_actors["two"]
    finished = AttemptFinished(stage.executor.running.pop(("one", "a")), 1, None)
    outside = stage.system.system_cell
    stage.system.post(run_actor, ActorExitRequest(), outside)
    stage.system.post(stage.supervisor, finished, outside)

    stage.settle()
    stage.loop.advance(1.0)
    stage.end("a", run_id="two")

    assert RunStatus.COMPLETED is not stage.results["one"].status
    assert RunStatus.COMPLETED is stage.results["two"].status


class Choking(MemoryStateManager):
    """A state manager that takes its time for the first write, and chokes on the second."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def record(self, events, done):
        """Keep the first write for later, refuse the second, make the others."""
        self.writes.append((events, done))
        if len(self.writes) == 2:
            raise OSError("no space left on device")
        return len(self.writes) > 2 and super().record(events, done)

    def go_on(self):
        """Make the first write."""
        events, done = self.writes[0]
        super().record(events, done)
        done(None)


def test_what_cannot_be_recorded_is_given_up_after_what_was_decided_before():
    """A run that is given up first would get its actors later, and they would never end.

    Found by simulation: the actors of such a run lived for ever.
    """
    state = Choking()
    stage = Stage(state=state)
    stage.start(flow(task("a")), timeout=2.0)
    stage.loop.advance(2.0)
    before = dict(stage.results)

    state.go_on()
    stage.settle()

    assert {} == before
    assert RunStatus.FAILED is stage.results["run"].status
    assert not stage.supervisor.children


class LateAndSilent(MemoryStateManager):
    """A state manager that calls `done` but forgets to return False."""

    def record(self, events, done):
        """Record them, and say so in one of the two ways only."""
        super().record(events, done)
        done(None)


def test_a_commit_without_an_answer_acknowledges_nothing():
    """The run has failed by then, and the message finds nothing that waits for it."""
    stage = Stage(state=LateAndSilent())
    stage.start(flow(task("a")))
    stage.settle()

    result = stage.results["run"]
    assert RunStatus.FAILED is result.status
    assert str(InvalidAnswer("record", "None")) == str(result.error)
    assert [] == stage.running


# ── What arrives together ────────────────────────────────────────────────────────────────────


class Counting(MemoryStateManager):
    """A state manager that counts what it is given in one go."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def record(self, events, done):
        """Record it."""
        self.batches.append(kinds(events))
        return super().record(events, done)


def test_what_arrives_together_is_recorded_together():
    """And what arrives alone, alone; the order of events is that of the decisions."""
    stage = Stage(state=Counting())
    stage.start(flow(task("a"), task("b"), task("c", "a", "b")))
    for name in "ab":
        stage.report(stage.executor.running.pop(("run", name)), name, None)
    stage.settle()
    stage.end("c")

    assert [
        [
            "run.accepted",
            "run.started",
            "step.ready a",
            "step.ready b",
            "step.started a",
            "step.started b",
        ],
        ["step.completed a", "step.completed b", "step.ready c", "step.started c"],
        ["step.completed c", "run.completed"],
    ] == stage.state.batches


class Refusing(HandExecutor):
    """An executor that raises when it is to stop something."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def stop(self, attempt):
        """Take note, and refuse."""
        super().stop(attempt)
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("no")])
def test_an_effect_that_goes_wrong_leaves_the_others_alone(error):
    """Whatever one run's executor raises, another run's step is stopped all the same."""
    stage = Stage(executor=Refusing(error))
    stage.start(flow(task("a")), "one")
    stage.start(flow(task("a")), "two")
    stage.tell(CancelRun("one", "enough", None))
    stage.tell(CancelRun("two", "enough", None))
    stage.settle()

    assert ["one", "two"] == [attempt.scope.run_id for attempt in stage.executor.stopped]
    assert 2 == len(stage.defects) + len(stage.complaints)


# ── Defects ──────────────────────────────────────────────────────────────────────────────────


def test_a_defect_is_reported_and_not_raised():
    """An exception out of an actor would be answered by Thespian, not by us."""
    stage = Stage()
    stage.tell(BlockedLoop(None, 1.0, ""))
    stage.settle()

    ((message, error),) = stage.defects
    assert isinstance(message, BlockedLoop)
    assert isinstance(error, AttributeError)


def breaks(monkeypatch, step_id, handler, *, times=1):
    """Make the first actors of a step unable to handle a kind of message."""
    original, broken = getattr(StepActor, handler), []

    def handle(self, message, *sender):
        is_its = getattr(message, "step_id", None) == step_id
        if is_its and self not in broken and len(broken) < times:
            broken.append(self)
        if is_its and self in broken:
            raise MemoryError("no room for it")
        original(self, message, *sender)

    monkeypatch.setattr(StepActor, handler, handle)
    return broken


@pytest.mark.parametrize(
    ("named", "handler"), [("a", "_dependency_completed"), ("b", "_submit"), ("a", "_submit")]
)
def test_a_step_actor_that_cannot_handle_a_message_is_replaced(stage, monkeypatch, named, handler):
    """Its data, its grant, or its first message: the new actor is told everything again."""
    broken = breaks(monkeypatch, named, handler)
    stage.start(flow(task("a"), task("b", "a"), task("c", "b")))

    order = played(stage)

    assert 1 == len(broken)
    assert ["a", "b", "c"] == order
    assert RunStatus.COMPLETED is stage.results["run"].status
    assert 1 == stage.results["run"].steps["b"].attempts
    assert (5, []) == (stage.brain.workers.free, stage.defects)


def test_a_step_actor_that_breaks_while_another_is_replaced_is_replaced_as_well(monkeypatch):
    """At that moment only the run's actor knows the addresses."""
    broken = breaks(monkeypatch, "a", "_dependency_completed")
    stage = Stage()
    stage.start(flow(task("a"), task("b", "a"), task("c", "b")))
    settled, unknown = StepActor._settled, []

    def settle(self, message, sender):
        stage.kill("c")
        settled(self, message, sender)

    def is_broken(message):
        unknown.append(stage.brain.runs["run"].addresses is None)
        handle(message)

    supervisor = stage.supervisor.actor
    handle = supervisor._broken
    monkeypatch.setattr(StepActor, "_settled", settle)
    monkeypatch.setattr(supervisor, "_broken", is_broken)
    stage.end("a")

    assert [True] == unknown
    assert 1 == len(broken)
    assert ["b"] == stage.running


def test_a_step_whose_actors_break_again_and_again_fails(stage, monkeypatch):
    """Its worker is released, and the run ends; it was never submitted."""
    broken = breaks(monkeypatch, "a", "_dependency_completed", times=99)
    stage.start(flow(task("a"), task("b", "a")))
    stage.end("a")

    assert MOST_CRASHES < len(broken) < 99
    assert RunStatus.FAILED is stage.results["run"].status
    assert isinstance(stage.results["run"].error, ActorCrashed)
    assert (5, []) == (stage.brain.workers.free, stage.defects)


def test_a_run_actor_that_cannot_handle_its_first_message_is_replaced(stage, monkeypatch):
    """All of the run's steps get actors from the next one."""
    original, broken = RunActor._make_steps, []

    def make_steps(self, message, supervisor):
        if not broken or broken == [self]:
            broken[:] = [self]
            raise MemoryError("no room for it")
        original(self, message, supervisor)

    monkeypatch.setattr(RunActor, "_make_steps", make_steps)
    stage.start(lesson())
    order = played(stage)

    assert 1 == len(broken)
    assert 5 == len(order)
    assert RunStatus.COMPLETED is stage.results["run"].status
    assert (1, []) == (stage.brain.workers.free - 4, stage.defects)


def test_a_report_of_a_runs_former_actor_is_not_believed():
    """Its messages may be slower than its death: its steps' actors are dead, too."""
    stage = Stage()
    stage.start(flow(task("a"), task("b", "a")))
    former = stage.supervisor.actor._run_actors["run"]
    dead = dict(former.actor._addresses)
    stage.system.post(former, ActorExitRequest(), stage.system.system_cell)
    stage.settle()
    run = stage.brain.runs["run"]
    known, crashes = run.addresses, run.steps["b"].crashes
    for report in (
        StepsMade("run", dead),
        StepMoved("run", "a", dead),
        ActorLost("run", "b", "the actor exited"),
        CompensatorLost(stage.executor.running["run", "a"], "the actor exited"),
    ):
        stage.system.post(stage.supervisor, report, former)
    stage.settle()

    assert known is run.addresses is not dead
    assert crashes == run.steps["b"].crashes
    assert 0 == stage.brain.late
    assert ["a", "b"] == played(stage)


@pytest.mark.parametrize("order", ["in order", "backwards"])
def test_an_exit_is_known_by_who_was_asked_to_exit(order):
    """In whatever order they exit; an actor that was not asked is replaced all the same."""
    stage = Stage()
    run_ids = [f"run {number}" for number in range(5)]
    for run_id in run_ids:
        stage.start(flow(task("a")), run_id)
    supervisor = stage.supervisor.actor
    addresses = [supervisor._run_actors[run_id] for run_id in run_ids]
    asked = addresses[:4]
    supervisor._leaving.extend(asked)
    for address in asked:
        del supervisor._run_actors[run_ids[addresses.index(address)]]
    exits = addresses if order == "in order" else addresses[::-1]
    for address in exits:
        stage.system.post(stage.supervisor, ChildActorExited(address), stage.system.system_cell)
    stage.settle()

    assert not supervisor._leaving
    assert ["run 4"] == list(supervisor._run_actors)
    assert addresses[4] != supervisor._run_actors["run 4"]


def test_the_exits_of_ten_thousand_run_actors_cost_one_comparison_each(monkeypatch):
    """They exit in the order in which they were asked; nothing walks over the other runs."""
    many, others = 10_000, 100
    stage = Stage(async_workers=many + others, max_active_runs=many + others)
    workflow = flow(task("a"))
    for number in range(others + many):
        stage.start(workflow, f"run {number}")
    attempts = list(stage.executor.running.values())[others:]
    compared = []

    def equals(self, other):
        compared.append(self)
        return self is other

    monkeypatch.setattr(Cell, "__eq__", equals)
    for attempt in attempts:
        stage.report(attempt, 1, None)
    stage.settle()

    assert many == len(stage.results)
    assert others == len(stage.supervisor.children)
    assert not stage.supervisor.actor._leaving
    assert len(compared) <= many


def test_a_poisoned_message_of_another_kind_is_a_defect():
    """It is told to the host, which can report it."""
    stage = Stage()
    stage.tell(PoisonMessage("what was it?", "why"))
    stage.settle()

    ((message, error),) = stage.defects
    assert ("what was it?", "why") == (message, str(error))


# ── Undoing ──────────────────────────────────────────────────────────────────────────────────


def saga(*others):
    """A step that can be undone, and one that fails."""
    return flow(task("a", compensate=undo), *others, task("b", "a"))


def undo(a):
    """The compensator, which gets what its step has made."""
    return a


def undone(stage, workflow):
    """Let a run fail, so that it is undone."""
    stage.start(workflow)
    if "c" in workflow.steps:
        stage.end("c")
    stage.end("a", "of a")
    stage.end("b", error=ValueError("no"))
    return stage


def test_a_compensator_runs_through_an_actor_of_its_own():
    """And through the executor, as any attempt does."""
    stage = undone(Stage(), saga())
    attempt = stage.executor.running["run", "a"]
    stage.end("a")

    assert (undo, {"a": "of a"}) == (attempt.function, dict(attempt.arguments))
    assert ("a",) == stage.results["run"].compensated
    assert [] == stage.defects


def test_the_death_of_a_compensators_actor_does_not_disturb_its_body():
    """The executor has it, and reports its end to the supervisor."""
    stage = undone(Stage(), saga())
    address, _ = stage.supervisor.actor._run_actors["run"].actor._undoing
    stage.system.post(address, ActorExitRequest(), stage.system.system_cell)
    stage.settle()
    stage.end("a")

    assert [] == stage.executor.stopped
    assert ("a",) == stage.results["run"].compensated
    assert [] == stage.defects


def test_a_compensator_whose_actor_cannot_start_it_gets_another(monkeypatch):
    """The attempt is the same, and it is submitted once."""
    original, broken = CompensatorActor._submit, []

    def submit(self, attempt):
        if not broken:
            broken.append(self)
            raise MemoryError("no room for it")
        original(self, attempt)

    monkeypatch.setattr(CompensatorActor, "_submit", submit)
    stage = undone(Stage(), saga())
    stage.end("a")

    assert 1 == len(broken)
    assert ("a",) == stage.results["run"].compensated
    assert 1 == sum(isinstance(one, Compensation) for one in stage.executor.submissions)


def test_a_compensator_whose_arguments_cannot_be_had_has_failed(monkeypatch):
    """It was never called."""
    workflow, arguments = saga(), StepPlan.arguments
    undo = workflow.plan().by_id["a"].compensation

    def raises(plan, *given):
        if plan is undo:
            raise ValueError("odd")
        return arguments(plan, *given)

    monkeypatch.setattr(StepPlan, "arguments", raises)
    stage = undone(Stage(), workflow)

    assert ("a",) == stage.results["run"].uncompensated
    assert [] == stage.running


@pytest.mark.parametrize("kind", ["run.compensating", "compensation.completed", "run.failed"])
def test_a_state_manager_that_fails_while_a_run_is_undone_ends_it(kind):
    """Whichever of the writes it is; no caller waits for ever."""
    stage = undone(Stage(state=FailsOnce(kind)), saga(task("c", compensate=nothing)))
    while stage.running:
        stage.end(stage.running[0])

    assert 1 == len(stage.lost)
    assert "run" in stage.results
    assert (0, {}) == (stage.brain.workers.held, stage.brain.runs)


def test_a_run_that_loses_its_actor_while_it_is_undone_is_undone_all_the_same():
    """What is left is undone by a new actor, and no step is made again."""
    stage = undone(Stage(), saga(task("c", compensate=nothing)))
    stage.system.post(
        stage.supervisor.actor._run_actors["run"], ActorExitRequest(), stage.system.system_cell
    )
    stage.settle()
    steps = dict(stage.supervisor.actor._run_actors["run"].actor._addresses)
    stage.end("a")
    stage.end("c")

    assert {} == steps
    assert ("a", "c") == stage.results["run"].compensated
    assert [] == stage.defects


def test_a_run_that_goes_on_to_be_undone_has_an_actor_even_if_that_is_not_recorded():
    """What comes after the write that failed is undone all the same."""
    workflow = saga(task("c", compensate=nothing))
    state = undone(Stage(state=FailsOnce("run.resumed")), workflow).state
    stage = Stage(state=state)
    stage.resume(workflow)
    stage.end("a")
    stage.end("c")

    assert ("a", "c") == stage.results["run"].compensated
    assert [] == stage.defects


class FailsOnce(MemoryStateManager):
    """A memory that cannot write one kind of event, once."""

    def __init__(self, kind):
        super().__init__()
        self.kinds = [kind]

    def record(self, events, done):
        """Fail when it is time to."""
        if self.kinds and self.kinds[0] in {event.kind for event in events}:
            self.kinds.clear()
            raise OSError("disk full")
        return super().record(events, done)


def _struck(stage, monkeypatch):
    """Let Ctrl-C strike when the stage's supervisor makes the next run's actor."""
    performing = stage.supervisor.actor._perform
    original = performing[MakeSteps]

    def interrupted(message):
        monkeypatch.undo()
        original(message)
        raise KeyboardInterrupt

    monkeypatch.setitem(performing, MakeSteps, interrupted)


def test_an_effect_that_ctrl_c_interrupts_leaves_the_deadlines_watched(monkeypatch):
    """The step times out, although nothing else happens."""
    stage = Stage()
    supervisor = stage.supervisor.actor
    original = supervisor._act

    def interrupted(events, effects, grants):
        original(events, effects, grants)
        if grants:
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(supervisor, "_act", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.start(flow(task("a", timeout=7.0)))
    stage.settle()

    assert ["a"] == stage.running
    assert [7.0] == stage.system.wakeups_of(stage.supervisor)


def test_an_effect_that_ctrl_c_interrupts_holds_up_no_later_batch(monkeypatch):
    """Batches that were recorded before their turn are performed all the same."""
    stage = Stage(state=Slow())
    for run_id in ("one", "two"):
        stage.start(flow(task("a")), run_id)
    _struck(stage, monkeypatch)
    _, second = stage.supervisor.actor._held
    second.recorded = True
    stage.state.commit()
    with pytest.raises(KeyboardInterrupt):
        stage.settle()

    assert [] == list(stage.supervisor.actor._held)
    assert {"one", "two"} == set(stage.supervisor.actor._run_actors)

"""A driver for the supervisor's brain, and the laws that hold for each of its decisions.

A few dictionaries play the actors around the brain. Nothing here sleeps or waits: a test decides
what happens next, and when.
"""

from __future__ import annotations

import contextvars

from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.errors.running import (
    ActorCrashed,
    RetryAfter,
    StepCancelled,
    TakenOverTooOften,
)
from actorflow.model.context import RunScope
from actorflow.model.families import ChildrenFound, EndChildren, UndoChild
from actorflow.model.lifecycle import (
    KEPT,
    RunStatus,
    StepStatus,
    kept_by,
    move_run,
    move_step,
)
from actorflow.model.mail import Mail, Receipts
from actorflow.model.mailing import (
    AnswerWait,
    AskEviction,
    AwaitMail,
    EvictRun,
    ForgetWait,
    MailArrived,
    RunEvicted,
)
from actorflow.model.messages import (
    AbandonAttempt,
    ActorLost,
    AttemptAbandoned,
    AttemptFinished,
    CancelRun,
    Compensate,
    CompensatorLost,
    ContinueAttempt,
    DependencyCompleted,
    Execute,
    ForStep,
    LeaveRuns,
    MakeSteps,
    PauseRun,
    ReviveStep,
    RunActorLost,
    RunFinished,
    RunLeft,
    RunStirred,
    RunUnknown,
    Settled,
    StartRun,
    StepMoved,
    StepsMade,
    StopAttempt,
    SuspendAttempt,
    Wake,
    WakeAttempt,
    run_of,
)
from actorflow.model.past import Past
from actorflow.model.pausing import Pause
from actorflow.model.records import RunRecord
from actorflow.model.results import RunResult
from actorflow.scheduling.crashes import MOST_CRASHES
from actorflow.scheduling.decisions import Decisions
from actorflow.scheduling.ledger import RunState
from actorflow.state.folding import fold

_OF_LIVES = ("past", "poison", "takeovers", "receipts", "undo")
EPOCH = 1_700_000_000.0
"""What the brain's moment 0 is called by people."""


class Place:
    """An executor, as far as the brain looks at one."""

    def __init__(self, *, preemptive):
        self.preemptive = preemptive


COROUTINES = Place(preemptive=True)
THREADS = Place(preemptive=False)


def nothing():
    """The function of a step that the brain never calls."""


def step(id, *after, **options):
    """A step that waits for the others named."""
    return Step(id, nothing, after=after, **options)


def task(id, *after, **options):
    """A step that runs beside others."""
    return step(id, *after, async_=True, **options)


def flow(*steps, **options):
    """A workflow of these steps."""
    workflow = Workflow(options.pop("id", "flow"), **options)
    for one in steps:
        workflow.add(one)
    return workflow


def scope(run_id, workflow_id="flow", **fields):
    """What the steps of a run share."""
    fields.setdefault("now", lambda: 0.0)
    return RunScope(
        run_id=run_id,
        workflow_id=workflow_id,
        inputs=fields.pop("inputs", {}),
        metadata=fields.pop("metadata", {}),
        variables=contextvars.Context(),
        **fields,
    )


def ready_run(run_id, *steps, priority=0):
    """A run whose steps are all ready."""
    plan = flow(*steps).plan()
    places = dict.fromkeys(plan.by_id, COROUTINES)
    run = RunState(StartRun(scope(run_id), plan, places, None, None, priority, None, 0))
    for one in run.steps.values():
        one.status = StepStatus.READY
    return run


def record(plan, run_id, **fields):
    """A run of this plan as it was accepted."""
    return RunRecord(
        run_id=run_id,
        workflow_id=plan.workflow_id,
        workflow_version=plan.version,
        step_ids=tuple(plan.by_id),
        last_steps=plan.last_steps,
        inputs={},
        metadata={},
        priority=fields.pop("priority", 0),
        created_at=EPOCH,
        trace_id=None,
        correlation_id=None,
        business_id=None,
        **fields,
    )


def decide(brain, message, now, wall):
    """Give a brain one message by itself, and return what it decides."""
    brain.begin(now, wall)
    brain.take(message)
    return brain.conclude()


STARTS = frozenset({"step.started", "step.continued", "compensation.started"})
OVER = frozenset(
    {
        *(f"step.{end}" for end in ("completed", "failed", "skipped", "cancelled", "retrying")),
        *(f"compensation.{end}" for end in ("completed", "failed", "retrying")),
    }
)
"""Events after which an attempt is over."""
OF_RUN_ACTORS = (StepsMade, StepMoved, ActorLost, CompensatorLost)
"""What run actors tell the supervisor: in order, and nothing after their death."""


class Home:
    """A step's actor: it submits an attempt when it has the grant and all data, once."""

    def __init__(self, run_id, step_id):
        self.run_id, self.step_id = run_id, step_id
        self.known = {}
        self.granted = None
        self.told = False
        self.alive = True


class Driver:
    """A brain, and the actors and executors that it deals with.

    What actors and executors tell the brain waits in `pending` until `settle`. What actors are told
    reaches them at once, unless `posted` is True: then it waits in `mail`, in order for each sender
    and receiver, until `deliver` or `settle`. If `recording` is True, decisions wait in `held`
    until `commit`, and so do their effects and grants.
    """

    def __init__(
        self,
        *,
        workers=2,
        places=10,
        grace=5.0,
        unit=0.5,
        ageing=None,
        recording=False,
        posted=False,
        evict_after=None,
    ):
        self.evict_after = evict_after
        self.brain = Decisions(
            async_workers=workers,
            max_active_runs=places,
            grace=grace,
            random=lambda: unit,
            ageing=ageing,
            evict_after=evict_after,
        )
        self.ageing = ageing
        self.places = places
        self.laws = Laws(self)
        self.now = 1000.0
        self.recording = recording
        self.posted = posted
        self.held = []
        self.mail = []
        self.pending = []
        self.decided = []
        self.granted = {}
        self.in_flight = {}
        self.stopped = []
        self.continued = []
        self.answers = []
        self.abandoned = []
        self.revived = []
        self.unknown = []
        self.left = []
        self.evicted = []
        self.stays = False
        self.asked = []
        self.undone = []
        self.children = {}
        self.results = {}
        self.seen = {}
        self.cut = set()
        self.events = []
        self.batches = []
        self.starts = {}
        self._homes = {}

    # ── What a test does ─────────────────────────────────────────────────────────────────────

    def start(self, workflow, run_id="run", *, priority=0, timeout=None, **options):
        """Have a run begin; in `executors` the steps are given places by id.

        In `ways` they are given the longest ways to the end; by default these are the plan's.
        """
        plan = workflow.plan()
        places = options.pop("executors", {})
        resumed, recorded = options.pop("resumed", None), options.pop("recorded", 0)
        completed, compensators = options.pop("completed", ()), options.pop("compensators", {})
        ways = options.pop("ways", plan.ways({}))
        more = {name: options.pop(name) for name in _OF_LIVES if name in options}
        timeout = plan.timeout if timeout is None else timeout
        say = self.tell if options.pop("settle", True) else self.say
        message = StartRun(
            scope=scope(run_id, plan.workflow_id, **options),
            plan=plan,
            executors={name: places.get(name, COROUTINES) for name in plan.by_id},
            deadline=None if timeout is None else self.now + timeout,
            timeout=timeout,
            priority=priority,
            resumed=resumed,
            recorded=recorded,
            completed=completed,
            compensators={
                one.id: compensators.get(one.id, COROUTINES)
                for one in plan.steps
                if one.compensation is not None
            },
            ways=ways,
            **more,
        )
        self.starts[run_id] = message
        self.laws.begin(run_id, message)
        return say(message)

    def take_over(self, workflow, run_id="run", *, takeovers=0, most=10, **options):
        """Have another brain go on with a run that was left, or whose process has died."""
        past = Past.of(self.of(run_id), takeovers)
        options.setdefault("receipts", Receipts.of(self.of(run_id), past.again))
        poison = None
        if len(past.crashes) > most:
            poison = TakenOverTooOften(run_id, past.crashes, most)
        self.crash()
        return self.resume(
            workflow, run_id, past=past, poison=poison, takeovers=takeovers, **options
        )

    def resume(self, workflow, run_id="run", **options):
        """Have a run that has ended go on from what its events say."""
        events = self.of(run_id)
        snapshot = fold(record(workflow.plan(), run_id), events)
        options.setdefault("priority", self.starts[run_id].priority)
        completed = [event.step_id for event in events if event.kind == "step.completed"]
        return self.start(
            workflow,
            run_id,
            # As `resumed_run` does: of a run that had not started, nothing is taken up.
            resumed=None if snapshot.status is RunStatus.PENDING else snapshot,
            recorded=len(events),
            completed=list(dict.fromkeys(reversed(completed)))[::-1],
            **options,
        )

    def crash(self):
        """Let the brain be gone, with all that it knows, and another one begin."""
        brain = self.brain
        self.brain = Decisions(
            async_workers=brain.workers.total,
            max_active_runs=self.places,
            grace=5.0,
            random=lambda: 0.5,
            ageing=self.ageing,
            evict_after=self.evict_after,
        )
        for left in (self.in_flight, self.granted, self.pending, self.mail, self.held, self._homes):
            left.clear()
        self.laws.runs.clear()

    def tell(self, message):
        """Say one thing, and let all that follows at once follow; return all events of it."""
        before = len(self.events)
        self.say(message)
        self.settle()
        return self.events[before:]

    def end(self, step_id, output=None, error=None, *, run_id="run"):
        """Let a step's attempt end."""
        attempt = self.in_flight.pop((run_id, step_id))
        return self.tell(AttemptFinished(attempt, output, error))

    def suspend(self, step_id, *, run_id="run"):
        """Let a step's body begin to wait."""
        return self.tell(SuspendAttempt(self.in_flight[run_id, step_id], "a message"))

    def wake(self, step_id, *, run_id="run"):
        """Let the wait of a step's body be over."""
        return self.tell(WakeAttempt(self.in_flight[run_id, step_id]))

    def ask(self, step_id, name="go", call=1, *, timeout=None, evict=True, run_id="run"):
        """Let a step's body wait for a message; return what it is told at once."""
        before = len(self.answers)
        self.tell(AwaitMail(self.in_flight[run_id, step_id], name, call, timeout, evict))
        return [(it.outcome, it.payload) for it in self.answers[before:]]

    def forget(self, step_id, name="go", call=1, *, run_id="run"):
        """Let a step's body no longer wait for a message."""
        return self.tell(ForgetWait(self.in_flight[run_id, step_id], name, call))

    def arrive(self, *numbers, name="go", run_id="run"):
        """Let messages of a run be known; return what bodies are told of them."""
        before = len(self.answers)
        mail = [Mail(number, name, f"{name} {number}", 0.0) for number in numbers]
        self.tell(MailArrived(run_id, mail))
        return [(it.attempt.step_id, it.payload) for it in self.answers[before:]]

    def fail(self, step_id, error=None, *, run_id="run"):
        """Let a step's attempt fail."""
        return self.end(step_id, None, error or ValueError(step_id), run_id=run_id)

    def cancel(self, run_id="run", *, grace=None, compensate=False):
        """Have a run cancelled."""
        return self.tell(CancelRun(run_id, "enough", grace, compensate))

    def pause(self, run_id="run", *, freeze=False):
        """Have a run paused."""
        return self.tell(PauseRun(run_id, Pause(reason="a rest", freeze=freeze)))

    def unpause(self, run_id="run"):
        """Have a run go on."""
        return self.tell(PauseRun(run_id, None))

    def leave(self, *run_ids, grace=5.0):
        """Have all runs left; in `run_ids` are those that the brain may not know."""
        return self.tell(LeaveRuns([*self.starts, *run_ids], grace))

    def lose(self, step_id, *, run_id="run"):
        """Let a step's actor die, and let all that follows at once follow."""
        before = len(self.events)
        self.die(step_id, run_id=run_id)
        self.settle()
        return self.events[before:]

    def die(self, step_id, *, run_id="run"):
        """Let a step's actor die, and tell the brain."""
        if self.bury(step_id, run_id=run_id):
            self.say(self.pending.pop())

    def bury(self, step_id, *, run_id="run"):
        """Let a step's actor die; its run's actor reports that among the rest."""
        home = self._homes.get(run_id, {}).get(step_id)
        if home is None or not home.alive:
            return False
        home.alive = False
        self.pending.append(ActorLost(run_id, step_id, "it was shot"))
        return True

    def lose_compensator(self, step_id, *, run_id="run", submitted=True):
        """Let the actor of a compensator's attempt die, and let all that follows at once follow."""
        attempt = self.in_flight[run_id, step_id]
        if not submitted:
            del self.in_flight[run_id, step_id]
            attempt.submitted = False
        return self.tell(CompensatorLost(attempt, "it was shot"))

    def lose_all(self, run_id="run"):
        """Let a run's actor die, with all its steps' actors, and let what follows follow."""
        before = len(self.events)
        self.die_with_all(run_id)
        self.settle()
        return self.events[before:]

    def die_with_all(self, run_id="run"):
        """Let a run's actor die, if there is one, and all of its steps' actors with it."""
        if run_id not in self._homes:
            return
        for home in self._homes.pop(run_id).values():
            home.alive = False
        self.mail = [one for one in self.mail if one[1] != run_id]
        self.pending = [
            one
            for one in self.pending
            if not isinstance(one, OF_RUN_ACTORS) or run_of(one) != run_id
        ]
        self.say(RunActorLost(run_id, "it was shot"))

    def wait(self, seconds):
        """Let time pass, and then tell the brain so."""
        self.now += seconds
        return self.tell(Wake())

    def wait_for_next(self):
        """Let time pass until the brain's next deadline."""
        return self.wait(max(0.0, self.brain.deadlines.earliest - self.now))

    def settle(self):
        """Deliver what waits, in order, until nothing does."""
        while self.pending or self.mail:
            if self.mail:
                self.deliver()
            else:
                self.say(self.pending.pop(0))

    def deliver(self, place=0):
        """Let an actor have its next message."""
        _, receiver, message = self.mail.pop(place)
        self._receive(receiver, message)

    def commit(self):
        """Have the oldest decision recorded, so that its effects and grants leave."""
        self.brain.begin(self.now, EPOCH + self.now)
        self._act(*self.held.pop(0))

    # ── What a test looks at ─────────────────────────────────────────────────────────────────

    def of(self, run_id="run"):
        """The events of one run."""
        return [event for event in self.events if event.run_id == run_id]

    def running(self, run_id="run"):
        """The ids of the run's steps that an executor has, in order of their start."""
        return [step_id for run, step_id in self.in_flight if run == run_id]

    def statuses(self, run_id="run"):
        """The statuses of a finished run's steps."""
        return {name: one.status for name, one in self.results[run_id].steps.items()}

    def attempt(self, step_id, run_id="run"):
        """The attempt that an executor has."""
        return self.in_flight[run_id, step_id]

    # ── What the supervisor does ─────────────────────────────────────────────────────────────

    def say(self, *messages):
        """Give the brain messages in one decision, check the laws, and perform its effects."""
        self.brain.begin(self.now, EPOCH + self.now)
        for message in messages:
            if isinstance(message, CancelRun) and message.grace is not None:
                self.cut.add(message.run_id)
            self.brain.take(message)
        events, effects, grants = self.brain.conclude()
        self.events += events
        self.batches.append(events)
        for run, step, message in grants:
            self.granted[run.run_id, step.id] = message.attempt
        self.decided = effects
        self.laws.check(messages, events)
        if self.recording:
            self.held.append((effects, grants))
        else:
            self._act(effects, grants)

    def _act(self, effects, grants):
        self.laws.sent(grants)
        self.brain.start_clocks(grants, self.now)
        for run, step_id, effect in effects:
            if run is None:
                self._perform(effect)
            else:
                self._tell_step(run, step_id, effect)
        for run, step, message in grants:
            if step.undoes is None:
                self._tell_step(run, step.id, message)
            else:
                self._perform(message)

    def _tell_step(self, run, step_id, message):
        if run.addresses is not None and step_id in run.addresses:
            self._post("supervisor", run.addresses[step_id], message)
        elif run.run_id in self._homes:
            inner = message if isinstance(message, ForStep) else ForStep(step_id, message)
            self._post("supervisor", run.run_id, inner)

    def _perform(self, effect):
        perform = {
            MakeSteps: self._make_steps,
            ReviveStep: self._tell_run,
            Compensate: self._tell_run,
            RunStirred: self.pending.append,
            ContinueAttempt: lambda it: self.continued.append(it.attempt),
            AnswerWait: self.answers.append,
            StopAttempt: lambda it: self._stop(it.attempt),
            AbandonAttempt: lambda it: self._abandon(it.attempt),
            RunFinished: lambda it: self._finish(it.result),
            RunUnknown: lambda it: self.unknown.append(it.run_id),
            RunLeft: self._run_left,
            AskEviction: self._may_evict,
            RunEvicted: self._run_evicted,
            EndChildren: self._end_children,
            UndoChild: self.undone.append,
        }
        perform[type(effect)](effect)

    def _end_children(self, effect):
        self.asked.append(effect)
        found = self.children.get(effect.run_id, ()) if effect.undoes else ()
        self.pending.append(ChildrenFound(effect.run_id, effect, found))

    def _make_steps(self, effect):
        self._homes[effect.scope.run_id] = {}
        self._post("supervisor", effect.scope.run_id, effect)

    def _tell_run(self, effect):
        run_id = run_of(effect)
        if run_id in self._homes:
            self._post("supervisor", run_id, effect)

    def _may_evict(self, effect):
        if not self.stays:
            self.pending.append(EvictRun(effect.run_id))

    def _run_evicted(self, effect):
        self.evicted.append(effect.eviction)
        self._run_left(effect)

    def _run_left(self, effect):
        self.left.append(effect.run_id)
        for home in self._homes.pop(effect.run_id, {}).values():
            home.alive = False

    def _stop(self, attempt):
        if attempt.submitted:
            self.stopped.append(attempt)
        else:
            attempt.submitted = True
            self.pending.append(AttemptFinished(attempt, None, cancelled_error(attempt)))

    def _abandon(self, attempt):
        self.abandoned.append(attempt)
        if self.in_flight.get(key := (attempt.scope.run_id, attempt.step_id)) is attempt:
            del self.in_flight[key]
            self.pending.append(AttemptAbandoned(attempt, "where it hangs"))

    def _finish(self, result):
        if result.run_id in self.results and not self.starts[result.run_id].resumed:
            raise AssertionError(f"{result.run_id} has ended twice")
        self.results[result.run_id] = result
        self.laws.finished(result)
        for home in self._homes.pop(result.run_id, {}).values():
            home.alive = False

    # ── What the actors do ───────────────────────────────────────────────────────────────────

    def _post(self, sender, receiver, message):
        if self.posted:
            self.mail.append((sender, receiver, message))
        else:
            self._receive(receiver, message)

    def _receive(self, receiver, message):
        if not isinstance(receiver, Home):
            self._run_actor(receiver, message)
        elif receiver.alive:
            self._step_actor(receiver, message)

    def _run_actor(self, run_id, message):
        homes = self._homes.get(run_id)
        if homes is None:
            return
        if isinstance(message, MakeSteps):
            homes |= {step_id: Home(run_id, step_id) for step_id in message.step_ids}
            if homes:
                self.pending.append(StepsMade(run_id, dict(homes)))
        elif isinstance(message, ReviveStep):
            homes[message.step_id] = Home(run_id, message.step_id)
            self.revived.append(message.step_id)
            self.pending.append(StepMoved(run_id, message.step_id, dict(homes)))
        elif isinstance(message, Compensate):
            self.seen[message.attempt.step_id] = message.seen
            self._submit(message.attempt)
        else:
            inner = message.message
            if isinstance(inner, Settled):
                inner = Settled(inner.plan, inner.output, inner.skipped, dict(homes))
            if message.step_id in homes:
                self._post(run_id, homes[message.step_id], inner)

    def _step_actor(self, home, message):
        if isinstance(message, Settled):
            self._emit(home, message)
        elif home.told:
            pass
        elif isinstance(message, DependencyCompleted):
            home.known.setdefault(message.step_id, message)
        else:
            assert isinstance(message, Execute)
            if not message.attempt.submitted:
                home.granted = message.attempt
        granted = home.granted
        if granted is not None and home.known.keys() == {*granted.plan.dependencies}:
            home.granted = None
            assert (home.run_id, home.step_id) == (granted.scope.run_id, granted.step_id)
            self.seen[home.step_id] = list(home.known.values())
            self._submit(granted)

    def _emit(self, home, message):
        assert message.addresses is not None, "a step that settles knows its dependents"
        if home.told:
            return
        home.told = True
        completed = DependencyCompleted(message.plan.id, message.output, message.skipped)
        for dependent in message.plan.dependents:
            if dependent in message.addresses:
                self._post(home, message.addresses[dependent], completed)

    def _submit(self, attempt):
        if attempt.submitted:
            return
        key = (attempt.scope.run_id, attempt.step_id)
        if key in self.in_flight:
            raise AssertionError(f"{key} has two attempts in flight")
        attempt.submitted = True
        self.in_flight[key] = attempt


# ── The laws ─────────────────────────────────────────────────────────────────────────────────


class RunAccount:
    """What the laws know of one run, from its events alone."""

    def __init__(self, start):
        self.run_id = start.scope.run_id
        self.plan = start.plan
        self.priority = start.priority
        self.number = start.recorded
        self.status = RunStatus.PENDING if start.resumed is None else start.resumed.status
        self.steps = dict.fromkeys(start.plan.by_id, StepStatus.PENDING)
        self.position = {plan.id: plan.rank[1] for plan in start.plan.steps}
        self.ways = start.ways or dict.fromkeys(start.plan.by_id, 0.0)
        if start.resumed is not None:
            known = start.resumed.steps
            undoing = self.status is RunStatus.COMPENSATING
            taken_over = start.past is not None
            keeps = kept_by([one.status for one in known.values()], taken_over=taken_over)
            self.steps |= {
                name: one.status for name, one in known.items() if undoing or one.status in keeps
            }
        self.completed = list(start.completed)
        self.to_undo = list(getattr(start.resumed, "compensations", ()))
        self.undone = []
        self.undoing = None
        self.past = start.past or Past()
        self.attempts = dict.fromkeys(start.plan.by_id, 0) | dict(self.past.attempts)
        self.retry_at = {}
        self.ready_since = {}
        self.ready_at = {}
        self.timed_out = set()
        self.sent_at = {}
        self.first_sent_at = {}
        self.suspended = set()
        self.woken = set()
        self.waits_since = {}
        self.paused = False
        self.held = False
        self.still_since = None
        self.deaths = dict.fromkeys(start.plan.by_id, 0)
        self.ending = False

    def compete(self, now, decision):
        """Have everything that is ready be ready together, now."""
        for step_id in self.ready_since:
            self.ready_since[step_id] = -self.ways[step_id], decision, self.position[step_id]
            self.ready_at[step_id] = now

    def clock(self, now):
        """The moment at which the clocks are that a pause can freeze."""
        return now if self.still_since is None else self.still_since

    def go_on(self, now):
        """Have the clocks that a pause has frozen go on: they are late by its length."""
        if self.still_since is not None:
            late, self.still_since = now - self.still_since, None
            self.retry_at = {it: due + late for it, due in self.retry_at.items()}
            for step_id in self.first_sent_at:
                # An attempt that waits stands still anyway.
                until = self.waits_since.get(step_id, now)
                self.first_sent_at[step_id] += max(0.0, until - (now - late))

    def stand_still(self, step_id, now):
        """Have a step's timeouts not count the time that its attempt has waited."""
        since = self.waits_since.pop(step_id, None)
        if since is not None:
            self.sent_at[step_id] += now - since
            until = now if self.still_since is None else self.still_since
            self.first_sent_at[step_id] += max(0.0, until - since)


class Laws:
    """Checks every decision, and every run at its end."""

    def __init__(self, driver):
        self.driver = driver
        self.runs = {}
        self._decisions = 0

    def begin(self, run_id, message):
        """Take note of a run that begins, or begins again."""
        self.runs[run_id] = RunAccount(message)

    def sent(self, grants):
        """Take note of the grants that leave: the clocks of their attempts start."""
        for run, step, message in grants:
            if isinstance(message, ContinueAttempt) and run.run_id in self.runs:
                self.runs[run.run_id].stand_still(step.id, self.driver.now)
            elif step.undoes is None and run.run_id in self.runs:
                account = self.runs[run.run_id]
                account.sent_at[step.id] = self.driver.now
                account.first_sent_at.setdefault(step.id, account.clock(self.driver.now))

    def check(self, messages, events):
        """Hold one decision to the laws."""
        self._decisions += 1
        for message in messages:
            self._count_deaths(message)
            self._note_wake(message)
        for run_id, run in self.runs.items():
            before, run.held = run.held, self._has_hold(run_id)
            if before and not run.held:
                run.compete(self.driver.now, self._decisions)
        for event in events:
            self._take(event)
        self._check_grants_come_last(events)
        for run_id in {event.run_id for event in events}:
            if self.runs[run_id].status.terminal:
                self._run_ended(run_id)
        self._check_workers()
        self._check_lanes()
        if not self.driver.brain.leaving.begun:
            self._check_places()
            self._check_work_is_conserved()
        for message in messages:
            if isinstance(message, CancelRun) and message.run_id in self.runs:
                self.runs[message.run_id].ending = True

    def _count_deaths(self, message):
        if isinstance(message, (ActorLost, RunActorLost)) and message.run_id in self.runs:
            run = self.runs[message.run_id]
            dead = run.plan.by_id if isinstance(message, RunActorLost) else [message.step_id]
            for step_id in dead:
                run.deaths[step_id] += 1

    def _check_grants_come_last(self, events):
        """Whatever starts is granted when all that was decided with it has been taken."""
        started = [event.kind in STARTS for event in events]
        assert sorted(started) == started, "nothing starts before the decision is concluded"

    def at_rest(self):
        """Hold a brain without runs to the laws."""
        brain = self.driver.brain
        assert {} == brain.runs == brain.leaving.runs
        assert (0, brain.workers.total) == (brain.workers.held, brain.workers.free)
        assert 0 == len(brain.deadlines)

    # ── One event ────────────────────────────────────────────────────────────────────────────

    def _take(self, event):
        run = self.runs[event.run_id]
        run.number += 1
        assert run.number == event.number, "events are numbered without gaps"
        assert EPOCH + self.driver.now == event.time
        if event.step_id is None:
            run.status = move_run(event.run_id, run.status, event.kind)
            check = getattr(self, "_" + event.kind.name.lower(), None)
            if check is not None:
                check(run, event)
            return
        assert not run.status.terminal, "nothing happens to a step of a run that has ended"
        before = run.steps[event.step_id]
        run.steps[event.step_id] = move_step(event.step_id, before, event.kind)
        check = getattr(self, "_" + event.kind.name.lower(), None)
        if check is not None:
            check(run, event)
        if run.steps[event.step_id].settled:
            run.ready_since.pop(event.step_id, None)
        if event.step_id in run.suspended and event.kind in OVER:
            run.suspended.discard(event.step_id)
            run.woken.discard(event.step_id)
            run.stand_still(event.step_id, self.driver.now)

    def _run_paused(self, run, event):
        assert not run.paused, "pausing twice is pausing once"
        run.paused = True
        if event.data["freeze"]:
            run.still_since = self.driver.now

    def _run_unpaused(self, run, _event):
        run.paused = False
        run.go_on(self.driver.now)
        run.compete(self.driver.now, self._decisions)

    def _run_completed(self, run, _event):
        assert not run.paused, "a paused run does not complete"

    def _step_ready(self, run, event):
        if run.still_since is not None:
            assert event.step_id not in run.retry_at, "a backoff stands still"
        if event.step_id in run.retry_at:
            due = run.retry_at.pop(event.step_id)
            assert self.driver.now >= due, "no retry before its backoff"
        step_id = event.step_id
        run.ready_since[step_id] = -run.ways[step_id], self._decisions, run.position[step_id]
        run.ready_at[step_id] = self.driver.now

    def _step_started(self, run, event):
        plan = run.plan.by_id[event.step_id]
        for dependency in plan.dependencies:
            assert run.steps[dependency] in KEPT, "a step starts after its dependencies settled"
        assert not run.ending, "nothing starts in a run that is ending"
        assert not run.paused, "nothing starts in a paused run"
        run.attempts[event.step_id] += 1
        assert run.attempts[event.step_id] == event.attempt, "attempts are numbered without gaps"
        most = 1 if plan.step.retry is None else plan.step.retry.max_attempts
        spent = event.attempt - run.past.cut(event.step_id)
        assert spent <= most, "a step is tried at most max_attempts times"
        run.timed_out.discard(event.step_id)
        self._check_it_was_next(run, event.step_id)
        run.ready_since.pop(event.step_id)

    def _check_it_was_next(self, run, step_id):
        chosen, ageing = run.plan.by_id[step_id].step, self.driver.ageing
        for other in self.runs.values() if chosen.async_ else [run]:
            if other.held:
                continue
            for rival_id, since in other.ready_since.items():
                rival = other.plan.by_id[rival_id].step
                if rival.async_ is not chosen.async_:
                    continue
                mine, theirs = (run.priority, chosen.priority), (other.priority, rival.priority)
                equal = mine == theirs
                if ageing is None:
                    assert mine >= theirs, "the higher priority goes first"
                else:
                    ahead = sum(mine) - sum(theirs)
                    later = run.ready_at[step_id] - other.ready_at[rival_id]
                    assert later <= ahead * ageing + 1e-6, "a step gains a priority as it waits"
                    equal = not ahead and not later
                if equal and other is run:
                    said = "equals go by their way to the end, then in order of readiness"
                    assert run.ready_since[step_id] <= since, said

    def _note_wake(self, message):
        if isinstance(message, WakeAttempt) and self._is_current(message.attempt):
            run = self.runs[message.attempt.scope.run_id]
            if message.attempt.step_id in run.suspended and not message.attempt.cancelled:
                run.woken.add(message.attempt.step_id)

    def _compensation_suspended(self, run, event):
        assert run.undoing == event.step_id
        assert event.step_id not in run.suspended
        run.suspended.add(event.step_id)

    def _compensation_continued(self, run, event):
        assert event.step_id in run.woken, "a compensator continues when its wait is over, once"
        assert not run.paused, "nothing continues in a paused run"
        run.suspended.remove(event.step_id)
        run.woken.remove(event.step_id)

    def _step_suspended(self, run, event):
        assert event.step_id not in run.suspended, "a step that waits does not begin to wait"
        assert event.attempt == run.attempts[event.step_id]
        run.suspended.add(event.step_id)
        run.waits_since[event.step_id] = self.driver.now

    def _step_continued(self, run, event):
        assert event.step_id in run.woken, "a step continues when its wait is over, once"
        assert not run.paused, "nothing continues in a paused run"
        assert not run.ending, "nothing continues in a run that is ending"
        run.suspended.remove(event.step_id)
        run.woken.remove(event.step_id)

    def _step_retrying(self, run, event):
        policy, error = run.plan.by_id[event.step_id].step.retry, event.data["error"]
        self._check_it_was_given_up(run, event)
        delay = event.data["delay"]
        assert policy.accepts(error), "an error that is not retryable gets no second attempt"
        if isinstance(error, RetryAfter):
            assert error.seconds == delay
        else:
            low, high = policy.bounds(event.attempt - run.past.cut(event.step_id))
            assert low <= delay <= high, "jitter stays within its bounds"
        run.retry_at[event.step_id] = run.clock(self.driver.now) + delay

    def _step_timed_out(self, run, event):
        total = event.data["limit"] == "total"
        since = run.first_sent_at if total else run.sent_at
        passed = self.driver.now - since[event.step_id]
        assert passed >= event.data["timeout"], "a timeout never fires early"
        assert not (total and run.still_since is not None), "a total timeout stands still"
        run.timed_out.add(event.step_id)

    def _step_skipped(self, run, event):
        self._check_it_was_given_up(run, event)

    def _check_it_was_given_up(self, run, event):
        if isinstance(event.data["error"], ActorCrashed):
            assert run.deaths[event.step_id] > MOST_CRASHES, "no attempt fails by an actor's death"

    def _step_completed(self, run, event):
        assert event.step_id not in run.timed_out, "completion and timeout never both win"
        run.completed = [name for name in run.completed if name != event.step_id]
        run.completed.append(event.step_id)

    def _step_failed(self, run, event):
        self._check_it_was_given_up(run, event)
        if run.plan.fail_fast:
            run.ending = True
        else:
            for dependent in _transitive(run.plan, event.step_id):
                run.retry_at.pop(dependent, None)

    def _step_cancelled(self, run, event):
        if not run.ending and not self._expired(event.run_id):
            failed = [name for name, status in run.steps.items() if status is StepStatus.FAILED]
            reached = {name for one in failed for name in _transitive(run.plan, one)}
            assert event.step_id in reached, "only what depends on a failure is cancelled"

    def _run_compensating(self, run, event):
        assert all(status.settled for status in run.steps.values()), "the running steps have ended"
        undoable = [name for name in run.completed if self._can_be_undone(run, name)]
        assert tuple(reversed(undoable)) == event.data["steps"], "the last completed goes first"
        run.to_undo = list(event.data["steps"])
        run.ending = True

    def _can_be_undone(self, run, step_id):
        completed = run.steps[step_id] is StepStatus.COMPLETED
        return completed and run.plan.by_id[step_id].compensation is not None

    def _compensation_started(self, run, event):
        assert run.status is RunStatus.COMPENSATING
        assert not run.paused, "no compensator starts in a paused run"
        if run.undoing is None:
            left = [name for name in run.to_undo if self._can_be_undone(run, name)]
            assert left[0] == event.step_id, "in reverse order of completion, and none left out"
            run.undoing = event.step_id
            run.undo_attempts = run.past.undo_attempts.get(event.step_id, 0)
        assert run.undoing == event.step_id, "one after the other"
        run.undo_attempts += 1
        assert run.undo_attempts == event.attempt, "attempts are numbered without gaps"
        policy = run.plan.by_id[event.step_id].compensation.step.retry
        most = 1 if policy is None else policy.max_attempts
        spent = event.attempt - run.past.undo_cut(event.step_id)
        assert spent <= most, "a compensator is tried at most max_attempts times"

    def _compensation_completed(self, run, event):
        assert run.undoing == event.step_id, "what is undone was being undone"
        run.undoing = None
        run.undone.append(event.step_id)
        assert len(set(run.undone)) == len(run.undone), "once"

    def _compensation_failed(self, run, event):
        assert event.data["error"] is not None
        if isinstance(event.data["error"], TakenOverTooOften):
            run.undoing = event.step_id  # it has not been tried again
        self._compensation_completed(run, event)

    def _expired(self, run_id):
        live = self.driver.brain.runs.get(run_id)
        return live is None or live.ending

    # ── The whole ────────────────────────────────────────────────────────────────────────────

    def _check_workers(self):
        workers = self.driver.brain.workers
        held = [key for key, attempt in self._attempts() if self._holds(key, attempt, async_=True)]
        assert workers.total == workers.held + workers.free
        assert len(held) == workers.held, "a worker for every async attempt, and for no other"

    def _check_lanes(self):
        lanes = [key[0] for key, one in self._attempts() if self._holds(key, one, async_=False)]
        assert len(lanes) == len(set(lanes)), "one sync step of a run at a time"

    def _attempts(self):
        ending = [
            ((message.attempt.scope.run_id, message.attempt.step_id), message.attempt)
            for message in self.driver.pending
            if isinstance(message, (AttemptAbandoned, AttemptFinished))
            and self._is_current(message.attempt)
        ]
        waiting = [
            (key, attempt)
            for key, attempt in self.driver.granted.items()
            if not attempt.submitted and self._is_current(attempt)
        ]
        return [*self.driver.in_flight.items(), *ending, *waiting]

    def _is_current(self, attempt):
        brain, run_id = self.driver.brain, attempt.scope.run_id
        run = brain.runs.get(run_id) or brain.leaving.runs.get(run_id)
        if run is not None and attempt.compensates:
            return run.undoing is not None and run.undoing.current is attempt
        return run is not None and run.steps[attempt.step_id].current is attempt

    def _holds(self, key, attempt, *, async_):
        """Whether an attempt holds a worker, or its run's lane."""
        run_id, step_id = key
        waits = step_id in self.runs[run_id].suspended
        return attempt.plan.step.async_ is async_ and not waits

    def _check_work_is_conserved(self):
        brain = self.driver.brain
        for run_id, run in self.runs.items():
            if self._is_held(run_id):
                continue
            for step_id in run.ready_since:
                if run.plan.by_id[step_id].step.async_:
                    assert not brain.workers.free, f"{step_id} waits beside a free worker"
                else:
                    assert run_id in self._busy(), f"{step_id} waits for a sync lane that is free"
            self._check_the_woken(run_id, run)

    def _has_hold(self, run_id):
        live = self.driver.brain.runs.get(run_id)
        return live is not None and live.hold is not None

    def _is_held(self, run_id):
        """Whether a run is paused, or waits for its place after a pause."""
        if not self._has_hold(run_id):
            return False
        paused = self.runs[run_id].paused
        assert paused is (self.driver.brain.runs[run_id].hold.pause is not None)
        assert paused or self.driver.brain.waiting.free <= 0, f"{run_id} waits beside a free place"
        return True

    def _busy(self):
        return {key[0] for key, one in self._attempts() if self._holds(key, one, async_=False)}

    def _stirred(self):
        """The runs that the brain has yet to look at."""
        effects = [effect for held in self.driver.held for _, _, effect in held[0]]
        decided = [effect for _, _, effect in self.driver.decided]
        stirred = [*self.driver.pending, *effects, *decided]
        return {run_of(one) for one in stirred if isinstance(one, RunStirred)}

    def _check_the_woken(self, run_id, run):
        brain = self.driver.brain
        live = brain.runs.get(run_id)
        for step_id in run.woken if live is not None else ():
            if not live.active:
                assert brain.waiting.free <= 0, f"{run_id} waits beside a free place"
            elif (live.undoing or live.steps[step_id]).stopping:
                pass
            elif run.plan.by_id[step_id].step.async_:
                assert not brain.workers.free, f"{step_id} continues not beside a free worker"
            else:
                assert run_id in self._busy(), f"{step_id} waits for a sync lane that is free"

    def _check_places(self):
        brain = self.driver.brain
        held = [run for run in brain.runs.values() if run.active]
        assert self.driver.places == brain.waiting.free + len(held)
        assert not (brain.waiting.free > 0 and len(brain.waiting)), "a run waits beside a place"
        for run in held:
            account = self.runs[run.run_id]
            idle = account.paused and run.in_flight == len(run.suspended)
            assert not idle, f"{run.run_id} is paused, and keeps its place"
            waits = account.suspended - account.woken
            only = (
                run.run_id not in self._stirred()
                and waits
                and not account.woken
                and len(waits) == run.in_flight
                and (not run.ending or run.undoing is not None)
            )
            will = {StepStatus.READY, StepStatus.RETRYING} & {*account.steps.values()}
            assert not only or will, f"{run.run_id} only waits, and keeps its place"

    def _run_ended(self, run_id):
        run = self.runs[run_id]
        assert run_id not in self.driver.brain.runs
        assert all(status.settled for status in run.steps.values()), "a run ends after its steps"

    def finished(self, result):
        """Hold a run's result to the laws."""
        run = self.runs[result.run_id]
        known = record(run.plan, run.run_id, priority=run.priority)
        snapshot = fold(known, self.driver.of(run.run_id))
        assert RunResult.of(snapshot) == result, "the events fold to the result"
        self._check_it_was_undone(run, result)

    def _check_it_was_undone(self, run, result):
        """All that could be undone in a failed run has had its turn, unless a shutdown cut it."""
        live = [name for name in run.plan.by_id if self._can_be_undone(run, name)]
        if result.status is RunStatus.FAILED and run.run_id not in self.driver.cut:
            assert [] == live, "each completed step with a compensator is undone in a failed run"
        assert set(run.undone) <= set(run.to_undo), "no other step is"


def _transitive(plan, step_id):
    for dependent in plan.by_id[step_id].dependents:
        yield dependent
        yield from _transitive(plan, dependent)


def cancelled_error(attempt):
    """What an executor reports for a body that was stopped."""
    return StepCancelled(attempt.scope.run_id, attempt.step_id, "it was asked to stop")


def kinds(events):
    """The kinds and steps of events, for comparing."""
    return [
        event.kind.value if event.step_id is None else f"{event.kind.value} {event.step_id}"
        for event in events
    ]

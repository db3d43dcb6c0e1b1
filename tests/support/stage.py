"""A supervisor on an event loop that the test turns by hand: nothing sleeps or waits."""

from __future__ import annotations

import contextvars
import heapq
import itertools
from collections import deque

from thespian.actors import Actor, ActorExitRequest, ActorSystem

from actorflow.actors import ConfigureSupervisor, Supervisor
from actorflow.model.families import ChildrenFound
from actorflow.model.mailing import EvictRun
from actorflow.model.messages import AttemptFinished, CancelRun, Committed, StartRun
from actorflow.scheduling.decisions import Decisions
from actorflow.state import MemoryStateManager
from actorflow.systems import EmbeddedSystem
from actorflow.testing.contracts import accept
from tests.support.brain import EPOCH, kinds, record, scope


class Handle:
    """What a loop gives for a callback."""

    def __init__(self, callback, args, context):
        self._call = callback, args, context
        self.cancelled = False

    def cancel(self):
        """Forget the callback."""
        self.cancelled = True

    def run(self):
        """Call it, unless it was cancelled."""
        callback, args, context = self._call
        if not self.cancelled:
            callback(*args) if context is None else context.run(callback, *args)


class Loop:
    """As much of an event loop as the embedded system needs; its time is the test's.

    Args:
        tick: Seconds that pass each time the time is asked for.
    """

    def __init__(self, *, tick=0.0):
        self._tick = tick
        self._now = 0.0
        self._ready = deque()
        self._timers = []
        self._count = itertools.count()

    def time(self):
        """The time."""
        self._now += self._tick
        return self._now

    def call_soon(self, callback, *args, context=None):
        """Call in the next iteration."""
        handle = Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when, callback, *args, context=None):
        """Call at a time."""
        handle = Handle(callback, args, context)
        heapq.heappush(self._timers, (when, next(self._count), handle))
        return handle

    @property
    def timers(self):
        """How many timers are set."""
        return sum(not handle.cancelled for _, _, handle in self._timers)

    @property
    def waiting(self):
        """How many callbacks are ready."""
        return len(self._ready)

    def iterate(self):
        """Go round once: call what is ready now, and not what becomes ready meanwhile."""
        while self._timers and self._timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            self._ready.popleft().run()

    def run(self, most=10_000):
        """Go round until nothing is ready."""
        for _ in range(most):
            self.iterate()
            if not self._ready:
                return
        raise AssertionError("the loop does not come to rest")

    def advance(self, seconds):
        """Let time pass, stopping at each timer on the way."""
        until = self._now + seconds
        self.run()
        while self._timers and self._timers[0][0] <= until:
            self._now = max(self._now, self._timers[0][0])
            self.run()
        self._now = until


def embedded(loop, context=None):
    """A system on a loop, and Thespian's view of it."""
    system = EmbeddedSystem(loop, context or contextvars.copy_context())
    return system, ActorSystem(system, transientUnique=True)


class Recorder(Actor):
    """Keeps what it is told, in `heard`, and who told it, in `senders`."""

    def __init__(self):
        super().__init__()
        self.heard = []
        self.senders = []

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Keep it."""
        self.heard.append(message)
        self.senders.append(sender)


class Parent(Recorder):
    """Makes a child of every class it is told, and passes on what is for others.

    A tuple is passed on: first the place of a child, or an address, and then the messages.
    """

    def __init__(self):
        super().__init__()
        self.children = []

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Make, pass on, or keep."""
        if isinstance(message, type):
            self.children.append(self.createActor(message))
        elif isinstance(message, tuple):
            target, *words = message
            for word in words:
                self.send(self.children[target] if isinstance(target, int) else target, word)
        else:
            super().receiveMessage(message, sender)


class Relay(Actor):
    """Passes a message on after so many hops through its own mailbox."""

    def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
        """Take one hop."""
        if isinstance(message, ActorExitRequest):
            return
        hops, target, passed = message
        if hops:
            self.send(self.myAddress, (hops - 1, target, passed))
        else:
            self.send(target, passed)


class HandExecutor:
    """An executor whose attempts end when the test says so."""

    def __init__(self, *, preemptive=True):
        self.preemptive = preemptive
        self.submissions = []
        self.running = {}
        self.stopped = []
        self.abandoned = []

    def open(self, report):
        """Take the way to report."""
        self.report = report

    def submit(self, attempt):
        """Keep an attempt."""
        self.submissions.append(attempt)
        self.running[attempt.scope.run_id, attempt.step_id] = attempt

    def stop(self, attempt):
        """Take note."""
        self.stopped.append(attempt)

    def abandon(self, attempt):
        """Give an attempt up."""
        self.abandoned.append(attempt)
        self.running.pop((attempt.scope.run_id, attempt.step_id), None)
        return "where it hangs"

    def close(self):
        """Nothing is left running."""
        return list(self.running.values())


class StageClock:
    """The stage's time."""

    def __init__(self, now):
        self.now = now

    def wall(self, now):
        """What people call it."""
        return EPOCH + now


class Stage:
    """A supervisor with its actors, a state manager, and an executor that a test works by hand.

    Args:
        state: Where events are recorded.
        executor: Where every step runs.
        settings: Of the brain.
    """

    def __init__(self, *, state=None, executor=None, loop=None, **settings):
        self.loop = Loop() if loop is None else loop
        self.system, self.actors = embedded(self.loop)
        self._set(state, executor, settings, self.loop.time)
        self.settle()

    def _set(self, state, executor, settings, now):
        self.clock = StageClock(now)
        self.state = MemoryStateManager() if state is None else state
        self.executor = HandExecutor() if executor is None else executor
        self.executor.open(self.report)
        self.audience, self.present = self, True
        self.shown, self.results, self.defects, self.complaints = [], {}, [], []
        self.moves = []
        self.answers = []
        self.strangers, self.lost, self.left_runs = [], [], []
        brain = {"async_workers": 5, "max_active_runs": 5, "grace": 5.0, "random": lambda: 0.5}
        self.brain = Decisions(**(brain | settings))
        self.supervisor = self.actors.createActor(Supervisor)
        self.tell(ConfigureSupervisor(brain=self.brain, host=self))

    # ── What a test does ─────────────────────────────────────────────────────────────────────

    def tell(self, message):
        """Say something to the supervisor."""
        self.system.post_from_anywhere(self.supervisor, message)

    def settle(self):
        """Let everything happen that needs no time."""
        self.loop.run()

    def start(self, workflow, run_id="run", *, inputs=None, timeout=None):
        """Start a run."""
        plan = workflow.plan()
        accept(self.state, record(plan, run_id))
        now = self.clock.now()
        deadline = None if timeout is None else now + timeout
        where = scope(run_id, plan.workflow_id, inputs=inputs or {}, now=self.clock.now)
        executors = dict.fromkeys(plan.by_id, self.executor)
        undoing = self._undoing(plan)
        self.tell(StartRun(where, plan, executors, deadline, timeout, 0, None, 0, (), undoing))
        self.settle()

    def resume(self, workflow, run_id="run"):
        """Let a run that has ended go on, by a workflow that may have changed."""
        plan, recorded = workflow.plan(), self.state.snapshot(run_id)
        where = scope(run_id, plan.workflow_id, now=self.clock.now)
        executors = dict.fromkeys(plan.by_id, self.executor)
        events = len(self.state.events(run_id))
        undoing = self._undoing(plan)
        self.tell(StartRun(where, plan, executors, None, None, 0, recorded, events, (), undoing))
        self.settle()

    def _undoing(self, plan):
        return {one.id: self.executor for one in plan.steps if one.compensation is not None}

    def end(self, step_id, output=None, error=None, *, run_id="run"):
        """Let a step's attempt end."""
        self.report(self.executor.running.pop((run_id, step_id)), output, error)
        self.settle()

    def cancel(self, run_id="run"):
        """Cancel a run."""
        self.tell(CancelRun(run_id, "enough", None))
        self.settle()

    def report(self, attempt, output, error):
        """Say what became of an attempt, as executors do."""
        self.tell(AttemptFinished(attempt, output, error))

    @property
    def running(self):
        """The ids of the steps that the executor has."""
        return [step_id for _, step_id in self.executor.running]

    # ── What the supervisor needs ────────────────────────────────────────────────────────────

    def committed(self, error, /):
        """Tell the supervisor that a batch is recorded."""
        self.tell(Committed(error))

    def publish(self, events):
        """Keep what is shown."""
        self.shown += events

    def finished(self, result):
        """Keep a result."""
        self.results[result.run_id] = result

    def left(self, run_id):
        """Keep the id of a run that was left."""
        self.left_runs.append(run_id)

    def broken(self, message, error):
        """Keep a defect; most tests expect none."""
        self.defects.append((message, error))

    def unknown(self, run_id, _asked):
        """Keep the id of a run that the brain does not know."""
        self.strangers.append(run_id)

    def unrecorded(self, events, error):
        """Keep what the state manager could not record."""
        self.lost.append((kinds(events), error))

    def moved(self, attempt):
        """Take note of a body that may go on, or has to stop."""
        self.moves.append(attempt)

    def answered(self, answer):
        """Take note of what a body is told that waits for a message."""
        self.answers.append(answer)

    def may_evict(self, message):
        """Have a run evicted."""
        self.tell(EvictRun(message.run_id))

    def evicted(self, message):
        """Take note of a run that waits elsewhere."""
        self.left(message.run_id)

    def end_children(self, message):
        """Say that a run has no children to undo."""
        self.tell(ChildrenFound(message.run_id, message, ()))

    def misbehaved(self, attempt, what, error):
        """Keep what an executor did wrong."""
        self.complaints.append((attempt.step_id, what, error))

    # ── Actors ───────────────────────────────────────────────────────────────────────────────

    def address(self, step_id, run_id="run"):
        """Where a step's actor lives."""
        run_actor = self.supervisor.actor._run_actors[run_id].actor
        return run_actor._addresses[step_id]

    def kill(self, step_id, run_id="run"):
        """Have a step's actor exit; what follows waits for `settle`."""
        self.system.post(self.address(step_id, run_id), ActorExitRequest(), self.system.system_cell)

    def later(self, hops, message, *, to=None):
        """Say something to the supervisor, or to another, after so many hops through the mail."""
        relay = self.actors.createActor(Relay)
        hop = (hops, to or self.supervisor, message)
        self.system.post(relay, hop, self.system.system_cell)


class SimpleStage(Stage):
    """The same actors on Thespian's own simple system base, which needs no loop."""

    def __init__(self, **settings):
        self.actors = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
        self._now = 0.0
        self._set(None, None, settings, lambda: self._now)

    def tell(self, message):
        """Say something to the supervisor; it has been dealt with on return."""
        self.actors.tell(self.supervisor, message)

    def settle(self):
        """Nothing waits."""

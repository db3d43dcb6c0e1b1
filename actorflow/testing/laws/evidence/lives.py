"""A trace arranged for the laws: each step, in each life of its run.

A trace holds events, attempts and messages side by side. Here they are arranged by life and step,
with the facts that most laws need, once for all laws.

Most steps of most schedules are plain: ready, started and completed, by one attempt on which events
and executor agree. Any law about a single step then holds for it, so those laws look only at the
other steps (`odd`).
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.model.lifecycle import EventKind, kept_by
from actorflow.model.mailing import EvictRun
from actorflow.model.messages import (
    CancelRun,
    DependencyCompleted,
    Execute,
    LeaveRuns,
    MakeSteps,
    PauseRun,
    StartPaused,
    StartRun,
    StepMoved,
    StepsMade,
    run_of,
)
from actorflow.systems.simulated.mischief import Fault
from actorflow.testing.laws.evidence.holds import holds_of
from actorflow.testing.laws.evidence.life import (
    BEFORE,
    NEVER,
    NOTHING,
    RUN_ENDS,
    STEP_ENDS,
    UNDOING_ENDS,
    Life,
    StepLife,
    tries_of,
    undoings_of,
)
from actorflow.testing.laws.evidence.turns import Turns
from actorflow.testing.laws.evidence.waits import Waits
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.definition.step import Step
    from actorflow.model.context import Attempt
    from actorflow.systems.delivery import Cell
    from actorflow.testing.laws.evidence.life import Try, Undoing
    from actorflow.testing.trace.trace import Trace

__all__ = ["Lives"]

_READY: Final = EventKind.STEP_READY
_STARTED: Final = EventKind.STEP_STARTED
_COMPLETED: Final = EventKind.STEP_COMPLETED
_COMPENSATING: Final = EventKind.RUN_COMPENSATING
_RETURNED: Final = Outcome.RETURNED
_PLAIN_EVENTS: Final = 3
_STARTS: Final = (StartRun, StartPaused)
_STOPS: Final = frozenset({CancelRun, EvictRun, LeaveRuns})
_HEARD: Final = _STOPS | {
    DependencyCompleted,
    Execute,
    MakeSteps,
    PauseRun,
    *_STARTS,
    StepMoved,
    StepsMade,
}


class Lives:
    """All lives of all runs of a trace.

    Args:
        trace: The trace.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.all: list[Life] = []
        """All lives, in the order in which they began."""
        self.latest: dict[str, Life] = {}
        """The last life of each run."""
        self._of_scope: dict[int, Life] = {}
        self.told: list[tuple[int, StepLife, DependencyCompleted]] = []
        """The messages about dependencies that steps received, with the number of deliveries."""
        self.evicted: list[tuple[int, Life]] = []
        """The lives that ended by an eviction, and the number of deliveries by then."""
        self.leaves: list[int] = []
        """When orchestrators were told to leave their runs: the number of deliveries."""
        self.undoings: list[Undoing] = []
        """The compensators that were started."""
        self.owners: list[StepLife | Life] = []
        """The step or run of each event of the trace."""
        self.homes: dict[Cell, StepLife | Life] = {}
        """The step or run of each actor."""
        self._read_messages()
        self._read_faults()
        self._read_evictions()
        self._read_events()
        self._read_attempts()
        for life in self.all:
            self._arrange(life)
        self.waits: Waits | None = Waits(self) if trace.pauses else None
        """The attempts that waited; None if none did."""

    @property
    def odd(self) -> Iterator[StepLife]:
        """The steps that are not plain."""
        return (step for life in self.all for step in life.odd)

    @property
    def attempted(self) -> Iterator[StepLife]:
        """The steps that are not plain, and the compensators: those whose attempts laws look at."""
        return itertools.chain(self.odd, self.undoings)

    def children_of(self, run_id: str) -> Iterator[Life]:
        """Yield the last life of each child of a run."""
        for child_id, known in self.trace.runs.items():
            if known.parent is not None and known.parent.run_id == run_id:
                yield self.latest[child_id]

    def dissolve(self) -> None:
        """Break the reference cycles; the lives cannot be used afterwards."""
        for life in self.all:
            life.steps.clear()
            life.odd.clear()
        if self.waits is not None:
            self.waits.dissolve()

    def at(self, run_id: str, delivered: int) -> Life:
        """Return the life of a run that was current after a number of deliveries."""
        life = self.latest[run_id]
        while life.former is not None and delivered <= life.since:
            life = life.former
        return life

    def alive(self, events: int, deliveries: int) -> Sequence[Life]:
        """Return the lives that had begun and not ended at an idle moment of the trace."""
        return self._alive[events, deliveries]

    @functools.cached_property
    def _alive(self) -> Mapping[tuple[int, int], Sequence[Life]]:
        """What `alive` returns, by the numbers of events and deliveries."""
        coming = deque(sorted(self.all, key=lambda life: life.since))
        alive: list[Life] = []
        known: dict[tuple[int, int], Sequence[Life]] = {}
        for _, events, deliveries, *_ in self.trace.lulls:
            while coming and coming[0].since <= deliveries:
                alive.append(coming.popleft())
            alive = [it for it in alive if deliveries < it.until and it.end_at >= events]
            known[events, deliveries] = alive.copy()
        return known

    def life_of(self, attempt: Attempt) -> Life:
        """Return the life in which an attempt was started."""
        return self._of_scope[id(attempt.scope)]

    @property
    def all_over(self) -> bool:
        """Whether every started run has a result."""
        return self.trace.runs.keys() == self.trace.results.keys()

    @property
    def at_rest(self) -> bool:
        """Whether nothing was left to happen."""
        return self.trace.quiescent and not self.trace.leftovers.messages

    @functools.cached_property
    def turns(self) -> Turns:
        """The findings about waiting steps and runs."""
        return Turns(self)

    @functools.cached_property
    def late(self) -> Mapping[int, int]:
        """For events that were recorded late: the deliveries when that was asked, by index."""
        return dict(self.trace.late)

    def granted_from(self, one: Try) -> float:
        """Return a moment before which an attempt's grant was not sent.

        A grant is sent when the start is recorded, and the attempt's timeouts count from then.
        """
        if one.place not in self.late:
            return one.started.time
        return max(one.started.time, self.trace.envelopes[self.trace.marks[one.place] - 1][0])

    def granted_by(self, one: Try) -> float:
        """Return a moment by which an attempt's grant had been sent."""
        if not self.late:
            return one.started.time
        return NEVER if one.body is None else one.body.started_at

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    def _read_messages(self) -> None:  # noqa: C901 - one test for each kind of message
        # This loop sees every message of every schedule, so it tests the most frequent kinds first.
        homes = self.homes
        told: list[tuple[int, Cell, DependencyCompleted]] = []
        undoing: set[Cell] = set()
        for count, (time, (target, message, sender)) in enumerate(self.trace.envelopes, 1):
            kind = type(message)
            if kind not in _HEARD:
                continue
            if kind is DependencyCompleted:
                told.append((count, target, message))
            elif kind is Execute:
                self._find_home(target, message.attempt)
                if message.attempt.compensates:
                    undoing.add(target)
            elif kind is StepsMade or kind is StepMoved:
                life = homes[sender]
                steps = life.steps if isinstance(life, Life) else life.life.steps
                homes |= {cell: steps[name] for name, cell in message.addresses.items()}
            elif kind in _STARTS:
                self._begin(message, count, time)
            elif kind is MakeSteps:
                homes[target] = self._of_scope[id(message.scope)]
            else:
                self._note_stop(message, count, time)
        self._hand_back()
        # An actor may receive news before the message that identifies it. What the actor of a
        # compensator is told is no news.
        for count, target, news in told:
            home = homes.get(target)
            if isinstance(home, StepLife) and target not in undoing:
                self.told.append((count, home, news))

    def _note_stop(self, message: Any, count: int, time: float) -> None:
        latest = self.latest
        if isinstance(message, EvictRun):
            if message.run_id in latest:
                latest[message.run_id].evicting = count
        elif isinstance(message, LeaveRuns):
            self.leaves.append(count)
            for run_id in latest.keys() & {*message.run_ids}:
                latest[run_id].left_at = count
                latest[run_id].left_until = time + message.grace
        elif message.run_id not in latest:
            return
        elif isinstance(message, PauseRun):
            if latest[message.run_id].left_at == NEVER:
                latest[message.run_id].asked.append((count, message.pause))
        else:
            latest[message.run_id].cancels.append((count, time, message))

    def _hand_back(self) -> None:
        """Note which lives were left, and forget the cancellations that came too late for them."""
        for _, delivered, run_id in self.trace.left:
            life = self._left_then(run_id, delivered)
            life.handed_back = delivered
            life.cancels = [cancel for cancel in life.cancels if cancel[0] <= delivered]
        for delivered, run_id in self.trace.evicted:
            life = self._then(run_id, delivered)
            life.left_at = min(life.left_at, life.evicting)
            life.until = min(life.until, delivered)
            self.evicted.append((delivered, life))

    def _read_evictions(self) -> None:
        """Note when the attempts of runs were stopped that were not evicted in the end.

        Such a run was cancelled before its attempts had ended, or the orchestrator crashed.
        """
        for wait in self.trace.waits:
            life = self.at(wait.run_id, wait.begun)
            if wait.stopped is not None and wait.stopped >= life.evicting and life.left_at == NEVER:
                life.left_at = life.evicting

    def _left_then(self, run_id: str, delivered: int) -> Life:
        """Return the life of a run that was left; of several in one delivery, the next in turn."""
        left = life = self._then(run_id, delivered)
        while life.former is not None and life.former.until == delivered:
            life = life.former
            if life.handed_back == NEVER:
                left = life
        return left

    def _then(self, run_id: str, delivered: int) -> Life:
        """Return the life of a run that had begun by then, before any crash is read."""
        life = self.latest[run_id]
        while life.former is not None and delivered < life.since:
            life = life.former
        return life

    def _find_home(self, target: Cell, attempt: Attempt) -> None:
        if target not in self.homes:
            self.homes[target] = self._of_scope[id(attempt.scope)].steps[attempt.step_id]

    def _begin(self, start: StartRun, count: int, time: float) -> None:
        former = self.latest.get(start.scope.run_id)
        if former is not None:
            former.until = min(former.until, count)
        life = self.latest[start.scope.run_id] = Life(start, count, former, time)
        # An actor of a former life may hear its first message after a later life has begun.
        self._of_scope[id(start.scope)] = life
        self.all.append(life)

    def _read_faults(self) -> None:
        trace = self.trace
        for count, _ in trace.crashes:
            for life in self.all:
                if life.since <= count < life.until:
                    life.until, life.cut = count, True
        for count, run_id in trace.tears:
            for life in self.all:
                if life.run_id == run_id and life.since <= count <= life.until:
                    life.torn_at = min(life.torn_at, count)
        for count, _, fault, (target, message, _) in trace.struck:
            if fault is Fault.CRASH or fault is Fault.POISON:
                self._note_death(count, target, message)

    def _note_death(self, count: int, target: Cell, message: Any) -> None:
        home = self.homes.get(target)
        if home is None and target.parent is not None:
            home = self.homes.get(target.parent)  # it had not been configured yet
        if home is None:
            # Neither had the actor of its run, in that life.
            lives = [it for it in self.all if it.run_id == run_of(message)]
            home = max((it for it in lives if it.since <= count), key=lambda it: it.since)
        dead = home.steps.values() if isinstance(home, Life) else (home,)
        for step in dead:
            step.deaths = (*step.deaths, count)

    # ── Events and attempts ──────────────────────────────────────────────────────────────────

    def _read_events(self) -> None:
        by_run = self._lives_by_run()
        note = self.owners.append
        for place, event in enumerate(self.trace.events):
            number, kind, run_id, step_id, *_ = event
            lives = by_run[run_id]
            while lives[1:] and number > lives[1].start.recorded:
                del lives[0]
            life = lives[0]
            if step_id is None:
                life.events.append((place, event))
                if kind in RUN_ENDS and life.end is None:
                    life.end, life.end_at = event, place
                elif kind is _COMPENSATING:
                    life.compensating = True
                note(life)
            else:
                step = life.steps[step_id]
                step.events.append(event)
                step.at.append(place)
                note(step)

    def _lives_by_run(self) -> dict[str, list[Life]]:
        by_run: dict[str, list[Life]] = {}
        for life in self.all:
            by_run.setdefault(life.run_id, []).append(life)
        return by_run

    def _read_attempts(self) -> None:
        for attempt in self.trace.attempts:
            life = self.at(attempt.run_id, attempt.begun)
            life.steps[attempt.step_id].bodies.append(attempt)

    # ── Plain steps and others ───────────────────────────────────────────────────────────────

    def _arrange(self, life: Life) -> None:
        marks = self.trace.marks
        if life.asked or life.start.pausing is not None:
            life.holds = holds_of(life)
        if life.former is not None:
            _inherit(life, life.former)
        for step in life.steps.values():
            if _is_plain(step, marks):
                step.ready_at, step.first_start, step.end_at = step.at
                step.end = end = step.events[2]
                step.output = end.data["output"]
                step.recorded = marks[step.at[2]]
                step.begun, step.over = step.bodies[0].begun, step.bodies[0].over or 0
            else:
                life.odd.append(step)
                _examine(step, marks)
        if life.odd and life.compensates:
            self._arrange_compensators(life)

    def _arrange_compensators(self, life: Life) -> None:
        for undo in undoings_of(life, self.trace):
            _examine(undo, self.trace.marks)
            self.undoings.append(undo)


def _inherit(life: Life, former: Life) -> None:
    """Copy the kept outcomes of the previous life into a life."""
    statuses = [STEP_ENDS[it.end.kind] for it in former.steps.values() if it.end is not None]
    keeps = kept_by(statuses, taken_over=life.start.past is not None)
    for step_id, step in life.steps.items():
        known = former.steps.get(step_id)
        if known is None or known.end is None:
            continue
        if life.goes_on or life.undone or (STEP_ENDS[known.end.kind] in keeps and not known.undone):
            step.undone = known.undone
            step.kept, step.end, step.output = True, known.end, known.output
            step.end_at = step.recorded = BEFORE


def _is_plain(step: StepLife, marks: Sequence[int]) -> bool:
    if len(step.events) != _PLAIN_EVENTS or len(step.bodies) != 1 or step.kept:
        return False
    (ready, started, completed), (body,), at = step.events, step.bodies, step.at
    return (
        ready.kind is _READY
        and started.kind is _STARTED
        and completed.kind is _COMPLETED
        and started.attempt == completed.attempt == body.attempt == 1
        and body.outcome is _RETURNED
        and body.output is completed.data["output"]
        and body.over is not None
        and marks[at[1]] < body.begun <= body.over < marks[at[2]]
        and body.finished_at is not None
        and body.finished_at < started.time + _shortest(step.plan.step)
    )


def _shortest(step: Step) -> float:
    """Return the shortest timeout that applies to a step's first attempt."""
    limit, total = step.timeout, step.total_timeout
    if limit is None:
        return NEVER if total is None else total
    return limit if total is None or limit < total else total


def _examine(step: StepLife, marks: Sequence[int]) -> None:
    step.tries = tries_of(step)
    step.undone = step.undone or any(event.kind in UNDOING_ENDS for event in step.events)
    begun = [body for body in step.bodies if body.outcome is not Outcome.NOT_BEGUN]
    if begun:
        step.begun = begun[0].begun
        step.over = max(NEVER if body.over is None else body.over for body in begun)
    for place, event in zip(step.at, step.events, strict=True):
        if event.kind in STEP_ENDS and step.end is None:
            step.end, step.end_at, step.recorded = event, place, marks[place]
            step.output = event.data.get("output", NOTHING)
        elif event.kind is _STARTED and step.first_start == NEVER:
            step.first_start = place
        elif event.kind is _READY and step.ready_at == NEVER:
            step.ready_at = place

"""A trace put in order for the laws: what became of each step, in each life of its run.

A trace holds events, attempts and messages side by side; here they lie by life and step, with
what most laws ask of them. It is made once for all laws.

Most steps of most schedules are plain: ready, started and completed, by one attempt that its
executor knows in the same way. Whatever laws say of one step by itself is then true of it, so
those laws look at the others only (`odd`).
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, Final

from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import (
    CancelRun,
    ConfigureRun,
    ConfigureStep,
    DependencyCompleted,
    StartRun,
)
from actorflow.systems.simulated.mischief import Fault
from actorflow.testing.laws.evidence.life import (
    BEFORE,
    KEEPS,
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
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.definition.step import Step
    from actorflow.systems.delivery import Cell
    from actorflow.testing.laws.evidence.life import Undoing
    from actorflow.testing.trace.trace import Trace

__all__ = ["Lives"]

_READY: Final = EventKind.STEP_READY
_STARTED: Final = EventKind.STEP_STARTED
_COMPLETED: Final = EventKind.STEP_COMPLETED
_RETURNED: Final = Outcome.RETURNED
_PLAIN_EVENTS: Final = 3
_HEARD: Final = frozenset({CancelRun, ConfigureRun, ConfigureStep, DependencyCompleted, StartRun})


class Lives:
    """All lives of all runs of a trace.

    Args:
        trace: The trace.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.all: list[Life] = []
        """In the order in which they began."""
        self.latest: dict[str, Life] = {}
        """The last one of each run that the supervisor was told of."""
        self.told: list[tuple[int, StepLife, DependencyCompleted]] = []
        """What steps were told of their dependencies, after how many deliveries."""
        self.undoings: list[Undoing] = []
        """The compensators that were started."""
        self.owners: list[StepLife | Life] = []
        """Whom each event of the trace is about."""
        self.homes: dict[Cell, StepLife | Life] = {}
        """Who lives where."""
        self._read_messages()
        self._read_misfortunes()
        self._read_events()
        self._read_attempts()
        for life in self.all:
            self._sort_out(life)

    @property
    def odd(self) -> Iterator[StepLife]:
        """The steps that are not plain."""
        return (step for life in self.all for step in life.odd)

    @property
    def attempted(self) -> Iterator[StepLife]:
        """These and the compensators: all of whose attempts there may be something to say."""
        return itertools.chain(self.odd, self.undoings)

    def dissolve(self) -> None:
        """Let go of what refers to each other; nothing can be asked afterwards."""
        for life in self.all:
            life.steps.clear()
            life.odd.clear()

    def at(self, run_id: str, delivered: int) -> Life:
        """Return the life of a run in which something happened, after so many deliveries."""
        life = self.latest[run_id]
        while life.former is not None and delivered <= life.since:
            life = life.former
        return life

    @property
    def all_over(self) -> bool:
        """Whether every run that was started has a result."""
        return self.trace.runs.keys() == self.trace.results.keys()

    @property
    def at_rest(self) -> bool:
        """Whether nothing was left that could happen."""
        return self.trace.quiescent and not self.trace.leftovers.messages

    @functools.cached_property
    def turns(self) -> Turns:
        """Who waited while others went on."""
        return Turns(self)

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    def _read_messages(self) -> None:
        # Every message of every schedule comes through here: a chain of tests, most frequent first.
        latest, homes = self.latest, self.homes
        told: list[tuple[int, Cell, DependencyCompleted]] = []
        for count, (time, (target, message, _)) in enumerate(self.trace.envelopes, 1):
            kind = type(message)
            if kind not in _HEARD:
                continue
            if kind is DependencyCompleted:
                told.append((count, target, message))
            elif kind is ConfigureStep:
                homes[target] = latest[message.scope.run_id].steps[message.plan.id]
            elif kind is StartRun:
                self._begin(message, count)
            elif kind is ConfigureRun:
                homes[target] = latest[message.scope.run_id]
            elif kind is CancelRun and message.run_id in latest:
                latest[message.run_id].cancels.append((count, time, message))
        # Who is told something may be told who it is later.
        for count, target, news in told:
            home = homes.get(target)
            if isinstance(home, StepLife):
                self.told.append((count, home, news))

    def _begin(self, start: StartRun, count: int) -> None:
        former = self.latest.get(start.scope.run_id)
        if former is not None:
            former.until = min(former.until, count)
        life = self.latest[start.scope.run_id] = Life(start, count, former)
        self.all.append(life)

    def _read_misfortunes(self) -> None:
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
            home = self.homes.get(target.parent)  # it had not been told yet who it is
        if home is None:
            # Nor had the actor of its run, in whichever life that was.
            lives = [it for it in self.all if it.run_id == message.scope.run_id]
            home = max((it for it in lives if it.since <= count), key=lambda it: it.since)
        dead = home.steps.values() if isinstance(home, Life) else (home,)
        for step in dead:
            step.deaths = (*step.deaths, count)

    # ── Events and attempts ──────────────────────────────────────────────────────────────────

    def _read_events(self) -> None:
        chapters = self._chapters()
        note = self.owners.append
        for place, event in enumerate(self.trace.events):
            number, kind, run_id, step_id, _, _, _ = event
            lives = chapters[run_id]
            while lives[1:] and number > lives[1].start.recorded:
                del lives[0]
            life = lives[0]
            if step_id is None:
                life.events.append((place, event))
                if kind in RUN_ENDS and life.end is None:
                    life.end, life.end_at = event, place
                note(life)
            else:
                step = life.steps[step_id]
                step.events.append(event)
                step.at.append(place)
                note(step)

    def _chapters(self) -> dict[str, list[Life]]:
        chapters: dict[str, list[Life]] = {}
        for life in self.all:
            chapters.setdefault(life.run_id, []).append(life)
        return chapters

    def _read_attempts(self) -> None:
        for attempt in self.trace.attempts:
            life = self.at(attempt.run_id, attempt.begun)
            life.steps[attempt.step_id].bodies.append(attempt)

    # ── Plain steps and others ───────────────────────────────────────────────────────────────

    def _sort_out(self, life: Life) -> None:
        marks = self.trace.marks
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
                _look_closely(step, marks)
        if life.odd and life.compensates:
            self._sort_out_undoings(life)

    def _sort_out_undoings(self, life: Life) -> None:
        for undo in undoings_of(life, self.trace):
            _look_closely(undo, self.trace.marks)
            self.undoings.append(undo)


def _inherit(life: Life, former: Life) -> None:
    """Let a life begin with the outcomes that the one before it has left."""
    for step_id, step in life.steps.items():
        known = former.steps.get(step_id)
        if known is None or known.end is None:
            continue
        if life.goes_on or (known.end.kind in KEEPS and not known.undone):
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
    """Return the shortest of the limits of a step's first attempt."""
    limit, total = step.timeout, step.total_timeout
    if limit is None:
        return NEVER if total is None else total
    return limit if total is None or limit < total else total


def _look_closely(step: StepLife, marks: Sequence[int]) -> None:
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

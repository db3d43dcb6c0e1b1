"""Which steps waited while others went on: a second pass over the events of a trace.

For the laws about priorities, turns and standstill. Between any two events it is known which steps
are ready and what each run has in motion; at each moment when nothing can be delivered it is known
what the executors are doing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import NEVER
from actorflow.testing.laws.evidence.waits import may_wait_to_be_undone

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from actorflow.testing.laws.evidence.life import Life, StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.laws.evidence.waits import Pause
    from actorflow.testing.trace.trace import Trace

__all__ = ["Turns"]

_Since = tuple[float, float, float]
"""What ranks steps of one run that wait for the same: the negated way to the end, if the run is
ordered by it; the number of deliveries when the step became ready, because what becomes ready
within one decision is ready together; and the position in the definition."""
_Wants = tuple["Life | None", float, float]
"""What a ready step waits for: its run's sync lane or, if it is async, a worker (None); then the
negated priorities of run and step. If steps age, 0 and the negated sum of the priorities, with the
moment at which the step became ready in units of the ageing."""
_READY: Final = EventKind.STEP_READY
_STARTED: Final = EventKind.STEP_STARTED
_RETRYING: Final = EventKind.STEP_RETRYING
_SUSPENDED: Final = EventKind.STEP_SUSPENDED
_CONTINUED: Final = EventKind.STEP_CONTINUED
_WAITS: Final = frozenset({_SUSPENDED, _CONTINUED})
_HOLDS: Final = frozenset({EventKind.RUN_PAUSED, EventKind.RUN_UNPAUSED})
_CHANGES: Final = _WAITS | _HOLDS
_PAUSES: Final = frozenset(
    {
        EventKind.STEP_RETRYING,
        EventKind.STEP_COMPLETED,
        EventKind.STEP_SKIPPED,
        EventKind.STEP_FAILED,
        EventKind.STEP_CANCELLED,
    }
)
"""Events after which a step neither waits nor runs."""


class Turns:
    """Violations of the order of steps and runs, one line each.

    Args:
        lives: The trace, by life and step.
    """

    def __init__(self, lives: Lives) -> None:
        trace = lives.trace
        self.unranked: list[str] = []
        """Steps that started before others that had to come first."""
        self.unfair: list[str] = []
        """Runs that did not get their turn."""
        self.starved: list[str] = []
        """Steps that others passed although they had waited long enough to go first."""
        self.idle: list[str] = []
        """Steps that were ready while a worker or their sync lane was free."""
        self.still: list[str] = []
        """Runs that had nothing in motion, but had not ended."""
        self._trace = trace
        self._place = 0
        """The index of the current event, while something waits."""
        self._all = lives
        self._lives = lives.all
        self._ageing = trace.settings.ageing
        self._workers = trace.settings.async_workers
        self._places = trace.settings.max_active_runs
        self._crashes = [count for count, _ in trace.crashes]
        self._evicted = deque(lives.evicted)
        self._leaves = [
            (leave, min((it for it, _ in trace.crashes if it >= leave), default=NEVER))
            for leave in lives.leaves
        ]
        """From when to when orchestrators did not start anything because they left their runs."""
        self._waiting: dict[StepLife, _Wants] = {}
        """The ready steps, in the order of their events."""
        self._since: dict[StepLife, _Since] = {}
        """When each of them became ready."""
        self._started: list[tuple[int, _Wants, StepLife]] = []
        """The steps that started within the last decision that started any: when, and what they
        had waited for.
        """
        self._ready_at: dict[StepLife, float] = {}
        """The moments at which steps became ready, if steps age."""
        self._moving: dict[StepLife, None] = {}
        """The steps that are neither pending nor settled."""
        self._lanes: dict[Life, StepLife] = {}
        """The step in the sync lane of each run."""
        self._pauses: dict[StepLife, Pause] = {}
        """The steps whose attempts are suspended, which hold nothing."""
        self._waits = lives.waits
        self._held: dict[Life, dict[StepLife, None]] = {
            life: {} for life in lives.all if life.holds and life.holds[0].since < 0
        }
        """The ready steps of runs that may be kept from starting any, because of a pause."""
        self._passed: dict[tuple[Life, _Wants], set[Life]] = {}
        """For each waiting run, the runs that have had a turn since it began to wait."""
        self._overtaken: dict[tuple[int, StepLife], list[str]] = {}
        """What other runs did instead of starting a step, by decision. If that decision starts the
        step as well, there was enough for all.
        """
        torn = {life for life in lives.all if life.torn}
        self._go_through(trace, lives.owners, torn)
        del self._all, self._waits  # they would keep each other alive

    def _go_through(self, trace: Trace, owners: Sequence[Any], torn: Container[Life]) -> None:
        # This loop sees every event of every schedule, so it avoids calls.
        marks, late = trace.marks, dict(trace.late)
        moments = iter(trace.lulls)
        idle = next(moments, None)
        for place, event in enumerate(trace.events):
            while idle is not None and idle[1] <= place:
                self._check_idle(*idle)
                idle = next(moments, None)
            if self._crashes or self._evicted:
                self._forget_before(marks[place])
            kind, step = event[1], owners[place]
            if kind is _READY and step.life not in torn:
                # Events that are recorded late may have been decided apart.
                self._join(step, late[place] if place in late else marks[place], event.time)
            elif kind is _STARTED and step.life not in torn:
                self._place = place
                self._go(step, late[place] if place in late else marks[place])
            elif kind in _PAUSES:
                self._leave(step, kind)
            elif kind in _CHANGES:
                self._change(step, kind, place, torn)
        while idle is not None:
            self._check_idle(*idle)
            idle = next(moments, None)
        for found in self._overtaken.values():
            self.unfair += found

    def _change(self, owner: Any, kind: EventKind, place: int, torn: Container[Life]) -> None:
        """Let a step hold nothing or something again, or a run be paused or go on."""
        if kind in _HOLDS:
            if owner not in torn:
                mark = self._all.late.get(place, self._trace.marks[place])
                self._hold(owner, kind, mark, self._trace.events[place].time)
        elif owner.life not in torn:
            (self._suspend if kind is _SUSPENDED else self._continue)(owner, place)

    def _forget_before(self, deliveries: int) -> None:
        """Forget the state of orchestrators that had crashed by then, and of evicted runs."""
        while self._crashes and self._crashes[0] < deliveries:
            del self._crashes[0]
            self._waiting.clear()
            self._started.clear()
            self._lanes.clear()
            self._pauses.clear()
            self._moving.clear()
            self._passed.clear()
        while self._evicted and self._evicted[0][0] <= deliveries:
            _, gone = self._evicted.popleft()
            for step in gone.steps.values():
                self._pauses.pop(step, None)
                self._moving.pop(step, None)

    def _hold(self, life: Life, kind: EventKind, mark: int, time: float) -> None:
        """Let all steps of a run wait for the end of its pause, or for the same as others again."""
        if kind is EventKind.RUN_PAUSED:
            self._held[life] = {one: None for one in self._waiting if one.life is life}
            for step in self._held[life]:
                del self._waiting[step]
            self._passed = {key: runs for key, runs in self._passed.items() if key[0] is not life}
        elif len(self._trace.runs) <= self._places:  # otherwise it may wait for its place
            for step in self._held.pop(life, ()):
                self._join(step, mark, time)

    def _join(self, step: StepLife, mark: int, time: float) -> None:
        """Let a step wait, and its run too if none of its steps waits for the same."""
        life, options = step.life, step.plan.step
        self._moving[step] = None
        if life in self._held:
            self._held[life][step] = None
            return
        lane, priority = None if options.async_ else life, -life.start.priority
        wants: _Wants = lane, priority, -options.priority
        if self._ageing is not None:
            wants = lane, 0, priority - options.priority + time / self._ageing
            self._ready_at[step] = time
        if self._passed and (life, wants) in self._passed:
            others = [one for one, theirs in self._waiting.items() if theirs == wants]
            if not any(one.life is life for one in others):
                del self._passed[life, wants]
        if self._started:
            self._compare_with_started(step, mark, wants)
        self._waiting[step] = wants
        way = 0.0 if life.start.ways is None else life.start.ways[step.id]
        self._since[step] = -way, mark, step.plan.rank[1]

    def _compare_with_started(self, step: StepLife, mark: int, wants: _Wants) -> None:
        """Compare a step that is ready with those that the same decision has started before."""
        if self._started[-1][0] != mark:
            self._started.clear()
        for _, theirs, other in self._started:
            if theirs[0] is wants[0] and theirs > wants:
                self.unranked.append(
                    f"{other} started before {step}, of higher priority, was ready in that decision"
                )

    def _go(self, step: StepLife, mark: int) -> None:
        """Let a step run."""
        waiting = self._waiting
        if self._pauses:
            self._compare_with_woken(step, mark)
        if step in waiting:
            if self._overtaken:
                self._overtaken.pop((mark, step), None)
            if len(waiting) > 1:
                self._compare(step, mark)
            self._started.append((mark, waiting.pop(step), step))
        self._moving[step] = None
        if not step.plan.step.async_:
            self._lanes[step.life] = step

    def _leave(self, step: StepLife, kind: EventKind) -> None:
        """Let a step neither wait nor run."""
        self._waiting.pop(step, None)
        if self._held:
            self._held.get(step.life, {}).pop(step, None)
        if self._lanes.get(step.life) is step:
            del self._lanes[step.life]
        if kind is not _RETRYING:
            self._moving.pop(step, None)
        if self._pauses:
            self._pauses.pop(step, None)

    # ── Attempts that wait ───────────────────────────────────────────────────────────────────

    def _suspend(self, step: StepLife, place: int) -> None:
        """Let a step hold nothing."""
        if self._waits is not None:
            self._pauses[step] = next(it for it in self._waits.of[step] if it.since == place)
        if self._lanes.get(step.life) is step:
            del self._lanes[step.life]

    def _continue(self, step: StepLife, _place: int) -> None:
        """Let a suspended step hold again what it needs."""
        pause = self._pauses.pop(step, None)
        if not step.plan.step.async_:
            self._lanes[step.life] = step
        if pause is not None and self._ageing is None:
            ways = step.life.start.ways
            way = 0.0 if ways is None else ways[step.id]
            wants, since = self._wants(step), (-way, pause.woken, -1.0)
            for other, theirs in self._waiting.items():
                if theirs[0] is wants[0] and (
                    theirs < wants
                    or (other.life is step.life and theirs == wants and self._since[other] < since)
                ):
                    self.unranked.append(
                        f"{step} continued while {other}, which goes first, waited"
                    )
        # It has been its run's turn.
        self._passed = {key: runs for key, runs in self._passed.items() if key[0] is not step.life}

    def _compare_with_woken(self, step: StepLife, mark: int) -> None:
        """Compare a starting step with the suspended ones that wanted to continue."""
        trace = self._trace
        if self._ageing is not None or self._waits is None or len(trace.runs) > self._places:
            return  # it is not known what they were ranked by, or whether their runs had a place
        wants = self._wants(step)
        for other, pause in self._pauses.items():
            theirs = self._wants(other)
            if other.life in self._held:
                continue
            if theirs[0] is wants[0] and theirs < wants and pause.woken <= mark:
                time = trace.events[self._place].time
                if not self._waits.may_end(other.life, self._place, mark, time):
                    self.unranked.append(
                        f"{step} started while {other}, of higher priority, waited"
                    )

    def _wants(self, step: StepLife) -> _Wants:
        lane = None if step.plan.step.async_ else step.life
        return lane, -step.life.start.priority, -step.plan.step.priority

    # ── Comparisons ──────────────────────────────────────────────────────────────────────────

    def _compare(self, step: StepLife, mark: int) -> None:
        """Compare a starting step with those that still wait for the same."""
        wants, since, rivals = self._waiting[step], self._since[step], {}
        lane = wants[0]
        for other, theirs in self._waiting.items():
            if other is step or theirs[0] is not lane:
                continue
            if theirs < wants:
                self._passed_by(step, other)
            elif theirs == wants and other.life is not step.life:
                rivals[other.life] = other
            elif theirs == wants and self._since[other] < since:
                self.unranked.append(
                    f"{step} started while {other}, which was ready earlier, waited"
                )
        if lane is None and self._lives[1:]:
            self._take_turn(step, wants, rivals, mark)

    def _passed_by(self, step: StepLife, other: StepLife) -> None:
        """Note that a step started while another, which had to come first, still waited."""
        longer = self._ready_at[step] - self._ready_at[other] if self._ageing else 0.0
        if longer > 0:
            self.starved.append(f"{step} started while {other}, ready {longer:g} s longer, waited")
        else:
            self.unranked.append(f"{step} started while {other}, of higher priority, waited")

    def _take_turn(
        self, step: StepLife, wants: _Wants, rivals: dict[Life, StepLife], mark: int
    ) -> None:
        life = step.life
        self._passed.pop((life, wants), None)
        for rival, other in rivals.items():
            passed = self._passed.setdefault((rival, wants), set())
            if life in passed:
                self._overtaken.setdefault((mark, other), []).append(
                    f"{step} started, the second step of its run while {other} waited"
                )
            passed.add(life)

    # ── Idle moments ─────────────────────────────────────────────────────────────────────────

    def _check_idle(
        self,
        time: float,
        events: int,
        deliveries: int,
        _held: int,
        _free: int,
        in_flight: int,
        writes: int,
    ) -> None:
        """Find steps and runs that wait without reason when nothing can be delivered."""
        if self._crashes or self._evicted:
            self._forget_before(deliveries)
        if writes or deliveries in self._crashes:
            return
        if any(leave <= deliveries <= until for leave, until in self._leaves):
            return
        if self._pauses:
            # Attempts of a run that is being evicted may be over.
            in_flight -= sum(
                step.plan.step.async_ and step.life.left_at > deliveries for step in self._pauses
            )
        for step, (lane, _, _) in self._waiting.items():
            if lane is None:
                if in_flight < self._workers:
                    busy = f"{in_flight} of {self._workers} workers were busy"
                    self.idle.append(f"{step} was ready at {time:g} s, when {busy}")
            elif lane not in self._lanes:
                self.idle.append(
                    f"{step} was ready at {time:g} s, when its run's sync lane was free"
                )
        if not self._moving or self._lives[1:]:
            self._check_standstill(time, events, deliveries)

    def _check_standstill(self, time: float, events: int, deliveries: int) -> None:
        live = self._all.alive(events, deliveries)
        moving = {step.life for step in self._moving}
        for life in live:
            if life not in moving and not (life.torn or self._may_wait(life, len(live), events)):
                self.still.append(f"at {time:g} s {life} had nothing in motion, but had not ended")

    def _may_wait(self, life: Life, live: int, events: int) -> bool:
        """Return whether a run may wait for a place, or is compensated, which steps do not show."""
        if life in self._held or life.undone or life.compensates:
            return True
        if live > self._places and not _has_begun(life, events):
            return True
        return live > self._places and may_wait_to_be_undone(life, self._all)


def _has_begun(life: Life, events: int) -> bool:
    """Return whether a run's steps had been ready after a number of events.

    Steps may be cancelled before their run has a place.
    """
    return any(
        place < events and event.kind is not EventKind.STEP_CANCELLED
        for step in life.steps.values()
        for place, event in zip(step.at, step.events, strict=False)
    )

"""Who waited while others went on: the events of a trace once more, in their order.

For the laws about priorities, turns and standstill. Between any two events it is known which
steps were ready and what each run had in motion, and whenever nothing could be delivered it is
known what the executors were doing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.lifecycle import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.events import Event
    from actorflow.testing.lives import Life, Lives, StepLife

__all__ = ["Turns"]

_Level = tuple[int, int]
"""The priority of a run and of a step, the higher the less."""
_LAST: Final = float("inf")


class Turns:
    """What was seen of it that must not be, a line each.

    Args:
        lives: The trace, by life and step.
    """

    def __init__(self, lives: Lives) -> None:
        trace = lives.trace
        self.unranked: list[str] = []
        """Who started before others that had to come first."""
        self.unfair: list[str] = []
        """Whose run did not get its turn."""
        self.idle: list[str] = []
        """Who was ready while a place for it was free."""
        self.still: list[str] = []
        """Which runs had nothing in motion, and had not ended."""
        self._lives = lives.all
        self._workers = trace.settings.async_workers
        self._places = trace.settings.max_active_runs
        self._crashes = [count for count, _ in trace.crashes]
        self._waiting: dict[StepLife, _Level] = {}
        """Who is ready, in the order in which they became so."""
        self._lanes: dict[Life, StepLife] = {}
        """What runs in the sync lane of each run."""
        self._moving: dict[Life, int] = {}
        """How many steps of each run are neither pending nor settled."""
        self._passed: dict[tuple[Life, _Level], set[Life]] = {}
        """Which runs had a turn while another one has waited for its own."""
        self._take: dict[EventKind, Callable[[StepLife, Event, int], None]] = {
            EventKind.STEP_READY: self._ready,
            EventKind.STEP_STARTED: self._started,
            EventKind.STEP_RETRYING: self._paused,
            EventKind.STEP_COMPLETED: self._settled,
            EventKind.STEP_SKIPPED: self._settled,
            EventKind.STEP_FAILED: self._settled,
            EventKind.STEP_CANCELLED: self._settled,
        }
        self._go_through(trace.events, trace.marks, lives.owners, trace.lulls)

    def _go_through(
        self,
        events: Sequence[Event],
        marks: Sequence[int],
        owners: Sequence[Any],
        lulls: Sequence[tuple[Any, ...]],
    ) -> None:
        take, coming = self._take, iter(lulls)
        lull = next(coming, None)
        for place, event in enumerate(events):
            while lull is not None and lull[1] <= place:
                self._look_around(*lull)
                lull = next(coming, None)
            if self._crashes:
                self._forget_before(marks[place])
            handle = take.get(event.kind)
            if handle is not None and not owners[place].life.torn:
                handle(owners[place], event, marks[place])
        while lull is not None:
            self._look_around(*lull)
            lull = next(coming, None)

    def _forget_before(self, deliveries: int) -> None:
        """Let what was going on be gone with an orchestrator that had crashed by then."""
        while self._crashes and self._crashes[0] < deliveries:
            del self._crashes[0]
            self._waiting.clear()
            self._lanes.clear()
            self._moving.clear()
            self._passed.clear()

    # ── Steps ────────────────────────────────────────────────────────────────────────────────

    def _ready(self, step: StepLife, event: Event, _mark: int) -> None:
        life, options = step.life, step.plan.step
        if step.events[0] is event:
            self._moving[life] = self._moving.get(life, 0) + 1
        level = -life.start.priority, -options.priority
        if self._lives[1:] and options.async_ and not self._waits(life, level):
            self._passed.pop((life, level), None)
        self._waiting[step] = level

    def _waits(self, life: Life, level: _Level) -> bool:
        """Return whether a run has an async step that waits on a level."""
        return any(
            one.life is life and one.plan.step.async_ and its == level
            for one, its in self._waiting.items()
        )

    def _started(self, step: StepLife, _event: Event, mark: int) -> None:
        if self._waiting.keys() - {step} and step in self._waiting:
            self._compare(step, mark)
        self._waiting.pop(step, None)
        if not step.plan.step.async_:
            self._lanes[step.life] = step

    def _paused(self, step: StepLife, _event: Event, _mark: int) -> None:
        if self._lanes.get(step.life) is step:
            del self._lanes[step.life]

    def _settled(self, step: StepLife, event: Event, mark: int) -> None:
        self._waiting.pop(step, None)
        self._paused(step, event, mark)
        if step.events[0] is not event:
            self._moving[step.life] -= 1

    # ── Comparisons ──────────────────────────────────────────────────────────────────────────

    def _compare(self, step: StepLife, mark: int) -> None:
        """Compare a step that starts with those that go on waiting."""
        level, longer, rivals = self._waiting[step], True, {}
        for other, its in self._waiting.items():
            if other is step:
                longer = False
            elif not _compete(step, other) or any(death < mark for death in other.deaths):
                continue  # nobody can start a step whose actor has died
            elif its < level:
                self.unranked.append(f"{step} started while {other}, of higher priority, waited")
            elif its == level and other.life is not step.life:
                rivals[other.life] = other
            elif its == level and longer:
                self.unranked.append(
                    f"{step} started while {other}, which was ready earlier, waited"
                )
        if step.plan.step.async_:
            self._take_turn(step, level, rivals)

    def _take_turn(self, step: StepLife, level: _Level, rivals: dict[Life, StepLife]) -> None:
        life = step.life
        self._passed.pop((life, level), None)
        for rival, other in rivals.items():
            passed = self._passed.setdefault((rival, level), set())
            if life in passed and not any(one.deaths for one in rival.steps.values()):
                self.unfair.append(f"{step} started, the second of its run while {other} waited")
            passed.add(life)

    # ── Lulls ────────────────────────────────────────────────────────────────────────────────

    def _look_around(
        self,
        time: float,
        events: int,
        deliveries: int,
        _held: int,
        _free: int,
        in_flight: int,
        writes: int,
    ) -> None:
        """See who waits for nothing, when nothing can be delivered."""
        if self._crashes:
            self._forget_before(deliveries)
        if writes or deliveries in self._crashes:
            return
        for step in self._waiting:
            if step.plan.step.async_:
                if in_flight < self._workers:
                    busy = f"{in_flight} of {self._workers} workers were busy"
                    self.idle.append(f"{step} was ready at {time:g} s, when {busy}")
            elif step.life not in self._lanes:
                self.idle.append(f"{step} was ready at {time:g} s, when its run's lane was free")
        live = [life for life in self._lives if _lives(life, events, deliveries)]
        for life in live:
            if not (life.torn or self._moving.get(life) or self._may_wait(life, len(live))):
                self.still.append(f"at {time:g} s {life} had nothing in motion, and had not ended")

    def _may_wait(self, life: Life, live: int) -> bool:
        """Return whether a run may still wait for a place, or does what steps do not show."""
        return life.compensates or (live > self._places and life not in self._moving)


def _compete(step: StepLife, other: StepLife) -> bool:
    """Return whether two steps want the same thing: a lease, or the lane of their run."""
    async_: bool = step.plan.step.async_
    return other.plan.step.async_ == async_ and (async_ or other.life is step.life)


def _lives(life: Life, events: int, deliveries: int) -> bool:
    """Return whether a run has begun, and its end is not recorded, after so many of both."""
    return life.since <= deliveries < life.until and life.end_at >= events

"""Attempts that waited: when they held nothing, and when they wanted to continue.

An attempt counts as holding what it needs from `step.started` or `step.continued` to
`step.suspended` or its end. Traces in which nothing waits have no such evidence, and cost nothing.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final, NamedTuple

from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import WakeAttempt
from actorflow.testing.laws.evidence.holds import is_held
from actorflow.testing.laws.evidence.life import BEFORE, NEVER, Life, Undoing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.laws.evidence.life import StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import Idle, Trace, WaitTrace

    _Key = tuple[Life, str, int, bool]
    """An attempt: its life, its step, its number, and whether it compensates."""

__all__ = ["ROUNDING", "Pause", "Waits", "may_wait_to_be_undone"]

ROUNDING: Final = 1e-6
"""Tolerance for sums of floating-point numbers, in seconds."""

_READY: Final = EventKind.STEP_READY
_STARTED: Final = EventKind.STEP_STARTED
_SUSPENDED: Final = EventKind.STEP_SUSPENDED
_CONTINUED: Final = EventKind.STEP_CONTINUED
_RETRYING: Final = EventKind.STEP_RETRYING
_FAILED: Final = EventKind.STEP_FAILED
_ENDS_OF_ATTEMPTS: Final = frozenset(
    {
        EventKind.STEP_RETRYING,
        EventKind.STEP_COMPLETED,
        EventKind.STEP_SKIPPED,
        EventKind.STEP_FAILED,
        EventKind.STEP_CANCELLED,
    }
)


class Pause(NamedTuple):
    """The time for which an attempt was suspended, by the events."""

    step: StepLife
    attempt: int | None
    since: int
    """The index of the event that suspended it among the events of the trace."""
    since_at: float
    until: float
    """The index of the event with which it continued or ended; `NEVER` if it did neither."""
    until_at: float
    continued: bool
    wait: WaitTrace | None
    """Its executor's account."""
    woken: float
    """Number of messages delivered when the supervisor heard that its wait was over."""

    @property
    def clock_at(self) -> float:
        """A moment by which the timeouts went on, if they did."""
        if not self.continued or self.wait is None or self.wait.until_at is None:
            return self.until_at
        return max(self.until_at, self.wait.until_at)  # the grant may have been sent later


class _Doubt(NamedTuple):
    """From when on attempts of a run may have been stopped: the first of three things."""

    deliveries: float
    """A number of messages delivered."""
    time: float
    """A moment."""
    place: float
    """The index of an event."""


class Waits:
    """All suspensions of a trace.

    Args:
        lives: The trace, by life and step.
    """

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self.trace: Trace = lives.trace
        self._woken = self._wakes()
        self.of: dict[StepLife, list[Pause]] = {}
        """The suspensions of each step, in order."""
        self._doubts: dict[Life, _Doubt] = {}
        self._begun: dict[Life, float] = {}
        self.waits: dict[StepLife, list[WaitTrace]] = {}
        """The waits of each step's attempts, by their executors' account, in order."""
        undoings: dict[tuple[Life, str], StepLife] = {
            (undo.life, undo.id): undo for undo in lives.undoings
        }
        for wait in self.trace.waits:
            life = lives.at(wait.run_id, wait.begun)
            step = life.steps[wait.step_id]
            if wait.compensates:  # it is not known if the record of its run ends early
                step = undoings.get((life, wait.step_id), step)
            self.waits.setdefault(step, []).append(wait)
        for step in lives.attempted:
            if any(event.kind is _SUSPENDED for event in step.events):
                self.of[step] = self._pauses(step)
        self._unseen = [
            (step.life, wait)
            for step, waits in self.waits.items()
            if step.life.torn or step.life.left_at != NEVER
            for wait in waits
        ]
        """The waits whose ends the events may not show."""
        self._all = [pause for pauses in self.of.values() for pause in pauses]

    def dissolve(self) -> None:
        """Break the reference cycles; it cannot be used afterwards."""
        vars(self).clear()

    def _wakes(self) -> dict[_Key, list[int]]:
        """Return when the supervisor heard that waits were over, by attempt."""
        heard: dict[_Key, list[int]] = {}
        for count, (_, (_, message, _)) in enumerate(self.trace.envelopes, 1):
            if type(message) is WakeAttempt:
                attempt = message.attempt
                life = self._lives.life_of(attempt)
                key = (life, attempt.step_id, attempt.number, attempt.compensates)
                heard.setdefault(key, []).append(count)
        return heard

    def _pauses(self, step: StepLife) -> list[Pause]:
        """Return the suspensions of a step: the first of an attempt is that of its first wait."""
        pauses: list[Pause] = []
        waits: dict[tuple[int, int], WaitTrace] = {}
        counts: dict[int, int] = {}
        for wait in self.waits.get(step, ()):
            waits[wait.attempt, counts.get(wait.attempt, 0)] = wait
            counts[wait.attempt] = counts.get(wait.attempt, 0) + 1
        numbers: dict[int, int] = {}
        for index, (place, event) in enumerate(zip(step.at, step.events, strict=True)):
            if event.kind is _SUSPENDED:
                attempt = event.attempt or 0
                nth = numbers.get(attempt, 0)
                numbers[attempt] = nth + 1
                pauses.append(self._pause(step, index, place, waits.get((attempt, nth)), nth))
        return pauses

    def _pause(
        self, step: StepLife, index: int, place: int, wait: WaitTrace | None, nth: int
    ) -> Pause:
        event = step.events[index]
        until, until_at, continued = NEVER, NEVER, False
        for later, following in zip(step.at[index + 1 :], step.events[index + 1 :], strict=True):
            if following.kind is _CONTINUED or following.kind in _ENDS_OF_ATTEMPTS:
                until, until_at = later, following.time
                continued = following.kind is _CONTINUED
                break
        undoes = isinstance(step, Undoing)
        key = (step.life, step.id, event.attempt or 0, undoes)
        woken = self._woken.get(key, [])[nth:]
        heard = woken[0] if woken else NEVER
        return Pause(
            step, event.attempt, place, event.time, until, until_at, continued, wait, heard
        )

    # ── Clocks ───────────────────────────────────────────────────────────────────────────────

    def postponed(
        self, due: float, step: StepLife, before: float, attempt: int | None, *, at_most: bool
    ) -> float:
        """Return when a timeout passes that stood still while the step's attempts were suspended.

        Args:
            due: The moment at which it would have passed.
            step: The step.
            before: The index of the event up to which suspensions count.
            attempt: The attempt; None for the timeout of all of them together.
            at_most: Whether to count what may have passed before a grant was sent.
        """
        for pause in self.of.get(step, ()):
            if pause.since < before and attempt in {None, pause.attempt}:
                until = pause.clock_at if at_most else pause.until_at
                left = max(0.0, due - pause.since_at)
                due = NEVER if pause.until > before else until + left
        return due

    # ── Moments ──────────────────────────────────────────────────────────────────────────────

    def suspended(self, events: int, deliveries: int) -> Iterator[Pause]:
        """Yield the attempts that were suspended after numbers of events and deliveries.

        The record of a run that ends early, or is left, does not show how its suspensions end.
        """
        for pause in self._all:
            if pause.since < events <= pause.until:
                life = pause.step.life
                if life.since <= deliveries <= life.until and not _is_silent(life, deliveries):
                    yield pause

    def held(self, in_flight: int, events: int, deliveries: int) -> tuple[int, int]:
        """Return how many workers may have been held at least, and at most, at an idle moment.

        Args:
            in_flight: The number of async attempts in flight, with those that waited.
            events: The number of events recorded by then.
            deliveries: The number of messages delivered by then.
        """
        most = in_flight - sum(
            pause.step.plan.step.async_ for pause in self.suspended(events, deliveries)
        )
        unknown = sum(
            wait.async_
            for life, wait in self._unseen
            if _is_silent(life, deliveries)
            and wait.begun <= deliveries <= (NEVER if wait.until is None else wait.until)
        )
        return most - unknown, most

    def may_end(self, life: Life, events: int, deliveries: int, time: float) -> bool:
        """Return whether attempts of a run may have been stopped, or may be about to be."""
        doubt = self._doubts.get(life)
        if doubt is None:
            doubt = self._doubts[life] = _doubt(life)
        return doubt.deliveries <= deliveries or doubt.time <= time or doubt.place < events

    def may_stop(self, step: StepLife, idle: Idle) -> bool:
        """Return whether an attempt may have been stopped by an idle moment, or may be about to."""
        life = step.life
        if isinstance(step, Undoing):
            limited = any(one.grace is not None for _, _, one in life.reasons_to_end)
            return life.torn or limited or bool(step.deaths)
        return self.may_end(life, idle.events, idle.deliveries, idle.time)

    # ── Places ───────────────────────────────────────────────────────────────────────────────

    def holders(self, idle: Idle) -> int:
        """Return how many runs may hold a place at an idle moment: those that do not only wait."""
        alive = self._lives.alive(idle.events, idle.deliveries)
        return sum(self._has_begun(it, idle) and not self.away(it, idle) for it in alive)

    def waiting_runs(self, idle: Idle) -> Iterator[Life]:
        """Yield the runs that waited for a place at an idle moment, to begin."""
        for life in self._lives.alive(idle.events, idle.deliveries):
            if (
                not self._has_begun(life, idle)
                and not self.may_end(life, idle.events, idle.deliveries, idle.time)
                and not is_held(life, idle.events, scarce=True)
            ):
                yield life

    def _has_begun(self, life: Life, idle: Idle) -> bool:
        begun = self._begun.get(life)
        if begun is None:
            begun = self._begun[life] = _begun_at(life)
        return begun < idle.events

    def is_in_lane(self, step: StepLife, idle: Idle) -> bool:
        """Return whether a step was in its run's sync lane at an idle moment."""
        started = _last(step, idle.events) in {_STARTED, _CONTINUED}
        return started and not step.plan.step.async_

    def away(self, life: Life, idle: Idle) -> bool:
        """Return whether a run only waited at an idle moment, and so held no place."""
        if self.may_end(life, idle.events, idle.deliveries, idle.time):
            return False
        suspended = 0
        for step in life.steps.values():
            last = _last(step, idle.events)
            if last in {_READY, _STARTED, _CONTINUED, _RETRYING}:
                return False
            if last is _SUSPENDED:
                suspended += 1
                pause = next(it for it in self.of[step] if it.since < idle.events <= it.until)
                if pause.woken <= idle.deliveries:
                    return False
        return suspended > 0


def _is_silent(life: Life, deliveries: int) -> bool:
    """Return whether the record of a run may not show what happens to its attempts."""
    return life.torn or life.left_at <= deliveries


def may_wait_to_be_undone(life: Life, lives: Lives) -> bool:
    """Return whether a run without a place may have ended all its steps, and wait for a place.

    It has given its place back, or was resumed and has not got one.
    """
    scarce = len(lives.latest) > lives.trace.settings.max_active_runs
    none = all(plan.compensation is None for plan in life.plan.steps)
    has_children = any(lives.children_of(life.run_id))
    if not scarce or (none and not has_children):
        return False
    if has_children and life.compensates:
        return True  # it gives its place back while a child is undone
    waited = lives.waits is not None and any(step.life is life for step in lives.waits.of)
    return waited or life.former is not None


def _doubt(life: Life) -> _Doubt:
    if life.torn or life.compensates:
        return _Doubt(BEFORE, 0.0, BEFORE)
    deadline = life.start.deadline
    reasons = (count for count, _, _ in life.reasons_to_end)
    failed = (it.end_at for it in life.odd if it.end is not None and it.end.kind is _FAILED)
    return _Doubt(
        BEFORE if any(step.deaths for step in life.odd) else min([life.left_at, *reasons]),
        NEVER if deadline is None else deadline,
        min(failed, default=NEVER),
    )


def _begun_at(life: Life) -> float:
    """Return the index of the first event that shows that a run has begun."""
    if life.torn or life.compensates:
        return BEFORE
    starts = (place for place, event in life.events if event.kind is EventKind.RUN_STARTED)
    steps = (step.at[0] for step in life.steps.values() if step.at)
    return min([*starts, *steps], default=NEVER)


def _last(step: StepLife, events: int) -> EventKind | None:
    """Return what happened to a step last that moves it, among the first events of the trace."""
    for index in range(bisect.bisect_left(step.at, events) - 1, -1, -1):
        kind = step.events[index].kind
        if kind in _MOVES:
            return kind
    return None


_MOVES: Final = _ENDS_OF_ATTEMPTS | {_READY, _STARTED, _SUSPENDED, _CONTINUED}

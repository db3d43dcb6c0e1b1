"""Which nominal times fire: the rules of overlap, lateness and jitter.

`decide` is the whole of it. It moves each nominal time that is due to one place: it fires, is
queued, is skipped because of the run in progress, or is missed because it is too late. The caller
records the new state before it acts on it, so that of several processes that decide at once, one
prevails. It then starts the runs of `pending`, which it can repeat, because a run's idempotency key
is made of the schedule's name and the nominal time.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.schedules.times import zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.schedules import ScheduleDefinition, ScheduleState
    from actorflow.schedules.times import Timetable

__all__ = ["ON_TIME", "Decision", "decide", "delay", "key_of", "local_time", "unpaused"]

ON_TIME: Final = 10.0
"""Seconds after its due time within which a firing counts as punctual."""
_MANY: Final = 10_000
"""How many nominal times one decision settles, so that each is quick after a long downtime."""
_STARTS: Final = 100
"""How many runs one decision starts at most."""


@attrs.frozen(kw_only=True)
class Decision:
    """What follows from the nominal times that are due."""

    state: ScheduleState
    """The new state, equal to the old one if nothing was due."""
    skipped: tuple[float, ...] = ()
    """The nominal times that were skipped now."""
    missed: tuple[float, ...] = ()
    """The nominal times that were missed now."""
    cancel: bool = False
    """Whether to cancel the run in progress, for which the queued nominal time waits."""
    more: bool = False
    """Whether to decide again at once, because more nominal times are due."""
    due_at: float | None = None
    """When the next nominal time is due; None if there is none, or the schedule is paused."""


def decide(
    definition: ScheduleDefinition,
    timetable: Timetable,
    state: ScheduleState,
    now: float,
    *,
    running: bool,
) -> Decision:
    """Decide all nominal times that are due.

    Args:
        definition: The schedule.
        timetable: Its nominal times.
        state: Where it stands.
        now: The time, in seconds since the epoch.
        running: Whether the run of the last firing is in progress.
    """
    if state.paused:
        return Decision(state=state)
    deciding = _Deciding(definition, state, now, running=running)
    return deciding.all_due(timetable.after(state.decided_until))


class _Deciding:
    """One decision in the making."""

    def __init__(
        self, definition: ScheduleDefinition, state: ScheduleState, now: float, *, running: bool
    ) -> None:
        self._definition = definition
        self._state = state
        self._now = now
        self._running = running
        self._until = state.decided_until
        self._pending = list(state.pending)
        self._queued = state.queued
        self._skipped: list[float] = []
        self._missed: list[float] = []

    def all_due(self, times: Iterator[float]) -> Decision:
        """Decide each nominal time that is due."""
        if self._queued is not None and not self._busy:
            self._pending.append(self._queued)
            self._queued = None
        count, more = 0, False
        at = next(times, None)
        while at is not None and self._is_due(at):
            if count == _MANY or len(self._pending) >= _STARTS:
                more = True
                break
            following = next(times, None)
            self._decide(at, latest=following is None or not self._is_due(following))
            self._until, at, count = at, following, count + 1
        return self._decision(None if at is None else at + delay(self._definition, at), more=more)

    def _decision(self, due_at: float | None, *, more: bool) -> Decision:
        state = attrs.evolve(
            self._state,
            decided_until=self._until,
            pending=tuple(self._pending),
            queued=self._queued,
            skipped=self._state.skipped + len(self._skipped),
            missed=self._state.missed + len(self._missed),
        )
        waits = self._queued is not None and self._definition.overlap == "cancel_running"
        return Decision(
            state=state,
            skipped=tuple(self._skipped),
            missed=tuple(self._missed),
            cancel=waits and self._running,
            more=more,
            due_at=due_at,
        )

    @property
    def _busy(self) -> bool:
        return self._running or bool(self._pending)

    def _is_due(self, at: float) -> bool:
        return at + delay(self._definition, at) <= self._now

    def _decide(self, at: float, *, latest: bool) -> None:
        if self._may_fire(at, latest=latest):
            self._fire(at)
        else:
            self._missed.append(at)

    def _may_fire(self, at: float, *, latest: bool) -> bool:
        # Jitter makes nothing late: it counts in full, whatever this nominal time's share is.
        late = self._now - at - self._definition.jitter
        if late <= ON_TIME:
            return True
        if late > self._definition.catch_up:
            return False
        missed = self._definition.missed
        return missed == "all" or (missed == "latest" and latest)

    def _fire(self, at: float) -> None:
        overlap = self._definition.overlap
        if overlap == "allow" or not self._busy:
            self._pending.append(at)
        elif overlap == "skip" or (overlap == "queue" and self._queued is not None):
            self._skipped.append(at)
        else:
            if self._queued is not None:  # a newer one takes its place
                self._skipped.append(self._queued)
            self._queued = at


def unpaused(timetable: Timetable, state: ScheduleState, now: float) -> ScheduleState:
    """Return the state after a pause; nominal times that passed during it are skipped."""
    if not state.paused:
        return state
    until, skipped = state.decided_until, state.skipped
    for at in timetable.after(until):
        if at > now:
            break
        until, skipped = at, skipped + 1
    return attrs.evolve(state, paused=False, decided_until=until, skipped=skipped)


def delay(definition: ScheduleDefinition, at: float) -> float:
    """Return by how many seconds a firing is delayed; the same in every process."""
    if not definition.jitter:
        return 0.0
    digest = hashlib.sha256(f"{definition.name}\0{at!r}".encode()).digest()
    return definition.jitter * int.from_bytes(digest[:8], "big") / 2**64


def key_of(name: str, at: float) -> str:
    """Return the idempotency key of a firing."""
    return f"schedule:{name}:{datetime.fromtimestamp(at, UTC).isoformat()}"


def local_time(definition: ScheduleDefinition, at: float) -> str:
    """Return a nominal time as ISO 8601, in the timezone of the schedule."""
    return datetime.fromtimestamp(at, zone_of(definition.tz)).isoformat()

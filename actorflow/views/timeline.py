"""The time of each step, as segments that are folded from the events of a run.

The Gantt chart, the bounds and the live view of the command line all use this fold. The timeline of
a resumed run starts when it was resumed: steps that were kept have a status but no segments,
because no step ran between the two starts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.model.lifecycle import KEPT, EventKind, StepStatus, move_step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event

__all__ = ["Bounds", "Phase", "Segment", "Timeline", "Track", "bounds_of"]


class Phase(enum.Enum):
    """What a step did during a segment of time."""

    QUEUED = "waiting for its turn"
    """Ready, and waiting for an async worker or for the run's sync lane."""
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed attempt"
    CANCELLED = "cancelled"
    BACKOFF = "waiting to retry"
    UNDOING = "being undone"
    UNDONE = "undone"
    NOT_UNDONE = "undoing failed"


_OPENS: Final = {
    EventKind.STEP_READY: Phase.QUEUED,
    EventKind.STEP_STARTED: Phase.RUNNING,
    EventKind.STEP_RETRYING: Phase.BACKOFF,
    EventKind.COMPENSATION_STARTED: Phase.UNDOING,
    EventKind.COMPENSATION_RETRYING: Phase.BACKOFF,
}
# The phase that an open phase becomes when it is closed; if not listed, it stays the same.
_CLOSES: Final = {
    (Phase.RUNNING, EventKind.STEP_RETRYING): Phase.FAILED,
    (Phase.RUNNING, EventKind.STEP_COMPLETED): Phase.COMPLETED,
    (Phase.RUNNING, EventKind.STEP_FAILED): Phase.FAILED,
    (Phase.RUNNING, EventKind.STEP_SKIPPED): Phase.FAILED,
    (Phase.RUNNING, EventKind.STEP_CANCELLED): Phase.CANCELLED,
    (Phase.UNDOING, EventKind.COMPENSATION_STARTED): Phase.NOT_UNDONE,
    (Phase.UNDOING, EventKind.COMPENSATION_RETRYING): Phase.NOT_UNDONE,
    (Phase.UNDOING, EventKind.COMPENSATION_COMPLETED): Phase.UNDONE,
    (Phase.UNDOING, EventKind.COMPENSATION_FAILED): Phase.NOT_UNDONE,
}
# Events about an attempt that goes on.
_NO_PHASE_CHANGE: Final = frozenset(
    {
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_ABANDONED,
        EventKind.STEP_BLOCKING,
        EventKind.COMPENSATION_TIMED_OUT,
        EventKind.COMPENSATION_ABANDONED,
        EventKind.COMPENSATION_BLOCKING,
    }
)
_BEGINNINGS: Final = frozenset({EventKind.RUN_STARTED, EventKind.RUN_RESUMED})
_UNDOING: Final = frozenset({EventKind.COMPENSATION_STARTED, EventKind.COMPENSATION_RETRYING})
_SUCCESSES: Final = frozenset({EventKind.STEP_COMPLETED, EventKind.COMPENSATION_COMPLETED})


@attrs.frozen
class Segment:
    """A span of time that a step spent in one phase, in seconds since the epoch."""

    phase: Phase
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """The duration; 0 if the clock was set back."""
        return max(0.0, self.end - self.start)


@attrs.define
class Track:
    """The timeline of one step."""

    step_id: str
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    started_at: float | None = None
    settled_at: float | None = None
    error: BaseException | None = None
    """Why its last attempt failed."""
    kept: bool = False
    """Whether it stands as it did before the run was last resumed."""
    _undoing: bool = False
    _segments: list[Segment] = attrs.field(factory=list)
    _open: Segment | None = None

    def take(self, event: Event) -> None:
        """Apply an event of this step."""
        self.status = move_step(self.step_id, self.status, event.kind)
        self.kept = False
        if event.kind in _NO_PHASE_CHANGE:
            return
        self._undoing = event.kind in _UNDOING
        if event.kind is EventKind.STEP_STARTED:
            self.attempts += 1
            self.started_at = event.time if self.started_at is None else self.started_at
        if self.status.settled and self.settled_at is None:
            self.settled_at = event.time
        if event.kind in _SUCCESSES:
            self.error = None
        self.error = event.data.get("error", self.error)
        self._change_phase(event)

    def _change_phase(self, event: Event) -> None:
        if self._open is not None:
            phase = _CLOSES.get((self._open.phase, event.kind), self._open.phase)
            self._segments.append(Segment(phase, self._open.start, event.time))
        opened = _OPENS.get(event.kind)
        self._open = None if opened is None else Segment(opened, event.time, event.time)

    @property
    def being_undone(self) -> bool:
        """Whether its compensator is running or waiting to be retried."""
        return self._undoing

    def segments(self, now: float) -> tuple[Segment, ...]:
        """Return the segments of the step, in order, up to `now`."""
        if self._open is None:
            return tuple(self._segments)
        return (*self._segments, attrs.evolve(self._open, end=now))

    def elapsed(self, now: float) -> float | None:
        """Return the seconds from its first start until it settled, or until `now`."""
        if self.started_at is None:
            return None
        return max(0.0, (now if self.settled_at is None else self.settled_at) - self.started_at)


@attrs.define
class Timeline:
    """The timelines of all steps, from the run's start or from when it was last resumed."""

    started_at: float = 0.0
    last_at: float = 0.0
    """The time of the last event."""
    tracks: dict[str, Track] = attrs.field(factory=dict)
    """By step id, in the order of the steps' first events."""
    _undoing: bool = False

    @classmethod
    def of(cls, events: Iterable[Event]) -> Timeline:
        """Return the timeline of these events."""
        timeline = cls()
        for event in events:
            timeline.take(event)
        return timeline

    def take(self, event: Event) -> None:
        """Apply the run's next event.

        Raises:
            IllegalMove: When the events are not those of one run, in order.
        """
        self.last_at = event.time
        if event.step_id is not None:
            track = self.tracks.get(event.step_id)
            if track is None:
                track = self.tracks[event.step_id] = Track(event.step_id)
            track.take(event)
        elif event.kind in _BEGINNINGS:
            self._begin(event)
        else:
            self._undoing = event.kind is EventKind.RUN_COMPENSATING

    def _begin(self, event: Event) -> None:
        self.started_at = event.time
        self.tracks = {
            step_id: Track(step_id, track.status, settled_at=event.time, kept=True)
            for step_id, track in self.tracks.items()
            if self._undoing or track.status in KEPT
        }


_ATTEMPTS: Final = frozenset({Phase.RUNNING, Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})
_CHAINED: Final = _ATTEMPTS | {Phase.BACKOFF}


@attrs.frozen(kw_only=True)
class Bounds:
    """The lower bounds on a run's wall time, in seconds."""

    workers: int
    """The number of async workers."""
    work: float
    """The duration of all attempts of async steps."""
    sync: float
    """The duration of all attempts of steps that are not async."""
    critical_path: float
    """The duration of the longest chain of steps."""
    critical_steps: tuple[str, ...]
    """The steps of that chain, in order."""

    @property
    def lower(self) -> float:
        """The time that no schedule of these steps on these workers can beat."""
        return max(self.work / self.workers, self.sync, self.critical_path)


def bounds_of(plan: WorkflowPlan, events: Iterable[Event], workers: int) -> Bounds:
    """Return the bounds on a run of `plan`, using the step durations found in its events."""
    timeline = Timeline.of(events)
    tracks, now = timeline.tracks, timeline.last_at
    attempts = {step_id: _spent(track, _ATTEMPTS, now) for step_id, track in tracks.items()}
    chained = {step_id: _spent(track, _CHAINED, now) for step_id, track in tracks.items()}
    path = _longest_chain(plan, chained)
    return Bounds(
        workers=workers,
        work=sum(attempts.get(step.id, 0.0) for step in plan.steps if step.step.async_),
        sync=sum(attempts.get(step.id, 0.0) for step in plan.steps if not step.step.async_),
        critical_path=sum(chained.get(step_id, 0.0) for step_id in path),
        critical_steps=path,
    )


def _spent(track: Track, phases: Collection[Phase], now: float) -> float:
    return sum(segment.seconds for segment in track.segments(now) if segment.phase in phases)


def _longest_chain(plan: WorkflowPlan, seconds: Mapping[str, float]) -> tuple[str, ...]:
    until: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for step in plan.steps:
        last = max(step.dependencies, key=until.__getitem__, default=None)
        before[step.id] = last
        until[step.id] = seconds.get(step.id, 0.0) + (0.0 if last is None else until[last])
    chain: list[str] = []
    step_id = max(until, key=until.__getitem__, default=None)
    while step_id is not None:
        chain.append(step_id)
        step_id = before[step_id]
    return tuple(reversed(chain))

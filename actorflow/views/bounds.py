"""Lower bounds on the wall time of a run.

Take the durations of the steps as given. Whatever the schedule, a run cannot end before

* its async workers have done the async work: `work / workers`;
* its sync steps have run one after the other: the sum of their durations;
* the longest chain of dependent steps has run: the critical path.

The first and the last are the two classical bounds on list scheduling. Any schedule that leaves no
worker needlessly idle exceeds them by less than a factor of two (R. L. Graham, "Bounds on
Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17(2), 1969; in terms of "work" and "span":
R. P. Brent, "The Parallel Evaluation of General Arithmetic Expressions", J. ACM 21(2), 1974). The
second is the first bound applied to the sync lane, which has a single worker.

The attempts of a step count with their durations, and on the critical path the waits between them
count too. The time in which a ready step waited for its turn does not, because another schedule
could have saved it. Compensations are excluded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actorflow.views.timeline import Phase, Timeline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.views.timeline import Track

__all__ = ["Bounds", "bounds_of"]

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

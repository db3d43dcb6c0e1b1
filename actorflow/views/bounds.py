"""How fast a run could have been: lower bounds on its wall time.

Take the steps' own durations as given. Whatever the schedule, a run then cannot end before

* its async workers have done the async work: `work / workers`;
* its sync steps have run, which take turns: the sum of their durations;
* the longest chain of steps that wait for each other is through: the critical path.

The first and the last are the two classical bounds on list scheduling, which any schedule that
leaves no worker idle without need misses by less than a factor of two (R. L. Graham, "Bounds on
Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17(2), 1969; in the words "work" and
"span": R. P. Brent, "The Parallel Evaluation of General Arithmetic Expressions", J. ACM 21(2),
1974). The one in the middle is the first for the sync lane, which has a single worker.

A step's attempts count with the time they took, and on the critical path the waits between them
do too. The time in which a ready step waited for its turn does not: that is what another
schedule could have saved. Compensations are left out.
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
    """What a run's wall time is made of, in seconds."""

    workers: int
    """How many async steps could run at once."""
    work: float
    """All attempts of async steps together."""
    sync: float
    """All attempts of steps that are not async together."""
    critical_path: float
    """The longest chain of steps, from first to last."""
    critical_steps: tuple[str, ...]
    """The steps of that chain, in its order."""

    @property
    def lower(self) -> float:
        """The time that no schedule of these steps on these workers can beat."""
        return max(self.work / self.workers, self.sync, self.critical_path)


def bounds_of(plan: WorkflowPlan, events: Iterable[Event], workers: int) -> Bounds:
    """Return the bounds on a run of `plan`, from what its events say that its steps took."""
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

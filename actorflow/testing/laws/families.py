"""The law about families: what a parent's end means for its children."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import NEVER, RUN_ENDS, UNDOING_ENDS, Life
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.model.records import Parent
    from actorflow.testing.laws.evidence.life import StepLife
    from actorflow.testing.laws.evidence.lives import Lives

__all__ = ["families_end_together"]

_COMPLETED: Final = EventKind.RUN_COMPLETED
_COMPENSATING: Final = EventKind.RUN_COMPENSATING
_AGAIN: Final = frozenset({EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})
"""The ends after which a call may start another child."""


@of_the_runtime(
    39,
    "A child does not outlive its failed or cancelled parent unless it is abandoned; one that has "
    "completed is undone with its parent, once, in reverse, and for no other reason; a call has "
    "one child at a time.",
)
def families_end_together(lives: Lives) -> Iterator[str]:
    """Compare the ends of children with those of their parents, and the order of undoing.

    Of a parent that is undone, all children have ended before it has. Of another one, those in
    progress have been told to end. What a grace has cut, or is not recorded, need not be undone.
    """
    families = _families(lives)
    for parent_id, children in families.items():
        yield from _called_twice(children)
        parent = _Run(lives, parent_id)
        for child in children:
            yield from _rashly_undone(parent, child)
            if child.ends_with_parent:
                yield from _left_behind(parent, child, lives)
        if parent.is_undone and not (parent.excused or parent.resumed):
            known = [it for it in children if it.ends_with_parent and not it.torn]
            yield from _out_of_order(parent, known)


class _Run:
    """A run with all of its lives."""

    def __init__(self, lives: Lives, run_id: str) -> None:
        self.run_id = run_id
        self.lives: list[Life] = [life for life in lives.all if life.run_id == run_id]
        self.parent: Parent | None = lives.trace.runs[run_id].parent
        self.events: list[tuple[int, Event]] = [it for life in self.lives for it in life.events]
        self.since: int = self.lives[0].since
        """Number of messages delivered when it began."""

    @property
    def ends_with_parent(self) -> bool:
        """Whether its parent's end means anything to it."""
        parent = self.parent
        return parent is not None and parent.on_end == "cancel" and not parent.compensates

    @property
    def end(self) -> tuple[int, Event] | None:
        """Its last terminal event with the index, unless it went on after that."""
        last = self.events[-1] if self.events else None
        return last if last is not None and last[1].kind in RUN_ENDS else None

    @property
    def torn(self) -> bool:
        """Whether its record does not show everything."""
        return any(life.torn for life in self.lives)

    @property
    def excused(self) -> bool:
        """Whether its record does not show everything, or a grace has cut its compensation."""
        graces = (one.grace for life in self.lives for _, _, one in life.cancels)
        return self.torn or any(grace is not None for grace in graces)

    @property
    def is_undone(self) -> bool:
        """Whether its last lives undo it."""
        return self.lives[-1].compensates

    @property
    def resumed(self) -> bool:
        """Whether a person has resumed it after an end."""
        return any(event.kind in _AGAIN for _, event in self.events[:-1])

    def undone_at(self) -> int | None:
        """Return the index of the event with which it was undone after it had completed."""
        before: EventKind | None = None
        for place, event in self.events:
            if event.kind is _COMPENSATING and before is _COMPLETED:
                return place
            before = event.kind
        return None

    def steps(self, step_id: str) -> Iterator[StepLife]:
        """Yield a step in each life."""
        return (life.steps[step_id] for life in self.lives if step_id in life.steps)

    def __str__(self) -> str:
        return self.run_id


def _families(lives: Lives) -> dict[str, list[_Run]]:
    """Return the children of each parent, in the order of their starts."""
    families: dict[str, list[_Run]] = {}
    for run_id, known in lives.trace.runs.items():
        if known.parent is not None:
            families.setdefault(known.parent.run_id, []).append(_Run(lives, run_id))
    return families


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────


def _left_behind(parent: _Run, child: _Run, lives: Lives) -> Iterator[str]:
    """Yield a child that is in progress, or has not been undone, although its parent has ended."""
    if parent.end is None or parent.excused or child.excused or parent.resumed:
        return
    place, end = parent.end
    if end.kind is _COMPLETED or child.since >= lives.trace.marks[place]:
        return
    ended = [one for one in child.events if one[0] < place]
    last = ended[-1][1] if ended else None
    if last is None or last.kind not in RUN_ENDS:
        if parent.is_undone:
            yield f"{parent} ended at {end.time:g} s, undone, but its child {child} was in progress"
        elif not any(life.cancels or life.of_undone or life.cut for life in child.lives):
            yield f"{child} was not told to end, although its parent had ended at {end.time:g} s"
    elif last.kind is _COMPLETED and parent.is_undone and _can_be_undone(child):
        yield f"{child} had completed, and was not undone with its parent at {end.time:g} s"


def _can_be_undone(child: _Run) -> bool:
    return any(plan.compensation is not None for plan in child.lives[0].plan.steps)


def _rashly_undone(parent: _Run, child: _Run) -> Iterator[str]:
    """Yield a child that was undone without its parent, or several times."""
    undone = [life for life in child.lives if life.undone and life.events]
    if len(undone) > 1 and not child.resumed:
        yield f"{child} was undone {len(undone)} times"
    place = child.undone_at()
    if place is None:
        return
    if not child.ends_with_parent:
        yield f"{child} was undone, although its parent has nothing to say about it"
    following = (event.kind for at, event in parent.events if at > place and event.kind in RUN_ENDS)
    if next(following, None) is _COMPLETED or not any(
        event.kind is _COMPENSATING and at < place for at, event in parent.events
    ):
        yield f"{child} was undone, but {parent} was not"


# ── Order ────────────────────────────────────────────────────────────────────────────────────


def _out_of_order(parent: _Run, children: list[_Run]) -> Iterator[str]:
    """Yield what was undone before something that had ended later."""
    undone = [(child, place) for child in children if (place := child.undone_at()) is not None]
    for child, place in undone:
        link = child.parent
        if link is None or link.step_id not in parent.lives[-1].steps:
            continue
        own = _ended_at(parent, link.step_id)
        over = next(
            (at for at, event in child.events if at > place and event.kind in RUN_ENDS), NEVER
        )
        for step_id in parent.lives[-1].steps:
            begun, ended = _undoing(parent, step_id)
            if begun is None or own == NEVER:
                continue
            other_end = _ended_at(parent, step_id)
            same_step = step_id == link.step_id
            if (
                same_step or own < other_end or _follows(parent, link.step_id, step_id)
            ) and ended > place:
                yield f"{child} was undone before step {step_id!r} of {parent}, which ended later"
            if (other_end < own or _follows(parent, step_id, link.step_id)) and begun < over:
                yield f"step {step_id!r} of {parent} was undone before {child}, which ended later"
        for other, at in undone:
            if at < place and _ended_before(parent, other, child):
                yield f"{other} was undone before {child}, which ended later"


def _ended_before(parent: _Run, child: _Run, other: _Run) -> bool:
    """Return whether a child ended before another one, or its step before that of the other."""
    if child.parent is None or other.parent is None:
        return False
    step_id, later = child.parent.step_id, other.parent.step_id
    if step_id == later:  # a child that was in progress when its parent ended may come first
        place, time = _completed(child)
        return place < _last_step_at(parent) and time < _completed(other)[1]
    if not {step_id, later} <= parent.lives[-1].steps.keys():
        return False
    return _ended_at(parent, step_id) < _ended_at(parent, later) != NEVER


def _ended_at(parent: _Run, step_id: str) -> float:
    """Return when a step ended, in the last life that ran it: steps may end together."""
    ended: float = NEVER
    for step in parent.steps(step_id):
        if not step.kept and step.end is not None:
            ended = step.end.time
    return ended


def _follows(parent: _Run, step_id: str, other: str) -> bool:
    """Return whether another step depends on a step, directly or not."""
    steps, line = parent.lives[-1].plan.by_id, [step_id]
    while line:
        dependents = steps[line.pop()].dependents
        if other in dependents:
            return True
        line += dependents
    return False


def _undoing(parent: _Run, step_id: str) -> tuple[int | None, float]:
    """Return the index of the first start of a step's compensator, and that of its end."""
    events = [
        (at, event)
        for step in parent.steps(step_id)
        for at, event in zip(step.at, step.events, strict=True)
    ]
    begun = [at for at, event in events if event.kind is EventKind.COMPENSATION_STARTED]
    ended = [at for at, event in events if event.kind in UNDOING_ENDS]
    return (begun[0] if begun else None), (ended[-1] if ended else NEVER)


def _completed(child: _Run) -> tuple[float, float]:
    """Return the index of the event with which a child completed, and its virtual time.

    Children may end together, so their order is that of the times.
    """
    ends = ((at, event.time) for at, event in child.events if event.kind is _COMPLETED)
    return next(ends, (NEVER, NEVER))


def _last_step_at(parent: _Run) -> float:
    """Return the index of the event that ended the last of the steps that a run has run."""
    return max(
        (step.end_at for life in parent.lives for step in life.steps.values() if not step.kept),
        default=NEVER,
    )


# ── Calls ────────────────────────────────────────────────────────────────────────────────────


def _called_twice(children: list[_Run]) -> Iterator[str]:
    """Yield a child that a call has started while an earlier one was there."""
    latest: dict[tuple[str, str, bool], _Run] = {}
    for child in children:
        link = child.parent
        if link is None:
            continue
        key = link.step_id, link.call, link.compensates
        earlier = latest.get(key)
        if earlier is not None:
            before = [
                event.kind
                for life in earlier.lives
                for _, event in life.events
                if life.since < child.since
            ]
            ends = [kind for kind in before if kind in RUN_ENDS]
            if not ends or ends[-1] not in _AGAIN:
                yield f"{child} was started for the same call as {earlier}, which was there"
        latest[key] = child

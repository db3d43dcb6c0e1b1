"""The laws about undoing what steps have done.

They speak of runs that compensate. This version of actorflow does not run compensators yet, and
says so when a workflow with one is started; a run that only fails breaks neither law.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.lifecycle import EventKind
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.life import COMPENSATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.life import Life, StepLife
    from actorflow.testing.lives import Lives

__all__ = ["compensations_happen_once", "compensations_run_backwards"]

_STARTED: Final = EventKind.COMPENSATION_STARTED


@of_the_runtime(
    21,
    "Each completed step with a compensator is compensated exactly once in a failed run; no other "
    "step is.",
)
def compensations_happen_once(lives: Lives) -> Iterator[str]:
    """Count the ends of compensations, in each life of a run that compensates and has ended."""
    for life in lives.all:
        if life.compensates or _begun(life):
            for step in life.steps.values():
                yield from _miscounted(step)


def _miscounted(step: StepLife) -> Iterator[str]:
    due = int(step.completed and step.plan.compensation is not None)
    ends = sum(event.kind in COMPENSATIONS and event.kind is not _STARTED for event in step.events)
    if ends > due or (ends < due and step.life.end is not None):
        yield f"{step} was compensated {ends} times, where it was to be {due}"
    elif not due and any(event.kind is _STARTED for event in step.events):
        yield f"{step} was to be compensated, and has nothing to undo"


@of_the_runtime(
    22,
    "Compensations run in reverse order of completion, after the running steps have stopped.",
)
def compensations_run_backwards(lives: Lives) -> Iterator[str]:
    """Hold the order of the compensations' first starts against the order of completion."""
    for life in lives.all:
        begun = _begun(life)
        for (_, one), (_, following) in itertools.pairwise(begun):
            if following.end_at > one.end_at:
                yield f"{one} was compensated before {following}, which had completed later"
        if begun:
            place, _ = begun[0]
            for step in life.steps.values():
                if step.first_start < place < step.end_at:
                    yield f"{step} was still running when the first compensation began"


def _begun(life: Life) -> list[tuple[int, StepLife]]:
    """Return where each compensation first started, and whose it was, in that order."""
    begun = []
    for step in life.odd:
        starts = zip(step.at, step.events, strict=True)
        places = [place for place, event in starts if event.kind is _STARTED]
        begun += [(places[0], step)] if places else []
    return sorted(begun, key=lambda pair: pair[0])

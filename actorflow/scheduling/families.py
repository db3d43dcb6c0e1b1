"""Families: what the end of a run means for its children.

Part of the supervisor's brain and as pure as the rest (see `decisions`). The brain does not know
the children of a run: they are runs of their own, perhaps of another process, and outlive a crash
of this one. It knows only that a run may have some. Before such a run ends, it asks:

    EndChildren      children in progress are cancelled; those that a step has left behind even
                     if the run completes
    ChildrenFound -> if the run is undone, its children are undone with it, in their places among
                     its steps: UndoChild, and its own compensators as ever
    ChildUndone   -> the next compensator or child

Everything happens in reverse: the compensator of a step comes first, then the children that the
step had, the one that ended last before the others, then what ended before that step.

A run holds nothing while a child is undone, not even its place, which the child may need. Nothing
of this is recorded for the run itself, because the record of each child says how far it got. A
run that is taken over while it is undone asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.model.messages import ChildrenFound, EndChildren, UndoChild
from actorflow.scheduling.ledger import Family, UndoneChild

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.model.messages import ChildStarted, ChildUndone
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.queues import RunQueue

__all__ = ["Families", "is_to_be_undone"]

_COMPLETES: Final = (None, False)
"""What a run that completes asks for: an end of the children that its steps have left behind."""


class Families:
    """Ends the children of runs that end.

    Args:
        outbox: Where effects go.
        runs: The runs in progress, by id.
        waiting: The runs that wait for a place.
    """

    def __init__(self, outbox: Outbox, runs: Mapping[str, RunState], waiting: RunQueue) -> None:
        self._outbox = outbox
        self._runs = runs
        self._waiting = waiting

    def started(self, message: ChildStarted) -> None:
        """Take note that a run has a child."""
        run = self._runs.get(message.run_id)
        if run is not None:
            if run.family is None:
                run.family = Family()
            run.family.steps.add(message.step_id)

    def ask(self, run: RunState) -> bool:
        """Ask for the end of the children of a run that ends; return whether it must wait."""
        family, wanted = run.family, _wanted(run)
        if family is None or run.cut_short or family.answered == wanted:
            return False
        if wanted == _COMPLETES and not _left_any_behind(run, family):
            return False
        if family.asked is None or wanted != (family.asked.reason, family.asked.undoes):
            family.asked = EndChildren(run.run_id, *wanted, _attempts(run, family))
            self._outbox.perform(family.asked)
        return True

    def take(self, message: ChildrenFound | ChildUndone) -> RunState | None:
        """Handle an answer; return the run that can go on, or None if it wants another one."""
        run = self._runs.get(message.run_id)
        if run is None or run.family is None:
            return None
        if isinstance(message, ChildrenFound):
            return run if self._found(run, run.family, message) else None
        if run.family.undoing != message.child_id:
            return None
        run.family.undoing = None
        if not message.undone:
            run.family.left.append(message.child_id)
        return run

    def _found(self, run: RunState, family: Family, message: ChildrenFound) -> bool:
        """Put children among the steps to undo."""
        asked = message.asked
        if family.asked is not asked:
            return False  # the run ends in another way by now, and has asked again
        family.answered = asked.reason, asked.undoes
        if message.children:
            run.undoable = _merged(run, run.undoable or [], message)
        return True

    def undo(self, run: RunState, child: UndoneChild) -> None:
        """Have a child undone; the run gives its place back."""
        family = run.family
        if family is None:
            raise AssertionError(f"{run.run_id} has no children")
        family.undoing = child.run_id
        reason = f"its parent, run {run.run_id!r}, is undone"
        self._outbox.perform(UndoChild(run.run_id, child.run_id, reason))
        if run.active:
            run.active, run.away = False, True
            self._waiting.release()


def is_to_be_undone(run: RunState) -> bool:
    """Return whether a run that ends is undone."""
    if run.cancel_reason is not None:
        return run.undo_if_cancelled
    return run.error is not None


def _wanted(run: RunState) -> tuple[str | None, bool]:
    """Return what the end of a run means for its children: the reason, and whether to undo them."""
    if run.cancel_reason is None and run.error is None:
        return _COMPLETES
    ended = "failed" if run.cancel_reason is None else "been cancelled"
    return f"its parent, run {run.run_id!r}, has {ended}", is_to_be_undone(run)


def _left_any_behind(run: RunState, family: Family) -> bool:
    """Return whether a step may have left children behind that its last attempt did not want."""
    return family.resumed or any(run.steps[step_id].attempts > 1 for step_id in family.steps)


def _attempts(run: RunState, family: Family) -> Mapping[str, int]:
    steps = run.steps.items()
    return {step_id: step.attempts for step_id, step in steps if step_id not in family.kept}


def _merged(run: RunState, undoable: list[Any], message: ChildrenFound) -> list[Any]:
    """Return what is undone, in the order in which it ended: steps and the children of steps."""
    by_step: dict[str, list[UndoneChild]] = {}
    for step_id, child_id in message.children:
        by_step.setdefault(step_id, []).append(UndoneChild(child_id))
    merged: list[Any] = []
    for step in _in_order(run, undoable, by_step):
        merged += reversed(by_step.pop(step.id, ()))
        if step in undoable:
            merged.append(step)
    for unknown in by_step.values():  # of steps that the workflow no longer has
        merged += reversed(unknown)
    return merged


def _in_order(
    run: RunState, undoable: list[StepState], by_step: Mapping[str, object]
) -> Iterator[StepState]:
    """Yield the steps that can be undone or have children, in the order in which they ended."""
    others = [
        run.steps[step_id]
        for step_id in by_step
        if step_id in run.steps and run.steps[step_id] not in undoable
    ]
    others.sort(key=_ended_at)
    for step in undoable:
        while others and _ended_at(others[0]) <= _ended_at(step):
            yield others.pop(0)
        yield step
    yield from others


def _ended_at(step: StepState) -> float:
    return float("inf") if step.finished_at is None else step.finished_at

"""Families: the children of runs, and what the ends of their parents mean for them.

The supervisor says when a run ends that may have children (see `actorflow.scheduling.families`).
Children are runs: they are looked up by their parent in the state manager, and in progress here,
elsewhere, or nowhere at the moment. They are cancelled, or undone, wherever they are.

The parent has not ended while this happens. After a crash in the middle, whoever takes the parent
over does it again, and finds in the children's records what is left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import threading
from typing import TYPE_CHECKING, Final, Protocol, cast

from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import RunNotFound, StoreError, StoreUnavailable
from actorflow.model.families import ChildrenFound, ChildStarted, ChildUndone
from actorflow.model.filters import RunQuery
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.orchestrator.powers import listing_arguments
from actorflow.support.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from typing import Any

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.model.protocols import StateManager
    from actorflow.model.records import RunRecord, RunSnapshot
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.run.handle import Run

__all__ = [
    "ORPHANED",
    "Family",
    "HasFamilies",
    "Undoes",
    "can_be_undone",
    "children_of",
    "ends_with_parent",
    "is_orphan",
    "not_cancelled",
    "pause_before",
]

_PAGE: Final = 500
"""How many children are read at once."""
_TRIES: Final = 6
"""How often the children of a run are looked up if that fails for another reason than that the
state manager cannot be reached. Until it can be, their parent does not end.
"""
_PAUSE: Final = 0.5
"""The first pause before another try, in seconds; each one is twice as long."""
_LONGEST: Final = 8.0
_ENDED_BADLY: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
_ENDS_BADLY: Final = frozenset({EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})
ORPHANED: Final = "its parent, run {!r}, had ended"
"""Why a child is cancelled that has outlived its parent."""
_LOOKS_AGAIN: Final = 15.0
"""After how many seconds a child that another process undoes is looked at again: that process may
have died.
"""


class Undoes(Protocol):
    """Undoes the runs of one orchestrator."""

    def wants(self, runtime: Runtime, child: RunSnapshot, /) -> bool:
        """Return whether a run that has completed, or its children, can be undone."""

    def take_up(self, runtime: Runtime, run_id: str, reason: str, /) -> Run | None:
        """Undo a run if it has completed, here; return it, or None if it has been undone.

        A run in progress without an owner goes on here, and is cancelled.

        Raises:
            DefinitionError: When its workflow is not known here.
            StoreError: When the state manager cannot do it now.
        """


def children_of(state: StateManager, run_id: str) -> Iterator[RunSnapshot]:
    """Yield the children of a run, without their steps.

    Raises:
        DefinitionError: When the state manager cannot list runs by their parent.
    """
    cursor: str | None = None
    while True:
        query = RunQuery.of({"parent_run_id": run_id, "limit": _PAGE, "cursor": cursor})
        page = state.list(**listing_arguments(state, query))
        yield from page.runs
        cursor = page.next_cursor
        if cursor is None:
            return


def can_be_undone(
    state: StateManager, child: RunSnapshot, planned: Callable[[RunSnapshot], WorkflowPlan | None]
) -> bool:
    """Return whether a run that has completed, or its children, can be undone.

    A run of an unknown workflow counts as one, so that it is not passed over in silence.
    """
    plan = planned(child)
    if plan is None or any(step.compensation is not None for step in plan.steps):
        return True
    for one in children_of(state, child.run_id):
        if ends_with_parent(one) and (
            can_be_undone(state, one, planned)
            if one.status is RunStatus.COMPLETED
            else not one.status.terminal
        ):
            return True
    return False


def is_orphan(
    state: StateManager, child: RunSnapshot, events: Sequence[Event] | None = None
) -> bool:
    """Return whether a run in progress should have ended with its parent.

    A step may start a child while its run ends, and the process may die before the child hears of
    that end. A child that a person has resumed since then goes on.

    Args:
        state: The state manager.
        child: The run.
        events: Its events, if they are known.
    """
    if not ends_with_parent(child) or child.status is RunStatus.COMPENSATING:
        return False
    try:
        parent = state.snapshot(str(child.parent_run_id))
    except RunNotFound:  # it has been purged, so it has ended long ago
        return False
    if parent.status not in _ENDED_BADLY:
        return False
    known = state.events(child.run_id) if events is None else events
    return not any(event.kind in _ENDS_BADLY for event in known)


def ends_with_parent(child: RunSnapshot) -> bool:
    """Return whether the end of its parent means anything to a child.

    A compensator goes on with its own children, which are part of undoing.
    """
    parent = child.parent
    return parent is not None and parent.on_end == "cancel" and not parent.compensates


class Family:
    """What is known here of the children of the runs in progress."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may end a run at this moment.
        self._lock = threading.RLock()
        self._children: dict[str, dict[str, bool]] = {}
        """The ids of the children that were started here, and whether each ends with its parent,
        by the parent's id.
        """
        self._plans: dict[str, dict[str, WorkflowPlan]] = {}
        """The plans of runs by their ids, for each first run of a family in progress here."""
        self._taken: dict[str, dict[str, tuple[int, set[str]]]] = {}
        """The children that the latest attempt of each step has asked for, by run and step id."""

    def add(self, child: RunRecord, plan: WorkflowPlan) -> None:
        """Take note of a child that is about to start."""
        parent = child.parent
        if parent is None:
            return
        with self._lock:
            ends = parent.on_end == "cancel"
            self._children.setdefault(parent.run_id, {})[child.run_id] = ends
            self._plans.setdefault(parent.root_run_id, {})[child.run_id] = plan

    def take(self, attempt: Attempt, child_id: str) -> None:
        """Take note of a child that an attempt has asked for."""
        run_id = attempt.scope.run_id
        with self._lock:
            self._children.setdefault(run_id, {})  # so that `ended` forgets it, wherever they began
            steps = self._taken.setdefault(run_id, {})
            number, taken = steps.get(attempt.step_id, (0, set()))
            if number != attempt.number:
                taken = set()
            steps[attempt.step_id] = attempt.number, taken | {child_id}

    def is_wanted(self, asked: EndChildren, child: RunSnapshot) -> bool:
        """Return whether a step of a completing run has this child by its last attempt."""
        step_id = child.parent_step_id or ""
        last = asked.attempts.get(step_id)
        if last is None:
            return True  # the step had completed in an earlier life of the run
        number, taken = self._taken.get(asked.run_id, {}).get(step_id, (0, frozenset[str]()))
        return number == last and child.run_id in taken

    def plan(self, child: RunSnapshot) -> WorkflowPlan | None:
        """Return the plan of a child of a family that began here."""
        return self._plans.get(child.root_run_id, {}).get(child.run_id)

    def known(self, run_id: str) -> list[str]:
        """Return the ids of the children of a run that were started here."""
        with self._lock:
            return list(self._children.get(run_id, ()))

    def ended(self, run_id: str) -> list[str]:
        """Forget a run that has ended; return the ids of the children that end with it."""
        if not self._children:
            return []
        with self._lock:
            self._taken.pop(run_id, None)
            self._plans.pop(run_id, None)
            children = self._children.pop(run_id, {})
        return [child_id for child_id, ends in children.items() if ends]


class HasFamilies:
    """What a runtime does for families: its part of the supervisor's host."""

    family: Family
    undoing: Undoes | None
    """Undoes runs; None where none can be undone."""
    state: StateManager
    slow_to_read: bool
    _live: LiveRuns
    _loop: asyncio.AbstractEventLoop
    _of_families: set[asyncio.Task[None]]
    """The tasks that end children and undo them."""
    _tell: Callable[[object], None]
    cancel: Callable[..., None]
    cancel_elsewhere: Callable[..., RunResult | None]
    read_async: Callable[..., Coroutine[Any, Any, Any]]

    def has_child(self, attempt: Attempt, child: RunRecord, plan: WorkflowPlan) -> None:
        """Have the supervisor know that a run may have a child; before the child is started."""
        self.family.add(child, plan)
        if not attempt.compensates:
            self.family.take(attempt, child.run_id)
        self._tell(ChildStarted(attempt.scope.run_id, attempt.step_id))

    # ── Ends of parents ──────────────────────────────────────────────────────────────────────

    def end_children(self, message: EndChildren) -> None:
        """Cancel the children of a run that ends, and tell the supervisor which to undo."""
        if self.slow_to_read:
            self._work(self._end_all(message))
        else:
            self._answer(message, self._end_once(message, _TRIES) or ())

    async def _end_all(self, asked: EndChildren) -> None:
        for number in itertools.count(1):
            found = await self.read_async(functools.partial(self._end_once, asked, number))
            if found is not None:
                self._answer(asked, found)
                return
            await asyncio.sleep(pause_before(number + 1))
            if asked.run_id not in self._live:
                return

    def _answer(self, asked: EndChildren, found: tuple[tuple[str, str], ...] | list[Any]) -> None:
        self._tell(ChildrenFound(asked.run_id, asked, tuple(found)))

    def _end_once(self, asked: EndChildren, number: int) -> list[tuple[str, str]] | None:
        """End the children; return those to undo, or None if that is to be tried again."""
        try:
            return self._end(asked)
        except Exception as error:  # noqa: BLE001 - the run must end, whatever its children do
            if isinstance(error, StoreUnavailable) and self.slow_to_read:
                return None
            if isinstance(error, StoreError) and number < _TRIES:
                return None
            _warn("children.not_ended", run_id=asked.run_id, exc_info=error)
            return []

    def _end(self, asked: EndChildren) -> list[tuple[str, str]]:
        found = [
            child for child in self._children_of(asked.run_id) if self._is_undone(asked, child)
        ]
        found.sort(key=_from_the_last)
        return [(child.parent_step_id or "", child.run_id) for child in found]

    def _children_of(self, run_id: str) -> list[RunSnapshot]:
        try:
            return list(children_of(self.state, run_id))
        except DefinitionError:  # it cannot list them
            return [self.state.snapshot(child_id) for child_id in self.family.known(run_id)]

    def _is_undone(self, asked: EndChildren, child: RunSnapshot) -> bool:
        """End a child if it is in progress; return whether it is to be undone with its parent."""
        if not ends_with_parent(child):
            return False
        if not child.status.terminal:
            if asked.reason is not None or not self.family.is_wanted(asked, child):
                self._cancel_child(asked, child)
            return asked.undoes
        completed = child.status is RunStatus.COMPLETED
        undoing, here = self.undoing, cast("Runtime", self)
        return asked.undoes and completed and undoing is not None and undoing.wants(here, child)

    def _cancel_child(self, asked: EndChildren, child: RunSnapshot) -> None:
        if child.status is RunStatus.COMPENSATING:
            return
        left = f"no step of run {asked.run_id!r}, its parent, has waited for it in the end"
        compensate = asked.undoes or asked.reason is None
        reason = asked.reason or left
        if child.run_id in self._live:
            self.cancel(child.run_id, reason, compensate=compensate)
            return
        try:
            self.cancel_elsewhere(child.run_id, reason, compensate=compensate)
        except StoreError:
            raise
        except ActorflowError as error:
            not_cancelled(child.run_id, error)

    def end_those_of(self, result: RunResult) -> None:
        """Forget the children of a run that has ended; cancel those that are in progress here.

        That are those which were started while it ended. A run that is not recorded any further
        has not ended by its record, and neither do its children.
        """
        children = self.family.ended(result.run_id)
        if result.status is RunStatus.COMPLETED or isinstance(result.error, StoreError):
            return
        ended = "failed" if result.status is RunStatus.FAILED else "been cancelled"
        for child_id in children:
            if child_id in self._live:
                self.cancel(child_id, f"its parent, run {result.run_id!r}, has {ended}")

    # ── Children that are undone ─────────────────────────────────────────────────────────────

    def undo_child(self, message: UndoChild) -> None:
        """Have a child undone, and tell the supervisor when it is."""
        self._work(self._undo(message))

    async def _undo(self, message: UndoChild) -> None:
        undone = False
        try:
            await self._until_undone(message)
            undone = True
        except Exception as error:  # noqa: BLE001 - its parent must go on
            _warn("child.not_undone", run_id=message.child_id, exc_info=error)
        with contextlib.suppress(ActorflowError):  # the loop has been closed
            self._tell(ChildUndone(message.run_id, message.child_id, undone))

    async def _until_undone(self, message: UndoChild) -> None:
        pause, undoing, here = 0.0, self.undoing, cast("Runtime", self)
        if undoing is None:
            return
        while True:
            take_up = functools.partial(undoing.take_up, here, message.child_id, message.reason)
            try:
                run: Run | None = await self.read_async(take_up)
                if run is None:
                    return
                await asyncio.wait_for(run.wait_async(), _LOOKS_AGAIN)
            except (StoreError, TimeoutError):
                pause = min(2 * pause + _PAUSE, _LONGEST)
                await asyncio.sleep(pause)

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._of_families.add(task)
        task.add_done_callback(self._of_families.discard)

    async def leave_families(self) -> None:
        """Stop working for families; on the loop."""
        tasks = list(self._of_families)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def pause_before(number: int) -> float:
    """Return the seconds between the try before and this one to find the children of a run."""
    return min(_PAUSE * 2.0 ** min(number - 2, 10), _LONGEST)


def _from_the_last(child: RunSnapshot) -> tuple[float, float, str]:
    """Return what orders children: what ended last comes first, and what is in progress before."""
    ended = float("inf") if child.finished_at is None else child.finished_at
    return -ended, -child.created_at, child.run_id


def not_cancelled(run_id: str, error: ActorflowError) -> None:
    """Log that a child goes on, although its parent ends."""
    _warn("child.not_cancelled", run_id=run_id, exc_info=error)


def _warn(event: str, **said: Any) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not keep a run from its end
        get_logger().warning(event, **said)

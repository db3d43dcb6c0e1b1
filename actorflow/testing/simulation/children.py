"""Children in a simulation: what orchestrators do for the families of their runs.

What a parent's end means for its children is decided by production's code
(`actorflow.orchestrator.family`). Here it is told of a state manager in virtual time, and bodies by
script start children as `actorflow.orchestrator.children` does for real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actorflow.model.families import ChildStarted, ChildUndone
from actorflow.model.lifecycle import RunStatus
from actorflow.model.records import Parent
from actorflow.orchestrator.family import Family, HasFamilies, can_be_undone
from actorflow.orchestrator.requests import Link, new_run, undone_run
from actorflow.testing.simulation.account import StartsChildren
from actorflow.testing.simulation.scripts import Script

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.family import Undoes
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.run.handle import Run
    from actorflow.testing.simulation.account import Account, Body
    from actorflow.testing.simulation.behaviours import ChildCall
    from actorflow.testing.simulation.runtime import SimulatedRuntime

__all__ = ["Offspring", "SimulatedChildren"]

_AGAIN = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
"""The ends after which another attempt starts a new child."""


class Offspring(StartsChildren, Protocol):
    """What an orchestrator in virtual time does for the families of its runs."""

    def end_children(self, message: EndChildren) -> None:
        """Cancel the children of a run that ends, and tell the supervisor which to undo."""

    def undo_child(self, message: UndoChild) -> None:
        """Undo a child, and tell the supervisor when that is over."""

    def ended(self, result: RunResult) -> None:
        """Take note of the end of a run."""

    def forget(self) -> None:
        """Know nothing, as after a crash."""


class SimulatedChildren(HasFamilies):
    """Starts children, ends them with their parents and undoes them, in virtual time.

    Args:
        runtime: The orchestrator.
        account: The account of its executors.
    """

    def __init__(self, runtime: SimulatedRuntime, account: Account) -> None:
        self._runtime: Any = runtime
        self._account = account
        self.state: Any = runtime.state
        self.slow_to_read = False
        self._live: Any = runtime.live
        self._of_families: set[asyncio.Task[None]] = set()
        self.undoing: Undoes | None = self
        self._tell = runtime.tell
        self.cancel: Callable[..., None] = runtime.cancel
        self.forget()

    def forget(self) -> None:
        """Know nothing, as after a crash."""
        self.family: Family = Family()
        self._awaited: dict[str, list[Callable[[], None]]] = {}

    # ── Children of bodies ───────────────────────────────────────────────────────────────────

    def start(self, body: Body, call: ChildCall, number: int) -> str:
        """Start a child, or find the one that an earlier attempt has started; return its id."""
        attempt, scope = body.attempt, body.attempt.scope
        undoes = "~" if attempt.compensates else ""
        name = f"{scope.run_id}.{attempt.step_id}{undoes}.{number}"
        generation, run_id = 1, name
        while run_id in self._account.runs:
            if self.state.snapshot(run_id).status not in _AGAIN:
                self._go_on(run_id)
                if not attempt.compensates:
                    self.family.take(attempt, run_id)
                return run_id
            generation += 1
            run_id = f"{name}'{generation}"
        parent = Parent(
            run_id=scope.run_id,
            step_id=attempt.step_id,
            root_run_id=scope.root_run_id or scope.run_id,
            call=str(number),
            on_end=call.on_parent_end,
            compensates=attempt.compensates,
            generation=scope.generation + 1,
        )
        plan, link = call.flow.plan(), Link(parent, scope)
        request = new_run(self._runtime, plan, None, {}, run_id=run_id, link=link)
        if request.record is not None:
            self.family.add(request.record, plan)
            if not attempt.compensates:
                self.family.take(attempt, run_id)
            # Production's inbox keeps this before the end of the attempt, however it ends.
            self._runtime.brain.take(ChildStarted(scope.run_id, attempt.step_id))
            self._runtime.accept(request, call.script or Script())
        return run_id

    def _go_on(self, run_id: str) -> None:
        """Have a run in progress go on here that has lost its orchestrator."""
        known = self._account.runs[run_id]
        if run_id not in self._live and not self.state.snapshot(run_id).status.terminal:
            self._runtime.resume(run_id, known.plan, known.script, taken_over=True)

    def result(self, run_id: str) -> RunResult | None:
        """Return the result of a run that has ended."""
        results: dict[str, RunResult] = self._runtime.results
        return results.get(run_id)

    def when_over(self, run_id: str, call: Callable[[], None]) -> None:
        """Call a function when a run in progress has ended."""
        self._awaited.setdefault(run_id, []).append(call)

    def ended(self, result: RunResult) -> None:
        """Tell those who wait for a run that it has ended, and end its children."""
        self.end_those_of(result)
        for call in self._awaited.pop(result.run_id, ()):
            system = self._runtime.system
            system.call_at(system.time, call)

    # ── Undoing ──────────────────────────────────────────────────────────────────────────────

    def wants(self, _runtime: Runtime, child: RunSnapshot) -> bool:
        """Return whether a run that has completed, or its children, can be undone."""
        return can_be_undone(self.state, child, self._planned)

    def take_up(self, _runtime: Runtime, _run_id: str, _reason: str) -> Run | None:
        """Do nothing: see `undo_child`."""

    def _planned(self, child: RunSnapshot) -> WorkflowPlan:
        return self._account.runs[child.run_id].plan

    def undo_child(self, message: UndoChild) -> None:
        """Undo a child, and tell the supervisor when that is over."""
        child_id = message.child_id
        known, status = self._account.runs[child_id], self.state.snapshot(child_id).status

        def over() -> None:
            self._tell(ChildUndone(message.run_id, child_id))

        if status in _AGAIN:
            over()
            return
        self.when_over(child_id, over)
        if child_id in self._live:
            return
        if status is RunStatus.COMPLETED:
            recorded = self.state.claim(child_id)
            self._runtime.results.pop(child_id, None)
            request = undone_run(self._runtime, known.plan, recorded, message.reason)
            self._runtime.take(request, known.script)
        else:
            self._go_on(child_id)
            self.cancel(child_id, message.reason, compensate=True)

    def cancel_elsewhere(self, run_id: str, reason: str, *, compensate: bool) -> RunResult | None:
        """Have a run go on that has lost its orchestrator, and end it."""
        self._go_on(run_id)
        self.cancel(run_id, reason, compensate=compensate)
        return None

"""Children in a cluster: production's code starts them, finds them again and follows their ends.

A body by script calls what `ctx.run` calls in production (`actorflow.orchestrator.children`). Its
parent may have gone on in another process since an earlier attempt, and the child may be in
progress here, elsewhere or nowhere, or have ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.orchestrator.callers import on_behalf_of
from actorflow.orchestrator.children import Children, call_of
from actorflow.testing.simulation.behaviours import ChildCall, Either, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.requests import Call
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.run.handle import Run
    from actorflow.testing.cluster.process import Process
    from actorflow.testing.simulation.account import Body
    from actorflow.testing.simulation.behaviours import Behaviour
    from actorflow.testing.simulation.scripts import Script

__all__ = ["ChildrenOfBodies", "ClusterChildren", "calls_of"]


class ChildrenOfBodies(Children):
    """Starts the children of one process's bodies, whose ids are those of a `Simulation`."""

    def child_id(self, call: Call, generation: int) -> str:
        """Return the run id of the first child of a call, or of a later one in its place."""
        attempt = call.attempt
        undoes = "~" if attempt.compensates else ""
        name = f"{attempt.scope.run_id}.{attempt.step_id}{undoes}.{call.name}"
        return name if generation == 1 else f"{name}'{generation}"

    def _look(self, runtime: Runtime, call: Call) -> tuple[Run | None, str]:
        return self._look_once(runtime, call)  # who must wait for the store is dead


class ClusterChildren:
    """Starts the children of the bodies of one process, and waits for them.

    Args:
        process: The process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._system = process.system
        self._runs: dict[str, Run] = {}
        """The children that bodies have asked for, by run id."""

    def forget(self) -> None:
        """Do nothing: a process that crashes has ended."""

    # ── Children of bodies ───────────────────────────────────────────────────────────────────

    def start(self, body: Body, call: ChildCall, number: int) -> str | None:
        """Start a child, or find it again; return its id, or None while that must wait."""
        process, attempt = self._process, body.attempt
        if not process.recorder.is_reachable:
            return None
        options = {"key": str(number), "on_parent_end": call.on_parent_end}
        asked, premises = call_of(attempt, {}, call.flow, None, options), process.parts.premises
        here: Any = premises
        with process.recorder.at_once(), on_behalf_of(attempt):
            run = process.parts.children.find_or_start(here, asked)
        process.keep_beating()
        self._runs[run.id] = run
        return run.id

    def result(self, run_id: str) -> RunResult | None:
        """Return the result of a child that has ended, as far as it is known here."""
        run = self._runs[run_id]
        return run.wait() if run._is_decided else None  # noqa: SLF001 - a part of the handle

    def when_over(self, run_id: str, call: Callable[[], None]) -> None:
        """Call a function when the end of a child is known here."""
        self.watch(self._runs[run_id], call)

    def watch(self, run: Run, call: Callable[[], None]) -> Callable[[], None]:
        """Call a function when a wait for a run returns or raises; return what ends that."""
        return _Watching(self._system, run, call).stop

    # ── Families ─────────────────────────────────────────────────────────────────────────────

    def end_children(self, message: EndChildren) -> None:
        """Cancel the children of a run that ends, and tell the supervisor which to undo."""
        self._process.parts.premises.end_children(message)

    def undo_child(self, message: UndoChild) -> None:
        """Undo a child, and tell the supervisor when that is over."""
        self._process.parts.premises.undo_child(message)

    def ended(self, result: RunResult) -> None:
        """Cancel the children that were started here while their parent ended."""
        self._process.parts.premises.end_those_of(result)


class _Watching:
    """Waits for a run as `Run.wait_async` does: here, or by its record once it goes on elsewhere.

    Args:
        system: The system of the process.
        run: The run.
        call: Called when the wait is over.
    """

    def __init__(self, system: Any, run: Run, call: Callable[[], None]) -> None:
        self._system = system
        self._run = run
        self._call = call
        self._stopped = False
        self._watch()

    def stop(self) -> None:
        """End the wait; a second call does nothing."""
        self._stopped = True
        self._end_watch()

    def _watch(self) -> None:
        self._end_watch: Callable[[], object] = lambda: None
        watch = self._run._when_over(self._heard)  # noqa: SLF001 - a part of the handle
        self._end_watch = watch.stop

    def _heard(self) -> None:
        self._system.call_at(self._system.time, self._look)

    def _look(self) -> None:
        if self._stopped:
            return
        self._end_watch()
        if self._run._look():  # noqa: SLF001 - a part of the handle
            self._stopped = True
            self._call()
        else:
            self._watch()


def calls_of(script: Script) -> Iterator[ChildCall]:
    """Yield the calls with which the bodies of a script start children."""
    lines = (*script.steps.values(), *script.compensators.values(), script.default)
    for line in lines:
        for behaviour in line:
            yield from _calls(behaviour)


def _calls(behaviour: Behaviour) -> Iterator[ChildCall]:
    if isinstance(behaviour, Either):
        for one in behaviour.behaviours:
            yield from _calls(one)
    elif isinstance(behaviour, Waiting):
        yield from (one for one in behaviour.waits if isinstance(one, ChildCall))

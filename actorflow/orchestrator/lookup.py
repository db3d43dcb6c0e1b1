"""Finds a run by its id: the handle of one in progress, or a new one of what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors import RunUnattended
from actorflow.handles import Run
from actorflow.once import Once
from actorflow.results import RunResult

if TYPE_CHECKING:
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["find"]

_NOT_HERE: Final = (
    "its record says {!r}, and this orchestrator does not run it. "
    "If nobody else does, let it go on with orchestrator.resume(), or by an orchestrator with "
    "recover=True that has registered its workflow"
)


def find(live: LiveRuns, runtime: Runtime, run_id: str) -> Run:
    """Return a run, in progress or finished.

    Raises:
        RunNotFound: When there is no such run, or it is not kept any more.
    """
    # Twice, because it may be resumed, or end, between the two looks.
    found = _look(live, runtime, run_id) or _look(live, runtime, run_id)
    if found is not None:
        return found
    recorded, end = runtime.snapshot(run_id), Once[RunResult]()
    end.fail(RunUnattended(run_id, _NOT_HERE.format(recorded.status.value)))
    return Run(runtime, run_id, recorded.workflow_id, end)


def _look(live: LiveRuns, runtime: Runtime, run_id: str) -> Run | None:
    in_progress = live.get(run_id)
    if in_progress is not None:
        return in_progress
    snapshot = runtime.snapshot(run_id)
    if not snapshot.status.terminal:
        return None
    end: Once[RunResult] = Once()
    end.set(RunResult.of(snapshot))
    return Run(runtime, run_id, snapshot.workflow_id, end)

"""Hears what others ask of the runs that are in progress here, through the state manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["hear_requests"]


def hear_requests(runtime: Runtime, live: LiveRuns) -> Callable[[], None]:
    """Cancel runs that somebody else wants cancelled; call what is returned to end that."""

    def cancel(run_id: str, reason: str, compensate: bool) -> None:  # noqa: FBT001 - a Protocol's
        if run_id in live:
            runtime.cancel(run_id, reason, compensate=compensate)

    listen = getattr(runtime.state, "listen", None)
    end: Callable[[], None] = (lambda: None) if listen is None else listen(cancel)
    return end

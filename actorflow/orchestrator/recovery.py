"""Looks for runs that belong to nobody, and lets them go on here.

It has a thread of its own, which asks the state manager now and then, and at once when the
orchestrator begins. What it takes are runs that were enqueued, and those whose orchestrator is
gone: killed, or cut off for longer than its lease. A run whose workflow is not registered in the
run's version is left where it is, and marked, because only somebody who has that version can say
what its next step is.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors import (
    ActorflowError,
    DefinitionError,
    Overloaded,
    StoreOverloaded,
    StoreUnavailable,
)
from actorflow.logs import get_logger
from actorflow.notices import warn
from actorflow.once import Once

if TYPE_CHECKING:
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.resuming import Resuming
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.settings import Settings

__all__ = ["Recovery", "recovery"]

_PASSES: Final = (Overloaded, StoreOverloaded, StoreUnavailable)
"""What keeps a run from going on for the moment only."""
EVERY: Final = 1.0
"""Seconds between two looks, where nothing else is said."""
_SOONER: Final = 20
"""How many times as often it looks while there is more than it can take."""


class Recovery:
    """Takes over runs for one orchestrator.

    Args:
        life: The orchestrator's life.
        registry: The workflows that it knows.
        resuming: What lets runs go on.
        most: How many runs may be in progress.
        every: Seconds between two looks.
    """

    def __init__(
        self, life: Lifetime, registry: Registry, resuming: Resuming, *, most: int, every: float
    ) -> None:
        self._life = life
        self._registry = registry
        self._resuming = resuming
        self._most = most
        self._every = every
        self._over: Once[None] = Once()
        self._unfit: set[str] = set()
        """Runs that could not go on here, though their workflows are known."""
        self.ended: Once[None] = Once()
        """Resolved when it takes nothing any more."""

    def begin(self, runtime: Runtime) -> None:
        """Look, and go on looking."""
        work = threading.Thread(
            target=self._work, args=(runtime,), name="actorflow recovery", daemon=True
        )
        work.start()

    def end(self) -> None:
        """Look no more; see `ended`."""
        self._over.set(None)

    def _work(self, runtime: Runtime) -> None:
        pause = 0.0
        try:
            while not self._over.wait(pause):
                pause = self._every / _SOONER if self._look(runtime) else self._every
        finally:
            self.ended.set(None)

    def _look(self, runtime: Runtime) -> bool:
        """Take what there is room for; return whether there may be more."""
        room = self._most - len(self._life.live.ids())
        if room <= 0:
            return True
        try:
            taken, parked = self._resuming.take_over(
                runtime, self._registry.known(), self._unfit, room, self._leave
            )
        except Exception as error:  # noqa: BLE001 - it looks again, whatever it was
            _log("recovery.failed", exc_info=error)
            return False
        for run_id in parked:
            _log("run.parked", run_id=run_id)
        return len(taken) == room

    def _leave(self, run_id: str, error: ActorflowError) -> str | None:
        """Let a run be that cannot go on here, unless that will change by itself; say why."""
        if isinstance(error, _PASSES):
            return None
        self._unfit.add(run_id)
        _log("run.unfit", run_id=run_id, exc_info=error)
        return f"it waits for another orchestrator than the last one: {error}"


def _log(event: str, **said: Any) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not add to it
        get_logger().warning(event, **said)


def recovery(
    settings: Settings, state: object, life: Lifetime, registry: Registry, resuming: Resuming
) -> Recovery | None:
    """Return what takes over runs, if that is wanted; it warns when that was half said.

    Raises:
        DefinitionError: When there is nothing to take them over from.
    """
    if not settings.recover:
        if settings.recover_every != EVERY:
            warn(
                f"Orchestrator(recover_every={settings.recover_every:g}) looks for nothing without "
                "recover=True. Add that to take over runs, or leave it out."
            )
        return None
    if not callable(getattr(state, "take", None)):
        problem = f"Orchestrator(recover=True) has nothing to take over from: {state!r}"
        raise DefinitionError(None, problem, "Keep runs in an SQLStateManager")
    most, every = settings.max_active_runs, settings.recover_every
    return Recovery(life, registry, resuming, most=most, every=every)

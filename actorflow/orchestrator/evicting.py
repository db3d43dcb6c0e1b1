"""What a runtime does for runs that go on elsewhere: left ones, and evicted ones."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from actorflow.errors import ActorflowError
from actorflow.model.mailing import EvictRun
from actorflow.orchestrator.outage import log
from actorflow.orchestrator.powers import hand_back
from actorflow.orchestrator.remote_cancel import withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actorflow.model.mailing import AskEviction, RunEvicted
    from actorflow.model.messages import CancelRun
    from actorflow.model.protocols import Clock, StateManager
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.family import Family
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.mail import Mailroom
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.settings import Settings
    from actorflow.orchestrator.waits import Waits
    from actorflow.orchestrator.watchers import Audience
    from actorflow.scheduling.decisions import Decisions

__all__ = ["LetsRunsGo", "evict_after"]


def evict_after(settings: Settings, powers: Powers) -> float | None:
    """Return after how many seconds runs are evicted; None where no orchestrator would go on."""
    return settings.evict_after if settings.recover and powers.evicts is not None else None


class LetsRunsGo:
    """What a runtime does for runs that go on elsewhere: its part of the supervisor's host."""

    clock: Clock
    powers: Powers
    state: StateManager
    waits: Waits
    mail: Mailroom
    family: Family
    audience: Audience
    _live: LiveRuns
    _brain: Decisions
    _tell: Callable[[object], None]
    _work: Callable[[Coroutine[Any, Any, None]], None]
    cancel_elsewhere: Callable[..., RunResult | None]
    read_async: Callable[..., Coroutine[Any, Any, Any]]

    def left(self, run_id: str) -> None:
        """Hand back a run that was stopped without an end, and tell its waiters."""
        self._forget(run_id)
        hand_back(self.powers, run_id)
        self._live.leave(run_id)
        if self.audience.present:
            self.audience.notify(run_id)

    def may_evict(self, message: AskEviction) -> None:
        """Have a run evicted, unless one of its steps waits for another run."""
        if self.waits.may_evict(message.run_id):
            self._tell(EvictRun(message.run_id))

    def evicted(self, message: RunEvicted) -> None:
        """Hand back a run until there is news for it, and have its waiters follow its record."""
        run_id, evicts = message.run_id, self.powers.evicts
        self._forget(run_id)
        if evicts is not None:
            evicts.evict(run_id, message.eviction)
        self._live.evict(run_id)
        if self.audience.present:
            self.audience.notify(run_id)

    def unknown(self, run_id: str, asked: CancelRun | None = None) -> None:
        """Discard a run that will not start, and record that, if it has a record.

        A run that was evicted before the supervisor heard of its cancellation is cancelled as any
        run without an owner is.
        """
        if run_id in self._live:
            with contextlib.suppress(BaseException):  # whatever error keeps it from being recorded
                withdraw(self.state, run_id, self.clock)
            self._live.discard(run_id, "it was withdrawn before it had started")
            self.audience.notify(run_id)
        elif asked is not None and not asked.kept and self.powers.evicts is not None:
            self._work(self._cancel_evicted(asked))

    async def _cancel_evicted(self, asked: CancelRun) -> None:
        run_id, reason, compensate = asked.run_id, asked.reason, asked.compensate
        cancel = functools.partial(self.cancel_elsewhere, run_id, reason, compensate=compensate)
        try:
            await self.read_async(cancel)
        except ActorflowError as error:
            log("run.not_cancelled", run_id=run_id, exc_info=error)

    def _forget(self, run_id: str) -> None:
        self.waits.end(run_id)
        self.mail.forget(run_id)
        self.family.ended(run_id)

    @property
    def idle(self) -> int:
        """How many runs only wait, and hold no place; from any thread."""
        return sum(run.away and not run.rejoins for run in list(self._brain.runs.values()))

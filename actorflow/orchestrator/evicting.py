"""What a runtime does for runs that go on elsewhere: left ones, and evicted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.model.mailing import EvictRun
from actorflow.orchestrator.powers import hand_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.mailing import AskEviction, RunEvicted
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

    powers: Powers
    waits: Waits
    mail: Mailroom
    family: Family
    audience: Audience
    _live: LiveRuns
    _brain: Decisions
    _tell: Callable[[object], None]

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

    def _forget(self, run_id: str) -> None:
        self.waits.end(run_id)
        self.mail.forget(run_id)
        self.family.ended(run_id)

    @property
    def idle(self) -> int:
        """How many runs only wait, and hold no place; from any thread."""
        return sum(run.away and not run.rejoins for run in list(self._brain.runs.values()))

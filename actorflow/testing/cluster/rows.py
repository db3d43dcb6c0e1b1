"""The rows of a simulated store: runs with their owners, and the owners' leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from actorflow.model.lifecycle import RunStatus, move_run
from actorflow.state.folding import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.model.mail import Mail
    from actorflow.model.records import RunRecord, RunSnapshot

__all__ = ["NO_OWNER", "Cancellation", "OwnerRow", "PauseState", "RunRow", "Sleep"]

NO_OWNER = ""
"""The owner of a run that waits for one."""


class Cancellation(NamedTuple):
    """A request to cancel a run."""

    reason: str
    compensate: bool


class Sleep(NamedTuple):
    """How a run waits without an owner. Times are those of the store's clock."""

    waiting: str
    """What it waits for."""
    since: float
    wake_at: float | None
    """When its time has come; None if only news wakes it."""

    def is_over(self, wall: float) -> bool:
        """Return whether its time has come."""
        return self.wake_at is not None and self.wake_at <= wall


@attrs.define(eq=False)
class PauseState:
    """What is asked of a run, and what its events say of it."""

    reason: str | None = None
    """Why it is to be paused; None if it may go on."""
    since: float | None = None
    """Since when, by the clock of the store."""
    frozen: bool = False
    """Whether its clocks stand still in the latest pause."""
    heard: bool = False
    """Whether its events say that it is paused."""


@attrs.define(eq=False)
class OwnerRow:
    """The lease of one owner, as another one reads it."""

    owner: str
    host: str
    """The machine that it runs on."""
    lease: float
    """Seconds for which the lease lasts."""
    beat: int
    """A counter that each renewal increments."""
    lease_until: float
    """When the lease ends, by the clock of the store."""
    expired: bool = False
    """Whether it has expired by that clock; set when it is read."""


@attrs.define(eq=False)
class RunRow:
    """One run: what was accepted, what was recorded, and who may record more."""

    record: RunRecord
    owner: str
    due_at: float | None
    """When it may start, by the clock of the store; None for a run that is not deferred."""
    fence: int = 1
    """The fencing token; each claim and each return of the run increments it."""
    slot: str | None = None
    """Where it stands among the runs with its key: "running", "queued" or None."""
    debounced: bool = False
    events: list[Event] = attrs.field(factory=list)
    status: RunStatus = RunStatus.PENDING
    claimed_event: int = 0
    """How many events were recorded when it was claimed last."""
    takeovers: int = 0
    """How often it was claimed from an owner that had died after recording something of it."""
    asked: Cancellation | None = None
    parked: str | None = None
    parked_since: float | None = None
    mail: list[Mail] = attrs.field(factory=list)
    sleep: Sleep | None = None
    """How it waits without an owner; None for a run that may be taken."""
    deadline_at: float | None = None
    """When its timeout passes, which is only known once it was evicted."""
    pause: PauseState = attrs.field(factory=PauseState)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.status.terminal

    @property
    def untouched(self) -> bool:
        """Whether nothing of the run is recorded yet."""
        return not self.events and not self.ended

    @property
    def kind(self) -> tuple[str, str]:
        """The id and version of its workflow."""
        return self.record.workflow_id, self.record.workflow_version

    def moved(self, events: Sequence[Event]) -> RunStatus:
        """Return the status after more events.

        Raises:
            IllegalMove: When one of them does not fit.
        """
        status = self.status
        for event in events:
            if event.step_id is None:
                status = move_run(self.run_id, status, event.kind)
        return status

    def snapshot(self) -> RunSnapshot:
        """Return the run as it stands."""
        return attrs.evolve(
            fold(self.record, self.events),
            takeovers=self.takeovers,
            parked=self.parked,
            parked_since=self.parked_since,
            deadline_at=self.deadline_at,
            **self._standing(),
        )

    def _standing(self) -> dict[str, Any]:
        """Return what the snapshot says of a run that sleeps or is paused."""
        said: dict[str, Any] = {}
        if self.ended:
            return said
        if self.sleep is not None:
            said |= {"waiting": self.sleep.waiting, "waiting_since": self.sleep.since}
        if self.pause.reason is not None:
            pause = self.pause
            said |= {"paused": pause.reason, "paused_since": pause.since, "frozen": pause.frozen}
        return said

    def summary(self) -> RunSnapshot:
        """Return the run without its steps."""
        bare = attrs.evolve(self.record, step_ids=())
        folded = fold(bare, [event for event in self.events if event.step_id is None])
        standing = self._standing()
        return attrs.evolve(folded, **standing) if standing else folded

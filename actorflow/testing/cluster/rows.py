"""The rows of a simulated store: runs with their owners, and the owners' leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from actorflow.model.lifecycle import RunStatus, move_run
from actorflow.state.folding import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.model.records import RunRecord, RunSnapshot

__all__ = ["NO_OWNER", "Cancellation", "OwnerRow", "RunRow"]

NO_OWNER = ""
"""The owner of a run that waits for one."""


class Cancellation(NamedTuple):
    """A request to cancel a run."""

    reason: str
    compensate: bool


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
        )

    def summary(self) -> RunSnapshot:
        """Return the run without its steps."""
        bare = attrs.evolve(self.record, step_ids=())
        return fold(bare, [event for event in self.events if event.step_id is None])

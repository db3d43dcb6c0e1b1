"""Decisions whose events the state manager has yet to record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.errors.storage import NotRecorded
from actorflow.model.messages import run_of

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from actorflow.model.events import Event
    from actorflow.scheduling.ledger import RunState
    from actorflow.scheduling.outbox import Effect, Grant

__all__ = ["Held", "is_of_another", "lost_runs"]


def is_of_another(lost: Container[str], run: RunState | None, message: object) -> bool:
    """Return whether an effect concerns none of the runs whose events were not recorded."""
    run_id = run_of(message) if run is None else run.run_id
    return run_id is None or run_id not in lost


class Held:
    """Decisions that were taken together and wait for their events to be recorded."""

    __slots__ = ("effects", "error", "events", "grants", "recorded")

    def __init__(
        self,
        events: Sequence[Event],
        effects: list[Effect],
        grants: Sequence[Grant],
        *,
        recorded: bool,
        error: BaseException | None = None,
    ) -> None:
        self.events: Sequence[Event] = events
        self.effects: list[Effect] = effects
        self.grants: Sequence[Grant] = grants
        self.recorded: bool = recorded
        """Whether there is nothing left to wait for: recorded, or failed."""
        self.error: BaseException | None = error
        """The error that kept the events from being recorded."""


def lost_runs(batch: Held, error: BaseException) -> Mapping[str, BaseException]:
    """Return the runs whose events were not recorded, by their ids, and why not."""
    if isinstance(error, NotRecorded):
        return error.errors
    return dict.fromkeys((event.run_id for event in batch.events), error)

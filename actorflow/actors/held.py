"""Decisions that wait for their record, and whom it concerns when that cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.messages import MakeSteps, ReviveStep, RunUnknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from actorflow.actors.ledger import RunState, StepState
    from actorflow.actors.outbox import Effect
    from actorflow.events import Event

__all__ = ["Held", "is_of_another"]


class Held:
    """Decisions that were taken together, and wait for their events to be recorded."""

    __slots__ = ("effects", "error", "events", "recorded")

    def __init__(
        self,
        events: Sequence[Event],
        effects: Sequence[Effect],
        *,
        recorded: bool,
        error: BaseException | None = None,
    ) -> None:
        self.events = events
        self.effects = effects
        self.recorded = recorded
        """Whether nothing is to be waited for any more, well or ill."""
        self.error = error
        """What kept the events from being recorded."""


def is_of_another(
    runs: Mapping[str, RunState], concerned: Collection[str], step: StepState | None, message: Any
) -> bool:
    """Return whether an effect is of a run that had no events in the same batch.

    Args:
        runs: The runs in progress, by id.
        concerned: The ids of the runs that had.
        step: Whose actor the effect is for, if it is for one.
        message: The effect itself.
    """
    if isinstance(message, (ReviveStep, RunUnknown)):
        return message.run_id not in concerned
    if isinstance(message, MakeSteps):
        return message.scope.run_id not in concerned
    others = (run for run_id, run in runs.items() if run_id not in concerned)
    return step is not None and any(run.steps.get(step.id) is step for run in others)

"""What a supervisor needs from outside of the actor system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.model.mailing import AnswerWait, AskEviction, RunEvicted
    from actorflow.model.messages import CancelRun
    from actorflow.model.protocols import Clock, StateManager
    from actorflow.model.results import RunResult
    from actorflow.scheduling.decisions import Decisions

__all__ = ["Audience", "ConfigureSupervisor", "Host"]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ConfigureSupervisor:
    """From the orchestrator to the supervisor, before every other message."""

    brain: Decisions
    host: Host


class Audience(Protocol):
    """The observers of all runs."""

    present: bool
    """Whether there are any."""

    def publish(self, events: Sequence[Event]) -> None:
        """Show recorded events; neither blocks nor raises."""


class Host(Protocol):
    """What the supervisor needs from outside of the actor system."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def state(self) -> StateManager:
        """The state manager."""

    @property
    def audience(self) -> Audience:
        """The observers."""

    def committed(self, error: BaseException | None, /) -> None:
        """Post `Committed` to the supervisor; from any thread."""

    def unknown(self, run_id: str, asked: CancelRun) -> None:
        """Discard a run that was cancelled before its start; cancel one that was evicted.

        One that has ended stays as it is.
        """

    def finished(self, result: RunResult) -> None:
        """Hand a run's result to its handle."""

    def left(self, run_id: str) -> None:
        """Hand back a run that was stopped without an end, so that others go on with it."""

    def unrecorded(self, events: Sequence[Event], error: BaseException) -> None:
        """Report events that the state manager could not record."""

    def moved(self, attempt: Attempt) -> None:
        """Tell a body that waits that its attempt continues or has to stop."""

    def answered(self, answer: AnswerWait) -> None:
        """Tell a body that waits for a message what it gets."""

    def may_evict(self, message: AskEviction) -> None:
        """Post `EvictRun` if no body of the run waits for a child run."""

    def evicted(self, message: RunEvicted) -> None:
        """Hand back a run that waits for messages, until there is news for it."""

    def end_children(self, message: EndChildren) -> None:
        """Cancel the children of a run that ends; post `ChildrenFound` with those to undo."""

    def undo_child(self, message: UndoChild) -> None:
        """Have a child undone, and post `ChildUndone` when it has ended."""

    def misbehaved(self, attempt: Attempt, what: str, error: BaseException) -> None:
        """Report an executor that raised where its contract forbids that."""

    def broken(self, message: object, error: BaseException) -> None:
        """Report a defect of actorflow: a message or an effect that raised."""

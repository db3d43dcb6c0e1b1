"""What the handle of a run needs from the run's orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actorflow.run.followed import Record
from actorflow.run.pausable import Pausing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.model.attributes import Attribute
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.results import RunResult
    from actorflow.run.event_stream import EventStream
    from actorflow.support.oneshot import Once

__all__ = ["Runtime"]


class Runtime(Record, Pausing, Protocol):
    """What a handle needs from its run's orchestrator."""

    @property
    def is_shared(self) -> bool:
        """Whether other orchestrators may go on with its runs."""

    def status(self, run_id: str) -> RunStatus:
        """Return the status of a run; from memory where reading would block the event loop."""

    def stream(self, run_id: str, end: Once[RunResult] | None, limit: float | None) -> EventStream:
        """Return the run's events, from the first to the last; without `end`, follow them."""

    def cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Ask for the run to end, and for its completed steps to be undone."""

    def cancel_elsewhere(self, run_id: str, reason: str, *, compensate: bool) -> RunResult | None:
        """End a run that is not in progress here, or ask its owner to; return any result."""

    def set_attributes(self, run_id: str, attributes: Mapping[str, Attribute | None]) -> None:
        """Change attributes of a run, and return when the change is recorded."""

    async def set_attributes_async(
        self, run_id: str, attributes: Mapping[str, Attribute | None]
    ) -> None:
        """Do so without blocking the event loop."""

    def send(self, run_id: str, name: str, payload: Any, id_: str | None) -> None:
        """Send a message to a run, and return when it is recorded."""

    async def send_async(self, run_id: str, name: str, payload: Any, id_: str | None) -> None:
        """Do so without blocking the event loop."""

    def reschedule(self, run_id: str, at: object, delay: object) -> None:
        """Move the start of a run that waits."""

    async def reschedule_async(self, run_id: str, at: object, delay: object) -> None:
        """Do so without blocking the event loop."""

    def check_process(self) -> None:
        """Refuse to wait in a fork of the run's process."""

    def check_may_block(self, what: str) -> None:
        """Refuse to block a thread that the run needs to end."""

    def check_may_read(self, what: str) -> None:
        """Refuse to block the event loop until a database answers."""

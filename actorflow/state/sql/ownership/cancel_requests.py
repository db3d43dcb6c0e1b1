"""Requests to cancel a run that another orchestrator owns.

A request is stored in the run's row until the run ends. It therefore survives the owner: an
orchestrator that takes the run over finds it as well. An owner checks for requests whenever it
renews its lease, which it does as long as it has a run in progress.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from actorflow.errors.definition import DefinitionError
from actorflow.state.sql.schema.tables import NOT_PURGED, runs
from actorflow.state.sql.values.errors import clipped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Cancel: TypeAlias = Callable[[str, str, bool], None]
    """Takes a run's id, the reason, and whether to compensate."""

__all__ = ["CancelRequests", "request_cancel"]

_IN_PROGRESS: Final = runs.c.finished_at.is_(None)


def request_cancel(run_id: str, reason: str, *, compensate: bool) -> sa.Update:
    """Return the statement that asks for a run to be cancelled; it ignores a run that has ended."""
    request = msgspec.json.encode({"reason": clipped(reason), "compensate": compensate}).decode()
    this = sa.and_(runs.c.run_id == run_id, _IN_PROGRESS, NOT_PURGED)
    return sa.update(runs).where(this).values(cancel_asked=request)


class CancelRequests:
    """The requests to cancel one owner's runs; used by its writer's thread, except `listen`.

    Args:
        owner: The owner's id.
    """

    def __init__(self, owner: str) -> None:
        pending = (runs.c.owner == owner, runs.c.cancel_asked.is_not(None), _IN_PROGRESS)
        self._query = sa.select(runs.c.run_id, runs.c.cancel_asked).where(*pending)
        self._found: Sequence[Any] = ()
        self._cancel: Cancel | None = None

    @property
    def has_listener(self) -> bool:
        """Whether an orchestrator listens."""
        return self._cancel is not None

    def listen(self, cancel: Cancel) -> Callable[[], None]:
        """Deliver requests to `cancel` from now on, on any thread; return a function to stop that.

        Raises:
            DefinitionError: When another orchestrator listens already.
        """
        if self.has_listener:
            problem = "the orchestrator's state manager already serves another orchestrator"
            raise DefinitionError(None, problem, "Make one for each; they may share the URL")
        self._cancel = cancel

        def end() -> None:
            if self._cancel is cancel:
                self._cancel = None

        return end

    def fetch(self, connection: sa.Connection) -> None:
        """Read the pending requests, if an orchestrator listens."""
        self._found = connection.execute(self._query).all() if self.has_listener else ()

    def deliver(self) -> None:
        """Deliver the requests that were read, after that transaction has ended."""
        found, self._found = self._found, ()
        for run_id, text in found:
            request = msgspec.json.decode(text)
            self.cancel(run_id, request["reason"], compensate=request["compensate"])

    def cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Have the listening orchestrator, if any, cancel a run."""
        cancel = self._cancel
        if cancel is not None:
            with contextlib.suppress(Exception):  # the orchestrator may be closing
                cancel(run_id, reason, compensate)

"""Cancelling a run that somebody else runs: by a request that its owner finds.

The request stands in the run's row until the run has ended, so it outlives its owner: whoever
takes the run over finds it as well. An owner looks for requests whenever it renews its lease,
which it does as long as it has a run in progress.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from actorflow.errors.definition import DefinitionError
from actorflow.state.sql.schema.tables import STAYS, runs
from actorflow.state.sql.values.errors import clipped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Cancel: TypeAlias = Callable[[str, str, bool], None]
    """Takes a run's id, the reason, and whether what the run has done is to be undone."""

__all__ = ["Requests", "asked"]

_OPEN: Final = runs.c.finished_at.is_(None)


def asked(run_id: str, reason: str, *, compensate: bool) -> sa.Update:
    """Ask whoever runs a run to cancel it; nothing is asked of one that has ended."""
    said = msgspec.json.encode({"reason": clipped(reason), "compensate": compensate}).decode()
    this = sa.and_(runs.c.run_id == run_id, _OPEN, STAYS)
    return sa.update(runs).where(this).values(cancel_asked=said)


class Requests:
    """What is asked of one owner's runs; for its writer's thread, but for `listen`.

    Args:
        owner: Whose they are.
    """

    def __init__(self, owner: str) -> None:
        mine = (runs.c.owner == owner, runs.c.cancel_asked.is_not(None), _OPEN)
        self._query = sa.select(runs.c.run_id, runs.c.cancel_asked).where(*mine)
        self._found: Sequence[Any] = ()
        self._cancel: Cancel | None = None

    @property
    def heard(self) -> bool:
        """Whether somebody listens."""
        return self._cancel is not None

    def listen(self, cancel: Cancel) -> Callable[[], None]:
        """Have requests told from now on, on any thread; call what is returned to end that.

        Raises:
            DefinitionError: When somebody else hears them already.
        """
        if self.heard:
            problem = "the orchestrator's state manager serves another orchestrator"
            raise DefinitionError(None, problem, "Make one for each; the URL may be the same")
        self._cancel = cancel

        def end() -> None:
            if self._cancel is cancel:
                self._cancel = None

        return end

    def read(self, connection: sa.Connection) -> None:
        """Look what is asked, if anybody wants to hear it."""
        self._found = connection.execute(self._query).all() if self.heard else ()

    def tell(self) -> None:
        """Tell what was read, once that transaction is over."""
        found, self._found = self._found, ()
        for run_id, text in found:
            said = msgspec.json.decode(text)
            self.pass_on(run_id, said["reason"], compensate=said["compensate"])

    def pass_on(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Have whoever listens cancel a run."""
        cancel = self._cancel
        if cancel is not None:
            with contextlib.suppress(Exception):  # whoever runs it may be closing
                cancel(run_id, reason, compensate)

"""Runs for later and with keys, as a part of `SQLStateManager`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.powers import Due
    from actorflow.state.sql.reading import Reader
    from actorflow.state.sql.transactions import Transactions
    from actorflow.state.sql.writing.turns import Turns

__all__ = ["SQLDeferral"]


class SQLDeferral:
    """Finds the deferred runs that are due, and moves them; a part of `SQLStateManager`."""

    _check_process: Callable[[], None]
    _reader: Reader
    _transactions: Transactions
    _turns: Turns

    def due(self, _now: float) -> Due:
        """Return this manager's deferred runs whose time and turn have come.

        The time is that of the database.

        Raises:
            StoreUnavailable: When the database cannot be reached.
        """
        self._check_process()
        due, queued = self._reader.read(self._turns.search)
        if not queued:
            return due
        kept, _ = self._transactions.run(
            lambda it: self._turns.grant(it, queued), "look for due runs"
        )
        return due._replace(run_ids=[run_id for run_id in due.run_ids if run_id not in kept])

    def reschedule(self, run_id: str, start_at: float, _now: float) -> None:
        """Move the start of a run that waits for its time or its turn, whoever owns it.

        Raises:
            RunNotFound: When there is no such run.
            NotRescheduled: When it does not wait.
            StoreUnavailable: When the database cannot be reached.
        """
        self._transactions.run(
            lambda it: self._turns.reschedule(it, run_id, start_at), "reschedule a run"
        )

    def occupy(self, run_id: str) -> None:
        """Give a claimed run the turn of its key, if it has one.

        Raises:
            RunNotFound: When there is no such run.
            KeyInUse: When another live run has it.
            StoreUnavailable: When the database cannot be reached.
        """
        self._transactions.run(lambda it: self._turns.occupy(it, run_id), "take up a key")

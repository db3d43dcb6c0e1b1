"""Pauses of runs, as a part of `SQLStateManager`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.pausing import Pause
    from actorflow.model.powers import ChangePause
    from actorflow.model.records import RunRecord
    from actorflow.state.sql.leases import Requests
    from actorflow.state.sql.transactions import Transactions
    from actorflow.state.sql.writing.writer import Writer

__all__ = ["SQLPauses"]


class SQLPauses:
    """Pauses runs, whoever owns them; a part of `SQLStateManager`."""

    _check_process: Callable[[], None]
    _fresh: dict[str, RunRecord]
    _requests: Requests
    _transactions: Transactions
    _writer: Writer

    def pause_run(self, run_id: str, pause: Pause, _at: float) -> None:
        """Pause a run, unless it is paused; its owner, current or future, hears of it.

        An owner hears within a moment, and at the latest when it next renews its lease. The time
        is that of the database.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When it has ended.
            StoreUnavailable: When the database cannot be reached.
        """
        self._change_pause(run_id, pause)

    def unpause_run(self, run_id: str) -> None:
        """End the pause of a run, if it is paused; it raises what `pause_run` does."""
        self._change_pause(run_id, None)

    def _change_pause(self, run_id: str, pause: Pause | None) -> None:
        from actorflow.state.sql.leases import database_time  # noqa: PLC0415 - it needs the extra
        from actorflow.state.sql.pausing import change_pause  # noqa: PLC0415 - it needs the extra

        self._check_process()
        self._writer.wait_until(lambda: run_id not in self._fresh)
        what = "record the end of a pause" if pause is None else "record a pause"
        self._transactions.run(
            lambda it: change_pause(it, run_id, pause, database_time(it.dialect.name)), what
        )

    def listen_for_pauses(self, change: ChangePause) -> Callable[[], None]:
        """Call `change(run_id, pause)` for pauses, and with None for ends of pauses.

        Returns a function that stops this.
        """
        self._check_process()
        return self._requests.listen_for_pauses(change)

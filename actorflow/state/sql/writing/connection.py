"""The writer's only connection: transactions that are retried and that renew the lease.

A transaction that fails with a transient error is retried at growing intervals until the writer's
patience runs out. From then on each transaction is tried only once, until one succeeds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from actorflow.state.sql.engines import confirm_files
from actorflow.state.sql.transactions import describe, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from actorflow.state.sql.health import HealthMonitor
    from actorflow.state.sql.leases import Lease

__all__ = ["LeasedConnection"]

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


class LeasedConnection:
    """A connection that is opened when needed, and reopened after an error.

    It is used only by its writer's thread.

    Args:
        engine: The engine to connect with.
        lease: The lease, renewed within transactions when due.
        health: Keeps track of failures.
        pause: Sleeps for a number of seconds.
        limit: Returns the seconds for which a transaction is retried.
    """

    def __init__(
        self,
        engine: sa.Engine,
        lease: Lease,
        health: HealthMonitor,
        *,
        pause: Callable[[float], None],
        limit: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._health = health
        self._pause = pause
        self._limit = limit
        self._connection: sa.Connection | None = None

    def transact(
        self,
        work: Callable[[sa.Connection], bool],
        what: str,
        *,
        unless: Callable[[sa.Connection], bool] = lambda _: False,
    ) -> bool:
        """Run `work` in a transaction, retrying while the error is transient.

        Args:
            work: Called with the connection; returns whether to commit.
            what: The operation in words, for the error text.
            unless: Called before each retry; returns whether the work was committed after all.

        Raises:
            StoreUnavailable: When the last retry fails as well.
            SQLAlchemyError: When the error is permanent.
        """
        done = self.attempt(work)
        waited, pause = 0.0, _FIRST_PAUSE
        while isinstance(done, SQLAlchemyError):
            if not is_transient(done):
                raise done
            if self._health.status == "down" or waited >= self._limit():
                raise self._health.gave_up(what, describe(done)) from done
            self._health.status = "retrying"
            self._pause(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
            done = self.attempt(lambda connection: unless(connection) or work(connection))
        self._health.recovered()
        return done

    def attempt(self, work: Callable[[sa.Connection], bool]) -> bool | SQLAlchemyError:
        """Run `work` in a transaction; return whether it was committed, or the error."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin() as transaction:
                renewed_at = self._lease.renew(self._connection)
                done = work(self._connection)
                if not done:
                    transaction.rollback()
            if done:
                confirm_files(self._connection)
        except SQLAlchemyError as error:
            self.disconnect()
            self._health.failed(describe(error))
            return error
        if done:
            self._lease.confirm_renewal(renewed_at)
        return done

    def end(self) -> None:
        """Release the lease so that others can take the remaining runs, and disconnect."""
        with contextlib.suppress(SQLAlchemyError):  # others then wait until the lease expires
            if self._connection is not None:
                with self._connection.begin():
                    self._lease.release(self._connection)
        self._lease.confirm_renewal(None)
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection, whatever its state."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                if not connection.invalidated:
                    confirm_files(connection)  # saves a log that was deleted under this connection
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()

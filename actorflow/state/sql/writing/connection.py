"""The writer's one connection: transactions that are tried again, and renew its lease.

A transaction that is refused for a while is tried again, at growing intervals, until the writer's
patience is at its end. From then on each is tried once, until one succeeds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import StoreUnavailable
from actorflow.state.sql.database.refusals import may_pass, why
from actorflow.state.sql.health import StoreHealth
from actorflow.support.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from actorflow.state.sql.ownership.leases import Lease

__all__ = ["Condition", "LeasedConnection"]

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


class LeasedConnection:
    """Connects when it is needed, and anew after an error; for its writer's thread alone.

    Args:
        engine: Where to.
        lease: Renewed along with what is done, when that is due.
        condition: Hears of refusals, and of their end.
        pause: Waits for so many seconds, or until there is no time left.
        limit: Returns the seconds for which something is tried again.
    """

    def __init__(
        self,
        engine: sa.Engine,
        lease: Lease,
        condition: Condition,
        *,
        pause: Callable[[float], None],
        limit: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._condition = condition
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
        """Do something in a transaction, again and again while that makes sense.

        Args:
            work: What to do; it says whether to commit.
            what: What it is, in words.
            unless: Whether it was done after all, looked at when it seems to have failed.

        Raises:
            StoreUnavailable: When the database does not answer.
            SQLAlchemyError: When it refuses for good.
        """
        done = self.attempt(work)
        waited, pause = 0.0, _FIRST_PAUSE
        while isinstance(done, SQLAlchemyError):
            if not may_pass(done):
                raise done
            if self._condition.status == "down" or waited >= self._limit():
                raise self._condition.gave_up(what, done) from done
            self._condition.status = "retrying"
            self._pause(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
            done = self.attempt(lambda connection: unless(connection) or work(connection))
        self._condition.recovered()
        return done

    def attempt(self, work: Callable[[sa.Connection], bool]) -> bool | SQLAlchemyError:
        """Do something in a transaction; return whether it is committed, or why it failed."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin() as transaction:
                renewed_at = self._lease.renew(self._connection)
                done = work(self._connection)
                if not done:
                    transaction.rollback()
        except SQLAlchemyError as error:
            self.disconnect()
            self._condition.failed(error)
            return error
        if done:
            self._lease.keep(renewed_at)
        return done

    def end(self) -> None:
        """Let others have what is left, and hang up."""
        with contextlib.suppress(SQLAlchemyError):  # then they have to wait until it runs out
            if self._connection is not None:
                with self._connection.begin():
                    self._lease.end(self._connection)
        self._lease.keep(None)
        self.disconnect()

    def disconnect(self) -> None:
        """Hang up, whatever state the connection is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()


class Condition:
    """Counts refusals, and says so when they begin and end; the writer's thread changes it."""

    def __init__(self) -> None:
        self.status: Literal["ok", "retrying", "down"] = "ok"
        self._failures = 0
        self._error: str | None = None

    def health(self, waiting: int) -> StoreHealth:
        """Return how it goes; from any thread."""
        return StoreHealth(
            status=self.status, waiting=waiting, failures=self._failures, error=self._error
        )

    def failed(self, error: Exception) -> None:
        """Take note of a refusal."""
        self._failures += 1
        self._error = why(error)
        if self._failures == 1:
            _log("store.refused", self._error)

    def gave_up(self, what: str, error: SQLAlchemyError) -> StoreUnavailable:
        """Take note that nothing is tried again for now; return what to tell whoever waits."""
        if self.status != "down":
            _log("store.down", why(error))
        self.status = "down"
        return StoreUnavailable(what, why(error))

    def recovered(self) -> None:
        """Take note that all is well."""
        if self._failures:
            _log("store.recovered", f"after {self._failures} failures")
        self._failures, self._error, self.status = 0, None, "ok"


def _log(event: str, said: str) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not add to it
        get_logger().warning(event, database=said)

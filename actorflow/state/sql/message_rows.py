"""The statements about messages of runs.

A message gets its number while the row of its run is locked, until the commit. The numbers of a
run's messages therefore have no gaps, and become visible in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from actorflow.errors.storage import RunNotFound, TooManyMessages
from actorflow.model.mail import MOST_MESSAGES, Mail, refused
from actorflow.state.sql.channels import CANCELS
from actorflow.state.sql.leases import WOKEN
from actorflow.state.sql.schema.tables import NOT_PURGED, messages, runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.state.sql.values.payloads import Payloads

__all__ = ["MessageRows"]

_RUN: Final = (runs.c.status, runs.c.finished_at, runs.c.serializer, runs.c.last_message)


class MessageRows:
    """Writes and reads messages.

    Args:
        payloads: Writes and reads their payloads.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads

    def row(
        self, run_id: str, name: str, payload: Any, id_: str | None, sent_at: float
    ) -> dict[str, Any]:
        """Return the row of a message, without its number.

        Raises:
            NotStorable: When part of the payload cannot be stored.
            TooLarge: When the payload is too large.
        """
        where = f"the payload of message {name!r} to run {run_id!r}"
        return {
            "run_id": run_id,
            "name": name,
            "message_id": id_,
            "payload": self._payloads.dump_value(where, payload),
            "sent_at": sent_at,
        }

    def send(self, connection: sa.Connection, row: dict[str, Any]) -> int | None:
        """Insert a message and return its number; None if it was sent before.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When the run has ended.
            TooManyMessages: When it has been sent as many messages as it takes.
            NotRestorable: When the run was written by another serializer.
        """
        run_id, name = row["run_id"], row["name"]
        this = runs.c.run_id == run_id
        query = sa.select(*_RUN).where(this, NOT_PURGED)
        # The lock makes other senders wait; it lets steps be inserted.
        run = connection.execute(query.with_for_update(key_share=True)).one_or_none()
        if run is None:
            raise RunNotFound(run_id)
        if row["message_id"] is not None and self._is_known(connection, row):
            return None
        if run.finished_at is not None:
            raise refused(run_id, run.status, name)
        self._payloads.check_serializer(run_id, run.serializer)
        number: int = (run.last_message or 0) + 1
        if number > MOST_MESSAGES:
            raise TooManyMessages(run_id, MOST_MESSAGES)
        connection.execute(sa.insert(messages), [row | {"number": number}])
        connection.execute(sa.update(runs).where(this).values(last_message=number, **WOKEN))
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_notify(CANCELS, "")))
        return number

    def _is_known(self, connection: sa.Connection, row: dict[str, Any]) -> bool:
        query = sa.select(messages.c.number).where(
            messages.c.run_id == row["run_id"],
            messages.c.name == row["name"],
            messages.c.message_id == row["message_id"],
        )
        return connection.execute(query).first() is not None

    def read(self, connection: sa.Connection, run_id: str, after: int) -> Sequence[Mail]:
        """Return the messages of a run with a number above `after`, in their order."""
        wanted = (messages.c.run_id == run_id, messages.c.number > after)
        query = sa.select(messages).where(*wanted).order_by(messages.c.number)
        load = self._payloads.load_value
        return [
            Mail(
                it.number,
                it.name,
                load(f"the payload of message {it.name!r} to run {run_id!r}", it.payload),
                it.sent_at,
                it.message_id,
            )
            for it in connection.execute(query)
        ]

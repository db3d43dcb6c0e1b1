"""Messages of runs, as a part of `SQLStateManager`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.state.sql.writing.queue import HandBack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.mail import Eviction, Mail
    from actorflow.state.sql.leases import Requests
    from actorflow.state.sql.message_rows import MessageRows
    from actorflow.state.sql.reading import Reader
    from actorflow.state.sql.transactions import Transactions
    from actorflow.state.sql.writing.queue import Entry
    from actorflow.state.sql.writing.writer import Writer

__all__ = ["SQLMessages"]


class SQLMessages:
    """Keeps the messages of runs; a part of `SQLStateManager`."""

    _check_process: Callable[[], None]
    _fresh: dict[str, Any]
    _messages: MessageRows
    _put: Callable[[Entry], None]
    _reader: Reader
    _requests: Requests
    _transactions: Transactions
    _writer: Writer

    def send_message(
        self, run_id: str, name: str, payload: Any, id: str | None, sent_at: float, /
    ) -> None:
        """Keep a message of a run that has not ended, whoever owns it, unless it was sent before.

        Blocks until it is committed.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When the run has ended.
            TooManyMessages: When it has been sent as many messages as it takes.
            NotStorable: When part of the payload cannot be stored.
            TooLarge: When the payload is larger than `max_input`.
            NotRestorable: When the run was written by another serializer.
            StoreUnavailable: When the database cannot be reached.
        """
        self._check_process()
        row = self._messages.row(run_id, name, payload, id, sent_at)
        self._writer.wait_until(lambda: run_id not in self._fresh)
        number, _ = self._transactions.run(
            lambda it: self._messages.send(it, row), "record the message"
        )
        if number is not None:
            self._requests.heard(run_id, number)

    def read_messages(self, run_id: str, after: int, /) -> Sequence[Mail]:
        """Return the messages of a run with a number above `after`, in their order.

        Raises:
            NotRestorable: When a payload cannot be read.
            StoreUnavailable: When the database cannot be reached.
        """
        return self._reader.read(lambda it: self._messages.read(it, run_id, after))

    def evict(self, run_id: str, eviction: Eviction, /) -> None:
        """Give up a run that waits for messages, until there is one or the wait is over."""
        self._put(HandBack(run_id=run_id, eviction=eviction))

    def hear_messages(self, heard: Callable[[str, int], None], /) -> Callable[[], None]:
        """Call `heard` with runs of this manager that have messages; return what ends that."""
        self._check_process()
        return self._requests.hear(heard)

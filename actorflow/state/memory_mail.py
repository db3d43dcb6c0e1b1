"""The messages of runs in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.errors.storage import TooManyMessages
from actorflow.model.mail import MOST_MESSAGES, Mail, refused

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from actorflow.model.lifecycle import RunStatus

__all__ = ["MemoryMail"]


class MemoryMail:
    """Keeps the messages of a state manager's runs."""

    _lock: threading.RLock
    _status_of: Callable[[str], RunStatus]

    def __init__(self) -> None:
        super().__init__()
        self._mail: dict[str, list[Mail]] = {}
        self._mail_ids: dict[str, set[tuple[str, str]]] = {}
        """The names and ids of the messages that have one, by run id."""
        self._hearers: dict[object, Callable[[str, int], None]] = {}

    def send_message(
        self, run_id: str, name: str, payload: Any, id: str | None, sent_at: float, /
    ) -> None:
        """Keep a message, by reference, unless it was sent before.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
            RunEnded: When the run has ended.
            TooManyMessages: When it has been sent as many messages as it takes.
        """
        with self._lock:
            status = self._status_of(run_id)
            known, ids = self._mail.get(run_id, ()), self._mail_ids.get(run_id, ())
            if id is not None and (name, id) in ids:
                return
            if status.terminal:
                raise refused(run_id, status.value, name)
            if len(known) >= MOST_MESSAGES:
                raise TooManyMessages(run_id, MOST_MESSAGES)
            number = len(known) + 1
            mail = Mail(number, name, payload, sent_at, id)
            self._mail.setdefault(run_id, []).append(mail)
            if id is not None:
                self._mail_ids.setdefault(run_id, set()).add((name, id))
            hearers = [*self._hearers.values()]
        for heard in hearers:
            heard(run_id, number)

    def read_messages(self, run_id: str, after: int, /) -> Sequence[Mail]:
        """Return the messages of a run with a number above `after`."""
        return self._mail.get(run_id, [])[after:]

    def _forget_mail(self, run_id: str) -> None:
        self._mail.pop(run_id, None)
        self._mail_ids.pop(run_id, None)

    def hear_messages(self, heard: Callable[[str, int], None], /) -> Callable[[], None]:
        """Have `heard` called with each message that is sent; return what ends that."""
        key = object()
        self._hearers[key] = heard

        def end() -> None:
            self._hearers.pop(key, None)

        return end

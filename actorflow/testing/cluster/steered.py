"""Messages, evictions and pauses, as a part of `SharedStateManager`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.errors.storage import StoreUnavailable
from actorflow.model.mail import Mail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.mail import Eviction
    from actorflow.model.pausing import Pause
    from actorflow.model.powers import ChangePause
    from actorflow.testing.cluster.store import SharedStore

__all__ = ["SteersRuns"]


class SteersRuns:
    """Keeps the messages and pauses of runs, and tells the orchestrator of those that concern it.

    As with a database, the owner of a run hears of them by a signal, and otherwise when it renews
    its lease.
    """

    store: SharedStore
    owner: str
    open: dict[str, int]
    lost: list[tuple[float, str]]
    _now: Callable[[], float]
    _begin: Callable[[], None]
    _reach: Callable[[], None]

    def __init__(self) -> None:
        self._heard: Callable[[str, int], None] | None = None
        self._change: ChangePause | None = None

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    def send_message(
        self, run_id: str, name: str, payload: Any, id: str | None, sent_at: float, /
    ) -> None:
        """Keep a message of a run that has not ended, whoever owns it, unless it was sent before.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When the run has ended.
            TooManyMessages: When it has been sent as many messages as it takes.
            StoreUnavailable: When the store cannot be reached.
        """
        self._reach()
        mail = Mail(0, name, payload, sent_at, id)
        number = self.store.messages.send(self.owner, run_id, mail)
        if number is not None:
            self._tell_of_message(run_id, number)

    def read_messages(self, run_id: str, after: int, /) -> Sequence[Mail]:
        """Return the messages of a run with a number above `after`."""
        self._reach()
        return self.store.messages.read(run_id, after)

    def hear_messages(self, heard: Callable[[str, int], None], /) -> Callable[[], None]:
        """Call `heard` with runs of this owner that have messages; return what ends that."""
        self._heard = heard

        def end() -> None:
            self._heard = None

        return end

    def _tell_of_message(self, run_id: str, number: int) -> None:
        if self._heard is not None:
            self._heard(run_id, number)

    def evict(self, run_id: str, eviction: Eviction, /) -> None:
        """Give up a run that waits for messages, until there is one or the wait is over."""
        self.open.pop(run_id, None)
        try:
            self._begin()
        except StoreUnavailable:  # it stays with this owner, which finds it at its next search
            self.lost.append((self._now(), run_id))
            raise
        self.store.messages.evict(self.owner, run_id, eviction)

    # ── Pauses ───────────────────────────────────────────────────────────────────────────────

    def pause_run(self, run_id: str, pause: Pause, _at: float, /) -> None:
        """Pause a run, whoever owns it.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When it has ended.
            StoreUnavailable: When the store cannot be reached.
        """
        self._reach()
        self.store.pauses.change(run_id, pause)

    def unpause_run(self, run_id: str, /) -> None:
        """End the pause of a run; it raises what `pause_run` does."""
        self._reach()
        self.store.pauses.change(run_id, None)

    def listen_for_pauses(self, change: ChangePause, /) -> Callable[[], None]:
        """Call `change` with pauses that this owner has to hear of; return what ends that."""
        self._change = change

        def end() -> None:
            self._change = None

        return end

    # ── What an owner has to hear ────────────────────────────────────────────────────────────

    def hear_news(self) -> None:
        """Deliver the messages and the pauses of this owner's runs."""
        for run_id, number in self.store.messages.addressed(self.owner):
            self._tell_of_message(run_id, number)
        change = self._change
        if change is not None:
            for run_id, pause in self.store.pauses.unheard(self.owner):
                change(run_id, pause)

"""Contract tests of an optional power: messages that are sent to runs."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from actorflow.errors.running import RunEnded
from actorflow.errors.storage import RunNotFound, TooManyMessages
from actorflow.model.mail import MOST_MESSAGES
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    Patient,
    accepted,
    happened,
)

__all__ = ["KeepsMessagesContract"]

_SENDERS = 4
_EACH = 10


class KeepsMessagesContract(Patient):
    """The promises of `KeepsMessages`, as tests.

    For a class that derives from another contract, whose state manager keeps messages. For example
    `class TestMyState(KeepsMessagesContract, StateManagerContract)`.
    """

    state: Any

    def _send(
        self, name: str, payload: Any = None, id_: str | None = None, run_id: str = "run"
    ) -> None:
        self.state.send_message(run_id, name, payload, id_, EPOCH)

    def _read(self, after: int = 0, run_id: str = "run") -> list[tuple[int, str, Any]]:
        found = self.state.read_messages(run_id, after)
        return [(it.number, it.name, it.payload) for it in found]

    def test_messages_are_numbered_in_their_order(self) -> None:
        """From 1, whatever their names; each run has its own."""
        self._accept(accepted("run"))
        self._accept(accepted("other"))
        self._send("go", {"by": "Ada"})
        self._send("stop")
        self._send("go", run_id="other")

        assert [(1, "go", {"by": "Ada"}), (2, "stop", None)] == self._read()
        assert [(2, "stop", None)] == self._read(after=1)
        assert [] == self._read(after=2)
        assert [(1, "go", None)] == self._read(run_id="other")

    def test_a_message_says_when_it_was_sent_and_with_which_id(self) -> None:
        """As it was given."""
        self._accept(accepted("run"))
        self._send("go", id_="a")
        self._send("go")

        known = [(it.sent_at, it.id) for it in self.state.read_messages("run", 0)]
        assert [(EPOCH, "a"), (EPOCH, None)] == known

    def test_an_id_is_one_message_of_its_name(self) -> None:
        """The first one counts; another name or another run is another message."""
        self._accept(accepted("run"))
        self._accept(accepted("other"))
        for payload in (1, 2):
            self._send("go", payload, "a")
            self._send("stop", payload, "a")
            self._send("go", payload, "a", run_id="other")

        assert [(1, "go", 1), (2, "stop", 1)] == self._read()
        assert [(1, "go", 1)] == self._read(run_id="other")

    def test_an_ended_run_takes_no_new_message(self) -> None:
        """However it ended; one that it had been sent before is no error."""
        for run_id, end in (("good", COMPLETED), ("bad", FAILED)):
            self._accept(accepted(run_id))
            self._send("go", 1, "a", run_id=run_id)
            self._write(happened(*end, run_id=run_id))
            self._send("go", 2, "a", run_id=run_id)

            for id_ in (None, "b"):
                with contextlib.suppress(RunEnded):
                    self._send("go", 3, id_, run_id=run_id)
                    raise AssertionError("send_message() must raise RunEnded")
            assert [(1, "go", 1)] == self._read(run_id=run_id)

    def test_a_run_in_progress_takes_messages(self) -> None:
        """And its events leave them as they are."""
        self._accept(accepted("run"))
        self._send("go")
        self._write(happened(*STARTED))
        self._send("go")

        assert [1, 2] == [number for number, _, _ in self._read()]

    def test_a_run_that_does_not_exist_takes_none(self) -> None:
        """It is said so; it has none either."""
        with contextlib.suppress(RunNotFound):
            self._send("go", run_id="missing")
            raise AssertionError("send_message() must raise RunNotFound")
        assert [] == self._read(run_id="missing")

    def test_messages_of_several_senders_have_numbers_of_their_own(self) -> None:
        """Without gaps, however many send at once; an id is one message then too."""
        self._accept(accepted("run"))

        def send(sender: int) -> None:
            for number in range(_EACH):
                self._send("go", (sender, number))
                self._send("once", sender, f"{number}")

        threads = [threading.Thread(target=send, args=(it,)) for it in range(_SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        found = self._read()
        assert list(range(1, (_SENDERS + 1) * _EACH + 1)) == [number for number, _, _ in found]
        assert _EACH == sum(name == "once" for _, name, _ in found)
        for sender in range(_SENDERS):
            sent = [tuple(it) for _, name, it in found if name == "go"]
            assert list(range(_EACH)) == [number for of, number in sent if of == sender]

    def test_an_orchestrator_hears_of_messages(self) -> None:
        """With the number of the latest one; no longer once that is ended."""
        heard: list[tuple[str, int]] = []
        end = self.state.hear_messages(lambda *told: heard.append(told))
        self._accept(accepted("run"))
        self._send("go")
        self._send("go")
        end()
        before = list(heard)
        self._send("go")

        assert {("run", 1), ("run", 2)} <= set(before)
        assert ("run", 3) not in heard

    def test_there_is_a_limit(self) -> None:
        """A run takes so many messages and no more; an id that is known is no error."""
        self._accept(accepted("run"))
        self._fill("run")
        self._send("go", None, "first")
        with contextlib.suppress(TooManyMessages):
            self._send("go")
            raise AssertionError("send_message() must raise TooManyMessages")
        assert MOST_MESSAGES == self._read()[-1][0]

    def _fill(self, run_id: str) -> None:
        """Have a run sent as many messages as it takes; the first with the id "first"."""
        self._send("go", None, "first", run_id=run_id)
        for _ in range(MOST_MESSAGES - 1):
            self._send("go", run_id=run_id)

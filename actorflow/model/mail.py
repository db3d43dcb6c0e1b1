"""Messages that people and other systems send to runs, and what a run's record says of them.

A run has its messages numbered from 1, in the order in which they were recorded. The events
`step.received` and `compensation.received` say which attempt was given which of them. An attempt
that completes, or whose step is skipped, has consumed what it was given. What any other attempt
was given goes to the next attempt of its step, or back to the run when the step has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import attrs

from actorflow.definition.arguments import cure_of_text, is_text
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import RunEnded
from actorflow.model.lifecycle import EventKind
from actorflow.model.powers import QueuesRuns
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from actorflow.model.events import Event

__all__ = [
    "MOST_MESSAGES",
    "Eviction",
    "EvictsRuns",
    "Holder",
    "KeepsMessages",
    "Mail",
    "Receipts",
    "checked_message",
    "refused",
]

MOST_MESSAGES: Final = 10_000
"""How many messages a run takes in all, so that nothing of a run grows without bound."""

Call = tuple[str, int]
"""A wait of an attempt: the name of the message, and the number of the wait for this name."""
Holder = tuple[str, bool]
"""What is given messages: a step by its id, or its compensator if the second value is true."""


class Mail(NamedTuple):
    """A message that was sent to a run."""

    number: int
    """Its number in the run, from 1."""
    name: str
    payload: Any
    sent_at: float
    """When it was sent, in seconds since the epoch."""
    id: str | None = None
    """What tells whether it was sent before."""


def refused(run_id: str, status: str, name: str) -> RunEnded:
    """Return the error for a message to a run that has ended."""
    cure = "Start another run, or send a message with the id= that it was sent with before"
    return RunEnded(run_id, status, f"sent message {name!r}", cure)


def checked_message(name: object, id_: object) -> tuple[str, str | None]:
    """Return the name and the id of a message.

    Raises:
        DefinitionError: When one of them is invalid.
    """
    return checked_name(name, "Run.send()"), None if id_ is None else _checked(
        id_, "id", "Run.send()"
    )


def checked_name(name: object, what: str) -> str:
    """Return the name of a message; `what` is the call that it was given to.

    Raises:
        DefinitionError: When it is invalid.
    """
    return _checked(name, "name", what)


def _checked(value: object, field: str, what: str) -> str:
    if not is_text(value):
        problem = f"{what} got {field}={text_of(value)}"
        raise DefinitionError(None, problem, cure_of_text(value))
    return value


_STARTED: Final = {EventKind.STEP_STARTED: False, EventKind.COMPENSATION_STARTED: True}
_RECEIVED: Final = {EventKind.STEP_RECEIVED: False, EventKind.COMPENSATION_RECEIVED: True}
_CONSUMES: Final = {
    EventKind.STEP_COMPLETED: False,
    EventKind.STEP_SKIPPED: False,
    EventKind.COMPENSATION_COMPLETED: True,
}
_GIVES_BACK: Final = {
    EventKind.STEP_FAILED: False,
    EventKind.STEP_CANCELLED: False,
    EventKind.COMPENSATION_FAILED: True,
}
_AWAITING: Final = {EventKind.STEP_AWAITING: False, EventKind.COMPENSATION_AWAITING: True}
_EXPIRED: Final = {EventKind.STEP_EXPIRED: False, EventKind.COMPENSATION_EXPIRED: True}
_OF_MESSAGES: Final = {
    **_STARTED,
    **_RECEIVED,
    **_AWAITING,
    **_EXPIRED,
    **_CONSUMES,
    **_GIVES_BACK,
    EventKind.RUN_RESUMED: False,
}
"""The kinds of events that matter here, and whether a compensator is meant."""


@attrs.frozen
class Receipts:
    """What has become of a run's messages, as its events tell."""

    consumed: frozenset[int] = frozenset()
    """The numbers of the messages that were received for good."""
    held: Mapping[int, Holder] = attrs.field(factory=dict)
    """The messages that an unsettled step or compensator is given again, by number."""
    replies: Mapping[str, Mapping[Call, int | None]] = attrs.field(factory=dict)
    """What attempts that begin again under the same number were told: the number of the message,
    None for a wait that expired; by step id and wait.
    """
    until: Mapping[str, Mapping[Call, float]] = attrs.field(factory=dict)
    """When the other waits of such an attempt expire, in seconds since the epoch."""

    @classmethod
    def of(cls, events: Iterable[Event], again: Collection[str] = ()) -> Receipts | None:
        """Return the receipts of a run; None if none of its messages was received.

        Args:
            events: All of its events.
            again: The steps whose attempts begin again under the same number.
        """
        told = [event for event in events if event.kind in _OF_MESSAGES]
        if not again and not any(event.kind in _RECEIVED for event in told):
            return None
        book = _Book()
        for event in told:
            if event.step_id is None:
                book.resume(event)
            else:
                book.take(event, (event.step_id, _OF_MESSAGES[event.kind]))
        held = {
            number: holder
            for holders in (book.again, book.received)
            for holder, numbers in holders.items()
            for number in numbers
        }
        replies = {step_id: book.replies.get((step_id, False), {}) for step_id in again}
        until = {step_id: book.until.get((step_id, False), {}) for step_id in again}
        return cls(frozenset(book.consumed), held, replies, until)


class _Book:
    """What is known of a run's messages after some of its events."""

    def __init__(self) -> None:
        self.consumed: set[int] = set()
        self.received: dict[Holder, set[int]] = {}
        """The messages that the latest attempt of each holder was given."""
        self.again: dict[Holder, set[int]] = {}
        """Those that only earlier attempts of it were given."""
        self.attempts: dict[Holder, int | None] = {}
        """The number of the latest attempt of each holder."""
        self.replies: dict[Holder, dict[Call, int | None]] = {}
        self.until: dict[Holder, dict[Call, float]] = {}

    def resume(self, event: Event) -> None:
        """Take note that the run is resumed; if a person does that, attempts count from 1 again."""
        if not event.data.get("taken_over"):
            self.attempts.clear()

    def take(self, event: Event, holder: Holder) -> None:
        """Take note of an event."""
        kind = event.kind
        if kind in _RECEIVED:
            number = event.data["message"]
            self.received.setdefault(holder, set()).add(number)
            self.again.get(holder, set()).discard(number)
            self._reply(event, holder, number)
        elif kind in _EXPIRED:
            self._reply(event, holder, None)
        elif kind in _AWAITING:
            if "until" in event.data:
                self.until.setdefault(holder, {})[_call(event)] = event.data["until"]
        elif kind in _STARTED:
            if event.attempt != self.attempts.get(holder):
                self.attempts[holder] = event.attempt
                self.again.setdefault(holder, set()).update(self.received.pop(holder, ()))
                self.replies.pop(holder, None)
                self.until.pop(holder, None)
        else:
            received = self.received.pop(holder, set())
            self.again.pop(holder, None)
            if kind in _CONSUMES:
                self.consumed |= received

    def _reply(self, event: Event, holder: Holder, number: int | None) -> None:
        replies = self.replies.setdefault(holder, {})
        if number is not None:  # a wait that was forgotten may have been given it before
            for call in [call for call, known in replies.items() if known == number]:
                del replies[call]
        replies[_call(event)] = number


def _call(event: Event) -> Call:
    return event.data["name"], event.data["call"]


class KeepsMessages(Protocol):
    """A state manager that keeps the messages which are sent to runs: `Run.send`.

    `send_message` and `read_messages` may wait. They are called from any thread but an event loop's
    if `slow_to_read` is true.
    """

    def send_message(
        self, run_id: str, name: str, payload: Any, id: str | None, sent_at: float, /
    ) -> None:
        """Keep a message for as long as its run is kept, and return when it is recorded.

        The messages of a run are numbered from 1 without gaps, in the order in which they are
        recorded: who can read one can read all before it. A message with an `id` does nothing if
        the run has one of the same name and id, even after the run's end.

        Args:
            run_id: A run that has not ended, whoever owns it.
            name: What the run waits for.
            payload: Comes with it.
            id: Tells whether it was sent before; None for a message that was not.
            sent_at: When it was sent, in seconds since the epoch.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When the run has ended.
            TooManyMessages: When it has been sent as many messages as it takes.
            StoreError: When the payload cannot be kept.
        """

    def read_messages(self, run_id: str, after: int, /) -> Sequence[Mail]:
        """Return the messages of a run with a number above `after`, in the order of the numbers."""

    def hear_messages(self, heard: Callable[[str, int], None], /) -> Callable[[], None]:
        """Have `heard` called when runs have messages, and return what ends that.

        It is called when an orchestrator starts. `heard` may be called from any thread, with a run
        that belongs to this state manager and the number of its latest message; also again and
        again for the same one. It returns at once. A call may come late, but none is left out.
        """


class Eviction(NamedTuple):
    """How a run leaves the memory of its orchestrator."""

    waiting: str
    """What it waits for, for people to read."""
    seen: int
    """The number of the latest message that the orchestrator knows; 0 for none."""
    wake_at: float | None
    """When it must go on without a message, in seconds since the epoch; None for never."""
    deadline_at: float | None
    """When its timeout passes, in seconds since the epoch; None for a run without one."""


class EvictsRuns(QueuesRuns, KeepsMessages, Protocol):
    """A state manager with which runs that wait for messages cost no memory.

    Orchestrators with `recover=True` evict them; see `Orchestrator(evict_after=)`. A snapshot then
    says what the run waits for, and since when, and gives `deadline_at` ever after.
    """

    def evict(self, run_id: str, eviction: Eviction, /) -> None:
        """Give up a run, as `hand_back` does, but leave it out of what `take` finds.

        `take` finds it once a message with a higher number than `seen` is there, a cancellation is
        asked for, or its time has come; also if any of this has happened before the call. `claim`
        gets it as any other run.
        """

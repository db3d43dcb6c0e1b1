"""The laws about messages that are sent to runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actorflow.model.lifecycle import EventKind
from actorflow.model.mailing import MailArrived
from actorflow.testing.laws.evidence.life import AS_STEPS, NEVER, RUN_ENDS
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.simulation.mail import MessageTrace
    from actorflow.testing.trace.trace import Idle, Trace

    _Holder = tuple[str, bool]
    """A step by its id, or its compensator if the second value is true."""
    Arrivals = Sequence[tuple[int, int]]
    """When the supervisor was told of messages of a run: the place of the delivery, and the number
    of the latest message.
    """

__all__ = [
    "Book",
    "altered",
    "books_of",
    "messages_come_in_order",
    "messages_come_once",
    "misgiven",
    "missent",
    "out_of_turn",
]

_RECEIVED: Final = EventKind.STEP_RECEIVED
_AWAITING: Final = EventKind.STEP_AWAITING
_EXPIRED: Final = EventKind.STEP_EXPIRED
_STARTED: Final = EventKind.STEP_STARTED
_CONSUMES: Final = frozenset({EventKind.STEP_COMPLETED, EventKind.STEP_SKIPPED})
_STOPS: Final = frozenset(
    {EventKind.STEP_RETRYING, EventKind.STEP_TIMED_OUT, EventKind.STEP_ABANDONED}
)
"""Events after which an attempt waits no longer, or is stopped."""
_ENDS: Final = _CONSUMES | {EventKind.STEP_FAILED, EventKind.STEP_CANCELLED}


@of_the_runtime(
    52,
    "A message is consumed by at most one step, which gets it as it was sent; one id is one "
    "message, and an ended run takes none.",
)
def messages_come_once(lives: Lives) -> Iterator[str]:
    """Compare what was sent with what the record says of it, and with what bodies got.

    An attempt that completes or is skipped consumes what it received. While a step may still
    complete, no other one receives what it was given.
    """
    trace = lives.trace
    if not trace.messages:
        return
    for run_id in trace.runs:
        sent = [it for it in trace.messages if it.run_id == run_id]
        yield from missent(sent, trace)
    yield from misgiven(trace)
    yield from altered(trace)


def missent(sent: Sequence[MessageTrace], trace: Trace) -> Iterator[str]:
    """Yield the messages that were numbered wrongly, taken twice, or taken by an ended run."""
    known: set[tuple[str, str]] = set()
    last = 0
    for one in sent:
        twice = one.id is not None and (one.name, one.id) in known
        ended = _has_ended(one, trace)
        if one.number is None:
            if not (twice or (one.refused and ended)):
                yield f"message {one.name!r} to {one.run_id} at {one.time:g} s was not kept"
            continue
        if twice or ended:
            why = "an ended run" if ended else f"{one.run_id}, which had got its id before"
            yield f"message {one.number} was kept at {one.time:g} s for {why}"
        if one.number != last + 1:
            yield f"message {one.number} of {one.run_id} came after message {last}"
        last = one.number
        if one.id is not None:
            known.add((one.name, one.id))


def _has_ended(one: MessageTrace, trace: Trace) -> bool:
    ended = False
    for event in trace.events[: one.events]:
        if event.run_id == one.run_id and event.step_id is None:
            ended = event.kind in RUN_ENDS
    return ended


def misgiven(trace: Trace) -> Iterator[str]:
    """Yield the messages that were given away although another step had them, or lost."""
    books = books_of(trace)
    for place, event in enumerate(trace.events):
        book = books.get(event.run_id)
        if book is not None and event.step_id is not None:
            wrong = book.take(event, place)
            if wrong is not None:
                yield wrong
        elif book is not None and event.kind is EventKind.RUN_RESUMED:
            book.resume(event)


def altered(trace: Trace) -> Iterator[str]:
    """Yield what bodies got that is not what the record says they were given."""
    given: dict[tuple[Any, ...], int] = {}
    payloads = {(it.run_id, it.number): it.payload for it in trace.messages}
    read = 0
    for got in trace.receipts:
        for event in trace.events[read : got.events]:
            if AS_STEPS.get(event.kind, event.kind) is _RECEIVED:
                given[_key(event)] = event.data["message"]
        read = max(read, got.events)
        key = (*got[:4], got.name, got.call)
        number = given.get(key)
        if not got.expired and payloads.get((got.run_id, number)) is not got.payload:
            what = "nothing" if number is None else f"message {number}"
            yield (
                f"attempt {got.attempt} of {got.step_id} in {got.run_id} got {got.payload!r}, but "
                f"its record says {what}"
            )


def _key(event: Event) -> tuple[Any, ...]:
    undoes = event.kind in AS_STEPS
    place = event.run_id, event.step_id, event.attempt, undoes
    return (*place, event.data["name"], event.data["call"])


class _Wait(NamedTuple):
    """A wait that is recorded as begun and not as ended."""

    holder: _Holder
    attempt: int | None
    event: Event
    place: int


class Book:
    """What the record says of a run's messages, event by event.

    Args:
        sent: The messages, by number.
    """

    def __init__(self, sent: Mapping[int, MessageTrace]) -> None:
        self.sent = sent
        self.consumed: set[int] = set()
        self.held: dict[int, _Holder] = {}
        """The messages that belong to steps which may still complete."""
        self.now: dict[_Holder, set[int]] = {}
        """What the latest attempt of each holder received."""
        self.attempts: dict[_Holder, int | None] = {}
        """The number of the latest attempt of each holder."""
        self.waits: dict[tuple[Any, ...], _Wait] = {}

    def take(self, event: Event, place: int) -> str | None:
        """Apply an event of a step; return what is wrong with it, if anything."""
        kind = AS_STEPS.get(event.kind, event.kind)
        holder = (event.step_id or "", event.kind in AS_STEPS)
        if kind is _STARTED:
            if event.attempt != self.attempts.get(holder):  # else its body begins again
                self.now[holder] = set()
            self.attempts[holder] = event.attempt
            self._stop(holder)
        elif kind is _AWAITING:
            self.waits[_key(event)] = _Wait(holder, event.attempt, event, place)
        elif kind is _EXPIRED:
            return self._expire(event)
        elif kind is _RECEIVED:
            return self._receive(event, holder)
        elif kind in _ENDS:
            self._end(holder, consumes=kind in _CONSUMES)
        elif kind in _STOPS:
            self._stop(holder)
        return None

    def resume(self, event: Event) -> None:
        """Apply a resumption; attempts count from 1 again if a person resumes the run."""
        self.waits.clear()
        if not event.data.get("taken_over"):
            self.attempts.clear()

    def _stop(self, holder: _Holder) -> None:
        self.waits = {key: it for key, it in self.waits.items() if it.holder != holder}

    def _end(self, holder: _Holder, *, consumes: bool) -> None:
        self._stop(holder)
        if consumes:
            self.consumed |= self.now.get(holder, set())
        self.now.pop(holder, None)
        self.held = {number: one for number, one in self.held.items() if one != holder}

    def _expire(self, event: Event) -> str | None:
        wait = self.waits.pop(_key(event), None)
        until = NEVER if wait is None else wait.event.data.get("until", NEVER)
        if event.time < until:
            return f"a wait of {event.step_id} expired at {event.time:g} s, before {until:g} s"
        return None

    def _receive(self, event: Event, holder: _Holder) -> str | None:
        number, said = event.data["message"], f"{event.step_id} at {event.time:g} s"
        self.waits.pop(_key(event), None)
        message, owner = self.sent.get(number), self.held.get(number, holder)
        given = self.now.setdefault(holder, set())
        wrong = None
        if message is None or message.name != event.data["name"]:
            wrong = f"message {number}, which was given to {said}, was not sent with that name"
        elif number in self.consumed or number in given or owner != holder:
            by = "had been received" if owner == holder else f"belonged to {owner[0]}"
            wrong = f"message {number} was given to {said}, but {by}"
        given.add(number)
        self.held[number] = holder
        return wrong

    def available(self, name: str, holder: _Holder, most: float = NEVER) -> list[int]:
        """Return the numbers of the messages of a name that a holder may receive."""
        given = self.now.get(holder, set())
        return [
            number
            for number, one in self.sent.items()
            if one.name == name
            and number <= most
            and number not in self.consumed
            and number not in given
            and self.held.get(number, holder) == holder
        ]


def books_of(trace: Trace) -> Mapping[str, Book]:
    """Return an empty book for each run whose record does not end early."""
    sent: dict[str, dict[int, MessageTrace]] = {it: {} for it in trace.runs if it not in trace.torn}
    for one in trace.messages:
        if one.number is not None and one.run_id in sent:
            sent[one.run_id][one.number] = one
    return {run_id: Book(messages) for run_id, messages in sent.items()}


# ── Order ────────────────────────────────────────────────────────────────────────────────────


@of_the_runtime(
    53,
    "Messages of one name are received in the order in which they were sent, by waits in the order "
    "in which they began, as soon as they are known.",
)
def messages_come_in_order(lives: Lives) -> Iterator[str]:
    """Compare each message that was received with those that could have been.

    At a moment when nothing can be delivered, no wait is left for which there is a message that the
    supervisor knows.
    """
    trace = lives.trace
    if not trace.messages:
        return
    books, arrivals = books_of(trace), _arrivals(trace)
    lulls = [it for it in trace.idle if not it.writes]
    looked = 0
    for place, event in enumerate(trace.events):
        while looked < len(lulls) and lulls[looked].events <= place:
            yield from _left_over(books, lulls[looked], arrivals, lives)
            looked += 1
        book = books.get(event.run_id)
        if book is None:
            continue
        if event.step_id is not None:
            if AS_STEPS.get(event.kind, event.kind) is _RECEIVED:
                yield from out_of_turn(book, event)
            book.take(event, place)
        elif event.kind is EventKind.RUN_RESUMED:
            book.resume(event)
        elif event.kind in RUN_ENDS:
            book.waits.clear()
    for lull in lulls[looked:]:
        yield from _left_over(books, lull, arrivals, lives)


def _arrivals(trace: Trace) -> Mapping[str, Arrivals]:
    arrivals: dict[str, list[tuple[int, int]]] = {}
    for place, (_, (_, message, _)) in enumerate(trace.envelopes):
        if type(message) is MailArrived:
            arrivals.setdefault(message.run_id, []).append((place, message.mail[-1].number))
    return arrivals


def out_of_turn(book: Book, event: Event) -> Iterator[str]:
    """Yield a message that was received before an earlier one, or by a wait before its turn."""
    holder = (event.step_id or "", event.kind in AS_STEPS)
    number, name, key = event.data["message"], event.data["name"], _key(event)
    earlier = [one for one in book.available(name, holder) if one < number]
    if earlier:
        yield f"{event.step_id} received message {number} before message {earlier[0]}"
    own = book.waits.get(key)
    since = NEVER if own is None else own.place
    if number in book.held:
        return  # it had it before
    for wait in book.waits.values():
        if wait.event.data["name"] == name and wait.place < since and wait.holder != holder:
            yield (
                f"{event.step_id} received message {number} at {event.time:g} s, for which "
                f"{wait.holder[0]} had waited since {wait.event.time:g} s"
            )


def _left_over(
    books: Mapping[str, Book], lull: Idle, arrivals: Mapping[str, Arrivals], lives: Lives
) -> Iterator[str]:
    """Yield the waits that went on although there was a message, or after their time."""
    waits = lives.waits
    if waits is None:
        return
    for run_id, book in books.items():
        if not book.waits:
            continue
        life = lives.at(run_id, lull.deliveries)
        if waits.may_end(life, lull.events, lull.deliveries, lull.time):
            continue
        known = _known(arrivals.get(run_id, ()), life.since, lull)
        for wait in book.waits.values():
            step = life.steps[wait.holder[0]]
            if wait.holder[1] or waits.may_stop(step, lull):
                continue
            found = book.available(wait.event.data["name"], wait.holder, known)
            if found:
                yield f"{step} waited at {lull.time:g} s although there was message {found[0]}"
            if max(wait.event.data.get("until", NEVER), wait.event.time) < lull.time:
                yield f"{step} waited at {lull.time:g} s, after its wait should have expired"


def _known(arrivals: Arrivals, since: int, lull: Idle) -> int:
    """Return the number of the latest message that the supervisor knew at an idle moment."""
    told = (number for place, number in arrivals if since <= place < lull.deliveries)
    return max(told, default=0)

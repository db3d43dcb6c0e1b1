"""Mailboxes: the messages that were sent to runs, and the attempts that wait for them.

Part of the supervisor's brain and as pure as the rest (see `decisions`):

    MailArrived      -> for each wait that gets a message: step.received, AnswerWait
    AwaitMail        -> step.received, AnswerWait, if there is a message; else step.awaiting
    a deadline       -> step.expired, AnswerWait
    ForgetWait       -> what the wait has got goes to the next wait

A run has a mailbox from the first of these messages on, and most runs have none. Messages of one
name are given away in the order of their numbers, to waits in the order of their beginnings.

What an attempt was given is consumed once its step has completed or is skipped. Nothing is done at
that moment: the next look at the mailbox finds out what has become of the steps that were given
something. There is such a look whenever an attempt of a run ends in which another one waits.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from actorflow.model.lifecycle import EventKind, StepStatus
from actorflow.model.mail import Receipts
from actorflow.model.mailing import AnswerWait, AwaitMail, ForgetWait, MailArrived
from actorflow.scheduling.deadlines import Due

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.model.context import Attempt
    from actorflow.model.mail import Call, Holder, Mail
    from actorflow.scheduling.deadlines import Deadline, Deadlines
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox

    _Found = tuple[RunState, StepState] | None

__all__ = ["Mailboxes"]

_CONSUMED: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
_UNDOES: Final = frozenset({StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED})
_NONE: Final = Receipts()


class Wait:
    """A body that waits for a message."""

    __slots__ = ("attempt", "call", "deadline", "evict", "name", "since", "step", "until")

    def __init__(self, message: AwaitMail, step: StepState, since: float) -> None:
        self.attempt: Attempt = message.attempt
        self.name: str = message.name
        self.call: int = message.call
        self.evict: bool = message.evict
        self.step: StepState = step
        self.since: float = since
        """When it began, on the monotonic clock."""
        self.until: float | None = None
        """When it expires, in seconds since the epoch."""
        self.deadline: Deadline | None = None

    @property
    def is_over(self) -> bool:
        """Whether its attempt has ended, or must stop."""
        return self.step.current is not self.attempt or self.step.stopping


class Holding:
    """What one step or compensator was given."""

    __slots__ = ("again", "number", "received", "step")

    def __init__(self) -> None:
        self.step: StepState | None = None
        """The step or compensator; None before it has asked in this life of its run."""
        self.number: int = 0
        """The number of its attempt that was given something last."""
        self.received: dict[tuple[str, int], Mail] = {}
        """What this attempt was given, by name and number of the wait."""
        self.again: dict[str, list[Mail]] = {}
        """What its next waits are given first, by name; heaps by number."""

    def begin(self, step: StepState, number: int) -> None:
        """Give an attempt again what an earlier one was given."""
        self.step = step
        if self.number != number:
            self.number = number
            for key in list(self.received):
                self.give_back(key)

    def give_back(self, key: tuple[str, int]) -> bool:
        """Keep what a wait was given for the next one; return whether it was given anything."""
        mail = self.received.pop(key, None)
        if mail is not None:
            _push(self.again, mail)
        return mail is not None


class Reply(NamedTuple):
    """What a wait of an attempt that begins again is told."""

    known: bool = False
    """Whether it was told anything before."""
    mail: Mail | None = None
    """What it was given; None if it expired."""
    until: float | None = None
    """When it expires, in seconds since the epoch."""


class Mailbox:
    """The messages of one run."""

    __slots__ = (
        "early",
        "eviction",
        "free",
        "holdings",
        "numbers",
        "receipts",
        "seen",
        "waits",
    )

    def __init__(self, receipts: Receipts, numbers: Mapping[str, int]) -> None:
        self.receipts: Receipts = receipts
        """What had become of messages before this life of the run."""
        self.numbers: Mapping[str, int] = numbers
        """The numbers of the attempts that begin again, by step id."""
        self.seen: int = 0
        """The number up to which all messages are known."""
        self.early: dict[int, Mail] = {}
        """Messages that came before one with a lower number, by number."""
        self.free: dict[str, list[Mail]] = {}
        """The messages that were given to nothing, by name; heaps by number."""
        self.holdings: dict[Holder, Holding] = {}
        self.waits: list[Wait] = []
        """The waits that have not ended, in the order of their beginnings."""
        self.eviction: Deadline | None = None
        """When to look whether the run may be evicted."""

    def add(self, mail: Mail) -> None:
        """Add a message, unless it is known; it counts once all before it are known."""
        if mail.number > self.seen:
            self.early[mail.number] = mail
        while (following := self.early.pop(self.seen + 1, None)) is not None:
            self.seen = following.number
            self._file(following)

    def _file(self, mail: Mail) -> None:
        if mail.number in self.receipts.consumed:
            return
        holder = self.receipts.held.get(mail.number)
        if holder is None:
            _push(self.free, mail)
            return
        holding = self.holdings.setdefault(holder, Holding())
        replies = {} if holder[1] else self.receipts.replies.get(holder[0], {})
        for call, number in replies.items():
            if number == mail.number:  # its attempt begins again, and has it already
                holding.number, holding.received[call] = self.numbers[holder[0]], mail
                return
        _push(holding.again, mail)

    def reply(self, step: StepState, number: int, call: Call) -> Reply:
        """Return what a wait was told in an earlier life, if its attempt begins again."""
        if step.undoes is not None or self.numbers.get(step.id) != number:
            return Reply()
        if call in self.receipts.replies[step.id]:
            holding = self.holdings.get((step.id, False))
            mail = None if holding is None else holding.received.get(call)
            return Reply(known=True, mail=mail)
        return Reply(until=self.receipts.until[step.id].get(call))

    def take(self, step: StepState, number: int, name: str, call: int) -> Mail | None:
        """Return the next message of a name for an attempt, or None."""
        holder = (step.id, step.undoes is not None)
        holding = self.holdings.get(holder)
        if holding is not None:
            holding.begin(step, number)
        again = None if holding is None else holding.again.get(name)
        queues = [queue for queue in (again, self.free.get(name)) if queue]
        if not queues:
            return None
        mail = heapq.heappop(min(queues))
        if holding is None:
            holding = self.holdings[holder] = Holding()
            holding.begin(step, number)
        holding.received[name, call] = mail
        return mail

    def settle(self, run: RunState) -> None:
        """Take back what steps were given that have settled without consuming it."""
        for holder, holding in list(self.holdings.items()):
            consumed = _outcome(run, holder, holding)
            if consumed is None:
                continue
            del self.holdings[holder]
            for queue in holding.again.values():
                for mail in queue:
                    _push(self.free, mail)
            for mail in () if consumed else holding.received.values():
                _push(self.free, mail)


def _push(queues: dict[str, list[Mail]], mail: Mail) -> None:
    heapq.heappush(queues.setdefault(mail.name, []), mail)


def _outcome(run: RunState, holder: Holder, holding: Holding) -> bool | None:
    """Return whether a holder has consumed what its attempt was given; None if it may go on."""
    step_id, undoes = holder
    status = run.steps[step_id].status
    step = holding.step if undoes else run.steps[step_id]
    if undoes:
        if status not in _UNDOES:
            return None
        consumed = status is StepStatus.COMPENSATED
    else:
        if not status.settled:
            return None
        consumed = status in _CONSUMED or status in _UNDOES
    return consumed and step is not None and step.attempts == holding.number


class Mailboxes:
    """The mailboxes of all runs that have one.

    Args:
        outbox: Where events and effects go.
        deadlines: The deadlines of all runs.
        runs: The runs, by id.
        find: Returns the run and the step or compensator of an attempt in flight.
        evict_after: After how many seconds runs that only wait are evicted; None for never.
    """

    def __init__(
        self,
        outbox: Outbox,
        deadlines: Deadlines,
        runs: Mapping[str, RunState],
        find: Callable[[Attempt], _Found],
        evict_after: float | None = None,
    ) -> None:
        self.evict_after: Final = evict_after
        self._outbox = outbox
        self._deadlines = deadlines
        self._runs = runs
        self._find = find
        self.boxes: dict[str, Mailbox] = {}
        """The mailboxes, by run id."""

    @property
    def handlers(self) -> dict[type[Any], Callable[[Any], None]]:
        """The functions that take messages, by the types of these."""
        return {
            AwaitMail: self._await,
            ForgetWait: self._forget,
            MailArrived: self._arrived,
        }

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    def _await(self, message: AwaitMail) -> None:
        found = self._find(message.attempt)
        if found is None or found[1].stopping:
            return  # its body is stopped
        run, step = found
        box = self.boxes.get(run.run_id) or self.take_up(run, _NONE)
        self.look(run)  # others have waited for longer for what settled steps give back
        wait = Wait(message, step, self._outbox.now)
        reply = box.reply(step, wait.attempt.number, (wait.name, wait.call))
        if reply.known:
            self._repeat(wait, reply.mail)
        elif not self._give(run, box, wait):
            wait.until = reply.until
            if wait.until is None and message.timeout is not None:
                wait.until = self._outbox.wall + message.timeout
            self._begin(run, box, wait)

    def _repeat(self, wait: Wait, mail: Mail | None) -> None:
        """Tell a body what it was told in an earlier life; that is recorded already."""
        payload = None if mail is None else mail.payload
        outcome: Literal["received", "expired"] = "expired" if mail is None else "received"
        self._outbox.perform(AnswerWait(wait.attempt, wait.name, wait.call, outcome, payload))

    def _begin(self, run: RunState, box: Mailbox, wait: Wait) -> None:
        data: dict[str, Any] = {"name": wait.name, "call": wait.call}
        until = wait.until
        if until is not None:
            moment = self._outbox.now + max(0.0, until - self._outbox.wall)
            wait.deadline = self._deadlines.set(moment, Due.WAIT, run.run_id)
            data["until"] = until
        if not wait.evict:
            data["evict"] = False
        box.waits.append(wait)
        self.watch(run)
        self._outbox.attempt(run, wait.step, EventKind.STEP_AWAITING, wait.attempt.number, data)
        self._outbox.perform(AnswerWait(wait.attempt, wait.name, wait.call, "awaiting"))

    def _give(self, run: RunState, box: Mailbox, wait: Wait) -> bool:
        """Give a wait the next message of its name, if there is one."""
        number = wait.attempt.number
        mail = box.take(wait.step, number, wait.name, wait.call)
        if mail is None:
            return False
        data = {"name": wait.name, "call": wait.call, "message": mail.number}
        self._outbox.attempt(run, wait.step, EventKind.STEP_RECEIVED, number, data)
        answer = AnswerWait(wait.attempt, wait.name, wait.call, "received", mail.payload)
        self._outbox.perform(answer)
        return True

    def _forget(self, message: ForgetWait) -> None:
        found = self._find(message.attempt)
        box = self.boxes.get(message.attempt.scope.run_id)
        if found is None or box is None:
            return
        run, step = found
        key = message.name, message.call
        for wait in box.waits:
            if wait.attempt is message.attempt and (wait.name, wait.call) == key:
                self._drop(box, wait)
                return
        holding = box.holdings.get((step.id, step.undoes is not None))
        if holding is not None and holding.give_back(key):
            self.look(run)

    def _arrived(self, message: MailArrived) -> None:
        run = self._runs.get(message.run_id)
        if run is None:
            return
        box = self.boxes.get(run.run_id) or self.take_up(run, _NONE)
        for mail in message.mail:
            box.add(mail)
        self.look(run)

    # ── What happens otherwise ───────────────────────────────────────────────────────────────

    def take_up(self, run: RunState, receipts: Receipts) -> Mailbox:
        """Make the mailbox of a run, given what had become of messages in its earlier lives."""
        again = {step_id: run.steps[step_id].attempts + 1 for step_id in receipts.replies}
        box = self.boxes[run.run_id] = Mailbox(receipts, again)
        return box

    def look(self, run: RunState) -> None:
        """Give messages to the waits of a run, and forget the waits that are over."""
        box = self.boxes.get(run.run_id)
        if box is None:
            return
        box.settle(run)
        for wait in list(box.waits):
            if wait.is_over or self._give(run, box, wait):
                self._drop(box, wait)

    def watch(self, run: RunState) -> None:
        """Have it looked later whether a run that waits may be evicted."""
        box = self.boxes.get(run.run_id)
        if box is None or box.eviction is not None or not box.waits or self.evict_after is None:
            return
        moment = self._outbox.now + self.evict_after
        box.eviction = self._deadlines.set(moment, Due.EVICTION, run.run_id)

    def expire(self, run: RunState) -> None:
        """End the waits of a run whose time is over."""
        box = self.boxes[run.run_id]
        for wait in list(box.waits):
            if wait.deadline is not None and wait.deadline[2] is None:
                self._drop(box, wait)
                if not wait.is_over:
                    self._expire(run, wait)

    def _expire(self, run: RunState, wait: Wait) -> None:
        attempt, data = wait.attempt, {"name": wait.name, "call": wait.call}
        self._outbox.attempt(run, wait.step, EventKind.STEP_EXPIRED, attempt.number, data)
        self._outbox.perform(AnswerWait(attempt, wait.name, wait.call, "expired"))

    def forget(self, run_id: str) -> None:
        """Forget a run that has ended or is left."""
        box = self.boxes.pop(run_id, None)
        if box is None:
            return
        for wait in list(box.waits):
            self._drop(box, wait)
        if box.eviction is not None:
            self._deadlines.cancel(box.eviction)

    def _drop(self, box: Mailbox, wait: Wait) -> None:
        box.waits.remove(wait)
        if wait.deadline is not None:
            self._deadlines.cancel(wait.deadline)

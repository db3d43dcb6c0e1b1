"""The laws about messages and evictions between several orchestrators."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actorflow.model.lifecycle import EventKind
from actorflow.model.mailing import EvictRun
from actorflow.testing.laws.evictions import waiting_steps, wrong_reasons
from actorflow.testing.laws.evidence.life import AS_STEPS, NEVER, RUN_ENDS
from actorflow.testing.laws.law import of_several
from actorflow.testing.laws.mail import altered, books_of, misgiven, missent, out_of_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.cluster.messages import Slept
    from actorflow.testing.cluster.trace import ProcessTrace
    from actorflow.testing.laws.evidence.sharing import Ownership, Recorded, Sharing
    from actorflow.testing.laws.mail import Book

__all__ = ["evicted_runs_have_a_reason", "messages_are_shared", "messages_reach_their_owner"]

_EPSILON: Final = 1e-6
_CANCELS: Final = frozenset({EventKind.STEP_CANCELLED, EventKind.RUN_CANCELLED})
_OF_WAITS: Final = frozenset(
    {EventKind.STEP_AWAITING, EventKind.STEP_RECEIVED, EventKind.STEP_EXPIRED}
)
_STOPS: Final = frozenset(
    {EventKind.STEP_FAILED, EventKind.STEP_CANCELLED, EventKind.RUN_COMPENSATING}
)
"""Events after which attempts of the run may have been told to stop."""


# ── 55 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    55,
    "Over all owners of a run, a message is consumed by at most one step, which gets it as it was "
    "sent, and those of one name are received in their order; one id is one message, whichever "
    "orchestrator it is sent through.",
)
def messages_are_shared(sharing: Sharing) -> Iterator[str]:
    """Compare what was sent with the joint record, and with what bodies got in any process."""
    trace = sharing.trace
    if not trace.messages:
        return
    for run_id in trace.accepted:
        yield from missent([it for it in trace.messages if it.run_id == run_id], trace)
    yield from misgiven(trace)
    yield from altered(trace)
    for run_id, book in books_of(trace).items():
        for one in sharing.events[run_id]:
            if AS_STEPS.get(one.event.kind, one.event.kind) is EventKind.STEP_RECEIVED:
                yield from out_of_turn(book, one.event)
            _apply(book, one)


def _apply(book: Book, one: Recorded) -> None:
    event = one.event
    if event.step_id is not None:
        book.take(event, one.place)
    elif event.kind is EventKind.RUN_RESUMED:
        book.resume(event)
    elif event.kind in RUN_ENDS:
        book.waits.clear()


# ── 56 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    56,
    "A message that was sent is not lost: a wait for it gets it when the owner of the run next "
    "renews its lease at the latest, while that owner is there.",
)
def messages_reach_their_owner(sharing: Sharing) -> Iterator[str]:
    """Measure how long each wait was open although there was a message that it could have.

    The supervisor is told of it in time, and answers before nothing is left to deliver. Law 42 says
    how soon a run has an owner for which there is a message.
    """
    if not sharing.trace.messages:
        return
    for run_id, book in books_of(sharing.trace).items():
        if book.sent and sharing.events[run_id]:
            yield from _kept_waiting(sharing, run_id, book)


class _Missed(NamedTuple):
    """A message that a wait could have, and from when on."""

    wait: tuple[Any, ...]
    number: int


def _kept_waiting(sharing: Sharing, run_id: str, book: Book) -> Iterator[str]:
    missed: dict[_Missed, float] = {}
    events = sharing.events[run_id]
    after = [*(one.by.time for one in events[1:]), sharing.trace.now]
    for one, until in zip(events, after, strict=True):
        _apply(book, one)
        could = {
            _Missed(key, number): max(one.by.time, book.sent[number].time)
            for key, wait in book.waits.items()
            for number in book.available(wait.event.data["name"], wait.holder)
        }
        missed = {key: missed.get(key, since) for key, since in could.items()}
        for (key, number), since in missed.items():
            by = _in_time(sharing, run_id, since, number)
            if by is not None and by < until:
                yield (
                    f"{key[1]} of {run_id} waited for message {number}, which was there from "
                    f"{since:g} s on, and had not got it by {by:g} s"
                )


def _in_time(sharing: Sharing, run_id: str, since: float, number: int) -> float | None:
    """Return by when a message must be given to a wait; None if something may keep it from that."""
    one = _owner_then(sharing, run_id, since)
    process = None if one is None else sharing.processes.get(one.owner)
    if one is None or process is None:
        return None
    since = sharing.free_from(process.orchestrator, since)
    until = since + sharing.until_heard
    if until >= min(one.until, process.ended_at) or sharing.rest.is_paused(run_id, 0.0, until):
        return None
    if sharing.may_stop(run_id, until) or _was_stopped(sharing, run_id, until):
        return None
    if not sharing.is_there(process.orchestrator, since, until):
        return None
    told = (it.time for it in process.news if it.run_id == run_id and (it.number or 0) >= number)
    at = next(told, NEVER)
    if at > until:
        return until
    quiet = sharing.quiet_after(process, max(at, since), one.until)
    return None if quiet is None or _is_evicting(process, run_id, one.since, quiet) else quiet


def _is_evicting(process: ProcessTrace, run_id: str, since: float, until: float) -> bool:
    """Return whether a process was about to evict a run, whose bodies then get nothing more."""
    return any(
        isinstance(message, EvictRun) and message.run_id == run_id and since <= time <= until
        for time, (_, message, _) in process.trace.envelopes
    )


def _owner_then(sharing: Sharing, run_id: str, moment: float) -> Ownership | None:
    owned = [it for it in sharing.ownerships[run_id] if it.since <= moment < it.until]
    return owned[-1] if owned else None


def _was_stopped(sharing: Sharing, run_id: str, moment: float) -> bool:
    return any(one.event.kind in _STOPS and one.by.time <= moment for one in sharing.events[run_id])


# ── 57 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    57,
    "A run is evicted only while each of its attempts in flight waits for a message. It is taken "
    "when there is a message that its owner had not seen, its time has come or it is cancelled, "
    "not before, and these attempts begin again under their numbers.",
)
def evicted_runs_have_a_reason(sharing: Sharing) -> Iterator[str]:
    """Look at each eviction, and at who took the run afterwards."""
    for process in sharing.processes.values():
        if process.trace.evicted:
            for _, life in process.trace.lives.evicted:
                yield from wrong_reasons(life, waiting_steps(life))
    for slept in sharing.trace.slept:
        taken = _taken_after(sharing, slept)
        if taken is not None:
            yield from _taken_without_reason(sharing, slept, taken)
            yield from _begun_otherwise(sharing, taken)


def _taken_without_reason(sharing: Sharing, slept: Slept, taken: Ownership) -> Iterator[str]:
    if not _has_reason(sharing, slept, taken):
        yield (
            f"{taken.owner} took {slept.run_id} at {taken.since:g} s, which had been evicted "
            f"at {slept.time:g} s, and there was no news for it"
        )


def _begun_otherwise(sharing: Sharing, taken: Ownership) -> Iterator[str]:
    """Yield the attempts that waited, and whose steps began with another one in the next life."""
    waiting: dict[str | None, int | None] = {}
    for one in sharing.events[taken.run_id]:
        event = one.event
        if one.place < taken.events:
            if event.kind is EventKind.STEP_SUSPENDED:
                waiting[event.step_id] = event.attempt
            elif event.kind not in _OF_WAITS:
                waiting.pop(event.step_id, None)
        elif one.by.owner == taken.owner and event.kind is EventKind.STEP_STARTED:
            number = waiting.pop(event.step_id, event.attempt)
            if number != event.attempt:
                yield (
                    f"attempt {number} of {event.step_id} in {taken.run_id} went on as attempt "
                    f"{event.attempt} in {taken.owner}"
                )
        elif one.by.owner != taken.owner:
            return


def _taken_after(sharing: Sharing, slept: Slept) -> Ownership | None:
    """Return the ownership that followed an eviction."""
    owned = sharing.ownerships[slept.run_id]
    for one, following in itertools.pairwise(owned):
        if not one.owner and one.former == slept.owner and one.since == slept.time:
            return following
    return None


def _has_reason(sharing: Sharing, slept: Slept, taken: Ownership) -> bool:
    trace, run_id = sharing.trace, slept.run_id
    if any(
        it.run_id == run_id and (it.number or 0) > slept.seen and it.time <= taken.since
        for it in trace.messages
    ):
        return True
    if any(asked == run_id and slept.time <= at <= taken.since for at, asked in trace.asked):
        return True
    if slept.wake_at is not None and not (
        trace.clocks_are_right and taken.since < slept.wake_at - _EPSILON
    ):
        return True
    if trace.accepted[run_id].parent is not None:
        return True  # an attempt of its parent may have found it again
    return _cancels(sharing, taken)


def _cancels(sharing: Sharing, taken: Ownership) -> bool:
    """Return whether an owner took a run only to cancel it, or recorded nothing of it."""
    mine = [
        it
        for it in sharing.events[taken.run_id]
        if it.place >= taken.events and it.by.owner == taken.owner
    ]
    return not mine or mine[0].event.kind in _CANCELS or mine[0].by.time > taken.until

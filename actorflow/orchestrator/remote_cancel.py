"""Cancels runs that are not in progress here: at once without an owner, else by asking the owner.

Compensation needs the run's workflow, so it is always left to the orchestrator that runs it, now or
later.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING

from actorflow.errors.storage import LeaseHeld, RunUnattended
from actorflow.model.cancelling import cancelled
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.powers import hand_back, is_recorded
from actorflow.support.oneshot import Once, settle
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.events import Event
    from actorflow.model.protocols import Clock, StateManager
    from actorflow.model.records import RunSnapshot
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["Fate", "cancel_unattended", "hear_requests", "withdraw", "withdrawal"]

_NO_REQUESTS = (
    "its record says {!r}, no orchestrator runs it, and to undo it takes its workflow. "
    "Resume it with orchestrator.resume(), and cancel that"
)
_CANNOT_ASK = (
    "another orchestrator runs it, and {} keeps no requests that its owner would hear of. Cancel "
    "it there, or give the state manager listen() and ask_to_cancel(), as in CancelsRemotely"
)
_CANCELLED = "cancelled from here"


class Fate(enum.Enum):
    """The outcome of a request to cancel."""

    NOTHING = "it has ended, or is being undone"
    ASKED = "its owner has been asked"
    KEPT = "its next owner will undo it"
    CANCELLED = "it is cancelled"


def cancel_unattended(
    powers: Powers, run_id: str, clock: Clock, reason: str, *, compensate: bool
) -> Fate:
    """Cancel a run that is not in progress here, or ask for it.

    Raises:
        RunNotFound: When there is no such run.
        RunUnattended: When the request must be kept, and the state manager keeps none.
        StoreError: When the end of the run cannot be recorded.
    """
    if _is_over(powers.state.snapshot(run_id)):
        return Fate.NOTHING
    try:
        run = powers.state.claim(run_id)
    except LeaseHeld as held:
        if powers.requests is None:
            why = _CANNOT_ASK.format(text_of(powers.state))
            raise RunUnattended(run_id, why, _CANCELLED) from held
        powers.requests.ask_to_cancel(run_id, reason, compensate=compensate)
        return Fate.ASKED
    try:
        return _decide(powers, run, clock, reason, compensate)
    finally:
        hand_back(powers, run_id)  # its next owner must not wait for this one's end


def _decide(
    powers: Powers,
    run: RunSnapshot,
    clock: Clock,
    reason: str,
    compensate: bool,  # noqa: FBT001 - a Protocol's
) -> Fate:
    if _is_over(run):
        return Fate.NOTHING
    if not compensate:
        _end(powers.state, run, clock, reason)
        return Fate.CANCELLED
    if powers.requests is None:
        raise RunUnattended(run.run_id, _NO_REQUESTS.format(run.status.value), _CANCELLED)
    powers.requests.ask_to_cancel(run.run_id, reason, compensate=True)
    return Fate.KEPT


def _is_over(run: RunSnapshot) -> bool:
    return run.status.terminal or run.status is RunStatus.COMPENSATING


def _end(state: StateManager, run: RunSnapshot, clock: Clock, reason: str) -> None:
    recorded, outcome = len(state.events(run.run_id)), Once[None]()
    events = cancelled(run, recorded, clock.wall(clock.now()), reason)
    if is_recorded("record", state.record(events, functools.partial(settle, outcome))):
        return
    outcome.result()


def withdraw(state: StateManager, run_id: str, clock: Clock) -> None:
    """Record that an accepted run will not start; a run that was to be resumed stays as it is."""
    pending = state.snapshot(run_id)
    if pending.status is RunStatus.PENDING:
        recorded = len(state.events(run_id))
        events = withdrawal(pending, clock.wall(clock.now()), recorded)
        state.record(events, lambda _: None)  # the supervisor never received it


def withdrawal(pending: RunSnapshot, wall: float, recorded: int = 0) -> list[Event]:
    """Return the events that end a run which was accepted but never started."""
    return cancelled(pending, recorded, wall, "it was withdrawn before it started")


def hear_requests(runtime: Runtime, live: LiveRuns) -> Callable[[], None]:
    """Cancel runs for which requests arrive, and hear of messages; the result ends both."""

    def cancel(run_id: str, reason: str, compensate: bool) -> None:  # noqa: FBT001 - a Protocol's
        if run_id in live:
            runtime.cancel(run_id, reason, compensate=compensate)

    requests, messages = runtime.powers.requests, runtime.powers.messages
    ends = [] if requests is None else [requests.listen(cancel)]
    if messages is not None:
        ends.append(messages.hear_messages(runtime.mail.heard))

    def end() -> None:
        for one in ends:
            one()

    return end

"""Cancels runs that are not in progress here: at once without an owner, else by asking the owner.

Compensation needs the run's workflow, so it is always left to the orchestrator that runs it, now or
later. A run that has not started has nothing to compensate.

The children of a run without an owner are cancelled before the run itself, so that a crash in the
middle leaves no child behind: a parent in progress cancels its children again.
"""

from __future__ import annotations

import contextlib
import enum
import functools
from typing import TYPE_CHECKING, TypeAlias

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import LeaseHeld, RunNotFound, RunUnattended
from actorflow.model.cancelling import cancelled
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.family import children_of, ends_with_parent, not_cancelled
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

    CancelChild: TypeAlias = Callable[[str, str], object]

__all__ = ["CancelChild", "Fate", "cancel_unattended", "hear_requests", "withdraw", "withdrawal"]

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
    powers: Powers,
    run_id: str,
    clock: Clock,
    reason: str,
    *,
    compensate: bool,
    cancel_child: CancelChild | None = None,
) -> Fate:
    """Cancel a run that is not in progress here, or ask for it.

    Args:
        powers: Where the run is recorded.
        run_id: The run.
        clock: The clock.
        reason: Why.
        compensate: Whether its steps are undone.
        cancel_child: Cancels one of its children, whose id it is given with a reason; by default,
            none of them is in progress here.

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
        fate = _decide(powers, run, clock, reason, compensate, cancel_child=cancel_child)
    finally:
        hand_back(powers, run_id)  # its next owner must not wait for this one's end
    if fate is Fate.KEPT and powers.requests is not None:  # it may be taken as soon as it asks
        powers.requests.ask_to_cancel(run_id, reason, compensate=True)
    return fate


def _decide(
    powers: Powers,
    run: RunSnapshot,
    clock: Clock,
    reason: str,
    compensate: bool,  # noqa: FBT001 - a Protocol's
    *,
    cancel_child: CancelChild | None,
) -> Fate:
    if _is_over(run):
        return Fate.NOTHING
    if run.status is not RunStatus.PENDING:
        if compensate:
            if powers.requests is None:
                why = _NO_REQUESTS.format(run.status.value)
                raise RunUnattended(run.run_id, why, _CANCELLED)
            return Fate.KEPT
        _end_children(powers, run, cancel_child or _cancels(powers, clock))
    _end(powers.state, run, clock, reason)
    return Fate.CANCELLED


def _cancels(powers: Powers, clock: Clock) -> CancelChild:
    def cancel(run_id: str, reason: str) -> object:
        return cancel_unattended(powers, run_id, clock, reason, compensate=False)

    return cancel


def _end_children(powers: Powers, run: RunSnapshot, cancel_child: CancelChild) -> None:
    """Cancel the children of a run without an owner that are in progress.

    Raises:
        StoreError: When the state manager cannot do it now; the run must not end then.
    """
    reason = f"its parent, run {run.run_id!r}, has been cancelled"
    with contextlib.suppress(DefinitionError):  # it cannot list children, and so has no families
        for child in children_of(powers.state, run.run_id):
            if _is_over(child) or not ends_with_parent(child):
                continue
            try:
                cancel_child(child.run_id, reason)
            except (RunNotFound, RunUnattended) as error:
                not_cancelled(child.run_id, error)


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
    """Cancel and pause runs for which requests arrive, and hear of messages.

    Call the returned function to stop.
    """

    def cancel(run_id: str, reason: str, compensate: bool) -> None:  # noqa: FBT001 - a Protocol's
        if run_id in live:
            runtime.cancel(run_id, reason, compensate=compensate, kept=True)

    powers = runtime.powers
    with contextlib.ExitStack() as heard:
        if powers.requests is not None:
            heard.callback(powers.requests.listen(cancel))
        if powers.pauses is not None:
            heard.callback(powers.pauses.listen_for_pauses(runtime.hear_pause))
        if powers.messages is not None:
            heard.callback(powers.messages.hear_messages(runtime.mail.heard))
        return heard.pop_all().close

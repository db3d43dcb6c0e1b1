"""Cancels a run that is not in progress here: at once when nobody runs it, or by asking its owner.

Undoing needs the run's workflow, so that is always left to whoever runs it, now or later.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING

from actorflow.errors import LeaseHeld, RunUnattended
from actorflow.lifecycle import RunStatus
from actorflow.once import Once, settle
from actorflow.orchestrator.ownership import hand_back
from actorflow.orchestrator.withdrawal import cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.protocols import Clock, StateManager
    from actorflow.results import RunSnapshot

__all__ = ["Fate", "cancel_unattended"]

_NO_REQUESTS = (
    "its record says {!r}, nobody runs it, and to undo it takes its workflow. Resume it with "
    "orchestrator.resume(), and cancel that"
)


class Fate(enum.Enum):
    """What has come of it."""

    NOTHING = "it has ended, or is being undone"
    ASKED = "its owner has been asked"
    KEPT = "whoever takes it up will undo it"
    CANCELLED = "it is cancelled"


def cancel_unattended(
    state: StateManager, run_id: str, clock: Clock, reason: str, *, compensate: bool
) -> Fate:
    """Cancel a run that is not in progress here, or have that done.

    Raises:
        RunNotFound: When there is no such run.
        RunUnattended: When it is to be undone, and the state manager keeps no requests.
        StoreError: When its end cannot be recorded.
    """
    if _is_over(state.snapshot(run_id)):
        return Fate.NOTHING
    try:
        run = state.claim(run_id)
    except LeaseHeld:
        _ask(state, run_id, reason, compensate)
        return Fate.ASKED
    try:
        return _decide(state, run, clock, reason, compensate)
    finally:
        hand_back(state, run_id)  # whoever is to go on with it must not wait for this owner's end


def _decide(
    state: StateManager,
    run: RunSnapshot,
    clock: Clock,
    reason: str,
    compensate: bool,  # noqa: FBT001 - a Protocol's
) -> Fate:
    if _is_over(run):
        return Fate.NOTHING
    if compensate:
        _ask_later(state, run, reason)
        return Fate.KEPT
    _end(state, run, clock, reason)
    return Fate.CANCELLED


def _is_over(run: RunSnapshot) -> bool:
    return run.status.terminal or run.status is RunStatus.COMPENSATING


def _ask(state: StateManager, run_id: str, reason: str, compensate: bool) -> None:  # noqa: FBT001 - a Protocol's
    ask: Callable[..., None] = getattr(state, "ask_to_cancel")  # noqa: B009 - it may be absent
    ask(run_id, reason, compensate=compensate)


def _ask_later(state: StateManager, run: RunSnapshot, reason: str) -> None:
    if not hasattr(state, "ask_to_cancel"):
        raise RunUnattended(run.run_id, _NO_REQUESTS.format(run.status.value))
    _ask(state, run.run_id, reason, compensate=True)


def _end(state: StateManager, run: RunSnapshot, clock: Clock, reason: str) -> None:
    recorded, outcome = len(state.events(run.run_id)), Once[None]()
    events = cancelled(run, recorded, clock.wall(clock.now()), reason)
    if state.record(events, functools.partial(settle, outcome)):
        return
    outcome.result()

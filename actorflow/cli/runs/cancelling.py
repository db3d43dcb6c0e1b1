"""Cancels a run that a database keeps: at once when nobody runs it, or else by asking its owner."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from actorflow.cli.db.stores import typed
from actorflow.cli.terminal.exits import Problem
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.powers import powers_of
from actorflow.orchestrator.remote_cancel import Fate, cancel_unattended
from actorflow.support.clock import SystemClock

if TYPE_CHECKING:
    from actorflow.model.results import RunSnapshot
    from actorflow.state.sql import SQLStateManager

__all__ = ["cancel"]


def cancel(
    state: SQLStateManager, run: RunSnapshot, reason: str, *, compensate: bool, db: str
) -> str:
    """Cancel a run, or have that done; return what has come of it.

    Undoing needs the run's workflow, so it is always left to whoever runs it, now or later.

    Raises:
        Problem: When there is nothing to cancel.
    """
    _check(run, db)
    powers, clock = powers_of(state), SystemClock()
    fate = cancel_unattended(powers, run.run_id, clock, reason, compensate=compensate)
    if fate is Fate.ASKED:
        see = typed(f"runs show {shlex.quote(run.run_id)}", db)
        return (
            "asked whoever runs it to cancel it; that is done when its lease is next renewed, "
            f"within a third of the lease, 10 s by default. To see it, type: {see}"
        )
    if fate is Fate.KEPT:
        resume = typed(f"runs resume {shlex.quote(run.run_id)} FILE[:FLOW]", db)
        return f"nobody runs it now; to have it undone by its workflow, type: {resume}"
    if fate is Fate.NOTHING:  # it has ended in the meantime
        _check(state.snapshot(run.run_id), db)
    return f"{RunStatus.CANCELLED.value}; nobody was running it"


def _check(run: RunSnapshot, db: str) -> None:
    if run.status.terminal:
        raise Problem(f"run {run.run_id!r} has ended already: it is {run.status.value}.")
    if run.status is RunStatus.COMPENSATING:
        resume = typed(f"runs resume {shlex.quote(run.run_id)} FILE[:FLOW]", db)
        raise Problem(
            f"run {run.run_id!r} is being undone already, and that is not stopped. If nobody "
            f"goes on with it, type: {resume}"
        )

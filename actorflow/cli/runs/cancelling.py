"""Cancelling a recorded run: at once if it has no owner, otherwise by a request to its owner."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from actorflow.cli.db.stores import command_line
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
    """Cancel a run, or request it; return a message about the outcome.

    Compensation needs the run's workflow, so it is always left to the run's owner, current or
    future.

    Raises:
        Problem: When there is nothing to cancel.
    """
    _check(run, db)
    powers, clock = powers_of(state), SystemClock()
    fate = cancel_unattended(powers, run.run_id, clock, reason, compensate=compensate)
    if fate is Fate.ASKED:
        see = command_line(f"runs show {shlex.quote(run.run_id)}", db)
        return (
            "asked its owner to cancel it; the owner sees the request when it next renews its "
            f"lease, within a third of the lease (10 s by default). To see it, type: {see}"
        )
    if fate is Fate.KEPT:
        resume = command_line(f"runs resume {shlex.quote(run.run_id)} FILE[:FLOW]", db)
        return f"it has no owner now; to compensate it with its workflow, type: {resume}"
    if fate is Fate.NOTHING:  # it has just ended
        _check(state.snapshot(run.run_id), db)
    return f"{RunStatus.CANCELLED.value}; it had no owner"


def _check(run: RunSnapshot, db: str) -> None:
    if run.status.terminal:
        raise Problem(f"run {run.run_id!r} has already ended: it is {run.status.value}.")
    if run.status is RunStatus.COMPENSATING:
        resume = command_line(f"runs resume {shlex.quote(run.run_id)} FILE[:FLOW]", db)
        raise Problem(
            f"run {run.run_id!r} is already being compensated, which cannot be cancelled. If it "
            f"has no owner, type: {resume}"
        )

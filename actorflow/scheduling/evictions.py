"""Evictions: runs that wait for messages leave memory, if a database keeps them.

Part of the supervisor's brain and as pure as the rest (see `decisions`). A run may go if all of its
attempts in flight wait for messages and have done so for a while:

    a deadline       -> AskEviction; only the host knows whether a body waits for a child as well
    EvictRun         -> StopAttempt for each attempt; no event
    with the run's last attempt: RunEvicted

To its steps an eviction is what a crash is. The record says that their attempts wait for messages.
Whoever takes the run up again has their bodies begin again, under the same numbers, and tells them
what they were told before (see `mailboxes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.model.lifecycle import RunStatus
from actorflow.model.mail import Eviction
from actorflow.model.mailing import AskEviction
from actorflow.scheduling.deadlines import Due
from actorflow.scheduling.suspensions import only_waits

if TYPE_CHECKING:
    from actorflow.scheduling.deadlines import Deadlines
    from actorflow.scheduling.ledger import RunState
    from actorflow.scheduling.mailboxes import Mailbox, Mailboxes
    from actorflow.scheduling.outbox import Outbox

__all__ = ["Evictions"]


class Evictions:
    """Decides which runs leave memory.

    Args:
        outbox: Where effects go.
        deadlines: The deadlines of all runs.
        mail: The mailboxes of all runs, which begin to wait for an eviction.
    """

    def __init__(self, outbox: Outbox, deadlines: Deadlines, mail: Mailboxes) -> None:
        self._outbox = outbox
        self._deadlines = deadlines
        self._mail = mail

    def due(self, run: RunState) -> None:
        """Ask for the eviction of a run that has only waited for long enough.

        Of any other run this is asked again when a wait begins, or when it does nothing but wait.
        """
        box, after = self._mail.boxes[run.run_id], self._mail.evict_after
        box.eviction = None
        if run.hold is not None:
            self._mail.watch(run)  # nothing says that its pause is over
            return
        if after is None or not _may_go(run, box):
            return
        ripe = max(wait.since for wait in box.waits) + after
        if ripe > self._outbox.now:
            box.eviction = self._deadlines.set(ripe, Due.EVICTION, run.run_id)
        else:
            self._outbox.perform(AskEviction(run.run_id))

    def of(self, run: RunState) -> Eviction | None:
        """Return how a run goes; None if it may not."""
        box = self._mail.boxes.get(run.run_id)
        if box is None or not _may_go(run, box):
            return None
        outbox, known = self._outbox, box.waits
        deadline = None if run.deadline is None else outbox.wall + run.deadline - outbox.now
        moments = [it for it in (deadline, *(wait.until for wait in known)) if it is not None]
        names = ", ".join(dict.fromkeys(repr(wait.name) for wait in known))
        return Eviction(f"message {names}", box.seen, min(moments, default=None), deadline)


def _may_go(run: RunState, box: Mailbox) -> bool:
    """Return whether each attempt of a run waits for messages, and may begin again."""
    if run.hold is not None:  # its clocks may stand still, which only memory knows
        return False
    if not run.away or run.rejoins or run.ending or run.status is not RunStatus.RUNNING:
        return False
    waits = [wait for wait in box.waits if not wait.is_over]
    waiting = {wait.step for wait in waits}
    return only_waits(run) and waiting == run.suspended.keys() and all(it.evict for it in waits)

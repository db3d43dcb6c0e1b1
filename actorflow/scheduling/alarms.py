"""What happens when deadlines pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.scheduling.deadlines import Due
from actorflow.scheduling.endings import timeout_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.scheduling.compensations import Compensations
    from actorflow.scheduling.deadlines import Deadlines
    from actorflow.scheduling.endings import Endings
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.starts import Starts

__all__ = ["Alarms"]


class Alarms:
    """Decides what a deadline that has passed means for its step or run.

    Args:
        outbox: Knows the time.
        runs: The runs in progress, by id.
        starts: Starts attempts.
        endings: Ends steps and runs.
        compensations: Undoes them.
        of_runs: What happens when a deadline of a run passes.
        of_left: Called with a deadline of a run that is not in progress.
        follow: Called with each run to which something has happened.
    """

    def __init__(
        self,
        outbox: Outbox,
        runs: Mapping[str, RunState],
        starts: Starts,
        endings: Endings,
        compensations: Compensations,
        *,
        of_runs: Mapping[Due, Callable[[RunState], None]],
        of_left: Callable[[Due, str, StepState | None], None],
        follow: Callable[[RunState], None],
    ) -> None:
        self._outbox = outbox
        self._runs = runs
        self._starts = starts
        self._endings = endings
        self._compensations = compensations
        self._of_runs = of_runs
        self._of_left = of_left
        self._follow = follow

    def ring(self, deadlines: Deadlines) -> None:
        """Decide what follows from all deadlines that have passed."""
        # One at a time: handling the first one may cancel others.
        while (found := deadlines.pop_due(self._outbox.now)) is not None:
            due, run_id, step = found
            run = self._runs.get(run_id)
            if run is None:
                self._of_left(due, run_id, step)
                continue
            if step is None:
                self._of_runs[due](run)
            elif step.undoes is None:
                self._due(due, run, step)
                continue
            else:
                self._compensations.due(due, run, step)
            self._follow(run)

    def _due(self, due: Due, run: RunState, step: StepState) -> None:
        if due is Due.BACKOFF:
            self._starts.ready(run, step)
        elif due is Due.GRACE:
            self._endings.abandon(step)
        else:
            self._timed_out(due, run, step)

    def _timed_out(self, due: Due, run: RunState, step: StepState) -> None:
        if not step.stopping:
            self._endings.time_out(run, step, timeout_of(due, run, step))
            self._follow(run)

"""The state of runs in progress as recorded, and the changes that a group of entries makes.

The rows of a run and of its steps are the fold of its events. The writer keeps this fold for each
run in progress, so that a group of events becomes a few rows with the final values, however often
a step has moved within the group. Writing such a row twice does no harm.

Outputs and errors are strings here, which the fold never inspects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actorflow.errors.running import IllegalMove
from actorflow.errors.storage import (
    AlreadyStarted,
    KeyInUse,
    LeaseLost,
    StoreError,
    StoreUnavailable,
)
from actorflow.model.lifecycle import EventKind
from actorflow.state.folding import RunFold
from actorflow.state.sql.writing.queue import Create, Write, run_ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.model.events import Event
    from actorflow.state.folding import StepFold
    from actorflow.state.sql.writing.queue import EncodedEvent, Entry

__all__ = ["Batch", "Change", "OpenRun", "OpenRuns", "apply_event"]


@attrs.define(eq=False)
class OpenRun:
    """A run in progress: its fold, its fencing token and the number of its last event."""

    fold: RunFold
    fence: int
    last_event: int


@attrs.define(eq=False)
class Change:
    """The changes that a group of entries makes to one run."""

    run: OpenRun
    before: int
    """The number of the last event recorded before the group."""
    created: Create | None = None
    slot: str | None = None
    """Where the new run stands among those with its key, if it has one."""
    steps: dict[str, StepFold] = attrs.field(factory=dict)
    events: list[EncodedEvent] = attrs.field(factory=list)
    pauses: list[Event] | None = None
    """The events of its pauses and their ends."""


Batch = dict[str, Change]
"""The changes that a group of entries makes, by run id."""


class OpenRuns:
    """The runs in progress; used only by the writer's thread."""

    def __init__(self) -> None:
        self.runs: dict[str, OpenRun] = {}
        self._broken: dict[str, StoreError] = {}
        """The runs whose record ended early, and why: a record must not have gaps."""
        self._claimed: set[str] = set()
        """The runs that were claimed, and of which nothing has been recorded since then."""

    def apply(self, group: Sequence[Entry]) -> tuple[Batch, dict[str, StoreError]]:
        """Apply a group; return its changes, and the runs that cannot be recorded in full."""
        batch: Batch = {}
        lost: dict[str, StoreError] = {}
        for entry in group:
            if isinstance(entry, Create):
                run = OpenRun(RunFold(entry.record), 1, 0)
                if entry.owned:
                    self.runs[entry.record.run_id] = run
                batch[entry.record.run_id] = Change(run, 0, entry)
            else:
                self._write(entry, batch, lost)  # type: ignore[arg-type] # claims are never grouped
        return batch, lost

    def _write(self, entry: Write, batch: Batch, lost: dict[str, StoreError]) -> None:
        for run_id, refusal in entry.refused.items():
            lost.setdefault(run_id, refusal)
        for encoded in entry.events:
            run_id = encoded[0].run_id
            if run_id in lost:
                continue
            change = batch.get(run_id) or self._change(run_id)
            error = self._error(run_id) if change is None else _gap(change, encoded[0])
            if change is not None:
                # Also after a gap: another owner may have claimed the run and recorded the missing
                # events. The database will tell when we try to write.
                batch[run_id] = change
                error = error or apply_event(change, encoded)
            if error is not None:
                lost[run_id] = error

    def _change(self, run_id: str) -> Change | None:
        run = self.runs.get(run_id)
        return None if run is None else Change(run, run.last_event)

    def _error(self, run_id: str) -> StoreError:
        return self._broken.get(run_id) or LeaseLost(run_id)

    def drop(self, lost: Mapping[str, StoreError]) -> None:
        """Record nothing more of these runs until they are claimed."""
        for run_id, error in lost.items():
            self.give_up(run_id)
            if isinstance(error, (AlreadyStarted, KeyInUse)):
                continue  # this run was never recorded
            self._broken.setdefault(run_id, error)

    def reopen(self, run_id: str, run: OpenRun) -> None:
        """Continue a run that was claimed."""
        self._broken.pop(run_id, None)
        self.runs[run_id] = run
        self._claimed.add(run_id)

    def have_begun(self, group: Sequence[Entry]) -> bool:
        """Return whether claimed runs have gone on with this group: those are in progress now."""
        if not self._claimed:
            return False
        begun = self._claimed & run_ids_of([it for it in group if isinstance(it, Write)])
        self._claimed -= begun
        return not begun.isdisjoint(self.runs)

    def give_up(self, run_id: str) -> None:
        """Forget a run that goes on elsewhere."""
        self.runs.pop(run_id, None)
        self._claimed.discard(run_id)

    def forget_ended(self, group: Sequence[Entry]) -> None:
        """Forget the runs that ended in this group."""
        for entry in group:
            for event, _ in getattr(entry, "events", ()):
                if event.step_id is None and event.kind in _ENDS:
                    self._broken.pop(event.run_id, None)
                    run = self.runs.get(event.run_id)
                    if run is not None and run.fold.status.terminal:
                        del self.runs[event.run_id]


_PAUSES = frozenset({EventKind.RUN_PAUSED, EventKind.RUN_UNPAUSED})
_ENDS = frozenset({EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})


def _gap(change: Change, event: Event) -> StoreError | None:
    """Return an error when an event is not the next one."""
    following = change.run.last_event + 1
    if event.number == following:
        return None
    why = f"event {following} of run {event.run_id!r}, which precedes it, is missing"
    return StoreUnavailable(f"accept event {event.number}", why)


def apply_event(change: Change, encoded: EncodedEvent) -> StoreError | None:
    """Apply the next event to the fold; return an error when it does not fit."""
    event, run = encoded[0], change.run
    try:
        _fold(change, run.fold, encoded)
    except (IllegalMove, KeyError) as error:
        return StoreUnavailable(f"accept {event.kind.value!r} of run {event.run_id!r}", str(error))
    run.last_event = event.number
    change.events.append(encoded)
    return None


def _fold(change: Change, fold: RunFold, encoded: EncodedEvent) -> None:
    event = encoded[0]
    if event.step_id is not None:
        step = fold.steps[event.step_id]
        step.take(event)
        change.steps[event.step_id] = step
        return
    if event.kind in _PAUSES:
        change.pauses = [*(change.pauses or ()), event]
    before = dict(fold.steps) if event.kind is EventKind.RUN_RESUMED else fold.steps
    fold.take(event)
    for step_id, step in fold.steps.items():
        if before[step_id] is not step:
            change.steps[step_id] = step

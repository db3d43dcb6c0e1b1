"""The runs in progress as the database has them, and what a group of entries makes of them.

A run's row and its steps' rows are the fold of its events. The books keep that fold of every run
in progress, so that a group of events becomes a few rows with the values that they then have,
however often a step has moved within the group. Writing such a row twice does no harm.

Texts stand for outputs and errors here: the fold never looks into them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actorflow.errors.running import IllegalMove
from actorflow.errors.storage import AlreadyStarted, LeaseLost, StoreError, StoreUnavailable
from actorflow.model.lifecycle import EventKind
from actorflow.state.folding import RunFold
from actorflow.state.sql.writing.entries import Create

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.model.events import Event
    from actorflow.state.folding import StepFold
    from actorflow.state.sql.writing.entries import Entry, Line, Write

__all__ = ["Batch", "Books", "Page"]


@attrs.define(eq=False)
class Page:
    """A run in progress."""

    fold: RunFold
    fence: int
    last_event: int


@attrs.define(eq=False)
class Change:
    """What a group of entries makes of one run."""

    page: Page
    before: int
    """The number of the last event that was recorded before."""
    created: Create | None = None
    steps: dict[str, StepFold] = attrs.field(factory=dict)
    lines: list[Line] = attrs.field(factory=list)


Batch = dict[str, Change]
"""What a group of entries makes of the runs, by run id."""


class Books:
    """The runs in progress; for the writer's thread alone."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self._torn: dict[str, StoreError] = {}
        """The runs whose record has ended early, and why: a record has no holes."""

    def enter(self, group: Sequence[Entry]) -> tuple[Batch, dict[str, StoreError]]:
        """Return what a group comes to, and the runs of which not all of it can be recorded."""
        batch: Batch = {}
        lost: dict[str, StoreError] = {}
        for entry in group:
            if isinstance(entry, Create):
                page = Page(RunFold(entry.record), 1, 0)
                if entry.owned:
                    self.pages[entry.record.run_id] = page
                batch[entry.record.run_id] = Change(page, 0, entry)
            else:
                self._write(entry, batch, lost)  # type: ignore[arg-type] # claims come alone
        return batch, lost

    def _write(self, entry: Write, batch: Batch, lost: dict[str, StoreError]) -> None:
        for run_id, error in entry.refused.items():
            lost.setdefault(run_id, error)
        for line in entry.lines:
            run_id = line[0].run_id
            if run_id in lost:
                continue
            change = batch.get(run_id) or self._change(run_id)
            fault = self._fault(run_id) if change is None else _missing(change, line[0])
            if change is not None:
                # Also when something is missing before it: that may be what somebody else has
                # recorded, who has claimed the run. The database knows, when it is asked to write.
                batch[run_id] = change
                fault = fault or _take(change, line)
            if fault is not None:
                lost[run_id] = fault

    def _change(self, run_id: str) -> Change | None:
        page = self.pages.get(run_id)
        return None if page is None else Change(page, page.last_event)

    def _fault(self, run_id: str) -> StoreError:
        return self._torn.get(run_id) or LeaseLost(run_id)

    def lose(self, lost: Mapping[str, StoreError]) -> None:
        """Record nothing more of these runs, until somebody claims them."""
        for run_id, error in lost.items():
            self.pages.pop(run_id, None)
            if isinstance(error, AlreadyStarted):
                continue  # there never was such a run
            self._torn.setdefault(run_id, error)

    def turn(self, run_id: str, page: Page) -> None:
        """Go on with a run that was claimed."""
        self._torn.pop(run_id, None)
        self.pages[run_id] = page

    def tidy(self, group: Sequence[Entry]) -> None:
        """Forget the runs that have ended in this group; they were recorded, or are lost."""
        for entry in group:
            for event, _ in getattr(entry, "lines", ()):
                if event.step_id is None and event.kind in _LAST:
                    self._torn.pop(event.run_id, None)
                    page = self.pages.get(event.run_id)
                    if page is not None and page.fold.status.terminal:
                        del self.pages[event.run_id]


_LAST = frozenset({EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})


def _missing(change: Change, event: Event) -> StoreError | None:
    """Return what is to be said when an event is not the next one."""
    following = change.page.last_event + 1
    if event.number == following:
        return None
    why = f"event {following} of run {event.run_id!r} is missing before it"
    return StoreUnavailable(f"take event {event.number}", why)


def _take(change: Change, line: Line) -> StoreError | None:
    """Let the next event happen to the fold; return why it cannot."""
    event, page = line[0], change.page
    try:
        _fold(change, page.fold, line)
    except (IllegalMove, KeyError) as error:
        return StoreUnavailable(f"take {event.kind.value!r} of run {event.run_id!r}", str(error))
    page.last_event = event.number
    change.lines.append(line)
    return None


def _fold(change: Change, fold: RunFold, line: Line) -> None:
    event = line[0]
    if event.step_id is not None:
        step = fold.steps[event.step_id]
        step.take(event)
        change.steps[event.step_id] = step
        return
    before = dict(fold.steps) if event.kind is EventKind.RUN_RESUMED else fold.steps
    fold.take(event)
    for step_id, step in fold.steps.items():
        if before[step_id] is not step:
            change.steps[step_id] = step

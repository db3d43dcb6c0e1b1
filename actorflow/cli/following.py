"""Reading the events of a recorded run: page by page, and as they are recorded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.state.sql import SQLStateManager

__all__ = ["followed", "recorded"]

_PAGE: Final = 1000
_POLL: Final = 0.5
"""Seconds between two looks for new events."""
_ENDS: Final = {EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED}


def recorded(state: SQLStateManager, run_id: str, after: int, limit: int | None) -> Iterator[Event]:
    """Yield the events that are recorded, loading one page at a time."""
    while limit is None or limit > 0:
        page = state.events(run_id, after=after, limit=min(_PAGE, limit or _PAGE))
        yield from page
        if not page:
            return
        after = page[-1].number
        limit = None if limit is None else limit - len(page)


def followed(state: SQLStateManager, run_id: str, after: int, limit: int | None) -> Iterator[Event]:
    """Yield events until the run has ended, or until there were `limit` of them.

    A run that ends and is resumed before the next look is followed further.
    """
    last: Event | None = None
    while True:
        for event in recorded(state, run_id, after, limit):
            yield event
            last, after = event, event.number
            limit = None if limit is None else limit - 1
        if limit == 0 or _has_ended(state, run_id, last):
            return
        _wait()


def _has_ended(state: SQLStateManager, run_id: str, last: Event | None) -> bool:
    if last is None:  # its end may be among the events that are not wanted
        return state.snapshot(run_id).status.terminal
    return last.kind in _ENDS


def _wait() -> None:
    threading.Event().wait(_POLL)

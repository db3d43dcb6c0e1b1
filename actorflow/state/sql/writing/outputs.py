"""Outputs that have been looked at before their events come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.storage import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.state.sql.values.payloads import Payloads
    from actorflow.state.sql.writing.entries import Line

__all__ = ["Admitted"]

_MOST: Final = 10_000
"""How many are kept ready as texts."""
_NOTHING: Final = object()


class Admitted:
    """Keeps outputs as the texts that they were when their steps returned them."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._texts: dict[tuple[str, str], tuple[Any, str]] = {}

    def admit(self, run_id: str, step_id: str, output: Any) -> None:
        """Make an output ready to be recorded.

        Raises:
            NotStorable: When a part of it cannot be stored.
            TooLarge: When it is too large.
        """
        text = self._payloads.output(run_id, step_id, output)
        self._texts[run_id, step_id] = output, text
        if len(self._texts) > _MOST:
            self._texts.pop(next(iter(self._texts)), None)

    def lines(self, events: Sequence[Event]) -> tuple[list[Line], dict[str, StoreError]]:
        """Return events, ready to be written; and the runs of which one cannot be, and why."""
        lines: list[Line] = []
        refused: dict[str, StoreError] = {}
        for event in events:
            try:
                if event.run_id not in refused:
                    lines.append(self.line(event))
            except StoreError as error:
                refused[event.run_id] = error
        return lines, refused

    def line(self, event: Event) -> Line:
        """Return an event, ready to be written.

        Raises:
            StoreError: When that cannot be done.
        """
        if not event.data:
            return event, None
        output = event.data.get("output", _NOTHING)
        if output is _NOTHING or event.step_id is None:
            return self._payloads.line(event, None)
        known, text = self._texts.pop((event.run_id, event.step_id), (_NOTHING, ""))
        if known is not output:
            text = self._payloads.output(event.run_id, event.step_id, output)
        return self._payloads.line(event, text)

"""Outputs serialized ahead of their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.storage import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.state.sql.values.payloads import Payloads
    from actorflow.state.sql.writing.entries import EncodedEvent

__all__ = ["SerializedOutputs"]

_LIMIT: Final = 10_000
"""The maximum number of outputs that are kept."""
_NOTHING: Final = object()


class SerializedOutputs:
    """Keeps outputs in the serialized form that they had when their steps returned them."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._strings: dict[tuple[str, str], tuple[Any, str]] = {}

    def admit(self, run_id: str, step_id: str, output: Any) -> None:
        """Serialize an output.

        Raises:
            NotStorable: When part of the output cannot be stored.
            TooLarge: When the output is too large.
        """
        text = self._payloads.dump_output(run_id, step_id, output)
        self._strings[run_id, step_id] = output, text
        if len(self._strings) > _LIMIT:
            self._strings.pop(next(iter(self._strings)), None)

    def encode(self, events: Sequence[Event]) -> tuple[list[EncodedEvent], dict[str, StoreError]]:
        """Return the events ready to be written, and the error of each run with one that is not."""
        encoded: list[EncodedEvent] = []
        refused: dict[str, StoreError] = {}
        for event in events:
            try:
                if event.run_id not in refused:
                    encoded.append(self._encode(event))
            except StoreError as error:
                refused[event.run_id] = error
        return encoded, refused

    def _encode(self, event: Event) -> EncodedEvent:
        """Return an event, ready to be written.

        Raises:
            StoreError: When it cannot be serialized or is too large.
        """
        if not event.data:
            return event, None
        output = event.data.get("output", _NOTHING)
        if output is _NOTHING or event.step_id is None:
            return self._payloads.encode_event(event, None)
        known, text = self._strings.pop((event.run_id, event.step_id), (_NOTHING, ""))
        if known is not output:
            text = self._payloads.dump_output(event.run_id, event.step_id, output)
        return self._payloads.encode_event(event, text)

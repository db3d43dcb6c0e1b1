"""Serialized values of a record: written, checked for size, and read back, or unreadable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from actorflow.errors.storage import NotRestorable, NotStorable, StoreError, TooLarge
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql.values.codec import Unstorable
from actorflow.state.sql.values.errors import clipped, describe_error, restore_error
from actorflow.support.read_only import ReadOnly
from actorflow.support.safe_text import said_by, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.state.sql.values.serializers import Serializer
    from actorflow.state.sql.writing.queue import EncodedEvent

__all__ = ["Payloads", "SerializedOutputs", "Unreadable"]

_ERROR: Final = "error"
_OUTPUT: Final = "output"
_STEPS: Final = "steps"
_NAMES_STEPS: Final = frozenset({"in_flight", "again"})
_encode: Final = msgspec.json.Encoder(enc_hook=text_of).encode
_decode: Final = msgspec.json.Decoder().decode


class Payloads:
    """Writes and reads values, and enforces their size limits.

    Args:
        serializer: Converts the program's values.
        max_input: The maximum size in bytes of a run's inputs, and of its metadata.
        max_output: The maximum size in bytes of a step's output.
        max_event: The maximum size in bytes of the rest of an event.
    """

    def __init__(
        self, serializer: Serializer, *, max_input: int, max_output: int, max_event: int
    ) -> None:
        self.serializer = serializer
        self._max_input = max_input
        self._max_output = max_output
        self._max_event = max_event

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def dump_mapping(self, what: str, value: Mapping[str, Any]) -> str:
        """Return a run's inputs or metadata as a string.

        Raises:
            NotStorable: When part of it cannot be stored.
            TooLarge: When it is too large.
        """
        return self._dump_limited(what, dict(value), self._max_input)

    def dump_output(self, run_id: str, step_id: str, value: Any) -> str:
        """Return a step's output as a string.

        Raises:
            NotStorable: When part of it cannot be stored.
            TooLarge: When it is too large.
        """
        where = f"the output of step {step_id!r} in run {run_id!r}"
        return self._dump_limited(where, value, self._max_output)

    def dump_value(self, where: str, value: Any) -> str:
        """Return a value of the size of an input as a string; `where` names it in the error.

        Raises:
            NotStorable: When part of it cannot be stored.
            TooLarge: When it is too large.
        """
        return self._dump_limited(where, value, self._max_input)

    def _dump_limited(self, where: str, value: Any, limit: int) -> str:
        text = self._dump(where, value)
        if len(text) > limit or not text.isascii():
            size = len(text.encode())
            if size > limit:
                raise TooLarge(where, self._largest(value, limit), size, limit)
        return text

    def _dump(self, where: str, value: Any) -> str:
        try:
            text: object = self.serializer.dumps(value)
        except Unstorable as error:
            raise NotStorable(where, error.path, str(error)) from None
        except StoreError:
            raise
        except Exception as error:
            raise NotStorable(where, "it", f"made the serializer raise {said_by(error)}") from error
        if isinstance(text, str) and "\0" not in text:
            return text
        wrong = "a string with a NUL character" if isinstance(text, str) else f"{text!r:.60}"
        made = f"made the serializer {self.serializer.name!r} return {wrong}"
        raise NotStorable(where, "it", f"{made} instead of a string without NUL characters")

    def _largest(self, value: Any, limit: int) -> str:
        """Return the path to the innermost part that exceeds the limit by itself."""
        path, found = "", True
        while found:
            found = False
            for step, part in _parts(value):
                if len(self.serializer.dumps(part).encode()) > limit:
                    path, value, found = f"{path}{step}", part, True
                    break
        return path or "it"

    def encode_event(self, event: Event, output: str | None) -> EncodedEvent:
        """Return an event with its output and error as strings, and its other data as JSON.

        Args:
            event: The event to encode.
            output: The serialized output, if it has one.

        Raises:
            TooLarge: When it is too large even after its strings were cut.
        """
        if not event.data:
            return event, None
        data = {name: _plain(value) for name, value in event.data.items() if name != _OUTPUT}
        strings = dict(data)
        if _OUTPUT in event.data:
            strings[_OUTPUT] = output
        if data.get(_ERROR) is not None:
            strings[_ERROR] = _encode(data[_ERROR]).decode()
        return event._replace(data=strings), self._encode_limited(event, data) if data else None

    def _encode_limited(self, event: Event, data: dict[str, Any]) -> bytes:
        encoded = _encode(data)
        if len(encoded) > self._max_event:
            where = f"event {event.number} ({event.kind.value}) of run {event.run_id!r}"
            largest = max(data, key=lambda name: len(_encode(data[name])))
            raise TooLarge(where, f"[{largest!r}]", len(encoded), self._max_event)
        return encoded

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def load_output(self, run_id: str, step_id: str | None, text: str | None) -> Any:
        """Return the value that was passed to `dump_output`.

        Raises:
            NotRestorable: When this process cannot read it.
        """
        if text is None:
            return None
        try:
            return self.serializer.loads(text)
        except Exception as error:
            where = f"the output of step {step_id!r} in run {run_id!r}"
            raise self._not_restorable(where, error) from error

    def load_value(self, where: str, text: str) -> Any:
        """Return the value that was passed to `dump_value`.

        Raises:
            NotRestorable: When this process cannot read it.
        """
        try:
            return self.serializer.loads(text)
        except Exception as error:
            raise self._not_restorable(where, error) from error

    def load_mapping(self, run_id: str, what: str, text: str) -> Mapping[str, Any]:
        """Return the mapping that was passed to `dump_mapping`; `what` names it in the error.

        Raises:
            NotRestorable: When this process cannot read it.
        """
        try:
            return ReadOnly(self.serializer.loads(text))
        except Exception as error:
            raise self._not_restorable(f"the {what} of run {run_id!r}", error) from error

    def _not_restorable(self, what: str, error: Exception) -> NotRestorable:
        if isinstance(error, NotRestorable):
            return NotRestorable(what, f"it has {error.what}, and {error.why}", error.serializer)
        name = self.serializer.name
        return NotRestorable(what, f"it made the serializer {name!r} raise {said_by(error)}", name)

    def load_or_placeholder(
        self, run_id: str, serializer: str, what: str, text: str
    ) -> Mapping[str, Any]:
        """Return inputs or metadata; if they are unreadable, a mapping that raises when used."""
        try:
            self.check_serializer(run_id, serializer)
            return self.load_mapping(run_id, what, text)
        except NotRestorable as error:
            return Unreadable(NotRestorable(f"the {what} of run {run_id!r}", error.why, serializer))

    def load_event_data(self, kind: EventKind, recorded: dict[str, Any] | None) -> dict[str, Any]:
        """Return the data of an event, without the output of its step.

        Args:
            kind: The event's kind.
            recorded: The data as it was recorded.
        """
        data = {} if recorded is None else recorded
        if data.get(_ERROR) is not None:
            data[_ERROR] = restore_error(data[_ERROR])
        if kind is EventKind.RUN_COMPENSATING:
            data[_STEPS] = tuple(data[_STEPS])
        elif kind is EventKind.RUN_RESUMED:
            data |= {name: tuple(data[name]) for name in _NAMES_STEPS & data.keys()}
        return data

    def load_error(self, text: str | None) -> BaseException | None:
        """Return the error that represents a recorded one."""
        return None if text is None else restore_error(_decode(text))

    def check_serializer(self, run_id: str, serializer: str) -> None:
        """Raise if a run was written by another serializer.

        Raises:
            NotRestorable: When it was.
        """
        if serializer != self.serializer.name:
            why = (
                f"it was written by the serializer {serializer!r}, and this state manager uses "
                f"{self.serializer.name!r}. Pass the other one as serializer="
            )
            raise NotRestorable(f"run {run_id!r}", why, serializer)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseException):
        return describe_error(value)
    return clipped(value) if isinstance(value, str) else value


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{name!r}]", part) for name, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    return []


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


class Unreadable(Mapping[str, Any]):
    """Inputs or metadata that this process cannot read.

    One such run must not prevent others from being listed, and must not look like a run without
    inputs: any access raises an error that says why the values cannot be read.

    Args:
        reason: The error to raise.
    """

    def __init__(self, reason: NotRestorable) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<unread: {self.reason.why}>"

    def __getitem__(self, key: str) -> NoReturn:
        self._refuse()

    def __iter__(self) -> Iterator[str]:
        self._refuse()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _refuse(self) -> NoReturn:
        raise NotRestorable(self.reason.what, self.reason.why, self.reason.serializer)

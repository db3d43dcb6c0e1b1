"""Everything in a record that is not a column of its own: written, measured, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actorflow.errors.storage import NotRestorable, NotStorable, StoreError, TooLarge
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql.values.codec import Unstorable
from actorflow.state.sql.values.errors import clipped, error_of, told_of
from actorflow.state.sql.values.placeholders import Unread
from actorflow.support.read_only import ReadOnly
from actorflow.support.safe_text import said_by, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.model.events import Event
    from actorflow.state.sql.values.serializers import Serializer
    from actorflow.state.sql.writing.entries import Line

__all__ = ["Payloads"]

_ERROR: Final = "error"
_OUTPUT: Final = "output"
_STEPS: Final = "steps"
_encode: Final = msgspec.json.Encoder(enc_hook=text_of).encode
_decode: Final = msgspec.json.Decoder().decode


class Payloads:
    """Writes and reads values, and keeps them to their limits.

    Args:
        serializer: Writes the program's own values.
        max_input: The most bytes that a run's inputs may take, and its metadata.
        max_output: The most bytes that a step's output may take.
        max_event: The most bytes that the rest of an event may take.
    """

    def __init__(
        self, serializer: Serializer, *, max_input: int, max_output: int, max_event: int
    ) -> None:
        self.serializer = serializer
        self._max_input = max_input
        self._max_output = max_output
        self._max_event = max_event

    # ── To be written ────────────────────────────────────────────────────────────────────────

    def given(self, what: str, value: Mapping[str, Any]) -> str:
        """Return a run's inputs, or its metadata, as a text.

        Raises:
            NotStorable: When a part of it cannot be stored.
            TooLarge: When it is too large.
        """
        return self._written(what, dict(value), self._max_input)

    def output(self, run_id: str, step_id: str, value: Any) -> str:
        """Return a step's output as a text.

        Raises:
            NotStorable: When a part of it cannot be stored.
            TooLarge: When it is too large.
        """
        where = f"the output of step {step_id!r} in run {run_id!r}"
        return self._written(where, value, self._max_output)

    def _written(self, where: str, value: Any, limit: int) -> str:
        text = self._dumped(where, value)
        if len(text) > limit or not text.isascii():
            size = len(text.encode())
            if size > limit:
                raise TooLarge(where, self._largest(value, limit), size, limit)
        return text

    def _dumped(self, where: str, value: Any) -> str:
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
        wrong = "a text with a NUL character" if isinstance(text, str) else f"{text!r:.60}"
        made = f"made the serializer {self.serializer.name!r} return {wrong}"
        raise NotStorable(where, "it", f"{made}, where a text without one was expected")

    def _largest(self, value: Any, limit: int) -> str:
        """Return the path to the innermost part that is too large by itself."""
        path, found = "", True
        while found:
            found = False
            for step, part in _parts(value):
                if len(self.serializer.dumps(part).encode()) > limit:
                    path, value, found = f"{path}{step}", part, True
                    break
        return path or "it"

    def line(self, event: Event, output: str | None) -> Line:
        """Return an event with its output and error as texts, and all else that it says as one.

        Args:
            event: What happened.
            output: The output's text, if it has one.

        Raises:
            TooLarge: When it is too large, though its texts were cut.
        """
        if not event.data:
            return event, None
        said = {name: _said(value) for name, value in event.data.items() if name != _OUTPUT}
        texts = dict(said)
        if _OUTPUT in event.data:
            texts[_OUTPUT] = output
        if said.get(_ERROR) is not None:
            texts[_ERROR] = _encode(said[_ERROR]).decode()
        return event._replace(data=texts), self._limited(event, said) if said else None

    def _limited(self, event: Event, said: dict[str, Any]) -> str:
        encoded = _encode(said)
        if len(encoded) > self._max_event:
            where = f"event {event.number} ({event.kind.value}) of run {event.run_id!r}"
            largest = max(said, key=lambda name: len(_encode(said[name])))
            raise TooLarge(where, f"[{largest!r}]", len(encoded), self._max_event)
        return encoded.decode()

    # ── To be read ───────────────────────────────────────────────────────────────────────────

    def value(self, run_id: str, step_id: str | None, text: str | None) -> Any:
        """Return what `output` was given.

        Raises:
            NotRestorable: When it cannot be read back here.
        """
        if text is None:
            return None
        try:
            return self.serializer.loads(text)
        except Exception as error:
            where = f"the output of step {step_id!r} in run {run_id!r}"
            raise self._unread(where, error) from error

    def mapping(self, run_id: str, what: str, text: str) -> Mapping[str, Any]:
        """Return what `given` was given: `what` is the inputs or the metadata.

        Raises:
            NotRestorable: When it cannot be read back here.
        """
        try:
            return ReadOnly(self.serializer.loads(text))
        except Exception as error:
            raise self._unread(f"the {what} of run {run_id!r}", error) from error

    def _unread(self, what: str, error: Exception) -> NotRestorable:
        if isinstance(error, NotRestorable):
            return NotRestorable(what, f"it has {error.what}, and {error.why}", error.serializer)
        name = self.serializer.name
        return NotRestorable(what, f"it made the serializer {name!r} raise {said_by(error)}", name)

    def shown(self, run_id: str, serializer: str, what: str, text: str) -> Mapping[str, Any]:
        """Return inputs or metadata, or what says why they cannot be read when one tries to."""
        try:
            self.check(run_id, serializer)
            return self.mapping(run_id, what, text)
        except NotRestorable as error:
            return Unread(NotRestorable(f"the {what} of run {run_id!r}", error.why, serializer))

    def event_data(self, event: Any, kind: EventKind) -> dict[str, Any]:
        """Return what an event says.

        Args:
            event: Its row, with its step's output.
            kind: What it is.
        """
        text = event.data
        said: dict[str, Any] = {} if text is None else _decode(text)
        if said.get(_ERROR) is not None:
            said[_ERROR] = error_of(said[_ERROR])
        if kind is EventKind.RUN_COMPENSATING:
            said[_STEPS] = tuple(said[_STEPS])
        if kind is EventKind.STEP_COMPLETED:
            said[_OUTPUT] = self.value(event.run_id, event.step_id, event.output)
        return said

    def error(self, text: str | None) -> BaseException | None:
        """Return what stands for a recorded error."""
        return None if text is None else error_of(_decode(text))

    def check(self, run_id: str, serializer: str) -> None:
        """Refuse to read a run that another serializer wrote.

        Raises:
            NotRestorable: When it did.
        """
        if serializer != self.serializer.name:
            why = (
                f"the serializer {serializer!r} wrote it, and this state manager has "
                f"{self.serializer.name!r}. Pass serializer= to have the other one"
            )
            raise NotRestorable(f"run {run_id!r}", why, serializer)


def _said(value: Any) -> Any:
    if isinstance(value, BaseException):
        return told_of(value)
    return clipped(value) if isinstance(value, str) else value


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{name!r}]", part) for name, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    return []

"""Terminal text: width, truncation, and the wording of durations, errors and events."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.storage import RecordedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.model.events import Event

__all__ = [
    "cells",
    "draw_line",
    "fitted",
    "in_words",
    "one_line",
    "printable",
    "printable_lines",
]

_ELLIPSIS: Final = "…"
_INVISIBLE: Final = frozenset({"Mn", "Me", "Cf"})
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_SHORT: Final = 0.01
_LONGEST_ERROR: Final = 200


def printable(text: str) -> str:
    """Return `text` with control characters and unprintable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def printable_lines(text: str) -> str:
    """Return `text` with all characters but line breaks and tabs made `printable`.

    A terminal obeys control characters: they can clear the screen, set its title, or answer as if
    the user had typed.
    """
    if text.isprintable():
        return text
    return "\n".join("\t".join(map(printable, it.split("\t"))) for it in text.split("\n"))


def _cells_of(char: str) -> int:
    if unicodedata.category(char) in _INVISIBLE:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def cells(text: str) -> int:
    """Return the number of terminal columns that `text` takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def fitted(text: str, width: int) -> str:
    """Return `text` in exactly `width` columns: padded with spaces, or cut with an ellipsis."""
    missing = width - cells(text)
    return _cut(text, width) if missing < 0 else text + " " * missing


def _cut(text: str, width: int) -> str:
    if width < 1:
        return ""
    kept, used = [], 1
    for char in text:
        used += _cells_of(char)
        if used > width:
            used -= _cells_of(char)
            break
        kept.append(char)
    return "".join(kept) + _ELLIPSIS + " " * (width - used)


def in_words(seconds: float) -> str:
    """Return a duration in a suitable unit, with about three significant digits."""
    seconds = max(0.0, seconds)
    if seconds >= _HOUR:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"
    if seconds >= _MINUTE:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE // 1:02.0f} s"
    if seconds >= 1 or seconds <= 0:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= _SHORT else f"{seconds * 1e3:.2f} ms"


def one_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message.

    A `RecordedError` is shown as the error that was recorded.
    """
    name = type(error).__name__
    if isinstance(error, RecordedError):
        name = error.type_name.rpartition(".")[2]
    try:
        message = error.text if isinstance(error, RecordedError) else str(error)
    except Exception:  # noqa: BLE001 - a broken `__str__`; the type is still known
        return name
    first = printable(message.strip().partition("\n")[0])
    shown = first if len(first) <= _LONGEST_ERROR else first[:_LONGEST_ERROR] + _ELLIPSIS
    return f"{name}: {shown}" if shown else name


# Outputs are left out: they belong to the program, and may be large or secret.
_DETAILS: Final[dict[str, Callable[[Any], str]]] = {
    "timeout": lambda seconds: f"after {seconds:g} s",
    "seconds": lambda seconds: f"for {in_words(seconds)}",
    "delay": lambda seconds: f"again in {in_words(seconds)}",
    "reason": lambda reason: f"({printable(str(reason))})",
    "error": one_line,
    "steps": lambda steps: f"to undo: {_step_names(steps)}",
    "uncompensated": lambda steps: f"not undone: {_step_names(steps)}",
}
_MAX_NAMES: Final = 5
"""The maximum number of steps that are named."""


def draw_line(event: Event, started_at: float) -> str:
    """Return an event as one line, with the time since `started_at`.

    For example `+0.123s step.retrying process #1 again in 1.00 s: TimeoutError`.
    """
    return " ".join(_parts(event, started_at))


def _step_names(step_ids: Sequence[str]) -> str:
    more = f" and {len(step_ids) - _MAX_NAMES} more" if step_ids[_MAX_NAMES:] else ""
    return ", ".join(map(printable, step_ids[:_MAX_NAMES])) + more


def _parts(event: Event, started_at: float) -> Iterator[str]:
    yield f"{event.time - started_at:+.3f}s"
    yield event.kind.value
    if event.step_id is not None:
        yield printable(event.step_id)
    if event.attempt is not None:
        yield f"#{event.attempt}"
    for name, describe in _DETAILS.items():
        value = event.data.get(name)
        if value is not None:
            yield describe(value)

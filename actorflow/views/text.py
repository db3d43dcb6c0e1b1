"""Text for people: how wide it is, how it is cut, and how durations and errors read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.storage import RecordedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.model.events import Event

__all__ = ["cells", "draw_line", "fitted", "in_words", "one_line", "printable"]

_ELLIPSIS: Final = "…"
_INVISIBLE: Final = frozenset({"Mn", "Me", "Cf"})
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_SHORT: Final = 0.01
_LONGEST_ERROR: Final = 200


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey or could not show written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _cells_of(char: str) -> int:
    if unicodedata.category(char) in _INVISIBLE:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def cells(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def fitted(text: str, width: int) -> str:
    """Return `text` in exactly `width` columns: filled with blanks, or cut with an ellipsis."""
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
    """Return a duration with three significant digits or so, in the unit that suits it."""
    seconds = max(0.0, seconds)
    if seconds >= _HOUR:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"
    if seconds >= _MINUTE:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE // 1:02.0f} s"
    if seconds >= 1 or seconds <= 0:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= _SHORT else f"{seconds * 1e3:.2f} ms"


def one_line(error: BaseException) -> str:
    """Return an error's type and the first line of what it says.

    What was read from a database says what it was.
    """
    name = type(error).__name__
    if isinstance(error, RecordedError):
        name = error.type_name.rpartition(".")[2]
    try:
        said = error.text if isinstance(error, RecordedError) else str(error)
    except Exception:  # noqa: BLE001 - the error's own text is broken; its type is known
        return name
    first = printable(said.strip().partition("\n")[0])
    shown = first if len(first) <= _LONGEST_ERROR else first[:_LONGEST_ERROR] + _ELLIPSIS
    return f"{name}: {shown}" if shown else name


# Outputs are left out: they belong to the program, and may be large or secret.
_TOLD: Final[dict[str, Callable[[Any], str]]] = {
    "timeout": lambda seconds: f"after {seconds:g} s",
    "seconds": lambda seconds: f"for {in_words(seconds)}",
    "delay": lambda seconds: f"again in {in_words(seconds)}",
    "reason": lambda reason: f"({printable(str(reason))})",
    "error": one_line,
    "steps": lambda steps: f"to undo: {_several(steps)}",
    "uncompensated": lambda steps: f"not undone: {_several(steps)}",
}
_MOST: Final = 5
"""How many steps are named."""


def draw_line(event: Event, started_at: float) -> str:
    """Return what happened in one line, with the time since `started_at`.

    For example `+0.123s step.retrying process #1 again in 1.00 s: TimeoutError`.
    """
    return " ".join(_words(event, started_at))


def _several(step_ids: Sequence[str]) -> str:
    more = f" and {len(step_ids) - _MOST} more" if step_ids[_MOST:] else ""
    return ", ".join(map(printable, step_ids[:_MOST])) + more


def _words(event: Event, started_at: float) -> Iterator[str]:
    yield f"{event.time - started_at:+.3f}s"
    yield event.kind.value
    if event.step_id is not None:
        yield printable(event.step_id)
    if event.attempt is not None:
        yield f"#{event.attempt}"
    for name, told in _TOLD.items():
        value = event.data.get(name)
        if value is not None:
            yield told(value)

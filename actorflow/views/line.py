"""An event as one plain line, for logs and for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.views.text import in_words, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.events import Event

__all__ = ["draw_line"]

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

"""Every error that actorflow raises, by subject: definitions, runs, storage; and their base.

An error is a value: its fields are positional, its text is made from them on demand, and both
survive pickling. It has no slots, because an exception with slots loses its notes in a pickle.

All of them share one `__repr__`. attrs would compile one for each class, which is half of the time
that building the class takes.

A traceback and a pickle name an error by where it is public, `actorflow.RunFailed`, so that neither
depends on the layout of the package.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ActorflowError", "listed", "quoted", "shown"]

_LONG: Final = 200
"""How many characters of a name are shown."""
_SHOWN: Final = 50
"""How many names are shown where all are asked for."""


class ActorflowError(Exception):
    """The base of every error that actorflow raises."""

    _text: ClassVar[str] = ""
    """What the error says, in the format syntax of `str`, with its fields by name."""

    is_retryable: ClassVar[bool | None] = None
    """Whether a step that raises it is tried again; None leaves that to its retry policy."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith(("actorflow.errors.", "actorflow.model.")):
            cls.__module__ = "actorflow"

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        names: tuple[str, ...] = getattr(self, "__match_args__", ())
        if not names:
            return super().__repr__()
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({fields})"

    def __str__(self) -> str:
        named = {name: shown(value) for name, value in vars(self).items()}
        return self._text.format_map(named) if self._text else super().__str__()


ActorflowError.__module__ = "actorflow"


def shown(value: object) -> object:
    """Return how a field of an error is written in its text."""
    if isinstance(value, tuple):
        return listed([quoted(name) for name in value], _SHOWN) or "none"
    return value


def quoted(name: object) -> str:
    """Return a name in quotes, cut in the middle if it is very long."""
    text = repr(name)
    half = _LONG // 2
    return text if len(text) <= _LONG else f"{text[:half]}...{text[-half:]}"


def listed(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """Join items, at most so many; the others are counted."""
    others = len(items) - most
    if others <= 0:
        return separator.join(items)
    return f"{separator.join(items[:most])} and {others:,} more"

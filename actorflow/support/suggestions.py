"""Names that are misspelt: which one was meant, and what is said about it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

__all__ = ["checks_options", "did_you_mean", "nearest", "refuse_unknown_options", "surely"]

T = TypeVar("T")

_ALIKE: Final = 0.6
"""How alike two names are of which one may be meant for the other: enough to ask."""
_VERY_ALIKE: Final = 0.8
"""How alike they are when one surely is the other, misspelt: enough to warn unasked."""
_TOO_SHORT: Final = 3
"""Names of so few letters are alike by chance."""


def nearest(name: object, known: Collection[str], *, alike: float = _ALIKE) -> str | None:
    """Return the one of `known` that a name may be a misspelling of."""
    # Imported on use: only a mistake needs it.
    import difflib  # noqa: PLC0415

    if not isinstance(name, str):
        return None
    # A name in capitals is the same word, and looks like another to difflib.
    folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=alike)
    return folded[found[0]] if found else None


def did_you_mean(name: object, known: Collection[str]) -> str:
    """Return the question that a misspelt name deserves, after a blank; or nothing."""
    close = nearest(name, known)
    return "" if close is None else f" Did you mean {close!r}?"


def surely(name: object, known: Collection[str]) -> str | None:
    """Return the one of `known` that a name surely is, misspelt; none when in doubt.

    Names that differ only in their digits (`part1`, `part2`) are different names.
    """
    close = nearest(name, known, alike=_VERY_ALIKE)
    if close is None or not isinstance(name, str) or len(name) <= _TOO_SHORT:
        return None
    return None if _letters(name) == _letters(close) else close


def _letters(name: str) -> str:
    return "".join(char for char in name if not char.isdigit())


# ── Options ──────────────────────────────────────────────────────────────────────────────────


def refuse_unknown_options(
    taker: str, given: Iterable[str], known: Collection[str], more: str = ""
) -> None:
    """Refuse keywords as Python does, and say which one was meant.

    Args:
        taker: What the text calls whatever takes them.
        given: The keywords.
        known: Those that there are.
        more: Another sentence for the text.

    Raises:
        TypeError: When one of them is not known.
    """
    for name in given:
        if name not in known:
            question = did_you_mean(name, known)
            options = f"Its options are: {', '.join(known)}."
            raise TypeError(f"{taker} has no option {name!r}.{question} {options} {more}".rstrip())


def checks_options(cls: type[T]) -> type[T]:
    """Make a class refuse keywords that it does not know with `refuse_unknown_options`."""
    init: Callable[..., None] = cls.__init__
    code = init.__code__
    # All but `self`.
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    names = frozenset(known)

    @functools.wraps(init)
    def checked(self: T, *values: Any, **options: Any) -> None:
        if not names.issuperset(options):
            refuse_unknown_options(cls.__name__, options, known)
        init(self, *values, **options)

    setattr(cls, "__init__", checked)  # noqa: B010 - assigning to a method is no type's business
    return cls

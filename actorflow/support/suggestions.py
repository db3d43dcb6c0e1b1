"""Misspelt names: which name was meant, and how to say so."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = [
    "FEW",
    "checks_options",
    "did_you_mean",
    "hints_for",
    "nearest",
    "refuse_unknown_options",
    "surely",
]

T = TypeVar("T")

_ALIKE: Final = 0.6
"""The similarity from which one name may be meant for another: enough for a question."""
_VERY_ALIKE: Final = 0.8
"""The similarity from which one name surely is the other, misspelt: enough for a warning."""
_TOO_SHORT: Final = 3
"""Names with fewer letters are similar by chance."""
FEW: Final = 10
"""How many names of one mistake get a hint and are shown; one comparison takes some 20 us."""
_MANY: Final = 200
"""Beyond this number of known names, a name is compared with those of its first letter only."""


def nearest(name: object, known: Collection[str], *, alike: float = _ALIKE) -> str | None:
    """Return the one of `known` that a name may be a misspelling of, or None."""
    # Imported on use: only a mistake needs it.
    import difflib  # noqa: PLC0415

    if not isinstance(name, str):
        return None
    # A name in capitals is the same word, but looks different to difflib.
    folded = {candidate.casefold(): candidate for candidate in _worth_comparing(name, known)}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=alike)
    return folded[found[0]] if found else None


def _worth_comparing(name: str, known: Collection[str]) -> Iterable[str]:
    if len(known) <= _MANY:
        return known
    first = name[:1].casefold()
    alike = (candidate for candidate in known if candidate[:1].casefold() == first)
    return itertools.islice(alike, _MANY)


def hints_for(names: Sequence[str], hint: Callable[[str], str]) -> tuple[str, ...]:
    """Return a hint for each of the first few names, and an empty string for each of the others.

    Args:
        names: The names that are wrong.
        hint: Returns the hint for a name, or an empty string.

    Returns:
        As many strings as there are names, or no items when there is no hint at all.
    """
    few = [hint(name) for name in names[:FEW]]
    return (*few, *[""] * (len(names) - len(few))) if any(few) else ()


def did_you_mean(name: object, known: Collection[str]) -> str:
    """Return the question for a misspelt name, with a leading space; or an empty string."""
    close = nearest(name, known)
    return "" if close is None else f" Did you mean {close!r}?"


def surely(name: object, known: Collection[str]) -> str | None:
    """Return the one of `known` that a name surely misspells; None when in doubt.

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
    """Refuse unknown keywords as Python does, and suggest the one that was meant.

    Args:
        taker: What the error calls the callable.
        given: The keywords.
        known: The keywords that exist.
        more: Another sentence for the error.

    Raises:
        TypeError: When one of them is not known.
    """
    for name in given:
        if name not in known:
            question = did_you_mean(name, known)
            options = f"Its options are: {', '.join(known)}."
            raise TypeError(f"{taker} has no option {name!r}.{question} {options} {more}".rstrip())


def checks_options(cls: type[T]) -> type[T]:
    """Make a class refuse unknown keywords with `refuse_unknown_options`."""
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

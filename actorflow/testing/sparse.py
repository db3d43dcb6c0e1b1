"""Values that say of themselves what is not plain, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import attrs

__all__ = ["Sparse"]


class Sparse:
    """An attrs value whose repr makes it anew, and leaves out what is as by default.

    Its classes are made with `attrs.frozen(kw_only=True, repr=False)`.
    """

    __slots__ = ()
    __attrs_attrs__: tuple[attrs.Attribute[Any], ...]

    def special(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields that are not as by default, with their values."""
        for field in self.__attrs_attrs__:
            value = getattr(self, field.name)
            if value != field.default:
                yield field.name, value

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.special())
        return f"{type(self).__name__}({said})"

    def _repr_pretty_(self, page: Any, _cycle: object) -> None:
        """Show the same to whoever prints values at length: Hypothesis, IPython."""
        page.text(repr(self))

    @property
    def deviations(self) -> int:
        """How much of it is not the plainest."""
        return sum(_weight(value) for _, value in self.special())


def _weight(value: object) -> int:
    if isinstance(value, tuple):
        return sum(map(_weight, value))
    return value.deviations if isinstance(value, Sparse) else 1

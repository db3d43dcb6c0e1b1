"""Counts of what disturbances caused; some of them must stay at zero."""

from __future__ import annotations

from typing import ClassVar

import attrs

__all__ = ["Counts"]


class Counts:
    """Counts, as fields of an attrs class."""

    promises: ClassVar[tuple[str, ...]] = ()
    """The names of those that a promise keeps at nought."""

    @property
    def broken(self):
        """Whether a promise was."""
        return any(getattr(self, name) for name in self.promises)

    def __str__(self):
        return ", ".join(f"{name} {count:,}" for name, count in attrs.asdict(self).items())

"""Counts of what disturbances caused; some of them must stay at zero."""

from __future__ import annotations

from typing import ClassVar

import attrs

__all__ = ["Counts"]


class Counts:
    """Counts, as fields of an attrs class."""

    promises: ClassVar[tuple[str, ...]] = ()
    """The names of the counts that a promise keeps at zero."""

    @property
    def broken(self):
        """Whether a promise was broken."""
        return any(getattr(self, name) for name in self.promises)

    def __str__(self):
        return ", ".join(f"{name} {count:,}" for name, count in attrs.asdict(self).items())

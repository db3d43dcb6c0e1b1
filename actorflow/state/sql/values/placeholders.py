"""Placeholders for stored values that this process cannot decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from actorflow.errors.storage import NotRestorable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Unreadable"]


class Unreadable(Mapping[str, Any]):
    """Inputs or metadata that this process cannot read.

    One such run must not prevent others from being listed, and must not look like a run without
    inputs: any access raises an error that says why the values cannot be read.

    Args:
        reason: The error to raise.
    """

    def __init__(self, reason: NotRestorable) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<unread: {self.reason.why}>"

    def __getitem__(self, key: str) -> NoReturn:
        self._refuse()

    def __iter__(self) -> Iterator[str]:
        self._refuse()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _refuse(self) -> NoReturn:
        raise NotRestorable(self.reason.what, self.reason.why, self.reason.serializer)

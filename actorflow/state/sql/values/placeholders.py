"""What stands in a list for values that cannot be read back here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from actorflow.errors.storage import NotRestorable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Unread"]


class Unread(Mapping[str, Any]):
    """Inputs, or metadata, of which nobody knows here what they are.

    One such run must not keep a list from the others, and must not pass for one without inputs:
    whoever looks into them hears why that cannot be done.

    Args:
        reason: Why.
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

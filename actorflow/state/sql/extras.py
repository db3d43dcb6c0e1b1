"""What the extra `sql` brings, and what is said where it is missing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from actorflow.errors.storage import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["needs_extra"]

_EXTRA: Final = frozenset({"alembic", "msgspec", "psycopg", "sqlalchemy"})


@contextlib.contextmanager
def needs_extra(what: str) -> Iterator[None]:
    """Import what the extra brings within the block.

    Raises:
        MissingExtra: When it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in _EXTRA:
            raise
        raise MissingExtra(what, missing.name, "sql") from missing

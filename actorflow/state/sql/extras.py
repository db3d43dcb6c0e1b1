"""The packages of the extra `sql`, and the error raised when one is missing."""

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
    """Turn a failed import of the extra's packages into an error that names the extra.

    Args:
        what: The feature that needs the extra.

    Raises:
        MissingExtra: When one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in _EXTRA:
            raise
        raise MissingExtra(what, missing.name, "sql") from missing

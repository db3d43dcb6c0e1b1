"""The error for a missing Hypothesis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from actorflow.errors.storage import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["needs_hypothesis"]


@contextlib.contextmanager
def needs_hypothesis(what: str) -> Iterator[None]:
    """Turn a failed import of Hypothesis into an error that names the extra.

    Args:
        what: The module that needs it.

    Raises:
        MissingExtra: When it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name != "hypothesis":
            raise
        raise MissingExtra(what, missing.name, "testing") from missing

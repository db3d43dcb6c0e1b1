"""Warnings: legal but suspicious definitions and calls are accepted with an ActorflowWarning."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path
from typing import Final

__all__ = ["ActorflowWarning", "warn"]

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"


class ActorflowWarning(UserWarning):
    """Issued for legal but suspicious definitions and calls; the text says the cure.

    It is an ordinary warning: `warnings.filterwarnings` can turn it into an error, or silence it.
    """


def warn(text: str) -> None:
    """Warn on behalf of the caller's line outside of actorflow."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ActorflowWarning, stacklevel=level)

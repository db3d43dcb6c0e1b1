"""Warnings: legal but suspicious definitions and calls are accepted with an ActorflowWarning."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ActorflowWarning", "warn"]

_PACKAGE: Final = __file__.rpartition(f"support{os.sep}")[0]


class ActorflowWarning(UserWarning):
    """Issued for legal but suspicious definitions and calls; the text says the cure.

    It is an ordinary warning: `warnings.filterwarnings` can turn it into an error, or silence it.
    """


def warn(text: str) -> None:
    """Warn on behalf of the caller's line outside of actorflow."""
    level = 1
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - inspect is slow to import
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ActorflowWarning, stacklevel=level)

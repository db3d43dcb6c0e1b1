"""What is legal and surely a mistake: it is done, and whoever asked for it is warned."""

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
    """Given for what is legal and surely a mistake; the text says the cure.

    It is an ordinary warning: `warnings.filterwarnings` makes an error of it, or nothing.
    """


def warn(text: str) -> None:
    """Warn, in the name of the line outside of actorflow that is to be mended."""
    level = 1
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - inspect is slow to import
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ActorflowWarning, stacklevel=level)

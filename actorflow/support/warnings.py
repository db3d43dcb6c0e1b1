"""What is legal and surely a mistake: it is done, and whoever asked for it is warned."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path
from typing import Final

__all__ = ["ActorflowWarning", "warn"]

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"


class ActorflowWarning(UserWarning):
    """Given for what is legal and surely a mistake; the text says the cure.

    It is an ordinary warning: `warnings.filterwarnings` makes an error of it, or nothing.
    """


def warn(text: str) -> None:
    """Warn, in the name of the line outside of actorflow that is to be mended."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ActorflowWarning, stacklevel=level)

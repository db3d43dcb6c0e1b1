"""Compiles the scheduler's pure part if ACTORFLOW_COMPILE=1; by default nothing is compiled.

The package's metadata is in setup.cfg. docs/how-to/compile.md says what compiling brings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from setuptools import setup

COMPILE = os.environ.get("ACTORFLOW_COMPILE") == "1"


def extensions() -> list[Any]:
    """Return the extension modules to build."""
    if not COMPILE or "egg_info" in sys.argv:  # what the build requires is asked first
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - installed only for a build that compiles

    modules = sorted(map(str, Path("actorflow/scheduling").glob("[a-z]*.py")))
    # What the modules import is checked elsewhere: the libraries of the extras are not there.
    options = ["--config-file", "pyproject.toml", "--follow-imports=silent"]
    return mypycify([*options, *modules])


setup(
    ext_modules=extensions(),
    # mypyc checks the types of what the modules import.
    setup_requires=["mypy>=1.18", "attrs>=24.2", "structlog", "thespian"] if COMPILE else [],
)

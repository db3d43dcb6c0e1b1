"""Check that a wheel's public names are typed, by pyright's measure for packages with `py.typed`.

Usage: `python .ci/typed.py WHEEL`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

LOWEST: Final = 0.99
"""The share of symbols whose type is fully known. Thespian's classes have none to inherit."""


def main(wheel: str) -> None:
    """Measure, and list the symbols that are not fully typed when they are too many."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        report = verified(folder)
    completeness = report["typeCompleteness"]
    score = completeness["completenessScore"]
    if score < LOWEST:
        unclear = [one["name"] for one in completeness["symbols"] if not one["isTypeKnown"]]
        print(*unclear, sep="\n")
    print(f"{score:.1%} of the symbols have a known type")
    if score < LOWEST:
        sys.exit(f"at least {LOWEST:.0%} must")


def verified(folder: str) -> dict[str, Any]:
    """Return pyright's report on the package in a folder.

    pyright takes the environment's other packages from the `python` that it finds on the PATH.
    """
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    command = [str(programs / "pyright"), "--verifytypes", "actorflow", "--ignoreexternal"]
    ended = subprocess.run(
        [*command, "--outputjson"],
        check=False,  # it exits with 1 unless every type is known
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": path, "PYTHONPATH": folder},
        cwd=folder,
    )
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


if __name__ == "__main__":
    main(*sys.argv[1:])

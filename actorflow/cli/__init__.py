"""The command line: `actorflow run`, `runs`, `graph`, `validate`, `simulate`, `replay`, `db`.

It needs the extra `cli`; without it, the command prints how to install it.

Exit statuses: 0 when the run completed or no law was broken, 1 otherwise, 2 when the command line
or the workflow is invalid, and 128 plus the signal's number when a signal ended it: 130 for Ctrl-C,
143 for SIGTERM, 141 when the reader of the output has gone.
"""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_EXTRA: Final = frozenset({"rich", "typer"})
_BAD_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The arguments after the program's name; by default those of the process.
    """
    try:
        from actorflow.cli.app import invoke  # noqa: PLC0415 - it needs the extra
        from actorflow.cli.terminal.exits import leave_hanging_steps  # noqa: PLC0415 - so does it
    except ModuleNotFoundError as missing:
        if missing.name not in _EXTRA:
            raise
        sys.stderr.write(
            f"The actorflow command needs {missing.name}, which is not installed. "
            "Type: pip install 'actorflow[cli]'\n"
        )
        return _BAD_USAGE
    if arguments is not None:
        return invoke(arguments)
    statuses: list[int] = []
    # Registered before the user's file can register anything, so it runs last.
    atexit.register(leave_hanging_steps, statuses)
    statuses.append(invoke(sys.argv[1:]))
    return statuses[0]

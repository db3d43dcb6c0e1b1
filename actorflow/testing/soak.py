"""Hold actorflow itself to the laws for as long as you like: `python -m actorflow.testing.soak`.

    python -m actorflow.testing.soak                                # 10,000 schedules
    python -m actorflow.testing.soak --schedules 1000000 --seed 7   # about ten minutes
    python -m actorflow.testing.soak --schedules 99999999 --seconds 3600 --max-steps 12

It exits with 1 when a law breaks, after it has said which, on what schedule, and of what
scenario: a literal to paste into a test. Ctrl-C ends it early, with 130, and it says what it has
come to; a second one does not wait for that.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from actorflow.testing.search.search import explore_scenarios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.testing.search.exploration import Exploration

__all__ = ["main", "report"]

_EVERY: Final = 10_000
_INTERRUPTED: Final = 130
"""What a program exits with that Ctrl-C has ended."""


def main(words: Sequence[str] | None = None) -> int:
    """Search as the command line says; return 0, 1 if a law is broken, or 130 if Ctrl-C came."""
    asked = _parser().parse_args(words)
    with _Watch() as watch:
        exploration = explore_scenarios(
            schedules=asked.schedules,
            seconds=asked.seconds,
            seed=asked.seed,
            max_steps=asked.max_steps,
            watch=watch,
        )
    sys.stdout.write(report(exploration) + "\n")
    if exploration.failure is not None:
        return 1
    return _INTERRUPTED if watch.interrupted else 0


def report(exploration: Exploration) -> str:
    """Return what an exploration has come to, with a scenario that can be pasted."""
    if exploration.case is None or exploration.failure is None:
        return str(exploration)
    again = f"{exploration.case!r}.simulate({exploration.failure.tape!r})"
    return f"{exploration}\n\nTo see it again:\n\n    {again}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m actorflow.testing.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    say = parser.add_argument
    say("--schedules", type=_some, default=_EVERY, metavar="N", help="try so many at most (10,000)")
    say("--seconds", type=float, metavar="S", help="take so many real seconds at most, or so")
    say("--seed", type=int, default=0, metavar="N", help="equal seeds, equal schedules (0)")
    say("--max-steps", type=_some, default=6, metavar="N", help="of a scenario (6)")
    return parser


def _some(text: str) -> int:
    """Read a number of things, of which there is at least one."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


class _Watch:
    """Says how far a search is, and ends it when somebody types Ctrl-C."""

    def __init__(self) -> None:
        self.interrupted = False
        self._said = 0
        self._before: Any = None

    def __call__(self, schedules: int) -> bool:
        if schedules % _EVERY == 0 and schedules > self._said:
            self._said = schedules
            sys.stderr.write(f"{schedules:,} schedules\n")
        return not self.interrupted

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, _frame: object) -> None:
        self.interrupted = True
        signal.signal(number, self._before)


if __name__ == "__main__":
    sys.exit(main())

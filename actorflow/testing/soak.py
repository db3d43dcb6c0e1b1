"""Check actorflow itself against the laws: `python -m actorflow.testing.soak`.

    python -m actorflow.testing.soak                                # 10,000 schedules
    python -m actorflow.testing.soak --schedules 1000000 --seed 7   # about ten minutes
    python -m actorflow.testing.soak --schedules 99999999 --seconds 3600 --max-steps 12
    python -m actorflow.testing.soak --orchestrators 3              # over one store, with leases

It exits with 1 when a law breaks, after printing the law, the schedule and the scenario, as a
literal to paste into a test; also when nothing could be simulated. Ctrl-C ends the search early,
prints the result so far, and exits with 130; a second Ctrl-C exits at once.
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
"""The exit status of a program ended by Ctrl-C."""


def main(words: Sequence[str] | None = None) -> int:
    """Search as the command line says; return 0, 1 for a failure, or 130 after Ctrl-C."""
    asked = _parser().parse_args(words)
    with _Watch() as watch:
        exploration = explore_scenarios(
            schedules=asked.schedules,
            seconds=asked.seconds,
            seed=asked.seed,
            max_steps=asked.max_steps,
            orchestrators=asked.orchestrators,
            watch=watch,
        )
    sys.stdout.write(report(exploration) + "\n")
    if exploration.failure is not None or not exploration.explored:
        return 1
    return _INTERRUPTED if watch.interrupted else 0


def report(exploration: Exploration) -> str:
    """Return the report of an exploration, with a scenario to paste."""
    if exploration.case is None or exploration.failure is None:
        return str(exploration)
    again = f"{exploration.case!r}.simulate({exploration.failure.tape!r})"
    return f"{exploration}\n\nTo reproduce it:\n\n    {again}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m actorflow.testing.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--schedules",
        type=_positive,
        default=_EVERY,
        metavar="N",
        help="try at most N schedules (10,000)",
    )
    add("--seconds", type=float, metavar="S", help="stop after about S real seconds")
    add("--seed", type=int, default=0, metavar="N", help="equal seeds give equal schedules (0)")
    add(
        "--max-steps",
        type=_positive,
        default=6,
        metavar="N",
        help="at most N steps in a scenario (6)",
    )
    add(
        "--orchestrators",
        type=_positive,
        default=1,
        metavar="N",
        help="at most N orchestrators over one store (1)",
    )
    return parser


def _positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


class _Watch:
    """Reports the progress of a search, and ends it on Ctrl-C."""

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

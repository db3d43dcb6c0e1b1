"""A run that is carried out, and shown while it goes and when it has ended."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from actorflow.cli.lines import LineWatcher, SilentWatcher
from actorflow.cli.live import LiveWatcher
from actorflow.cli.reports import describe, describe_failure, whole_result
from actorflow.cli.running import carry_out
from actorflow.cli.streams import only_for_the_result, whole_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.cli.running import Order, Watcher

__all__ = ["is_watched", "print_json", "show"]


def print_json(order: Callable[[], Order]) -> int:
    """Carry out an order, print the result as JSON and nothing else; return the exit status."""
    with only_for_the_result() as stdout:
        outcome = carry_out(order(), SilentWatcher())
        json.dump(whole_result(outcome), stdout, indent=2)
        stdout.write("\n")
        stdout.flush()
    return outcome.exit_status


def show(order: Callable[[], Order]) -> int:
    """Carry out an order before the eyes of a reader, and return the exit status."""
    console = Console()
    with _watcher(console) as watcher, whole_lines():
        asked = order()
        outcome = carry_out(asked, watcher)
    for line in describe(outcome, console.width):
        sys.stdout.write(f"{line}\n")
    if asked.state is not None:
        sys.stdout.write(f"recorded as run {outcome.result.run_id}\n")
    sys.stdout.flush()
    for line in describe_failure(outcome.result):
        sys.stderr.write(f"{line}\n")
    return outcome.exit_status


def _watcher(console: Console) -> contextlib.AbstractContextManager[Watcher]:
    return LiveWatcher(console) if is_watched(console) else contextlib.nullcontext(LineWatcher())


def is_watched(console: Console) -> bool:
    """Return whether somebody looks at a terminal that can do more than print lines."""
    return console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()

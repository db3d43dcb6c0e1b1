"""One run, watched from its first event to its last.

Events come in on a thread of their own and signals come in anywhere, so both go through one
queue, and everything else happens on the main thread.
"""

from __future__ import annotations

import contextlib
import enum
import json
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
from rich.console import Console

from actorflow.cli.run.charts import write_svg
from actorflow.cli.run.lines import LineWatcher, SilentWatcher
from actorflow.cli.run.live import LiveWatcher
from actorflow.cli.run.reports import describe, describe_failure, whole_result
from actorflow.cli.terminal.interrupts import EXIT_BASE, Interrupts
from actorflow.cli.terminal.streams import only_for_the_result, whole_lines
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator import Orchestrator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.events import Event
    from actorflow.model.protocols import StateManager
    from actorflow.model.results import RunResult
    from actorflow.run.handle import Run

__all__ = ["Order", "Outcome", "Watcher", "carry_out", "is_watched", "print_json", "show"]

_SOON: Final = 0.1
"""Seconds between two looks of a watcher at the clock."""


@attrs.frozen(kw_only=True)
class Order:
    """What is to be run, and how."""

    flow: Workflow
    inputs: Mapping[str, Any]
    workers: int
    timeout: float | None
    state: StateManager | None = None
    """Where it is recorded; in memory by default."""
    resumed: str | None = None
    """The id of the run that is to go on; by default a new one is started."""

    def recorded(self) -> int:
        """Return how many events the run has already."""
        if self.state is None or self.resumed is None:
            return 0
        return len(self.state.events(self.resumed))

    def begin(self, orchestrator: Orchestrator) -> Run:
        """Let the run begin, or go on."""
        if self.resumed is not None:
            return orchestrator.resume(self.resumed, self.flow)
        return orchestrator.start(self.flow, self.inputs, timeout=self.timeout)


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of it."""

    plan: WorkflowPlan
    workers: int
    result: RunResult
    events: tuple[Event, ...]
    signal: int | None
    """The signal that asked for the run's end."""

    @property
    def exit_status(self) -> int:
        """What the command exits with."""
        if self.result.status is RunStatus.COMPLETED:
            return 0
        if self.signal is not None and self.result.status is RunStatus.CANCELLED:
            return EXIT_BASE + self.signal
        return 1


class Watcher(Protocol):
    """Who shows a run while it is in progress; always called on the main thread."""

    def begin(self, plan: WorkflowPlan, recorded: int) -> None:
        """The run is about to start, or to go on after as many events as are recorded."""

    def show(self, event: Event) -> None:
        """The run's next event happened."""

    def look(self) -> None:
        """Some time has passed."""

    def end(self) -> None:
        """There are no more events."""


class _Word(enum.Enum):
    """What comes through the queue beside events."""

    INTERRUPTED = enum.auto()
    ENDED = enum.auto()


_Inbox = queue.SimpleQueue["Event | _Word"]


def carry_out(order: Order, watcher: Watcher) -> Outcome:
    """Run a workflow under the eyes of a watcher, and return how it ended.

    The first Ctrl-C cancels the run, and a second one leaves the process at once.

    Raises:
        DefinitionError: When the workflow or a limit makes no sense.
        UnknownExecutor: When a step names an executor, of which the command line has none.
        StoreError: When the run cannot be recorded.
    """
    inbox: _Inbox = queue.SimpleQueue()
    plan = order.flow.plan()
    with (
        Interrupts(lambda: inbox.put(_Word.INTERRUPTED)) as interrupts,
        Orchestrator(order.state, async_workers=order.workers) as orchestrator,
    ):
        watcher.begin(plan, order.recorded())
        run = order.begin(orchestrator)
        threading.Thread(target=_read, args=(run, inbox), daemon=True).start()
        events = tuple(_watched(run, inbox, watcher))
        watcher.end()
        return Outcome(
            plan=plan,
            workers=order.workers,
            result=run.wait(),
            events=events,
            signal=interrupts.number,
        )


def _read(run: Run, inbox: _Inbox) -> None:
    try:
        for event in run.events():
            inbox.put(event)
    finally:
        inbox.put(_Word.ENDED)


def _watched(run: Run, inbox: _Inbox, watcher: Watcher) -> Iterator[Event]:
    while (word := _next(inbox)) is not _Word.ENDED:
        if word is _Word.INTERRUPTED:
            sys.stderr.write("Cancelling the run; press Ctrl-C again to leave at once.\n")
            run.cancel("interrupted")
        elif word is not None:
            watcher.show(word)
            yield word
        watcher.look()


def _next(inbox: _Inbox) -> Event | _Word | None:
    try:
        return inbox.get(timeout=_SOON)
    except queue.Empty:
        return None


def print_json(order: Callable[[], Order], svg: Path | None = None) -> int:
    """Carry out an order, print the result as JSON and nothing else; return the exit status."""
    with only_for_the_result() as stdout:
        outcome = carry_out(order(), SilentWatcher())
        json.dump(whole_result(outcome), stdout, indent=2)
        stdout.write("\n")
        stdout.flush()
    write_svg(svg, outcome.events)
    return outcome.exit_status


def show(order: Callable[[], Order], svg: Path | None = None) -> int:
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
    write_svg(svg, outcome.events)
    return outcome.exit_status


def _watcher(console: Console) -> contextlib.AbstractContextManager[Watcher]:
    return LiveWatcher(console) if is_watched(console) else contextlib.nullcontext(LineWatcher())


def is_watched(console: Console) -> bool:
    """Return whether somebody looks at a terminal that can do more than print lines."""
    return console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()

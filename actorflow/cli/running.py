"""Running one workflow under a watcher, until it ends.

Events arrive on a separate thread and signals at any time. Both go through one queue, and all
other work happens on the main thread.
"""

from __future__ import annotations

import contextlib
import enum
import json
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.console import Console

from actorflow.cli.reports import describe, describe_failure, result_as_json, write_svg
from actorflow.cli.terminal.exits import EXIT_BASE, Interrupts, Problem
from actorflow.cli.terminal.streams import stdout_for_result, whole_lines
from actorflow.cli.watchers import LineWatcher, LiveWatcher, SilentWatcher
from actorflow.errors.definition import UnknownExecutor
from actorflow.errors.storage import LeaseHeld
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator import Orchestrator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from actorflow.cli.watchers import Watcher
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.events import Event
    from actorflow.model.protocols import StateManager
    from actorflow.model.results import RunResult
    from actorflow.run.handle import Run

__all__ = ["Order", "Outcome", "begun", "is_watched", "print_json", "run_order", "show"]

_POLL: Final = 0.1
"""Seconds between two calls of a watcher's `look`."""
_WATCH: Final = 1.0
"""Seconds between two attempts to resume a run whose owner is silent."""


@attrs.frozen(kw_only=True)
class Order:
    """The workflow to run, and how."""

    flow: Workflow
    inputs: Mapping[str, Any]
    workers: int
    timeout: float | None
    state: StateManager | None = None
    """The state manager that records the run; in memory by default."""
    resumed: str | None = None
    """The id of a run to resume; by default a new run is started."""

    def recorded(self) -> int:
        """Return the number of events that were recorded before."""
        if self.state is None or self.resumed is None:
            return 0
        return len(self.state.events(self.resumed))

    def begin(self, orchestrator: Orchestrator) -> Run:
        """Start or resume the run."""
        if self.resumed is not None:
            return orchestrator.resume(self.resumed, self.flow)
        return orchestrator.start(self.flow, self.inputs, timeout=self.timeout)


@attrs.frozen(kw_only=True)
class Outcome:
    """The result of a run, with its events."""

    plan: WorkflowPlan
    workers: int
    result: RunResult
    events: tuple[Event, ...]
    signal: int | None
    """The signal that cancelled the run, if any."""

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        if self.result.status is RunStatus.COMPLETED:
            return 0
        if self.signal is not None and self.result.status is RunStatus.CANCELLED:
            return EXIT_BASE + self.signal
        return 1


class _Notice(enum.Enum):
    """Signals in the queue, besides events."""

    INTERRUPTED = enum.auto()
    ENDED = enum.auto()


_Inbox = queue.SimpleQueue["Event | _Notice"]


def run_order(order: Order, watcher: Watcher) -> Outcome:
    """Run a workflow under a watcher and return the outcome.

    The first Ctrl-C cancels the run; a second one exits at once.

    Raises:
        DefinitionError: When the workflow or a limit is invalid.
        Problem: When a step names an executor; the command line defines none.
        StoreError: When the run cannot be recorded.
    """
    inbox: _Inbox = queue.SimpleQueue()
    plan = order.flow.plan()
    with (
        Interrupts(lambda: inbox.put(_Notice.INTERRUPTED)) as interrupts,
        Orchestrator(order.state, async_workers=order.workers) as orchestrator,
    ):
        watcher.begin(plan, order.recorded())
        run = begun(lambda: _begun_when_free(order, orchestrator, inbox))
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


def begun(begin: Callable[[], Run]) -> Run:
    """Start or resume a run.

    Raises:
        Problem: When a step names an executor; the command line defines none.
    """
    try:
        return begin()
    except UnknownExecutor as unknown:
        raise Problem(
            f"step {unknown.step_id!r} wants executor {unknown.name!r}, which the command line "
            f"does not have (it has: {', '.join(map(repr, unknown.known))}). Run the workflow from "
            f"a program that has the executor {unknown.name!r}."
        ) from None


def _begun_when_free(order: Order, orchestrator: Orchestrator, inbox: _Inbox) -> Run:
    """Start or resume the run; wait while it is not known whether its owner is gone."""
    told = False
    while True:
        try:
            return order.begin(orchestrator)
        except LeaseHeld as held:
            if held.retry_after is None:
                raise
            if not told:
                sys.stderr.write(
                    f"The owner of the run is silent; waiting {held.retry_after:.1f} s to see "
                    "whether it is gone.\n"
                )
                told = True
            pause = min(held.retry_after, _WATCH)
            with contextlib.suppress(queue.Empty):
                inbox.get(timeout=pause)
                raise


def _read(run: Run, inbox: _Inbox) -> None:
    try:
        for event in run.events():
            inbox.put(event)
    finally:
        inbox.put(_Notice.ENDED)


def _watched(run: Run, inbox: _Inbox, watcher: Watcher) -> Iterator[Event]:
    while (item := _next(inbox)) is not _Notice.ENDED:
        if item is _Notice.INTERRUPTED:
            sys.stderr.write("Cancelling the run; press Ctrl-C again to exit at once.\n")
            run.cancel("interrupted")
        elif item is not None:
            watcher.show(item)
            yield item
        watcher.look()


def _next(inbox: _Inbox) -> Event | _Notice | None:
    try:
        return inbox.get(timeout=_POLL)
    except queue.Empty:
        return None


def print_json(order: Callable[[], Order], svg: Path | None = None) -> int:
    """Run an order and print only its result, as JSON; return the exit status."""
    with stdout_for_result() as stdout:
        outcome = run_order(order(), SilentWatcher())
        json.dump(result_as_json(outcome), stdout, indent=2)
        stdout.write("\n")
        stdout.flush()
    write_svg(svg, outcome.events)
    return outcome.exit_status


def show(order: Callable[[], Order], svg: Path | None = None) -> int:
    """Run an order, show its progress and a report, and return the exit status."""
    console = Console()
    with _watcher(console) as watcher, whole_lines():
        request = order()
        outcome = run_order(request, watcher)
    for line in describe(outcome, console.width):
        sys.stdout.write(f"{line}\n")
    if request.state is not None:
        sys.stdout.write(f"recorded as run {outcome.result.run_id}\n")
    sys.stdout.flush()
    for line in describe_failure(outcome.result):
        sys.stderr.write(f"{line}\n")
    write_svg(svg, outcome.events)
    return outcome.exit_status


def _watcher(console: Console) -> contextlib.AbstractContextManager[Watcher]:
    return LiveWatcher(console) if is_watched(console) else contextlib.nullcontext(LineWatcher())


def is_watched(console: Console) -> bool:
    """Return whether stdout is a terminal that supports cursor movement."""
    return console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()

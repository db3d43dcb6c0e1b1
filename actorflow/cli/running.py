"""One run, watched from its first event to its last.

Events come in on a thread of their own and signals come in anywhere, so both go through one
queue, and everything else happens on the main thread.
"""

from __future__ import annotations

import enum
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actorflow.cli.interrupts import EXIT_BASE, Interrupts
from actorflow.lifecycle import RunStatus
from actorflow.orchestrator import Orchestrator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.events import Event
    from actorflow.handles import Run
    from actorflow.plan import WorkflowPlan
    from actorflow.protocols import StateManager
    from actorflow.results import RunResult
    from actorflow.workflow import Workflow

__all__ = ["Order", "Outcome", "Watcher", "carry_out"]

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

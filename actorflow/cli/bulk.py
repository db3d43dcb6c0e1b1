"""Acting on all runs that filters find: which ones, whether they are meant, and what came of it."""

from __future__ import annotations

import json
import shlex
import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, cast

import attrs
import typer
from rich.console import Console

from actorflow.cli.databases import opened_run, store
from actorflow.cli.reports import listing, rendered, summary_as_json
from actorflow.cli.running import Order, begun
from actorflow.cli.terminal.exits import EXIT_BASE, Interrupts, Problem
from actorflow.cli.terminal.streams import stdout_for_result, whole_lines
from actorflow.errors import ActorflowError
from actorflow.errors.storage import NotRestorable, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator import Orchestrator
from actorflow.views.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actorflow.cli.filters import Filters
    from actorflow.definition.workflow import Workflow
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import RunResult
    from actorflow.run.handle import Run
    from actorflow.state.sql import SQLStateManager

__all__ = [
    "Bulk",
    "DryRun",
    "Yes",
    "cancel_all",
    "cancellable",
    "one_or_all",
    "resumable",
    "resume_all",
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="List the runs, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before several runs.")]

_AT_ONCE: Final = 100
"""How many runs are resumed at once."""
_POLL: Final = 0.1
"""Seconds between two looks for a signal."""


# ── Which runs ───────────────────────────────────────────────────────────────────────────────


def one_or_all(names: list[str], filters: Filters) -> tuple[str | None, str]:
    """Return the run that is named, if any, and the workflow.

    Raises:
        Problem: When neither a run is named nor a filter given, or both.
    """
    if filters.given and len(names) == 1:
        return None, names[0]
    if filters.given:
        raise Problem("resume takes a run's id or filters, not both.")
    if len(names) == 1:
        raise Problem(
            "resume needs a run's id before the workflow, or filters after it. Type: actorflow "
            f"runs resume RUN_ID {shlex.quote(names[0])}, or add for example --status failed"
        )
    run_id, target, *more = names
    if more:
        raise Problem(f"unexpected argument {more[0]!r}. Resume one run, or use filters")
    return run_id, target


def resumable(state: SQLStateManager, filters: Filters, flow: Workflow) -> list[RunSnapshot]:
    """Return the runs of a workflow that the filters find and that can be resumed.

    Raises:
        Problem: When the filters name another workflow.
    """
    if filters.workflow not in {None, flow.id}:
        named = f"--workflow {filters.workflow!r} is not the workflow of the file"
        raise Problem(f"{named}, {flow.id!r}. Leave it out")
    narrowed: dict[str, Any] = {"workflow_id": flow.id}
    if filters.workflow_version is None:
        narrowed["workflow_version"] = flow.version
    if not filters.status:
        narrowed["status"] = (RunStatus.FAILED, RunStatus.CANCELLED)
    found = filters.found(state, **narrowed)
    return [run for run in found if run.status is not RunStatus.COMPLETED]


def cancellable(state: SQLStateManager, filters: Filters) -> list[RunSnapshot]:
    """Return the runs that the filters find and that can be cancelled."""
    wanted = {} if filters.status else {"status": (RunStatus.PENDING, RunStatus.RUNNING)}
    return [run for run in filters.found(state, **wanted) if not run.status.terminal]


@attrs.frozen(kw_only=True)
class Bulk:
    """A command for several runs, and how it was typed."""

    verb: str
    runs: Sequence[RunSnapshot]
    dry_run: bool
    yes: bool
    as_json: bool

    def agreed(self) -> bool:
        """Return whether to go on, after asking if several runs are meant.

        Raises:
            Abort: When the user does not agree.
            Problem: When several runs are meant, and stdin is not a terminal.
        """
        if self.dry_run or not self.runs:
            self._show()
            return False
        if self.yes or len(self.runs) == 1:
            return True
        question = f"{self.verb.capitalize()} {len(self.runs):,} runs?"
        if not sys.stdin.isatty():
            raise Problem(f"{len(self.runs):,} runs match. To {self.verb} them all, add --yes")
        return typer.confirm(question, abort=True, err=True)

    def _show(self) -> None:
        if self.as_json:
            self.report([summary_as_json(run) for run in self.runs])
            return
        if self.runs:
            for line in rendered(listing(self.runs), Console()):
                sys.stdout.write(f"{line}\n")
        count = f"{len(self.runs):,} run{'s' * (len(self.runs) != 1)}"
        sys.stderr.write(f"would {self.verb} {count}\n" if self.runs else "no runs match\n")

    def report(self, runs: Sequence[dict[str, Any]], stream: TextIO | None = None) -> None:
        """Print what was done, as JSON, to stdout or another stream."""
        document = {"found": len(self.runs), "dry_run": self.dry_run, "runs": runs}
        stream = sys.stdout if stream is None else stream
        json.dump(document, stream, indent=2)
        stream.write("\n")
        stream.flush()


def cancel_all(
    bulk: Bulk,
    state: SQLStateManager,
    db: str,
    cancel: Callable[[SQLStateManager, RunSnapshot], str],
) -> None:
    """Cancel runs one after the other; one that has just ended is named and left.

    Args:
        bulk: The runs.
        state: The state manager.
        db: Its database.
        cancel: Cancels a run, and returns a message about the outcome.
    """
    outcomes = []
    for run in bulk.runs:
        said = _cancelled(state, run.run_id, db, cancel)
        outcomes.append({"run_id": run.run_id, "outcome": said})
        if not bulk.as_json:
            sys.stdout.write(f"run {printable(run.run_id)}: {said}\n")
            sys.stdout.flush()
    if bulk.as_json:
        bulk.report(outcomes)


def _cancelled(
    state: SQLStateManager,
    run_id: str,
    db: str,
    cancel: Callable[[SQLStateManager, RunSnapshot], str],
) -> str:
    try:
        return cancel(state, state.snapshot(run_id))
    except NotRestorable:  # another serializer wrote it
        with opened_run(run_id, "cancel", db) as (able, run):
            return cancel(able, run)
    except StoreUnavailable:
        raise
    except ActorflowError as left:
        return str(left)


# ── Resuming ─────────────────────────────────────────────────────────────────────────────────


def resume_all(bulk: Bulk, flow: Workflow, db: str, workers: int) -> int:
    """Resume runs in this process; print the outcome of each, and return the exit status."""
    if bulk.as_json:
        with stdout_for_result() as stdout:
            outcomes = list(_outcomes(bulk.runs, flow, db, workers))
            bulk.report([outcome.as_json() for outcome in outcomes], stdout)
    else:
        outcomes = []
        with whole_lines():
            for outcome in _outcomes(bulk.runs, flow, db, workers):
                outcomes.append(outcome)
                sys.stdout.write(f"run {printable(outcome.run_id)}: {outcome}\n")
                sys.stdout.flush()
    signals = [outcome.signal for outcome in outcomes if outcome.signal is not None]
    if signals:
        return EXIT_BASE + signals[0]
    return int(not all(outcome.completed for outcome in outcomes))


@attrs.frozen(kw_only=True)
class _Outcome:
    run_id: str
    result: RunResult | None = None
    error: BaseException | None = None
    """Why it was not resumed, or why it failed."""
    signal: int | None = None
    """The signal that cut it, or that came before it was resumed."""

    @property
    def completed(self) -> bool:
        return self.result is not None and self.result.status is RunStatus.COMPLETED

    def __str__(self) -> str:
        if self.result is None:
            why = "the command was interrupted" if self.error is None else one_line(self.error)
            return f"not resumed: {why}"
        reason = self.result.reason if self.error is None else one_line(self.error)
        return self.result.status.value + (f": {printable(reason)}" if reason else "")

    def as_json(self) -> dict[str, Any]:
        status = None if self.result is None else self.result.status.value
        return {"run_id": self.run_id, "status": status, "outcome": str(self)}


def _outcomes(
    runs: Iterable[RunSnapshot], flow: Workflow, db: str, workers: int
) -> Iterator[_Outcome]:
    """Resume runs, some at once; after a signal, cancel these and resume no others."""
    waiting, in_progress = deque(run.run_id for run in runs), cast("deque[Run]", deque())
    state = store(db)
    with (
        Interrupts(lambda: None) as interrupts,
        Orchestrator(state, async_workers=workers, max_active_runs=_AT_ONCE) as orchestrator,
    ):
        cut = False
        while waiting or in_progress:
            if interrupts.number is not None and not cut:
                cut = True
                sys.stderr.write("Cancelling the runs; press Ctrl-C again to exit at once.\n")
                for run in in_progress:
                    run.cancel("interrupted")
            if waiting and cut:
                yield _Outcome(run_id=waiting.popleft(), signal=interrupts.number)
            elif waiting and len(in_progress) < _AT_ONCE:
                begun_or_not = _begun(flow, waiting.popleft(), state, orchestrator, workers)
                if isinstance(begun_or_not, _Outcome):
                    yield begun_or_not
                else:
                    in_progress.append(begun_or_not)
            else:
                yield from _ended(in_progress, interrupts)


def _begun(
    flow: Workflow, run_id: str, state: SQLStateManager, orchestrator: Orchestrator, workers: int
) -> Run | _Outcome:
    order = Order(flow=flow, inputs={}, workers=workers, timeout=None, state=state, resumed=run_id)
    try:
        return begun(lambda: order.begin(orchestrator))
    except (Problem, StoreUnavailable):
        raise
    except ActorflowError as error:
        return _Outcome(run_id=run_id, error=error)


def _ended(in_progress: deque[Run], interrupts: Interrupts) -> Iterator[_Outcome]:
    """Wait a moment for the run that was resumed first, and yield its outcome if it has ended."""
    try:
        result = in_progress[0].wait(_POLL)
    except TimeoutError:
        return
    run = in_progress.popleft()
    cut = result.status is RunStatus.CANCELLED
    number = interrupts.number if cut else None
    yield _Outcome(run_id=run.id, result=result, error=result.error, signal=number)

"""What a type checker knows of running; checked by mypy, never run."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

from actorflow.definition.workflow import Workflow
from actorflow.model.attempts import AttemptOutcome, AttemptResult
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.records import RunPage, RunSnapshot
from actorflow.model.results import RunResult, ShutdownReport, StepResult
from actorflow.orchestrator import Orchestrator
from actorflow.run.handle import Run
from actorflow.schedules.handle import Schedule
from actorflow.state import MemoryStateManager

if TYPE_CHECKING:
    from actorflow.model.protocols import Clock, Executor, Observer, StateManager
    from actorflow.model.results import RunCancelled, RunFailed, RunTimeout

flow = Workflow("report")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def print_it(event: Event) -> None:
    """Be an observer."""


observer: Observer = print_it
state: StateManager = MemoryStateManager(max_runs=10, max_age=60.0, max_events=1000)


def build(executor: Executor, clock: Clock) -> Orchestrator:
    """Say all that an orchestrator can be told."""
    assert_type(Orchestrator.with_async_workers(state, 20), Orchestrator)
    Orchestrator(when_full="wait")  # type: ignore[arg-type]  # neither "block" nor "reject"
    Orchestrator(async_worker=1)  # type: ignore[call-arg]  # a misspelt option
    Orchestrator(observers=[lambda: None])  # type: ignore[list-item]  # takes no event
    Orchestrator(state, 20)  # type: ignore[call-arg]  # the options are by name only
    return Orchestrator(
        state,
        async_workers=20,
        executors={"mine": executor, "pool": concurrent.futures.ThreadPoolExecutor()},
        max_active_runs=10,
        max_queued_runs=0,
        when_full="reject",
        observers=[print_it],
        max_abandoned=5,
        stop_grace=1.0,
        blocked_after=0.1,
    )


def run(inputs: Mapping[str, Any]) -> None:
    """Use it from a thread."""
    with Orchestrator() as orchestrator:
        assert_type(orchestrator, Orchestrator)
        assert_type(orchestrator.run(flow), RunResult)
        assert_type(orchestrator.run("report", inputs), RunResult)
        handle = orchestrator.start(
            flow,
            {"url": "u"},
            metadata={"a": 1},
            timeout=timedelta(minutes=1),
            priority=5,
            trace_id="t",
            correlation_id=None,
            business_id="b",
            attributes={"tenant": "acme", "tier": 1, "share": 0.5, "urgent": True},
        )
        orchestrator.run(flow, attributes={"a": None})  # type: ignore[dict-item]  # no value
        orchestrator.run(flow, timeot=5)  # type: ignore[call-arg]  # a misspelt option
        orchestrator.run(flow, priority="high")  # type: ignore[arg-type]  # not a number
        orchestrator.run(5)  # type: ignore[arg-type]  # not a workflow
        assert_type(handle, Run)
        assert_type(orchestrator.get(handle.id), Run)
        assert_type(orchestrator.resume(handle.id), Run)
        assert_type(orchestrator.resume(handle.id, flow), Run)
        read_handle(handle)
        read_page(orchestrator.list(status="failed", workflow_id="report", limit=5, offset=5))
        read_page(orchestrator.list(status=RunStatus.FAILED))
        read_page(orchestrator.list(status={"failed"}, attributes={"a": ["x", 1]}, cursor=None))
        orchestrator.list(lmit=5)  # type: ignore[call-arg]  # a misspelt filter
        assert_type(orchestrator.count(), Mapping[Any, int])
        orchestrator.count(("workflow_id", "status"), created_after=0.0, parked=True)
        handle.set_attributes({"tenant": None, "tier": 2})
        read_report(orchestrator.shutdown(drain=1, grace=timedelta(seconds=1)))


async def run_async() -> None:
    """Use it on a loop."""
    async with Orchestrator() as orchestrator:
        assert_type(orchestrator, Orchestrator)
        assert_type(await orchestrator.run_async(flow, {"url": "u"}, priority=1), RunResult)
        handle = await orchestrator.start_async(flow)
        assert_type(handle, Run)
        assert_type(await handle, RunResult)
        assert_type(await handle.wait_async(), RunResult)
        async for event in handle.events():
            assert_type(event, Event)
        assert_type(await orchestrator.shutdown_async(), ShutdownReport)


def read_handle(run: Run) -> None:
    """Read what a handle says."""
    assert_type(run.id, str)
    assert_type(run.workflow_id, str)
    assert_type(run.done, bool)
    assert_type(run.status, RunStatus)
    assert_type(run.wait(), RunResult)
    assert_type(run.wait(1.5), RunResult)
    assert_type(run.result(timeout=2), RunResult)
    assert_type(run.snapshot(), RunSnapshot)
    run.cancel()
    run.cancel("enough")
    for event in run.events():
        read_event(event)


def read_event(event: Event) -> None:
    """Read what an event says."""
    assert_type(event.number, int)
    assert_type(event.kind, EventKind)
    assert_type(event.run_id, str)
    assert_type(event.step_id, str | None)
    assert_type(event.attempt, int | None)
    assert_type(event.time, float)
    assert_type(event.at, datetime)
    assert_type(event.data, Mapping[str, Any])


def read_result(result: RunResult) -> None:
    """Read what a result says."""
    assert_type(result.status, RunStatus)
    assert_type(result.status.terminal, bool)
    assert_type(result.outputs, Mapping[str, Any])
    assert_type(result.steps, Mapping[str, StepResult])
    assert_type(result.error, BaseException | None)
    assert_type(result.failed_step, str | None)
    assert_type(result.reason, str | None)
    assert_type(result.duration, float | None)
    result.status = RunStatus.FAILED  # type: ignore[misc]  # frozen
    step = result.steps["fetch"]
    assert_type(step.status, StepStatus)
    assert_type(step.attempts, int)
    assert_type(step.error, BaseException | None)
    assert_type(step.started_at, float | None)
    assert_type(step.duration, float | None)
    assert_type(step.attempts_taken, tuple[AttemptResult, ...])
    attempt = step.attempts_taken[0]
    assert_type(attempt.outcome, AttemptOutcome)
    assert_type(attempt.error, BaseException | None)
    assert_type(attempt.duration, float | None)


def schedule(orchestrator: Orchestrator) -> None:
    """Make a schedule, and read what it says."""
    nightly = orchestrator.schedule("nightly", flow, cron="0 2 * * *", tz="Europe/Berlin")
    assert_type(nightly, Schedule)
    orchestrator.schedule("often", "report", every=timedelta(minutes=1), overlap="queue", jitter=5)
    orchestrator.schedule("often", flow, every=1, overlap="wait")  # type: ignore[arg-type]  # no choice
    orchestrator.schedule("often", flow, crom="* * * * *")  # type: ignore[call-arg]  # misspelt
    assert_type(orchestrator.schedules(), Sequence[Schedule])
    assert_type(nightly.next_at, datetime | None)
    assert_type(nightly.last_run_id, str | None)
    assert_type(nightly.trigger(), Run)
    assert_type(nightly.backfill(NOON, NOON), list[Run])


async def schedule_on_a_loop(orchestrator: Orchestrator) -> None:
    """Do the same without blocking the loop."""
    nightly = await orchestrator.schedule_async("nightly", flow, every=60.0, missed="all")
    assert_type(nightly, Schedule)
    assert_type(await orchestrator.schedules_async(), Sequence[Schedule])
    assert_type(await nightly.trigger_async(), Run)
    assert_type(await nightly.backfill_async(NOON, NOON), list[Run])


def read_page(page: RunPage) -> None:
    """Read what a listing says."""
    assert_type(page.total, int)
    assert_type(page.runs, Sequence[RunSnapshot])
    snapshot = page.runs[0]
    assert_type(snapshot.status, RunStatus)
    assert_type(snapshot.steps, Mapping[str, StepResult])
    assert_type(snapshot.outputs, Mapping[str, Any])
    assert_type(snapshot.metadata, Mapping[str, Any])
    assert_type(snapshot.trace_id, str | None)
    assert_type(snapshot.created_at, float)


def read_report(report: ShutdownReport) -> None:
    """Read what a shutdown says."""
    assert_type(report.drained, int)
    assert_type(report.cancelled, Sequence[str])
    assert_type(report.abandoned, Sequence[str])
    assert_type(report.duration, float)
    assert_type(report.clean, bool)


def read_errors(error: RunFailed | RunCancelled | RunTimeout) -> None:
    """Read the result out of each of the three."""
    assert_type(error.result, RunResult)
    assert_type(error.result.run_id, str)

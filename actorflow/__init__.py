"""actorflow: workflows inside your own process, every step an actor.

`import actorflow` loads nothing else: each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.support.lazy import lazy_names

if TYPE_CHECKING:
    from actorflow.definition.builders import RetryPolicyBuilder, StepBuilder, WorkflowBuilder
    from actorflow.definition.retry import RetryPolicy
    from actorflow.definition.step import Step
    from actorflow.definition.workflow import Workflow
    from actorflow.errors import ActorflowError
    from actorflow.errors.definition import (
        DefinitionConflict,
        DefinitionError,
        ForkedOrchestrator,
        ForkedStateManager,
        MissingInput,
        NotRunning,
        OrchestratorClosed,
        UnknownExecutor,
        UnknownInput,
        UnknownWorkflow,
        WrongLoop,
    )
    from actorflow.errors.running import (
        ActorCrashed,
        CompensationCut,
        DeadlineExceeded,
        Deadlock,
        GiveUp,
        IllegalMove,
        Overloaded,
        RetryAfter,
        RunEnded,
        StepCancelled,
        StepTimeout,
        TakenOverTooOften,
        TooManyAbandoned,
    )
    from actorflow.errors.storage import (
        AlreadyStarted,
        InvalidAnswer,
        KeyInUse,
        LeaseHeld,
        LeaseLost,
        MissingExtra,
        NotRecorded,
        NotRescheduled,
        NotRestorable,
        NotStorable,
        RecordedError,
        RunNotFound,
        RunUnattended,
        ScheduleNotFound,
        SchemaMismatch,
        StoreError,
        StoreOverloaded,
        StoreUnavailable,
        TooLarge,
    )
    from actorflow.model.attempts import AttemptOutcome, AttemptResult
    from actorflow.model.context import StepContext
    from actorflow.model.events import Event, EventKind
    from actorflow.model.lifecycle import RunStatus, StepStatus
    from actorflow.model.pausing import Pause
    from actorflow.model.powers import (
        CancelsRemotely,
        ChecksOutputs,
        CountsRuns,
        DefersRuns,
        Due,
        FollowsRuns,
        KeepsAttributes,
        KeepsSchedules,
        LeasesRuns,
        MeasuresSteps,
        PausesRuns,
        QueuesRuns,
        ReadsRecords,
        ReadsSlowly,
        Taken,
    )
    from actorflow.model.protocols import Clock, Executor, Observer, StateManager
    from actorflow.model.records import RunOwner, RunPage, RunSnapshot
    from actorflow.model.results import (
        RunCancelled,
        RunError,
        RunFailed,
        RunResult,
        RunTimeout,
        ShutdownReport,
        StepResult,
    )
    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState
    from actorflow.orchestrator import Orchestrator
    from actorflow.run.handle import Run
    from actorflow.run.several import CompletedRuns, as_completed, wait_first, wait_first_async
    from actorflow.schedules.handle import Schedule
    from actorflow.state import MemoryStateManager
    from actorflow.support.warnings import ActorflowWarning

__all__ = [
    # Definitions
    "RetryPolicy",
    "Step",
    "Workflow",
    # Definitions, by builder
    "RetryPolicyBuilder",
    "StepBuilder",
    "WorkflowBuilder",
    # Running
    "MemoryStateManager",
    "Orchestrator",
    "Run",
    "Schedule",
    "StepContext",
    "as_completed",
    "wait_first",
    "wait_first_async",
    # Values
    "AttemptOutcome",
    "AttemptResult",
    "CompletedRuns",
    "Event",
    "EventKind",
    "RunOwner",
    "RunPage",
    "RunResult",
    "RunSnapshot",
    "RunStatus",
    "ScheduleDefinition",
    "ShutdownReport",
    "StepResult",
    "StepStatus",
    # What can be plugged in
    "Clock",
    "Executor",
    "Observer",
    "StateManager",
    # What a state manager may do beyond that
    "CancelsRemotely",
    "ChecksOutputs",
    "FollowsRuns",
    "CountsRuns",
    "KeepsAttributes",
    "KeepsSchedules",
    "DefersRuns",
    "Due",
    "LeasesRuns",
    "MeasuresSteps",
    "Pause",
    "PausesRuns",
    "QueuesRuns",
    "ReadsRecords",
    "ReadsSlowly",
    "RecordedSchedule",
    "ScheduleState",
    "Taken",
    # What a step may raise
    "GiveUp",
    "RetryAfter",
    # Errors
    "ActorCrashed",
    "ActorflowError",
    "CompensationCut",
    "DeadlineExceeded",
    "Deadlock",
    "DefinitionConflict",
    "DefinitionError",
    "ForkedOrchestrator",
    "ForkedStateManager",
    "IllegalMove",
    "MissingInput",
    "NotRunning",
    "OrchestratorClosed",
    "Overloaded",
    "RunCancelled",
    "RunEnded",
    "RunError",
    "RunFailed",
    "RunNotFound",
    "RunTimeout",
    "RunUnattended",
    "ScheduleNotFound",
    "StepCancelled",
    "StepTimeout",
    "TakenOverTooOften",
    "TooManyAbandoned",
    "UnknownExecutor",
    "UnknownInput",
    "UnknownWorkflow",
    "WrongLoop",
    # Errors of databases
    "AlreadyStarted",
    "InvalidAnswer",
    "KeyInUse",
    "LeaseHeld",
    "LeaseLost",
    "MissingExtra",
    "NotRecorded",
    "NotRescheduled",
    "NotRestorable",
    "NotStorable",
    "RecordedError",
    "SchemaMismatch",
    "StoreError",
    "StoreOverloaded",
    "StoreUnavailable",
    "TooLarge",
    # Warnings
    "ActorflowWarning",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "actorflow.definition.builders": ("RetryPolicyBuilder", "StepBuilder", "WorkflowBuilder"),
        "actorflow.definition.retry": ("RetryPolicy",),
        "actorflow.definition.step": ("Step",),
        "actorflow.definition.workflow": ("Workflow",),
        "actorflow.errors": ("ActorflowError",),
        "actorflow.errors.definition": (
            "DefinitionConflict",
            "DefinitionError",
            "ForkedOrchestrator",
            "ForkedStateManager",
            "MissingInput",
            "NotRunning",
            "OrchestratorClosed",
            "UnknownExecutor",
            "UnknownInput",
            "UnknownWorkflow",
            "WrongLoop",
        ),
        "actorflow.errors.running": (
            "ActorCrashed",
            "CompensationCut",
            "DeadlineExceeded",
            "Deadlock",
            "GiveUp",
            "IllegalMove",
            "Overloaded",
            "RetryAfter",
            "RunEnded",
            "StepCancelled",
            "StepTimeout",
            "TakenOverTooOften",
            "TooManyAbandoned",
        ),
        "actorflow.errors.storage": (
            "AlreadyStarted",
            "InvalidAnswer",
            "KeyInUse",
            "LeaseHeld",
            "LeaseLost",
            "MissingExtra",
            "NotRecorded",
            "NotRescheduled",
            "NotRestorable",
            "NotStorable",
            "RecordedError",
            "RunNotFound",
            "RunUnattended",
            "ScheduleNotFound",
            "SchemaMismatch",
            "StoreError",
            "StoreOverloaded",
            "StoreUnavailable",
            "TooLarge",
        ),
        "actorflow.model.attempts": ("AttemptOutcome", "AttemptResult"),
        "actorflow.model.context": ("StepContext",),
        "actorflow.model.events": ("Event", "EventKind"),
        "actorflow.model.lifecycle": ("RunStatus", "StepStatus"),
        "actorflow.model.pausing": ("Pause",),
        "actorflow.model.powers": (
            "CancelsRemotely",
            "ChecksOutputs",
            "CountsRuns",
            "DefersRuns",
            "Due",
            "FollowsRuns",
            "KeepsAttributes",
            "KeepsSchedules",
            "LeasesRuns",
            "MeasuresSteps",
            "PausesRuns",
            "QueuesRuns",
            "ReadsRecords",
            "ReadsSlowly",
            "Taken",
        ),
        "actorflow.model.protocols": (
            "Clock",
            "Executor",
            "Observer",
            "StateManager",
        ),
        "actorflow.model.records": ("RunOwner", "RunPage", "RunSnapshot"),
        "actorflow.model.results": (
            "RunCancelled",
            "RunError",
            "RunFailed",
            "RunResult",
            "RunTimeout",
            "ShutdownReport",
            "StepResult",
        ),
        "actorflow.model.schedules": (
            "RecordedSchedule",
            "ScheduleDefinition",
            "ScheduleState",
        ),
        "actorflow.orchestrator": ("Orchestrator",),
        "actorflow.run.handle": ("Run",),
        "actorflow.run.several": (
            "CompletedRuns",
            "as_completed",
            "wait_first",
            "wait_first_async",
        ),
        "actorflow.schedules.handle": ("Schedule",),
        "actorflow.state": ("MemoryStateManager",),
        "actorflow.support.warnings": ("ActorflowWarning",),
    },
)

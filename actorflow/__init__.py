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
        StepCancelled,
        StepTimeout,
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
    from actorflow.model.protocols import (
        CancelsRemotely,
        ChecksOutputs,
        Clock,
        DefersRuns,
        Due,
        Executor,
        LeasesRuns,
        MeasuresSteps,
        Observer,
        QueuesRuns,
        ReadsSlowly,
        StateManager,
        Taken,
    )
    from actorflow.model.results import (
        RunCancelled,
        RunError,
        RunFailed,
        RunPage,
        RunResult,
        RunSnapshot,
        RunTimeout,
        ShutdownReport,
        StepResult,
    )
    from actorflow.orchestrator import Orchestrator
    from actorflow.run.handle import Run
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
    "StepContext",
    # Values
    "AttemptOutcome",
    "AttemptResult",
    "Event",
    "EventKind",
    "RunPage",
    "RunResult",
    "RunSnapshot",
    "RunStatus",
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
    "DefersRuns",
    "Due",
    "LeasesRuns",
    "MeasuresSteps",
    "QueuesRuns",
    "ReadsSlowly",
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
    "RunError",
    "RunFailed",
    "RunNotFound",
    "RunTimeout",
    "RunUnattended",
    "StepCancelled",
    "StepTimeout",
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
            "StepCancelled",
            "StepTimeout",
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
        "actorflow.model.protocols": (
            "CancelsRemotely",
            "ChecksOutputs",
            "Clock",
            "DefersRuns",
            "Due",
            "Executor",
            "LeasesRuns",
            "MeasuresSteps",
            "Observer",
            "QueuesRuns",
            "ReadsSlowly",
            "StateManager",
            "Taken",
        ),
        "actorflow.model.results": (
            "RunCancelled",
            "RunError",
            "RunFailed",
            "RunPage",
            "RunResult",
            "RunSnapshot",
            "RunTimeout",
            "ShutdownReport",
            "StepResult",
        ),
        "actorflow.orchestrator": ("Orchestrator",),
        "actorflow.run.handle": ("Run",),
        "actorflow.state": ("MemoryStateManager",),
        "actorflow.support.warnings": ("ActorflowWarning",),
    },
)

"""actorflow: workflows inside your own process, every step an actor."""

from __future__ import annotations

from actorflow.builders import RetryPolicyBuilder, StepBuilder, WorkflowBuilder
from actorflow.context import StepContext
from actorflow.errors import (
    ActorCrashed,
    ActorflowError,
    CompensationCut,
    DeadlineExceeded,
    Deadlock,
    DefinitionConflict,
    DefinitionError,
    ForkedOrchestrator,
    ForkedStateManager,
    GiveUp,
    LeaseLost,
    MissingExtra,
    MissingInput,
    NotRecorded,
    NotRestorable,
    NotRunning,
    NotStorable,
    OrchestratorClosed,
    Overloaded,
    RecordedError,
    RetryAfter,
    RunCancelled,
    RunError,
    RunFailed,
    RunNotFound,
    RunTimeout,
    RunUnattended,
    SchemaMismatch,
    StepCancelled,
    StepTimeout,
    StoreError,
    StoreOverloaded,
    StoreUnavailable,
    TooLarge,
    TooManyAbandoned,
    UnknownExecutor,
    UnknownInput,
    UnknownWorkflow,
    WrongLoop,
)
from actorflow.events import Event, EventKind
from actorflow.handles import Run
from actorflow.lifecycle import RunStatus, StepStatus
from actorflow.notices import ActorflowWarning
from actorflow.orchestrator import Orchestrator
from actorflow.protocols import Clock, Executor, Observer, StateManager
from actorflow.results import RunPage, RunResult, RunSnapshot, ShutdownReport, StepResult
from actorflow.retry import RetryPolicy
from actorflow.state import MemoryStateManager
from actorflow.step import Step
from actorflow.workflow import Workflow

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
    "LeaseLost",
    "MissingExtra",
    "NotRecorded",
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

"""What a type checker knows of the powers of a state manager; checked by mypy, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from actorflow import (
    CancelsRemotely,
    ChecksOutputs,
    KeepsSchedules,
    LeasesRuns,
    MeasuresSteps,
    MemoryStateManager,
    QueuesRuns,
    ReadsRecords,
    ReadsSlowly,
    StateManager,
    Taken,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.state.sql import SQLStateManager


def a_database_has_them_all(state: SQLStateManager) -> None:
    """As `SQLStateManager` has."""
    _minimum: StateManager = state
    _slow: ReadsSlowly = state
    _outputs: ChecksOutputs = state
    _leases: LeasesRuns = state
    _queue: QueuesRuns = state
    _requests: CancelsRemotely = state
    _measures: MeasuresSteps = state
    _records: ReadsRecords = state
    _schedules: KeepsSchedules = state


def memory_has_two(state: MemoryStateManager) -> None:
    """A half one is no power."""
    _measures: MeasuresSteps = state
    _schedules: KeepsSchedules = state
    _leases: LeasesRuns = state  # type: ignore[assignment]  # it has no hand_back
    _queue: QueuesRuns = state  # type: ignore[assignment]  # it has no queue
    _requests: CancelsRemotely = state  # type: ignore[assignment]  # it takes no requests


def use(queue: QueuesRuns, requests: CancelsRemotely, outputs: ChecksOutputs) -> None:
    """Call what they have."""
    taken = queue.take({("flow", "1.0.0")}, [], 3)
    assert_type(taken, Taken)
    queue.hand_back(taken.taken[0], None)
    queue.hand_back(taken.taken[0])  # type: ignore[call-arg]  # it is always told what is waited for
    requests.ask_to_cancel("run", "enough", compensate=True)
    requests.ask_to_cancel("run", "enough", True)  # type: ignore[call-arg]  # by name
    outputs.admit("run", "step", object())


class Slow:
    """A class that says it once."""

    slow_to_read: bool = True

    def admit(self, run_id: str, step_id: str, output: Any) -> None:
        """Let everything pass."""

    def listen(self, _cancel: Callable[[str, str, bool], None]) -> Callable[[], None]:
        """Hear nothing."""
        return lambda: None

    def ask_to_cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Ask nothing."""


slow: ReadsSlowly = Slow()
checks: ChecksOutputs = Slow()
cancels: CancelsRemotely = Slow()

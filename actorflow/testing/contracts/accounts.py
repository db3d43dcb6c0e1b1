"""Sample runs for state managers to record, and a comparable form of what they return."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from actorflow.errors.storage import RecordedError
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.model.records import RunRecord
from actorflow.orchestrator.powers import is_recorded
from actorflow.support.class_names import dotted_name
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from actorflow.model.protocols import StateManager

__all__ = [
    "COMPLETED",
    "EPOCH",
    "FAILED",
    "PATIENCE",
    "STARTED",
    "UNDONE",
    "Commits",
    "Patient",
    "accept",
    "accepted",
    "happened",
    "told",
    "write",
]

EPOCH: Final = 1_700_000_000.0
PATIENCE: Final = 60.0
"""Seconds to wait for a commit, if a test says nothing else."""

STARTED: Final = (EventKind.RUN_STARTED, EventKind.STEP_READY, EventKind.STEP_STARTED)
COMPLETED: Final = (*STARTED, EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED)
FAILED: Final = (*STARTED, EventKind.STEP_FAILED, EventKind.RUN_FAILED)
UNDONE: Final = (
    *COMPLETED[:-1],
    EventKind.RUN_COMPENSATING,
    EventKind.COMPENSATION_STARTED,
    EventKind.COMPENSATION_COMPLETED,
    EventKind.RUN_CANCELLED,
)
_DATA: Final[Mapping[EventKind, Mapping[str, Any]]] = {
    EventKind.STEP_COMPLETED: {"output": "of a"},
    EventKind.STEP_RETRYING: {"error": ValueError("not yet"), "delay": 0.5},
    EventKind.STEP_FAILED: {"error": ValueError("no")},
    EventKind.RUN_FAILED: {"error": ValueError("no"), "failed_step": "a"},
    EventKind.RUN_COMPENSATING: {"reason": "enough", "steps": ("a",)},
    EventKind.RUN_CANCELLED: {"reason": "enough"},
}


def accepted(run_id: str = "run", **fields: Any) -> RunRecord:
    """Return an accepted run of one step, `a`."""
    known: dict[str, Any] = {
        "workflow_id": "flow",
        "workflow_version": "1.0.0",
        "step_ids": ("a",),
        "last_steps": ("a",),
        "inputs": {},
        "metadata": {},
        "priority": 0,
        "created_at": EPOCH,
        "trace_id": None,
        "correlation_id": None,
        "business_id": None,
    }
    return RunRecord(run_id=run_id, **(known | fields))


def happened(
    *kinds: EventKind,
    run_id: str = "run",
    after: int = 0,
    time: float = EPOCH,
    workflow_id: str = "flow",
) -> list[Event]:
    """Return events of the given kinds, one second apart."""
    events = []
    for number, kind in enumerate(kinds, after + 1):
        of_run = kind.value.startswith("run.")
        where: tuple[Any, Any] = (None, None) if of_run else ("a", 1)
        data = _DATA.get(kind, {})
        events.append(Event(number, kind, run_id, *where, time + number, data, workflow_id))
    return events


class Commits:
    """Collects the commits that a state manager reports, from any thread.

    Args:
        patience: Seconds to wait for each of them.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self.errors: list[BaseException | None] = []
        self._arrived = threading.Semaphore(0)

    def done(self, error: BaseException | None, /) -> None:
        """Receive the report of one commit."""
        self.errors.append(error)
        self._arrived.release()

    def wait(self, method: str = "record") -> None:
        """Wait for one commit; `method` is the one that returned False."""
        assert self._arrived.acquire(timeout=self._patience), (
            f"{method}() returned False, but did not call done within {self._patience:g} s"
        )


def accept(state: StateManager, record: RunRecord, patience: float = PATIENCE) -> None:
    """Create a run, and wait until it is recorded.

    Raises:
        InvalidAnswer: When `create` returns neither True nor False.
    """
    commits = Commits(patience)
    if not is_recorded("create", state.create(record, commits.done)):
        commits.wait("create")
        assert [None] == commits.errors, commits.errors


def write(state: StateManager, events: Sequence[Event], patience: float = PATIENCE) -> None:
    """Record events, and wait until they are recorded.

    Raises:
        InvalidAnswer: When `record` returns neither True nor False.
    """
    commits = Commits(patience)
    if not is_recorded("record", state.record(events, commits.done)):
        commits.wait("record")
        assert [None] == commits.errors, commits.errors


class Patient:
    """Tests of a state manager, which wait for it for a limited time."""

    state: StateManager

    patience: ClassVar[float] = PATIENCE
    """Seconds to wait for a commit; then a test fails. A run that is resumed gets twice as long."""

    def _accept(self, record: RunRecord) -> None:
        accept(self.state, record, self.patience)

    def _write(self, events: Sequence[Event]) -> None:
        write(self.state, events, self.patience)


_OF_OWNERS: Final = frozenset({"owner", "takeovers"})


def told(value: Any) -> Any:
    """Return a comparable form of a value, from memory or read from a database.

    Databases keep times to the microsecond, and may keep only the class and the message of an
    error. Which owner a run has is left out, because its events do not tell.
    """
    if isinstance(value, BaseException):
        return _error_told(value)
    if attrs.has(type(value)):
        names = (field.name for field in attrs.fields(type(value)))
        return {name: told(getattr(value, name)) for name in names if name not in _OF_OWNERS}
    if isinstance(value, Mapping):
        return {name: told(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [told(item) for item in value]
    if isinstance(value, float):
        return round(value, 6)
    return value if isinstance(value, (str, int, type(None))) else text_of(value)


def _error_told(error: BaseException) -> tuple[str, str]:
    if isinstance(error, RecordedError):
        return error.type_name, error.text
    return dotted_name(type(error)), str(error)

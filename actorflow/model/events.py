"""Events: the one public account of a run.

The runtime keeps no other account. A run's state is the fold of its events
(`actorflow.model.results`), observers receive them, and `Run.events()` reads them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actorflow.model.lifecycle import EventKind
from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_DATA", "Event", "EventKind"]

NO_DATA: Final[Mapping[str, Any]] = NOTHING


class Event(NamedTuple):
    """One fact about a run.

    It is a tuple because each step has three of them, and a tuple costs less than half of a frozen
    attrs object.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> with Orchestrator() as orchestrator:
        ...     print(list(orchestrator.start(flow).events())[-2])
        5 step.completed greet #1 output='hello'
    """

    number: int
    """The position in the run, from 1, without gaps."""
    kind: EventKind
    """What happened; equal to its string, for example `"step.ready"`."""
    run_id: str
    """The id of the run."""
    step_id: str | None
    """The id of the step, or None for an event of the whole run."""
    attempt: int | None
    """The number of the attempt, from 1, or None."""
    time: float
    """When, in seconds since the epoch."""
    data: Mapping[str, Any] = NO_DATA
    """Further facts by name: `output`, `error`, `delay`, `reason`, `timeout`, `stack`."""
    workflow_id: str = ""
    """The id of the run's workflow; empty in events that an earlier version pickled."""

    @property
    def at(self) -> datetime:
        """When, as an aware UTC datetime."""
        return datetime.fromtimestamp(self.time, tz=UTC)

    def __str__(self) -> str:
        where = "" if self.step_id is None else f" {self.step_id}"
        attempt = "" if self.attempt is None else f" #{self.attempt}"
        detail = "".join(f" {name}={value!r}" for name, value in self.data.items())
        return f"{self.number} {self.kind.value}{where}{attempt}{detail}"

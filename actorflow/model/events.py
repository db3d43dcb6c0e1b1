"""Everything that happened in a run: the one public stream of facts.

The runtime keeps no other account. The state of a run is the fold of its events
(`actorflow.model.results`), observers are fed with them, and `Run.events()` reads them.
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

    A tuple, because a run makes three of them per step, and an immutable tuple costs less
    than half of a frozen attrs object.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> with Orchestrator() as orchestrator:
        ...     print(list(orchestrator.start(flow).events())[-2])
        4 step.completed greet #1 output='hello'
    """

    number: int
    """Position in the run, from 1, without gaps."""
    kind: EventKind
    """What happened; compares equal to its text, for example `"step.ready"`."""
    run_id: str
    """The run it happened in."""
    step_id: str | None
    """The step it happened to, or None for an event of the whole run."""
    attempt: int | None
    """The attempt it belongs to, from 1, or None."""
    time: float
    """When, in seconds since the epoch."""
    data: Mapping[str, Any] = NO_DATA
    """What else is known, by name: `output`, `error`, `delay`, `reason`, `timeout`, `stack`."""

    @property
    def at(self) -> datetime:
        """When, as an aware UTC datetime."""
        return datetime.fromtimestamp(self.time, tz=UTC)

    def __str__(self) -> str:
        where = "" if self.step_id is None else f" {self.step_id}"
        attempt = "" if self.attempt is None else f" #{self.attempt}"
        detail = "".join(f" {name}={value!r}" for name, value in self.data.items())
        return f"{self.number} {self.kind.value}{where}{attempt}{detail}"

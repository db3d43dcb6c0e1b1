"""One life of a run, and of each of its steps, as a trace tells of it.

A run begins a life when the supervisor is told to start it, and another one whenever it is
resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.lifecycle import EventKind, RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.events import Event
    from actorflow.messages import CancelRun, StartRun
    from actorflow.plan import StepPlan
    from actorflow.testing.trace import AttemptTrace
    from actorflow.testing.tries import Try

__all__ = [
    "BEFORE",
    "COMPENSATIONS",
    "KEEPS",
    "NEVER",
    "NOTHING",
    "RUN_ENDS",
    "STEP_ENDS",
    "UNDOING_ENDS",
    "Life",
    "StepLife",
]

NEVER: Final = float("inf")
NOTHING: Final = object()
"""The output of a step that has none."""
BEFORE: Final = -1
STEP_ENDS: Final = {
    EventKind.STEP_COMPLETED: StepStatus.COMPLETED,
    EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
    EventKind.STEP_FAILED: StepStatus.FAILED,
    EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
}
"""What ends a step, and as what."""
RUN_ENDS: Final = {
    EventKind.RUN_COMPLETED: RunStatus.COMPLETED,
    EventKind.RUN_FAILED: RunStatus.FAILED,
    EventKind.RUN_CANCELLED: RunStatus.CANCELLED,
}
"""What ends a run, and as what."""
KEEPS: Final = frozenset({EventKind.STEP_COMPLETED, EventKind.STEP_SKIPPED})
"""The ends that let dependents go on, and that a resumed run keeps."""
UNDOING_ENDS: Final = frozenset({EventKind.COMPENSATION_COMPLETED, EventKind.COMPENSATION_FAILED})
"""What ends the undoing of a step."""
COMPENSATIONS: Final = frozenset(
    {
        EventKind.COMPENSATION_STARTED,
        EventKind.COMPENSATION_RETRYING,
        EventKind.COMPENSATION_TIMED_OUT,
        EventKind.COMPENSATION_ABANDONED,
        EventKind.COMPENSATION_BLOCKING,
        *UNDOING_ENDS,
    }
)


class StepLife:
    """One step, in one life of its run."""

    __slots__ = (
        "at",
        "begun",
        "bodies",
        "deaths",
        "end",
        "end_at",
        "events",
        "first_start",
        "id",
        "kept",
        "life",
        "output",
        "over",
        "plan",
        "ready_at",
        "recorded",
        "tries",
        "undone",
    )

    def __init__(self, life: Life, plan: StepPlan) -> None:
        self.life = life
        self.plan = plan
        self.id = plan.id
        self.events: list[Event] = []
        self.at: list[int] = []
        """For each of its events, its place among the events of the trace."""
        self.bodies: list[AttemptTrace] = []
        """Its attempts, as the executors know them, in the order of their beginnings."""
        self.kept = False
        """Whether it had an outcome before this life began."""
        self.end: Event | None = None
        """The first event that settled it; of an earlier life, if it was kept."""
        self.end_at: float = NEVER
        """The place of that event; before all others, if it was kept."""
        self.recorded: float = NEVER
        """How many messages had been delivered when that event was recorded."""
        self.output: Any = NOTHING
        """What it has returned, if it has completed."""
        self.ready_at: float = NEVER
        """The place of the event that tells that it was ready for the first time."""
        self.first_start: float = NEVER
        """The place of the event that tells of its first start."""
        self.begun: float = NEVER
        """How many messages had been delivered when the first of its attempts began."""
        self.over: float = BEFORE
        """How many had been when the last of those that began was over."""
        self.undone = False
        """Whether its compensator has ended, well or ill."""
        self.deaths: Sequence[int] = ()
        """When the schedule had its actor die, or raise: after how many deliveries."""
        self.tries: Sequence[Try] = ()
        """Its attempts as events and executors tell of them; of a plain step, none."""

    @property
    def completed(self) -> bool:
        """Whether it has an output."""
        return self.output is not NOTHING

    def __str__(self) -> str:
        return f"step {self.id!r} of {self.life.run_id}"


class Life:
    """One life of a run: from its start, or a resumption, to its end, or to a crash."""

    __slots__ = (
        "cancels",
        "cut",
        "end",
        "end_at",
        "events",
        "former",
        "odd",
        "plan",
        "run_id",
        "since",
        "start",
        "steps",
        "torn_at",
        "until",
    )

    def __init__(self, start: StartRun, since: int, former: Life | None) -> None:
        self.start = start
        self.run_id = start.scope.run_id
        self.plan = start.plan
        self.since = since
        """How many messages had been delivered when it began, with the one that began it."""
        self.until: float = NEVER
        """How many had been when the next life began, or the orchestrator crashed."""
        self.cut = False
        """Whether the orchestrator crashed in this life, or after it."""
        self.torn_at: float = NEVER
        """How many messages had been delivered when its record was torn."""
        self.former = former
        self.steps = {plan.id: StepLife(self, plan) for plan in start.plan.steps}
        self.odd: list[StepLife] = []
        """The steps that are not plain."""
        self.events: list[tuple[int, Event]] = []
        """Those of the run itself, each with its place among the events of the trace."""
        self.end: Event | None = None
        """The first event that ended it."""
        self.end_at: float = NEVER
        self.cancels: list[tuple[int, float, CancelRun]] = []
        """When it was told to end: after how many deliveries, and at what moment."""

    @property
    def torn(self) -> bool:
        """Whether its record has ended early."""
        return self.torn_at != NEVER

    @property
    def goes_on(self) -> bool:
        """Whether it began in the midst of its run's undoing."""
        former = self.former
        return former is not None and former.end is None and former.compensates

    @property
    def compensates(self) -> bool:
        """Whether it undoes what its steps have done."""
        begun = any(event.kind is EventKind.RUN_COMPENSATING for _, event in self.events)
        return begun or self.goes_on

    @property
    def reasons_to_end(self) -> list[tuple[int, float, CancelRun]]:
        """When it was told to end, in this life or before in an undoing that goes on in it."""
        former = self.former
        before = former.reasons_to_end if former is not None and self.goes_on else []
        return [*before, *self.cancels]

    def __str__(self) -> str:
        return self.run_id

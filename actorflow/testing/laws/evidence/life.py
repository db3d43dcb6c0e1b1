"""One life of a run and of each of its steps, as read from a trace.

A life of a run begins when the supervisor is told to start it, and a new one whenever it is
resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.model.messages import CancelRun, StartRun
    from actorflow.model.pausing import Pause
    from actorflow.testing.laws.evidence.holds import Hold
    from actorflow.testing.trace.trace import AttemptTrace, Trace

__all__ = [
    "AS_STEPS",
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
    "Try",
    "Undoing",
    "tries_of",
    "undoings_of",
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
"""The events that end a step, with the resulting status."""
RUN_ENDS: Final = {
    EventKind.RUN_COMPLETED: RunStatus.COMPLETED,
    EventKind.RUN_FAILED: RunStatus.FAILED,
    EventKind.RUN_CANCELLED: RunStatus.CANCELLED,
}
"""The events that end a run, with the resulting status."""
KEEPS: Final = frozenset({EventKind.STEP_COMPLETED, EventKind.STEP_SKIPPED})
"""The ends that let dependents go on, and that a resumed run keeps."""
UNDOING_ENDS: Final = frozenset({EventKind.COMPENSATION_COMPLETED, EventKind.COMPENSATION_FAILED})
"""The events that end the compensation of a step."""
COMPENSATIONS: Final = frozenset(
    {
        EventKind.COMPENSATION_STARTED,
        EventKind.COMPENSATION_RETRYING,
        EventKind.COMPENSATION_TIMED_OUT,
        EventKind.COMPENSATION_ABANDONED,
        EventKind.COMPENSATION_BLOCKING,
        EventKind.COMPENSATION_SUSPENDED,
        EventKind.COMPENSATION_CONTINUED,
        EventKind.COMPENSATION_AWAITING,
        EventKind.COMPENSATION_RECEIVED,
        EventKind.COMPENSATION_EXPIRED,
        *UNDOING_ENDS,
    }
)


class StepLife:
    """One step, in one life of its run."""

    __slots__ = (
        "at",
        "before",
        "begun",
        "bodies",
        "cut",
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
        self.life: Life = life
        self.plan: StepPlan = plan
        self.id: str = plan.id
        self.events: list[Event] = []
        self.at: list[int] = []
        """The index of each of its events among the events of the trace."""
        self.bodies: list[AttemptTrace] = []
        """Its attempts, by the executors' account, in the order in which they began."""
        self.before: int = 0
        """How many attempts of earlier lives it counts on from."""
        self.cut: int = 0
        """How many of these a crash or a hand-over cut."""
        self.kept: bool = False
        """Whether it had an outcome before this life began."""
        self.end: Event | None = None
        """The first event that settled it; from an earlier life if it was kept."""
        self.end_at: float = NEVER
        """The index of that event; `BEFORE` if it was kept."""
        self.recorded: float = NEVER
        """Number of messages delivered when that event was recorded."""
        self.output: Any = NOTHING
        """Its output, if it has completed."""
        self.ready_at: float = NEVER
        """The index of the event with which it first became ready."""
        self.first_start: float = NEVER
        """The index of the event of its first start."""
        self.begun: float = NEVER
        """Number of messages delivered when its first attempt began."""
        self.over: float = BEFORE
        """Number of messages delivered when the last of its attempts was over."""
        self.undone: bool = False
        """Whether its compensator has ended, successfully or not."""
        self.deaths: Sequence[int] = ()
        """The faults that made its actor die or raise: the number of deliveries before each."""
        self.tries: Sequence[Try] = ()
        """Its attempts, combined from events and executors; empty for a plain step."""

    @property
    def completed(self) -> bool:
        """Whether it has an output."""
        return self.output is not NOTHING

    def __str__(self) -> str:
        return f"step {self.id!r} of {self.life.run_id}"


class Life:
    """One life of a run: from its start or resumption to its end or a crash."""

    __slots__ = (
        "asked",
        "began_at",
        "cancels",
        "compensating",
        "cut",
        "end",
        "end_at",
        "events",
        "evicting",
        "former",
        "handed_back",
        "holds",
        "left_at",
        "left_until",
        "odd",
        "plan",
        "run_id",
        "since",
        "start",
        "steps",
        "torn_at",
        "until",
    )

    def __init__(
        self, start: StartRun, since: int, former: Life | None, began_at: float = 0.0
    ) -> None:
        self.start: StartRun = start
        self.run_id: str = start.scope.run_id
        self.plan: WorkflowPlan = start.plan
        self.since: int = since
        """Number of messages delivered when it began, including the one that began it."""
        self.until: float = NEVER
        """Number of messages delivered when the next life began, the orchestrator crashed, or the
        run was evicted."""
        self.cut: bool = False
        """Whether the orchestrator crashed, or was shut down, during or after this life."""
        self.evicting: float = NEVER
        """Number of messages delivered when it was to be evicted, or might have been."""
        self.left_at: float = NEVER
        """Number of messages delivered when it was to be left, including the one that said so."""
        self.left_until: float = BEFORE
        """When the grace of its orchestrator's shutdown was over, if that was to leave it."""
        self.handed_back: float = NEVER
        """Number of messages delivered when nothing of it was in flight, so that it was left."""
        self.torn_at: float = NEVER
        """Number of messages delivered when its record ended early."""
        self.former: Life | None = former
        self.steps: dict[str, StepLife] = {
            plan.id: StepLife(self, plan) for plan in start.plan.steps
        }
        past = start.past
        if past is not None:
            for step in self.steps.values():
                step.before, step.cut = past.attempts.get(step.id, 0), past.cut(step.id)
        self.odd: list[StepLife] = []
        """The steps that are not plain; see `lives`."""
        self.events: list[tuple[int, Event]] = []
        """The events of the run itself, each with its index among the events of the trace."""
        self.compensating: bool = False
        """Whether its compensation began in this life."""
        self.end: Event | None = None
        """The first event that ended it."""
        self.end_at: float = NEVER
        self.cancels: list[tuple[int, float, CancelRun]] = []
        """Its cancellations: the number of deliveries, the moment and the message of each."""
        self.began_at: float = began_at
        """The moment at which it began."""
        self.asked: list[tuple[int, Pause | None]] = []
        """The pauses that were asked for, and None for their ends, with the number of deliveries.
        """
        self.holds: Sequence[Hold] = ()
        """Its pauses, by its events."""

    @property
    def torn(self) -> bool:
        """Whether its record ended early."""
        return self.torn_at != NEVER

    @property
    def goes_on(self) -> bool:
        """Whether it began during its run's compensation."""
        return self.decided_elsewhere or self._goes_on_from_here

    @property
    def decided_elsewhere(self) -> bool:
        """Whether its run's compensation had begun in another process, for a reason told there."""
        recorded = self.start.resumed
        undone = recorded is not None and recorded.status is RunStatus.COMPENSATING
        return undone and not self._goes_on_from_here

    @property
    def _goes_on_from_here(self) -> bool:
        former = self.former
        return former is not None and former.end is None and former.compensates

    @property
    def undone(self) -> bool:
        """Whether it began after its run had completed, because that is undone with its parent."""
        return self.start.undo is not None

    @property
    def of_undone(self) -> bool:
        """Whether its run is undone with its parent, in this life or since an earlier one."""
        return self.why_undone is not None

    @property
    def why_undone(self) -> str | None:
        """Why its run is undone with its parent; None if it is not."""
        former = self.former
        if self.undone or not self.goes_on or former is None:
            return self.start.undo
        return former.why_undone

    @property
    def compensates(self) -> bool:
        """Whether the run is compensated in this life."""
        return self.compensating or self.goes_on

    @property
    def reasons_to_end(self) -> list[tuple[int, float, CancelRun]]:
        """Its cancellations, and those of earlier lives whose compensation continues here."""
        former = self.former
        before = former.reasons_to_end if former is not None and self.goes_on else []
        return [*before, *self.cancels]

    def __str__(self) -> str:
        return self.run_id


class Try:
    """One attempt of a step."""

    __slots__ = ("abandoned", "body", "end", "end_at", "number", "place", "started", "timed_out")

    def __init__(self, started: Event, place: int, number: int, body: AttemptTrace | None) -> None:
        self.started: Event = started
        self.place: int = place
        """The index of that event among the events of the trace."""
        self.number: int = number
        self.body: AttemptTrace | None = body
        """Its executor's account; None if no executor received it."""
        self.timed_out: Event | None = None
        self.abandoned: bool = False
        """Whether its abandonment is recorded."""
        self.end: Event | None = None
        """The event with which the attempt settled the step or led to a retry."""
        self.end_at: int = 0
        """The index of that event among the events of the trace."""


def tries_of(step: StepLife) -> list[Try]:
    """Return the attempts of a step that are recorded as started, in order."""
    bodies = {body.attempt: body for body in step.bodies}
    tries: list[Try] = []
    for place, event in zip(step.at, step.events, strict=True):
        if event.kind is EventKind.STEP_STARTED:
            number = step.before + len(tries) + 1
            tries.append(Try(event, place, number, bodies.get(number)))
        elif tries and tries[-1].end is None:
            _note(tries[-1], event, place)
    return tries


_NO_ENDS: Final = frozenset(
    {
        EventKind.STEP_BLOCKING,
        EventKind.STEP_SUSPENDED,
        EventKind.STEP_CONTINUED,
        EventKind.STEP_AWAITING,
        EventKind.STEP_RECEIVED,
        EventKind.STEP_EXPIRED,
    }
)


def _note(one: Try, event: Event, place: int) -> None:
    if event.kind is EventKind.STEP_TIMED_OUT:
        one.timed_out = event
    elif event.kind is EventKind.STEP_ABANDONED:
        one.abandoned = True
    elif event.kind not in _NO_ENDS:
        one.end, one.end_at = event, place


AS_STEPS: Final = {
    EventKind.COMPENSATION_STARTED: EventKind.STEP_STARTED,
    EventKind.COMPENSATION_RETRYING: EventKind.STEP_RETRYING,
    EventKind.COMPENSATION_TIMED_OUT: EventKind.STEP_TIMED_OUT,
    EventKind.COMPENSATION_ABANDONED: EventKind.STEP_ABANDONED,
    EventKind.COMPENSATION_BLOCKING: EventKind.STEP_BLOCKING,
    EventKind.COMPENSATION_SUSPENDED: EventKind.STEP_SUSPENDED,
    EventKind.COMPENSATION_CONTINUED: EventKind.STEP_CONTINUED,
    EventKind.COMPENSATION_AWAITING: EventKind.STEP_AWAITING,
    EventKind.COMPENSATION_RECEIVED: EventKind.STEP_RECEIVED,
    EventKind.COMPENSATION_EXPIRED: EventKind.STEP_EXPIRED,
    EventKind.COMPENSATION_COMPLETED: EventKind.STEP_COMPLETED,
    EventKind.COMPENSATION_FAILED: EventKind.STEP_FAILED,
}
"""The events of compensators, as the events of steps that they are like."""


class Undoing(StepLife):
    """The compensator of one step, in one life of its run."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"the compensator of {super().__str__()}"


def undoings_of(life: Life, trace: Trace) -> Iterator[Undoing]:
    """Yield the compensators that were started in a life of a run."""
    bodies = [
        body
        for body in trace.compensations
        if body.run_id == life.run_id and life.since < body.begun <= life.until
    ]
    for step in life.odd:
        plan = step.plan.compensation
        if plan is not None and any(event.kind in COMPENSATIONS for event in step.events):
            undo = Undoing(life, plan)
            undo.deaths = step.deaths
            if life.start.past is not None:
                undo.before = life.start.past.undo_attempts.get(step.id, 0)
                undo.cut = life.start.past.undo_cut(step.id)
            undo.bodies = [body for body in bodies if body.step_id == step.id]
            _tell(undo, step)
            yield undo


def _tell(undo: Undoing, step: StepLife) -> None:
    bodies = {body.attempt: body for body in undo.bodies}
    for place, event in zip(step.at, step.events, strict=True):
        if event.kind in AS_STEPS:
            undo.at.append(place)
            undo.events.append(_as_of_a_step(event, bodies))


def _as_of_a_step(event: Event, bodies: dict[int, AttemptTrace]) -> Event:
    if event.kind is EventKind.COMPENSATION_COMPLETED:
        # The output of a compensator is not recorded, so any output is right.
        body = bodies.get(event.attempt or 0)
        output = None if body is None else body.output
        event = event._replace(data={"output": output})
    return event._replace(kind=AS_STEPS[event.kind])

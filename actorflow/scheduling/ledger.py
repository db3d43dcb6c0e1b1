"""The supervisor's knowledge of each run and of each of its steps."""

from __future__ import annotations

import itertools
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from actorflow.model.attempts import cut_off
from actorflow.model.lifecycle import KEPT, RunStatus, StepStatus, kept_by
from actorflow.model.results import RunResult, StepResults
from actorflow.scheduling.queues import SyncLane

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.definition.step import Step
    from actorflow.errors.running import TakenOverTooOften
    from actorflow.model.attempts import AttemptResult
    from actorflow.model.context import Attempt, RunScope
    from actorflow.model.families import EndChildren
    from actorflow.model.messages import StartRun
    from actorflow.model.past import Past
    from actorflow.model.pausing import Pause
    from actorflow.model.protocols import Executor
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import StepResult
    from actorflow.scheduling.deadlines import Deadline

__all__ = ["Continuation", "Family", "Hold", "RunState", "StepState", "UndoneChild"]

_row: Final = attrgetter("status", "output", "error", "attempts", "started_at", "finished_at")
"""Returns a step's outcome as a row of `StepResults`."""
_output: Final = attrgetter("output")


class StepState:
    """One step of one run, as the supervisor sees it."""

    __slots__ = (
        "attempt_deadline",
        "attempts",
        "backoff",
        "crashes",
        "current",
        "error",
        "executor",
        "finished_at",
        "grace",
        "id",
        "open",
        "output",
        "plan",
        "run_id",
        "started_at",
        "status",
        "step",
        "stop_error",
        "stopping",
        "total_deadline",
        "undoes",
    )

    def __init__(
        self,
        run_id: str,
        plan: StepPlan,
        executor: Executor,
        undoes: StepState | None = None,
    ) -> None:
        self.run_id: str = run_id
        self.undoes: StepState | None = undoes
        """The step that this one compensates or continues; None for an ordinary step."""
        self.plan: StepPlan = plan
        self.id: str = plan.id
        self.step: Step = plan.step
        self.executor: Executor = executor
        self.status: StepStatus = StepStatus.PENDING
        self.open: int = len(plan.dependencies)
        """How many of its dependencies have yet to complete or be skipped."""
        self.attempts: int = 0
        self.crashes: int = 0
        """How often its actor has died before the step settled."""
        self.current: Attempt | None = None
        self.stopping: bool = False
        self.stop_error: BaseException | None = None
        """Why the current attempt is being stopped, when a timeout or a crash is the reason."""
        self.attempt_deadline: Deadline | None = None
        self.total_deadline: Deadline | None = None
        self.backoff: Deadline | None = None
        self.grace: Deadline | None = None
        self.output: Any = None
        self.error: BaseException | None = None
        self.started_at: float | None = None
        self.finished_at: float | None = None

    def step_back(self) -> None:
        """Have every queue pass over a ready step, without an event: its run is left."""
        self.status = StepStatus.PENDING

    def take_up(self, known: StepResult) -> None:
        """Take over the outcome that is recorded from before the run was resumed."""
        self.status = known.status
        self.output = known.output
        self.error = known.error
        self.attempts = known.attempts
        self.started_at = known.started_at
        self.finished_at = known.finished_at


class Continuation(StepState):
    """Represents a suspended step in the queues.

    Args:
        step: The step.
        attempt_left: Seconds that were left of the attempt's timeout.
        total_left: Seconds that were left of the step's total timeout.
    """

    __slots__ = ("attempt_left", "total_left", "woken")
    status: StepStatus

    def __init__(
        self, step: StepState, attempt_left: float | None, total_left: float | None
    ) -> None:
        super().__init__(step.run_id, step.plan, step.executor, step)
        self.attempt_left: float | None = attempt_left
        self.total_left: float | None = total_left
        self.woken: bool = False
        """Whether its wait is over."""

    def compete(self) -> None:
        """Let the step compete; the status of the step itself stays as it is."""
        self.status = StepStatus.READY

    def leave(self) -> None:
        """Have the queues skip it, because the attempt is over."""
        self.status = StepStatus.CANCELLED


class UndoneChild:
    """A child that is undone with its parent, in its place among the parent's steps."""

    __slots__ = ("run_id",)

    def __init__(self, run_id: str) -> None:
        self.run_id: str = run_id


class Family:
    """What is known of the children of a run that may have some."""

    __slots__ = ("answered", "asked", "kept", "left", "resumed", "steps", "undoing")

    def __init__(self, *, resumed: bool = False, kept: Collection[str] = ()) -> None:
        self.resumed: bool = resumed
        """Whether attempts of earlier lives, which have not ended, may have children."""
        self.kept: Collection[str] = kept
        """The ids of the steps that do not run in this life."""
        self.left: list[str] = []
        """The ids of the children that could not be undone."""
        self.steps: set[str] = set()
        """The ids of the steps that have started children in this life."""
        self.asked: EndChildren | None = None
        """The latest request to end them."""
        self.answered: tuple[str | None, bool] | None = None
        """The reason of the request that has been answered, and whether they are undone."""
        self.undoing: str | None = None
        """The id of the child that is being undone."""


class Hold:
    """What keeps anything of a run from starting: its pause, and then the wait for its place.

    Args:
        restless: The held runs that may end.
    """

    __slots__ = ("_counted", "_restless", "deadline", "pause", "still")

    def __init__(self, restless: dict[str, RunState]) -> None:
        self._restless = restless
        self._counted = False
        self.pause: Pause | None = None
        """The pause; None when that is over, and the run waits for its place."""
        self.still: float | None = None
        """Since when the clocks of the run stand still, on the monotonic clock."""
        self.deadline: float | None = None
        """The deadline of the run, as it was then."""

    def clock(self, now: float) -> float:
        """Return the moment at which the clocks of the run are."""
        return now if self.still is None else self.still

    def count(self, run: RunState) -> None:
        """Have the pause be one more thing to settle, so that the run does not complete."""
        if not (self._counted or run.ending):
            self._counted = True
            run.unsettled += 1

    def settle(self, run: RunState) -> None:
        """Settle the pause, because it is over, or the run ends despite it."""
        if self._counted:
            self._counted = False
            run.unsettled -= 1
        self._restless[run.run_id] = run


_NONE_SUSPENDED: Final[Mapping[StepState, Continuation]] = {}


class RunState:
    """One run, as the supervisor sees it."""

    __slots__ = (
        "active",
        "addresses",
        "any_skipped",
        "away",
        "cancel_reason",
        "compensations",
        "compensators",
        "cut",
        "cut_short",
        "deadline",
        "ending",
        "error",
        "events",
        "executors",
        "expiry",
        "failed_step",
        "family",
        "finished_at",
        "grace",
        "hold",
        "in_flight",
        "lane",
        "past",
        "plan",
        "poison",
        "rank",
        "rejoins",
        "retried",
        "revived",
        "reviving",
        "run_id",
        "scope",
        "started_at",
        "status",
        "steps",
        "suspended",
        "takeovers",
        "timeout",
        "undo_if_cancelled",
        "undoable",
        "undoing",
        "unsettled",
        "ways",
        "workflow_id",
    )

    def __init__(self, start: StartRun) -> None:  # noqa: PLR0915 - a record with many fields
        self.run_id: str = start.scope.run_id
        self.workflow_id: str = start.scope.workflow_id
        self.scope: RunScope = start.scope
        self.plan: WorkflowPlan = start.plan
        self.executors: Mapping[str, Executor] = start.executors
        self.ways: Mapping[str, float] | None = start.ways
        """The longest way from each step to the end, in seconds, by step id; None if unordered."""
        self.rank: int = -start.priority
        """Orders steps of different runs that are ready together."""
        self.addresses: Mapping[str, Any] | None = None
        """The addresses of its steps' actors while all are known; the brain only passes them on."""
        self.revived: bool = start.resumed is not None
        """Whether its actors have to be told what was decided before they were created."""
        self.reviving: int = 0
        """How many of its steps are to get a new actor that has not reported yet."""
        self.deadline = start.deadline
        self.timeout: float | None = start.timeout
        self.status: RunStatus = RunStatus.PENDING
        # A whole run in one call: a loop would take as long again.
        plan = start.plan
        executors = map(start.executors.__getitem__, plan.by_id)
        states = map(StepState, itertools.repeat(self.run_id), plan.steps, executors)
        self.steps: dict[str, StepState] = dict(zip(plan.by_id, states, strict=True))
        self.unsettled: int = len(self.steps)
        self.any_skipped: bool = False
        """Whether a step was skipped; otherwise all steps of a completed run have completed."""
        self.active: bool = False
        """Whether it has one of the places for active runs."""
        self.suspended: Mapping[StepState, Continuation] = _NONE_SUSPENDED
        """The steps whose attempts wait and hold nothing."""
        self.away: bool = False
        """Whether it has released its place because it only waits."""
        self.rejoins: bool = False
        """Whether it waits for a place again."""
        self.hold: Hold | None = None
        """What keeps anything of it from starting; None for most runs."""
        self.in_flight: int = 0
        self.retried: dict[str, list[AttemptResult]] = {}
        """The attempts of each retried step; the last one ends as its step unless said here."""
        self.lane: Final = SyncLane()
        self.events: int = start.recorded
        self.expiry: Deadline | None = None
        self.ending: bool = False
        """Whether no further step may start, because the run failed or was cancelled."""
        self.cancel_reason: str | None = None
        self.grace: float | None = None
        """Seconds that its stopped attempts get, if not the usual grace."""
        self.error: BaseException | None = None
        self.failed_step: str | None = None
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.compensators: Mapping[str, Executor] = start.compensators
        self.undoable: list[Any] | None = [] if start.compensators else None
        """The completed steps that can be undone, in order of completion, and once they are known
        the children that are undone with the run; None if the run has no compensators.
        """
        self.undoing: StepState | None = None
        """The current compensator."""
        self.undo_if_cancelled: bool = False
        self.compensations: tuple[str, ...] = ()
        """The ids of the steps to undo, in order."""
        self.cut: Deadline | None = None
        """The deadline of compensation, once a shutdown has set one."""
        self.cut_short: bool = False
        """Whether that deadline has passed."""
        self.past: Past | None = start.past
        """Its earlier lives, if it was taken over."""
        self.poison: TakenOverTooOften | None = start.poison
        """Why it must fail instead of going on; None once it does."""
        self.takeovers: int = start.takeovers
        self.family: Family | None = None
        """Its children; None while it has none."""
        if start.resumed is not None:
            self._take_up(start.resumed, start.completed)
            if start.undo is not None:
                self._begin_undoing(start.undo)

    @property
    def priority(self) -> int:
        """Its priority; a higher one goes first."""
        return -self.rank

    def _take_up(self, recorded: RunSnapshot, completed: Sequence[str]) -> None:
        self.status = recorded.status
        self.started_at = recorded.started_at
        # A person's resumption forgets attempts, but their children are there.
        kept = {name for name, one in recorded.steps.items() if one.status in KEPT}
        attempted = any(one.attempts for name, one in recorded.steps.items() if name not in kept)
        self.family = Family(resumed=attempted, kept=kept)
        if recorded.status is RunStatus.COMPENSATING:
            self._go_on_undoing(recorded)
        else:
            steps, past = recorded.steps, self.past
            statuses = [one.status for one in steps.values()]
            keeps = kept_by(statuses, taken_over=past is not None)
            self._keep({name: one for name, one in steps.items() if one.status in keeps})
            self._can_undo(completed)
            if past is not None:
                self._count_on({name: it for name, it in steps.items() if it.status not in keeps})
                self._have_failed(past)

    def _count_on(self, steps: Mapping[str, StepResult]) -> None:
        for step_id, known in steps.items():
            taken = known.attempts_taken
            again = self.past is not None and step_id in self.past.again
            if again and known.status is StepStatus.RUNNING:
                taken = taken[:-1]  # its body begins again under the same number
            if taken:
                step = self.steps[step_id]
                step.attempts, step.started_at = len(taken), known.started_at
                self.retried[step_id] = cut_off(taken)

    def _have_failed(self, past: Past) -> None:
        """Know why the run fails, if one of its steps had failed before it was taken over."""
        if past.failed_step is not None:
            self.failed_step = past.failed_step
            self.error = self.steps[past.failed_step].error

    def cut_attempts(self, step: StepState) -> int:
        """Return how many attempts of a step or compensator were cut, and count for nothing."""
        if self.past is None:
            return 0
        return self.past.cut(step.id) if step.undoes is None else self.past.undo_cut(step.id)

    def _keep(self, steps: Mapping[str, StepResult]) -> None:
        for step_id, known in steps.items():
            step = self.steps[step_id]
            step.take_up(known)
            if known.retried:
                self.retried[step_id] = list(known.retried)
            self.any_skipped = self.any_skipped or known.status is StepStatus.SKIPPED
            for dependent in step.plan.dependents if known.status in KEPT else ():
                self.steps[dependent].open -= 1
        self.unsettled -= len(steps)

    def _go_on_undoing(self, recorded: RunSnapshot) -> None:
        self._keep(recorded.steps)
        self.ending, self.deadline, self.unsettled = True, None, 0
        self.error, self.failed_step = recorded.error, recorded.failed_step
        self.cancel_reason, self.undo_if_cancelled = recorded.reason, True
        self.compensations = tuple(recorded.compensations)
        self._can_undo(reversed(recorded.compensations))

    def _begin_undoing(self, reason: str) -> None:
        """Be undone, although it has completed: its parent is."""
        self.ending, self.deadline = True, None
        self.cancel_reason, self.undo_if_cancelled = reason, True
        if self.undoable is None:
            self.undoable = []

    def _can_undo(self, step_ids: Iterable[str]) -> None:
        if self.undoable is not None:
            self.undoable += [
                self.steps[step_id]
                for step_id in step_ids
                if step_id in self.compensators
                and self.steps[step_id].status is StepStatus.COMPLETED
            ]

    def _outputs(self) -> dict[str, Any]:
        steps = self.steps
        if self.status is RunStatus.COMPLETED and not self.any_skipped:
            return dict(zip(steps, map(_output, steps.values()), strict=True))
        return {
            step_id: step.output
            for step_id, step in steps.items()
            if step.status is StepStatus.COMPLETED
        }

    def result(self) -> RunResult:
        """Return how the run ended."""
        return RunResult(
            run_id=self.run_id,
            workflow_id=self.scope.workflow_id,
            status=self.status,
            outputs=self._outputs(),
            steps=StepResults(
                dict(zip(self.steps, map(_row, self.steps.values()), strict=True)), self.retried
            ),
            last_steps=self.plan.last_steps,
            error=self.error,
            failed_step=self.failed_step,
            reason=self.cancel_reason,
            compensations=self.compensations,
            started_at=self.started_at,
            finished_at=self.finished_at,
        )

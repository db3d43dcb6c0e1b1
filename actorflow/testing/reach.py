"""Which moves of the transition tables a workflow can make, by its definition and script.

It is judged without a run, and generously where it would take one to know better: whether a
step ever waits for a lease, say. A move that a search misses is therefore a question, and no
accusation; a move that a search cannot see is never missed. Those are the moves of
compensations, and of loops that are blocked in real time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from actorflow.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.testing.coverage import ALL_MOVES, Move
from actorflow.testing.scripts import Either, Hangs, Raises, Real, Returns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.plan import StepPlan, WorkflowPlan
    from actorflow.testing.scripts import Behaviour, Script
    from actorflow.testing.settings import Settings

__all__ = ["EVERYTHING", "reachable"]

_May: TypeAlias = dict[tuple[RunStatus | StepStatus, EventKind], bool]

_CRASHES_THAT_FAIL: Final = 4
"""So often the actor of a step has to die for the step to fail without an attempt."""
_UNSIMULATED: Final = frozenset({EventKind.STEP_BLOCKING, EventKind.COMPENSATION_BLOCKING})
_IMPOSSIBLE: Final = frozenset(
    {
        # No backoff begins that would outlast the total timeout.
        Move("step", StepStatus.RETRYING, EventKind.STEP_TIMED_OUT),
        # Nobody resumes in a scenario, but for what a restart has interrupted.
        Move("run", RunStatus.FAILED, EventKind.RUN_RESUMED),
        Move("run", RunStatus.CANCELLED, EventKind.RUN_RESUMED),
    }
)
EVERYTHING: Final = frozenset(
    move for move in ALL_MOVES if move.kind not in _UNSIMULATED and move not in _IMPOSSIBLE
)
"""The moves that scenarios can make together."""


def reachable(
    plan: WorkflowPlan, script: Script, settings: Settings, *, timeout: bool, cancels: bool
) -> frozenset[Move]:
    """Return the moves that one run of a workflow can make.

    Args:
        plan: The workflow.
        script: What its steps do.
        settings: How much may go wrong, and how many steps run at once.
        timeout: Whether the run has a timeout.
        cancels: Whether somebody cancels it, apart from the faults.
    """
    steps = [_Step(one, script, settings) for one in plan.steps]
    run = _Run(steps, settings, timeout=timeout, cancels=cancels or settings.faults.cancels > 0)
    return frozenset(run.moves().union(*(one.moves(run) for one in steps)))


class _Step:
    """What may become of one step."""

    def __init__(self, plan: StepPlan, script: Script, settings: Settings) -> None:
        step, faults = plan.step, settings.faults
        attempts = 1 if step.retry is None else step.retry.max_attempts
        deeds = list(_flat(script.of(plan.id, number + 1) for number in range(attempts)))
        limits = [limit for limit in (step.timeout, step.total_timeout) if limit is not None]
        self.async_, self.required = step.async_, step.required
        self._ended = EventKind.STEP_FAILED if step.required else EventKind.STEP_SKIPPED
        self.retried = attempts > 1
        self.total = step.total_timeout is not None
        self.late = any(_may_outlast(limit, deed) for limit in limits for deed in deeds)
        self.dies = faults.crashes >= _CRASHES_THAT_FAIL
        self.returns = any(isinstance(deed, (Returns, Real)) for deed in deeds)
        self.fails = (
            self.late
            or faults.crashes + faults.poisons > 0
            or any(isinstance(deed, (Raises, Real)) for deed in deeds)
        )
        # Where mail is slow, the news that an attempt has stopped can come after the grace.
        self.outstays = settings.race or not plan.is_coroutine or any(map(_holds_on, deeds))

    def moves(self, run: _Run) -> set[Move]:
        """Return what it may do, as one of a run's steps."""
        before = self._moves_before_attempts(run)
        return _those("step", before | self._moves_of_attempts(run))

    def _moves_before_attempts(self, run: _Run) -> _May:
        pending, ready, waits = StepStatus.PENDING, StepStatus.READY, run.waits(self)
        overtaken = self.retried and self.fails and self.total and waits
        return {
            (pending, EventKind.STEP_READY): True,
            (pending, self._ended): self.dies,
            (pending, EventKind.STEP_CANCELLED): run.ends_early,
            (ready, EventKind.STEP_STARTED): True,
            (ready, EventKind.STEP_TIMED_OUT): overtaken,
            (ready, self._ended): overtaken or self.dies,
            (ready, EventKind.STEP_CANCELLED): run.ends_early and waits,
        }

    def _moves_of_attempts(self, run: _Run) -> _May:
        running, retrying, again = (
            StepStatus.RUNNING,
            StepStatus.RETRYING,
            self.retried and self.fails,
        )
        return {
            (running, EventKind.STEP_COMPLETED): self.returns,
            (running, EventKind.STEP_TIMED_OUT): self.late,
            (running, EventKind.STEP_ABANDONED): self.outstays and (self.late or run.ends_early),
            (running, self._ended): self.fails,
            (running, EventKind.STEP_CANCELLED): run.ends_early,
            (running, EventKind.STEP_RETRYING): again,
            (retrying, EventKind.STEP_READY): again,
            (retrying, EventKind.STEP_CANCELLED): again and run.ends_early,
            (retrying, self._ended): again and self.dies,
        }


class _Run:
    """What may become of a run."""

    def __init__(
        self, steps: list[_Step], settings: Settings, *, timeout: bool, cancels: bool
    ) -> None:
        self._workers = settings.async_workers
        self._restarts = settings.faults.restarts > 0
        self._cancels = cancels
        self._completes = all(one.returns or not one.required for one in steps)
        self._fails = timeout or any(one.required and one.fails for one in steps)
        self._async = sum(one.async_ for one in steps)
        self._sync = len(steps) - self._async
        self.ends_early = cancels or timeout or (self._fails and len(steps) > 1)

    def waits(self, step: _Step) -> bool:
        """Whether a step that is ready may have to wait for others."""
        return self._async > self._workers if step.async_ else self._sync > 1

    def moves(self) -> set[Move]:
        """Return what it may do."""
        running = RunStatus.RUNNING
        may: _May = {
            (RunStatus.PENDING, EventKind.RUN_STARTED): True,
            (running, EventKind.RUN_COMPLETED): self._completes,
            (running, EventKind.RUN_FAILED): self._fails,
            (running, EventKind.RUN_CANCELLED): self._cancels,
            (running, EventKind.RUN_RESUMED): self._restarts,
        }
        return _those("run", may)


def _those(machine: str, may: _May) -> set[Move]:
    return {Move(machine, *pair) for pair, it_does in may.items() if it_does}


def _flat(behaviours: Iterable[Behaviour]) -> Iterator[Behaviour]:
    for one in behaviours:
        if isinstance(one, Either):
            yield from _flat(one.behaviours)
        else:
            yield one


def _holds_on(behaviour: Behaviour) -> bool:
    return isinstance(behaviour, Real) or (isinstance(behaviour, Hangs) and behaviour.stubborn)


def _may_outlast(limit: float, behaviour: Behaviour) -> bool:
    if isinstance(behaviour, (Returns, Raises)):
        return behaviour.after is None or behaviour.after >= limit
    return True

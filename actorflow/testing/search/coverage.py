"""Coverage of the transition tables: the moves that a search has seen and missed.

The tables are those of `actorflow.model.lifecycle`. `reachable` estimates which of their moves one
workflow can make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import attrs

from actorflow.model.lifecycle import KEPT, RUN_MOVES, STEP_MOVES, EventKind, RunStatus, StepStatus
from actorflow.testing.simulation.behaviours import (
    ChildCall,
    Either,
    Hangs,
    Raises,
    Real,
    Returns,
    Wait,
    Waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.testing.simulation.behaviours import Behaviour
    from actorflow.testing.simulation.scripts import Script
    from actorflow.testing.simulation.settings import Settings
    from actorflow.testing.trace.trace import Trace

__all__ = ["ALL_MOVES", "EVERYTHING", "Coverage", "Move", "Tally", "reachable"]

_RUN_PENDING: Final = RunStatus.PENDING
_STEP_PENDING: Final = StepStatus.PENDING
_RUN_RESUMED: Final = EventKind.RUN_RESUMED
_TABLES: Final[dict[str, Any]] = {"run": RUN_MOVES, "step": STEP_MOVES}


class Move(NamedTuple):
    """One edge of a transition table."""

    machine: str
    """"run" or "step"."""
    before: RunStatus | StepStatus
    kind: EventKind

    def __str__(self) -> str:
        after = _TABLES[self.machine][self.before][self.kind]
        return f"{self.machine} {self.before.value} -> {after.value} by {self.kind.value}"


ALL_MOVES: Final[tuple[Move, ...]] = tuple(
    Move(machine, before, kind)
    for machine, table in _TABLES.items()
    for before, moves in table.items()
    for kind in moves
)
"""Every edge of both tables, in table order."""


@attrs.frozen
class Coverage:
    """The moves that a search has seen, and those that it could have seen.

    Both are in table order.
    """

    seen: tuple[Move, ...]
    reachable: tuple[Move, ...]

    @property
    def missed(self) -> tuple[Move, ...]:
        """The moves that could have been seen, as far as known, and were not."""
        return tuple(move for move in self.reachable if move not in self.seen)

    def __str__(self) -> str:
        return f"{len(self.reachable) - len(self.missed)} of {len(self.reachable)} moves"


class Tally:
    """Collects the moves of many traces."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, RunStatus | StepStatus, EventKind]] = set()

    def note(self, trace: Trace) -> None:
        """Collect the moves of one trace."""
        # Called for every schedule, so it loops over plain tuples.
        add = self._seen.add
        runs: dict[str, RunStatus] = {}
        steps: dict[tuple[str, str], StepStatus] = {}
        for _, kind, run_id, step_id, _, _, _, _ in trace.events:
            if step_id is None:
                run = runs.get(run_id, _RUN_PENDING)
                add(("run", run, kind))
                runs[run_id] = RUN_MOVES[run].get(kind, run)
                if kind is _RUN_RESUMED:
                    steps = {step: at for step, at in steps.items() if _kept(run_id, step, at)}
            else:
                step = steps.get((run_id, step_id), _STEP_PENDING)
                add(("step", step, kind))
                steps[run_id, step_id] = STEP_MOVES[step].get(kind, step)

    def coverage(self, reachable: frozenset[Move]) -> Coverage:
        """Return the coverage, given the reachable moves."""
        return Coverage(
            tuple(move for move in ALL_MOVES if move in self._seen),
            tuple(move for move in ALL_MOVES if move in reachable or move in self._seen),
        )


def _kept(resumed: str, step: tuple[str, str], status: StepStatus) -> bool:
    """Return whether a step keeps its status when a run is resumed."""
    return step[0] != resumed or status in KEPT


_May: TypeAlias = dict[tuple[RunStatus | StepStatus, EventKind], bool]

_CRASHES_THAT_FAIL: Final = 4
"""How often a step's actor must die for the step to be given up."""
_UNSIMULATED: Final = frozenset({EventKind.STEP_BLOCKING, EventKind.COMPENSATION_BLOCKING})
_IMPOSSIBLE: Final = frozenset(
    {
        # A backoff that would outlast the total timeout never begins.
        Move("step", StepStatus.RETRYING, EventKind.STEP_TIMED_OUT),
    }
)
EVERYTHING: Final = frozenset(
    move for move in ALL_MOVES if move.kind not in _UNSIMULATED and move not in _IMPOSSIBLE
)
"""The moves that scenarios together can make."""


def reachable(
    plan: WorkflowPlan, script: Script, settings: Settings, *, timeout: bool, cancels: bool
) -> frozenset[Move]:
    """Return the moves that one run of a workflow can make.

    Args:
        plan: The workflow.
        script: What its steps do.
        settings: How many faults may happen, and how many steps run at once.
        timeout: Whether the run has a timeout.
        cancels: Whether the run is cancelled, apart from the faults.
    """
    steps = [_StepMoves(one, script, settings) for one in plan.steps]
    run = _RunMoves(
        steps, settings, timeout=timeout, cancels=cancels or settings.faults.cancels > 0
    )
    return frozenset(run.moves().union(*(one.moves(run) for one in steps)))


class _StepMoves:
    """The possible moves of one step."""

    def __init__(self, plan: StepPlan, script: Script, settings: Settings) -> None:
        step, faults = plan.step, settings.faults
        attempts = 1 if step.retry is None else step.retry.max_attempts
        behaviours = list(_flat(script.of(plan.id, number + 1) for number in range(attempts)))
        limits = [limit for limit in (step.timeout, step.total_timeout) if limit is not None]
        self.async_, self.required = step.async_, step.required
        self._ended = EventKind.STEP_FAILED if step.required else EventKind.STEP_SKIPPED
        self.retried = attempts > 1
        self.total = step.total_timeout is not None
        self.late = any(_may_outlast(limit, one) for limit in limits for one in behaviours)
        self.waits = any(isinstance(one, Waiting) for one in behaviours)
        # One that ends while it waits never continues.
        self.continues = any(
            isinstance(one, Waiting)
            and any(isinstance(wait, ChildCall) or wait.ends != "waiting" for wait in one.waits)
            for one in behaviours
        )
        has_child = any(
            isinstance(one, Waiting) and any(isinstance(wait, ChildCall) for wait in one.waits)
            for one in behaviours
        )
        waits = [w for one in behaviours if isinstance(one, Waiting) for w in one.waits]
        asks = [w for w in waits if isinstance(w, Wait) and w.message]
        self.asks, self.expires = bool(asks), any(wait.seconds is not None for wait in asks)
        ends = [one.behaviour if isinstance(one, Waiting) else one for one in behaviours]
        self.follows = bool(plan.dependencies)
        self.dies = faults.crashes + faults.poisons >= _CRASHES_THAT_FAIL
        self.returns = any(isinstance(one, (Returns, Real)) for one in ends)
        self.fails = (
            self.late
            or self.dies
            or has_child  # which may fail
            or self.expires
            or any(isinstance(one, (Raises, Real)) for one in ends)
        )
        # With slow messages, the report that an attempt has stopped can arrive after the grace.
        self.outstays = settings.race or not plan.is_coroutine or any(map(_may_be_stubborn, ends))

    def moves(self, run: _RunMoves) -> set[Move]:
        """Return the moves that it may make, as a step of a run."""
        before = self._moves_before_attempts(run)
        return _possible("step", before | self._moves_of_attempts(run))

    def _moves_before_attempts(self, run: _RunMoves) -> _May:
        pending, ready, waits = StepStatus.PENDING, StepStatus.READY, run.waits(self)
        overtaken = self.retried and self.fails and self.total and waits
        return {
            (pending, EventKind.STEP_READY): True,
            # A step without dependencies is ready when its run starts.
            (pending, self._ended): self.dies and self.follows,
            (pending, EventKind.STEP_CANCELLED): run.ends_early and self.follows,
            (ready, EventKind.STEP_STARTED): True,
            (ready, EventKind.STEP_TIMED_OUT): overtaken,
            (ready, self._ended): overtaken or (self.dies and waits),
            (ready, EventKind.STEP_CANCELLED): run.ends_early and waits,
        }

    def _moves_of_attempts(self, run: _RunMoves) -> _May:
        running, retrying, again = (
            StepStatus.RUNNING,
            StepStatus.RETRYING,
            self.retried and self.fails,
        )
        return {
            (running, EventKind.STEP_COMPLETED): self.returns,
            (running, EventKind.STEP_SUSPENDED): self.waits,
            (running, EventKind.STEP_CONTINUED): self.continues,
            (running, EventKind.STEP_AWAITING): self.asks,
            (running, EventKind.STEP_EXPIRED): self.expires,
            (running, EventKind.STEP_TIMED_OUT): self.late,
            (running, EventKind.STEP_ABANDONED): self.outstays and (self.late or run.ends_early),
            (running, self._ended): self.fails,
            (running, EventKind.STEP_CANCELLED): run.ends_early,
            (running, EventKind.STEP_RETRYING): again,
            (retrying, EventKind.STEP_READY): again,
            (retrying, EventKind.STEP_CANCELLED): again and run.ends_early,
            (retrying, self._ended): again and self.dies,
        }


class _RunMoves:
    """The possible moves of a run."""

    def __init__(
        self, steps: list[_StepMoves], settings: Settings, *, timeout: bool, cancels: bool
    ) -> None:
        self._workers = settings.async_workers
        faults = settings.faults
        self._restarts = faults.restarts + faults.handovers > 0
        self._pauses = faults.pauses > 0
        self._cancels = cancels
        self._completes = all(one.returns or not one.required for one in steps)
        self._fails = timeout or any(one.required and one.fails for one in steps)
        self._async = sum(one.async_ for one in steps)
        self._sync = len(steps) - self._async
        self.ends_early = cancels or timeout or (self._fails and len(steps) > 1)

    def waits(self, step: _StepMoves) -> bool:
        """Return whether a ready step may have to wait for others."""
        return self._async > self._workers if step.async_ else self._sync > 1

    def moves(self) -> set[Move]:
        """Return the moves that it may make."""
        running = RunStatus.RUNNING
        may: _May = {
            (RunStatus.PENDING, EventKind.RUN_ACCEPTED): True,
            (RunStatus.PENDING, EventKind.RUN_STARTED): True,
            (running, EventKind.RUN_COMPLETED): self._completes,
            (running, EventKind.RUN_FAILED): self._fails,
            (running, EventKind.RUN_CANCELLED): self._cancels,
            (running, EventKind.RUN_RESUMED): self._restarts,
            (running, EventKind.RUN_PAUSED): self._pauses,
            (running, EventKind.RUN_UNPAUSED): self._pauses,
        }
        return _possible("run", may)


def _possible(machine: str, may: _May) -> set[Move]:
    return {Move(machine, *pair) for pair, possible in may.items() if possible}


def _flat(behaviours: Iterable[Behaviour]) -> Iterator[Behaviour]:
    for one in behaviours:
        if isinstance(one, Either):
            yield from _flat(one.behaviours)
        else:
            yield one


def _may_be_stubborn(behaviour: Behaviour) -> bool:
    return isinstance(behaviour, Real) or (isinstance(behaviour, Hangs) and behaviour.stubborn)


def _may_outlast(limit: float, behaviour: Behaviour) -> bool:
    if isinstance(behaviour, Waiting):
        # The clock stands still from when the supervisor hears of a wait.
        return True
    if isinstance(behaviour, (Returns, Raises)):
        return behaviour.after is None or behaviour.after >= limit
    return True

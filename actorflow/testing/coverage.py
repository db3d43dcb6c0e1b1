"""Which moves of the transition tables a search has seen, and which it has missed.

The tables are those of `actorflow.lifecycle`; which of their moves a workflow can make at all
is judged by `actorflow.testing.reach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from actorflow.lifecycle import KEPT, RUN_MOVES, STEP_MOVES, EventKind, RunStatus, StepStatus

if TYPE_CHECKING:
    from actorflow.testing.trace import Trace

__all__ = ["ALL_MOVES", "Coverage", "Move", "Tally"]

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
"""Every edge of both tables, in their order."""


@attrs.frozen
class Coverage:
    """The moves that a search has seen, of those that it could have seen.

    Both are in the order of the tables.
    """

    seen: tuple[Move, ...]
    reachable: tuple[Move, ...]

    @property
    def missed(self) -> tuple[Move, ...]:
        """What could have been seen, as far as can be told, and was not."""
        return tuple(move for move in self.reachable if move not in self.seen)

    def __str__(self) -> str:
        return f"{len(self.reachable) - len(self.missed)} of {len(self.reachable)} moves"


class Tally:
    """Collects the moves of many traces."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, RunStatus | StepStatus, EventKind]] = set()

    def note(self, trace: Trace) -> None:
        """Take note of one trace."""
        # Called for every schedule: a loop over bare tuples.
        add = self._seen.add
        runs: dict[str, RunStatus] = {}
        steps: dict[tuple[str, str], StepStatus] = {}
        for _, kind, run_id, step_id, _, _, _ in trace.events:
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
        """Return what was seen, beside what could have been."""
        return Coverage(
            tuple(move for move in ALL_MOVES if move in self._seen),
            tuple(move for move in ALL_MOVES if move in reachable or move in self._seen),
        )


def _kept(resumed: str, step: tuple[str, str], status: StepStatus) -> bool:
    """Return whether a step is where it was after a run was resumed."""
    return step[0] != resumed or status in KEPT

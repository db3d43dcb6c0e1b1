"""The tables of legal moves as Mermaid state diagrams; the documentation shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from actorflow.lifecycle import RUN_MOVES, STEP_MOVES, RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from actorflow.lifecycle import EventKind

__all__ = ["draw_run_states", "draw_step_states"]

_Status = TypeVar("_Status", StepStatus, RunStatus)


def draw_step_states() -> str:
    """Return the diagram of a step's states."""
    settled = {status for status in StepStatus if status.settled}
    return _diagram(STEP_MOVES, StepStatus.PENDING, settled)


def draw_run_states() -> str:
    """Return the diagram of a run's states."""
    terminal = {status for status in RunStatus if status.terminal}
    return _diagram(RUN_MOVES, RunStatus.PENDING, terminal)


def _diagram(
    moves: Mapping[_Status, Mapping[EventKind, _Status]], first: _Status, final: Collection[_Status]
) -> str:
    lines = ["stateDiagram-v2", f"[*] --> {first}"]
    for status, following in moves.items():
        lines += _arrows(status, following)
        if status in final:
            lines.append(f"{status} --> [*]")
    return "\n    ".join(lines)


def _arrows(status: _Status, following: Mapping[EventKind, _Status]) -> Iterator[str]:
    for target in dict.fromkeys(following.values()):
        kinds = ", ".join(kind.value for kind, to in following.items() if to == target)
        yield f"{status} --> {target}: {kinds}"

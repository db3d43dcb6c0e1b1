"""How a step looks in a line of its own, live or long past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from actorflow.lifecycle import RunStatus, StepStatus
from actorflow.views.text import in_words, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["STYLES", "step_row"]

_LOOKS: Final = {
    StepStatus.PENDING: ("·", "dim"),
    StepStatus.READY: ("○", ""),
    StepStatus.RUNNING: ("●", "cyan"),
    StepStatus.RETRYING: ("↻", "yellow"),
    StepStatus.COMPLETED: ("✓", "green"),
    StepStatus.FAILED: ("✗", "bold red"),
    StepStatus.SKIPPED: ("↷", "yellow"),
    StepStatus.CANCELLED: ("⊘", "dim"),
    StepStatus.COMPENSATED: ("↶", "magenta"),
    StepStatus.COMPENSATION_FAILED: ("✗", "bold red"),
}
STYLES: Final = {
    RunStatus.PENDING: "dim",
    RunStatus.RUNNING: "cyan",
    RunStatus.COMPENSATING: "magenta",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "bold red",
    RunStatus.CANCELLED: "yellow",
}
"""The colour of a run's status."""


def step_row(
    step_id: str,
    status: StepStatus,
    *,
    prefix: str = "",
    said: str | None = None,
    attempts: int = 0,
    elapsed: float | None = None,
    remark: str = "",
) -> Sequence[Text]:
    """Return a row for `steps_table`.

    Args:
        step_id: The step.
        status: Where it stands.
        prefix: The lines that lead to it.
        said: What is said instead of its status.
        attempts: How many were started.
        elapsed: Seconds since the first was.
        remark: Whatever else there is to say.
    """
    glyph, style = _LOOKS[status]
    tried = attempts > 0
    return (
        Text.assemble((prefix, "dim"), (glyph, style), " ", printable(step_id)),
        Text(said or status.value, style),
        Text(f"#{attempts}") if tried else Text(),
        Text(in_words(elapsed or 0.0), justify="right") if tried else Text(),
        Text(remark, "dim", no_wrap=True, overflow="ellipsis"),
    )

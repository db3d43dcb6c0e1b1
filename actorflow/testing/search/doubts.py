"""Doubts: behaviour that no law forbids, but that is surely not intended.

A step that asks a simulation for a thread or a socket fails, as any step may, and so does its run.
Every law holds on every schedule, and a test that checks only the laws passes. A warning is issued
for this case, outside the step, where it cannot be mistaken for the step's own failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.support.warnings import warn
from actorflow.testing.errors import NotSimulated
from actorflow.testing.trace.trace import AttemptTrace

if TYPE_CHECKING:
    from actorflow.testing.trace.trace import Trace

__all__ = ["Doubts"]

_STEP: Final = AttemptTrace._fields.index("step_id")
_ERROR: Final = AttemptTrace._fields.index("error")


class Doubts:
    """Collects doubts about traces, and warns once."""

    def __init__(self) -> None:
        self._text: str | None = None

    def note(self, trace: Trace) -> None:
        """Look at one trace."""
        # It reads the plain rows, because a search makes thousands of traces, most without attempt
        # objects.
        for row in (*trace.rows, *trace.undoings) if self._text is None else ():
            refused = None if row[_ERROR] is None else _refused(row[_ERROR])
            if refused is not None:
                self._text = f"step {row[_STEP]!r} fails wherever it is simulated: {refused}"

    def warn(self) -> None:
        """Issue the warning, attributed to the caller's code."""
        if self._text is not None:
            warn(self._text)


def _refused(error: BaseException) -> NotSimulated | None:
    """Return the `NotSimulated` behind an error, if there is one."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if isinstance(one, NotSimulated):
            return one
        # Chains of causes may be circular, and may reach an error in several ways.
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            parts = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            left += [*parts, one.__cause__, one.__context__]
    return None

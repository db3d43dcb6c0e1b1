"""What no law forbids, and whoever simulates has surely not meant.

A step that asks a simulation for a thread or a socket fails, as any step may, and so does its run:
every law holds, on every schedule, and a test that is held to them alone passes. So it is warned
of, outside of the step, where nobody takes the warning for the step's own failure.
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
    """Takes note of traces, and warns once of what is doubtful about all of them."""

    def __init__(self) -> None:
        self._text: str | None = None

    def note(self, trace: Trace) -> None:
        """Look at one of them."""
        # At the bare rows: a search makes thousands of traces, and attempts of few.
        for row in (*trace.rows, *trace.undoings) if self._text is None else ():
            refused = None if row[_ERROR] is None else _refused(row[_ERROR])
            if refused is not None:
                self._text = f"step {row[_STEP]!r} fails wherever it is simulated: {refused}"

    def warn(self) -> None:
        """Warn, in the name of whoever has asked for the traces."""
        if self._text is not None:
            warn(self._text)


def _refused(error: BaseException) -> NotSimulated | None:
    """Return what a simulation has refused, if that is why there is an error."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if isinstance(one, NotSimulated):
            return one
        # Causes may go round in circles, and reach one error in many ways.
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            parts = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            left += [*parts, one.__cause__, one.__context__]
    return None

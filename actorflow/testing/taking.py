"""A trace is taken: what the parts of a simulation have kept, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.mappings import ReadOnly
from actorflow.testing.trace import Trace

if TYPE_CHECKING:
    from actorflow.testing.runtime import SimulatedRuntime
    from actorflow.testing.settings import Settings
    from actorflow.testing.tape import Choices

__all__ = ["trace_of"]


def trace_of(
    runtime: SimulatedRuntime,
    settings: Settings,
    choices: Choices,
    *,
    quiescent: bool,
    endless: bool,
) -> Trace:
    """Return what has happened so far.

    Args:
        runtime: The orchestrator.
        settings: What it was told.
        choices: What was chosen.
        quiescent: Whether nothing is left to happen.
        endless: Whether things happened until a bound was reached.
    """
    account, system = runtime.account, runtime.system
    return Trace(
        settings=settings,
        runs=ReadOnly(account.runs),
        results=ReadOnly(runtime.results),
        events=tuple(runtime.state.log),
        torn=frozenset(runtime.state.torn),
        tears=tuple(runtime.state.tears),
        marks=tuple(runtime.state.marks),
        late=tuple(runtime.state.late),
        shown=tuple(runtime.audience.shown),
        handed=tuple(runtime.handed),
        choices=tuple(choices.used),
        max_in_flight=account.most_in_flight,
        now=system.time,
        leftovers=runtime.leftovers(),
        quiescent=quiescent,
        endless=endless,
        changes=tuple(account.mutations),
        defects=tuple(runtime.defects),
        rows=tuple([body.row() for body in account.bodies]),
        given=tuple([body.attempt for body in account.bodies]),
        undoings=tuple([body.row() for body in account.undoings]),
        lulls=tuple(runtime.lulls),
        envelopes=tuple(system.deliveries),
        crashes=tuple(runtime.crashes),
        struck=tuple(system.faults),
    )

"""The trace of a simulated orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.support.read_only import ReadOnly
from actorflow.testing.trace.trace import Trace

if TYPE_CHECKING:
    from actorflow.testing.simulation.runtime import SimulatedRuntime
    from actorflow.testing.simulation.settings import Settings
    from actorflow.testing.simulation.tape import Choices

__all__ = ["trace_of"]


def trace_of(
    runtime: SimulatedRuntime,
    settings: Settings,
    choices: Choices,
    *,
    quiescent: bool,
    endless: bool,
) -> Trace:
    """Return the trace so far.

    Args:
        runtime: The orchestrator.
        settings: The settings it was given.
        choices: The choices made so far.
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
        pauses=tuple([wait.row() for wait in account.waits]),
        lulls=tuple(runtime.lulls),
        envelopes=tuple(system.deliveries),
        crashes=tuple(runtime.crashes),
        handovers=tuple(runtime.handovers),
        left=tuple(runtime.left_runs),
        evicted=tuple(runtime.evicted_runs),
        struck=tuple(system.faults),
        messages=tuple(runtime.messages.sent),
        receipts=tuple(runtime.messages.receipts),
    )

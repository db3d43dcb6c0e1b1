"""What exists in a simulation at a moment: counted for the laws about leftovers and standstills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.testing.trace.trace import Leftovers

if TYPE_CHECKING:
    from actorflow.testing.simulation.runtime import SimulatedRuntime

__all__ = ["leftovers_of", "note_idle"]

_ASLEEP: Final = "the executor for coroutines let the event loop wait despite"


def leftovers_of(runtime: SimulatedRuntime) -> Leftovers:
    """Count what exists now."""
    brain, system, supervisor = runtime.brain, runtime.system, runtime.supervisor
    return Leftovers(
        actors=system.population - 1,
        timers=system.timers,
        messages=system.waiting,
        deadlines=len(brain.deadlines),
        runs=max(len(brain.runs), 0 if supervisor is None else supervisor.runs),
        leases=brain.workers.held,
        tasks=runtime.places.tasks,
    )


def note_idle(runtime: SimulatedRuntime) -> None:
    """Note the state at a moment when nothing can be delivered."""
    system, workers, state = runtime.system, runtime.brain.workers, runtime.state
    if runtime.places.waiting:
        runtime.defects.append(f"at {system.time:g} s, {_ASLEEP} a coroutine that had not begun")
    if system.unannounced:
        runtime.defects.append(f"at {system.time:g} s, {_ASLEEP} a message")
    runtime.lulls.append(
        (
            system.time,
            len(state.log),
            len(system.deliveries),
            workers.total - workers.free,
            workers.free,
            runtime.account.in_flight,
            state.under_way,
        )
    )

"""What can be searched for schedules that break a law: a workflow as given, or a scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from actorflow.testing.faults import NO_FAULTS, Faults
from actorflow.testing.reach import reachable
from actorflow.testing.scripts import Script
from actorflow.testing.simulation import Simulation
from actorflow.testing.trace import Settings

if TYPE_CHECKING:
    from typing import Unpack

    from actorflow.orchestrator.requests import RunOptions
    from actorflow.testing.coverage import Move
    from actorflow.testing.edits import Edit
    from actorflow.testing.tape import Source
    from actorflow.testing.trace import Trace
    from actorflow.workflow import Workflow

__all__ = ["Case", "Given", "Watch", "given", "opened"]

Watch: TypeAlias = Callable[[Simulation], None]
"""Gets to know a simulation before anything happens in it."""


def opened(
    settings: Settings, script: Script | None, source: Source, watch: Watch | None
) -> Simulation:
    """Return a simulation in which nothing has happened, and tell `watch` of it."""
    simulation = Simulation(
        script=script,
        tape=source,
        async_workers=settings.async_workers,
        max_active_runs=settings.max_active_runs,
        stop_grace=settings.stop_grace,
        faults=settings.faults,
        race=settings.race,
    )
    if watch is not None:
        watch(simulation)
    return simulation


class Case(Protocol):
    """Something that happens differently on every schedule, and alike on the same one."""

    @property
    def size(self) -> int:
        """How many steps run in it."""

    @property
    def deviations(self) -> int:
        """How much of it is not the plainest."""

    @property
    def oddness(self) -> int:
        """How far from plain that is, for cases that deviate equally often."""

    def simulate(self, source: Source = None, watch: Watch | None = None) -> Trace:
        """Let it happen on one schedule; `watch` is told of the simulation before."""

    @property
    def reachable(self) -> frozenset[Move]:
        """The moves of the transition tables that it can make, as far as can be told."""

    def edits(self) -> Iterator[Edit]:
        """Yield what would make it smaller, the most drastic first."""


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Given:
    """One run of somebody's own workflow, which is not to be changed."""

    flow: Workflow
    inputs: Mapping[str, Any] | None
    script: Script | None
    settings: Settings
    cancel_at: float | None
    options: RunOptions

    @property
    def size(self) -> int:
        """How many steps run in it."""
        return len(self.flow.steps)

    @property
    def deviations(self) -> int:
        """Nothing of it can be plainer than it is."""
        return 0

    oddness = deviations

    def simulate(self, source: Source = None, watch: Watch | None = None) -> Trace:
        """Let it happen on one schedule."""
        with opened(self.settings, self.script, source, watch) as simulation:
            run_id = simulation.start(self.flow, self.inputs, **self.options)
            if self.cancel_at is not None:
                simulation.cancel_at(self.cancel_at, run_id)
            return simulation.conclude()

    @property
    def reachable(self) -> frozenset[Move]:
        """The moves of the transition tables that it can make, as far as can be told."""
        plan = self.flow.plan()
        return reachable(
            plan,
            Script() if self.script is None else self.script,
            self.settings,
            timeout=plan.timeout is not None or self.options.get("timeout") is not None,
            cancels=self.cancel_at is not None,
        )

    def edits(self) -> Iterator[Edit]:
        """Yield nothing."""
        return iter(())


def given(
    flow: Workflow,
    inputs: Mapping[str, Any] | None = None,
    *,
    script: Script | None = None,
    async_workers: int = 2,
    stop_grace: float = 5.0,
    faults: Faults | None = None,
    race: bool = True,
    cancel_at: float | None = None,
    **options: Unpack[RunOptions],
) -> Given:
    """Return a run of somebody's own workflow as a case; the arguments are those of `simulate`."""
    settings = Settings(
        async_workers=async_workers,
        stop_grace=stop_grace,
        race=race,
        faults=NO_FAULTS if faults is None else faults,
    )
    return Given(
        flow=flow,
        inputs=inputs,
        script=script,
        settings=settings,
        cancel_at=cancel_at,
        options=options,
    )

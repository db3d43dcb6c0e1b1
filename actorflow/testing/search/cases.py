"""Cases for a search: a workflow as given, or a scenario; and `simulate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from actorflow.testing.search.coverage import reachable
from actorflow.testing.simulation.checks import (
    Doubts,
    as_moment,
    check_script,
    plan_of,
    refuse_unknown,
)
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.settings import NO_FAULTS, Faults, Settings
from actorflow.testing.simulation.simulate import Simulation

if TYPE_CHECKING:
    from typing import Unpack

    from actorflow.definition.workflow import Workflow
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.testing.search.coverage import Move
    from actorflow.testing.search.edits import Edit
    from actorflow.testing.simulation.tape import Choices, Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["Case", "Given", "Watch", "as_cancel_at", "given", "opened", "simulate"]

Watch: TypeAlias = Callable[[Simulation], None]
"""Called with a simulation before anything happens in it."""


def opened(
    settings: Settings, script: Script | None, source: Source | Choices, watch: Watch | None
) -> Simulation:
    """Return a new simulation, after passing it to `watch`."""
    simulation = Simulation(
        script=script,
        tape=source,
        async_workers=settings.async_workers,
        max_active_runs=settings.max_active_runs,
        stop_grace=settings.stop_grace,
        faults=settings.faults,
        race=settings.race,
        ageing=settings.ageing,
        evict_after=settings.evict_after,
    )
    if watch is not None:
        watch(simulation)
    return simulation


class Case(Protocol):
    """Something to simulate, whose behaviour is a function of the schedule."""

    @property
    def size(self) -> int:
        """Number of steps that run."""

    @property
    def deviations(self) -> int:
        """Number of deviations from the defaults."""

    @property
    def oddness(self) -> int:
        """How complex the deviations are, to compare cases with equally many."""

    def simulate(self, source: Source = None, watch: Watch | None = None) -> Trace:
        """Simulate it on one schedule; `watch` is called with the simulation first."""

    @property
    def reachable(self) -> frozenset[Move]:
        """The moves of the transition tables that it can make, as far as known."""

    def edits(self) -> Iterator[Edit]:
        """Yield the edits that would make it smaller, the most drastic first."""


def as_cancel_at(value: Any) -> float | None:
    """Return the moment at which a run is cancelled, if any.

    Raises:
        DefinitionError: When it is not a valid moment.
    """
    return None if value is None else as_moment(value, "cancel_at")


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Given:
    """One run of a user's workflow, which a search must not edit."""

    flow: Workflow
    inputs: Mapping[str, Any] | None
    script: Script | None
    settings: Settings
    cancel_at: float | None = attrs.field(converter=as_cancel_at)
    options: RunOptions

    @property
    def size(self) -> int:
        """Number of steps that run."""
        return len(plan_of(self.flow).steps)

    @property
    def deviations(self) -> int:
        """Always 0: it has no default to deviate from."""
        return 0

    oddness = deviations

    def simulate(self, source: Source | Choices = None, watch: Watch | None = None) -> Trace:
        """Simulate it on one schedule."""
        with opened(self.settings, self.script, source, watch) as simulation:
            run_id = simulation.start(self.flow, self.inputs, **self.options)
            if self.cancel_at is not None:
                simulation.cancel_at(self.cancel_at, run_id)
            return simulation.conclude()

    @property
    def reachable(self) -> frozenset[Move]:
        """The moves of the transition tables that it can make, as far as known."""
        plan = plan_of(self.flow)
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
    """Return a run of a user's workflow as a case; the arguments are those of `simulate`."""
    if script is not None:
        check_script(script)
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


def simulate(
    flow: Workflow,
    inputs: Mapping[str, Any] | None = None,
    *,
    script: Script | None = None,
    tape: Source | Choices = None,
    async_workers: int = 2,
    stop_grace: float = 5.0,
    faults: Faults | None = None,
    race: bool = True,
    cancel_at: float | None = None,
    **options: Unpack[RunOptions],
) -> Trace:
    """Run a workflow once in virtual time, and return the trace.

    Its functions are called only where the script says `real()`.

    Args:
        flow: The workflow.
        inputs: The run's inputs.
        script: What its steps do. By default each returns a string that names it, after a duration
            left to the tape.
        tape: Where choices come from: a tape, a `random.Random`, a callable, or `Choices` that have
            already been made. Without one, everything happens in the default order.
        async_workers: Maximum number of async steps in flight.
        stop_grace: Virtual seconds that a stopped attempt gets to end.
        faults: How many faults may happen.
        race: Whether the next timer may fire while messages wait.
        cancel_at: The virtual moment at which the run is cancelled.
        options: Options of the run, as for `Orchestrator.run`.

    Raises:
        DefinitionError: When the workflow, the script or an option is invalid.
        MissingInput: When a step needs an input that is not given.

    Example:
        >>> from actorflow import RetryPolicy, Step, Workflow
        >>> from actorflow.testing import Script, raises, returns, simulate
        >>> flow = Workflow("fetching")
        >>> fetch = flow.add(Step("fetch", lambda url: None, retry=RetryPolicy(jitter=0.0)))
        >>> script = Script({"fetch": [raises(OSError("busy"), after=2.0), returns("page")]})
        >>> trace = simulate(flow, {"url": "/"}, script=script)
        >>> trace.result.output, trace.duration
        ('page', 4.0)
    """
    refuse_unknown(simulate, flow, options)
    case = given(
        flow,
        inputs,
        script=script,
        async_workers=async_workers,
        stop_grace=stop_grace,
        faults=faults,
        race=race,
        cancel_at=cancel_at,
        **options,
    )
    trace = case.simulate(tape)
    doubts = Doubts()
    doubts.note(trace)
    doubts.warn()
    return trace

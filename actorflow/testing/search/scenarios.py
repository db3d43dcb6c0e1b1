"""Scenarios: workflows that are made up, what their steps do, and what is done to their runs.

A scenario is a value: its repr makes it anew, with what is not plain and nothing else. It is
what the runtime itself is held to the laws with; `drawing` makes scenarios up from bytes, and
`edits` says what would be smaller.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.options import declared_options
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import GiveUp, RetryAfter
from actorflow.testing.search.cases import opened
from actorflow.testing.search.coverage import EVERYTHING
from actorflow.testing.search.edits import scenario_edits
from actorflow.testing.simulation.scripts import Behaviour, Script, either, hangs, raises, returns
from actorflow.testing.simulation.settings import PLAIN_SETTINGS, Settings, Sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.testing.search.cases import Watch
    from actorflow.testing.search.coverage import Move
    from actorflow.testing.search.edits import Edit
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["DEEDS", "DRAWN", "POLICIES", "Scenario", "ScenarioRun", "ScenarioStep"]

DEEDS: Final[Mapping[str, Behaviour]] = {
    "returns": returns(after=None),
    "raises": raises(ValueError, after=None),
    "raises another": raises(KeyError("another"), after=None),
    "exits": raises(SystemExit("it wants to exit"), after=None),
    "gives up": raises(GiveUp("it is of no use"), after=None),
    "asks for a wait": raises(RetryAfter(2.0), after=None),
    "hangs": hangs(),
    "holds on": hangs(stubborn=True),
    "does anything": either(
        returns(after=None), raises(ValueError, after=None), hangs(), hangs(stubborn=True)
    ),
}
"""What an attempt in a scenario may do, the plainest first; how long it takes is the tape's."""

POLICIES: Final[Mapping[str, RetryPolicy | None]] = {
    "never": None,
    "once": RetryPolicy(max_attempts=2),
    "twice": RetryPolicy(max_attempts=3),
    "twice, evenly": RetryPolicy(max_attempts=3, multiplier=1.0, jitter=0.0),
    "at once": RetryPolicy(max_attempts=4, initial_interval=0.01, jitter=1.0),
    "another": RetryPolicy(max_attempts=3, retryable_errors=KeyError),
    "not another": RetryPolicy(max_attempts=3, give_up_on=KeyError),
    "what passes": RetryPolicy(max_attempts=2, retryable_errors=("Timeout", "Crashed")),
}
"""How often a step in a scenario is tried again, the plainest first."""

DRAWN: Final = "actorflow.drawn"
"""The key, in the metadata of a field, of the values that it is drawn from, the plainest first."""

_PLACE_OF_DEED: Final = {name: place for place, name in enumerate(DEEDS)}
_PLACE_OF_POLICY: Final = {name: place for place, name in enumerate(POLICIES)}


async def _coroutine(inputs: Mapping[str, Any]) -> None:
    """Stand for a step that is awaited; it is never called."""


def _function(inputs: Mapping[str, Any]) -> None:
    """Stand for a step that runs on a thread; it is never called."""


def _as_of_step(name: str) -> Any:
    """Return a field that is an option of `Step`: it has the default and values declared there."""
    default = getattr(attrs.fields(Step), name).default
    return attrs.field(default=default, metadata={DRAWN: declared_options(Step)[name].scenario})


def _known(_step: ScenarioStep, _field: object, deeds: tuple[str, ...]) -> None:
    for deed in deeds or ("nothing",):
        _check("does", deed, DEEDS)


def _known_if_any(step: ScenarioStep, field: object, deeds: tuple[str, ...]) -> None:
    if deeds:
        _known(step, field, deeds)


def _policy(_step: ScenarioStep, _field: object, name: str) -> None:
    _check("is retried", name, POLICIES)


def _check(what: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        problem = f"a step of a scenario {what} {name!r}"
        raise DefinitionError(None, problem, f"Give one of: {', '.join(map(repr, known))}")


_OPTIONS_OF_STEP: Final = tuple(
    name for name, option in declared_options(Step).items() if isinstance(option.scenario, tuple)
)
"""The options that a step of a scenario has unchanged."""


@attrs.frozen(kw_only=True, repr=False)
class ScenarioStep(Sparse):
    """One step of a scenario. What is not said is as of a `Step`."""

    id: str
    after: tuple[str, ...] = ()
    async_: bool = _as_of_step("async_")
    on_thread: bool = attrs.field(default=False, metadata={DRAWN: (False, True)})
    """Whether its function is a plain one: such a function cannot be stopped."""
    required: bool = _as_of_step("required")
    priority: int = _as_of_step("priority")
    retry: str = attrs.field(default="never", validator=_policy, metadata={DRAWN: tuple(POLICIES)})
    """When it is tried again; see `POLICIES`."""
    timeout: float | None = _as_of_step("timeout")
    total_timeout: float | None = _as_of_step("total_timeout")
    does: tuple[str, ...] = attrs.field(default=("returns",), validator=_known)
    """What its attempts do, in turn; the last one counts for all that follow. See `DEEDS`."""
    undo: tuple[str, ...] = attrs.field(default=(), validator=_known_if_any)
    """What the attempts of its compensator do, likewise; without any it has no compensator."""

    @property
    def deviations(self) -> int:
        """How much of it is not the plainest; its name does not count."""
        return super().deviations - 1

    def step(self) -> Step:
        """Return it as a step of a workflow."""
        return Step(
            self.id,
            _function if self.on_thread else _coroutine,
            after=self.after,
            retry=POLICIES[self.retry],
            compensate=self._compensator() if self.undo else None,
            **{name: getattr(self, name) for name in _OPTIONS_OF_STEP},
        )

    def _compensator(self) -> Step:
        """Return what undoes it, which is run in the same way."""
        run, retry = _function if self.on_thread else _coroutine, POLICIES[self.retry]
        return Step("undo", run, async_=self.async_, retry=retry, timeout=self.timeout)


@attrs.define(eq=False, repr=False, on_setattr=attrs.setters.frozen)
class _Drawn(Workflow):
    """A workflow whose repr makes it anew."""

    made_of: tuple[ScenarioStep, ...] = attrs.field(kw_only=True)

    def __repr__(self) -> str:
        return f"{Scenario(steps=self.made_of, fail_fast=self.fail_fast)!r}.flow"


@attrs.frozen(kw_only=True, repr=False)
class ScenarioRun(Sparse):
    """One run of a scenario's workflow. Times are virtual seconds."""

    at: float = 0.0
    """When it is asked for."""
    priority: int = 0
    timeout: float | None = None
    cancels: tuple[float, ...] = ()
    """When its end is asked for, counted from its start."""
    grace: float | None = None
    """Seconds that a shutdown leaves to it when it is cancelled; without one, it is no shutdown."""
    undone: bool = False
    """Whether it is undone when it is cancelled, as it is when it fails."""


@attrs.frozen(kw_only=True, repr=False, slots=False)
class Scenario(Sparse):
    """A workflow, what its steps do, and what is done to its runs.

    Example:
        >>> from actorflow.testing import Scenario, ScenarioStep
        >>> scenario = Scenario(steps=(ScenarioStep(id="a"), ScenarioStep(id="b", after=("a",))))
        >>> trace = scenario.simulate()
        >>> [attempt.step_id for attempt in trace.attempts]
        ['a', 'b']
    """

    steps: tuple[ScenarioStep, ...]
    runs: tuple[ScenarioRun, ...] = (ScenarioRun(),)
    fail_fast: bool = True
    settings: Settings = PLAIN_SETTINGS

    @functools.cached_property
    def flow(self) -> Workflow:
        """Its workflow."""
        flow = _Drawn("scenario", fail_fast=self.fail_fast, made_of=self.steps)
        for one in self.steps:
            flow.add(one.step())
        return flow

    @functools.cached_property
    def script(self) -> Script:
        """What the attempts of its steps and of their compensators do."""
        return Script(
            {one.id: [DEEDS[deed] for deed in one.does] for one in self.steps},
            compensators={
                one.id: [DEEDS[deed] for deed in one.undo] for one in self.steps if one.undo
            },
        )

    # ── As a case for the search ─────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """How many steps run in it, over all runs."""
        return len(self.steps) * len(self.runs)

    @property
    def oddness(self) -> int:
        """How far from plain its steps are: policies and deeds further down count more."""
        policies = sum(_PLACE_OF_POLICY[one.retry] for one in self.steps)
        deeds = [deed for one in self.steps for deed in (*one.does, *one.undo)]
        return policies + sum(map(_PLACE_OF_DEED.__getitem__, deeds))

    def simulate(self, source: Source = None, watch: Watch | None = None) -> Trace:
        """Let it happen on one schedule.

        Args:
            source: Where the choices come from.
            watch: Told of the simulation before anything happens.
        """
        with opened(self.settings, self.script, source, watch) as simulation:
            for run in self.runs:
                self._ask_for(simulation, run)
            return simulation.conclude()

    def _ask_for(self, simulation: Simulation, run: ScenarioRun) -> None:
        if run.at:
            simulation.call_at(run.at, self._start, simulation, run)
        else:
            self._start(simulation, run)

    def _start(self, simulation: Simulation, run: ScenarioRun) -> None:
        run_id = simulation.start(self.flow, priority=run.priority, timeout=run.timeout)
        cancel = functools.partial(
            simulation.cancel, run_id, grace=run.grace, compensate=run.undone
        )
        for seconds in run.cancels:
            simulation.call_at(simulation.now + seconds, cancel)

    @property
    def reachable(self) -> frozenset[Move]:
        """The moves of the transition tables that scenarios can make together."""
        return EVERYTHING

    def edits(self) -> Iterator[Edit]:
        """Yield what would make it smaller, the most drastic first."""
        return scenario_edits(self, tuple(POLICIES))

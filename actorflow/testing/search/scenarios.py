"""Scenarios: made-up workflows, what their steps do, and what is done to their runs.

A scenario is a value whose repr recreates it and shows only what differs from the defaults.
Scenarios are used to check the runtime itself against the laws. `drawing` makes them up from bytes,
and `edits` makes them smaller.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, Literal

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
from actorflow.testing.simulation.behaviours import (
    Behaviour,
    Either,
    Hangs,
    Wait,
    Waiting,
    either,
    hangs,
    raises,
    returns,
)
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.settings import PLAIN_SETTINGS, Settings, Sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.testing.search.cases import Watch
    from actorflow.testing.search.coverage import Move
    from actorflow.testing.search.edits import Edit
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = [
    "CHILDREN",
    "DEEDS",
    "DRAWN",
    "POLICIES",
    "WAITS",
    "Scenario",
    "ScenarioRun",
    "ScenarioStep",
    "with_waits",
]

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
"""What an attempt in a scenario may do, the simplest first; durations are left to the tape."""

_A_WAIT: Final = Wait(None, None, None)
WAITS: Final[Mapping[str, tuple[Wait, ...]]] = {
    "never": (),
    "once": (_A_WAIT,),
    "twice": (_A_WAIT, _A_WAIT),
    "ends waiting": (_A_WAIT, Wait(None, None, "waiting")),
    "ends woken": (Wait(None, None, "woken"),),
    "for a message": (Wait(None, None, None, "go"),),
    "for a message, briefly": (Wait(2.0, None, None, "go"),),
    "for two messages": (Wait(None, None, None, "go"), Wait(2.0, None, None, "go")),
}
"""How an attempt in a scenario waits, the simplest first; durations are left to the tape."""

CHILDREN: Final[Mapping[str, tuple[tuple[bool, Literal["cancel", "abandon"]], ...]]] = {
    "none": (),
    "runs": ((True, "cancel"),),
    "runs two": ((True, "cancel"), (True, "cancel")),
    "starts": ((False, "cancel"),),
    "starts and runs": ((False, "cancel"), (True, "cancel")),
    "abandons": ((False, "abandon"), (True, "abandon")),
}
"""The children of an attempt in a scenario, the simplest first: whether it waits for each, and what
the end of its run means for it."""

POLICIES: Final[Mapping[str, RetryPolicy | None]] = {
    "never": None,
    "once": RetryPolicy(max_attempts=2),
    "twice": RetryPolicy(max_attempts=3),
    "twice, evenly": RetryPolicy(max_attempts=3, multiplier=1.0, jitter=0.0),
    "at once": RetryPolicy(max_attempts=4, initial_interval=0.0),
    "another": RetryPolicy(max_attempts=3, retryable_errors=KeyError),
    "not another": RetryPolicy(max_attempts=3, give_up_on=KeyError),
    "what passes": RetryPolicy(max_attempts=2, retryable_errors=("Timeout", "Crashed")),
}
"""The retry policies of steps in scenarios, the simplest first."""

DRAWN: Final = "actorflow.drawn"
"""The key, in the metadata of a field, of the values that it is drawn from, the plainest first."""

_PLACE_OF_DEED: Final = {name: place for place, name in enumerate(DEEDS)}
_PLACE_OF_POLICY: Final = {name: place for place, name in enumerate(POLICIES)}
_PLACE_OF_WAITS: Final = {name: place for place, name in enumerate(WAITS)}
_PLACE_OF_CHILDREN: Final = {name: place for place, name in enumerate(CHILDREN)}
_NAMES: Final = ("scenario", "child", "grandchild")
"""The workflows of a scenario: of its runs, of their children, and of those of these."""


async def _coroutine(inputs: Mapping[str, Any]) -> None:
    """Stand in for a coroutine step; never called."""


def _function(inputs: Mapping[str, Any]) -> None:
    """Stand in for a step on a thread; never called."""


def _as_of_step(name: str) -> Any:
    """Return a field that is an option of `Step`: it has the default and values declared there."""
    default = getattr(attrs.fields(Step), name).default
    return attrs.field(default=default, metadata={DRAWN: declared_options(Step)[name].scenario})


def _check_deeds(_step: ScenarioStep, _field: object, deeds: tuple[str, ...]) -> None:
    for deed in deeds or ("nothing",):
        _check("does", deed, DEEDS)


def _check_compensator(step: ScenarioStep, field: object, deeds: tuple[str, ...]) -> None:
    if deeds:
        _check_deeds(step, field, deeds)


def _check_policy(_step: ScenarioStep, _field: object, name: str) -> None:
    _check("is retried", name, POLICIES)


def _check_children(_step: ScenarioStep, _field: object, name: str) -> None:
    _check("has children", name, CHILDREN)


def _check_waits(_step: ScenarioStep, _field: object, name: str) -> None:
    _check("waits", name, WAITS)


@functools.cache
def with_waits(deed: str, waits: str) -> Behaviour:
    """Return what a deed does with waits; a body that hangs does not end while it waits."""
    return _waiting(DEEDS[deed], WAITS[waits])


def _waiting(behaviour: Any, waits: tuple[Wait, ...]) -> Behaviour:
    if isinstance(behaviour, Either):
        return either(*(_waiting(one, waits) for one in behaviour.behaviours))
    inner = behaviour.behaviour if isinstance(behaviour, Waiting) else behaviour
    hangs_ = isinstance(inner, Hangs)
    for wait in waits:
        if wait.message is not None:
            behaviour = behaviour.receiving(wait.message, wait.seconds, wait.then)
            continue
        ends = None if hangs_ else wait.ends
        behaviour = behaviour.waiting(wait.seconds, wait.then, ends=ends)
    waiting: Behaviour = behaviour
    return waiting


def _does(deed: str, step: ScenarioStep, child: tuple[Workflow, Script] | None) -> Behaviour:
    """Return what an attempt does: it has its children, then it waits, then it does its deed."""
    if child is None or not CHILDREN[step.children]:
        return with_waits(deed, step.waits_here)
    return _waiting(_with_children(DEEDS[deed], step.children, child), WAITS[step.waits_here])


def _with_children(behaviour: Any, children: str, child: tuple[Workflow, Script]) -> Behaviour:
    if isinstance(behaviour, Either):
        return either(*(_with_children(one, children, child) for one in behaviour.behaviours))
    flow, script = child
    for waits, on_parent_end in CHILDREN[children]:
        behaviour = behaviour.running(
            flow, script=script, then=None, waits=waits, on_parent_end=on_parent_end
        )
    running: Behaviour = behaviour
    return running


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
    """One step of a scenario. Fields without a description are as in a `Step`."""

    id: str
    after: tuple[str, ...] = ()
    async_: bool = _as_of_step("async_")
    on_thread: bool = attrs.field(default=False, metadata={DRAWN: (False, True)})
    """Whether its function is a plain one, which cannot be stopped."""
    required: bool = _as_of_step("required")
    priority: int = _as_of_step("priority")
    retry: str = attrs.field(
        default="never", validator=_check_policy, metadata={DRAWN: tuple(POLICIES)}
    )
    """The name of its retry policy; see `POLICIES`."""
    timeout: float | None = _as_of_step("timeout")
    total_timeout: float | None = _as_of_step("total_timeout")
    expected: float | None = _as_of_step("expected")
    does: tuple[str, ...] = attrs.field(default=("returns",), validator=_check_deeds)
    """What its attempts do, in turn; the last one applies to all that follow. See `DEEDS`."""
    undo: tuple[str, ...] = attrs.field(default=(), validator=_check_compensator)
    """What the attempts of its compensator do, in the same form; if empty, it has none."""
    waits: str = attrs.field(
        default="never",
        validator=_check_waits,
        metadata={
            DRAWN: (
                "never",
                "once",
                "never",
                "twice",
                "never",
                "ends waiting",
                "never",
                "ends woken",
                "never",
                "for a message",
                "for a message, briefly",
                "for two messages",
            )
        },
    )
    """How its attempts and those of its compensator wait, as for a child run or a message; see
    `WAITS`. On a thread, none waits for a message."""
    children: str = attrs.field(default="none", validator=_check_children)
    """What children its attempts have, of the workflow that the scenario has for them; see
    `CHILDREN`."""

    @property
    def deviations(self) -> int:
        """Number of deviations from the defaults; its name does not count."""
        return super().deviations - 1

    @property
    def waits_here(self) -> str:
        """How its attempts wait: on a thread, not for messages."""
        for_message = any(wait.message is not None for wait in WAITS[self.waits])
        return "never" if self.on_thread and for_message else self.waits

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
        """Return its compensator, which runs in the same way."""
        run, retry = _function if self.on_thread else _coroutine, POLICIES[self.retry]
        return Step("undo", run, async_=self.async_, retry=retry, timeout=self.timeout)


@attrs.define(eq=False, repr=False, on_setattr=attrs.setters.frozen)
class _Drawn(Workflow):
    """A workflow whose repr recreates it."""

    made_of: tuple[ScenarioStep, ...] = attrs.field(kw_only=True)

    def __repr__(self) -> str:
        made = Scenario(steps=self.made_of, fail_fast=self.fail_fast, order=self.order)
        return f"{made!r}.flow"


@attrs.frozen(kw_only=True, repr=False)
class ScenarioRun(Sparse):
    """One run of a scenario's workflow. Times are virtual seconds."""

    at: float = 0.0
    """The moment of its start."""
    priority: int = 0
    timeout: float | None = None
    cancels: tuple[float, ...] = ()
    """The moments of its cancellations, counted from its start."""
    grace: float | None = None
    """The grace of its cancellations, as in a shutdown; None for a plain cancellation."""
    resumes: tuple[float, ...] = ()
    """The moments at which it is resumed if it has failed or was cancelled by then, counted from
    its start."""
    undone: bool = False
    """Whether it is compensated when it is cancelled, as it is when it fails."""
    messages: tuple[float, ...] = ()
    """The moments at which it is sent messages, counted from its start; see `WAITS`."""
    sent_again: bool = False
    """Whether each message is sent again a second later, with the same id."""


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
    child: tuple[ScenarioStep, ...] = ()
    """The steps of the children of its steps, and of the children of these; if it is empty, no step
    has children."""
    fail_fast: bool = True
    order: Literal["readiness", "critical_path"] = "readiness"
    settings: Settings = PLAIN_SETTINGS

    @functools.cached_property
    def flow(self) -> Workflow:
        """The workflow."""
        return self._flow(0)

    def _flow(self, generation: int) -> Workflow:
        """Return the workflow of the runs, of their children, or of the children of these."""
        steps = self.child if generation else self.steps
        flow = _Drawn(_NAMES[generation], fail_fast=self.fail_fast, order=self.order, made_of=steps)
        for one in steps:
            flow.add(one.step())
        return flow

    @functools.cached_property
    def script(self) -> Script:
        """The script of its steps and their compensators."""
        return self._script(0)

    def _script(self, generation: int) -> Script:
        steps, child = self.child if generation else self.steps, None
        deeper = self.child and _NAMES[generation + 1 :]
        if deeper and any(CHILDREN[one.children] for one in steps):
            child = self._flow(generation + 1), self._script(generation + 1)
        return Script(
            {one.id: [_does(deed, one, child) for deed in one.does] for one in steps},
            compensators={
                one.id: [with_waits(deed, one.waits_here) for deed in one.undo]
                for one in steps
                if one.undo
            },
        )

    # ── As a case for the search ─────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """Number of steps that run, over all runs."""
        return (len(self.steps) + len(self.child)) * len(self.runs)

    @property
    def oddness(self) -> int:
        """How complex its steps are: what is further down in a table of this module counts more."""
        steps = (*self.steps, *self.child)
        policies = sum(_PLACE_OF_POLICY[one.retry] for one in steps)
        waits = sum(_PLACE_OF_WAITS[one.waits] for one in steps)
        children = sum(_PLACE_OF_CHILDREN[one.children] for one in steps)
        deeds = [deed for one in steps for deed in (*one.does, *one.undo)]
        return policies + waits + children + sum(map(_PLACE_OF_DEED.__getitem__, deeds))

    def simulate(self, source: Source = None, watch: Watch | None = None) -> Trace:
        """Simulate it on one schedule.

        Args:
            source: The source of the choices.
            watch: Called with the simulation before anything happens.
        """
        with opened(self.settings, self.script, source, watch) as simulation:
            for run in self.runs:
                self._request(simulation, run)
            return simulation.conclude()

    def _request(self, simulation: Simulation, run: ScenarioRun) -> None:
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
        for seconds in run.resumes:
            simulation.call_at(simulation.now + seconds, simulation.resume, run_id)
        for number, seconds in enumerate(run.messages):
            sends = (seconds, seconds + 1.0) if run.sent_again else (seconds,)
            for place, moment in enumerate(sends):
                told = f"message {number}.{place}"
                id_ = f"id {number}" if run.sent_again else None
                when = simulation.now + moment
                simulation.call_at(when, simulation.send, run_id, "go", told, id_)

    @property
    def reachable(self) -> frozenset[Move]:
        """The moves of the transition tables that scenarios together can make."""
        return EVERYTHING

    def edits(self) -> Iterator[Edit]:
        """Yield the edits that would make it smaller, the most drastic first."""
        return scenario_edits(self, tuple(POLICIES))

"""A Hypothesis state machine: several workflows at once, with cancellations and crashes.

Subclass it, name the workflows, and make a test of it::

    class Reports(SimulationMachine):
        flows = (daily, weekly)
        scripts = {"daily": Script({"fetch": [raises(OSError), returns()]})}

    TestReports = Reports.TestCase

Hypothesis then starts runs, cancels and pauses them, delivers messages in orders that it chooses,
lets time pass, crashes the orchestrator, and resumes runs. The laws are checked after each of
these, and once more when nothing is left to happen; by then no run is paused. Subclasses may add
rules and invariants: `self.simulation` is the orchestrator in virtual time, and `self.trace()` the
trace so far.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from actorflow.definition.workflow import Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import RunEnded
from actorflow.support.safe_text import text_of
from actorflow.testing import laws as all_laws
from actorflow.testing.errors import needs_hypothesis
from actorflow.testing.laws.law import several
from actorflow.testing.search.cases import opened
from actorflow.testing.simulation.settings import PLAIN_SETTINGS, Settings

with needs_hypothesis("actorflow.testing.machine"):
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.testing.laws import Law
    from actorflow.testing.simulation.scripts import Script
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.trace.trace import Trace

__all__ = ["SimulationMachine"]

_ONE_OF_MANY: Final = st.integers(min_value=0, max_value=99)
_CHOICES: Final = st.one_of(st.just(b""), st.binary(min_size=12, max_size=12))
_SECONDS: Final = st.sampled_from((1.0, 0.5, 2.0, 5.0, 60.0))
_PRIORITIES: Final = st.sampled_from((0, 1, -1))


class _Choices:
    """Chooses from the last given bytes, and the default when they have run out."""

    def __init__(self) -> None:
        self._told: Iterator[int] = iter(())

    def tell(self, choices: bytes) -> None:
        """Use these choices from now on."""
        self._told = iter(choices)

    def choose(self, _options: int, _label: str) -> int:
        """Return the index of an option, or a number that wraps around to one."""
        return next(self._told, 0)


def _some_run(machine: SimulationMachine) -> bool:
    return bool(machine.simulation.runs)


def _ids_of(flows: Any, name: str) -> list[str]:
    if isinstance(flows, Workflow) or not all(isinstance(flow, Workflow) for flow in flows):
        problem = f"flows of {name} is {text_of(flows)}"
        raise DefinitionError(None, problem, "Give workflows, in a tuple: (one,) or (one, another)")
    return [flow.id for flow in flows]


def _check_ids(said: Any, what: str, ids: Sequence[str]) -> None:
    cure = f"Give a mapping by workflow id: {', '.join(map(repr, ids))}"
    if not isinstance(said, Mapping):
        raise DefinitionError(None, f"{what} is {text_of(said)}", cure)
    for name in said:
        if name not in ids:
            raise DefinitionError(None, f"{what} names {name!r}, which is not in flows", cure)


class SimulationMachine(RuleBasedStateMachine):
    """An orchestrator in virtual time, driven by Hypothesis.

    Subclasses say what it runs, and may add rules and invariants.
    """

    flows: ClassVar[Sequence[Workflow]] = ()
    """The workflows; runs of all of them may be in progress at once."""
    inputs: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The inputs of their runs, by workflow id."""
    scripts: ClassVar[Mapping[str, Script]] = {}
    """What their steps do, by workflow id. By default each step returns a string that names it,
    after a chosen duration."""
    settings: ClassVar[Settings] = PLAIN_SETTINGS
    """How many steps run at once, how many faults may happen, and so on."""
    laws: ClassVar[Sequence[Law]] = all_laws.ALL
    """The laws to check at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self._check()
        self._choices = _Choices()
        self._broken = False
        self.simulation: Simulation = opened(self.settings, None, self._choices.choose, None)
        """The orchestrator."""

    def _check(self) -> None:
        name, settings = type(self).__name__, cast("object", self.settings)
        if not self.flows:
            problem = f"{name} has no flows"
            raise DefinitionError(None, problem, "Set flows to the workflows to run")
        ids = _ids_of(self.flows, name)
        for what in ("inputs", "scripts"):
            _check_ids(getattr(self, what), f"{what} of {name}", ids)
        if not isinstance(settings, Settings):
            problem = f"settings of {name} is {text_of(settings)}"
            raise DefinitionError(None, problem, "Give Settings(…)")
        several(self.laws)

    def trace(self) -> Trace:
        """Return the trace so far."""
        return self.simulation.trace()

    # ── What happens ─────────────────────────────────────────────────────────────────────────

    @rule(which=_ONE_OF_MANY, priority=_PRIORITIES)
    def start(self, which: int, priority: int) -> None:
        """Start a run of one of the workflows."""
        flow = self.flows[which % len(self.flows)]
        inputs, script = self.inputs.get(flow.id), self.scripts.get(flow.id)
        self.simulation.start(flow, inputs, script=script, priority=priority)

    @precondition(_some_run)
    @rule(which=_ONE_OF_MANY)
    def cancel(self, which: int) -> None:
        """Cancel a run, which may have ended."""
        self.simulation.cancel(self._run(which))

    @precondition(_some_run)
    @rule(which=_ONE_OF_MANY, freeze=st.booleans())
    def pause(self, which: int, freeze: bool) -> None:  # noqa: FBT001 - Hypothesis gives it by name
        """Pause a run, which may be paused or have ended."""
        with contextlib.suppress(RunEnded):
            self.simulation.pause(self._run(which), freeze=freeze)

    @precondition(_some_run)
    @rule(which=_ONE_OF_MANY)
    def unpause(self, which: int) -> None:
        """Let a run go on, which may not be paused."""
        with contextlib.suppress(RunEnded):
            self.simulation.unpause(self._run(which))

    @rule(count=st.integers(min_value=1, max_value=8), choices=_CHOICES)
    def deliver(self, count: int, choices: bytes) -> None:
        """Let a few deliveries and timers happen."""
        self._choices.tell(choices)
        for _ in range(count):
            self.simulation.deliver()

    @rule(seconds=_SECONDS, choices=_CHOICES)
    def advance(self, seconds: float, choices: bytes) -> None:
        """Let time pass, with everything that is due in it."""
        self._choices.tell(choices)
        self.simulation.advance(seconds)

    @precondition(_some_run)
    @rule()
    def crash(self) -> None:
        """Crash the whole orchestrator; another one takes its place."""
        self.simulation.crash()

    @precondition(_some_run)
    @rule()
    def restart(self) -> None:
        """Crash the orchestrator, and resume the runs that have not ended."""
        self.simulation.crash()
        for run_id in self.simulation.runs:
            if run_id not in self.simulation.results:
                self.simulation.resume(run_id)

    @precondition(_some_run)
    @rule(which=_ONE_OF_MANY)
    def resume(self, which: int) -> None:
        """Resume a run that failed, was cancelled, or was lost in a crash."""
        self.simulation.resume(self._run(which))

    def _run(self, which: int) -> str:
        runs = self.simulation.runs
        return runs[which % len(runs)]

    # ── What must hold ───────────────────────────────────────────────────────────────────────

    @invariant()
    def keep_the_laws(self) -> None:
        """Check the trace so far against the laws."""
        try:
            all_laws.check(self.trace(), self.laws)
        except BaseException:
            self._broken = True
            raise

    def teardown(self) -> None:
        """Run until nothing is left to happen, and check the laws for the last time."""
        try:
            if not self._broken:
                for which, _ in enumerate(self.simulation.runs):
                    self.unpause(which)
                self.simulation.run_until_quiet()
                self.keep_the_laws()
        finally:
            self.simulation.close()

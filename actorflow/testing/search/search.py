"""The search for schedules that break a law: random choices, varied biases, small failures.

It needs no test framework. A search is a function of its seed and of nothing else: whatever it
finds, it finds again.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorflow.definition.durations import is_finite
from actorflow.errors.definition import DefinitionError
from actorflow.model.lifecycle import RunStatus
from actorflow.support.clock import SystemClock
from actorflow.support.safe_text import text_of
from actorflow.support.warnings import warn
from actorflow.testing import laws as all_laws
from actorflow.testing.errors import LawBroken
from actorflow.testing.laws.law import several
from actorflow.testing.laws.outcomes import first_difference
from actorflow.testing.search.cases import given
from actorflow.testing.search.clusters import draw_cluster
from actorflow.testing.search.coverage import Tally
from actorflow.testing.search.drawing import draw_scenario
from actorflow.testing.search.exhaustive import Exhaustive
from actorflow.testing.search.exploration import NOT_ENDED, Exploration, Spread
from actorflow.testing.search.scenarios import Scenario
from actorflow.testing.search.shrinking import Finding, Shrinker
from actorflow.testing.search.swarm import Swarm
from actorflow.testing.simulation.checks import Doubts, check_callable, check_whole, refuse_unknown

if TYPE_CHECKING:
    from typing import Unpack

    from actorflow.definition.workflow import Workflow
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.testing.laws import Law
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.search.cases import Case, Given
    from actorflow.testing.search.shrinking import Judge
    from actorflow.testing.simulation.scripts import Script
    from actorflow.testing.simulation.settings import Faults
    from actorflow.testing.trace.trace import Trace

__all__ = ["Draw", "doubt", "explore", "explore_scenarios", "judged"]

Draw: TypeAlias = Callable[[random.Random], "Case"]
"""Makes up a case."""

_FOREVER: Final = float("inf")
_ENDINGS: Final = (*(status.value for status in RunStatus if status.terminal), NOT_ENDED)
_MOST: Final = 10_000
_MOST_IF_EXHAUSTIVE: Final = 100_000
_SCHEDULES_OF_A_SCENARIO: Final = 2
"""Schedules per scenario. Building a workflow costs about as much as running it."""


def explore(
    flow: Workflow,
    inputs: Mapping[str, Any] | None = None,
    *,
    script: Script | None = None,
    schedules: int | None = None,
    exhaustive: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    laws: Iterable[Law] = all_laws.ALL,
    async_workers: int = 2,
    stop_grace: float = 5.0,
    faults: Faults | None = None,
    race: bool = True,
    cancel_at: float | None = None,
    watch: Callable[[int], object] | None = None,
    shrink: bool = True,
    **options: Unpack[RunOptions],
) -> Exploration:
    """Run a workflow on many schedules in virtual time, and check each against the laws.

    The first schedule is the default one. The search ends with the first schedule that breaks a
    law, which is then made small. That takes about as long again, and about a minute at most. A
    failure that does not come again on its own tape is left as it is and reported as flaky.

    With `exhaustive`, schedules are not chosen at random. Every schedule is tried that differs from
    the default one in at most so many choices, fewest first, so that the first failure is already
    small. Schedules that differ from others only in the order of deliveries to different actors are
    left out: they end alike.

    Args:
        flow: The workflow.
        inputs: The run's inputs.
        script: What its steps do. By default each returns a string that names it, after a duration
            left to the schedule.
        schedules: Maximum number of schedules to try; by default 10,000, or 100,000 if the search
            is exhaustive.
        exhaustive: The largest number of deviations from the default schedule, for an exhaustive
            search. `Exploration.exhausted` says whether it got to the end; if a bound has ended it
            before, a warning says so.
        seconds: Approximate maximum duration, in real seconds.
        seed: Equal seeds give equal schedules; an exhaustive search has no use for it.
        laws: The laws to check; by default all of actorflow's own.
        async_workers: Maximum number of async steps in flight.
        stop_grace: Virtual seconds that a stopped attempt gets to end.
        faults: How many faults may happen in one schedule.
        race: Whether the next timer may fire while messages wait.
        cancel_at: The virtual moment at which the run is cancelled.
        watch: Called after each schedule with the number of schedules so far, also while the
            failure is made smaller; returning False ends the search.
        shrink: Whether the failure is made small.
        options: Options of the run, as for `Orchestrator.run`.

    Raises:
        DefinitionError: When the workflow, the script or an option is invalid.
        MissingInput: When a step needs an input that is not given.

    Example:
        >>> from actorflow import Step, Workflow
        >>> from actorflow.testing import explore
        >>> flow = Workflow("pair")
        >>> one = flow.add(Step("one", lambda: 1, async_=True))
        >>> two = flow.add(Step("two", lambda: 2, async_=True))
        >>> found = explore(flow, schedules=50, seed=1)
        >>> found.schedules, found.broken
        (50, None)
        >>> found.check()
    """
    refuse_unknown(explore, flow, options)
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
    search = _Search(lambda _random: case, laws, seed)
    if exhaustive is None:
        most = _MOST if schedules is None else schedules
        exploration = search.explore(most, seconds, watch, shrink=shrink)
    else:
        most = _MOST_IF_EXHAUSTIVE if schedules is None else schedules
        exploration = search.exhaust(case, exhaustive, most, seconds, watch, shrink=shrink)
    if exploration.broken is None:
        search.doubts.warn()
    return exploration


def explore_scenarios(
    draw: Draw | None = None,
    *,
    orchestrators: int = 1,
    max_steps: int = 6,
    schedules: int = 10_000,
    seconds: float | None = None,
    seed: int = 0,
    laws: Iterable[Law] = all_laws.ALL,
    watch: Callable[[int], object] | None = None,
    shrink: bool = True,
) -> Exploration:
    """Check actorflow itself against the laws, with made-up scenarios on a few schedules each.

    Args:
        draw: Makes up a scenario; by default `draw_scenario`, or `draw_cluster` if there are
            several orchestrators.
        orchestrators: How many orchestrators share a store at most. Scenarios with several have at
            most 4 steps; each schedule takes about twenty times as long.
        max_steps: Maximum number of steps of such a scenario. Unless it is below 6, one in 256
            is larger: up to 20 steps and 8 runs.
        schedules: Maximum number of schedules to try, as in `explore`.
        seconds: Approximate maximum duration, in real seconds.
        seed: Equal seeds give equal scenarios and schedules.
        laws: The laws to check.
        watch: As in `explore`.
        shrink: Whether the failure is made small.

    Raises:
        DefinitionError: When an option is invalid, or `draw` returns something else.
    """
    check_whole(max_steps, "max_steps", 1)
    check_whole(orchestrators, "orchestrators", 1)
    drawn = draw
    if drawn is None and orchestrators == 1:
        drawn = partial(draw_scenario, max_steps=max_steps)
    elif drawn is None:
        drawn = partial(draw_cluster, orchestrators=orchestrators, max_steps=max_steps)
    return _Search(_checked(drawn), laws, seed).explore(schedules, seconds, watch, shrink=shrink)


def _checked(draw: Any) -> Draw:
    """Return a `draw` that checks that each case is a scenario."""
    cure = "Give a function of a random.Random that returns a Scenario; for a workflow: explore()"
    check_callable(draw, "draw", cure)

    def drawn(random: random.Random) -> Case:
        case = draw(random)
        if not isinstance(case, Scenario):
            raise DefinitionError(None, f"draw returned {text_of(case)}", cure)
        return case

    return drawn


class _Search:
    """Looks for a schedule that breaks a law.

    Args:
        draw: Makes up the cases to run.
        laws: The laws to check.
        seed: The seed of all random choices.
    """

    def __init__(self, draw: Draw, laws: Iterable[Law], seed: int) -> None:
        self._draw = draw
        self._laws = several(laws)
        check_whole(seed, "seed")
        self._seed = seed
        self.doubts = Doubts()
        self._now = SystemClock.now
        self._tally = Tally()
        self._chosen: set[int] = set()
        self._durations = array("d")
        self._endings: Counter[str] = Counter()
        self._exhaustive: Exhaustive | None = None
        self._interrupted = False
        """Whether the watcher has ended the search."""

    def explore(
        self,
        schedules: int,
        seconds: float | None,
        watch: Callable[[int], object] | None,
        *,
        shrink: bool,
    ) -> Exploration:
        """Search at random, and return the result."""
        _check(schedules, seconds)
        chance = random.Random(self._seed)
        case = self._draw(chance)
        traces = self._at_random(chance, case, schedules)
        return self._explore(case, traces, seconds, watch, shrink=shrink)

    def exhaust(
        self,
        case: Given,
        deviations: int,
        schedules: int,
        seconds: float | None,
        watch: Callable[[int], object] | None,
        *,
        shrink: bool,
    ) -> Exploration:
        """Try every schedule of a case with a bounded number of deviations."""
        check_whole(deviations, "exhaustive", 0)
        _check(schedules, seconds)
        self._exhaustive = every = Exhaustive(case, deviations, schedules)
        traces = ((case, trace) for trace in every.traces())
        exploration = self._explore(case, traces, seconds, watch, shrink=shrink)
        if not (exploration.exhausted or self._interrupted) and exploration.broken is None:
            warn(f"{exploration.scope}. Raise schedules or seconds, or lower exhaustive.")
        return exploration

    def _explore(
        self,
        case: Case,
        traces: Iterator[tuple[Case, Trace | None]],
        seconds: float | None,
        watch: Callable[[int], object] | None,
        *,
        shrink: bool,
    ) -> Exploration:
        began = self._now()
        self._reachable = case.reachable
        until = began + (_FOREVER if seconds is None else seconds)
        finding = self._search(traces, until, watch)
        took = self._now() - began
        shrinker = None if finding is None else self._shrinker(finding)
        if shrinker is not None:
            self._make_small(shrinker, watch, shrink=shrink)
        return self._exploration(took, shrinker)

    def _make_small(
        self, shrinker: Shrinker, watch: Callable[[int], object] | None, *, shrink: bool
    ) -> None:
        """Make a failure small, unless it is flaky; record a doubt about it in either case."""
        tried, judge = len(self._durations), shrinker.judge
        found = doubt(shrinker.best, judge)
        if shrink and not found:
            shrinker.shrink(None if watch is None else lambda: watch(tried) is False)
            found = doubt(shrinker.best, judge)
        shrinker.best.broken.doubt = found

    def _at_random(
        self, chance: random.Random, case: Case, schedules: int
    ) -> Iterator[tuple[Case, Trace]]:
        """Yield cases and their traces on random schedules; the first is the default one."""
        swarm = Swarm(chance)
        for number in range(schedules):
            if number and number % _SCHEDULES_OF_A_SCENARIO == 0:
                case = self._draw(chance)
            trace = case.simulate(*(swarm.next() if number else (None, None)))
            swarm.learn(trace)
            yield case, trace

    def _search(
        self,
        traces: Iterator[tuple[Case, Trace | None]],
        until: float,
        watch: Callable[[int], object] | None,
    ) -> Finding | None:
        for number, (case, trace) in enumerate(traces, 1):
            broken = None if trace is None else self._judge(trace)
            self._interrupted = watch is not None and watch(number) is False
            if trace is not None and broken is not None:
                return Finding(case, trace, broken)
            if trace is not None:
                _release(trace)
            if self._interrupted or self._now() >= until:
                break
        return None

    def _judge(self, trace: Trace) -> LawBroken | None:
        """Note a trace, and return how it breaks a law, or None."""
        self._note(trace)
        return judged(self._laws, trace)

    def _note(self, trace: Trace) -> None:
        self.doubts.note(trace)
        self._tally.note(trace)
        self._chosen.add(hash(trace.choices))
        self._durations.append(trace.duration)
        self._endings.update([_ending(trace, run_id) for run_id in trace.runs])

    def _shrinker(self, finding: Finding) -> Shrinker:
        broken = finding.broken
        same = [law for law in self._laws if (law.number, law.name) == (broken.number, broken.name)]
        return Shrinker(finding, partial(judged, same))

    def _exploration(self, seconds: float, shrinker: Shrinker | None) -> Exploration:
        finding = None if shrinker is None else shrinker.best
        every = self._exhaustive
        return Exploration(
            seed=self._seed,
            schedules=len(self._durations),
            seconds=seconds,
            distinct=len(self._chosen),
            durations=Spread.of(self._durations),
            endings={how: self._endings[how] for how in _ENDINGS if self._endings[how]},
            edges=self._tally.coverage(self._reachable),
            explored=self.doubts.explored,
            refusal=self.doubts.refusal,
            exhaustive=None if every is None else every.deviations,
            exhausted=every is not None and every.exhausted,
            complete=every is not None and every.complete,
            pruned=0 if every is None else every.pruned,
            failure=None if finding is None else finding.trace,
            broken=None if finding is None else finding.broken,
            case=None if finding is None else finding.case,
            shrunk_by=0 if shrinker is None else shrinker.tried,
        )


def _ending(trace: Trace, run_id: str) -> str:
    result = trace.results.get(run_id)
    return NOT_ENDED if result is None else result.status.value


def _release(trace: Trace) -> None:
    """Break a trace's reference cycles: collecting them would take as long as the laws do."""
    lives: Lives | None = vars(trace).pop("lives", None)
    if lives is not None:
        lives.dissolve()


def judged(laws: Iterable[Law], trace: Trace) -> LawBroken | None:
    """Return the error of the first law that a trace breaks, or None."""
    try:
        all_laws.check(trace, laws)
    except LawBroken as broken:
        return broken
    return None


def _check(schedules: object, seconds: object) -> None:
    check_whole(schedules, "schedules", 1)
    if seconds is not None and not (is_finite(seconds) and seconds > 0):
        raise DefinitionError(None, f"seconds is {seconds!r}", "Give a number above 0, or None")


_TIMES: Final = 3


def doubt(finding: Finding, judge: Judge) -> str:
    """Return why a failure is doubtful, or an empty string if it comes again every time.

    Args:
        finding: The failure.
        judge: Says whether a trace breaks the same law.
    """
    case, first = finding.case, finding.trace
    for _ in range(_TIMES):
        again = case.simulate(first.tape)
        if again.hash != first.hash:
            return f"the same tape gave {first_difference(first, again)}"
        if judge(again) is None:
            return "the same tape gave the same trace again, but the law found nothing"
    return ""

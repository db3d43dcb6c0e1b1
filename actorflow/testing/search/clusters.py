"""Scenarios with several orchestrators, and how they are made up."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.storage import KeyInUse, StoreUnavailable
from actorflow.model.schedules import MISSED, OVERLAPS
from actorflow.testing.cluster.cluster import Cluster
from actorflow.testing.errors import NotNow
from actorflow.testing.search.drawing import draw_scenario
from actorflow.testing.search.posting import end_what_waits, post
from actorflow.testing.search.scenarios import WAITS, Scenario, ScenarioRun
from actorflow.testing.simulation.settings import Faults, Sparse

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow.model.schedules import Missed, Overlap
    from actorflow.model.terms import OnConflict
    from actorflow.testing.search.cases import Watch
    from actorflow.testing.search.edits import Edit
    from actorflow.testing.search.scenarios import ScenarioStep
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["ClusterRun", "ClusterScenario", "ScenarioSchedule", "draw_cluster"]

_AGAIN: Final = 1.0
"""Seconds after which a caller tries again at the next orchestrator."""
_MOST_TRIES: Final = 100
_MOST_TIME: Final = 300.0
_PATIENCE: Final = 60.0
"""The moment from which on the runs are cancelled that may wait for ever."""
_SCHEDULE: Final = "every so often"
_USUAL_STEPS: Final = 4

_CONFLICTS: Final[tuple[OnConflict, ...]] = (
    "return",
    "reject",
    "queue",
    "replace_queued",
    "cancel_running",
)
_MESSAGES: Final = ((1.0, 5.0), (0.0, 2.0), (3.0, 3.0, 12.0), (8.0, 20.0), (1.0,), ())
"""When runs are sent messages whose steps wait for some."""
_ENDLESS: Final = frozenset({"hangs", "holds on", "does anything"})
"""What an attempt may do that only a timeout ends."""


@attrs.frozen(kw_only=True, repr=False)
class ClusterRun(ScenarioRun):
    """One run of a scenario with several orchestrators. Times are virtual seconds.

    It is cancelled through the orchestrator after the one that it is started in, and sent its first
    message through that one, the others each through the next. A caller that cannot start it or
    send a message tries the next orchestrator a second later. `grace` and `resumes` do nothing.
    """

    door: int = 0
    """The orchestrator that it is started in."""
    enqueued: bool = False
    """Whether any orchestrator may take it."""
    key: str | None = None
    on_conflict: OnConflict = "return"
    debounce: float | None = None
    delay: float | None = None


@attrs.frozen(kw_only=True, repr=False)
class ScenarioSchedule(Sparse):
    """A schedule that starts runs of a scenario's workflow."""

    every: float = 5.0
    overlap: Overlap = "skip"
    missed: Missed = "latest"
    catch_up: float = 30.0
    until: float = 12.0
    """The virtual moment at which it is halted for good."""
    doors: int = 1
    """How many orchestrators make it, one after the other."""


@attrs.frozen(kw_only=True, repr=False, slots=False)
class ClusterScenario(Scenario):
    """A workflow, its runs, and the orchestrators that share them.

    Example:
        >>> from actorflow.testing import ClusterRun, ClusterScenario, ScenarioStep
        >>> scenario = ClusterScenario(steps=(ScenarioStep(id="a"),), runs=(ClusterRun(door=1),))
        >>> trace = scenario.simulate()
        >>> [one.by.owner for one in trace.sharing.events["run-1"]][-1]
        '1.1'
    """

    runs: tuple[ClusterRun, ...] = (ClusterRun(),)
    orchestrators: int = 2
    lease: float = 6.0
    server_clock: bool = False
    one_host: bool = False
    schedule: ScenarioSchedule | None = None

    def simulate(self, source: Source = None, watch: Watch | None = None) -> Trace:
        """Simulate it on one schedule; see `Scenario.simulate`."""
        settings = self.settings
        with Cluster(
            self.orchestrators,
            tape=source,
            lease=self.lease,
            server_clock=self.server_clock,
            one_host=self.one_host,
            async_workers=settings.async_workers,
            max_active_runs=settings.max_active_runs,
            stop_grace=settings.stop_grace,
            ageing=settings.ageing,
            max_takeovers=settings.max_takeovers,
            evict_after=settings.evict_after,
            faults=settings.faults,
            race=settings.race,
            max_time=_MOST_TIME * (3 if self.child else 1),  # families are long
        ) as cluster:
            if watch is not None:
                watch(cluster)  # type: ignore[arg-type] # it has the parts that watchers use
            self._prepare(cluster)
            if self._may_wait:
                cluster.run_until_quiet(_PATIENCE)
                end_what_waits(cluster)
            return cluster.conclude()

    @property
    def _may_wait(self) -> bool:
        """Whether a run may wait for a message that nobody sends."""
        return any(map(_waits_for_ever, self.steps))

    def _prepare(self, cluster: Cluster) -> None:
        cluster.register(self.flow, self.script)
        if self.schedule is not None:
            for door in range(self.schedule.doors):
                cluster.call_at(float(door), self._make_schedule, cluster, self.schedule, door)
            cluster.call_at(self.schedule.until, self._stop, cluster)
        for number, run in enumerate(self.runs):
            cluster.call_at(run.at, self._enter, cluster, run, number, run.door)

    def _make_schedule(self, cluster: Cluster, made: ScenarioSchedule, door: int) -> None:
        options: Any = {
            name: getattr(made, name) for name in ("every", "overlap", "missed", "catch_up")
        }
        door %= self.orchestrators
        try:
            cluster.schedule(_SCHEDULE, self.flow, orchestrator=door, **options)
        except (NotNow, StoreUnavailable):
            moment = cluster.now + _AGAIN
            if moment < made.until:
                cluster.call_at(moment, self._make_schedule, cluster, made, door + 1)

    def _stop(self, cluster: Cluster) -> None:
        if _SCHEDULE in cluster.made:
            cluster.stop_schedule(_SCHEDULE)

    def _enter(
        self, cluster: Cluster, run: ClusterRun, number: int, door: int, tries: int = 0
    ) -> None:
        """Start a run at a door, or at the next one a second later."""
        enter = cluster.enqueue if run.enqueued else cluster.start
        options: Any = {"priority": run.priority, "timeout": run.timeout, "delay": run.delay}
        if run.key is not None:
            options |= {"key": run.key, "debounce": run.debounce}
            options |= {} if run.debounce is not None else {"on_conflict": run.on_conflict}
        given = {name: value for name, value in options.items() if value is not None}
        metadata = {"request": number}
        try:
            run_id = enter(
                self.flow,
                orchestrator=door % self.orchestrators,
                metadata=metadata,
                **given,
            )
        except (NotNow, StoreUnavailable):
            if tries < _MOST_TRIES:
                again = functools.partial(self._enter, tries=tries + 1)
                cluster.call_at(cluster.now + _AGAIN, again, cluster, run, number, door + 1)
        except KeyInUse:
            pass  # the caller is told so
        else:
            for seconds in run.cancels:
                moment = cluster.now + seconds
                cluster.call_at(moment, self._cancel, cluster, run_id, door + 1, run)
            post(cluster, run_id, run, door)

    def _cancel(self, cluster: Cluster, run_id: str, door: int, run: ClusterRun) -> None:
        door %= self.orchestrators
        with contextlib.suppress(ActorflowError):  # the caller is told so
            cluster.cancel(run_id, orchestrator=door, compensate=run.undone)

    def edits(self) -> Iterator[Edit]:
        """Yield the edits that would make it smaller, the most drastic first."""
        yield from super().edits()
        yield _fewer_orchestrators
        for name in ("schedule", "one_host", "server_clock", "lease"):
            yield functools.partial(_reset, name)
        for index in range(len(self.runs)):
            for name in _OF_A_RUN:
                yield functools.partial(_with_run, index, name)


_OF_A_RUN: Final = ("delay", "debounce", "on_conflict", "key", "enqueued", "door")


def _reset(name: str, value: Any) -> Any:
    return attrs.evolve(value, **{name: getattr(attrs.fields(type(value)), name).default})


def _fewer_orchestrators(scenario: ClusterScenario) -> ClusterScenario:
    return attrs.evolve(scenario, orchestrators=max(1, scenario.orchestrators - 1))


def _with_run(index: int, name: str, scenario: ClusterScenario) -> ClusterScenario:
    runs = tuple(_reset(name, run) if at == index else run for at, run in enumerate(scenario.runs))
    return attrs.evolve(scenario, runs=runs)


# ── Made up ──────────────────────────────────────────────────────────────────────────────────


def draw_cluster(
    random: random.Random, orchestrators: int = 3, max_steps: int = _USUAL_STEPS
) -> ClusterScenario:
    """Return a random scenario with two or more orchestrators, at most as many as given."""
    drawn = draw_scenario(random, min(max_steps, _USUAL_STEPS))
    pick = random.choice
    count = pick((2, orchestrators)) if orchestrators > 1 else 1
    keyed = pick((False, False, True))
    steps = tuple(map(_ending, drawn.steps[:_USUAL_STEPS]))
    waits = any(wait.message for step in steps for wait in WAITS[step.waits_here])
    scenario = ClusterScenario(
        steps=steps,
        runs=tuple(
            _shared(random, run, count, keyed=keyed, waits=waits)
            for run in (drawn.runs * 2 if keyed else drawn.runs)[:_USUAL_STEPS]
        ),
        fail_fast=drawn.fail_fast,
        order=drawn.order,
        settings=attrs.evolve(
            drawn.settings,
            faults=_faults(random),
            max_active_runs=pick((100, 100, 100, 2)),
            max_takeovers=pick((10, 10, 10, 1)),
            evict_after=pick((None, 1.0, 3.0)) if waits else None,
        ),
        orchestrators=count,
        server_clock=pick((False, False, True)),
        one_host=pick((False, True)),
        schedule=_drawn_schedule(random) if pick((False, False, False, True)) else None,
    )
    return _with_family(random, scenario, drawn.child) if drawn.child else scenario


def _with_family(
    random: random.Random, scenario: ClusterScenario, child: tuple[ScenarioStep, ...]
) -> ClusterScenario:
    """Return a scenario whose steps may have children; few, because each is a run to simulate."""
    pick = random.choice
    if pick((False, False, True)):
        return scenario
    # Children of children are few, and not started again and again.
    calmer: dict[str, Any] = (
        {"children": "none"} if pick((True, True, True, False)) else {"retry": "never"}
    )
    child = tuple(attrs.evolve(one, **calmer) for one in child)
    steps = tuple(map(_ending, child[: pick((1, 1, 2))]))
    return attrs.evolve(scenario, child=steps, runs=scenario.runs[:2], schedule=None)


def _ending(step: ScenarioStep) -> ScenarioStep:
    """Return a step whose attempts and whose compensator end, as no person ends them here.

    A run whose step waits for a message is cancelled in the end, which leaves compensators alone.
    """
    if step.undo and _waits_for_ever(step):
        step = attrs.evolve(step, waits="for a message, briefly")
    if step.timeout is None:
        deeds = tuple("returns" if deed in _ENDLESS else deed for deed in step.does)
        step = attrs.evolve(step, does=deeds)
    undo = tuple("returns" if deed in _ENDLESS else deed for deed in step.undo)
    return attrs.evolve(step, undo=undo)


def _waits_for_ever(step: ScenarioStep) -> bool:
    """Return whether an attempt may wait for a message without a timeout."""
    return any(it.message is not None and it.seconds is None for it in WAITS[step.waits_here])


def _shared(
    random: random.Random, run: ScenarioRun, count: int, *, keyed: bool, waits: bool
) -> ClusterRun:
    pick = random.choice
    debounced = keyed and pick((False, False, True))
    return ClusterRun(
        at=pick((0.0, 0.0, 1.0, 2.0, 6.0)),
        priority=run.priority,
        timeout=run.timeout,
        cancels=run.cancels,
        undone=run.undone,
        door=random.randrange(count),
        enqueued=pick((False, False, True)),
        key="key" if keyed else None,
        on_conflict=pick(_CONFLICTS) if keyed else "return",
        debounce=pick((1.0, 3.0)) if debounced else None,
        delay=None if debounced else pick((None, None, None, 2.0)),
        messages=pick(_MESSAGES) if waits else (),
        sent_again=waits and pick((False, False, True)),
    )


def _faults(random: random.Random) -> Faults:
    pick, some = random.choice, (0, 0, 1)
    if pick((False, False, True)):  # one kind alone, which combines with nothing else
        alone = pick(("restarts", "handovers", "halts", "partitions", "lost_signals", "pauses"))
        return Faults(**{alone: pick((1, 2))})
    return Faults(
        restarts=pick((0, 0, 1, 2)),
        handovers=pick(some),
        halts=pick(some),
        partitions=pick(some),
        clock_steps=pick(some),
        cancels=pick(some),
        pauses=pick((0, 0, 0, 1)),
        lost_signals=pick(some),
        late_signals=pick(some),
        meanwhile=pick((0, 0, 1, 2)),
        store_stalls=pick((0, 0, 0, 1)),
        crashes=pick((0, 0, 0, 1)),
        duplicates=pick((0, 0, 0, 1)),
        delays=pick((0, 0, 0, 1)),
    )


def _drawn_schedule(random: random.Random) -> ScenarioSchedule:
    pick = random.choice
    return ScenarioSchedule(
        every=pick((5.0, 3.0)),
        overlap=pick(OVERLAPS),
        missed=pick(MISSED),
        catch_up=pick((30.0, 30.0, 4.0)),
        doors=pick((1, 1, 2)),
    )

"""What `order="critical_path"` saves: the length of whole runs, in virtual time.

Graphs in the shapes of scientific workflows, whose steps take known times, run in a simulation with
each order. Nothing is measured with a clock, so the figures are the same on every machine. With
`--wfcommons DIR`, recorded workflows are run instead: files in the format of WfCommons 1.5, such as
those of github.com/wfcommons/WfInstances.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Literal

import attrs

from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.testing import Script, returns, simulate
from benchmarks.options import Options
from benchmarks.report import Record, Table

__all__ = ["SHAPES", "Job", "Task", "makespan", "makespans", "read_wfcommons"]

WORKERS = (4, 8, 16, 32, 64)
TASKS = 400
SEED = 12
SHORTEST = 0.001
"""Seconds of a recorded task that took no time, because an expected duration must be positive."""
RECORDED = range(100, 1_001)
"""The numbers of tasks of the recorded workflows that are run."""

Seconds = Mapping[str, float]


@attrs.frozen(kw_only=True)
class Task:
    """A step that takes a known time."""

    id: str
    after: tuple[str, ...]
    seconds: float


@attrs.frozen(kw_only=True)
class Job:
    """A graph of tasks."""

    name: str
    tasks: tuple[Task, ...]

    @property
    def bound(self) -> Callable[[int], float]:
        """A function that returns the seconds below which no order can be, for some workers."""
        ways: dict[str, float] = {}
        left = {task.id: task for task in self.tasks}
        while left:
            for task in list(left.values()):
                if not any(name in left for name in task.after):
                    longest = max((ways[name] for name in task.after), default=0.0)
                    ways[task.id] = longest + left.pop(task.id).seconds
        path, work = max(ways.values()), sum(task.seconds for task in self.tasks)
        return lambda workers: max(path, work / workers)


async def makespans(options: Options) -> Table:
    """Return how much shorter runs are by critical path, for each kind of workflow."""
    # A simulation runs an event loop, so none may run around it.
    return await asyncio.to_thread(_measured, options)


def _measured(options: Options) -> Table:
    if options.wfcommons is None:
        jobs = [shape(TASKS // options.shrink, random.Random(SEED)) for shape in SHAPES]
    else:
        jobs = list(read_wfcommons(options.wfcommons))
    kinds: dict[str, list[_Spans]] = {}
    for job in jobs:
        for workers in WORKERS:
            kinds.setdefault(job.name, []).append(_spans(job, workers))
    records = [_record(name, spans) for name, spans in kinds.items()]
    if len(records) > 1:
        records.append(_record("all", [one for spans in kinds.values() for one in spans]))
    return Table(
        section="makespan",
        title=f"How much shorter a run is by critical path, with {_listed(WORKERS)} workers",
        records=records,
        note=_NOTE,
    )


_NOTE = (
    "over bound: the mean run beside the longer of its critical path and its work per worker.\n"
    "saved: of the run by readiness; with expected durations, with ones that are wrong by up to a\n"
    "factor of 2, and without any (each step then counts 1 second)."
)


def _listed(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class _Spans:
    """The makespans of one job with one number of workers, in seconds."""

    tasks: int
    bound: float
    readiness: float
    path: float
    guessed: float
    unknown: float


def _spans(job: Job, workers: int) -> _Spans:
    exact = {task.id: task.seconds for task in job.tasks}
    chance = random.Random(SEED)
    guesses = {name: seconds * 2 ** chance.uniform(-1, 1) for name, seconds in exact.items()}
    return _Spans(
        tasks=len(job.tasks),
        bound=job.bound(workers),
        readiness=makespan(job, workers, "readiness", {}),
        path=makespan(job, workers, "critical_path", exact),
        guessed=makespan(job, workers, "critical_path", guesses),
        unknown=makespan(job, workers, "critical_path", {}),
    )


def makespan(
    job: Job, workers: int, order: Literal["readiness", "critical_path"], expected: Seconds
) -> float:
    """Return the seconds that a job takes, in virtual time."""
    flow = Workflow("makespan", order=order)
    for task in job.tasks:
        seconds = expected.get(task.id)
        flow.add(Step(task.id, _nothing, after=task.after, async_=True, expected=seconds))
    script = Script({task.id: returns(after=task.seconds) for task in job.tasks})
    length = simulate(flow, script=script, async_workers=workers).result.duration
    assert length is not None
    return length


def _nothing() -> None:
    """Stand in for a task; never called."""


def _record(name: str, spans: Sequence[_Spans]) -> Record:
    saved = [_saved(one, one.path) for one in spans]
    return {
        "workflow": name,
        "tasks": round(mean(one.tasks for one in spans)),
        "runs": len(spans),
        "over bound": mean(one.readiness / one.bound for one in spans),
        "by path": mean(one.path / one.bound for one in spans),
        "saved %": mean(saved),
        "best %": max(saved),
        "worst %": min(saved),
        "guessed %": mean(_saved(one, one.guessed) for one in spans),
        "unknown %": mean(_saved(one, one.unknown) for one in spans),
    }


def _saved(spans: _Spans, length: float) -> float:
    return 100 * (1 - length / spans.readiness)


# ── Generated graphs ─────────────────────────────────────────────────────────────────────────


class _Graph:
    """Collects tasks; times are lognormal, as those of recorded workflows are, about."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.tasks: list[Task] = []

    def add(self, kind: str, seconds: float, *after: str, spread: float = 0.5) -> str:
        name = f"{kind}{len(self.tasks)}"
        took = seconds * self._chance.lognormvariate(0, spread)
        self.tasks.append(Task(id=name, after=tuple(dict.fromkeys(after)), seconds=took))
        return name


def _mosaic(tasks: int, chance: random.Random) -> Job:
    """Like Montage: images, overlaps of neighbours, one fit, corrections, one mosaic."""
    graph, images = _Graph(chance), max(2, tasks // 4)
    shown = [graph.add("project", 10) for _ in range(images)]
    pairs = [(n, chance.randrange(images)) for n in range(images) for _ in range(2)]
    overlaps = [graph.add("diff", 2, shown[one], shown[other]) for one, other in pairs]
    model = graph.add("fit", 30, *overlaps)
    flat = [graph.add("background", 3, model, image) for image in shown]
    graph.add("mosaic", 60, *flat)
    return Job(name="mosaic", tasks=tuple(graph.tasks))


def _pipelines(tasks: int, chance: random.Random) -> Job:
    """Like Epigenomics: lanes of unequal length between a split and a merge."""
    graph = _Graph(chance)
    split, ends = graph.add("split", 5), []
    while len(graph.tasks) < tasks - 1:
        last = split
        for _ in range(chance.choice((2, 4, 4, 8))):
            last = graph.add("stage", 10, last, spread=1.0)
        ends.append(last)
    graph.add("merge", 20, *ends)
    return Job(name="pipelines", tasks=tuple(graph.tasks))


def _chromosomes(tasks: int, chance: random.Random) -> Job:
    """Like 1000Genome: groups that end in a merge, and analyses of each; all independent."""
    graph = _Graph(chance)
    while len(graph.tasks) < tasks:
        parts = [graph.add("part", 50) for _ in range(chance.choice((5, 10, 25)))]
        merged = graph.add("merge", 20, *parts)
        sifted = graph.add("sift", 5)
        for _ in range(7):
            graph.add("overlap", 40, merged, sifted)
            graph.add("frequency", 80, merged, sifted)
    return Job(name="chromosomes", tasks=tuple(graph.tasks))


def _samples(tasks: int, chance: random.Random) -> Job:
    """Like SoyKB: chains of alignment for each sample, merged, then many small ones and a few."""
    graph, callings = _Graph(chance), []
    while len(graph.tasks) < tasks * 3 // 4:
        last = graph.add("align", 30, spread=1.0)
        for _ in range(4):
            last = graph.add("clean", 5, last)
        callings += [graph.add("call", 10, last) for _ in range(3)]
    merged = graph.add("combine", 60, *callings)
    for _ in range(tasks // 4):
        graph.add("filter", 5, merged)
    return Job(name="samples", tasks=tuple(graph.tasks))


def _mesh(tasks: int, chance: random.Random) -> Job:
    """A random graph: each task waits for up to three of the fifty before it."""
    graph, names = _Graph(chance), list[str]()
    for _ in range(tasks):
        before = names[-50:]
        after = chance.sample(before, min(len(before), chance.randrange(4)))
        names.append(graph.add("task", 10, *after, spread=1.0))
    return Job(name="mesh", tasks=tuple(graph.tasks))


SHAPES: Sequence[Callable[[int, random.Random], Job]] = (
    _mosaic,
    _pipelines,
    _chromosomes,
    _samples,
    _mesh,
)
"""Each returns a job of about so many tasks."""


# ── Recorded workflows ───────────────────────────────────────────────────────────────────────


def read_wfcommons(directory: Path) -> Iterator[Job]:
    """Yield the recorded workflows of a directory that have 100 to 1,000 tasks."""
    for path in sorted(directory.rglob("*.json")):
        workflow = json.loads(path.read_text()).get("workflow", {})
        tasks = workflow.get("specification", {}).get("tasks", ())
        if len(tasks) in RECORDED:
            took = {one["id"]: one["runtimeInSeconds"] for one in workflow["execution"]["tasks"]}
            yield Job(
                name=path.name.partition("-")[0],
                tasks=tuple(
                    Task(
                        id=one["id"],
                        after=tuple(one["parents"]),
                        seconds=max(SHORTEST, took[one["id"]]),
                    )
                    for one in tasks
                ),
            )

"""The benchmarks compare like with like: the same graphs, the same outputs, in turns."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from actorflow.orchestrator import Orchestrator
from benchmarks import door
from benchmarks.__main__ import main
from benchmarks.bytecodes import counting, slope_of
from benchmarks.contenders import Contender, actorflow, actorflow_from_outside, floor, workflow_of
from benchmarks.floors import asyncio_floor
from benchmarks.imports import STATEMENTS, imports
from benchmarks.lesson import by_hand, expected_output, lesson_flow
from benchmarks.makespan import SHAPES, Job, Task, makespan, makespans, read_wfcommons
from benchmarks.measure import interleaved
from benchmarks.options import Options
from benchmarks.peers import PEERS
from benchmarks.schedules import PEERS as SIMULATORS
from benchmarks.schedules import schedules
from benchmarks.workloads import (
    BODIES,
    RETURNS,
    THREAD,
    Body,
    Inputs,
    Node,
    Outputs,
    Workload,
    chain,
    fan,
    layers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

WORKERS = 3
UNEVEN = Workload(
    name="uneven-4",
    nodes=(
        Node(id="a", after=(), number=1),
        Node(id="b", after=("a",), number=2),
        Node(id="c", after=("b",), number=3),
        Node(id="d", after=("a", "c"), number=4),
    ),
)
WORKLOADS = [fan(30), chain(30), layers(40, width=8), UNEVEN]
EVERY_WORKLOAD = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each.name)
EVERY_BODY = pytest.mark.parametrize("body", BODIES, ids=lambda each: each.name)
BOTH_SYNC_STEPS = pytest.mark.parametrize("threads", [True, False], ids=["threads", "coroutines"])


def _one_after_the_other(workload: Workload) -> Outputs:
    outputs: Outputs = {}
    for node in workload.nodes:
        outputs[node.id] = THREAD.make(node)({name: outputs[name] for name in node.after})
    return outputs


def _outputs_of(contender: Contender) -> Outputs:
    async def run_once() -> Outputs:
        async with contender.opened() as run:
            return await run()

    return asyncio.run(run_once())


@EVERY_WORKLOAD
@EVERY_BODY
@pytest.mark.parametrize("contender", [floor, actorflow, actorflow_from_outside])
def test_everyone_computes_what_running_the_nodes_in_order_does(
    workload: Workload, body: Body, contender: Callable[[Workload, Body, int], Contender]
):
    """The floors and actorflow return every output of every workload, and the right one."""
    expected = _one_after_the_other(workload)

    assert expected == _outputs_of(contender(workload, body, WORKERS))


@EVERY_BODY
def test_a_body_adds_the_outputs_of_its_dependencies_to_its_own_number(body: Body):
    """An output that reaches the wrong step changes the outputs of the run."""
    expected = {"a": 1, "b": 3, "c": 6, "d": 11}

    assert expected == _outputs_of(floor(UNEVEN, body, WORKERS))


@EVERY_WORKLOAD
@pytest.mark.parametrize("package", PEERS)
def test_the_peers_that_are_installed_compute_the_same(workload: Workload, package: str):
    """A peer that is measured does the whole job."""
    pytest.importorskip(package)
    expected = _one_after_the_other(workload)

    assert expected == _outputs_of(PEERS[package](workload, WORKERS))


@EVERY_WORKLOAD
def test_a_graph_has_the_size_in_its_name_and_dependencies_first(workload: Workload):
    """A workload is what its name says, and no node waits for a later one."""
    seen: set[str] = set()
    for node in workload.nodes:
        assert seen.issuperset(node.after), node.id
        seen.add(node.id)

    assert int(workload.name.rpartition("-")[2]) == len(seen)


def test_every_node_below_the_first_layer_has_three_different_dependencies():
    """The stride does not choose a dependency twice."""
    nodes = layers(300).nodes

    assert {0} == {len(node.after) for node in nodes[:100]}
    assert {3} == {len(set(node.after)) for node in nodes[100:]}


def test_the_asyncio_floor_runs_no_more_steps_at_once_than_it_has_workers():
    """The floor bounds its concurrency as an orchestrator does."""
    running: set[str] = set()
    most: list[int] = []

    def make(node: Node) -> Callable[[Inputs], Awaitable[int]]:
        async def body(inputs: Inputs) -> int:
            running.add(node.id)
            most.append(len(running))
            await asyncio.sleep(0)
            running.discard(node.id)
            return 0

        return body

    _outputs_of(floor(fan(30), Body(name="counting", make=make), WORKERS))

    assert max(most) == WORKERS


def test_the_asyncio_floor_raises_what_a_step_raises():
    """A failing step ends the hand-written loop, too."""

    async def fails(inputs: Inputs) -> int:
        raise LookupError("broken")

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(asyncio_floor({"a": (), "b": ("a",)}, {"a": fails, "b": fails}, WORKERS))

    assert raised.group_contains(LookupError, match="broken")


def test_the_thread_floor_raises_what_a_step_raises():
    """A failing step ends the hand-written loop over threads, too."""

    def fails(inputs: Inputs) -> int:
        if inputs:
            raise LookupError("broken")
        return 0

    def make(node: Node) -> Callable[[Inputs], int]:
        return fails

    failing = Body(name="failing", make=make, on_thread=True)

    with pytest.raises(LookupError, match="broken"):
        _outputs_of(floor(chain(3), failing, WORKERS))


@EVERY_BODY
def test_what_is_measured_carries_a_timeout_and_a_retry_policy_on_every_step(body: Body):
    """What is timed is actorflow with its promises on."""
    steps = workflow_of(layers(40, width=8), body).steps.values()

    assert {(30.0, 3, True)} == {
        (step.timeout, step.retry.max_attempts, step.async_) for step in steps
    }


def test_what_is_measured_leaves_its_events():
    """An orchestrator that is made as the benchmarks make it keeps every event of a run."""
    workload = layers(40, width=8)

    with Orchestrator(async_workers=WORKERS) as orchestrator:
        run = orchestrator.start(workflow_of(workload, RETURNS))
        events = list(run.events())

    completed = [event.step_id for event in events if event.kind == "step.completed"]
    assert list(range(1, len(events) + 1)) == [event.number for event in events]
    assert sorted(workload.after) == sorted(completed)


@BOTH_SYNC_STEPS
def test_the_lesson_by_hand_and_as_a_flow_have_one_output(*, threads: bool):
    """Both sides of the throughput figures do the same five steps."""
    expected = expected_output("here")

    with Orchestrator(async_workers=WORKERS) as orchestrator:
        output = orchestrator.run(lesson_flow(threads=threads), {"url": "here"}).output

    assert expected == output
    assert expected == asyncio.run(_by_hand("here", threads=threads))


async def _by_hand(url: str, *, threads: bool):
    return await by_hand(url, asyncio.Semaphore(WORKERS), threads=threads)


def _scripted(name: str, log: list[str], outputs: Outputs) -> Contender:
    workload = chain(10_000)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Callable[[], Awaitable[Outputs]]]:
        async def run() -> Outputs:
            log.append(name)
            return outputs

        yield run

    return Contender(name=name, workload=workload, body=RETURNS, opened=opened)


@pytest.fixture
def small(monkeypatch):
    """Samples of a tenth of the steps, and a hundredth of the ended runs."""
    monkeypatch.setattr("benchmarks.measure.STEPS_PER_SAMPLE", 1_000)
    monkeypatch.setattr("benchmarks.history.ENDED", 1_000)


@pytest.mark.slow
def test_contenders_take_turns_and_the_first_round_is_not_counted():
    """Whatever slows the machine for a while slows all of them."""
    log: list[str] = []
    contenders = [_scripted("a", log, {}), _scripted("b", log, {})]

    measured = asyncio.run(interleaved(contenders, samples=2))

    assert ["a", "b"] * 3 == log
    assert [2, 2] == [len(each.values) for each in measured]


def test_a_contender_with_other_outputs_is_not_measured():
    """A runtime that loses an output cannot look fast."""
    contenders = [_scripted("a", [], {"s0": 1}), _scripted("b", [], {"s0": 2})]

    with pytest.raises(AssertionError, match="b"):
        asyncio.run(interleaved(contenders, samples=1))


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["chain", "lesson"])
@pytest.mark.parametrize("side", ["floor", "actorflow"])
def test_the_bytecodes_of_a_step_are_the_same_in_every_process(side: str, shape: str):
    """A count that a busy machine changes cannot show one extra call."""
    first, second = [asyncio.run(slope_of(shape, "returns", side, WORKERS)) for _ in range(2)]

    assert first == second
    assert 0 < first["calls"] < first["instructions"]


def test_one_extra_call_is_counted():
    """Each frame that is entered or resumed counts once, and so does each of its instructions."""

    def callee():
        return None

    def calls(times: int):
        for _ in range(times):
            callee()

    counts = []
    for times in (1, 2, 3):
        with counting() as counted:
            calls(times)
        counts.append(counted)

    one, two, three = counts
    assert [1, 1] == [two.calls - one.calls, three.calls - two.calls]
    assert 0 < two.instructions - one.instructions == three.instructions - two.instructions


def test_only_the_thread_that_counts_is_counted():
    """What other threads run at the same time depends on the machine."""

    def many_instructions():
        return [None for _ in range(100_000)]

    other = Thread(target=many_instructions)
    with counting() as counted:
        other.start()
        other.join()

    assert 0 < counted.instructions < 100_000


def test_imports_are_timed_in_processes_of_their_own(monkeypatch):
    """Every statement runs, and the first one is what the others are compared with."""
    first, *_ = few = list(STATEMENTS)[:4]
    monkeypatch.setattr("benchmarks.imports.STATEMENTS", {name: STATEMENTS[name] for name in few})

    records = asyncio.run(imports(Options(samples=1))).records

    assert few == [record["what"] for record in records]
    assert [1.0] == [record["ratio"] for record in records if record["what"] == first]
    assert all(0 < record["processor"] and 0 < record["wall"] for record in records)


@pytest.mark.slow
def test_schedules_are_counted_for_everybody_in_turns():
    """Each of them tries as many, and keeps the laws where it is held to them."""
    table = asyncio.run(schedules(Options(samples=1, shrink=50)))

    ours = ["plain chance", "search", "search, all laws", "Hypothesis", "Hypothesis, all laws"]
    assert ours == [record["who"] for record in table.records][: len(ours)]
    assert all(0 < record["lowest"] <= record["schedules/s"] for record in table.records)
    named = table.note + " ".join(str(record["who"]) for record in table.records)
    assert all(peer in named for peer in SIMULATORS)


def test_a_makespan_is_that_of_the_order():
    """Two workers, and a long task behind short ones: by readiness it begins last."""
    tasks = [Task(id=f"short{n}", after=(), seconds=1.0) for n in range(4)]
    job = Job(name="late", tasks=(*tasks, Task(id="long", after=(), seconds=4.0)))
    expected = {task.id: task.seconds for task in job.tasks}

    assert 6.0 == makespan(job, 2, "readiness", expected)
    assert 4.0 == makespan(job, 2, "critical_path", expected) == job.bound(2)


def test_makespans_are_compared_for_each_shape():
    """No run is shorter than its bound, and no order is a different amount of work."""
    table = asyncio.run(makespans(Options(samples=1, shrink=20)))
    *shapes, everything = table.records

    assert len(SHAPES) == len({record["workflow"] for record in shapes})
    assert "all" == everything["workflow"]
    assert all(1 <= record["by path"] and 1 <= record["over bound"] for record in table.records)
    assert all(
        record["worst %"] <= record["saved %"] <= record["best %"] for record in table.records
    )


def test_recorded_workflows_are_read_if_their_size_fits(tmp_path):
    """Files in the format of WfCommons; others may lie beside them."""
    for name, size in [("wide-001", 100), ("tiny-001", 99)]:
        tasks = [{"id": f"t{n}", "parents": ["t0"] if n else []} for n in range(size)]
        took = [{"id": one["id"], "runtimeInSeconds": n} for n, one in enumerate(tasks)]
        workflow = {"specification": {"tasks": tasks}, "execution": {"tasks": took}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"workflow": workflow}))
    (tmp_path / "other.json").write_text("{}")

    (job,) = read_wfcommons(tmp_path)
    (record,) = asyncio.run(makespans(Options(samples=1, wfcommons=tmp_path))).records

    assert ("wide", 100) == (job.name, len(job.tasks))
    assert (("t0",), 99) == (job.tasks[99].after, job.tasks[99].seconds)
    assert 0 < job.tasks[0].seconds < 1
    assert ("wide", 100, 5) == (record["workflow"], record["tasks"], record["runs"])
    assert 0 < record["saved %"]


@pytest.mark.slow
def test_the_command_writes_its_figures_and_its_samples(tmp_path, capsys, small):
    """One command prints a table, and keeps it for other programs."""
    figures, samples = tmp_path / "figures.json", tmp_path / "samples.json"

    main(["--quick", "--only", "fan-100", "--json", str(figures), "--pyperf", str(samples)])

    rows = json.loads(figures.read_text())["figures"]["steps"]
    names = [each["metadata"]["name"] for each in json.loads(samples.read_text())["benchmarks"]]
    assert ["returns", "suspends", "thread"] == [row["body"] for row in rows]
    assert {"workload", "body", "steps", "floor", "actorflow", "ratio"} <= rows[0].keys()
    assert "steps/fan-100/returns/floor" in names
    assert "ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_durable_steps_are_measured_in_every_database(capsys, small):
    """Beside a loop that commits each step by itself, and among runs that have ended before."""
    main(["--quick", "--only", "durable"])

    printed = capsys.readouterr().out
    assert 5 == printed.count("SQLite, NORMAL ")
    assert 7 == printed.count("SQLite, FULL ")
    assert 7 == printed.count("PostgreSQL ")


@pytest.mark.slow
def test_waiting_runs_are_measured_by_their_number(capsys, monkeypatch):
    """All of them end, with few places and with many."""
    monkeypatch.setattr(door, "WAITING", (20, 40))
    main(["--quick", "--only", "door"])

    printed = capsys.readouterr().out
    assert 2 * len(door.PLACES) == len(re.findall(r"^ *[24]  ", printed, re.MULTILINE))


def test_a_name_that_nothing_has_is_refused(capsys):
    """A typing error does not measure something else."""
    with pytest.raises(SystemExit):
        main(["--only", "fan-7"])

    assert "expected one of" in capsys.readouterr().err

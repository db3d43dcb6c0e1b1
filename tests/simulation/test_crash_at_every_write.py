"""A crash at every single write of a run, and then the run goes on: on every state manager.

Nothing is left to chance here. A run is cut off at its first write, another one at its second, and
so on to the last; each time once before the write is made, and once when it is made and not
yet acknowledged. Then another orchestrator resumes it, and all laws hold for both of its lives.
"""

from __future__ import annotations

import collections
import contextlib
import random

import attrs
import pytest
import sqlalchemy as sa

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.scheduling.ledger import RunState
from actorflow.state import MemoryStateManager
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.schema import tables as schema
from actorflow.testing import Faults, Script, Simulation, Tape, laws, raises, returns
from actorflow.testing.contracts import told
from actorflow.testing.simulation.store import SimulatedStateManager
from tests.support import doctored_traces as doctored
from tests.support.brain import flow, nothing, step, task

pytestmark = pytest.mark.slow

RETRIED = RetryPolicy(max_attempts=2, jitter=0.0)
KEPT = {EventKind.STEP_COMPLETED, EventKind.STEP_SKIPPED}
UNDONE = {EventKind.COMPENSATION_COMPLETED, EventKind.COMPENSATION_FAILED}

# Twenty steps: a source, six branches of three that are joined, and their sum. Some run in turn,
# one is tried again, and one is skipped.
BRANCHES = range(6)
WORK = flow(
    task("source"),
    *[task(f"a{number}", "source") for number in BRANCHES],
    *[(step if number % 2 else task)(f"b{number}", f"a{number}") for number in BRANCHES],
    *[task(f"c{number}", f"b{number}", retry=RETRIED, required=number != 5) for number in BRANCHES],
    task("sum", *[f"c{number}" for number in BRANCHES]),
)
WORKS = Script({"c1": [raises(OSError("once")), returns()], "c5": raises(OSError("skipped"))})

# One that fails when much of it is done, and undoes that: eight steps, one of which is not undone
# at the first attempt, and one not at all.
UNDO = Step("undo", nothing, retry=RETRIED)
SAGA = flow(
    task("a", compensate=UNDO),
    *[task(f"b{number}", "a", compensate=UNDO) for number in range(5)],
    task("c", *[f"b{number}" for number in range(5)], compensate=UNDO),
    task("last", "c"),
)
FAILS = Script(
    {"last": raises(ValueError("no"))},
    compensators={"b1": [raises(OSError), returns()], "b2": raises(OSError)},
)

cases = pytest.mark.parametrize(
    ("work", "script"), [(WORK, WORKS), (SAGA, FAILS)], ids=["work", "undoing"]
)
moments = pytest.mark.parametrize("recorded", [False, True], ids=["before", "unacknowledged"])


# ── State managers ───────────────────────────────────────────────────────────────────────────


class Memory:
    """Runs in memory: what outlives a crash is the manager itself."""

    every = 1
    """Of how many pairs of crashes one is tried."""

    def clear(self):
        """Forget everything."""
        self.manager = MemoryStateManager()

    def open(self):
        """Return it."""
        return self.manager


class Database:
    """Runs in a database, which is opened again after each crash."""

    every = 15

    def __init__(self, url):
        self._url = url
        SQLStateManager(url, create=True).close()
        url = url.replace("postgresql", "postgresql+psycopg")
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool)

    def clear(self):
        """Empty the tables."""
        with self._engine.begin() as connection:
            for table in reversed(schema.metadata.sorted_tables):
                connection.execute(table.delete())

    def open(self):
        """Open it."""
        self.manager = SQLStateManager(self._url, synchronous="NORMAL")
        return self.manager


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql"])
def store(request, tmp_path_factory):
    """Each state manager in turn."""
    if request.param == "memory":
        return Memory()
    if request.param == "sqlite":
        return Database(f"sqlite:///{tmp_path_factory.mktemp('crashes')}/runs.db")
    return Database(request.getfixturevalue("postgresql").database())


# ── Crashes ──────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def begun(work, script, store=None, **options):
    """A run that has been accepted."""
    if store is not None:
        store.clear()
        options["state"] = store.open
    with Simulation(script=script, async_workers=3, **options) as simulation:
        simulation.start(work)
        yield simulation


def undisturbed(work, script):
    """How many writes a run takes when nothing happens to it, and how it ends."""
    with begun(work, script) as simulation:
        simulation.run_until_quiet()
        return simulation._runtime.state.writes, simulation.results["run-1"]


def crash_and_go_on(simulation, write, *, recorded):
    """Crash at a write, and let another orchestrator take over; return what had been recorded."""
    crashed = simulation.crash_at_write(write, recorded=recorded)
    if crashed and "run-1" not in simulation.results:  # nor is its end recorded
        simulation.resume("run-1")
    return simulation.trace().events


def check(simulation, events, expected, store):
    """Hold a run that has come to its end, after a crash, to all that was promised."""
    trace = simulation.trace()
    laws.check(trace)
    done = {event.step_id for event in events if event.kind in KEPT}
    undone = {event.step_id for event in events if event.kind in UNDONE}
    lost = max(count for count, _ in trace.crashes)
    again = {body.step_id for body in trace.attempts if body.begun > lost}
    undone_again = {body.step_id for body in trace.compensations if body.begun > lost}
    snapshot = store.manager.snapshot("run-1")

    assert set() == done & again
    assert set() == undone & undone_again
    assert {body.step_id for body in trace.attempts} == {*expected.steps}
    assert statuses(expected) == statuses(trace.result) == statuses(snapshot)
    assert expected.outputs == trace.result.outputs
    assert told(trace.events) == told(store.manager.events("run-1"))


def statuses(result):
    """What has become of a run, and of each of its steps."""
    return result.status, {step_id: one.status for step_id, one in result.steps.items()}


@moments
@cases
def test_a_run_outlives_a_crash_at_every_write(store, work, script, recorded):
    """What was recorded is not run again, what was not is, and it ends as if nothing had been."""
    writes, expected = undisturbed(work, script)

    for write in range(1, writes + 1):
        with begun(work, script, store) as simulation:
            events = crash_and_go_on(simulation, write, recorded=recorded)
            simulation.run_until_quiet()
            check(simulation, events, expected, store)


@moments
@cases
def test_a_run_outlives_a_second_crash_while_it_goes_on_after_the_first(
    store, work, script, recorded
):
    """At some write of its second life, for every write of its first, and the other way about."""
    writes, expected = undisturbed(work, script)
    pairs = [(first, 1 + (7 * first) % (writes - first + 1)) for first in range(1, writes)]
    pairs += [(1, second) for second in range(1, writes)]

    for first, second in pairs[:: store.every]:
        with begun(work, script, store) as simulation:
            crash_and_go_on(simulation, first, recorded=recorded)
            events = crash_and_go_on(simulation, second, recorded=not recorded)
            simulation.run_until_quiet()
            check(simulation, events, expected, store)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_outlives_a_crash_at_every_write_of_a_store_that_fails_and_stalls(seed):
    """Each time it is resumed it comes a step further, until it has completed."""
    writes, expected = undisturbed(WORK, WORKS)
    faults = Faults(store_failures=1, store_stalls=4, restarts=1)

    for write in range(1, writes + 1):
        chance = random.Random(100 * seed + write)
        with begun(WORK, WORKS, tape=chance, faults=faults) as simulation:
            crash_and_go_on(simulation, write, recorded=chance.random() < 0.5)
            simulation.run_until_quiet()
            while simulation.results["run-1"].status is not RunStatus.COMPLETED:
                simulation.resume("run-1")
                simulation.run_until_quiet()

            laws.check(simulation.trace())
            assert works(expected.outputs) == works(simulation.results["run-1"].outputs)


def works(outputs):
    """Outputs without the numbers of the attempts: one that was cut advances the next."""
    return {step_id: output.partition("#")[0] for step_id, output in outputs.items()}


# ── Families ─────────────────────────────────────────────────────────────────────────────────

# Three generations: a step runs two children, one of which has a child of its own, and then a step
# runs a third one. The last step fails, or does not.
LEAF = flow(task("sell", compensate=UNDO), id="leaf")
BRANCH = flow(task("ask", compensate=UNDO), task("serve", "ask"), id="branch")
PARENT = flow(
    task("open", compensate=UNDO), task("more", "open"), task("last", "more"), id="parent"
)
SERVES = Script({"serve": returns().running(LEAF)})
FAMILY = {
    "open": returns().running(BRANCH, script=SERVES).running(LEAF),
    "more": returns().running(LEAF),
}
KEEPS = Script(FAMILY)
UNDOES = Script({**FAMILY, "last": raises(ValueError("no"))})
MEMBERS = {"run-1", "run-1.open.1", "run-1.open.1.serve.1", "run-1.open.2", "run-1.more.1"}

families = pytest.mark.parametrize("script", [KEEPS, UNDOES], ids=["work", "undoing"])


def by_run(trace):
    """How each run of a family has ended, and how often each of its steps was done and undone."""
    counted = collections.Counter(
        (event.run_id, event.step_id, event.kind.value)
        for event in trace.events
        if event.kind in KEPT | UNDONE
    )
    return {run_id: trace.result_of(run_id).status.value for run_id in trace.runs}, counted


@moments
@families
def test_a_family_outlives_a_crash_at_every_write(store, script, recorded):
    """No child is started, done or undone twice, whichever of its generations was cut off."""
    with begun(PARENT, script) as simulation:
        simulation.run_until_quiet()
        writes, expected = simulation._runtime.state.writes, by_run(simulation.trace())

    assert MEMBERS == set(expected[0])
    for write in range(1, writes + 1):
        with begun(PARENT, script, store) as simulation:
            crash_and_go_on(simulation, write, recorded=recorded)
            simulation.run_until_quiet()
            trace = simulation.trace()
            laws.check(trace)

            assert expected == by_run(trace), write
            for run_id in MEMBERS:
                assert trace.result_of(run_id).status is store.manager.snapshot(run_id).status


@moments
@families
def test_a_family_outlives_a_second_crash(store, script, recorded):
    """While it goes on after the first one."""
    with begun(PARENT, script) as simulation:
        simulation.run_until_quiet()
        writes, expected = simulation._runtime.state.writes, by_run(simulation.trace())
    pairs = [(first, 1 + (7 * first) % (writes - first + 1)) for first in range(1, writes)]

    for first, second in pairs[:: store.every]:
        with begun(PARENT, script, store) as simulation:
            crash_and_go_on(simulation, first, recorded=recorded)
            crash_and_go_on(simulation, second, recorded=not recorded)
            simulation.run_until_quiet()
            trace = simulation.trace()
            laws.check(trace)

            assert expected == by_run(trace), (first, second)


# ── Planted faults ───────────────────────────────────────────────────────────────────────────


def undo_all_again(monkeypatch):
    """Undo all that was to be undone, whatever of it is recorded as done."""
    go_on = RunState._go_on_undoing

    def wrong(self, recorded):
        steps = {
            step_id: attrs.evolve(one, status=StepStatus.COMPLETED)
            if step_id in recorded.compensations
            else one
            for step_id, one in recorded.steps.items()
        }
        go_on(self, attrs.evolve(recorded, steps=steps))

    monkeypatch.setattr(RunState, "_go_on_undoing", wrong)


def run_all_again(monkeypatch):
    """Keep nothing."""
    monkeypatch.setattr(RunState, "_keep", lambda _self, _steps: None)


@pytest.mark.parametrize(
    ("plant", "work", "script"), [(undo_all_again, SAGA, FAILS), (run_all_again, WORK, WORKS)]
)
def test_a_planted_fault_is_found(monkeypatch, plant, work, script):
    """By the law of what outlives a crash."""
    writes, _ = undisturbed(work, script)
    plant(monkeypatch)
    broken = set()

    for write in range(1, writes + 1):
        with begun(work, script) as simulation:
            crash_and_go_on(simulation, write, recorded=True)
            simulation.run_until_quiet()
            broken |= {*doctored.broken(simulation.trace())}

    assert laws.records_outlive_crashes.number in broken


def test_a_write_of_a_former_life_is_found(monkeypatch):
    """By the law of owners: it was asked for before the run was resumed, and made afterwards."""
    crash, claim, dead = SimulatedStateManager.crash, SimulatedStateManager.claim, []

    def remember(store, lost):
        dead[:] = [one for one in store._waiting if all(event.step_id for event in one.events)]
        crash(store, lost)

    def make_all_the_same(store, run_id):
        for write in dead:
            store._system.call_at(store._system.time, store._make, write)
        return claim(store, run_id)

    monkeypatch.setattr(SimulatedStateManager, "crash", remember)
    monkeypatch.setattr(SimulatedStateManager, "claim", make_all_the_same)
    writes, _ = undisturbed(WORK, WORKS)
    broken = set()

    for write in range(2, writes + 1):
        tape = Tape({"store stalls": [write - 1], "stall for": [2]})
        with begun(WORK, WORKS, tape=tape, faults=Faults(store_stalls=1)) as simulation:
            crash_and_go_on(simulation, write, recorded=False)
            simulation.run_until_quiet()
            broken |= {*doctored.broken(simulation.trace())}

    assert laws.records_have_one_owner.number in broken

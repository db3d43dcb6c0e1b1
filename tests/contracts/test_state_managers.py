"""What every state manager promises: one suite, and each of them in turn.

To have another one held to it, add its maker to `MAKERS`.
"""

from __future__ import annotations

import sys
import threading

import attrs
import pytest
from hypothesis import given, settings

from actorflow.errors import RunNotFound
from actorflow.events import Event
from actorflow.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.results import RunRecord
from actorflow.state import MemoryStateManager
from actorflow.state.folding import fold
from actorflow.systems import SimulatedSystem
from actorflow.systems.mischief import Countdown
from actorflow.testing.store import SimulatedStateManager
from tests.actors.test_laws import Schedule, runs, tapes
from tests.deciding import EPOCH, Driver, record


def simulated():
    """The one of a simulation, in which nothing goes wrong."""
    return SimulatedStateManager(
        MemoryStateManager(), SimulatedSystem(plainest), plainest, fails=NEVER, stalls=NEVER
    )


def plainest(_options, _label):
    """Choose what is plainest."""
    return 0


NEVER = Countdown(plainest, "never", 0, lambda: 0)
MAKERS = {"memory": MemoryStateManager, "simulated": simulated}


@pytest.fixture(params=MAKERS)
def state(request):
    """A new state manager."""
    manager = MAKERS[request.param]()
    yield manager
    manager.close()


def accepted(run_id="run", **fields):
    """A run of one step, `a`, as it was accepted."""
    known = {
        "workflow_id": "flow",
        "workflow_version": "1.0.0",
        "step_ids": ("a",),
        "last_steps": ("a",),
        "inputs": {},
        "metadata": {},
        "priority": 0,
        "created_at": EPOCH,
        "trace_id": None,
        "correlation_id": None,
        "business_id": None,
    }
    return RunRecord(run_id=run_id, **(known | fields))


STARTED = (EventKind.RUN_STARTED, EventKind.STEP_READY, EventKind.STEP_STARTED)
COMPLETED = (*STARTED, EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED)
FAILED = (*STARTED, EventKind.STEP_FAILED, EventKind.RUN_FAILED)
DATA = {
    EventKind.STEP_COMPLETED: {"output": "of a"},
    EventKind.STEP_FAILED: {"error": ValueError("no")},
    EventKind.RUN_FAILED: {"error": ValueError("no"), "failed_step": "a"},
    EventKind.RUN_CANCELLED: {"reason": "enough"},
}


def happened(*kinds, run_id="run", after=0, time=EPOCH):
    """Events of these kinds, one second after the other."""
    events = []
    for number, kind in enumerate(kinds, after + 1):
        of_run = kind.value.startswith("run.")
        where = (None, None) if of_run else ("a", 1)
        events.append(Event(number, kind, run_id, *where, time + number, DATA.get(kind, {})))
    return events


class Commits:
    """Takes what a state manager says of its commits, from whatever thread."""

    def __init__(self):
        self.errors = []
        self._arrived = threading.Semaphore(0)

    def done(self, error):
        """Take word of one commit."""
        self.errors.append(error)
        self._arrived.release()

    def wait(self):
        """Wait for one."""
        assert self._arrived.acquire(timeout=30)


def write(state, events):
    """Record events, and wait until they are."""
    commits = Commits()
    if not state.record(events, commits.done):
        commits.wait()
        assert [None] == commits.errors


def test_an_accepted_run_is_pending(state):
    """It can be looked at before anything has happened."""
    state.create(accepted())

    snapshot = state.snapshot("run")
    assert RunStatus.PENDING is snapshot.status
    assert {"a": StepStatus.PENDING} == {name: one.status for name, one in snapshot.steps.items()}
    assert [] == list(state.events("run"))


def test_what_was_accepted_is_kept(state):
    """All that a run was started with."""
    fields = {
        "inputs": {"url": "x"},
        "metadata": {"who": "me"},
        "priority": 7,
        "trace_id": "t",
        "correlation_id": "c",
        "business_id": "b",
        "workflow_version": "2",
    }
    state.create(accepted(**fields))

    snapshot = state.snapshot("run")
    assert fields == {name: getattr(snapshot, name) for name in fields}
    assert EPOCH == snapshot.created_at


def test_a_snapshot_is_the_fold_of_what_was_recorded_at_any_instant(state):
    """After every single event."""
    state.create(accepted())
    events = happened(*COMPLETED)

    for number, event in enumerate(events, 1):
        write(state, [event])

        assert fold(accepted(), events[:number]) == state.snapshot("run")


def test_a_completed_run_has_its_outputs(state):
    """By step id, with the times between which it ran."""
    state.create(accepted())
    write(state, happened(*COMPLETED))

    snapshot = state.snapshot("run")
    assert RunStatus.COMPLETED is snapshot.status
    assert {"a": "of a"} == snapshot.outputs
    assert (EPOCH + 1, EPOCH + 5) == (snapshot.started_at, snapshot.finished_at)


def test_events_come_back_in_order_and_by_the_page(state):
    """`after` is a number, `limit` a number of events."""
    state.create(accepted())
    write(state, happened(*COMPLETED))

    assert [1, 2, 3, 4, 5] == [event.number for event in state.events("run")]
    assert [3, 4] == [event.number for event in state.events("run", after=2, limit=2)]
    assert [5] == [event.number for event in state.events("run", after=4, limit=9)]
    assert [] == list(state.events("run", after=5))
    assert [] == list(state.events("run", limit=0))


def test_events_of_several_runs_may_be_recorded_together(state):
    """Each goes to its own run."""
    state.create(accepted("one"))
    state.create(accepted("two"))

    write(state, [*happened(*STARTED, run_id="one"), *happened(*COMPLETED, run_id="two")])

    assert [3, 5] == [len(state.events(run_id)) for run_id in ("one", "two")]
    assert RunStatus.RUNNING is state.snapshot("one").status
    assert RunStatus.COMPLETED is state.snapshot("two").status


def test_what_was_read_does_not_change(state):
    """A snapshot and a page are values, not views."""
    state.create(accepted())
    write(state, happened(*STARTED))
    snapshot, events = state.snapshot("run"), state.events("run")

    write(state, happened(EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED, after=3))

    assert RunStatus.RUNNING is snapshot.status
    assert 3 == len(events)


@pytest.mark.parametrize("ask", ["snapshot", "events"])
def test_a_run_that_is_not_there_is_not_found(state, ask):
    """The error names it."""
    with pytest.raises(RunNotFound, match="'nobody'"):
        getattr(state, ask)("nobody")


def test_a_resumed_run_is_the_fold_of_both_its_lives(state):
    """The failure of the first is forgotten by the state, and kept by the events."""
    state.create(accepted())
    write(state, happened(*FAILED))
    write(state, happened(EventKind.RUN_RESUMED, *COMPLETED[1:], after=5))

    snapshot = state.snapshot("run")
    assert RunStatus.COMPLETED is snapshot.status
    assert (None, None) == (snapshot.error, snapshot.failed_step)
    assert 10 == len(state.events("run"))


@settings(max_examples=60)
@given(runs, tapes)
@pytest.mark.parametrize("maker", MAKERS)
def test_whatever_happened_folds_back_to_every_runs_result(maker, drawn, tape):
    """Runs of any shape, ended in any way; `tests.deciding` compares at each run's end."""
    driver, state = Driver(workers=2), MAKERS[maker]()
    for number, (workflow, priority, place) in enumerate(drawn):
        state.create(record(workflow.plan(), f"run {number}", priority=priority))
        driver.start(
            workflow,
            f"run {number}",
            priority=priority,
            executors=dict.fromkeys(workflow.steps, place),
        )
    Schedule(driver, tape).run()
    write(state, driver.events)

    for run_id, result in driver.results.items():
        snapshot = state.snapshot(run_id)
        assert driver.of(run_id) == list(state.events(run_id))
        assert (result.status, dict(result.outputs)) == (snapshot.status, dict(snapshot.outputs))
        assert dict(result.steps) == dict(snapshot.steps)
    state.close()


# ── Listing ──────────────────────────────────────────────────────────────────────────────────


def listed(state, **filters):
    """The ids of the runs that match."""
    return [run.run_id for run in state.list(**filters).runs]


def test_runs_are_listed_the_newest_first(state):
    """As they were accepted."""
    for number in range(3):
        state.create(accepted(f"r{number}", created_at=EPOCH + number))

    assert ["r2", "r1", "r0"] == listed(state)


def test_runs_accepted_in_the_same_instant_are_listed_by_id(state):
    """So that pages are stable whoever was written first."""
    for run_id in ("b", "a", "c"):
        state.create(accepted(run_id))

    assert ["a", "b", "c"] == listed(state)


def test_the_order_of_a_list_is_that_of_acceptance_and_not_of_writing(state):
    """Two threads that start runs may overtake each other."""
    state.create(accepted("later", created_at=EPOCH + 1))
    state.create(accepted("earlier", created_at=EPOCH))

    assert ["later", "earlier"] == listed(state)


def test_pages_do_not_overlap_and_leave_nothing_out(state):
    """Each says how many there are in all."""
    ids = [f"r{number:02}" for number in range(7)]
    for number, run_id in enumerate(ids):
        state.create(accepted(run_id, created_at=EPOCH + number))

    pages = [state.list(limit=3, offset=offset) for offset in (0, 3, 6, 9)]

    assert ids[::-1] == [run.run_id for page in pages for run in page.runs]
    assert [7, 7, 7, 7] == [page.total for page in pages]
    assert [3, 3, 1, 0] == [len(page.runs) for page in pages]


def test_a_page_of_nothing_still_counts(state):
    """A limit of nought asks for the total alone."""
    state.create(accepted())

    assert ([], 1) == (list(state.list(limit=0).runs), state.list(limit=0).total)


def test_a_list_holds_summaries(state):
    """Everything about a run but its steps."""
    state.create(accepted(trace_id="t"))
    write(state, happened(*FAILED))

    (summary,) = state.list().runs
    whole = state.snapshot("run")
    assert {} == dict(summary.steps)
    assert attrs.evolve(whole, steps=summary.steps) == summary


@pytest.mark.parametrize("name", ["workflow_id", "trace_id", "correlation_id", "business_id"])
def test_runs_are_found_by_their_ids(state, name):
    """By one, exactly."""
    state.create(accepted("mine", **{name: "x"}))
    state.create(accepted("other", **{name: "xy"}))

    assert ["mine"] == listed(state, **{name: "x"})
    assert 1 == state.list(**{name: "x"}).total


def test_runs_are_found_by_status(state):
    """By the one that they have now."""
    for run_id in ("pending", "running", "completed", "failed"):
        state.create(accepted(run_id))
    write(state, happened(*STARTED, run_id="running"))
    write(state, happened(*COMPLETED, run_id="completed"))
    write(state, happened(*FAILED, run_id="failed"))

    for status in ("pending", "running", "completed", "failed"):
        assert [status] == listed(state, status=RunStatus(status))
    assert [] == listed(state, status=RunStatus.CANCELLED)


def test_filters_hold_together(state):
    """A run has to match all of them."""
    state.create(accepted("a", workflow_id="w", trace_id="t"))
    state.create(accepted("b", workflow_id="w"))
    state.create(accepted("c", trace_id="t"))

    assert ["a"] == listed(state, workflow_id="w", trace_id="t", status=RunStatus.PENDING)


@pytest.mark.parametrize("hostile", ["' OR 1=1 --", "%", "_", "x' UNION SELECT 1"])
def test_a_filter_is_a_value_and_nothing_else(state, hostile):
    """Nothing in it is a pattern or a piece of a query."""
    state.create(accepted("mine", business_id=hostile))
    state.create(accepted("other", business_id="x"))

    assert ["mine"] == listed(state, business_id=hostile)


# ── Several threads ──────────────────────────────────────────────────────────────────────────


def test_readers_on_other_threads_see_whole_states(state):
    """Whatever instant they look at, they see the fold of some of the events, in order."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert [] == _torn_reads(state)
    finally:
        sys.setswitchinterval(interval)


def _torn_reads(state):
    runs = [f"r{number}" for number in range(40)]
    expected = {run_id: happened(*COMPLETED, run_id=run_id) for run_id in runs}
    over, wrong = threading.Event(), []

    def read():
        try:
            while not over.is_set():
                for run in state.list(limit=100).runs:
                    events = state.events(run.run_id)
                    if expected[run.run_id][: len(events)] != list(events):
                        wrong.append(events)
                    state.snapshot(run.run_id)
        except BaseException as error:  # noqa: BLE001 - told to the test, which is elsewhere
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for run_id in runs:
        state.create(accepted(run_id))
        for event in expected[run_id]:
            write(state, [event])
    over.set()
    for reader in readers:
        reader.join(30)
    return wrong

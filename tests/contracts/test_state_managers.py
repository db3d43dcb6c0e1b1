"""What every state manager promises: one suite, which is public, and each of them in turn."""

from __future__ import annotations

import shutil

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import InvalidAnswer
from actorflow.model.mail import MOST_MESSAGES
from actorflow.state import MemoryStateManager
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.schema import tables as schema
from actorflow.systems import SimulatedSystem
from actorflow.systems.simulated.mischief import Countdown
from actorflow.testing.contracts import (
    EvictsRunsContract,
    FindsRunsContract,
    FollowsRunsContract,
    KeepsMessagesContract,
    KeepsSchedulesContract,
    MeasuresStepsContract,
    PausesRunsContract,
    SharedStateManagerContract,
    StateManagerContract,
    accept,
    told,
    write,
)
from actorflow.testing.simulation.store import SimulatedStateManager
from tests.support.brain import Driver, record
from tests.support.brain_schedules import Schedule, runs, tapes


def plainest(_options, _label):
    """Choose what is plainest."""
    return 0


NEVER = Countdown(plainest, "never", 0, lambda: 0)


def fill(state, run_id):
    """Have a run be sent as many messages as it takes, in one transaction."""
    state.send_message(run_id, "go", None, "first", 0.0)
    row = {"run_id": run_id, "name": "go", "payload": "null", "sent_at": 0.0}
    rows = [row | {"number": number} for number in range(2, MOST_MESSAGES + 1)]
    with state._engines.writing.begin() as connection:
        connection.execute(sa.insert(schema.messages), rows)
        this = sa.update(schema.runs).where(schema.runs.c.run_id == run_id)
        connection.execute(this.values(last_message=MOST_MESSAGES))


class TestMemory(
    FindsRunsContract,
    KeepsMessagesContract,
    KeepsSchedulesContract,
    MeasuresStepsContract,
    PausesRunsContract,
    StateManagerContract,
):
    """Runs in memory."""

    def make_state(self):
        """Nothing is shared."""
        return MemoryStateManager()


class TestSimulated(StateManagerContract):
    """The one of a simulation, in which nothing goes wrong."""

    def make_state(self):
        """Nothing is chosen."""
        return SimulatedStateManager(
            MemoryStateManager, SimulatedSystem(plainest), plainest, fails=NEVER, stalls=NEVER
        )


class TestSQLite(
    FindsRunsContract,
    EvictsRunsContract,
    FollowsRunsContract,
    KeepsMessagesContract,
    KeepsSchedulesContract,
    MeasuresStepsContract,
    PausesRunsContract,
    SharedStateManagerContract,
):
    """Runs in a file."""

    @pytest.fixture(autouse=True)
    def _file(self, sqlite_tables, tmp_path):
        self.tables, self._path = sqlite_tables, tmp_path / "runs.db"

    def make_state(self):
        """Return a state manager on a new file."""
        shutil.copy(self.tables, self._path)
        return self.make_other()

    def make_other(self):
        """Return another state manager on the same file."""
        return SQLStateManager(f"sqlite:///{self._path}")

    def _fill(self, run_id):
        """Write the rows at once."""
        fill(self.state, run_id)


class TestPostgreSQL(
    FindsRunsContract,
    EvictsRunsContract,
    FollowsRunsContract,
    KeepsMessagesContract,
    KeepsSchedulesContract,
    MeasuresStepsContract,
    PausesRunsContract,
    SharedStateManagerContract,
):
    """Runs on a server."""

    @pytest.fixture(autouse=True)
    def _server(self, postgresql, postgresql_tables):
        self.server, self.tables = postgresql, postgresql_tables

    def make_state(self):
        """Return a state manager on a new database."""
        self._url = self.server.copy_of(self.tables)
        return self.make_other()

    def make_other(self):
        """Return another state manager on the same database."""
        return SQLStateManager(self._url)

    def _fill(self, run_id):
        """Write the rows at once."""
        fill(self.state, run_id)


# ── Runs of any shape ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql"])
def shared_state(request, tmp_path_factory):
    """A state manager for many examples: runs have names of their own in each."""
    if request.param == "memory":
        state = MemoryStateManager(max_runs=100_000, max_events=10_000_000)
    elif request.param == "sqlite":
        state = SQLStateManager(f"sqlite:///{tmp_path_factory.mktemp('any')}/runs.db", create=True)
    else:
        state = SQLStateManager(request.getfixturevalue("postgresql").database(), create=True)
    yield state
    state.close()


EXAMPLES = iter(range(1_000_000))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(runs, tapes)
def test_whatever_happened_folds_back_to_every_runs_result(shared_state, drawn, tape):
    """Runs of any shape, ended in any way; `tests.support.brain` compares at each run's end."""
    driver, state, example = Driver(workers=2), shared_state, next(EXAMPLES)
    for number, (workflow, priority, place) in enumerate(drawn):
        run_id = f"run {number}"
        accept(state, record(workflow.plan(), f"{example}, {run_id}", priority=priority))
        driver.start(
            workflow, run_id, priority=priority, executors=dict.fromkeys(workflow.steps, place)
        )
    Schedule(driver, tape).run()
    write(state, [event._replace(run_id=f"{example}, {event.run_id}") for event in driver.events])

    for run_id, result in driver.results.items():
        snapshot = state.snapshot(f"{example}, {run_id}")
        events = [it._replace(run_id=run_id) for it in state.events(f"{example}, {run_id}")]
        assert told(driver.of(run_id)) == told(events)
        assert (result.status, dict(result.outputs)) == (snapshot.status, dict(snapshot.outputs))
        assert told(dict(result.steps)) == told(dict(snapshot.steps))
        assert tuple(result.compensations) == snapshot.compensations


def test_what_a_state_manager_lacks_is_said_before_any_promise_is_tried():
    """All of it at once, and not as ninety errors of ninety tests."""

    class Unfinished(StateManagerContract):
        """An unfinished state manager's contract."""

        def make_state(self):
            """Return what has nothing of it."""
            return Countdown(plainest, "never", 0, lambda: 0)

    unfinished = Unfinished()
    with pytest.raises(DefinitionError, match=r"it has no create\(\), claim\(\), record\(\), snap"):
        unfinished.test_an_accepted_run_is_pending()
    unfinished.teardown_method()


class Silent(MemoryStateManager):
    """Forgets to return True."""

    def record(self, events, done):
        """Record them."""
        super().record(events, done)


class NeverDone(MemoryStateManager):
    """Promises to call `done`, and does not."""

    def create(self, record, done):
        """Remember a run."""
        super().create(record, done)
        return False


@pytest.mark.parametrize(
    ("state", "error", "complaint"),
    [
        (Silent, InvalidAnswer, r"record\(\) of the state manager returned None"),
        (
            NeverDone,
            AssertionError,
            r"create\(\) returned False, but did not call done within 0.1 s",
        ),
    ],
)
def test_a_commit_that_never_comes_is_said_soon(state, error, complaint):
    """An answer that is none at once, a missing call of `done` when the patience is at its end."""

    class Hasty(StateManagerContract):
        """The contract of a broken state manager."""

        patience = 0.1

        def make_state(self):
            """Return one."""
            return state()

    contract = Hasty()
    with pytest.raises(error, match=complaint):
        contract.test_a_completed_run_has_its_outputs()
    contract.teardown_method()


@pytest.mark.parametrize(
    ("bounds", "problem"),
    [
        ({"after": -1}, "after must be a whole number, 0 or more; got -1"),
        ({"after": "2"}, "after must be a whole number, 0 or more; got '2'"),
        ({"after": 2**63}, "after must be a whole number, 0 or more, of at most 64 bits; got 9"),
        ({"limit": -1}, "limit must be a whole number, 0 or more; got -1"),
        ({"limit": 1.5}, "limit must be a whole number, 0 or more; got 1.5"),
    ],
)
def test_bounds_of_a_page_of_events_that_make_no_sense_are_refused(shared_state, bounds, problem):
    """By every state manager, and before it looks for the run."""
    with pytest.raises(DefinitionError, match=problem):
        shared_state.events("no run", **bounds)

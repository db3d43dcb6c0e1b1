"""Runs that are enqueued in a transaction of the caller's."""

from __future__ import annotations

import contextlib
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from actorflow import Orchestrator, Workflow
from actorflow.errors.definition import DefinitionError, MissingInput, UnknownInput
from actorflow.errors.storage import NotStorable, RunNotFound
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD

# One of the steps is a closure, which tells the test what it sees.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")


def flow_of(body):
    """A workflow of one step."""
    flow = Workflow("welcome", metadata={"team": "a"})
    flow.step(body, id="mail")
    return flow


def mail(address):
    """Be a step with an input."""
    return f"sent to {address}"


FLOW = flow_of(mail)
INPUTS = {"address": "me@example.org"}
OPTIONS = {
    "metadata": {"of": "me"},
    "timeout": 60.0,
    "priority": 3,
    "trace_id": "t",
    "correlation_id": "c",
    "business_id": "b",
    "idempotency_key": "k",
}


@pytest.fixture
def engine(url):
    """The engine of a program that shares the database, as SQLAlchemy makes it."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    yield engine
    engine.dispose()


@pytest.fixture
def state(make):
    """A state manager over the same database."""
    return make()


def order(connection, number):
    """Insert a row of the program's own."""
    connection.execute(sa.text("INSERT INTO orders VALUES (:number)"), {"number": number})


def orders(engine):
    """The rows of the program's own."""
    with engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT id FROM orders ORDER BY id")).scalars())


def test_a_run_is_there_when_the_transaction_commits(engine, state):
    """With what else it did, and not before."""
    with engine.begin() as connection:
        order(connection, 1)
        run_id = state.enqueue_in(connection, FLOW, INPUTS)
        with pytest.raises(RunNotFound):
            state.snapshot(run_id)

    run = state.snapshot(run_id)
    assert [1] == orders(engine)
    assert (RunStatus.PENDING, INPUTS, {"team": "a"}) == (run.status, run.inputs, run.metadata)


def test_a_run_is_gone_when_the_transaction_rolls_back(engine, state):
    """With what else it did."""
    with engine.connect() as connection:
        order(connection, 1)
        run_id = state.enqueue_in(connection, FLOW, INPUTS)
        connection.rollback()

    assert ([], 0) == (orders(engine), state.list().total)
    with pytest.raises(RunNotFound):
        state.snapshot(run_id)


def test_a_run_is_gone_when_its_savepoint_rolls_back(engine, state):
    """The rest of the transaction is not."""
    with engine.begin() as connection:
        order(connection, 1)
        kept = state.enqueue_in(connection, FLOW, INPUTS)
        savepoint = connection.begin_nested()
        order(connection, 2)
        state.enqueue_in(connection, FLOW, INPUTS)
        savepoint.rollback()
        order(connection, 3)

    assert [1, 3] == orders(engine)
    assert [kept] == [run.run_id for run in state.list().runs]


@pytest.mark.parametrize("kind", [Session, lambda bind: scoped_session(sessionmaker(bind))])
def test_a_session_decides_about_its_runs(engine, state, kind):
    """Without a commit they are gone."""
    with contextlib.closing(kind(bind=engine)) as session:
        dropped = state.enqueue_in(session, FLOW, INPUTS)
        session.rollback()
        kept = state.enqueue_in(session, FLOW, INPUTS)
        session.commit()
        state.enqueue_in(session, FLOW, INPUTS)

    assert dropped != kept
    assert [kept] == [run.run_id for run in state.list().runs]


def test_a_daemon_takes_a_run_after_the_commit_and_never_before(engine, make, state):
    """However often it looks."""
    committed, seen, ended = threading.Event(), [], threading.Event()

    def body():
        seen.append(committed.is_set())

    def watch(event):
        if event.kind is EventKind.RUN_COMPLETED:
            ended.set()

    flow = flow_of(body)
    daemon = Orchestrator(make(), recover=True, recover_every=0.01, observers=[watch])
    daemon.register(flow)
    with daemon:
        with engine.connect() as connection:
            run_id = state.enqueue_in(connection, flow)
            looked = [daemon.list().total for _ in range(10)]
            committed.set()
            connection.commit()
        assert ended.wait(GUARD)

    assert ([0] * 10, [True]) == (looked, seen)
    assert RunStatus.COMPLETED == state.snapshot(run_id).status


def test_the_rows_are_those_of_the_writer(engine, state):
    """But for the id and the time of the run, and its key."""
    with Orchestrator(state) as orchestrator:
        theirs = orchestrator.enqueue(FLOW, INPUTS, **OPTIONS | {"idempotency_key": "other"}).id
    with engine.begin() as connection:
        ours = state.enqueue_in(connection, FLOW, INPUTS, **OPTIONS)
        rows = {
            row.pop("run_id"): row
            for it in connection.exec_driver_sql("SELECT * FROM actorflow_runs").mappings()
            for row in [dict(it)]
        }
        reserved = connection.exec_driver_sql("SELECT run_id, idempotency_key FROM actorflow_keys")
        keys = dict(map(tuple, reserved))
    for row in rows.values():
        del row["created_at"]

    assert rows[theirs] == rows[ours]
    assert {theirs: "other", ours: "k"} == keys


def test_a_key_stands_for_the_first_run_that_commits(engine, state):
    """A run that was rolled back does not have it."""
    key = {"idempotency_key": "k"}
    with engine.connect() as connection:
        dropped = state.enqueue_in(connection, FLOW, INPUTS, **key)
        connection.rollback()
        first = state.enqueue_in(connection, FLOW, INPUTS, **key)
        again = state.enqueue_in(connection, FLOW, {"address": "another"}, **key)
        connection.commit()
    with engine.begin() as connection:
        later = state.enqueue_in(connection, FLOW, INPUTS, **key)
    with Orchestrator(state) as orchestrator:
        elsewhere = orchestrator.enqueue(FLOW, INPUTS, **key).id

    assert dropped not in {first, again}
    assert [first] * 3 == [again, later, elsewhere]
    assert 1 == state.list().total


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((FLOW, {}), {}, MissingInput),
        ((FLOW, {"address": 1, "x": 2}), {}, UnknownInput),
        ((FLOW, {"address": object()}), {}, NotStorable),
        ((FLOW, {"address": "a"}), {"priority": "high"}, DefinitionError),
        ((FLOW, {"address": "a"}), {"prio": 1}, TypeError),
        (("welcome", {}), {}, DefinitionError),
        ((Workflow("empty"), {}), {}, DefinitionError),
    ],
    ids=["missing", "unknown", "value", "option", "name", "id", "workflow"],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    engine, state, arguments, options, error
):
    """The transaction can go on."""
    with engine.begin() as connection:
        order(connection, 1)
        with pytest.raises(error):
            state.enqueue_in(connection, *arguments, **options)

    assert ([1], 0) == (orders(engine), state.list().total)


def test_a_connection_that_commits_each_statement_is_refused(engine, state):
    """Nothing would be undone by a rollback."""
    commits = engine.execution_options(isolation_level="AUTOCOMMIT")
    with commits.connect() as connection, pytest.raises(DefinitionError, match="AUTOCOMMIT"):
        state.enqueue_in(connection, FLOW, INPUTS)
    alone = sa.create_engine(engine.url, isolation_level="AUTOCOMMIT")
    with alone.connect() as connection, pytest.raises(DefinitionError, match="AUTOCOMMIT"):
        state.enqueue_in(connection, FLOW, INPUTS)
    alone.dispose()

    assert 0 == state.list().total


def test_a_connection_to_another_database_is_refused(state, tmp_path, postgresql):
    """Also to one of the same kind, with the same tables."""
    for url in (f"sqlite:///{tmp_path}/other.db", postgresql.database()):
        SQLStateManager(url, create=True).close()
        other = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with other.connect() as connection, pytest.raises(DefinitionError, match="connection to"):
            state.enqueue_in(connection, FLOW, INPUTS)
        other.dispose()


class Asynchronous:
    """What `AsyncSession` has, which would need a library that the tests do without."""

    sync_session = None


@pytest.mark.parametrize("given", ["engine", "async session", "driver's", None])
def test_what_is_neither_a_connection_nor_a_session_is_refused(engine, state, given):
    """With what to pass instead."""
    raw = engine.raw_connection()
    given = {"engine": engine, "async session": Asynchronous(), "driver's": raw}.get(given)
    with pytest.raises(DefinitionError, match=r"Pass a sqlalchemy\.Connection|run_sync"):
        state.enqueue_in(given, FLOW, INPUTS)
    raw.close()


def test_a_forgotten_connection_is_what_the_error_names(state):
    """Not the inputs, which then stand where the workflow belongs."""
    with pytest.raises(
        DefinitionError, match=r"got Workflow\(.*neither a connection nor a session"
    ):
        state.enqueue_in(FLOW, INPUTS)


def test_an_engine_is_refused_without_its_secrets(state):
    """It is the likeliest mistake, and SQLAlchemy hides only one of the places of a password."""
    engine = sa.create_engine("postgresql+psycopg://me@host/db?password=hunter22&sslmode=require")

    with pytest.raises(DefinitionError, match="neither a connection nor a session") as caught:
        state.enqueue_in(engine, FLOW, INPUTS)

    assert "hunter22" not in str(caught.value)
    assert "sslmode=require" in str(caught.value)

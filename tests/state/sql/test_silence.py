"""A PostgreSQL server that no longer answers delays a manager, and does not hold it up for ever."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import psycopg
import pytest
import sqlalchemy as sa

from actorflow.state.sql import SQLStateManager, engines, postgresql
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.postgresql import LimitedConnection, unlimited
from actorflow.testing.contracts.accounts import STARTED, accept, accepted, happened, write
from tests.support.faults.network import Link

SILENCE = 0.2
NEVER = 3600.0
LONG = sa.text("SELECT pg_sleep(3600)")


class Mute:
    """What `LimitedConnection` needs of psycopg, without a server."""

    def __init__(self):
        self.pgconn = self
        self.finished = False
        self.said = []

    def finish(self):
        """End the connection."""
        self.finished = True

    def execute(self, statement):
        """Take note of a statement."""
        self.said.append(statement)
        return self

    def close(self):
        """Close a cursor."""

    def commit(self):
        """End the transaction."""


def asking(*answers):
    """A generator as psycopg has them: it waits, and returns the number of answers."""
    for answer in answers:
        assert answer == (yield "readable")
    return len(answers)


@pytest.fixture
def url(postgresql_tables, postgresql):
    """A database of PostgreSQL with tables and no runs."""
    return postgresql.copy_of(postgresql_tables)


@contextlib.contextmanager
def network(port):
    """A way to a server, and a function that calls a function of it on its loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    link = Link(port)

    def wait_for(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    wait_for(link.open())
    try:
        yield link, wait_for
    finally:
        wait_for(link.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_silence_beyond_its_limit_ends_the_connection():
    """The server, or a proxy, may have taken the statement, and never answer."""
    connection = Mute()
    waiting = LimitedConnection._limited(connection, asking(1, 0), 0.0)
    next(waiting)
    waiting.send(1)
    assert not connection.finished
    with pytest.raises(psycopg.OperationalError, match="silent for 0 s"):
        waiting.send(0)

    assert connection.finished


def test_silence_within_its_limit_changes_nothing():
    """The driver asks ten times a second; what the generator returns is passed on."""
    waiting = LimitedConnection._limited(Mute(), asking(0, 0, 1), NEVER)
    next(waiting)
    waiting.send(0)
    waiting.send(0)
    with pytest.raises(StopIteration) as ended:
        waiting.send(1)

    assert 3 == ended.value.value


@pytest.mark.parametrize("writes", [True, False])
def test_only_connections_that_write_have_abandoned_transactions_ended(writes, monkeypatch):
    """A query locks nothing, and its reader may take its time."""
    made = Mute()
    monkeypatch.setattr(LimitedConnection, "connect", lambda **_: made)
    postgresql.connect((), {}, SILENCE, writes=writes)

    assert writes is any("idle_in_transaction" in statement for statement in made.said)


def test_a_silent_server_ends_a_statement_and_its_connection(url):
    """What it may say later must not be taken for the answer to something else."""
    with Engines.to(url) as both:
        for engine in (both.reading, both.writing):
            with engine.connect() as connection:
                connection.connection.dbapi_connection.silence = 0.0
                with pytest.raises(sa.exc.OperationalError, match="silent for 0 s") as caught:
                    connection.execute(LONG)

            assert caught.value.connection_invalidated


def test_a_large_answer_in_many_parts_is_no_silence(url):
    """The limit counts from the last sign of life."""
    rows = sa.text("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    with Engines.to(url) as both, both.reading.connect() as connection:
        connection.connection.dbapi_connection.silence = 5.0

        assert 20_000 == len(connection.execute(rows).all())


def test_an_upgrade_takes_the_time_that_it_takes(url):
    """It may build an index for an hour, or wait for another upgrade."""
    with Engines.to(url) as both, both.writing.connect() as connection:
        connection.connection.dbapi_connection.silence = 0.0
        with unlimited(connection):
            connection.execute(sa.text("SELECT pg_sleep(0.3)"))

        assert 0.0 == connection.connection.dbapi_connection.silence


def test_the_server_ends_a_transaction_that_its_client_has_abandoned(url):
    """It would lock rows of runs for as long as the server runs."""
    name = "idle_in_transaction_session_timeout"
    with Engines.to(url) as both, both.writing.connect() as connection:
        limit = connection.execute(sa.text(f"SHOW {name}")).scalar_one()

    assert "10s" == limit


def test_a_writer_whose_connection_goes_silent_writes_over_another_one(url, monkeypatch):
    """Its thread would wait for ever, and with it every run of the orchestrator."""
    monkeypatch.setattr(engines, "_SILENCE", SILENCE)
    monkeypatch.setattr(postgresql, "_PING", SILENCE)
    port = int(url.rpartition("/")[0].rpartition(":")[2])
    with network(port) as (link, wait_for):
        through = url.replace(f":{port}/", f":{link.port}/")
        with contextlib.closing(SQLStateManager(through, lease=NEVER)) as state:
            accept(state, accepted())
            wait_for(link.go_silent(0.0))
            write(state, happened(*STARTED))

            assert [*STARTED] == [it.kind for it in state.events("run")]


def test_a_server_that_does_not_even_greet_is_given_up(monkeypatch):
    """A proxy may accept a connection for a server that is gone."""
    monkeypatch.setattr(postgresql, "_CONNECTING", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"postgresql://tests@127.0.0.1:{mute.getsockname()[1]}/none"
        with Engines.to(address) as both, pytest.raises(sa.exc.OperationalError, match="timeout"):
            both.writing.connect()

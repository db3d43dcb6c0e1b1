"""What wakes runs that wait in the database without an owner."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from actorflow.model.mail import Eviction
from actorflow.state.sql.schema import tables as schema
from actorflow.testing.contracts import accept, accepted, happened, write
from actorflow.testing.contracts.accounts import EPOCH, STARTED

FLOW = ("flow", "1.0.0")
FAR = EPOCH + 1e9


def started(state, run_id="run"):
    """Have a run begin."""
    accept(state, accepted(run_id))
    write(state, happened(*STARTED, run_id=run_id))


def evict(state, run_id="run", *, seen=0, wake_at=None):
    """Have a run evicted."""
    state.evict(run_id, Eviction("message 'go'", seen, wake_at, None))


def taken(state):
    """The runs that a search takes."""
    return list(state.take({FLOW}, ("none",), 5).taken)


def send(state, run_id="run"):
    """Send a run a message."""
    state.send_message(run_id, "go", None, None, EPOCH)


def test_a_message_before_the_eviction_is_news(make):
    """Its sender has seen an owner that has not heard of it."""
    state, other = make(), make()
    started(state)
    send(other)
    evict(state)

    assert ["run"] == taken(state)


def test_a_message_after_the_eviction_is_news(make):
    """To any owner."""
    state, other = make(), make()
    started(state)
    evict(state)
    assert [] == taken(state)
    send(other)

    assert ["run"] == taken(other)


def test_a_cancellation_before_the_eviction_is_news(make):
    """Likewise one after it."""
    state, other = make(), make()
    started(state, "before")
    started(state, "after")
    other.ask_to_cancel("before", "enough", compensate=False)
    evict(state, "before")
    evict(state, "after")
    assert ["before"] == taken(state)
    other.ask_to_cancel("after", "enough", compensate=False)

    assert ["after"] == taken(other)


def test_time_is_news(make):
    """When it has come, by the clock of the database."""
    state = make()
    started(state, "due")
    started(state, "later")
    evict(state, "later", wake_at=FAR)
    evict(state, "due", wake_at=EPOCH)

    assert ["due"] == taken(state)


def test_the_lease_of_an_owner_that_has_gone_frees_no_evicted_run(make):
    """It has no owner; a shutdown leaves it as it is."""
    state, other = make(), make()
    started(state)
    evict(state)
    state.close()

    assert [] == taken(other)
    assert "message 'go'" == other.snapshot("run").waiting


def test_evicted_runs_are_not_parked(make):
    """Not by a search that does not know their workflow either."""
    state = make()
    started(state)
    evict(state)

    assert [] == list(state.take({("another", "1")}, ("none",), 5).parked)
    send(state)
    assert ["run"] == list(state.take({("another", "1")}, ("none",), 5).parked)


@pytest.mark.parametrize("many", [300])
def test_a_search_does_not_read_evicted_runs(make, many):
    """They are not in the index in which it looks."""
    state = make()
    started(state)
    with state._engines.writing.begin() as connection:
        row = dict(connection.execute(sa.select(schema.runs)).mappings().one())
        asleep = {"waiting": "message 'go'", "wake_at": FAR, "owner": ""}
        rows = [{**row, **asleep, "run_id": f"run-{number}"} for number in range(many)]
        connection.execute(sa.insert(schema.runs), rows)
        index = "actorflow_runs_open"
        where = sa.inspect(connection).get_indexes("actorflow_runs")
        said = next(it["dialect_options"] for it in where if it["name"] == index)

    assert ["run"] == taken(state)
    assert "waiting is null" in str(next(iter(said.values()))).lower()

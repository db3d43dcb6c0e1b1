"""Runs found in a database: by indexes, and what its tables say of them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from actorflow.errors.definition import DefinitionError
from actorflow.model.filters import RunQuery, cursor_of
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql import Owner, SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.finding import Found
from actorflow.state.sql.leases import database_time
from actorflow.state.sql.schema import tables as schema
from actorflow.state.sql.schema import upgrades
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)

RUNS = 2_000


def ran(state, run_id, kinds=COMPLETED, **fields):
    """Let a run happen."""
    accept(state, accepted(run_id, **fields))
    write(state, happened(*kinds, run_id=run_id))


@pytest.fixture
def many(make):
    """A state manager on a database with many runs."""
    state = make()
    names = [f"r{number:04}" for number in range(RUNS)]
    times = {run_id: EPOCH + number for number, run_id in enumerate(names)}
    common = {
        "workflow_version": "1",
        "priority": 0,
        "serializer": "json",
        "step_ids": "[]",
        "last_steps": "[]",
        "inputs": "{}",
        "metadata": "{}",
        "last_event": 0,
        "owner": "",
        "fence": 1,
    }
    rows = [
        {
            "run_id": run_id,
            "created_at": created_at,
            "workflow_id": f"w{number % 20}",
            "status": "pending" if number % 20 else "running",
            **common,
        }
        for number, (run_id, created_at) in enumerate(times.items())
    ]
    pairs = [
        {"run_id": it, "created_at": at, "name": name, "value": value, "type": "string"}
        for number, (it, at) in enumerate(times.items())
        for name, value in (("tenant", f"t{number % 20}"), ("all", "x"))
    ]
    with state._engines.writing.begin() as connection:
        connection.execute(sa.insert(schema.runs), rows)
        connection.execute(sa.insert(schema.attributes), pairs)
        connection.exec_driver_sql("ANALYZE")
    return state


def plan(state, **asked):
    """Return how the database would find a page."""
    with state._engines.reading.begin() as connection:
        page = Found(RunQuery.of(asked), connection.dialect.name).page()
        sqlite = connection.dialect.name == "sqlite"
        # A server reads and sorts a small table as a whole, whatever indexes it has.
        for way in () if sqlite else ("seqscan", "bitmapscan", "sort"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        sql = page.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {sql}"))


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"attributes": {"tenant": "t7"}}, "actorflow_attributes_by_value"),
        ({"attributes": {"tenant": "t7", "all": "x"}}, "actorflow_attributes_by_value"),
        ({}, "actorflow_runs_by_time"),
        ({"workflow_id": "w7", "created_after": EPOCH}, "actorflow_runs_by_workflow"),
        ({"status": "running"}, "actorflow_runs_by_status"),
        ({"parked": True}, "actorflow_runs_parked"),
    ],
)
@pytest.mark.parametrize("far", [False, True])
def test_a_page_is_found_by_an_index_in_its_order(many, asked, index, far):
    """Also one far down; no rows are sorted, and none before it are read."""
    cursor = {"cursor": cursor_of(EPOCH + 500.0, "r0500")} if far else {}
    told = plan(many, **asked, **cursor)

    assert index in told
    assert "Sort" not in told
    assert "TEMP B-TREE" not in told
    if far:
        assert "created_at<?" in told or "created_at <=" in told or "created_at<" in told


def test_pages_by_attribute_hold_what_they_should(many):
    """All of many, by cursors, in order."""
    pages = [many.list(attributes={"tenant": "t7", "all": "x"}, limit=30)]
    while pages[-1].next_cursor:
        cursor = pages[-1].next_cursor
        pages.append(many.list(attributes={"tenant": "t7", "all": "x"}, limit=30, cursor=cursor))
    found = [run.run_id for page in pages for run in page.runs]

    assert [f"r{number:04}" for number in range(RUNS - 13, -1, -20)] == found
    assert {RUNS // 20} == {page.total for page in pages}


def test_pages_go_on_within_an_instant(make):
    """By the ids of the runs that were accepted then."""
    state = make()
    for run_id in "cab":
        accept(state, accepted(run_id, attributes={"n": 1}))

    for filters in ({}, {"attributes": {"n": 1}}):
        first = state.list(**filters, limit=2)
        second = state.list(**filters, limit=2, cursor=first.next_cursor)
        found = [run.run_id for page in (first, second) for run in page.runs]
        assert (["a", "b", "c"], None) == (found, second.next_cursor)


def test_a_run_is_found_by_its_new_attributes_alone(make):
    """Those that were replaced or removed have no rows left."""
    state = make()
    accept(state, accepted("run", attributes={"a": 1, "b": 2}))
    state.set_attributes("run", {"a": 3, "b": None})

    assert 1 == state.list(attributes={"a": 3}).total
    assert [0, 0] == [state.list(attributes=old).total for old in ({"a": 1}, {"b": 2})]


def test_a_run_that_is_being_purged_is_neither_found_nor_counted(make):
    """By its attributes as little as otherwise."""
    state = make()
    for run_id in ("a", "b"):
        ran(state, run_id, attributes={"tenant": "acme", "n": 1})
    with state._engines.writing.begin() as connection:
        this = schema.runs.c.run_id == "a"
        connection.execute(sa.update(schema.runs).where(this).values(purged_at=EPOCH))

    for asked in (
        {},
        {"attributes": {"tenant": "acme"}},
        {"attributes": {"tenant": "acme", "n": 1}},
    ):
        page = state.list(**asked)
        assert (["b"], 1) == ([run.run_id for run in page.runs], page.total)
        assert {"completed": 1} == state.count_runs("status", **asked)
    with pytest.raises(LookupError):
        state.set_attributes("a", {"tenant": "x"})


def test_attributes_of_purged_runs_are_deleted(make):
    """With their runs."""
    state = make()
    ran(state, "run", attributes={f"a{number}": number for number in range(9)})
    live = accepted("live", attributes={"a": 1})
    accept(state, live)
    report = state.purge(keep=0)
    with state._engines.reading.begin() as connection:
        left = connection.execute(sa.select(schema.attributes.c.run_id)).scalars().all()

    assert (1, ["live"]) == (report.runs, left)


def test_errors_with_nul_characters_in_their_fields_are_no_obstacle(make):
    """PostgreSQL refuses to look into such JSON."""
    state = make()
    accept(state, accepted("run"))
    write(state, happened(*FAILED, run_id="run"))
    odd = r'{"type":"actorflow.GiveUp","text":"a\\u0000 no","traceback":"","fields":["\u0000\\"]}'
    with state._engines.writing.begin() as connection:
        connection.execute(sa.update(schema.runs).values(error=odd))

    assert 1 == state.list(error="GiveUp", limit=0).total
    assert 1 == state.list(error=" no", limit=0).total
    assert 0 == state.list(error="up", limit=0).total


def test_a_run_is_parked_since_a_time_of_the_database(make):
    """Until it is claimed; one that was handed back with a reason as well."""
    state, other = make(), make()
    lost = make()
    ran(lost, "run", STARTED)
    ran(lost, "odd", STARTED)
    lost.close()
    assert ["odd", "run"] == sorted(state.take([("other", "1")], [], 1).parked)
    parked = state.snapshot("run").parked_since
    with state._engines.reading.begin() as connection:
        now = connection.execute(sa.select(database_time(connection.dialect.name))).scalar_one()
    state.take([("flow", "1.0.0")], ["run"], 1)
    state.hand_back("odd", "it has other steps")
    handed = state.take([("other", "1")], [], 1) and state.snapshot("odd")
    other.claim("run")

    seconds = now if isinstance(now, float) else now.timestamp()
    assert 0.0 <= seconds - parked < 60.0
    assert ("it has other steps", True) == (handed.parked, handed.parked_since >= parked)
    assert ["odd"] == [run.run_id for run in state.list(parked=True).runs]
    assert ["run"] == [run.run_id for run in state.list(parked=False).runs]
    assert (None, None) == (state.snapshot("run").parked, state.snapshot("run").parked_since)


@pytest.mark.parametrize("name", ["paused"])
def test_what_holds_a_run_up_is_read_and_carried(make, name):
    """The columns outlive the run's events and a change of its owner."""
    state = make()
    accept(state, accepted("run"))
    accept(state, accepted("other"))
    values = {name: "for approval", f"{name}_since": EPOCH + 0.25}
    with state._engines.writing.begin() as connection:
        this = schema.runs.c.run_id == "run"
        connection.execute(sa.update(schema.runs).where(this).values(values))
    write(state, happened(*STARTED, run_id="run"))
    state.hand_back("run")
    state.take([("flow", "1.0.0")], ["other"], 5)
    write(state, happened(EventKind.RUN_RESUMED, run_id="run", after=len(STARTED)))

    for known in (state.snapshot("run"), *state.list(**{name: True}).runs):
        assert values == {column: getattr(known, column) for column in values}
    assert ["other"] == [run.run_id for run in state.list(**{name: False}).runs]


def test_owners_are_told_with_what_they_have_in_progress(make):
    """Also the runs that have no owner, or one without a lease."""
    state, gone = make(), make()
    ran(state, "done")
    ran(state, "live", STARTED)
    ran(gone, "left", STARTED)
    state.enqueue(accepted("queued"), lambda _: None)
    gone.close()  # which hands its run back
    owners = {owner.owner: owner for owner in state.owners()}
    (mine,) = [it for it in owners.values() if it.lease_until is not None]
    orphaned = [it for it in owners.values() if it.lease_until is None]

    assert [Owner(owner="", lease_until=None, runs=2)] == orphaned
    assert (1, True) == (mine.runs, mine.lease_until > 1_700_000_000)
    assert ["live"] == [run.run_id for run in state.list(owner=mine.owner).runs]
    assert 1 == state.list(owner=mine.owner, limit=0).total


def test_a_database_of_the_version_before_is_upgraded_with_its_runs(empty_url):
    """They have no attributes yet, can be given some, and are found by them."""
    with Engines.to(empty_url) as engines:
        with engines.writing.begin() as connection:
            upgrades._migrate(connection, "0005")
            row = {"run_id": "run", "workflow_id": "flow", "workflow_version": "1.0.0"}
            row |= {"status": "pending", "priority": 0, "serializer": "json", "inputs": "{}"}
            row |= {"step_ids": '["a"]', "last_steps": '["a"]', "metadata": "{}", "last_event": 0}
            row |= {"created_at": EPOCH, "owner": "", "fence": 1, "parked": "long ago"}
            connection.execute(sa.insert(schema.runs).values(row))
        assert ("0005", upgrades.newest()) == upgrades.upgrade(engines)
    state = SQLStateManager(empty_url)
    before = state.snapshot("run")
    state.set_attributes("run", {"tenant": "acme"})

    assert ({}, "long ago", None) == (dict(before.attributes), before.parked, before.parked_since)
    assert ["run"] == [run.run_id for run in state.list(attributes={"tenant": "acme"}).runs]
    assert ["run"] == [run.run_id for run in state.list(parked=True).runs]
    state.close()


def test_a_change_that_is_refused_leaves_both_tables_as_they_were(make):
    """The column and the rows for finding."""
    state = make()
    accept(state, accepted("run", attributes={f"a{number}": 1 for number in range(64)}))
    with pytest.raises(DefinitionError, match="65 attributes of run 'run'"):
        state.set_attributes("run", {"a0": 2, "new": 1})
    with state._engines.reading.begin() as connection:
        rows = connection.execute(
            sa.select(schema.attributes.c.name, schema.attributes.c.value)
        ).all()

    assert 64 == len(rows) == len(state.snapshot("run").attributes)
    assert {"1"} == {row.value for row in rows}

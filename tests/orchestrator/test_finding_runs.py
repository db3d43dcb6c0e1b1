"""Runs with attributes: started, changed, found, counted, by every kind of state manager."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest

from actorflow import MemoryStateManager, Orchestrator, RunNotFound, RunStatus, Workflow
from actorflow.errors.definition import DefinitionError, WrongLoop
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD, Gate, fine, flow_of
from tests.test_state_powers import Minimal


class Narrow(Minimal):
    """A state manager that knows the first filters only."""

    def __repr__(self):
        return "<Narrow>"


class Versioned(Narrow):
    """One that also knows versions."""

    def list(self, *, workflow_version=None, **others):
        """Return runs."""
        found = super().list(**others)
        assert workflow_version == "1.0.0"
        return found


@pytest.fixture(params=["memory", "sqlite"])
def kept(request, sqlite_tables, tmp_path):
    """A state manager, in memory or in a file."""
    if request.param == "memory":
        yield MemoryStateManager()
        return
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    yield state
    state.close()


def ids(page):
    """Return the ids of a page's runs."""
    return [run.run_id for run in page.runs]


# ── Starting and changing ────────────────────────────────────────────────────────────────────


def test_runs_are_started_with_attributes_and_found_by_them(kept):
    """Whichever way they are started."""
    flow, acme = flow_of(fine), {"tenant": "acme"}
    with Orchestrator(kept) as orchestrator:
        by_run = orchestrator.run(flow, attributes=acme).run_id
        by_start = orchestrator.start(flow, attributes={**acme, "tier": 2}).id
        orchestrator.run(flow, attributes={"tenant": "globex"})
        orchestrator.run(flow)
        found = orchestrator.list(attributes=acme)
        second = orchestrator.list(attributes={"tier": 2.0})

    assert {by_run, by_start} == set(ids(found))
    assert [by_start] == ids(second)


def test_an_enqueued_run_is_found_by_its_attributes_before_it_is_taken(sqlite_tables, tmp_path):
    """By any orchestrator on the database."""
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    with Orchestrator(state) as orchestrator:
        orchestrator.enqueue(flow_of(fine), attributes={"tenant": "acme"})
        (run,) = orchestrator.list(attributes={"tenant": "acme"}).runs

    assert ("pending", {"tenant": "acme"}) == (run.status, dict(run.attributes))


def test_attributes_of_a_live_run_are_changed_at_once(kept):
    """And stay when it has ended."""
    gate = Gate()
    with Orchestrator(kept) as orchestrator:
        run = orchestrator.start(gate.flow, attributes={"a": 1, "b": 2})
        run.set_attributes({"b": None, "c": "three"})
        live = dict(run.snapshot().attributes)
        gate.open()
        run.result(GUARD)
        found = ids(orchestrator.list(attributes={"c": "three"}, status="completed"))

    assert {"a": 1, "c": "three"} == live == dict(kept.snapshot(run.id).attributes)
    assert [run.id] == found


def test_attributes_of_a_run_elsewhere_are_changed(make):
    """By any handle of it; its owner goes on."""
    gate = Gate()
    with Orchestrator(make()) as owner, Orchestrator(make()) as other:
        run = owner.start(gate.flow, attributes={"a": 1})
        other.get(run.id).set_attributes({"a": 2, "b": True})
        seen = dict(run.snapshot().attributes)
        gate.open()
        status = run.wait(GUARD).status

    assert ({"a": 2, "b": True}, "completed") == (seen, status)


def test_changes_of_several_callers_all_count(make):
    """Each is made as a whole, one after the other."""
    states = [make() for _ in range(3)]
    with Orchestrator(states[0]) as orchestrator:
        run = orchestrator.start(flow_of(fine))
        run.result(GUARD)

        async def change():
            changes = [
                asyncio.to_thread(state.set_attributes, run.id, {f"{number} {place}": number})
                for place, state in enumerate(states)
                for number in range(8)
            ]
            await asyncio.gather(*changes)

        asyncio.run(change())

    assert 24 == len(states[0].snapshot(run.id).attributes)


def test_attributes_are_changed_on_the_loop_by_the_async_twin_alone(sqlite_tables, tmp_path):
    """The other would block it, with a database; in memory it does not."""
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)

    async def change(state):
        async with Orchestrator(state) as orchestrator:
            run = await orchestrator.start_async(flow_of(fine))
            await run.set_attributes_async({"a": 1})
            counts = await orchestrator.count_async("status", attributes={"a": 1})
            found = dict(state.snapshot(run.id).attributes), sum(counts.values())
            try:
                run.set_attributes({"a": 2})
                orchestrator.count()
            except WrongLoop as wrong:
                return *found, str(wrong)
            return *found, None

    in_file = asyncio.run(change(state))
    assert ({"a": 1}, 1, None) == asyncio.run(change(MemoryStateManager()))
    assert ({"a": 1}, 1) == in_file[:2]
    assert "use `await run.set_attributes_async()`" in in_file[2]


def test_wrong_attributes_start_nothing_and_change_nothing(kept):
    """The error names the workflow or the run."""
    with Orchestrator(kept) as orchestrator:
        with pytest.raises(DefinitionError, match="workflow 'fine': attribute 'a' is None"):
            orchestrator.start(flow_of(fine, "fine"), attributes={"a": None})
        with pytest.raises(DefinitionError, match="is not a mapping"):
            orchestrator.start(flow_of(fine), attributes=[])
        assert 0 == orchestrator.list().total
        run = orchestrator.start(flow_of(fine), attributes={"a": 1})
        with pytest.raises(DefinitionError, match=r"attribute 'a' is \(\)"):
            run.set_attributes({"a": ()})
        with pytest.raises(RunNotFound):
            kept.set_attributes("missing", {"a": 1})

    assert {"a": 1} == dict(kept.snapshot(run.id).attributes)


# ── Finding ──────────────────────────────────────────────────────────────────────────────────


def test_runs_are_found_and_counted_by_every_filter(kept):
    """As an orchestrator passes them on."""
    flow, failing = flow_of(fine), flow_of(lambda: 1 / 0, "failing")
    before = datetime.now(UTC)
    with Orchestrator(kept) as orchestrator:
        runs = [orchestrator.start(each) for each in (flow, flow, failing)]
        for run in runs:
            run.wait(GUARD)
        after = datetime.now(UTC)
        first = orchestrator.list(limit=2)
        rest = orchestrator.list(limit=2, cursor=first.next_cursor)
        totals = [
            orchestrator.list(**asked).total
            for asked in (
                {"status": {"completed", "failed"}},
                {"status": ["failed"]},
                {"workflow_version": "1.0.0"},
                {"error": "ZeroDivisionError"},
                {"error": "division by"},
                {"created_after": before, "finished_before": after},
                {"created_before": before},
                {"parked": False},
                {"parked": True},
            )
        ]
        counts = [
            orchestrator.count(),
            orchestrator.count("workflow_id", status="completed"),
            orchestrator.count(("workflow_id", "status"), error="ZeroDivisionError"),
        ]

    assert {run.id for run in runs} == {*ids(first), *ids(rest)}
    assert (2, None) == (len(first.runs), rest.next_cursor)
    assert [3, 1, 3, 1, 1, 3, 0, 3, 0] == totals
    assert {RunStatus.COMPLETED: 2, RunStatus.FAILED: 1} == counts[0]
    assert {flow.id: 2} == counts[1]
    assert {("failing", RunStatus.FAILED): 1} == counts[2]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda it: it.list(lmit=5), "list() has no option 'lmit'. Did you mean 'limit'?"),
        (lambda it: it.count("status", limit=5), "count() has no option 'limit'."),
    ],
)
def test_a_misspelt_filter_is_named(kept, call, said):
    """As a misspelt option of a start is."""
    with Orchestrator(kept) as orchestrator, pytest.raises(TypeError, match=re.escape(said)):
        call(orchestrator)


def test_a_state_manager_refuses_wrong_filters_itself(kept):
    """Before it asks the database, whose error would be another one."""
    flow = Workflow("flow")
    with pytest.raises(DefinitionError, match=r"^workflow_id=Workflow.* Pass its \.id\.$"):
        kept.list(workflow_id=flow)
    with pytest.raises(DefinitionError, match="status='done' is not a run status"):
        kept.count_runs("status", status="done")
    with pytest.raises(DefinitionError, match=r"'statsu'\. Did you mean 'status'\? Use one .*n\.$"):
        kept.count_runs("statsu")


# ── State managers that know less ────────────────────────────────────────────────────────────


def test_a_state_manager_that_knows_the_first_filters_works_as_before():
    """It is never passed another one."""
    state = Narrow()
    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(flow_of(fine))
        run.wait(GUARD)
        page = orchestrator.list(status=["completed"], workflow_id="flow", limit=5, cursor=None)

    assert ([run.id], None) == (ids(page), page.next_cursor)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"attributes": {"a": 1}}, "<Narrow> cannot list runs by attributes. Leave that out"),
        ({"cursor": "WzEuMCwiYSJd", "parked": True}, "<Narrow> cannot list runs by cursor, parked"),
        ({"status": ["failed", "completed"]}, "by status (of several statuses)"),
    ],
)
def test_a_filter_that_a_state_manager_does_not_know_is_refused(asked, said):
    """By an error that names the state manager, instead of a list of other runs."""
    with (
        Orchestrator(Narrow()) as orchestrator,
        pytest.raises(DefinitionError, match=re.escape(said)),
    ):
        orchestrator.list(**asked)


def test_a_state_manager_may_know_some_of_the_filters():
    """Those that it has parameters for."""
    with Orchestrator(Versioned()) as orchestrator:
        orchestrator.run(flow_of(fine))

        assert 1 == orchestrator.list(workflow_version="1.0.0").total


def test_what_a_state_manager_cannot_do_is_refused_by_its_name():
    """Attributes that it would lose, and counts."""
    with Orchestrator(Narrow()) as orchestrator:
        run = orchestrator.start(flow_of(fine))
        for call in (
            lambda: orchestrator.start(flow_of(fine), attributes={"a": 1}),
            lambda: run.set_attributes({"a": 1}),
        ):
            with pytest.raises(
                DefinitionError, match=r"with set_attributes\(\); <Narrow> has none"
            ):
                call()
        with pytest.raises(DefinitionError, match=r"with count_runs\(\); <Narrow> has none"):
            orchestrator.count()
        assert orchestrator.run(flow_of(fine), attributes={}).output

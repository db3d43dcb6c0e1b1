"""Requests to cancel a run of another orchestrator: kept with the run, found by its owner."""

from __future__ import annotations

import asyncio
import threading

import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, Workflow
from actorflow.errors.definition import DefinitionError, WrongLoop
from actorflow.errors.storage import LeaseHeld, RunNotFound
from actorflow.model.lifecycle import EventKind
from actorflow.orchestrator.powers import powers_of
from actorflow.orchestrator.remote_cancel import Fate, cancel_unattended
from actorflow.state.sql.schema import tables as schema
from actorflow.state.sql.watching.watcher import Watcher
from actorflow.support.clock import SystemClock
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)

HANGS = 60.0


class Heard:
    """A listener that lets others wait for what it hears."""

    def __init__(self):
        self.requests = []
        self._arrived = threading.Semaphore(0)

    def __call__(self, *request):
        """Hear one."""
        self.requests.append(request)
        self._arrived.release()

    def wait(self):
        """Return the next one."""
        assert self._arrived.acquire(timeout=HANGS)
        return self.requests[-1]


def ran(state, run_id="run", kinds=STARTED):
    """Let a run happen."""
    accept(state, accepted(run_id))
    write(state, happened(*kinds, run_id=run_id))


def test_an_owner_hears_what_is_asked_of_his_runs(make):
    """Though nothing else happens there; and again, as long as the run goes on."""
    owner, other, heard = make(lease=0.2), make(), Heard()
    owner.listen(heard)
    ran(owner)
    ran(owner, "left alone")
    other.ask_to_cancel("run", "enough", compensate=True)

    assert ("run", "enough", True) == heard.wait()
    assert ("run", "enough", True) == heard.wait()


def test_a_listener_that_raises_hears_it_again(make):
    """Whatever is wrong with it, the manager goes on, and so does the request."""
    owner, heard = make(lease=0.2), Heard()

    def listen(*request):
        heard(*request)
        raise SystemError

    owner.listen(listen)
    ran(owner)
    owner.ask_to_cancel("run", "enough")
    heard.wait()

    assert ("run", "enough", False) == heard.wait()


def test_a_listener_that_has_gone_hears_nothing(make):
    """And its place is free for the next one."""
    owner, gone, heard = make(lease=0.2), Heard(), Heard()
    end = owner.listen(gone)
    end()
    owner.listen(heard)
    end()
    ran(owner)
    owner.ask_to_cancel("run", "enough")

    assert (("run", "enough", False), []) == (heard.wait(), gone.requests)


def test_a_manager_serves_one_orchestrator_at_a_time(make):
    """Two would be one owner: each would take the other's runs for its own."""
    state, other = make(), make()
    with Orchestrator(state) as first:
        ran(state)
        with pytest.raises(DefinitionError, match="serves another"):
            Orchestrator(state).__enter__()
        with pytest.raises(LeaseHeld):
            other.claim("run")
        assert 1 == first.list().total
    with Orchestrator(state) as later:
        assert 1 == later.list().total


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_request_is_heard_as_soon_as_a_claimed_run_goes_on(make, monkeypatch, asked_first):
    """The orchestrator could not cancel it before; the next renewal of the lease is far away."""
    monkeypatch.setattr(Watcher, "owns", lambda *_: None)
    owner, other, heard = make(lease=3600), make(), Heard()
    owner.listen(heard)
    ran(owner, "left alone")
    ran(other)
    other.hand_back("run")
    write(other, [])
    if asked_first:
        other.ask_to_cancel("run", "enough")
    owner.claim("run")
    if not asked_first:
        other.ask_to_cancel("run", "enough")
    write(owner, [])
    before = list(heard.requests)
    write(owner, happened(EventKind.RUN_RESUMED, after=3))

    assert ("run", "enough", False) == heard.wait()
    assert before == []
    assert set() == owner._writer._open_runs._claimed


def test_a_claimed_run_that_is_handed_back_is_forgotten(make):
    """It will not go on here."""
    state = make()
    ran(state)
    state.claim("run")
    state.hand_back("run")
    write(state, [])

    assert set() == state._writer._open_runs._claimed


@pytest.mark.parametrize(("reason", "kept"), [("a\0b", "a\\0b"), ("\ud800", "\\ud800")])
def test_any_reason_can_be_given(make, reason, kept):
    """Also one that no database could hold as it is."""
    owner, heard = make(lease=0.2), Heard()
    owner.listen(heard)
    ran(owner)
    owner.ask_to_cancel("run", reason)

    assert ("run", kept, False) == heard.wait()


def test_a_request_is_told_to_the_owner_alone(make):
    """Other orchestrators on the database hear of their own runs only."""
    owner, other = make(lease=0.2), make(lease=0.2)
    heard, elsewhere = Heard(), Heard()
    owner.listen(heard)
    other.listen(elsewhere)
    ran(owner)
    ran(other, "another")
    other.ask_to_cancel("run", "enough")
    heard.wait()
    other.ask_to_cancel("another", "enough")

    assert "another" == elsewhere.wait()[0]
    assert {"another"} == {run_id for run_id, *_ in elsewhere.requests}


def test_a_request_outlives_the_owner_it_was_made_to(make):
    """The orchestrator that takes the run over finds it."""
    owner, heir, heard = make(), make(lease=0.2), Heard()
    ran(owner)
    owner.ask_to_cancel("run", "enough")
    owner.close()
    heir.listen(heard)
    heir.claim("run")

    assert ("run", "enough", False) == heard.wait()


def test_a_request_is_over_with_the_run(make):
    """A later resumption does not mean to cancel it."""
    owner, heard = make(lease=0.2), Heard()
    ran(owner)
    owner.ask_to_cancel("run", "enough")
    write(owner, happened(*FAILED[3:], after=3))
    owner.ask_to_cancel("run", "too late")
    owner.listen(heard)
    owner.claim("run")
    write(owner, happened(EventKind.RUN_RESUMED, after=5))
    ran(owner, "another")
    owner.ask_to_cancel("another", "enough")

    assert "another" == heard.wait()[0]
    assert {"another"} == {run_id for run_id, *_ in heard.requests}


def test_nothing_is_asked_of_a_run_that_is_not_there(make):
    """It is an error; of one that has ended it is none."""
    state = make()
    ran(state, kinds=COMPLETED)
    state.ask_to_cancel("run", "enough")

    with state._engines.reading.begin() as connection:
        assert [None] == connection.scalars(sa.select(schema.runs.c.cancel_asked)).all()
    with pytest.raises(RunNotFound):
        state.ask_to_cancel("no run", "enough")


def test_an_orchestrator_cancels_what_it_is_asked_to(make):
    """And undoes what was done, if that is asked as well."""
    started, undone, flow = threading.Event(), [], Workflow("waiting")

    @flow.step(compensate=lambda book: undone.append([book]))
    def book():
        return "a seat"

    @flow.step(after=book, async_=True)
    async def wait():
        started.set()
        await asyncio.Event().wait()

    other = make()
    with Orchestrator(make(lease=0.2)) as orchestrator:
        run = orchestrator.start(flow)
        assert started.wait(HANGS)
        other.ask_to_cancel(run.id, "enough", compensate=True)
        result = run.wait(HANGS)

    assert ("cancelled", "enough", [["a seat"]]) == (result.status, result.reason, undone)


def test_a_handle_of_a_run_that_another_runs_asks_its_owner(make):
    """As the command line does."""
    started, flow = threading.Event(), Workflow("waiting")

    @flow.step(async_=True)
    async def wait():
        started.set()
        await asyncio.Event().wait()

    with Orchestrator(make(lease=3.0)) as owner, Orchestrator(make()) as other:
        run = owner.start(flow)
        assert started.wait(HANGS)
        other.get(run.id).cancel("enough")
        result = run.wait(HANGS)

    assert ("cancelled", "enough") == (result.status, result.reason)


def test_a_run_in_the_queue_can_be_cancelled_by_its_handle(make):
    """Also if it is to be undone: it has no owner yet, and nothing to undo."""
    flow = Workflow("waiting")
    flow.step(lambda: 1, id="a", compensate=lambda: 1)
    with Orchestrator(make()) as client:
        runs = [client.enqueue(flow) for _ in range(2)]
        for run, compensate in zip(runs, (False, True), strict=True):
            run.cancel("no more", compensate=compensate)

        assert ["cancelled"] * 2 == [run.wait(HANGS).status for run in runs]


def test_a_run_that_is_to_be_undone_goes_to_whoever_takes_it(make):
    """While the one that asked lives, and runs nothing itself."""
    client, taker = make(), make()
    accept(client, accepted())
    write(client, happened(*STARTED))
    client.hand_back("run")
    fate = cancel_unattended(powers_of(client), "run", SystemClock(), "enough", compensate=True)
    write(client, [])
    taken = taker.take([("flow", "1.0.0")], (), 1).taken

    assert (Fate.KEPT, ["run"]) == (fate, taken)


def test_whoever_cancels_a_run_just_after_its_end_keeps_nothing_of_it(make, monkeypatch):
    """It was in progress when he looked, and no more when he took it up."""
    owner, other = make(), make()
    accept(owner, accepted())
    write(owner, happened(*STARTED))
    claim = other.claim

    def claim_too_late(run_id):
        write(owner, happened(*COMPLETED[3:], after=3))
        return claim(run_id)

    monkeypatch.setattr(other, "claim", claim_too_late)
    fate = cancel_unattended(powers_of(other), "run", SystemClock(), "enough", compensate=False)
    write(other, [])

    assert Fate.NOTHING is fate
    assert "completed" == owner.snapshot("run").status
    assert {} == other._writer._open_runs.runs


def test_a_run_of_another_is_not_cancelled_on_the_event_loop(make):
    """It would wait for the database there."""
    flow = Workflow("waiting")
    flow.step(lambda: 1, id="a")

    async def cancel():
        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.enqueue_async(flow)
            with pytest.raises(WrongLoop, match=r"Run\.cancel\(\) would block .*cancel_async"):
                run.cancel()
            await run.cancel_async()
            return await run.wait_async()

    assert "cancelled" == asyncio.run(cancel()).status

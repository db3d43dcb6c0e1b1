"""Runs with keys and for later: one runs and one waits, whatever is asked for, and when."""

from __future__ import annotations

import itertools
import random
import threading
import time

import attrs
import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actorflow import MemoryStateManager, Workflow
from actorflow.errors.storage import AlreadyStarted, KeyInUse, NotRescheduled
from actorflow.model.cancelling import cancelled
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.terms import StartTerms
from actorflow.state.keys import KeyTable
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.testing.contracts.accounts import (
    FAILED,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    write,
)

BEGUN = (EventKind.RUN_ACCEPTED, *STARTED)
ENDS = {
    "completed": (EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED),
    "failed": (EventKind.STEP_FAILED, EventKind.RUN_FAILED),
    "cancelled": (EventKind.STEP_CANCELLED, EventKind.RUN_CANCELLED),
}
AGAIN = (EventKind.RUN_RESUMED, EventKind.STEP_READY, EventKind.STEP_STARTED)
POLICIES = ["return", "reject", "queue", "replace_queued", "cancel_running"]
LATER = 1_000_000.0
GUARD = 60
PLAYS = {
    "stateful_step_count": 30,
    "deadline": None,
    # Explaining a failure would take minutes.
    "phases": [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
}


def expire(url):
    """Let all leases have run out."""
    past = "UPDATE actorflow_owners SET lease = 0, lease_until = '2000-01-01 00:00:00.000000+00:00'"
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.text(past))


def asked(state, record, how="create"):
    """Start a run, and return the error that keeps it out, if any."""
    commits = Commits()
    try:
        if not getattr(state, how)(record, commits.done):
            commits.wait(how)
            return commits.errors[0]
    except (AlreadyStarted, KeyInUse) as error:
        return error
    return None


class Twin:
    """A run, as the naive twin has it."""

    def __init__(self, run_id, key, inputs, *, owned, delayed, debounced):
        self.run_id = run_id
        self.key = key
        self.inputs = inputs
        self.owned = owned
        self.delayed = delayed
        self.debounced = debounced
        self.status = "pending"
        self.events = 0


class Keys(RuleBasedStateMachine):
    """Starts, ends, cancellations, times that come and resumed runs, beside a naive twin."""

    number = itertools.count()

    def open(self):
        """Return the state manager that owns runs, and the one that takes unowned ones."""
        raise NotImplementedError

    def __init__(self):
        super().__init__()
        self.state, self.taker = self.open()
        self.flow = f"flow {next(self.number)}"
        self.count = itertools.count()
        self.runs = {}
        self.running = {}
        self.queued = {}

    # ── The twin ─────────────────────────────────────────────────────────────────────────────

    def _expected(self, new, policy):
        """What a start must do: the error, and the run it names; None when it is accepted."""
        running, queued = self.running.get(new.key), self.queued.get(new.key)
        if policy == "debounce":
            if queued is not None and queued.debounced:
                queued.inputs, queued.delayed = new.inputs, True
                return AlreadyStarted, queued.run_id
            self._let_queue(new)
        elif policy in ("return", "reject"):
            live = running or queued
            if live is not None:
                return (AlreadyStarted if policy == "return" else KeyInUse), live.run_id
            self._let_in(new)
        elif policy == "queue":
            return self._behind(new, running, queued)
        else:
            if queued is not None:
                self._over(queued, "cancelled")
            self._let_in(new)
            if policy == "cancel_running" and running is not None:
                self._makes_way(running, new)
        return None

    def _behind(self, new, running, queued):
        if queued is None:
            self._let_in(new)
        elif running is None and not queued.delayed:
            self.running[new.key] = queued
            self.queued[new.key] = new
        elif running is None and not new.delayed:
            self.running[new.key] = new
        else:
            return KeyInUse, queued.run_id
        return None

    def _let_queue(self, new):
        if self.queued.get(new.key) is not None:
            self._over(self.queued[new.key], "cancelled")
        self.queued[new.key] = new

    def _let_in(self, new):
        if self.running.get(new.key) is None and new.owned and not new.delayed:
            self.running[new.key] = new
        else:
            self.queued[new.key] = new

    def _makes_way(self, running, new):
        """A running run is cancelled at once if it belongs to nobody."""
        if not running.owned and running.status == "pending":
            self._over(running, "cancelled")
            if self.queued.get(new.key) is new and new.owned and not new.delayed:
                self.queued[new.key], self.running[new.key] = None, new

    def _over(self, run, status):
        run.status = status
        for slot in (self.running, self.queued):
            if slot.get(run.key) is run:
                slot[run.key] = None

    def _may_go(self, run):
        if run.status != "pending" or run.delayed:
            return False
        if run.key is None or self.running.get(run.key) is run:
            return True
        return self.queued.get(run.key) is run and self.running.get(run.key) is None

    # ── What happens ─────────────────────────────────────────────────────────────────────────

    def _run_of(self, pick, *statuses):
        some = [run for run in self.runs.values() if run.status in statuses]
        return some[pick % len(some)] if some else None

    @rule(
        key=st.sampled_from(["k", "k", "k", "other", None]),
        policy=st.sampled_from([*POLICIES, "debounce", "debounce"]),
        delayed=st.booleans(),
        owned=st.booleans(),
    )
    def start(self, key, policy, delayed, owned):
        """Start a run, for now or later, with or without a key."""
        owned = owned or self.taker is None
        debounced = policy == "debounce" and key is not None
        delayed = delayed or debounced or key is None
        number = next(self.count)
        new = Twin(
            f"{self.flow} {number}", key, number, owned=owned, delayed=delayed, debounced=debounced
        )
        now = time.time()
        terms = StartTerms(
            on_conflict="return" if debounced or key is None else policy,
            debounce=LATER if debounced else None,
        )
        record = accepted(
            new.run_id,
            workflow_id=self.flow,
            inputs={"n": number},
            created_at=now,
            start_at=now + LATER if delayed else now,
            key=key,
            terms=terms,
        )
        error = asked(self.state, record, "create" if owned else "enqueue")
        wanted = None if key is None else self._expected(new, policy)
        if wanted is None:
            assert error is None, error
            self.runs[new.run_id] = new
        else:
            assert (type(error), error.run_id) == wanted

    @rule(pick=st.integers(0, 99))
    def a_time_comes(self, pick):
        """Let a pending run be due."""
        run = self._run_of(pick, "pending")
        if run is None:
            return
        moves = run.delayed or (run.key is not None and self.queued.get(run.key) is run)
        unowned = not run.owned and self.running.get(run.key) is not run
        try:
            self.state.reschedule(run.run_id, time.time() - 10.0, time.time())
        except NotRescheduled:
            assert not moves
            assert not unowned
        else:
            # What is released in memory is not, in a database, until its first event.
            run.delayed = False

    def look(self):
        """Start what may go."""
        wanted = {it.run_id for it in self.runs.values() if it.owned and self._may_go(it)}
        found = {it for it in self.state.due(time.time()).run_ids if it.startswith(self.flow + " ")}
        assert wanted == found
        self._begin(self.state, found)

    @rule()
    def looks(self):
        """Look once."""
        self.look()

    def take(self):
        """Take what belongs to nobody."""
        wanted = {it.run_id for it in self.runs.values() if not it.owned and self._may_go(it)}
        here = [it.run_id for it in self.runs.values() if it.status == "running"]
        found = set(self.taker.take({(self.flow, "1.0.0")}, here, 1000).taken)
        assert wanted == found
        self._begin(self.taker, found)

    @precondition(lambda self: self.taker is not None)
    @rule()
    def takes(self):
        """Take once."""
        self.take()

    def _begin(self, state, found):
        for run_id in found:
            run = self.runs[run_id]
            if run.key is not None and self.queued.get(run.key) is run:
                self.queued[run.key], self.running[run.key] = None, run
            self._record(state, run, BEGUN, "running")

    def _record(self, state, run, kinds, status):
        ids = {"run_id": run.run_id, "workflow_id": self.flow}
        events = happened(*kinds, after=run.events, time=time.time(), **ids)
        write(state, events)
        run.events += len(kinds)
        run.status = status

    def _writer(self, run):
        return self.state if run.owned else self.taker

    @rule(pick=st.integers(0, 99), how=st.sampled_from([*ENDS]))
    def ends(self, pick, how):
        """End a run in progress."""
        run = self._run_of(pick, "running")
        if run is not None:
            self._record(self._writer(run), run, ENDS[how], how)
            self._over(run, how)

    @rule(pick=st.integers(0, 99))
    def a_pending_run_is_cancelled(self, pick):
        """Before it starts."""
        run = self._run_of(pick, "pending")
        if run is not None and run.owned:
            write(self.state, cancelled(self.state.snapshot(run.run_id), 0, time.time(), "no"))
            run.events = 3
            self._over(run, "cancelled")

    @rule(pick=st.integers(0, 99))
    def an_ended_run_is_resumed(self, pick):
        """If its key is free."""
        run = self._run_of(pick, "failed")
        if run is None or run.events == 0:
            return
        state = self._writer(run)
        state.claim(run.run_id)
        rival = None if run.key is None else self.running.get(run.key)
        if rival is None:
            state.occupy(run.run_id)
            self.running[run.key] = run
            self._record(state, run, AGAIN, "running")
        else:
            with pytest.raises(KeyInUse) as refused:
                state.occupy(run.run_id)
            if self.taker is not None:
                state.hand_back(run.run_id)
            assert rival.run_id == refused.value.run_id

    @invariant()
    def every_run_is_where_the_twin_has_it(self):
        """With its status and inputs."""
        for run in self.runs.values():
            snapshot = self.state.snapshot(run.run_id)
            assert run.status == snapshot.status.value
            if run.status != "cancelled":
                assert run.inputs == snapshot.inputs["n"]

    def teardown(self):
        """What is accepted last comes to run, with its inputs."""
        for run in [it for it in self.runs.values() if it.status == "running"]:
            self._record(self._writer(run), run, ENDS["completed"], "completed")
            self._over(run, "completed")
        for run in [it for it in self.runs.values() if it.status == "pending" and it.delayed]:
            self.state.reschedule(run.run_id, time.time() - 10.0, time.time())
            run.delayed = False
        for _ in range(2 * len(self.runs)):
            self.look()
            if self.taker is not None:
                self.take()
            for run in [it for it in self.runs.values() if it.status == "running"]:
                self._record(self._writer(run), run, ENDS["completed"], "completed")
                self._over(run, "completed")
        assert all(run.status != "pending" for run in self.runs.values())


def played(examples, opened):
    """Let the machine play on the state managers that `opened` returns."""

    class Machine(Keys):
        def open(self):
            return opened()

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=examples, **PLAYS),
    )


def test_a_run_that_is_moved_again_and_again_takes_no_more_memory():
    """Each move would leave an entry until its time has come, which may be in a year."""
    table = KeyTable()
    for run_id in ("a", "b"):
        table.admit(attrs.evolve(accepted(run_id), start_at=LATER))
    for number in range(1_000):
        assert table.reschedule("a", LATER + number)

    assert len(table._times) < 100
    assert (["b"], LATER + 999) == table.due(LATER + 998)
    assert (["a"], None) == table.due(LATER + 999)


def test_keys_in_memory_behave_like_the_twin():
    """In 300 plays."""
    played(300, lambda: (MemoryStateManager(), None))


def test_keys_in_a_database_behave_like_the_twin(make):
    """With a second state manager that takes what has no owner."""
    options = {"synchronous": "NORMAL"}
    pair = make(**options), make(**options)
    played(30, lambda: pair)


# ── Idempotency keys ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def state(request, tmp_path):
    """A state manager of each kind."""
    if request.param == "memory":
        state = MemoryStateManager(max_age=float("inf"))
    elif request.param == "sqlite":
        state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    else:
        tables = request.getfixturevalue("postgresql_tables")
        state = SQLStateManager(request.getfixturevalue("postgresql").copy_of(tables))
    yield state
    state.close()


def named(run_id, at, **terms):
    """A run with an idempotency key, accepted at a time."""
    return accepted(run_id, created_at=at, idempotency_key="i", terms=StartTerms(**terms))


def test_an_idempotency_key_stands_until_it_expires(state):
    """Counted from the acceptance of the run that it stands for; the next one has its own time."""
    accept(state, named("first", 100.0, expires=10.0))
    early = asked(state, named("early", 109.0))
    accept(state, named("second", 110.0, expires=5.0))
    later = asked(state, named("later", 114.0, expires=1.0))
    accept(state, named("third", 115.0))
    at_last = asked(state, named("last", 1e9))

    assert ["first", "second", "third"] == [it.run_id for it in (early, later, at_last)]
    assert "first" == state.snapshot("first").run_id


@pytest.mark.parametrize("how", [*ENDS])
def test_an_idempotency_key_is_reused_only_after_a_bad_end(state, how):
    """And only by a start that asks for it."""
    accept(state, named("first", 100.0))
    write(state, happened(*STARTED, run_id="first"))
    in_progress = asked(state, named("second", 101.0, reuse="if_failed"))
    write(state, happened(*ENDS[how], run_id="first", after=len(STARTED)))
    never = asked(state, named("third", 102.0))
    if_failed = asked(state, named("fourth", 103.0, reuse="if_failed"))
    after = asked(state, named("fifth", 104.0, reuse="if_failed"))

    assert ["first", "first"] == [in_progress.run_id, never.run_id]
    if how == "completed":
        assert "first" == if_failed.run_id == after.run_id
    else:
        assert None is if_failed
        assert "fourth" == after.run_id


def test_of_many_starts_one_reuses_the_key_of_a_failed_run(make):
    """Whatever processes they are in."""
    states, barrier, outcomes = [make() for _ in range(4)], threading.Barrier(4), []
    accept(states[0], named("first", 100.0))
    write(states[0], happened(*FAILED, run_id="first"))

    def start(number):
        barrier.wait()
        record = named(f"again {number}", 101.0, reuse="if_failed")
        outcomes.append((record.run_id, asked(states[number], record)))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [run_id for run_id, error in outcomes if error is None]
    assert 1 == len(winners)
    assert {*winners} == {error.run_id for _, error in outcomes if error is not None}


# ── Commits that fail ────────────────────────────────────────────────────────────────────────────


def keyed(run_id, **terms):
    """A run with a key; a debounced one waits for long."""
    at = 100.0 + LATER * ("debounce" in terms)
    return accepted(
        run_id,
        inputs={"n": run_id},
        created_at=100.0,
        start_at=at,
        key="k",
        terms=StartTerms(**terms),
    )


@pytest.fixture(params=["lost", "refused"])
def failing(request):
    """A function that lets the next commit fail: its answer is lost, or nothing is committed."""

    def fail(state):
        left = iter([True])

        def on_commit(connection):
            if next(left, False):
                if request.param == "lost":
                    connection.connection.dbapi_connection.commit()
                raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))

        sa.event.listen(state._engines.writing, "commit", on_commit)

    return fail


def test_the_last_inputs_survive_a_commit_that_fails(make, failing):
    """They are given to the run that waits once more, if need be."""
    state = make()
    accept(state, keyed("first", debounce=LATER))
    failing(state)
    merged = asked(state, keyed("second", debounce=LATER))

    assert "first" == merged.run_id
    assert "second" == state.snapshot("first").inputs["n"]


@pytest.mark.parametrize("policy", ["replace_queued", "cancel_running", "queue"])
def test_a_start_with_a_key_survives_a_commit_that_fails(make, failing, policy):
    """It is accepted once, whatever it has replaced."""
    state = make()
    if policy != "queue":
        accept(state, keyed("first", debounce=LATER))
    failing(state)
    accept(state, keyed("second", on_conflict=policy))

    assert ["second"] == state.due(0.0).run_ids
    assert (1, 1) == (
        state.list(status=RunStatus.PENDING).total,
        state.list().total - state.list(status=RunStatus.CANCELLED).total,
    )


# ── Owners that are gone, and connections of callers ─────────────────────────────────────────────


def test_a_turn_is_free_when_its_owner_died_while_it_resumed_the_run(make, url):
    """A run that has ended keeps the others waiting only as long as its new owner lives."""
    gone, state = make(), make()
    accept(gone, keyed("first"))
    write(gone, happened(*BEGUN, run_id="first"))
    write(gone, happened(*ENDS["failed"], run_id="first", after=len(BEGUN)))
    gone.claim("first")
    gone.occupy("first")
    accept(state, keyed("second", on_conflict="queue"))
    before = state.due(0.0).run_ids
    expire(url)

    assert ([], ["second"]) == (list(before), list(state.due(0.0).run_ids))
    with pytest.raises(KeyInUse, match="second"):
        state.occupy("first")


def test_a_caller_enqueues_runs_with_a_key_in_its_transaction(make, url):
    """They are decided on as all starts are."""
    state, flow = make(), Workflow("flow")
    flow.step(lambda n: n, id="a")
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        first, again = (state.enqueue_in(connection, flow, {"n": 1}, key="k") for _ in range(2))
        with pytest.raises(KeyInUse, match=first):
            state.enqueue_in(connection, flow, {"n": 2}, key="k", on_conflict="reject")
        last = state.enqueue_in(connection, flow, {"n": 3}, key="k", on_conflict="replace_queued")
        later = state.enqueue_in(connection, flow, {"n": 4}, delay=LATER)

    assert first == again
    assert RunStatus.CANCELLED is state.snapshot(first).status
    assert [last] == list(state.take({("flow", "1.0.0")}, (), 10).taken)
    assert RunStatus.PENDING is state.snapshot(later).status


# ── Many processes ───────────────────────────────────────────────────────────────────────────────


class Daemon:
    """A thread with a state manager of its own that takes runs, and lets each go on for a while."""

    def __init__(self, state, in_progress, over):
        self.state = state
        self.in_progress = in_progress
        self.over = over
        self.seen = []
        self.wrong = []
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        """Take until it is over."""
        try:
            while not self.over.is_set():
                self.turn()
        except BaseException as error:  # noqa: BLE001 - told to the test, which is elsewhere
            self.wrong.append(error)

    def turn(self):
        """Take once."""
        for run_id in self.state.take({("flow", "1.0.0")}, (), 10).taken:
            snapshot = self.state.snapshot(run_id)
            if self.in_progress.setdefault(snapshot.key, run_id) != run_id:
                self.wrong.append((snapshot.key, run_id, self.in_progress[snapshot.key]))
            write(self.state, happened(*BEGUN, run_id=run_id))
            self.seen.append(snapshot.inputs["n"])
            self.in_progress.pop(snapshot.key, None)
            write(self.state, happened(*ENDS["completed"], run_id=run_id, after=len(BEGUN)))


def requests(state, name, outcomes):
    """Ask for 40 runs of two keys, in every way; the last of each key is debounced."""
    chance = random.Random(name)
    for number in range(42):
        key = "ab"[number % 2]
        debounced = number >= 40 or chance.random() < 0.3
        terms = StartTerms(
            on_conflict="return" if debounced else chance.choice(POLICIES),
            debounce=0.01 if debounced else None,
        )
        run_id, now = f"{name} {number}", time.time()
        record = accepted(
            run_id,
            inputs={"n": run_id},
            created_at=now,
            start_at=now + 0.01 if debounced else now,
            key=key,
            terms=terms,
        )
        outcomes.append((run_id, asked(state, record, "enqueue")))


def test_many_processes_keep_to_one_run_in_progress_a_key(make):
    """Each has an owner and connections of its own; the last inputs of each key come to run."""
    in_progress, over, outcomes = {}, threading.Event(), []
    daemons = [Daemon(make(), in_progress, over) for _ in range(2)]
    clients = [threading.Thread(target=requests, args=(make(), name, outcomes)) for name in "xyz"]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    ended = threading.Event()
    state = make()
    while not ended.wait(0.01) and state.list(status=RunStatus.PENDING, limit=0).total:
        assert all(daemon.thread.is_alive() for daemon in daemons), daemons[0].wrong
    over.set()
    for daemon in daemons:
        daemon.thread.join(GUARD)

    assert [] == [wrong for daemon in daemons for wrong in daemon.wrong]
    seen = [it for daemon in daemons for it in daemon.seen]
    assert len(set(seen)) == len(seen)
    for last in ({f"{name} {number}" for name in "xyz"} for number in (40, 41)):
        assert last & set(seen)
    refusals = {type(error) for _, error in outcomes if error is not None}
    assert refusals == {AlreadyStarted, KeyInUse}

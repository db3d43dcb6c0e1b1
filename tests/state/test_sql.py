"""Runs in a database: what its writer promises when things go wrong, and what its tables hold."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sqlite3
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, RetryPolicy, Workflow
from actorflow.errors import (
    DefinitionError,
    LeaseHeld,
    LeaseLost,
    NotRecorded,
    NotRestorable,
    NotStorable,
    RecordedError,
    RunFailed,
    RunNotFound,
    RunTimeout,
    StoreOverloaded,
    StoreUnavailable,
    TooLarge,
    WrongLoop,
)
from actorflow.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.orchestrator.withdrawal import withdraw
from actorflow.state.sql import JSONSerializer, SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    told,
    write,
)


@pytest.fixture
def path(tmp_path):
    """Where a SQLite database will be."""
    return tmp_path / "runs.db"


@pytest.fixture
def make():
    """Makes state managers, and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def made(url, **options):
            state = SQLStateManager(url, create=True, **options)
            stack.callback(state.close)
            return state

        yield made


@pytest.fixture
def state(make, url):
    """A state manager in an empty database, of each kind."""
    return make(url)


def tell(url, statement):
    """Have a statement carried out by somebody else."""
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        done = connection.execute(sa.text(statement))
        return done.all() if done.returns_rows else done.rowcount


def nobody(_error):
    """Hear of a commit, and do nothing."""


def recorded(state, events):
    """Record events; return what is said of them."""
    commits = Commits()
    state.record(events, commits.done)
    commits.wait()
    return commits.errors[0]


# ── What stays ───────────────────────────────────────────────────────────────────────────────


def test_another_manager_finds_everything(make, url):
    """All that one has recorded, and nothing else."""
    state = make(url)
    accept(state, accepted(inputs={"url": "x"}, business_id="b"))
    write(state, happened(*FAILED))
    before = told([state.snapshot("run"), state.events("run"), state.list(business_id="b").runs])
    state.close()

    other = make(url)
    after = told([other.snapshot("run"), other.events("run"), other.list(business_id="b").runs])
    assert before == after


def test_a_manager_that_was_closed_can_be_used_again(state):
    """By a second orchestrator, for example."""
    accept(state, accepted("one"))
    state.close()
    assert ["one"] == [run.run_id for run in state.list().runs]
    accept(state, accepted("two"))
    state.close()

    assert 2 == state.list().total


def test_closing_a_manager_does_not_wait_for_somebody_else_who_uses_it(state):
    """Two orchestrators may share one, and the first to end closes it."""
    closed = threading.Event()

    def close():
        state.close()
        closed.set()

    with held(state):
        thread = threading.Thread(target=close)
        thread.start()
        while not state._writer.queue.closing:
            pass
        state.create(accepted(), nobody)
        assert closed.wait(60)
    thread.join()

    assert 1 == state.list().total


def test_errors_come_back_with_their_text_and_traceback(state):
    """As values of their own."""
    accept(state, accepted())
    write(state, happened(*FAILED))
    error = state.snapshot("run").steps["a"].error

    assert RecordedError("builtins.ValueError", "no", error.traceback) == error
    assert error == state.events("run")[3].data["error"]


def test_the_tables_say_what_happened_in_plain_values(make, url):
    """Whoever looks with other tools can read them."""
    state = make(url)
    accept(state, accepted(priority=3, trace_id="t"))
    write(state, happened(*COMPLETED))
    state.close()

    ((status, priority, trace_id, last, fence),) = tell(
        url, "SELECT status, priority, trace_id, last_event, fence FROM actorflow_runs"
    )
    assert ("completed", 3, "t", 5, 1) == (status, priority, trace_id, last, fence)
    steps = "SELECT step_id, status, attempts, output FROM actorflow_steps"
    assert [("a", "completed", 1, '"of a"')] == [tuple(row) for row in tell(url, steps)]
    kinds = tell(url, "SELECT kind FROM actorflow_events ORDER BY number")
    assert [kind.value for kind in COMPLETED] == [kind for (kind,) in kinds]
    ((moment,),) = tell(url, "SELECT created_at FROM actorflow_runs")
    moment = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    assert dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC) == moment


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE actorflow_runs SET status = 'done'",
        "UPDATE actorflow_runs SET finished_at = NULL",
        "UPDATE actorflow_runs SET last_event = -1",
        "UPDATE actorflow_runs SET fence = 0",
        "UPDATE actorflow_steps SET status = 'done'",
        "UPDATE actorflow_steps SET attempts = -1",
        "UPDATE actorflow_events SET number = 0",
        "UPDATE actorflow_events SET run_id = 'nobody'",
        "INSERT INTO actorflow_events SELECT * FROM actorflow_events",
    ],
)
def test_the_tables_refuse_what_makes_no_sense(make, url, broken):
    """Whoever writes it."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    state.close()

    with pytest.raises(sa.exc.IntegrityError):
        tell(url, broken)


def test_a_run_takes_its_steps_and_events_along(make, url):
    """When its row is deleted."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    state.close()
    tell(url, "DELETE FROM actorflow_runs")

    for table in ("actorflow_steps", "actorflow_events"):
        assert [(0,)] == [tuple(row) for row in tell(url, f"SELECT count(*) FROM {table}")]  # noqa: S608


# ── Whose a run is ───────────────────────────────────────────────────────────────────────────


def expire(url):
    """Let all leases have run out."""
    tell(url, "UPDATE actorflow_owners SET lease_until = '2000-01-01 00:00:00.000000+00:00'")


def test_a_run_whose_owner_is_alive_cannot_be_claimed(make, url):
    """Not before its lease has run out."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))

    with pytest.raises(LeaseHeld, match="'run'"):
        second.claim("run")
    write(first, happened(EventKind.STEP_COMPLETED, after=3))
    expire(url)
    assert StepStatus.COMPLETED is second.claim("run").steps["a"].status


def test_a_run_that_has_ended_can_be_claimed_from_an_owner_who_is_alive(make, url):
    """There is nothing left that he would do with it."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*FAILED))
    second.claim("run")

    error = recorded(first, happened(EventKind.RUN_RESUMED, after=5))

    assert isinstance(error.errors["run"], LeaseLost)
    write(second, happened(EventKind.RUN_RESUMED, after=5))


def test_the_runs_of_a_manager_that_was_closed_are_nobodys(make, url):
    """Whoever wants them need not wait."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))
    first.close()

    assert RunStatus.RUNNING is second.claim("run").status


def test_a_manager_that_was_only_slow_goes_on_with_what_nobody_has_taken(make, url):
    """A lease that has run out takes nothing away by itself."""
    first, second = make(url), make(url)
    for run_id in ("taken", "left"):
        accept(first, accepted(run_id))
        write(first, happened(*STARTED, run_id=run_id))
    expire(url)
    second.claim("taken")

    late = [happened(EventKind.STEP_COMPLETED, run_id=it, after=3) for it in ("taken", "left")]
    error = recorded(first, [event for events in late for event in events])

    assert ["taken"] == [*error.errors]
    assert StepStatus.COMPLETED is second.snapshot("left").steps["a"].status


def test_a_lease_is_renewed_though_nothing_happens(make, url):
    """A step may take as long as it likes."""
    state, renewed = make(url, lease=0.1), threading.Event()
    accept(state, accepted())
    commits = iter(range(1, 5))

    def count(_connection):
        if next(commits, None) is None:
            renewed.set()

    sa.event.listen(state._engines.writing, "commit", count)

    assert renewed.wait(60)
    assert 1 == len(tell(url, "SELECT owner FROM actorflow_owners"))


def test_a_lease_is_not_renewed_by_one_who_has_nothing_left(make, url):
    """Nor does he write anything else."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*COMPLETED))
    write(state, [])

    assert state._writer._rest() is None


def test_a_run_that_somebody_else_has_claimed_is_not_written_any_more(make, url):
    """The late writes of its former owner change nothing, and say so."""
    first, second = make(url), make(url)
    accept(first, accepted())
    write(first, happened(*STARTED))
    expire(url)
    second.claim("run")
    write(second, happened(EventKind.RUN_RESUMED, after=3))

    error = recorded(first, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error, NotRecorded)
    assert {"run": LeaseLost("run")}.keys() == error.errors.keys()
    assert isinstance(error.errors["run"], LeaseLost)
    assert 4 == len(second.events("run"))
    assert StepStatus.PENDING is second.snapshot("run").steps["a"].status
    write(second, happened(*STARTED[1:], after=4))


def test_a_run_that_is_lost_takes_no_other_along(make, url):
    """Not even one whose events came in the same record."""
    first, second = make(url), make(url)
    for run_id in ("lost", "kept"):
        accept(first, accepted(run_id))
        write(first, happened(*STARTED, run_id=run_id))
    expire(url)
    second.claim("lost")
    write(second, happened(EventKind.RUN_RESUMED, run_id="lost", after=3))

    completed = (EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED)
    mixed = [
        event
        for pair in zip(
            happened(*completed, run_id="lost", after=3),
            happened(*completed, run_id="kept", after=3),
            strict=True,
        )
        for event in pair
    ]
    error = recorded(first, mixed)

    assert ["lost"] == [*error.errors]
    assert RunStatus.COMPLETED is first.snapshot("kept").status
    assert RunStatus.RUNNING is first.snapshot("lost").status


def test_a_run_that_was_deleted_is_lost(make, url):
    """It is not made again, piece by piece."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*STARTED))
    tell(url, "DELETE FROM actorflow_runs")

    error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error.errors["run"], LeaseLost)
    with pytest.raises(RunNotFound):
        state.snapshot("run")


# ── When the database refuses ────────────────────────────────────────────────────────────────


def test_a_record_has_no_holes(state):
    """An event whose predecessor is missing is not recorded, nor is what follows it."""
    accept(state, accepted())
    missing = recorded(state, happened(*STARTED)[1:])
    later = recorded(state, happened(*STARTED))

    assert "event 1 of run 'run' is missing before it" in str(missing)
    assert isinstance(later, NotRecorded)
    assert [] == list(state.events("run"))


def test_one_run_that_cannot_be_written_does_not_hurt_the_others(make, url):
    """A group that is refused for good is written run by run."""
    state = make(url)
    with held(state):
        state.create(accepted("taken"), nobody)
        write_soon = Commits()
        for run_id in ("taken", "other"):
            if run_id == "other":
                state.create(accepted(run_id), nobody)
            state.record(happened(*COMPLETED, run_id=run_id), write_soon.done)
        tell(
            url,
            "INSERT INTO actorflow_runs (run_id, workflow_id, workflow_version, status, priority, "
            "serializer, step_ids, last_steps, inputs, metadata, created_at, last_event, owner, "
            "fence) VALUES ('taken', 'w', '1', 'pending', 0, 'json', '[]', '[]', '{}', '{}', "
            "'2026-01-01 00:00:00+00:00', 0, 'somebody', 1)",
        )
    for _ in range(2):
        write_soon.wait()

    assert [["taken"], None] == [error and [*error.errors] for error in write_soon.errors]
    assert isinstance(write_soon.errors[0].errors["taken"], StoreUnavailable)
    assert RunStatus.COMPLETED is state.snapshot("other").status


@contextlib.contextmanager
def held(state):
    """Keep the writer busy, so that what comes meanwhile is one group."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_error):
        entered.set()
        leave.wait()

    state.record([], hold)
    entered.wait()
    try:
        yield
    finally:
        leave.set()


def test_what_waits_is_written_together_and_told_in_order(state):
    """One commit for all of it."""
    commits = []
    sa.event.listen(state._engines.writing, "commit", lambda _: commits.append("commit"))
    done = Commits()
    with held(state):
        commits.clear()
        for number in range(20):
            state.create(accepted(f"r{number}"), nobody)
            state.record(happened(*COMPLETED, run_id=f"r{number}"), done.done)
    for _ in range(20):
        done.wait()

    assert ["commit"] == commits
    assert [None] * 20 == done.errors


def test_a_commit_whose_answer_is_lost_is_not_repeated(state):
    """It is looked for, and found."""
    accept(state, accepted())
    write(state, happened(*STARTED))
    lose = iter([True])

    def lose_the_answer(connection):
        if next(lose, False):
            connection.connection.dbapi_connection.commit()
            raise sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))

    sa.event.listen(state._engines.writing, "commit", lose_the_answer)
    write(state, happened(EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED, after=3))

    assert next(lose, None) is None
    assert [1, 2, 3, 4, 5] == [event.number for event in state.events("run")]
    assert ("ok", 0) == (state.health.status, state.health.failures)


def test_a_locked_database_is_waited_for(make, path):
    """Nothing is told while the lock lasts, and nothing is lost by it."""
    state = make(f"sqlite:///{path}")
    accept(state, accepted())
    write(state, happened(*STARTED))
    commits, other = Commits(), sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    failed = threading.Event()
    sa.event.listen(state._engines.writing, "handle_error", lambda _: failed.set())
    state.record(happened(EventKind.STEP_COMPLETED, after=3), commits.done)
    failed.wait()
    before = list(commits.errors)
    other.execute("COMMIT")
    other.close()
    commits.wait()

    assert ([], [None]) == (before, commits.errors)
    assert "ok" == state.health.status


def test_a_database_that_stays_locked_fails_the_run(make, path):
    """After the patience that was asked for; and the store recovers by itself."""
    state = make(f"sqlite:///{path}", patience=0)
    accept(state, accepted())
    write(state, happened(*STARTED))
    with locked(path):
        error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))
        sick = state.health
    accept(state, accepted("next"))
    write(state, happened(*COMPLETED, run_id="next"))

    assert isinstance(error.errors["run"], StoreUnavailable)
    assert ("down", True) == (sick.status, "locked" in sick.error)
    assert ("ok", None) == (state.health.status, state.health.error)
    assert 3 == len(state.events("run"))


def test_a_group_that_was_not_taken_whole_is_not_acknowledged(make, url, monkeypatch):
    """Though nobody else seems to own any of it."""
    state = make(url)
    accept(state, accepted())
    write(state, happened(*STARTED))
    monkeypatch.setattr(state._writer._statements, "write", lambda *_: False)
    error = recorded(state, happened(EventKind.STEP_COMPLETED, after=3))

    assert isinstance(error.errors["run"], StoreUnavailable)


def test_a_defect_of_the_writer_keeps_nobody_waiting(make, url, monkeypatch):
    """The runs of that group are lost, and the next ones are written."""
    state = make(url)
    with monkeypatch.context() as patch:
        patch.setattr(state._writer._books, "enter", lambda _: 1 / 0)
        state.create(accepted(), nobody)
        error = recorded(state, happened(*STARTED))
    accept(state, accepted("next"))
    write(state, happened(*COMPLETED, run_id="next"))

    assert "ZeroDivisionError" in str(error.errors["run"])
    assert ["next"] == [run.run_id for run in state.list().runs]


def test_a_run_that_never_started_is_withdrawn_and_nobody_hears_of_it(state):
    """The supervisor must not take the word of it for that of another record."""
    heard = []
    with Orchestrator(state) as orchestrator:
        runtime = orchestrator._life.runtime("test")
        runtime.committed = heard.append
        accept(state, accepted("unstarted"))
        withdraw(state, "unstarted", runtime.clock)

    assert [] == heard

    assert RunStatus.CANCELLED is state.snapshot("unstarted").status


def test_more_than_may_wait_is_refused(make, url):
    """With an error of its own, before anything is promised."""
    state = make(url, max_waiting=10)
    with held(state):
        for number in range(10):
            state.create(accepted(f"r{number}"), nobody)
        waiting = state.health.waiting
        with pytest.raises(StoreOverloaded, match="the limit is 10"):
            state.create(accepted("more"), nobody)
        with pytest.raises(StoreOverloaded):
            state.record(happened(*STARTED), print)

    assert 10 == waiting
    assert 10 == state.list().total
    with pytest.raises(RunNotFound):
        state.snapshot("more")


def test_a_database_that_cannot_be_reached_says_so():
    """When the manager is made, and without the password."""
    with pytest.raises(StoreUnavailable) as raised:
        SQLStateManager("postgresql://me:secret@127.0.0.1:1/nothing")

    assert "secret" not in str(raised.value)


# ── Starting ─────────────────────────────────────────────────────────────────────────────────


def test_a_start_is_acknowledged_when_the_run_is_recorded(state):
    """Not before, and meanwhile the event loop turns."""

    async def main():
        async with Orchestrator(state) as orchestrator:
            with held(state):
                starting = asyncio.create_task(orchestrator.start_async(flow_that_returns(1)))
                for _ in range(1000):
                    await asyncio.sleep(0)
                early = starting.done()
            run = await starting
            return early, state.list().total, (await run).output

    assert (False, 1, 1) == asyncio.run(main())


def test_a_start_from_another_thread_waits_for_the_record(make, url):
    """What it returns is there for everybody."""
    with Orchestrator(make(url)) as orchestrator:
        run = orchestrator.start(flow_that_returns(1))

        assert [(run.id,)] == tell(url, "SELECT run_id FROM actorflow_runs")
        assert 1 == run.result().output


def test_a_start_that_would_block_the_event_loop_is_refused(state):
    """With the method that does not, and before anything is recorded."""

    async def main():
        async with Orchestrator(state) as orchestrator:
            with pytest.raises(WrongLoop, match=r"start_async"):
                orchestrator.start(flow_that_returns(1))

    asyncio.run(main())

    assert 0 == state.list().total


@contextlib.contextmanager
def locked(path):
    """Keep everybody else from writing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("COMMIT")
        other.close()


def test_a_run_that_cannot_be_recorded_does_not_start(make, path):
    """The caller is told, and the next one is taken again."""
    began = []
    flow = Workflow("flow")
    flow.step(lambda: began.append(1), id="a")
    state = make(f"sqlite:///{path}", patience=0)
    with Orchestrator(state) as orchestrator:
        with locked(path), pytest.raises(StoreUnavailable, match="locked"):
            orchestrator.start(flow)
        orchestrator.run(flow)

    assert [1] == began
    assert 1 == state.list().total


# ── What cannot be stored ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": {"a": object()}},
        {"metadata": {"a": object()}},
        {"priority": 2**63},
        {"trace_id": "a\0b"},
        {"workflow_id": "\ud800"},
        {"step_ids": ("a\0",)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_run_that_cannot_be_stored_is_refused(state, fields):
    """Before it is accepted."""
    with pytest.raises(NotStorable):
        accept(state, accepted(**fields))

    assert 0 == state.list().total


def test_a_run_whose_inputs_are_too_large_is_refused(make, url):
    """With the way to them."""
    with pytest.raises(TooLarge, match=r"\['text'\]"):
        accept(make(url, max_input=100), accepted(inputs={"text": "x" * 100}))


def flow_that_returns(*values):
    """A workflow whose step returns one value after the other, one in each attempt."""
    flow, left = Workflow("returning"), list(values)

    @flow.step(retry=RetryPolicy(max_attempts=len(values), initial_interval=0.001))
    def give():
        return left.pop(0)

    @flow.step(after=give)
    def take(give):
        return give

    return flow


def test_an_output_that_cannot_be_stored_fails_its_step(state):
    """By name, with the path, and without another attempt."""
    with Orchestrator(state) as orchestrator:
        with pytest.raises(RunFailed) as raised:
            orchestrator.run(flow_that_returns({"rows": [1, object()]}, 1))
        result = raised.value.result

    assert isinstance(result.error, NotStorable)
    assert "the output of step 'give'" in str(result.error)
    assert "['rows'][1] is a builtins.object" in str(result.error)
    assert ("give", 1) == (result.failed_step, result.steps["give"].attempts)
    assert told(result.steps) == told(state.snapshot(result.run_id).steps)


def test_an_output_is_stored_as_it_was_when_it_was_returned(state):
    """Whatever a later step does with it."""
    flow = Workflow("mutating")

    @flow.step
    def give():
        return [1]

    @flow.step(after=give)
    def spoil(give):
        give.append(2)

    with Orchestrator(state) as orchestrator:
        result = orchestrator.run(flow)

    assert [1] == state.snapshot(result.run_id).outputs["give"]


def test_another_serializer_than_the_runs_own_is_refused(make, url):
    """It could read something else than what was written."""

    class Other(JSONSerializer):
        """One of the program's own."""

        name = "other"

    accept(make(url), accepted())

    with pytest.raises(NotRestorable, match="the serializer 'json' wrote it"):
        make(url, serializer=Other()).snapshot("run")


def test_a_list_has_the_runs_that_another_serializer_wrote(make, url):
    """One of them keeps nobody from the others, and does not pass for a run without inputs."""

    class Other(JSONSerializer):
        """One of the program's own."""

        name = "other"

    accept(make(url), accepted(inputs={"city": "Oslo"}, created_at=1.0))
    other = make(url, serializer=Other())
    accept(other, accepted("theirs", created_at=2.0))
    theirs, mine = other.list().runs

    assert ("theirs", {}, "run", "pending") == (
        theirs.run_id,
        theirs.inputs,
        mine.run_id,
        mine.status,
    )
    assert "<unread: the serializer 'json' wrote it, and this" in repr(mine.inputs)
    for look in (len, list, lambda inputs: inputs["city"]):
        with pytest.raises(NotRestorable, match="the inputs of run 'run' cannot be read back: the"):
            look(mine.inputs)


def test_a_serializer_that_fails_to_read_is_an_error_that_says_where(make, url):
    """With the run and the step, and its own error as the cause."""

    class Forgetful(JSONSerializer):
        """One of the program's own."""

        def loads(self, text):
            """Read what a run was given, and nothing else."""
            return {} if text == "{}" else 1 / 0

    state = make(url, serializer=Forgetful())
    accept(state, accepted())
    write(state, happened(*COMPLETED))

    said = "the output of step .* in run 'run' cannot be read back: it made the serializer 'json' "
    for look in (state.snapshot, state.events):
        with pytest.raises(NotRestorable, match=f"{said}raise ZeroDivisionError") as raised:
            look("run")
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


# ── With an orchestrator ─────────────────────────────────────────────────────────────────────


def test_a_failed_run_goes_on_in_another_process_as_it_were(make, url):
    """With what had completed; here by a manager and an orchestrator of their own."""
    ran = []
    flow = Workflow("report")

    @flow.step
    def fetch():
        ran.append("fetch")
        return {"pair": (1, 2)}

    @flow.step(after=fetch)
    def use(fetch):
        ran.append("use")
        if ran.count("use") == 1:
            raise OSError("not yet")
        return fetch["pair"]

    with Orchestrator(make(url)) as orchestrator:
        run_id = orchestrator.start(flow).wait().run_id
    with Orchestrator(make(url)) as orchestrator:
        result = orchestrator.resume(run_id, flow).result(60)

    assert (1, 2) == result.output
    assert ["fetch", "use", "use"] == ran


def test_a_run_that_was_cut_by_its_timeout_still_says_so(make, url):
    """`RunTimeout`, also when it is read from the database."""
    flow = Workflow("slow")

    @flow.step(async_=True)
    async def wait():
        await asyncio.Event().wait()

    with Orchestrator(make(url)) as orchestrator:
        run_id = orchestrator.start(flow, timeout=0.01).wait().run_id
    with Orchestrator(make(url)) as orchestrator, pytest.raises(RunTimeout):
        orchestrator.get(run_id).result()


def test_events_are_streamed_on_the_callers_own_loop(state):
    """From the first to the last, while the run goes on."""

    async def stream():
        async with Orchestrator(state) as orchestrator:
            run = await orchestrator.start_async(flow_that_returns(1))
            return [event.kind.value async for event in run.events()]

    kinds = asyncio.run(stream())
    assert ("run.started", "run.completed", 8) == (kinds[0], kinds[-1], len(kinds))


# ── Arguments ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://a/b", "sqlite://", "sqlite:///:memory:", None, 3]
)
def test_an_address_that_is_none_is_refused(url):
    """With one that would do."""
    with pytest.raises(DefinitionError):
        SQLStateManager(url)


@pytest.mark.parametrize(
    "options",
    [
        {"synchronous": "OFF"},
        {"patience": -1},
        {"patience": "1"},
        {"max_waiting": 0},
        {"max_input": -1},
        {"max_output": 0},
        {"max_event": True},
        {"serializer": "json"},
        {"serializer": JSONSerializer},
    ],
)
def test_an_option_out_of_its_range_is_refused(path, options):
    """By name."""
    with pytest.raises(DefinitionError, match=next(iter(options))):
        SQLStateManager(f"sqlite:///{path}", **options)


def test_what_a_serializer_lacks_is_named(path):
    """Before a run is written that it cannot read."""

    class Nameless:
        """It forgot to say what it is called."""

        def dumps(self, value):
            """Write."""

        def loads(self, text):
            """Read."""

    with pytest.raises(DefinitionError, match=r"it has no name\. Pass one such as JSONSerializer"):
        SQLStateManager(f"sqlite:///{path}", serializer=Nameless())


def test_two_strokes_are_no_path():
    """And not a database that is gone with its process."""
    with pytest.raises(DefinitionError, match="Three strokes begin a relative path, four an abs"):
        SQLStateManager("sqlite://runs.db")


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_that_is_not_there_is_named(tmp_path, create):
    """With the database, and not with advice for one that is there."""
    with pytest.raises(StoreUnavailable) as raised:
        SQLStateManager(f"sqlite:///{tmp_path}/no/runs.db", create=create)

    assert f"database sqlite:///{tmp_path}/no/runs.db did not" in str(raised.value)
    assert f"There is no folder {tmp_path}/no: make it, or mend the path" in str(raised.value)
    assert "resume" not in str(raised.value)


def test_a_file_that_is_no_database_is_named(path):
    """With what to look at."""
    path.write_text("hello " * 1000, encoding="utf-8")
    with pytest.raises(
        StoreUnavailable, match=r"runs\.db did not open: .*file of SQLite, that this"
    ):
        SQLStateManager(f"sqlite:///{path}")


HIDDEN = """
import sys
from actorflow.state.sql import SQLStateManager
loaded = {"alembic", "msgspec", "psycopg", "sqlalchemy"} & {*sys.modules}
sys.modules[sys.argv[1]] = None
try:
    SQLStateManager(sys.argv[2])
except ImportError as error:
    print(loaded or "nothing", type(error).__name__, error.package, error)
"""


@pytest.mark.parametrize("package", ["sqlalchemy", "msgspec", "alembic", "psycopg"])
def test_a_missing_package_is_named_with_its_extra(package):
    """When a manager is made; importing its class loads none of them."""
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    command = [sys.executable, "-c", HIDDEN, package, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert said.startswith(f"nothing MissingExtra {package} ")
    assert "pip install 'actorflow[sql]'" in said

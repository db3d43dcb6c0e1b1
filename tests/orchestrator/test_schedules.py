"""Schedules of an orchestrator: made, fired, changed; with a clock that the tests set."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from actorflow import (
    DefinitionError,
    MemoryStateManager,
    MissingInput,
    NotRunning,
    Orchestrator,
    RunStatus,
    ScheduleNotFound,
    UnknownWorkflow,
    WrongLoop,
)
from actorflow.errors.running import Overloaded
from actorflow.errors.storage import NotRestorable, StoreUnavailable
from actorflow.orchestrator import firing
from actorflow.orchestrator.firing import Firing
from actorflow.state.sql import JSONSerializer, SQLStateManager
from tests.support.flows import GUARD, flow_of

# Their steps are lambdas and closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


class Time:
    """The clock of all schedules; setting it wakes those that fire."""

    def __init__(self):
        self.now = NOON.timestamp()
        self._firing = []
        self._turned = threading.Condition()
        self.turns = 0

    def turned(self):
        """Take note of a turn."""
        with self._turned:
            self.turns += 1
            self._turned.notify_all()

    def settle(self, orchestrator):
        """Wait until a turn that begins from now on has ended."""
        background = orchestrator._life.background
        driver = next(
            it for it in getattr(background, "_parts", [background]) if isinstance(it, Firing)
        )
        with self._turned:
            turns = self.turns
            driver.wake()
            # The first may have begun before.
            assert self._turned.wait_for(lambda: self.turns >= turns + 1, GUARD)
            driver.wake()
            assert self._turned.wait_for(lambda: self.turns >= turns + 2, GUARD)

    def go_on(self, orchestrator, seconds):
        """Let time pass, and everything fire that is due."""
        self.now += seconds
        self.settle(orchestrator)


@pytest.fixture
def clock(monkeypatch):
    """A clock at noon."""
    time, turn = Time(), Firing.turn

    def turned(self, runtime):
        try:
            return turn(self, runtime)
        finally:
            time.turned()

    monkeypatch.setattr(Firing, "wall", lambda _: time.now)
    monkeypatch.setattr(Firing, "turn", turned)
    return time


@pytest.fixture
def lines():
    """What is logged."""
    with structlog.testing.capture_logs() as logged:
        yield logged
    structlog.reset_defaults()


@pytest.fixture(params=["memory", "sqlite"])
def here(request, make_orchestrator, tmp_path):
    """An orchestrator whose schedules are in memory or in a file."""
    if request.param == "memory":
        return make_orchestrator()
    return make_orchestrator(SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True))


class OtherSerializer(JSONSerializer):
    """One that only some processes have."""

    name = "other"


def until(condition):
    """Look until it is so."""
    never, looks = threading.Event(), 0
    while not condition():
        looks += 1
        assert looks < 100 * GUARD
        never.wait(0.01)


def report(name="report"):
    """A workflow that returns what it knows of its schedule."""
    return flow_of(lambda ctx: dict(ctx.metadata), name)


def result_of(orchestrator, schedule):
    """The result of the run that it fired last."""
    schedule.refresh()
    return orchestrator.get(schedule.last_run_id).wait(GUARD)


# ── Firing ───────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_fires_at_its_nominal_time(here, clock):
    """Not before; the run knows the time and the schedule."""
    nightly = here.schedule("nightly", report(), cron="30 2 * * *", tz="Europe/Berlin")
    assert "2026-03-29T03:00:00+02:00" == nightly.next_at.isoformat()

    clock.go_on(here, 12 * 3600)
    assert 0 == here.list().total
    clock.go_on(here, 3600)

    expected = {"schedule": "nightly", "scheduled_for": "2026-03-29T03:00:00+02:00"}
    assert expected == result_of(here, nightly).output
    assert (1, 0, 0) == (nightly.fired, nightly.skipped, nightly.missed)
    assert expected["scheduled_for"] == nightly.last_at.isoformat()
    assert "2026-03-30T02:30:00+02:00" == nightly.next_at.isoformat()


def test_each_nominal_time_is_one_run(here, clock):
    """With an idempotency key made of name and nominal time."""
    every = here.schedule("every", report(), every=timedelta(minutes=1))
    for _ in range(3):
        clock.go_on(here, 60)
        clock.settle(here)
        result_of(here, every)

    assert (3, 3) == (every.fired, here.list().total)
    same = here.start("report", idempotency_key="schedule:every:2026-03-28T12:03:00+00:00")
    assert every.last_run_id == same.id


def test_inputs_are_those_of_the_schedule(here, clock):
    """Of each of its runs."""
    flow = flow_of(lambda day: day, "daily")
    daily = here.schedule("daily", flow, every=60.0, inputs={"day": "today"})

    clock.go_on(here, 60)

    assert "today" == result_of(here, daily).output


def test_a_firing_is_skipped_while_the_last_run_is_in_progress(here, gate, clock, lines):
    """It is counted and logged."""
    every = here.schedule("every", gate.flow, every=60.0)
    clock.go_on(here, 60)
    clock.go_on(here, 60)

    every.refresh()
    assert (1, 1, 1) == (every.fired, every.skipped, here.list().total)
    told = [it for it in lines if it["event"] == "schedule.skipped"]
    assert [("every", 1, "2026-03-28T12:02:00+00:00")] == [
        (it["schedule"], it["count"], it["first"]) for it in told
    ]
    gate.open()
    here.get(every.last_run_id).wait(GUARD)
    clock.go_on(here, 60)
    every.refresh()
    assert 2 == every.fired


def test_a_queued_firing_starts_when_the_last_run_has_ended(here, gate, clock):
    """One waits, however many come."""
    every = here.schedule("every", gate.flow, every=60.0, overlap="queue")
    for _ in range(3):
        clock.go_on(here, 60)
    every.refresh()
    assert (1, 1) == (every.fired, every.skipped)

    gate.open()
    here.get(every.last_run_id).wait(GUARD)
    clock.settle(here)

    every.refresh()
    assert (2, datetime(2026, 3, 28, 12, 2, tzinfo=UTC)) == (every.fired, every.last_at)


def test_a_firing_may_cancel_the_run_in_progress(here, clock):
    """And starts when that has ended."""

    async def endless():
        await asyncio.Event().wait()

    every = here.schedule("every", flow_of(endless), every=60.0, overlap="cancel_running")
    clock.go_on(here, 60)
    every.refresh()
    first = here.get(every.last_run_id)

    clock.go_on(here, 60)

    assert RunStatus.CANCELLED is first.wait(GUARD).status
    clock.settle(here)
    every.refresh()
    assert (2, 0) == (every.fired, every.skipped)


def test_firings_may_overlap(here, gate, clock):
    """With overlap="allow"."""
    here.schedule("every", gate.flow, every=60.0, overlap="allow")
    clock.go_on(here, 60)
    clock.go_on(here, 60)

    assert 2 == here.list().total


def test_what_is_too_late_is_missed(here, clock, lines):
    """It is counted and logged, and the latest of the rest fires."""
    every = here.schedule("every", report(), every=60.0, catch_up=200.0)

    clock.go_on(here, 600 - 20)
    every.refresh()

    assert (1, 8) == (every.fired, every.missed)
    assert [8] == [it["count"] for it in lines if it["event"] == "schedule.missed"]


def test_a_full_orchestrator_starts_the_run_later(make_orchestrator, gate, clock):
    """Its time is not lost, and other schedules do not wait."""
    here = make_orchestrator(max_active_runs=1, max_queued_runs=0)
    run = here.start(gate.flow)
    every = here.schedule("every", report(), every=60.0)
    clock.go_on(here, 60)
    every.refresh()
    assert 0 == every.fired

    gate.open()
    run.wait(GUARD)
    clock.settle(here)
    every.refresh()

    assert "every" == here.get(every.last_run_id).wait(GUARD).output["schedule"]


def test_a_full_daemon_leaves_the_run_to_others(make, make_orchestrator, gate, clock):
    """It is in the queue, from which another one takes it."""
    state = make()
    options = {"recover": True, "recover_every": 0.01}
    full = make_orchestrator(state, max_active_runs=1, max_queued_runs=0, **options)
    full.start(gate.flow)
    every = full.schedule("every", report(), every=60.0)
    clock.go_on(full, 60)
    every.refresh()
    assert (1, RunStatus.PENDING) == (every.fired, state.snapshot(every.last_run_id).status)

    other = make_orchestrator(make(), **options)
    other.register(report())
    until(lambda: state.snapshot(every.last_run_id).status is RunStatus.COMPLETED)


def test_an_error_of_a_schedule_is_logged_once(here, clock, lines, monkeypatch):
    """Until it has gone; other schedules fire."""
    here.schedule("a", report("broken"), every=60.0)
    b = here.schedule("b", report("fine"), every=60.0)
    start = Firing.start

    def refuse(self, runtime, request):
        if request.workflow_id == "broken":
            raise StoreUnavailable("record", "gone")
        return start(self, runtime, request)

    monkeypatch.setattr(Firing, "start", refuse)
    clock.go_on(here, 60)
    clock.settle(here)
    b.refresh()

    assert 1 == b.fired
    assert ["a"] == [it["schedule"] for it in lines if it["event"] == "schedule.waits"]


def test_inputs_of_another_serializer_wait_for_a_daemon_that_reads_them(
    make, make_orchestrator, clock
):
    """They can be listed, and their firings are not lost."""
    flow = flow_of(lambda day: day, "daily")
    with Orchestrator(make(serializer=OtherSerializer())) as writes:
        writes.schedule("daily", flow, every=60.0, inputs={"day": 1})
    here = make_orchestrator(make())
    here.register(flow)
    clock.go_on(here, 60)
    (daily,) = here.schedules()
    with pytest.raises(NotRestorable, match=r"the inputs of schedule 'daily'.*'other'"):
        dict(daily.definition.inputs)
    assert (0, 0) == (daily.fired, daily.missed)

    reads = make_orchestrator(make(serializer=OtherSerializer()))
    reads.register(flow)
    clock.go_on(reads, 1)
    (daily,) = reads.schedules()
    assert (1, 0) == (daily.fired, daily.missed)


def test_a_run_that_can_never_start_is_missed(here, clock, lines, monkeypatch):
    """The log says why, and the schedule goes on."""
    every = here.schedule("every", report(), every=60.0)

    def refuse(*_):
        raise DefinitionError("report", "it is broken", "")

    with monkeypatch.context() as patch:
        patch.setattr(Firing, "start", refuse)
        clock.go_on(here, 60)
    clock.go_on(here, 60)
    every.refresh()

    assert (1, 1) == (every.fired, every.missed)
    assert 1 == [it["event"] for it in lines].count("schedule.failed")


@pytest.mark.parametrize("error", [StoreUnavailable("record", "gone"), Overloaded(1, 1, 1, 1)])
def test_a_run_that_cannot_start_now_is_started_later(here, clock, monkeypatch, error):
    """Though it was decided."""
    every = here.schedule("every", report(), every=60.0)

    def refuse(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Firing, "start", refuse)
        clock.go_on(here, 60)
    clock.settle(here)
    every.refresh()

    assert (1, 0) == (every.fired, every.missed)


def test_a_crash_between_the_decision_and_the_start_loses_nothing(here, clock, monkeypatch):
    """Nor does one between the start and its record start the run again."""
    every = here.schedule("every", report(), every=60.0)
    keeper, calls = here._schedules._powers.schedules, []
    advance = type(keeper).advance_schedule

    def crash(self, name, revision, state):
        calls.append(state)
        if len(calls) == 2:  # the decision is the first
            raise StoreUnavailable("record", "gone")
        return advance(self, name, revision, state)

    monkeypatch.setattr(type(keeper), "advance_schedule", crash)
    clock.go_on(here, 60)
    clock.settle(here)
    every.refresh()

    assert (1, 1) == (every.fired, here.list().total)


def test_a_pause_at_the_moment_of_a_decision_prevails(here, clock, monkeypatch):
    """The decision was made for a schedule that has changed, and is made again."""
    every = here.schedule("every", report(), every=60.0)
    keeper, waiting = here._schedules._powers.schedules, [every.pause]
    advance = type(keeper).advance_schedule

    def pause_first(self, *given):
        if waiting:
            waiting.pop()()
        return advance(self, *given)

    monkeypatch.setattr(type(keeper), "advance_schedule", pause_first)
    clock.go_on(here, 60)
    every.refresh()

    assert (True, 0, 0) == (every.paused, every.fired, here.list().total)


# ── Definitions ──────────────────────────────────────────────────────────────────────────────


def test_an_equal_definition_does_nothing(here, clock):
    """However often it is made."""
    flow = report()
    first = here.schedule("every", flow, every=60.0)
    clock.go_on(here, 30)

    again = here.schedule("every", flow, every=timedelta(minutes=1))

    assert first._recorded == again._recorded


def test_a_changed_definition_goes_on_where_the_schedule_stands(here, clock):
    """With its counts."""
    flow = report()
    every = here.schedule("every", flow, every=60.0)
    clock.go_on(here, 60)
    result_of(here, every)
    changed = here.schedule("every", flow, every=3600.0)
    assert (1, datetime(2026, 3, 28, 13, tzinfo=UTC)) == (changed.fired, changed.next_at)

    clock.go_on(here, 3600)
    changed.refresh()

    assert (2, 0, 0) == (changed.fired, changed.skipped, changed.missed)


def test_a_changed_timetable_fires_nothing_for_times_before_the_change(here, clock):
    """They were no nominal times of the schedule then; nor do they count as missed."""
    flow = report()
    nightly = here.schedule("nightly", flow, cron="0 2 * * *", catch_up=timedelta(days=3))
    clock.go_on(here, 14 * 3600)
    result_of(here, nightly)
    clock.go_on(here, 20 * 3600)  # it is 22:00

    changed = here.schedule(
        "nightly", flow, cron="*/10 * * * *", missed="all", catch_up=timedelta(days=3)
    )
    assert datetime(2026, 3, 29, 22, 10, tzinfo=UTC) == changed.next_at
    clock.settle(here)
    changed.refresh()
    assert (1, 0, 0) == (changed.fired, changed.skipped, changed.missed)

    clock.go_on(here, 600)
    assert "2026-03-29T22:10:00+00:00" == result_of(here, changed).output["scheduled_for"]


def test_other_changes_lose_no_nominal_time(here, clock):
    """A program that was stopped at the nominal time may come back with other inputs."""
    nightly = here.schedule("nightly", report(), cron="0 2 * * *")
    clock.now += 14 * 3600 + 60

    here.schedule("nightly", report(), cron="0 2 * * *", overlap="queue")
    clock.settle(here)

    assert "2026-03-29T02:00:00+00:00" == result_of(here, nightly).output["scheduled_for"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs either cron= or every=; got neither"),
        ({"cron": "* * * * *", "every": 1}, "got both"),
        ({"cron": "99 * * * *"}, "not a cron expression: Bad minute"),
        ({"every": 0}, "every must be a positive number of seconds"),
        ({"every": 1e-6}, "every must be at least 0.01 seconds"),
        ({"every": 1, "tz": "UTC"}, "counts seconds from the epoch"),
        ({"cron": "* * * * *", "tz": "Mars"}, "tz='Mars' is not a known timezone"),
        ({"every": 1, "overlap": "skipp"}, "overlap must be one of .*; got 'skipp'"),
        ({"every": 1, "missed": "some"}, 'missed must be one of "latest", "all", "none"'),
        ({"every": 1, "catch_up": -1}, "catch_up must be zero or a positive number"),
        ({"every": 1, "jitter": "x"}, "jitter must be zero or a positive number"),
        ({"every": 1, "inputs": [1]}, r"inputs=\[1\] is not a mapping"),
    ],
)
def test_an_invalid_schedule_is_refused(here, options, said):
    """Before anything is kept."""
    with pytest.raises(DefinitionError, match=said) as told:
        here.schedule("every", report(), **options)

    assert "workflow 'report': schedule 'every'" in str(told.value)
    assert [] == here.schedules()


def test_other_mistakes_are_refused_too(here):
    """A name, an option, an input and a workflow."""
    with pytest.raises(DefinitionError, match="name='' is not a name"):
        here.schedule("", report(), every=1)
    with pytest.raises(TypeError, match=r"a schedule has no option 'crom'.*'cron'"):
        here.schedule("every", report(), crom="* * * * *")
    with pytest.raises(MissingInput, match="day"):
        here.schedule("every", flow_of(lambda day: day), every=1)
    with pytest.raises(UnknownWorkflow, match="unheard"):
        here.schedule("every", "unheard", every=1)
    with pytest.raises(DefinitionError, match=r"name=Workflow\(.* is not a name"):
        here.schedule(report(), "every", every=1)  # the two are confused


def test_a_schedule_needs_a_running_orchestrator():
    """The error speaks of schedules, not of the runs that they start."""
    with pytest.raises(NotRunning, match=r"^cannot use a schedule: .* is not running"):
        Orchestrator().schedule("every", report(), every=1)


def test_a_state_manager_without_schedules_is_named(make_orchestrator):
    """With the power that it lacks."""

    class Plain(MemoryStateManager):
        put_schedule = get_schedule = list_schedules = advance_schedule = delete_schedule = None

    with pytest.raises(DefinitionError, match=r"Plain does not.*KeepsSchedules"):
        make_orchestrator(Plain()).schedule("every", report(), every=1)


# ── Operations ───────────────────────────────────────────────────────────────────────────────


def test_a_paused_schedule_fires_nothing(here, clock):
    """What passes is skipped, and does not fire later."""
    every = here.schedule("every", report(), every=60.0)
    every.pause()
    assert (True, None) == (every.paused, every.next_at)
    clock.go_on(here, 150)

    every.unpause()
    clock.settle(here)
    assert (0, 2, False) == (every.fired, every.skipped, every.paused)

    clock.go_on(here, 60)
    every.refresh()
    assert (1, 2) == (every.fired, every.skipped)


def test_a_run_can_be_triggered(here, clock):
    """Even while it is paused; it does not count."""
    every = here.schedule("every", report(), every=60.0)
    every.pause()

    output = every.trigger().result(GUARD).output

    assert {"schedule": "every", "scheduled_for": "2026-03-28T12:00:00+00:00"} == output
    every.refresh()
    assert (0, None) == (every.fired, every.last_run_id)


def test_a_period_can_be_backfilled(here, clock):
    """Each nominal time once, and none that has fired."""
    every = here.schedule("every", report(), every=60.0)
    clock.go_on(here, 60)
    start = NOON - timedelta(minutes=2)

    runs = every.backfill(start, NOON + timedelta(minutes=1))
    again = every.backfill(start, NOON + timedelta(seconds=60))

    times = [run.result(GUARD).output["scheduled_for"][11:16] for run in runs]
    assert ["11:58", "11:59", "12:00"] == times
    assert [run.id for run in runs] == [run.id for run in again]
    assert 4 == here.list().total
    every.refresh()
    assert 1 == every.fired


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (NOON.replace(tzinfo=None), NOON, "start=.* is not a datetime with a timezone"),
        (NOON, NOON, "not a period that has passed"),
        (NOON, NOON + timedelta(days=1), "not a period that has passed"),
        (NOON - timedelta(days=30), NOON, "more than 10,000 nominal times"),
    ],
)
def test_a_wrong_period_is_refused(here, clock, start, end, said):
    """Before anything starts."""
    every = here.schedule("every", report(), every=60.0)

    with pytest.raises(DefinitionError, match=said):
        every.backfill(start, end)

    assert 0 == here.list().total


def test_a_deleted_schedule_is_gone(here, clock):
    """It fires nothing, and its handles say so."""
    every = here.schedule("every", report(), every=60.0)
    every.delete()
    clock.go_on(here, 60)

    assert ([], 0) == (here.schedules(), here.list().total)
    for call in (every.refresh, every.pause, every.unpause, every.trigger, every.delete):
        with pytest.raises(ScheduleNotFound, match="there is no schedule 'every', and no other"):
            call()


def test_schedules_are_listed_by_name(here, clock):
    """With what they say of themselves."""
    here.schedule("b", report(), every=60.0).pause()
    here.schedule("a", "report", cron="0 2 * * *", tz="Europe/Berlin")

    assert [
        (
            "<Schedule 'a' of workflow 'report', cron '0 2 * * *' Europe/Berlin, "
            "next 2026-03-29 03:00:00+02:00>"
        ),
        "<Schedule 'b' of workflow 'report', every 60 s, paused>",
    ] == [repr(it) for it in here.schedules()]


def test_asked_for_runs_are_started_by_the_orchestrator_that_has_the_workflow(here, clock):
    """As the command line asks for them."""
    every = here.schedule("every", report(), every=60.0)
    here._schedules._book("ask").request("every", [NOON.timestamp() - 60, NOON.timestamp()])

    clock.settle(here)

    assert ["11:59", "12:00"] == sorted(
        here.get(it.run_id).result(GUARD).output["scheduled_for"][11:16] for it in here.list().runs
    )
    every.refresh()
    assert (0, ()) == (every.fired, every._recorded.state.requested)


# ── On an event loop ─────────────────────────────────────────────────────────────────────────


def calls_that_block(here, every):
    """By what the error names to await instead."""
    return {
        "orchestrator.schedule": lambda: here.schedule("other", report(), every=60.0),
        "orchestrator.schedules": here.schedules,
        "schedule.backfill": lambda: every.backfill(NOON - timedelta(minutes=1), NOON),
        "schedule.delete": every.delete,
        "schedule.pause": every.pause,
        "schedule.refresh": every.refresh,
        "schedule.trigger": every.trigger,
        "schedule.unpause": every.unpause,
    }


@pytest.mark.parametrize("slow", [False, True])
def test_everything_has_a_form_for_event_loops(slow, tmp_path, clock):
    """Only where the state manager waits for something are the others refused."""

    async def use():
        async with Orchestrator(state) as here:
            every = await here.schedule_async("every", report(), every=60.0)
            await every.pause_async()
            await every.unpause_async()
            await every.refresh_async()
            run = await every.trigger_async()
            assert "every" == (await run).output["schedule"]
            assert 1 == len(await every.backfill_async(NOON - timedelta(minutes=1), NOON))
            assert ["every"] == [it.name for it in await here.schedules_async()]
            if slow:
                for name, call in calls_that_block(here, every).items():
                    with pytest.raises(WrongLoop, match=f"use `await {name}_async\\(\\)`"):
                        call()
            await every.delete_async()
            assert [] == await here.schedules_async()

    url = f"sqlite:///{tmp_path}/runs.db"
    state = SQLStateManager(url, create=True) if slow else MemoryStateManager()
    asyncio.run(use())


# ── Its thread ───────────────────────────────────────────────────────────────────────────────


def threads():
    """The threads that fire schedules."""
    return [it for it in threading.enumerate() if it.name == "actorflow schedules"]


def test_there_is_a_thread_only_while_there_are_schedules(here, clock):
    """It ends with the last of them, and with the orchestrator."""
    assert [] == threads()
    every = here.schedule("every", report(), every=60.0)
    (first,) = threads()
    every.delete()
    first.join(GUARD)
    for late in threads():  # the deletion wakes one, in case there are others
        late.join(GUARD)
    assert [] == threads()

    here.schedule("every", "report", every=60.0)
    (second,) = threads()
    here.shutdown(drain=0)
    second.join(GUARD)

    assert [] == threads()


def test_a_daemon_notices_schedules_of_others(tmp_path, make_orchestrator, monkeypatch, clock):
    """It has registered the workflow, and its search for runs looks for schedules too."""
    monkeypatch.setattr(firing, "_NOTICE", 0.0)
    url = f"sqlite:///{tmp_path}/runs.db"
    daemon = make_orchestrator(SQLStateManager(url, create=True), recover=True, recover_every=0.01)
    daemon.register(report())
    with Orchestrator(SQLStateManager(url)) as other:
        other.schedule("every", report(), every=60.0)
    clock.now += 60
    turned = threading.Event()
    monkeypatch.setattr(clock, "turned", turned.set)

    assert turned.wait(GUARD)
    (every,) = daemon.schedules()
    assert 1 == every.fired


def test_an_orchestrator_leaves_schedules_of_unknown_workflows_alone(here, clock):
    """They wait for one that knows them."""
    here.schedule("every", report(), every=60.0)
    here._registry._plans.clear()

    clock.go_on(here, 60)

    (every,) = here.schedules()
    assert (0, 0, datetime(2026, 3, 28, 12, 1, tzinfo=UTC)) == (
        every.fired,
        every.missed,
        every.next_at,
    )
    with pytest.raises(UnknownWorkflow):
        every.trigger()

"""Arguments that no state manager can take are refused before one sees them."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest

from actorflow import (
    DefinitionError,
    MemoryStateManager,
    Orchestrator,
    RunNotFound,
    Step,
    UnknownWorkflow,
    Workflow,
)
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD, fine, flow_of


class Unspeakable:
    """An object whose repr raises."""

    def __repr__(self):
        raise RuntimeError("no repr")


class Incomparable:
    """An object that raises when it is compared, as an array of numbers does."""

    __hash__ = None

    def __eq__(self, _other):
        raise ValueError("ambiguous")


class Vague(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _moment):
        """Return nothing, as is allowed."""


Vague.MOMENT = datetime(2026, 1, 31, tzinfo=Vague())
SURROGATE, NUL, HUGE = "\ud800", "a\0b", 10**5000  # more digits than Python converts to a string
DEEP = base64.urlsafe_b64encode(b"[" * 100_000).decode()  # deeper than Python's parser goes
NO_STRINGS = [
    True,
    5,
    HUGE,
    1.5,
    float("nan"),
    b"x",
    [],
    {},
    set(),
    Unspeakable(),
    Workflow("flow"),
]
NO_TEXT = [*NO_STRINGS, SURROGATE, NUL]
LONG = "ü" * 513
"""A byte or two longer than what an index of PostgreSQL can surely hold."""
NO_IDS = [*NO_TEXT, LONG]
NO_COUNTS = [True, -1, 2**63, 10**400, HUGE, 1.5, float("nan"), "5", None, [], Unspeakable()]
NO_NUMBERS = [True, 2**63, -(2**63) - 1, HUGE, 1.5, float("nan"), "5", None, [], Unspeakable()]
NO_WAITS = [True, 10**400, HUGE, 1e300, float("nan"), "5", [], timedelta.max, Unspeakable()]
NO_TIMEOUTS = [*NO_WAITS, 0, -1, -HUGE, float("inf"), timedelta(0)]
NO_DRAINS = [*NO_WAITS, None, -1, float("inf"), timedelta(-1)]
NO_MAPPINGS = [True, 5, HUGE, "x", [], Unspeakable(), {5: 1}, {HUGE: 1}, {Unspeakable(): 1}]
MANY = [{f"a{number}": number for number in range(17)}, {"a": [*range(1_001)]}]
NO_FLAGS = [None, 0, 1, "yes", [], Unspeakable()]
NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001 - without a time zone, which is the mistake
AGES = [
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
]
NO_MOMENTS = [True, HUGE, float("nan"), float("inf"), 1e300, "x", [], NAIVE, Unspeakable()]
NO_CHOICES = [None, True, "some", [], {}, HUGE, Unspeakable(), Incomparable()]
NO_FLOWS = [True, 5, HUGE, b"x", [], {}, Unspeakable(), fine]


def _each(**illegal):
    """Return one case for each value of each argument."""
    return pytest.mark.parametrize(
        ("name", "value"),
        [
            pytest.param(name, value, id=f"{name}-{number}")
            for name, values in illegal.items()
            for number, value in enumerate(values)
        ],
    )


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def shared(request, tmp_path_factory):
    """A started orchestrator for all tests, of each kind of state manager."""
    if request.param == "memory":
        state = MemoryStateManager()
    else:
        path = tmp_path_factory.mktemp("arguments") / "runs.db"
        state = SQLStateManager(f"sqlite:///{path}", create=True)
    with Orchestrator(state) as orchestrator:
        yield orchestrator


@pytest.fixture(scope="module")
def ended(shared):
    """A run that has ended."""
    run = shared.start(flow_of(fine))
    run.wait(GUARD)
    return run


def _refused(call, *arguments, kind=DefinitionError, **options):
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert str(caught.value)


@_each(
    status=[*NO_TEXT, "done"],
    workflow_id=NO_TEXT,
    trace_id=NO_TEXT,
    correlation_id=NO_TEXT,
    business_id=NO_TEXT,
    limit=NO_COUNTS,
    offset=NO_COUNTS,
    workflow_version=NO_TEXT,
    error=[*NO_TEXT, ""],
    owner=NO_TEXT,
    cursor=[*NO_TEXT, "", "x", DEEP, "WzEuMCwxXQ", "W10", "WyJhIiwiYiJd", "WzEuMCwiXHUwMDAwIl0"],
    parked=NO_FLAGS[1:],
    created_after=NO_MOMENTS,
    finished_before=NO_MOMENTS,
    attributes=[*NO_MAPPINGS, {"a": None}, {"a": []}, {"a": {}}, {"a": b"x"}, {"": 1}, *MANY],
)
def test_a_filter_that_makes_no_sense_is_refused(shared, name, value):
    """It would find nothing in memory, and a database would fail with an error of its own."""
    _refused(shared.list, **{name: value})


def test_a_listing_may_begin_and_end_far_away(shared, ended):
    """The two numbers are not added up beyond what the machine counts."""
    page = shared.list(limit=2**63 - 1, offset=2**63 - 1)

    assert not page.runs
    assert page.total


def test_a_workflow_is_no_filter_but_its_id_is(shared, ended):
    """The error says so."""
    with pytest.raises(DefinitionError, match=r"^workflow_id=Workflow.* Pass its \.id\.$"):
        shared.list(workflow_id=flow_of(fine))

    assert shared.list(workflow_id=flow_of(fine).id).runs


@_each(value=[None, *NO_STRINGS])
def test_what_is_no_id_is_refused_wherever_one_is_taken(shared, name, value):
    """A run may be passed by mistake, for example."""
    _refused(shared.get, value)
    _refused(shared.resume, value)


@pytest.mark.parametrize("value", ["", SURROGATE, NUL, "x" * 100_000], ids=len)
def test_a_run_with_an_id_that_no_database_can_hold_is_not_found(shared, value):
    """It is an id, but surely no run has it."""
    _refused(shared.get, value, kind=RunNotFound)
    _refused(shared.resume, value, kind=RunNotFound)


@_each(
    metadata=NO_MAPPINGS,
    timeout=NO_TIMEOUTS,
    priority=NO_NUMBERS,
    trace_id=NO_IDS,
    correlation_id=NO_IDS,
    business_id=NO_IDS,
    idempotency_key=[*NO_IDS, ""],
    key=[*NO_IDS, ""],
    at=[*NO_MOMENTS, 5.0, Vague.MOMENT],
    delay=[*NO_WAITS, -1, float("inf")],
    detached=NO_FLAGS,
    on_parent_end=NO_CHOICES,
    attributes=NO_MAPPINGS,
)
@pytest.mark.parametrize("call", ["run", "start", "enqueue"])
def test_an_option_of_a_run_that_makes_no_sense_is_refused(shared, call, name, value):
    """Nothing is recorded."""
    before = shared.list().total

    _refused(getattr(shared, call), flow_of(fine), **{name: value})
    if name.endswith("_id"):
        _refused(getattr(shared, call), flow_of(fine), metadata={name: value})

    assert before == shared.list().total


@_each(reuse=NO_CHOICES[1:], expires=NO_TIMEOUTS)
def test_an_option_of_an_idempotency_key_that_makes_no_sense_is_refused(shared, name, value):
    """None is the default."""
    _refused(shared.start, flow_of(fine), idempotency_key="new", **{name: value})


@_each(on_conflict=NO_CHOICES[1:], debounce=NO_TIMEOUTS)
def test_an_option_of_a_key_that_makes_no_sense_is_refused(shared, name, value):
    """None is the default."""
    _refused(shared.start, flow_of(fine), key="new", **{name: value})


@_each(
    name=[None, "", " ", LONG, *NO_TEXT],
    cron=["", "x", *NO_TEXT],
    every=NO_TIMEOUTS,
    tz=["", "Mars", *NO_TEXT],
    inputs=NO_MAPPINGS,
    overlap=NO_CHOICES,
    missed=NO_CHOICES,
    catch_up=[*NO_WAITS, None, -1],
    jitter=[*NO_WAITS, None, -1],
)
def test_a_schedule_that_makes_no_sense_is_refused(shared, name, value):
    """When it is made, not when it first fires."""
    usual = {"cron": "0 2 * * *"} if name in ("cron", "tz") else {"every": 3600.0}
    options = {"name": "new", **usual, name: value}

    _refused(shared.schedule, options.pop("name"), flow_of(fine), **options)

    assert not shared.schedules()


@_each(start=[*NO_MOMENTS, Vague.MOMENT, *AGES], end=[*NO_MOMENTS, Vague.MOMENT, *AGES])
def test_a_period_that_makes_no_sense_is_refused(shared, name, value):
    """Also one whose ends no computer can write in another timezone."""
    now = datetime.now(UTC)
    yearly = shared.schedule("yearly", flow_of(fine), cron="@yearly")
    period = {"start": now - timedelta(days=1), "end": now, name: value}

    _refused(yearly.backfill, **period)
    yearly.delete()


@_each(inputs=NO_MAPPINGS)
def test_inputs_are_passed_by_name(shared, name, value):
    """Also to a step that takes any."""
    _refused(shared.start, flow_of(lambda inputs: inputs), value)


@_each(flow=[None, *NO_FLOWS])
def test_what_is_no_workflow_is_refused_wherever_one_is_taken(shared, ended, name, value):
    """Resuming a run that has completed needs none, and refuses it all the same."""
    _refused(shared.register, value)
    _refused(shared.start, value)
    if value is not None:
        _refused(shared.resume, ended.id, value)


@pytest.mark.parametrize("flow", [SURROGATE, NUL], ids=len)
def test_a_workflow_with_an_id_that_no_database_can_hold_is_unknown(shared, flow):
    """It is an id, but surely no workflow has it."""
    _refused(shared.start, flow, kind=UnknownWorkflow)


@_each(timeout=NO_WAITS)
def test_a_wait_that_makes_no_sense_is_refused_for_a_run_that_has_ended(ended, name, value):
    """A mistake does not pass because the run was quick."""
    _refused(ended.wait, **{name: value})
    _refused(ended.result, **{name: value})


@_each(reason=[None, *NO_TEXT], compensate=NO_FLAGS)
def test_a_cancellation_that_makes_no_sense_is_refused(shared, ended, gate, name, value):
    """For a run in progress, and for one that has ended."""
    run = shared.start(gate.flow)

    for each in (run, ended):
        _refused(each.cancel, **{name: value})
    gate.open()

    assert "completed" == run.wait(GUARD).status


@_each(
    async_workers=[0, *NO_COUNTS],
    max_active_runs=[0, *NO_COUNTS],
    max_queued_runs=NO_COUNTS,
    max_abandoned=[0, *NO_COUNTS],
    when_full=[None, "wait", [], {}, HUGE, Unspeakable()],
    stop_grace=[0, *NO_WAITS, None],
    recover_every=[0, *NO_WAITS, None],
    blocked_after=[0, *NO_WAITS, None],
    recover=NO_FLAGS,
    executors=[[], "x", {"": object()}, {5: object()}, {Unspeakable(): None}, {NUL: None}],
    observers=[None, {}, "x", [5], [Unspeakable()]],
    state=[[], {}, "sqlite://", HUGE, Unspeakable()],
)
def test_a_setting_that_makes_no_sense_is_refused(name, value):
    """When the orchestrator is made."""
    _refused(Orchestrator, **{name: value})


@_each(drain=NO_DRAINS, grace=NO_DRAINS)
def test_a_shutdown_that_makes_no_sense_is_refused(shared, name, value):
    """The orchestrator goes on."""
    _refused(shared.shutdown, **{name: value})

    assert "fine" == shared.run(flow_of(fine)).output


@_each(id=NO_IDS, version=NO_IDS, name=NO_TEXT, timeout=NO_TIMEOUTS, metadata=NO_MAPPINGS[:6])
def test_a_workflow_that_makes_no_sense_is_refused(name, value):
    """A database holds its id and its version."""
    _refused(Workflow, **{"id": "flow", name: value})


@_each(id=NO_IDS, name=NO_TEXT, executor=NO_TEXT, timeout=NO_TIMEOUTS, total_timeout=NO_TIMEOUTS)
def test_a_step_that_makes_no_sense_is_refused(name, value):
    """A database holds its id."""
    _refused(Step, **{"id": "step", "run": fine, name: value})


def test_what_is_too_long_is_refused_with_its_length():
    """In bytes, which indexes count."""
    with pytest.raises(DefinitionError, match=r"it takes 1,026 bytes, and the limit is 1,024\.$"):
        Workflow(LONG)


def test_the_longest_ids_keys_and_schedules_find_room_in_an_index(url):
    """On each database, with random characters, which cannot be compressed."""
    longest = random.Random(1).randbytes(512).hex()
    flow = Workflow(longest, version=longest)
    flow.step(fine, id=longest)
    ids = dict.fromkeys(("key", "idempotency_key", "trace_id", "business_id"), longest)
    with Orchestrator(SQLStateManager(url)) as orchestrator:
        run = orchestrator.start(flow, **ids)
        schedule = orchestrator.schedule(longest[:960], flow, every=3600.0)

        assert ("fine", "fine") == (
            run.result(GUARD).output,
            schedule.trigger().result(GUARD).output,
        )


@_each(
    synchronous=[None, "fast", [], {}, HUGE, Unspeakable()],
    patience=[None, -1, "x", [], Unspeakable()],
    lease=[None, 0, -1, HUGE, "x", [], Unspeakable()],
    max_waiting=[0, *NO_COUNTS],
    max_runs=[it for it in NO_COUNTS if it is not None],
    max_age=[*NO_WAITS, -1],
)
def test_a_setting_of_a_database_that_makes_no_sense_is_refused(name, value, tmp_path):
    """Before it is opened."""
    _refused(SQLStateManager, f"sqlite:///{tmp_path}/runs.db", create=True, **{name: value})

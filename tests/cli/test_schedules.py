"""`actorflow schedules`: what programs have scheduled, looked at and changed."""

from __future__ import annotations

import json

import attrs
import pytest

from actorflow.model.schedules import ScheduleDefinition
from actorflow.state.sql import SQLStateManager

URL = "sqlite:///runs.db"
NOON = 1_774_699_200.0
"""2026-03-28 12:00 UTC."""


@pytest.fixture
def state(folder):
    """A database with a nightly and an hourly schedule."""
    made = SQLStateManager(URL, create=True)
    ids = {"workflow_id": "report", "workflow_version": "1.0.0"}
    nightly = ScheduleDefinition(
        name="nightly", **ids, cron="30 2 * * *", tz="Europe/Berlin", inputs={"day": 1}
    )
    made.put_schedule(nightly, NOON)
    made.put_schedule(ScheduleDefinition(name="hourly", **ids, every=3600.0), NOON)
    yield made
    made.close()


def test_schedules_are_listed(state, type_in):
    """By name, with what comes next and what was."""
    hourly = state.get_schedule("hourly")
    stands = attrs.evolve(hourly.state, fired=3, skipped=1, last_at=NOON, last_run_id="run7")
    state.advance_schedule("hourly", hourly.revision, stands)

    status, out, err = type_in("schedules", "list", "--db", URL)

    assert (0, "") == (status, err)
    first, second = (line.split("  ") for line in out.splitlines())
    assert ["hourly", "report 1.0.0", "every 3600 s", "next 2026-03-28T13:00:00+00:00"] == [
        it.strip() for it in first if it.strip()
    ][:4]
    assert "3 fired, 1 skipped, 0 missed" in out
    assert "last run run7" in out
    assert "next 2026-03-29T03:00:00+02:00" in [it.strip() for it in second]


def test_schedules_are_listed_as_json(state, type_in):
    """With every field."""
    _, out, _ = type_in("schedules", "list", "--db", URL, "--json")

    hourly, nightly = json.loads(out)
    assert {
        "name": "nightly",
        "workflow_id": "report",
        "workflow_version": "1.0.0",
        "cron": "30 2 * * *",
        "every": None,
        "tz": "Europe/Berlin",
        "inputs": {"day": 1},
        "overlap": "skip",
        "catch_up": 3600.0,
        "jitter": 0.0,
        "missed_policy": "latest",
        "paused": False,
        "next_at": "2026-03-29T03:00:00+02:00",
        "last_at": None,
        "last_run_id": None,
        "fired": 0,
        "skipped": 0,
        "missed": 0,
        "waiting": 0,
    } == nightly
    assert 3600.0 == hourly["every"]


def test_a_database_without_schedules_says_so(folder, type_in):
    """On stderr; as JSON it is an empty list."""
    SQLStateManager(URL, create=True).close()

    assert (0, "", "no schedules\n") == type_in("schedules", "list", "--db", URL)
    assert (0, "[]\n", "") == type_in("schedules", "list", "--db", URL, "--json")


def test_a_schedule_is_paused_and_unpaused(state, type_in):
    """What has passed in between is skipped."""
    assert (0, "schedule hourly: paused\n", "") == type_in(
        "schedules", "pause", "hourly", "--db", URL
    )
    assert state.get_schedule("hourly").state.paused
    assert "paused" in type_in("schedules", "list", "--db", URL)[1]

    status, out, _ = type_in("schedules", "unpause", "hourly", "--db", URL)

    assert 0 == status
    assert out.startswith("schedule hourly: next 20")
    stands = state.get_schedule("hourly").state
    assert (False, True) == (stands.paused, stands.skipped > 0)


def test_a_run_is_asked_for(state, type_in):
    """An orchestrator that has the workflow will start it."""
    status, out, _ = type_in("schedules", "trigger", "hourly", "--db", URL)

    assert (0, "schedule hourly: asked for a run of report 1.0.0\n") == (status, out)
    (asked,) = state.get_schedule("hourly").state.requested
    assert asked > NOON


def test_the_runs_of_a_period_are_asked_for(state, type_in):
    """Times without an offset are in the timezone of the schedule."""
    period = ("2026-03-28T02:30", "2026-03-30T02:30")
    status, out, _ = type_in("schedules", "backfill", "nightly", *period, "--db", URL)

    assert (0, "schedule nightly: asked for 2 runs of report 1.0.0\n") == (status, out)
    assert (NOON - 37_800, NOON + 46_800) == state.get_schedule("nightly").state.requested
    type_in("schedules", "backfill", "nightly", *period, "--db", URL)
    assert 2 == len(state.get_schedule("nightly").state.requested)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ("pause", "nightli"),
            "there are 'hourly', 'nightly'. Did you mean 'nightly'?",
        ),
        (("delete", "x"), "there is no schedule 'x'"),
        (("backfill", "nightly", "noon", "2026-01-01"), "'noon' is not a time"),
        (("backfill", "nightly", "2026-01-02", "2026-01-01"), "is not a period that has passed"),
    ],
)
def test_what_cannot_be_done_is_said(state, type_in, typed, said):
    """With status 2 and no traceback."""
    status, _, err = type_in("schedules", *typed, "--db", URL)

    assert 2 == status
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_a_schedule_is_deleted(state, type_in):
    """And the other stays."""
    assert 0 == type_in("schedules", "delete", "nightly", "--db", URL)[0]

    assert ["hourly"] == [it.definition.name for it in state.list_schedules()]

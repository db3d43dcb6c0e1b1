"""Nominal times: cron expressions in timezones, against a walk minute by minute, and intervals."""

from __future__ import annotations

import functools
import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import MissingExtra
from actorflow.model.schedules import ScheduleDefinition
from actorflow.schedules.cron import matches
from actorflow.schedules.times import moment_of, timetable, zone_name, zone_of

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp(), datetime(2027, 1, 1, tzinfo=UTC).timestamp()
MINUTE = timedelta(minutes=1)


def of(cron=None, tz="UTC", every=None):
    """The nominal times of a schedule."""
    ids = {"name": "n", "workflow_id": "w", "workflow_version": "1"}
    return timetable(ScheduleDefinition(**ids, cron=cron, every=every, tz=tz))


def within(table, start, end):
    """Its nominal times after `start` and up to `end`."""
    return list(itertools.takewhile(lambda at: at <= end, table.after(start)))


@pytest.fixture(scope="module", autouse=True)
def _forgets():
    """Let go of the minutes of years, which the garbage collector would look at ever after."""
    yield
    minutes.cache_clear()


@functools.cache
def minutes(tz, first, last):
    """The minutes of a period: each moment, and the local minutes that its clock shows first."""
    zone, walk = ZoneInfo(tz), []
    highest = datetime.fromtimestamp(first, zone).replace(tzinfo=None)
    for at in range(first + 60, last + 60, 60):
        local = datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)
        shown = []
        while highest < local:
            highest += MINUTE
            shown.append(highest)
        walk.append((at, shown))
    return walk


def walked(tz, wanted, start, end, period=YEAR):
    """The moments at which the clock first shows a wanted local minute, or jumps over one."""
    first, last = map(int, period)
    some = slice((int(start) - first) // 60, (int(end) - first) // 60)
    return [at for at, shown in minutes(tz, first, last)[some] if any(map(wanted, shown))]


@functools.cache
def changes(tz):
    """The moments at which the clock is changed."""
    zone, hours = ZoneInfo(tz), range(int(YEAR[0]), int(YEAR[1]), 1800)
    offsets = [datetime.fromtimestamp(at, zone).utcoffset() for at in hours]
    return [
        at for at, (a, b) in zip(hours[1:], itertools.pairwise(offsets), strict=False) if a != b
    ]


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize(
    ("cron", "wanted"),
    [
        ("30 2 * * *", lambda t: (t.hour, t.minute) == (2, 30)),
        ("*/20 1-3 * * *", lambda t: t.minute % 20 == 0 and 1 <= t.hour <= 3),
        ("0 0 13 * FRI", lambda t: t.hour + t.minute == 0 and (t.day == 13 or t.weekday() == 4)),
        ("*/15 * * * *", lambda t: t.minute % 15 == 0),
    ],
)
def test_a_year_agrees_with_a_walk_minute_by_minute(tz, cron, wanted):
    """Through both changes of daylight saving time, where there are any."""
    expected = walked(tz, wanted, *YEAR)

    assert expected == within(of(cron, tz), *YEAR)


fields = st.tuples(
    st.sets(st.integers(0, 59), min_size=1, max_size=4),
    st.sets(st.integers(0, 5), min_size=1, max_size=4),
)


@given(st.sampled_from(ZONES[:3]), fields, st.integers(0, 1), st.integers(0, 4 * 86_400))
def test_any_times_around_a_change_agree_with_the_walk(tz, drawn, which, offset):
    """From any second on, also within the hour that comes twice."""
    some, hours = drawn
    change = changes(tz)[which]
    start, period = change - 2 * 86_400 + offset, (change - 3 * 86_400, change + 7 * 86_400)
    cron = f"{','.join(map(str, some))} {','.join(map(str, hours))} * * *"

    def wanted(local):
        return local.minute in some and local.hour in hours

    end = start + 4 * 86_400
    assert walked(tz, wanted, start, end, period) == within(of(cron, tz), start, end)


@pytest.mark.parametrize(
    ("tz", "cron", "expected"),
    [
        ("Europe/Berlin", "30 2 29 3 *", "2026-03-29T03:00:00+02:00"),
        ("Europe/Berlin", "30 2 25 10 *", "2026-10-25T02:30:00+02:00"),
        ("America/New_York", "15 2 8 3 *", "2026-03-08T03:00:00-04:00"),
        ("Australia/Lord_Howe", "15 2 4 10 *", "2026-10-04T02:30:00+11:00"),
        ("Australia/Lord_Howe", "45 1 5 4 *", "2026-04-05T01:45:00+11:00"),
        ("Asia/Kathmandu", "0 6 1 1 *", "2026-01-01T06:00:00+05:45"),
    ],
)
def test_a_time_that_is_left_out_or_comes_twice_fires_once(tz, cron, expected):
    """At the end of the gap, or the first time."""
    found = within(of(cron, tz), *YEAR)

    assert [expected] == [datetime.fromtimestamp(at, ZoneInfo(tz)).isoformat() for at in found]


def test_times_that_a_change_leaves_out_fire_together_with_the_one_at_its_end():
    """Fourteen local times from two to three o'clock are one nominal time."""
    start = datetime(2026, 3, 29, 0, 50, tzinfo=UTC).timestamp()

    found = within(of("*/5 * * * *", "Europe/Berlin"), start, start + 1200)

    assert [start + 300, start + 600, start + 900, start + 1200] == found


def test_a_day_that_a_timezone_left_out_fires_at_its_end():
    """Samoa had no 30 December 2011."""
    zone = ZoneInfo("Pacific/Apia")

    at = moment_of(datetime(2011, 12, 30, 2, 0), zone)  # noqa: DTZ001 - a local time

    assert "2011-12-31T00:00:00+14:00" == datetime.fromtimestamp(at, zone).isoformat()


def test_six_fields_begin_with_seconds():
    """As cronsim has it."""
    assert [15.0, 30.0, 45.0, 60.0] == within(of("*/15 * * * * *"), 0.0, 60.0)


def test_names_stand_for_expressions():
    """Those of cron."""
    assert within(of("0 0 1 * *"), *YEAR) == within(of("@monthly"), *YEAR)


@given(st.integers(1, 10**9), st.integers(0, 2 * 10**15))
def test_an_interval_counts_from_the_epoch(step, moment):
    """In whole microseconds: the first multiples after any moment, as integers have them."""
    step = max(step, 10_000)
    first = moment // step + 1

    found = list(itertools.islice(of(every=step / 10**6).after(moment / 10**6), 3))

    assert [(first + count) * step for count in range(3)] == [round(at * 10**6) for at in found]


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "61 * * * *", "0 0 31 2 *", "0 0 */20 2 1L#", "five", 5, None]
)
def test_an_invalid_expression_is_refused(cron):
    """With the expression and the cure."""
    with pytest.raises(DefinitionError, match=r"cron=.*Pass five fields"):
        matches(cron)


def test_an_expression_that_never_matches_is_refused():
    """The last Monday of a month is never its first or twenty-first day."""
    with pytest.raises(DefinitionError, match="matches no time within 50 years"):
        matches("* * */20 * 1L")


def test_without_the_extra_an_expression_names_it(monkeypatch):
    """As other extras do."""
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)

    with pytest.raises(MissingExtra, match=r"pip install 'actorflow\[schedules\]'"):
        matches("* * * * *")


@pytest.mark.parametrize("zone", ["Europe/Berlim", "", "../etc/passwd", "a\0b"])
def test_an_unknown_timezone_is_refused(zone):
    """With a suggestion, where one is near."""
    with pytest.raises(DefinitionError, match="is not a known timezone"):
        zone_of(zone)
    if zone == "Europe/Berlim":
        with pytest.raises(DefinitionError, match=r"timezone\. Did you mean .*\? Pass an IANA"):
            zone_of(zone)


def test_a_timezone_may_be_a_zoneinfo():
    """Or UTC."""
    assert ["Asia/Tokyo", "UTC", "UTC"] == [
        zone_name(it) for it in (ZoneInfo("Asia/Tokyo"), UTC, "UTC")
    ]
    with pytest.raises(DefinitionError, match="neither the name of a timezone nor a ZoneInfo"):
        zone_name(3)

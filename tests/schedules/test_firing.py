"""Which nominal times fire: laws over drawn schedules, outages and runs, and a simulated year."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.model.schedules import MISSED, OVERLAPS, ScheduleDefinition, ScheduleState
from actorflow.schedules import firing
from actorflow.schedules.firing import ON_TIME, decide, delay, key_of, local_time, unpaused
from actorflow.schedules.times import timetable

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
CHANGE = datetime(2026, 3, 29, tzinfo=UTC).timestamp()


def defined(**given_):
    """A schedule; every ten seconds, unless told otherwise."""
    ids = {"name": "n", "workflow_id": "w", "workflow_version": "1"}
    when = {} if "cron" in given_ else {"every": 10.0}
    return ScheduleDefinition(**{**ids, **when, **given_})


class Player:
    """Serves one schedule as an orchestrator does, under a clock that it is handed."""

    def __init__(self, definition, start=START):
        self.definition, self.table = definition, timetable(definition)
        self.state = ScheduleState(decided_until=start)
        self.start = start
        self.ends = {}
        """When the run of each nominal time ends."""
        self.fired, self.skipped, self.missed = [], [], []
        self.decided_at = {}
        """When each nominal time that was not missed was decided."""
        self.due_at = None

    def running(self, now):
        """The nominal times whose runs are in progress."""
        return [at for at, end in self.ends.items() if end > now]

    def look(self, now, lasts=0.0):
        """Decide and start everything that is due; runs that start now last that long."""
        while True:
            busy = self.state.last_at in self.running(now)
            made = decide(self.definition, self.table, self.state, now, running=busy)
            if made.cancel:
                self.ends[self.state.last_at] = now
            self.check(made, now, busy=busy)
            self.skipped += made.skipped
            self.missed += made.missed
            changed, self.due_at = made.state != self.state, made.due_at
            self.state = made.state
            for at in made.state.pending:
                self.fired.append(at)
                self.ends[at] = now + lasts
            if made.state.pending:
                self.state = attrs.evolve(
                    self.state,
                    pending=(),
                    last_at=made.state.pending[-1],
                    fired=self.state.fired + len(made.state.pending),
                )
            if not (changed or made.more or made.cancel):
                return

    def check(self, made, now, *, busy):
        """The laws of one decision."""
        it = self.definition
        bound = max(ON_TIME, it.catch_up) + it.jitter
        before = {*self.state.pending, self.state.queued}
        for at in {*made.state.pending, made.state.queued, *made.skipped} - before - {None}:
            assert at + delay(it, at) <= now <= at + bound
            assert not (it.missed == "none" and now - at - it.jitter > ON_TIME)
        for at in made.missed:
            assert now - at - it.jitter > ON_TIME
            assert it.missed != "all" or now - at - it.jitter > it.catch_up
        if made.skipped:
            assert it.overlap != "allow"
            assert busy or made.state.pending
        if it.overlap != "allow":
            assert len(made.state.pending) <= 1 - busy
        assert it.overlap in ("queue", "cancel_running") or made.state.queued is None

    def end(self, now):
        """The laws of the whole."""
        state = self.state
        assert (len(self.fired), len(self.skipped), len(self.missed)) == (
            state.fired,
            state.skipped,
            state.missed,
        )
        queued = [] if state.queued is None else [state.queued]
        due = itertools.takewhile(
            lambda at: at <= state.decided_until, self.table.after(self.start)
        )
        places = [*self.fired, *self.skipped, *self.missed, *queued]
        assert sorted(places) == list(due)
        assert self.fired == sorted(self.fired)
        following = next(self.table.after(state.decided_until))
        assert following + delay(self.definition, following) > now


definitions = st.builds(
    defined,
    every=st.sampled_from([1.0, 7.5, 60.0, 600.0]),
    overlap=st.sampled_from(OVERLAPS),
    missed=st.sampled_from(MISSED),
    catch_up=st.sampled_from([0.0, 5.0, 60.0, 3600.0]),
    jitter=st.sampled_from([0.0, 3.0, 90.0]),
) | st.builds(
    defined,
    cron=st.sampled_from(["* * * * *", "*/5 1-3 * * *", "*/20 * * * * *"]),
    tz=st.sampled_from(["Europe/Berlin", "Asia/Kathmandu"]),
    overlap=st.sampled_from(OVERLAPS),
    missed=st.sampled_from(MISSED),
    catch_up=st.sampled_from([0.0, 60.0, 3600.0]),
)
looks = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 2.0, 11.0, 61.0, 700.0, 4000.0]),
        st.sampled_from([0.0, 5.0, 90.0, 1e4]),
    ),
    min_size=1,
    max_size=25,
)


@given(definitions, looks)
def test_each_nominal_time_is_fired_skipped_or_missed_once_and_in_order(definition, drawn):
    """However often, and how late, an orchestrator looks, and however long runs last."""
    player, now = Player(definition, CHANGE), CHANGE
    for pause, lasts in drawn:
        now += pause
        player.look(now, lasts)
        if definition.overlap != "allow":
            assert len(player.running(now)) <= 1

    player.end(now)


@given(definitions, looks, st.integers(1, 5), st.integers(1, 3))
def test_small_decisions_come_to_the_same_as_large_ones(definition, drawn, many, starts):
    """A decision may settle only a part of what is due."""
    whole, parts, now = Player(definition, CHANGE), Player(definition, CHANGE), CHANGE
    drawn = drawn[:6]
    for pause, lasts in drawn:
        now += min(pause, 700.0)
        whole.look(now, lasts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(firing, "_MANY", many)
            patch.setattr(firing, "_STARTS", starts)
            parts.look(now, lasts)

    assert sorted(whole.missed) == sorted(parts.missed)
    if definition.overlap in ("skip", "allow") or all(lasts == 0.0 for _, lasts in drawn):
        assert {*whole.fired, *whole.skipped} == {*parts.fired, *parts.skipped}


@pytest.mark.parametrize(
    ("tz", "gap", "twice"),
    [
        ("Europe/Berlin", "2026-03-29T03:00:00+02:00", "2026-10-25T02:15:00+02:00"),
        ("America/New_York", "2026-03-08T03:00:00-04:00", "2026-11-01T02:15:00-05:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:30:00+11:00", "2026-04-05T02:15:00+10:30"),
        ("Asia/Kathmandu", None, None),
    ],
)
def test_a_nightly_schedule_fires_each_night_of_a_year(tz, gap, twice):
    """From one due time to the next, through two changes of daylight saving time."""
    player, now = Player(defined(cron="15 2 * * *", tz=tz)), START
    while now < START + 365 * 86_400:
        player.look(now)
        now = player.due_at
    nights = [datetime.fromtimestamp(at, ZoneInfo(tz)) for at in player.fired]

    assert 365 == len(nights) == len({night.date() for night in nights})
    odd = [night.isoformat() for night in nights if (night.hour, night.minute) != (2, 15)]
    assert odd == ([] if gap is None else [gap])
    assert twice is None or twice in [night.isoformat() for night in nights]
    player.end(player.state.decided_until)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("latest", [3600.0]), ("all", [3000.0, 3600.0]), ("none", [])],
)
def test_what_nothing_could_fire_in_time_fires_later_as_told(missed, expected):
    """Within an hour; what is older is missed in any case."""
    player = Player(defined(every=600.0, missed=missed, catch_up=1000.0, overlap="allow"), 0.0)

    player.look(3900.0)

    assert expected == player.fired
    assert 6 - len(expected) == len(player.missed)


def test_a_punctual_one_makes_the_late_ones_needless():
    """With missed="latest", only the latest of all fires."""
    player = Player(defined(every=600.0), 0.0)

    player.look(3601.0)

    assert [3600.0] == player.fired


def test_skip_lets_nothing_run_beside_the_last():
    """What falls into its time is skipped."""
    player = Player(defined(), 0.0)
    for now in range(10, 60, 10):
        player.look(float(now), lasts=25.0)

    assert ([10.0, 40.0], [20.0, 30.0, 50.0]) == (player.fired, player.skipped)


def test_queue_lets_one_wait():
    """The first; it fires when the run has ended, and the others are skipped."""
    player = Player(defined(overlap="queue"), 0.0)
    for now in (10.0, 20.0, 30.0, 34.0, 36.0):
        player.look(now, lasts=25.0)

    assert ([10.0, 20.0], [30.0], None) == (player.fired, player.skipped, player.state.queued)


def test_cancel_running_makes_room_for_the_newest():
    """The run is cancelled, and the new one begins when it has ended."""
    player = Player(defined(overlap="cancel_running"), 0.0)
    for now in (10.0, 20.0, 30.0):
        player.look(now, lasts=1000.0)

    assert ([10.0, 20.0, 30.0], []) == (player.fired, player.skipped)
    assert [30.0] == player.running(30.0)


def test_cancel_running_queues_only_the_newest():
    """While the cancelled run takes its time to end."""
    state, definition = (
        ScheduleState(decided_until=0.0, last_at=0.0),
        defined(every=5.0, overlap="cancel_running"),
    )

    made = decide(definition, timetable(definition), state, 11.0, running=True)

    assert (10.0, (5.0,), True) == (made.state.queued, made.skipped, made.cancel)


def test_allow_lets_runs_overlap():
    """As many as there are."""
    player = Player(defined(overlap="allow"), 0.0)
    for now in (10.0, 20.0, 30.0):
        player.look(now, lasts=1000.0)

    assert [10.0, 20.0, 30.0] == player.running(30.0)


def test_a_paused_schedule_decides_nothing_and_skips_what_passed():
    """The nominal times of a pause do not fire later."""
    definition = defined()
    state = ScheduleState(decided_until=0.0, paused=True)

    assert state == decide(definition, timetable(definition), state, 35.0, running=False).state
    state = unpaused(timetable(definition), state, 35.0)
    assert (30.0, 3, False) == (state.decided_until, state.skipped, state.paused)
    assert state == unpaused(timetable(definition), state, 99.0)


def test_jitter_delays_each_firing_by_its_own_part():
    """Less than the jitter, and the same in every process."""
    definition = defined(jitter=5.0)

    delays = {delay(definition, at) for at in (10.0, 20.0, 30.0)}

    assert 3 == len(delays)
    assert all(0.0 <= it < 5.0 for it in delays)
    assert delays == {delay(defined(jitter=5.0), at) for at in (10.0, 20.0, 30.0)}


def test_the_key_and_the_time_of_a_run_name_the_nominal_time():
    """The key in UTC, the time in the schedule's timezone."""
    definition = defined(cron="0 2 * * *", tz="Europe/Berlin")

    assert "schedule:n:2026-03-29T00:00:00+00:00" == key_of("n", CHANGE)
    assert "2026-03-29T01:00:00+01:00" == local_time(definition, CHANGE)

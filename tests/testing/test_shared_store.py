"""The simulated store keeps the promises that a database keeps, by the same tests."""

from __future__ import annotations

import itertools
import time

import pytest

from actorflow.errors.storage import LeaseHeld, NotRecorded
from actorflow.model.lifecycle import EventKind
from actorflow.testing.cluster.manager import SharedStateManager
from actorflow.testing.cluster.store import SharedStore
from actorflow.testing.contracts import (
    EvictsRunsContract,
    KeepsMessagesContract,
    KeepsSchedulesContract,
    PausesRunsContract,
    SharedStateManagerContract,
)
from actorflow.testing.contracts.accounts import STARTED, accepted, happened

KNOWN = frozenset({("flow", "1.0.0")})


def shared(now=time.monotonic, wall=time.time, *, by_clock=False):
    """An empty store."""
    return SharedStore(now, wall, by_clock=by_clock)


NAMES = itertools.count(1)


def manager(store, now=time.monotonic, *, by_clock=False, lease=30.0, reach=lambda: None):
    """Another owner on a store."""
    name = f"owner {next(NAMES)}"
    return SharedStateManager(
        store,
        name,
        host=name,
        lease=lease,
        now=now,
        by_clock=by_clock,
        has_ended=lambda _owner: False,
        reach=reach,
    )


class TestShared(
    KeepsSchedulesContract,
    PausesRunsContract,
    KeepsMessagesContract,
    EvictsRunsContract,
    SharedStateManagerContract,
):
    """Without faults, and in real time."""

    def make_state(self):
        """Return a state manager on a new store."""
        self._store = shared()
        return self.make_other()

    def make_other(self):
        """Return another state manager on the same store."""
        return manager(self._store)


# ── As in `tests/state/sql` ──────────────────────────────────────────────────────────────────


class Bench:
    """A store with owners, in virtual time."""

    def __init__(self, *, by_clock):
        self.now, self.by_clock = 0.0, by_clock
        self.store = shared(self.clock, self.clock, by_clock=by_clock)

    def clock(self):
        """Return the time, which a test sets."""
        return self.now

    def owner(self):
        """Another owner."""
        return manager(self.store, self.clock, by_clock=self.by_clock)

    def begun(self):
        """An owner of a run with a step in flight."""
        state = self.owner()
        state.create(accepted(), lambda _error: None)
        written(state, happened(*STARTED))
        return state

    def expire(self, *watchers):
        """Let the leases of all other owners run out, while these look on."""
        for state in watchers:
            taken(state)
        self.now += 31.0


@pytest.fixture(params=[False, True], ids=["by counters", "by the clock"])
def bench(request):
    """A store of either kind."""
    return Bench(by_clock=request.param)


def written(state, events):
    """Record events; return why they were not recorded, if so."""
    errors = []
    state.record(events, errors.append)
    return errors[0]


def taken(state):
    """The ids of the runs that it takes."""
    return list(state.take(KNOWN, (), 10).taken)


def go_on(state, number):
    """Record that the run is resumed."""
    (resumed,) = happened(EventKind.RUN_RESUMED, after=number, run_id="run")
    assert written(state, [resumed]) is None


def test_a_lease_is_waited_out(bench):
    """Neither a search nor a claim has the run before."""
    bench.begun()
    second = bench.owner()
    taken(second)
    bench.now += 29.0

    assert [] == taken(second)
    with pytest.raises(LeaseHeld):
        second.claim("run")
    bench.now += 1.0
    assert ["run"] == taken(second)


def test_each_take_over_from_a_dead_owner_counts(bench):
    """By whatever way it is claimed."""
    bench.begun()
    second, third = bench.owner(), bench.owner()
    bench.expire(second)
    assert ["run"] == taken(second)
    go_on(second, len(STARTED))
    bench.expire(third)

    assert 2 == third.claim("run").takeovers


def test_an_owner_that_has_recorded_nothing_is_not_counted(bench):
    """What was in flight when the one before it died is counted once."""
    bench.begun()
    for _ in range(3):
        last = bench.owner()
        bench.expire(last)
        assert ["run"] == taken(last)

    assert 1 == last.snapshot("run").takeovers


def test_a_run_that_was_handed_back_is_not_counted(bench):
    """Neither by itself, nor with its owner's clean end."""
    first = bench.begun()
    first.hand_back("run")
    second = bench.owner()
    assert ["run"] == taken(second)
    go_on(second, len(STARTED))
    second.close()
    third = bench.owner()

    assert ["run"] == taken(third)
    assert 0 == third.snapshot("run").takeovers


def test_an_owner_that_takes_its_own_run_again_is_not_counted(bench):
    """It is alive."""
    state = bench.begun()

    assert ["run"] == taken(state)
    assert 0 == state.snapshot("run").takeovers


def test_an_owner_that_was_only_slow_goes_on_with_what_nobody_has_taken(bench):
    """A lease that has run out takes nothing away by itself."""
    state = bench.begun()
    bench.expire(bench.owner())

    assert written(state, happened(EventKind.STEP_COMPLETED, after=len(STARTED))) is None


def test_a_record_has_no_gaps(bench):
    """Nothing follows what was refused."""
    first, second = bench.begun(), bench.owner()
    bench.expire(second)
    taken(second)
    late = happened(EventKind.STEP_COMPLETED, after=len(STARTED))

    assert [NotRecorded, NotRecorded] == [type(written(first, late)) for _ in range(2)]
    assert len(STARTED) == len(second.events("run"))

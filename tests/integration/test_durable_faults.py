"""Real faults: processes that are killed, disks that are full, servers that hang up.

Each is here in its short form; `python -m tests.support.faults.soak` has the long one.
"""

from __future__ import annotations

import random

import pytest

from actorflow.errors.storage import StoreUnavailable
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests.support import postgres
from tests.support.faults.deploys import deploy_again_and_again
from tests.support.faults.durable_program import expected, logged
from tests.support.faults.everything import disturb_everything
from tests.support.faults.full_disks import fill_again_and_again, small_disk
from tests.support.faults.kills import kill_again_and_again
from tests.support.faults.lost_connections import cut_again_and_again, restart_again_and_again
from tests.support.faults.shared_queue import share_again_and_again

pytestmark = [
    pytest.mark.slow,
    # The steps of these programs are closures, which write to a log.
    pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning"),
]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(seed, tmp_path):
    """What was recorded stays, and never runs again; what was in flight is run once more."""
    figures = kill_again_and_again(tmp_path, 3, random.Random(seed))

    assert 3 == figures.kills
    assert 0 == figures.lost == figures.wrongly == figures.corrupt == figures.wrong
    assert figures.again <= figures.in_flight
    assert figures.recorded >= figures.acknowledged > 0


def test_files_that_may_not_grow_fail_runs_and_are_survived(tmp_path):
    """SQLite calls it an I/O error: runs fail with the store's error, and go on afterwards."""
    figures = fill_again_and_again(tmp_path, 5, 1)

    assert not figures.broken, figures
    assert 5 == figures.fills
    assert figures.completed > figures.resumed > 0


def test_a_full_disk_fails_runs_and_is_survived(tmp_path):
    """A small one, where one can be mounted; what was recorded is all there."""
    with small_disk(tmp_path) as mounted:
        figures = fill_again_and_again(tmp_path, 5, 2, ballast=mounted)

    assert not figures.broken, figures
    assert figures.completed > figures.resumed > 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rolling_deploys_lose_cancel_and_repeat_nothing(kind, request, tmp_path):
    """Each daemon gets SIGTERM under runs that outlast its drain, and others go on with them."""
    url = f"sqlite:///{tmp_path}/runs.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").database()
    figures = deploy_again_and_again(tmp_path, url, times=3, runs=40, at_once=5)

    assert not figures.broken, figures
    assert (3, 40) == (figures.deploys, figures.runs)
    assert figures.left > 0


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────


def test_connections_that_are_cut_delay_runs_and_lose_nothing(postgresql, tmp_path):
    """The answer to a commit may be lost with the connection: it is looked for, not repeated."""
    figures = cut_again_and_again(postgresql, tmp_path, times=15)

    assert not figures.broken, figures
    assert 15 == figures.disturbances
    assert 0 == figures.again
    assert figures.results > 0


def test_two_daemons_share_a_queue_though_they_are_cut_off_again_and_again(tmp_path):
    """Each takes over what the other one seems to have left, and each step is recorded once."""
    figures = share_again_and_again(tmp_path, times=10, steps=280, restarts=2)

    assert not figures.broken, figures
    assert (10, 2) == (figures.disturbances, figures.restarts)
    assert (40, 280) == (figures.results, figures.steps)


def test_nothing_is_lost_or_done_twice_under_all_faults_at_once(tmp_path):
    """Three daemons with schedules, children, keys and cancellations, each behind a network."""
    figures = disturb_everything(tmp_path, steps=200, faults=8, seed=1, pace=0.3)

    assert not figures.broken, figures
    assert 8 == figures.faults
    assert figures.steps >= 200
    assert figures.fired > 1
    assert figures.taken_over > 0


def test_a_server_that_crashes_and_comes_back_delays_runs_and_loses_nothing(tmp_path):
    """As an immediate restart leaves it: no connection, no answer, and a recovery."""
    figures = restart_again_and_again(tmp_path, times=2)

    assert not figures.broken, figures
    assert 2 == figures.disturbances
    assert 0 == figures.again
    assert figures.results > 0


def test_a_server_that_stays_away_refuses_runs_with_a_typed_error(tmp_path):
    """And takes new ones again when it is back, without anybody's help."""
    with logged(tmp_path / "log") as flow, postgres.running(*postgres.QUICK) as server:
        state = SQLStateManager(server.database(), create=True, patience=0.2)
        with Orchestrator(state) as orchestrator:
            orchestrator.run(flow, {"n": 1})
            server.stop(how=postgres.AT_ONCE)
            with pytest.raises(StoreUnavailable):
                orchestrator.run(flow, {"n": 2})
            down = state.health
            server.start()
            result = orchestrator.run(flow, {"n": 3})

    assert "down" == down.status
    assert down.error
    assert expected(3) == result.output
    assert "ok" == state.health.status

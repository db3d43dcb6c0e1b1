"""Daemons that share a queue in PostgreSQL, and take over from each other when they are cut off.

With each disturbance their leases run out, too: then each finds that the other one seems to be
gone, though both are alive and write on as soon as they can.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter

import attrs
import sqlalchemy as sa

from actorflow.model.events import EventKind
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.engines import Engines
from tests.support import postgres
from tests.support.faults.counts import Counts
from tests.support.faults.durable_program import STEPS, expected, logged
from tests.support.faults.lost_connections import AT_ONCE, HANG_UP, PATIENCE, Progress

__all__ = ["Figures", "share_again_and_again"]

LEASE = 0.5
RUN_OUT = "UPDATE actorflow_owners SET lease_until = now() - interval '1 hour'"
LOOKS = 0.05
"""Seconds between two looks of a daemon for runs."""


@attrs.define
class Figures(Counts):
    """What daemons have come to together."""

    promises = ("twice", "holes", "wrong")

    disturbances: int = 0
    restarts: int = 0
    """How many of these were crashes of the server."""
    results: int = 0
    """How many distinct runs have come to a result."""
    steps: int = 0
    """How many distinct steps are recorded as completed."""
    taken_over: int = 0
    """How many times a daemon went on with a run that another had begun."""
    twice: int = 0
    """How many completions are recorded of a step that was complete."""
    holes: int = 0
    """How many runs have events that do not follow each other."""
    wrong: int = 0
    """How many runs came to something else than they should, or to nothing."""


def daemon(url, flow, progress):
    """Return an orchestrator that takes runs without an owner, or whose owner seems gone."""
    state = SQLStateManager(url, patience=PATIENCE, lease=LEASE)
    made = Orchestrator(
        state, recover=True, recover_every=LOOKS, max_active_runs=AT_ONCE, observers=[progress]
    )
    made.register(flow)
    return made


def share_again_and_again(directory, *, times, steps, restarts, daemons=2, seed=0):
    """Disturb daemons so often while they work off a queue of so many steps at least."""
    runs, chance = -(-steps // STEPS), random.Random(seed)
    crashes = {*chance.sample(range(times), restarts)}
    progress = Progress()
    with postgres.running(*postgres.QUICK) as server, logged(directory / "log") as flow:
        url = server.database()
        with Orchestrator(SQLStateManager(url, create=True)) as client:
            ids = {client.enqueue(flow, {"n": n}).id: n for n in range(runs)}
        with contextlib.ExitStack() as working:
            for _ in range(daemons):
                working.enter_context(daemon(url, flow, progress))
            for number in range(times):
                progress.reach(number * runs // times)
                disturb(server, url, crash=number in crashes)
            progress.reach(runs)
        with contextlib.closing(SQLStateManager(url)) as state:
            return attrs.evolve(judged(state, ids), disturbances=times, restarts=restarts)


def disturb(server, url, *, crash):
    """Cut all connections, or have the server crash and come back."""
    if crash:
        server.stop(how=postgres.AT_ONCE)
        server.start()
    else:
        server.tell(HANG_UP.format(database=url.rpartition("/")[2]))
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.text(RUN_OUT))


def judged(state, ids):
    """Hold what is recorded against what was asked for."""
    figures = Figures()
    for run_id, n in ids.items():
        outputs, events = state.snapshot(run_id).outputs, state.events(run_id)
        completed = Counter(it.step_id for it in events if it.kind is EventKind.STEP_COMPLETED)
        figures.results += len(outputs) == STEPS
        figures.steps += len(completed)
        figures.taken_over += sum(it.kind is EventKind.RUN_RESUMED for it in events)
        figures.twice += sum(completed.values()) - len(completed)
        figures.holes += [it.number for it in events] != [*range(1, len(events) + 1)]
        figures.wrong += outputs.get("total") != expected(n)
    return figures

"""PostgreSQL servers that hang up, or crash and come back, while daemons work on them.

A daemon is an orchestrator with connections of its own; several work on one database.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter

import attrs

from actorflow.model.events import EventKind
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests.support import postgres
from tests.support.faults.counts import Counts
from tests.support.faults.durable_program import STEPS, expected, lines, logged

__all__ = ["Figures", "cut_again_and_again", "restart_again_and_again"]

HANG_UP = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = '{database}'"
)
PATIENCE = 120.0
HANGS = 300.0
AT_ONCE = 5
"""How many runs a daemon has in progress."""


@attrs.define
class Figures(Counts):
    """What disturbances have come to."""

    promises = ("again", "wrong", "lost")

    disturbances: int = 0
    steps: int = 0
    """How many distinct steps have begun."""
    results: int = 0
    """How many distinct runs have come to a result."""
    again: int = 0
    """How many bodies began that had begun before."""
    wrong: int = 0
    """How many runs came to something else than they should, or to nothing."""
    lost: int = 0
    """How many of them are not recorded as they were told."""


class Progress:
    """An observer that counts the runs which have completed."""

    def __init__(self):
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self, event):
        """Count."""
        if event.kind is EventKind.RUN_COMPLETED:
            with self._changed:
                self.count += 1
                self._changed.notify_all()

    def more(self, count):
        """Wait until so many more have."""
        with self._changed:
            self._reach(self.count + count)

    def reach(self, count):
        """Wait until so many have in all."""
        with self._changed:
            self._reach(count)

    def _reach(self, goal):
        assert self._changed.wait_for(lambda: self.count >= goal, HANGS), "nothing goes on"


class Daemon(threading.Thread):
    """Lets runs happen until it is told to stop."""

    def __init__(self, number, url, flow, progress, stop):
        super().__init__(name=f"daemon {number}")
        self.results = {}
        """By run id: the input, and what that came to."""
        self.error = None
        self._first = number * 1_000_000
        self._orchestrator = Orchestrator(
            SQLStateManager(url, patience=PATIENCE), observers=[progress]
        )
        self._flow = flow
        self._stop_now = stop

    def run(self):
        """Start some runs, wait for them, and so on."""
        try:
            with self._orchestrator:
                self._go_on()
        except BaseException as error:  # noqa: BLE001 - raised in `join`
            self.error = error

    def _go_on(self):
        n = self._first
        while not self._stop_now.is_set():
            inputs = range(n, n + AT_ONCE)
            runs = [(it, self._orchestrator.start(self._flow, {"n": it})) for it in inputs]
            self.results |= {run.id: (it, run.result(HANGS).output) for it, run in runs}
            n += AT_ONCE


def disturbed(url, directory, disturb, daemons):
    """Let daemons work while something is done; return what that came to."""
    progress, stop, log = Progress(), threading.Event(), directory / "log"
    SQLStateManager(url, create=True).close()
    with logged(log) as flow:
        working = [Daemon(number, url, flow, progress, stop) for number in range(daemons)]
        for daemon in working:
            daemon.start()
        try:
            disturb(progress)
        finally:
            stop.set()
            for daemon in working:
                daemon.join()
    assert [None] * daemons == [daemon.error for daemon in working]
    results = {run_id: it for daemon in working for run_id, it in daemon.results.items()}
    begun = Counter(lines(log.read_bytes()))
    with contextlib.closing(SQLStateManager(url)) as state:
        outputs = {run_id: state.snapshot(run_id).outputs.get("total") for run_id in results}
    return Figures(
        steps=len(begun),
        results=len(results),
        again=sum(begun.values()) - len(begun),
        wrong=sum(output != expected(n) for n, output in results.values())
        + (STEPS * len(results) != len(begun)),
        lost=sum(outputs[run_id] != output for run_id, (_, output) in results.items()),
    )


def cut_again_and_again(server, directory, *, times, steps=0, daemons=1, seed=0):
    """Cut all connections so often, at random distances, while so many steps happen at least."""
    url, chance = server.database(), random.Random(seed)
    apart = 1 + 2 * steps // (STEPS * times)

    def disturb(progress):
        for _ in range(times):
            server.tell(HANG_UP.format(database=url.rpartition("/")[2]))
            progress.more(chance.randint(1, max(2, apart)))
        progress.more(max(1, steps // STEPS - progress.count))

    figures = disturbed(url, directory, disturb, daemons)
    return attrs.evolve(figures, disturbances=times)


def restart_again_and_again(directory, *, times, steps=0, daemons=1, seed=0):
    """Have a server crash and come back so often, while so many steps happen at least."""
    chance = random.Random(seed)
    apart = 1 + 2 * steps // (STEPS * times)
    with postgres.running(*postgres.QUICK) as server:

        def disturb(progress):
            for _ in range(times):
                progress.more(chance.randint(1, max(2, apart)))
                server.stop(how=postgres.AT_ONCE)
                server.start()
            progress.more(max(1, steps // STEPS - progress.count))

        figures = disturbed(server.database(), directory, disturb, daemons)
    return attrs.evolve(figures, disturbances=times)

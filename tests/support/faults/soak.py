"""The long form of the tests of real faults: `python -m tests.support.faults.soak`.

    python -m tests.support.faults.soak kills              # 1,000 kill -9 on SQLite
    python -m tests.support.faults.soak limits             # 100 times no file may grow
    python -m tests.support.faults.soak disks              # 100 full disks
    python -m tests.support.faults.soak connections        # 500 times PostgreSQL hangs up
    python -m tests.support.faults.soak restarts           # 10 crashes of PostgreSQL
    python -m tests.support.faults.soak shared             # both, while two daemons share a queue
    python -m tests.support.faults.soak deploys            # 20 rolling deploys under 1,000 runs
    python -m tests.support.faults.soak deploys_on_sqlite  # the same on SQLite
    python -m tests.support.faults.soak everything         # 200 faults under three daemons

Each takes `--times` and `--seed`; `connections`, `restarts`, `shared` and `everything` take
`--steps`, of which so many happen at least; the first three of these take `--daemons`, which work
on one database; the deploys take `--runs`.

It says what it came to, and exits with 1 when anything was lost, or done again wrongly.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.support import postgres
from tests.support.faults.deploys import STEPS, deploy_again_and_again
from tests.support.faults.everything import disturb_everything
from tests.support.faults.full_disks import fill_again_and_again, small_disk
from tests.support.faults.kills import Figures, kill_again_and_again
from tests.support.faults.lost_connections import cut_again_and_again, restart_again_and_again
from tests.support.faults.shared_queue import share_again_and_again

__all__ = ["main"]

KILLS_OF_A_DATABASE = 50
SPREAD = 0.02
"""The most seconds between an acknowledgement and a kill."""
PACE = 0.5
"""Seconds between two families that each of three daemons starts."""


def kills(asked):
    """Kill processes that write to SQLite; each database is killed under a few times."""
    figures, left, chance = Figures(), asked.times, random.Random(asked.seed)
    while left:
        some = min(left, KILLS_OF_A_DATABASE)
        with tempfile.TemporaryDirectory() as place:
            figures += kill_again_and_again(Path(place), some, chance, spread=SPREAD)
        left -= some
        sys.stderr.write(f"{figures}\n")
    return figures


def limits(asked):
    """Let no file grow any more, again and again, while SQLite is written to."""
    with tempfile.TemporaryDirectory() as place:
        return fill_again_and_again(Path(place), asked.times, asked.seed)


def disks(asked):
    """Fill the disk of an SQLite database, again and again; it has to be possible to mount one."""
    with tempfile.TemporaryDirectory() as place, small_disk(Path(place)) as mounted:
        if not mounted:
            raise SystemExit("no small disk can be mounted here: it takes the rights to do so")
        return fill_again_and_again(Path(place), asked.times, asked.seed, ballast=True)


def connections(asked):
    """Cut all connections to PostgreSQL, again and again, under load."""
    with tempfile.TemporaryDirectory() as place, postgres.running(*postgres.QUICK) as server:
        return cut_again_and_again(server, Path(place), **load(asked))


def restarts(asked):
    """Have PostgreSQL crash and come back, again and again, under load."""
    with tempfile.TemporaryDirectory() as place:
        return restart_again_and_again(Path(place), **load(asked))


def shared(asked):
    """Let daemons share a queue in PostgreSQL, which hangs up, and crashes every fiftieth time."""
    with tempfile.TemporaryDirectory() as place:
        asked.daemons = max(2, asked.daemons)
        return share_again_and_again(Path(place), restarts=max(1, asked.times // 50), **load(asked))


def deploys(asked):
    """Send SIGTERM to daemons on PostgreSQL, one after the other, while they work off a queue."""
    with postgres.running(*postgres.QUICK) as server:
        return deployed(asked, server.database())


def deploys_on_sqlite(asked):
    """Send SIGTERM to daemons on SQLite, one after the other, while they work off a queue."""
    with tempfile.TemporaryDirectory() as place:
        return deployed(asked, f"sqlite:///{place}/runs.db")


def everything(asked):
    """Kill, deploy, pause and cut off three daemons, which have schedules, children and keys."""
    place = Path(tempfile.mkdtemp(prefix="actorflow-soak-"))  # kept, for the journals
    return disturb_everything(
        place, steps=asked.steps, faults=asked.times, seed=asked.seed, pace=PACE
    )


def deployed(asked, url):
    """Spread the deploys over the work: the daemons that stay go on, and so does each new one."""
    pace = asked.runs * STEPS // (6 * asked.times)
    with tempfile.TemporaryDirectory() as place:
        return deploy_again_and_again(
            Path(place), url, times=asked.times, runs=asked.runs, pace=pace
        )


def load(asked):
    """How much is to happen."""
    return {name: getattr(asked, name) for name in ("times", "seed", "steps", "daemons")}


TIMES = {
    kills: 1_000,
    limits: 100,
    disks: 100,
    connections: 500,
    restarts: 10,
    shared: 500,
    deploys: 20,
    deploys_on_sqlite: 20,
    everything: 200,
}


def main(words=None):
    """Do as the command line says; return 0, or 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.faults.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    faults = parser.add_subparsers(required=True, metavar="FAULT")
    for fault, times in TIMES.items():
        one = faults.add_parser(fault.__name__, help=fault.__doc__)
        one.add_argument("--times", type=int, default=times, metavar="N")
        one.add_argument("--seed", type=int, default=0, metavar="N")
        one.add_argument("--steps", type=int, default=20_000, metavar="N")
        one.add_argument("--runs", type=int, default=1_000, metavar="N")
        one.add_argument("--daemons", type=int, default=1, metavar="N")
        one.set_defaults(fault=fault)
    asked = parser.parse_args(words)
    figures = asked.fault(asked)
    sys.stdout.write(f"{figures}\n")
    return int(figures.broken)


if __name__ == "__main__":
    sys.exit(main())

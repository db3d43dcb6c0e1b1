"""Disks that are full at random instants, and what becomes of the runs that want to write then.

    python -m tests.support.faults.full_disks URL TIMES SEED [BALLAST]

It prints one JSON object; `fill_again_and_again` reads that, and looks at the database.

Without BALLAST the process's files may not grow any more after a while (`RLIMIT_FSIZE`), which
SQLite takes for an I/O error. BALLAST is a file on the database's own, small file system: it grows
until as good as nothing is left, and SQLite says that the disk is full.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import attrs
import sqlalchemy as sa

from actorflow.definition.workflow import Workflow
from actorflow.errors.storage import StoreError
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests.support.faults.counts import Counts

__all__ = ["Figures", "fill_again_and_again", "small_disk"]

ROOT = Path(__file__).parents[3]
UNLIMITED = resource.RLIM_INFINITY
PAGE = 4096
ROOM = 100_000
"""How many bytes may be written until the disk is full, at most."""
LARGEST = 20_000
"""The size of an output, likewise."""
PATIENCE = 0.05
SIZE = 64_000_000

flow = Workflow("fill")


@flow.step
def first(size):
    """Return something to be stored."""
    return "x" * size


@flow.step(after="first")
def second(first):
    """Return how much that was."""
    return len(first)


class Limit:
    """Files that may not grow beyond a size."""

    def __init__(self, database):
        self._log = Path(f"{database}-wal")

    def fill(self, room):
        """Let the database write so many bytes and no more."""
        size = self._log.stat().st_size if self._log.exists() else 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, UNLIMITED))

    def empty(self):
        """Let it write whatever it likes."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


class Ballast:
    """A file that takes what there is."""

    def __init__(self, path):
        self._path = Path(path)

    def fill(self, room):
        """Leave so many bytes and no more."""
        place = os.statvfs(self._path.parent)
        with self._path.open("wb") as file:
            taken = place.f_bavail * place.f_frsize - room
            os.posix_fallocate(file.fileno(), 0, max(PAGE, taken))

    def empty(self):
        """Give all of it back."""
        self._path.unlink()


def main(url, times, seed, ballast=None):
    """Fill the disk, see what happens, make room, and go on: again and again.

    A run that has failed goes on when there is room.
    """
    chance = random.Random(int(seed))
    disk = Limit(sa.make_url(url).database) if ballast is None else Ballast(ballast)
    state = SQLStateManager(url, create=True, patience=PATIENCE)
    told = {"completed": [], "resumed": [], "errors": [], "health": [], "wrong": 0}
    with Orchestrator(state) as orchestrator:
        for _ in range(int(times)):
            disk.fill(chance.randrange(ROOM))
            run_id, size = run_until_one_fails(orchestrator, chance, told)
            told["health"].append(state.health.status)
            disk.empty()
            if run_id is not None:
                output = orchestrator.resume(run_id, flow).result(60).output
                told["wrong"] += output != size
                told["resumed"].append(run_id)
            told["completed"].append(orchestrator.run(flow, {"size": 1}).run_id)
            told["health"].append(state.health.status)
    json.dump(told, sys.stdout)


def run_until_one_fails(orchestrator, chance, told):
    """Let runs happen, and return the one that fails, with the output that it should have.

    When not even its start can be recorded there is none.
    """
    while True:
        size = chance.randrange(LARGEST)
        try:
            result = orchestrator.start(flow, {"size": size}).wait(60)
        except StoreError as error:
            told["errors"].append(type(error).__name__)
            return None, size
        if result.status is not RunStatus.COMPLETED:
            told["errors"].append(type(result.error).__name__)
            return result.run_id, size
        told["completed"].append(result.run_id)


# ── From outside ─────────────────────────────────────────────────────────────────────────────


@attrs.define
class Figures(Counts):
    """What disks that were full have come to."""

    promises = ("lost", "wrong", "untyped", "unwell", "corrupt")

    fills: int = 0
    completed: int = 0
    """How many runs were said to have completed."""
    resumed: int = 0
    """How many of those had failed for want of room, and went on."""
    lost: int = 0
    """How many of the completed ones are not recorded as that."""
    wrong: int = 0
    """How many came to something else than they should."""
    untyped: int = 0
    """How many failed otherwise than with `StoreUnavailable`."""
    unwell: int = 0
    """How often the state manager's health was not told as it was."""
    corrupt: int = 0


def fill_again_and_again(place, times, seed, *, ballast=False):
    """Have the disk be full so many times, in a process of its own; return what that came to.

    Args:
        place: The directory of the database.
        times: How often.
        seed: Of what is left to chance.
        ballast: Whether the directory is a small disk of its own, which can be filled.
    """
    url = f"sqlite:///{place}/runs.db"
    command = [sys.executable, "-m", "tests.support.faults.full_disks", url, str(times), str(seed)]
    command += [str(place / "ballast")] if ballast else []
    said = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=True).stdout
    told = json.loads(said)
    with contextlib.closing(SQLStateManager(url)) as state:
        page = state.list(status=RunStatus.COMPLETED, limit=1_000_000)
    with contextlib.closing(sqlite3.connect(place / "runs.db")) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchall()
    completed = [*told["completed"], *told["resumed"]]
    return Figures(
        fills=times,
        completed=len(completed),
        resumed=len(told["resumed"]),
        lost=len({*completed} - {run.run_id for run in page.runs}),
        wrong=told["wrong"],
        untyped=sum(name != "StoreUnavailable" for name in told["errors"]),
        unwell=sum(one != ["down", "ok"] for one in zip_pairs(told["health"])),
        corrupt=int(sound != [("ok",)]),
    )


def zip_pairs(line):
    """Two and two of a list."""
    return [list(pair) for pair in zip(line[::2], line[1::2], strict=True)]


@contextlib.contextmanager
def small_disk(place):
    """A small disk of its own at a directory, where the machine lets one be mounted.

    It says whether there is one.
    """
    mount, umount = shutil.which("mount") or "false", shutil.which("umount") or "false"
    command = [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run([umount, str(place)], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Processes that are killed at random instants, and what their database says afterwards.

A life is a process that works on a database until it is killed with SIGKILL. After each life the
three accounts that it leaves are compared: what it has acknowledged is recorded; what was recorded
has not begun again; and what has begun again was in flight when the life before it was cut off.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
from collections import Counter

import attrs

from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests.support.faults.counts import Counts
from tests.support.faults.durable_program import expected, lines, live, logged

__all__ = ["Figures", "kill_again_and_again"]

COMPLETED = "SELECT run_id, step_id FROM actorflow_steps WHERE status = 'completed'"
TABLES = "SELECT 1 FROM sqlite_master WHERE name = 'actorflow_steps'"
CHECKS = {"PRAGMA integrity_check": [("ok",)], "PRAGMA foreign_key_check": []}
MOST_ACKNOWLEDGED = 120

# Processes are forked from one that has loaded everything, and has neither threads nor files:
# what a life takes to begin would otherwise be most of it.
lives = multiprocessing.get_context("forkserver")
lives.set_forkserver_preload(["tests.support.faults.durable_program"])


@attrs.define
class Figures(Counts):
    """What many kills have come to."""

    promises = ("lost", "wrongly", "corrupt", "wrong")

    kills: int = 0
    recorded: int = 0
    """How many steps are recorded as completed."""
    acknowledged: int = 0
    """How many steps were shown to an observer as completed."""
    lost: int = 0
    """How many of those are not recorded."""
    again: int = 0
    """How many bodies began that had begun before."""
    wrongly: int = 0
    """How many of those were recorded, or had not been in flight, when they began again."""
    in_flight: int = 0
    """How many had begun, and were not recorded, at the kills."""
    most_in_flight: int = 0
    corrupt: int = 0
    """How often the database was not in order."""
    wrong: int = 0
    """How many runs came to something else than they should, in the end."""

    def __add__(self, other):
        most = max(self.most_in_flight, other.most_in_flight)
        both = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        return attrs.evolve(Figures(*map(sum, both)), most_in_flight=most)


class Account:
    """What is known of one database."""

    def __init__(self, directory, figures):
        self.database = directory / "runs.db"
        self.url = f"sqlite:///{self.database}"
        self.log = directory / "log"
        self.log.touch()
        self._figures = figures
        self._read = 0
        self._begun = set()
        self._recorded = set()

    def audit(self, acknowledged):
        """Compare the three accounts after a life."""
        figures = self._figures
        begun, recorded = Counter(self._new_lines()), self._completed()
        again = {step: times - (step not in self._begun) for step, times in begun.items()}
        in_flight = self._begun - self._recorded
        self._begun |= begun.keys()
        self._recorded = recorded
        flying = len(self._begun - recorded)
        figures.acknowledged += len(acknowledged)
        figures.lost += len({*acknowledged} - recorded)
        figures.again += sum(again.values())
        figures.wrongly += sum(
            times - (step in in_flight) for step, times in again.items() if times
        )
        figures.in_flight += flying
        figures.most_in_flight = max(figures.most_in_flight, flying)

    def _new_lines(self):
        with self.log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        return lines(text)

    def _completed(self):
        if not self.database.exists():
            return set()
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            sound = all(
                outcome == connection.execute(check).fetchall() for check, outcome in CHECKS.items()
            )
            self._figures.corrupt += not sound
            made = connection.execute(TABLES).fetchall()
            return set(connection.execute(COMPLETED)) if made else set()

    def conclude(self):
        """Let all that was left come to its end, and look at what came out of it."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute("DELETE FROM actorflow_owners")  # none of them is alive
            connection.commit()
        state = SQLStateManager(self.url, create=True)
        with logged(self.log) as flow, Orchestrator(state) as orchestrator:
            runs = orchestrator.list(limit=1_000_000).runs
            for run in runs:
                result = orchestrator.resume(run.run_id, flow).result(60)
                self._figures.wrong += result.output != expected(run.inputs["n"])
        self.audit([])
        self._figures.recorded += len(self._recorded)


def kill_again_and_again(directory, kills, chance, *, spread=0.0):
    """Let a process live, kill it, and let the next one go on; return what that came to.

    Args:
        directory: Where the database and the log are.
        kills: How often.
        chance: Chooses how much is acknowledged before each kill, and how long that is ago then.
        spread: The most seconds between that acknowledgement and the kill.
    """
    figures = Figures()
    account = Account(directory, figures)
    for _ in range(kills):
        said = cut_short(account, chance.randrange(MOST_ACKNOWLEDGED), spread * chance.random())
        figures.kills += 1
        account.audit(said)
    account.conclude()
    return figures


def cut_short(account, acknowledged, seconds):
    """Start a life, and kill it so long after it has said so much; return all that it has said."""
    hears, says = lives.Pipe(duplex=False)
    process = lives.Process(target=begin, args=(account.url, str(account.log), says))
    process.start()
    says.close()
    with open(hears.fileno(), "rb", closefd=False) as pipe, hears:
        said = [pipe.readline() for _ in range(acknowledged)]
        process.join(seconds)
        process.kill()
        said.append(pipe.read())
    process.join()
    assert -9 == process.exitcode, "it was killed, and did not end by itself"
    return lines(b"".join(said))


def begin(url, log, says):
    """Live."""
    live(url, log, says.fileno())

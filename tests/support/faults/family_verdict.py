"""The verdict on the soak of all faults: the database, read by its tables, against the journals."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import attrs
import psycopg
from psycopg.rows import namedtuple_row

from tests.support.faults.counts import Counts
from tests.support.faults.family_daemon import SCHEDULE, leaf_of, total_of

__all__ = ["ENDLESS", "Figures", "judge"]

SHOWN = 10
"""How many examples of a broken promise are shown."""
ENDLESS = ("sleeper", "nursery")
EXPECTED = {"family": total_of, "leaf": leaf_of, "paper": int, "approval": lambda _: APPROVED}
LAST = {"family": "total", "leaf": "c", "paper": "file", "approval": "tell"}
APPROVED = '["first","second"]'
"""The output of a run that has got its messages once, in their order."""
RUNS = """
SELECT run_id, workflow_id, status, inputs, metadata, started_at, finished_at, owner, reason, error,
    parent_run_id, parent_step_id, parent_call, run_key, key_slot, cancel_asked, takeovers
FROM actorflow_runs
"""
STEPS = "SELECT run_id, step_id, status, output FROM actorflow_steps"
EVENTS = "SELECT run_id, number, kind, step_id, attempt FROM actorflow_events ORDER BY 1, 2"
MESSAGES = "SELECT run_id, message_id FROM actorflow_messages"
OWNERS = "SELECT owner, pid, beat, lease_until, now() AS now FROM actorflow_owners"
FIRINGS = "SELECT * FROM actorflow_schedules"


@attrs.define
class Figures(Counts):
    """What all faults have come to."""

    promises = (
        *("lost", "twice", "again", "holes", "unended", "wrong", "uncancelled"),
        *("children", "firings", "overlaps", "owners", "unclean"),
    )

    faults: int = 0
    runs: int = 0
    steps: int = 0
    """How many distinct steps are recorded as completed."""
    acknowledged: int = 0
    """How many runs, steps and ends the journals name."""
    taken_over: int = 0
    """How many times a daemon went on with a run that another had begun."""
    fired: int = 0
    """How many runs of the schedule there are."""
    lost: int = 0
    """How many acknowledgements the record does not bear out."""
    twice: int = 0
    """How many completions, ends and starts are recorded of what was over."""
    again: int = 0
    """How many bodies began without a start on record, or more than once for one."""
    holes: int = 0
    """How many runs have events that do not follow each other."""
    unended: int = 0
    """How many runs have not ended."""
    wrong: int = 0
    """How many runs came to something else than they should."""
    uncancelled: int = 0
    """How many runs that were cancelled ended in another way."""
    children: int = 0
    """How many parents do not have each child once."""
    firings: int = 0
    """How many nominal times did not fire, or fired more than once."""
    overlaps: int = 0
    """How many runs with one key ran at a time, or were accepted last and did not run."""
    owners: int = 0
    """How many leases and keys are left."""
    unclean: int = 0
    """How many daemons did not end by their own shutdown."""
    slowest: float = 0.0
    """The longest shutdown, in seconds."""


class Record:
    """What the database says."""

    def __init__(self, url):
        with psycopg.connect(url, row_factory=namedtuple_row) as connection:

            def rows(query):
                return connection.execute(query).fetchall()

            self.runs = {row.run_id: row for row in rows(RUNS)}
            self.steps = {(row.run_id, row.step_id): row for row in rows(STEPS)}
            self.events = defaultdict(list)
            for row in rows(EVENTS):
                self.events[row.run_id].append(row)
            self.owners = rows(OWNERS)
            self.messages = Counter((row.run_id, row.message_id) for row in rows(MESSAGES))
            self.schedules = rows(FIRINGS)

    def children(self, run_id):
        """The runs that a run has started."""
        return [run for run in self.runs.values() if run.parent_run_id == run_id]


class Court:
    """Counts broken promises, and shows some of them."""

    def __init__(self, figures):
        self._figures = figures

    def count(self, promise, cases):
        """Count the cases in which a promise was broken."""
        cases = list(cases)
        setattr(self._figures, promise, getattr(self._figures, promise) + len(cases))
        for case in cases[:SHOWN]:
            sys.stderr.write(f"{promise}: {case}\n")


def judge(url, directory, papers, figures):
    """Hold the record against what was acknowledged, begun and asked for."""
    record, court = Record(url), Court(figures)
    said = defaultdict(list)
    for path in sorted(directory.glob("*.journal")):
        for line in path.read_text().rpartition("\n")[0].splitlines():
            word, *rest = line.split(" ")
            said[word].append(tuple(rest))
    figures.runs = len(record.runs)
    figures.steps = sum(it.status == "completed" for it in record.steps.values())
    figures.acknowledged = sum(len(said[word]) for word in ("accepted", "step", "end"))
    figures.taken_over = sum(
        it.kind == "run.resumed" for events in record.events.values() for it in events
    )
    court.count("lost", lost(record, said))
    court.count("twice", twice(record))
    court.count("twice", [it for it, times in record.messages.items() if times > 1])
    court.count("again", again(record, said))
    court.count("holes", holes(record))
    court.count("unended", [it for it in record.runs.values() if it.finished_at is None])
    court.count("wrong", wrong(record))
    court.count("uncancelled", uncancelled(record))
    court.count("children", families(record))
    court.count("firings", firings(record, figures))
    court.count("overlaps", overlaps(record, papers))
    court.count("owners", record.owners)
    court.count("owners", [it for it in record.runs.values() if it.key_slot is not None])


def lost(record, said):
    """Yield what was acknowledged and is not on record."""
    for run_id, payload in said["sent"]:
        if (run_id, payload) not in record.messages:
            yield "sent", run_id, payload
    for (run_id,) in said["accepted"]:
        if run_id not in record.runs:
            yield "accepted", run_id
    for key in said["step"]:
        if key not in record.steps or record.steps[key].status != "completed":
            yield "step", key
    for run_id, status in said["end"]:
        if run_id not in record.runs or record.runs[run_id].status != status:
            yield "end", run_id, status


def twice(record):
    """Yield what is recorded after it was over."""
    for run_id, events in record.events.items():
        completed, ended = set(), False
        for it in events:
            if ended:
                yield run_id, it.number, it.kind, "after the end"
            if it.step_id in completed and it.kind in {"step.completed", "step.started"}:
                yield run_id, it.number, it.kind, it.step_id
            if it.kind == "step.completed":
                completed.add(it.step_id)
            ended = ended or it.kind in {"run.completed", "run.failed", "run.cancelled"}


def again(record, said):
    """Yield the bodies that began without a start on record, or more than once for one."""
    started = {
        (run_id, it.step_id, str(it.attempt))
        for run_id, events in record.events.items()
        for it in events
        if it.kind == "step.started"
    }
    for body, times in Counter(said["begin"]).items():
        # A body that waits for a message begins again, under the same number, after an eviction.
        waits = record.runs[body[0]].workflow_id == "approval" and body[1] == "ask"
        if body not in started or (times > 1 and not waits):
            yield (*body, f"began {times} times")


def holes(record):
    """Yield the runs whose events do not follow each other."""
    for run_id, events in record.events.items():
        if [it.number for it in events] != [*range(1, len(events) + 1)]:
            yield run_id


def wrong(record):
    """Yield the runs with another end than they should have."""
    for run in record.runs.values():
        n, expected = json.loads(run.inputs).get("n"), EXPECTED.get(run.workflow_id)
        if expected is None or (run.workflow_id == "paper" and run.status == "cancelled"):
            continue
        output = record.steps.get((run.run_id, LAST[run.workflow_id]))
        if run.status != "completed" or output is None or output.output != str(expected(n)):
            yield run


def uncancelled(record):
    """Yield the endless runs, and their children, that were not cancelled."""
    for run in record.runs.values():
        if run.workflow_id in ENDLESS and run.status != "cancelled":
            yield run


def families(record):
    """Yield the parents that do not have each child once."""
    children = defaultdict(Counter)
    for run in record.runs.values():
        if run.parent_run_id is not None:
            children[run.parent_run_id][run.parent_step_id] += 1
    for run in record.runs.values():
        mine = children.pop(run.run_id, Counter())
        if run.workflow_id == "family":
            if mine != Counter(("one", "other")):
                yield run.run_id, mine
        elif run.workflow_id == "nursery":
            if mine not in (Counter(), Counter(("sit",))):
                yield run.run_id, mine
        elif mine:
            yield run.run_id, mine
    yield from children.items()


def firings(record, figures):
    """Yield the seconds in which the schedule did not fire once."""
    metadata = (json.loads(run.metadata) for run in record.runs.values())
    times = Counter(
        datetime.fromisoformat(it["scheduled_for"])
        for it in metadata
        if it.get("schedule") == SCHEDULE
    )
    figures.fired = sum(times.values())
    first, last = min(times), max(times)
    for number in range(round((last - first).total_seconds()) + 1):
        at = first + timedelta(seconds=number)
        if times[at] != 1:
            yield str(at), times[at]
    for it in record.schedules:
        if it.skipped_count or it.missed_count or it.fired_count != figures.fired:
            yield it


def overlaps(record, papers):
    """Yield the runs that did not keep to their keys."""
    of_key = defaultdict(list)
    for run in record.runs.values():
        if run.run_key is not None and run.started_at is not None:
            of_key[run.run_key].append(run)
    for runs in of_key.values():
        runs.sort(key=lambda it: it.started_at)
        for one, other in itertools.pairwise(runs):
            if other.started_at < one.finished_at:
                yield one, other
    for run_id in papers.values():
        if record.runs[run_id].status != "completed":
            yield record.runs[run_id]

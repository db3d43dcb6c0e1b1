"""What the log says of runs that are parked, and of a search for runs that fails."""

from __future__ import annotations

import logging
import types

import pytest

from actorflow.errors.storage import NotRestorable, RunNotFound, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.model.powers import Taken
from actorflow.model.records import RunSnapshot
from actorflow.orchestrator.takeover import PARKED_FOR, Recovery


class Search:
    """A recovery whose searches find what they are told to, at a time that is told."""

    def __init__(self):
        self.now = 0.0
        self.finds = Taken([], [])
        self.runs = {}
        self.live = []
        admission, self.idle = types.SimpleNamespace(free=1), 0
        life = types.SimpleNamespace(live=self.live, admission=admission)
        registry = types.SimpleNamespace(known=frozenset)
        self._recovery = Recovery(life, registry, self, None, most=1, every=1.0)
        self.clock = types.SimpleNamespace(now=lambda: self.now)

    def take_over(self, *_arguments, **_options):
        """Find, or fail."""
        found, self.finds = self.finds, Taken([], [])
        if isinstance(found, Exception):
            self.finds = found
            raise found
        return found

    def snapshot(self, run_id):
        """Return a run."""
        found = self.runs.get(run_id, RunNotFound(run_id))
        if isinstance(found, Exception):
            raise found
        return found

    def look(self, after=0.0):
        """Search, some seconds later."""
        self.now += after
        return self._recovery.turn(self)


@pytest.fixture
def lines(caplog):
    """The log lines that were written since the last call."""
    caplog.set_level(logging.INFO, logger="actorflow")

    def written():
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return said

    return written


def run(parked="it waits for its workflow", status=RunStatus.PENDING):
    """A run as it stands."""
    return RunSnapshot(
        run_id="r", workflow_id="mail", workflow_version="2", status=status, parked=parked
    )


def test_a_parked_run_is_logged_when_it_has_stayed_so_for_a_while(lines):
    """Once, with what an operator must start."""
    search = Search()
    search.runs["r"] = run()
    search.finds = Taken([], ["r"])
    search.look()
    search.look(after=PARKED_FOR - 1.0)
    early = lines()
    search.look(after=1.0)
    logged = lines()
    search.look(after=2 * PARKED_FOR)

    assert [] == early
    (line,) = logged
    for said in ("'run.parked'", "run_id='r'", "workflow_id='mail'", "workflow_version='2'"):
        assert said in line
    assert "reason='it waits for its workflow'" in line
    assert [] == lines()


@pytest.mark.parametrize(
    "later", [run(parked=None), run(status=RunStatus.CANCELLED), RunNotFound("r")]
)
def test_a_run_that_is_not_parked_for_long_is_not_logged(lines, later):
    """Another orchestrator has taken it, or it is over."""
    search = Search()
    search.finds = Taken([], ["r"])
    search.look()
    search.runs["r"] = later
    search.look(after=PARKED_FOR)

    assert [] == lines()


def test_a_parked_run_that_cannot_be_read_is_logged_all_the_same(lines):
    """Another serializer wrote it."""
    search = Search()
    search.finds = Taken([], ["r"])
    search.runs["r"] = NotRestorable("the input", "the serializer 'x' wrote it")
    search.look()
    search.look(after=PARKED_FOR)

    (line,) = lines()
    assert "'run.parked' run_id='r'" in line


def test_a_full_orchestrator_still_logs_parked_runs(lines):
    """Though it does not search."""
    search = Search()
    search.runs["r"] = run()
    search.finds = Taken([], ["r"])
    search.look()
    search.live = ["busy"]
    search.look(after=PARKED_FOR)

    assert 1 == len(lines())


def test_an_outage_is_logged_once_and_so_is_its_end(lines):
    """However many searches fail."""
    search = Search()
    search.finds = StoreUnavailable("look for runs", "the connection was cut")
    for _ in range(3):
        search.look(after=1.0)
    during = lines()
    search.finds = Taken([], [])
    search.look(after=1.5)
    search.look(after=1.0)
    end = lines()
    search.finds = StoreUnavailable("look for runs", "it is down")
    search.look()

    assert 1 == len(during)
    assert "'recovery.failed'" in during[0]
    assert 1 == len(end)
    assert "'recovery.recovered' seconds=3.5 failures=3" in end[0]
    assert 1 == len(lines())

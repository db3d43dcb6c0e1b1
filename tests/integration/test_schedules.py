"""Schedules that several processes serve: each nominal time fires once, though one is killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.faults.scheduling_program import NAME

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
PROGRAM = (sys.executable, "-m", "tests.support.faults.scheduling_program")
STREAMS = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def daemon(url):
    """A process that serves the schedule."""
    with subprocess.Popen([*PROGRAM, url], cwd=ROOT, **STREAMS) as process:
        try:
            assert "ready\n" == process.stdout.readline()
            yield process
        finally:
            process.kill()


def until(condition):
    """Look until it is so."""
    never, looks = threading.Event(), 0
    while not condition():
        looks += 1
        assert looks < PATIENCE / 0.1
        never.wait(0.1)


def times_of(state):
    """The nominal times of all runs, in order."""
    runs = state.list(limit=1000).runs
    return sorted(datetime.fromisoformat(it.metadata["scheduled_for"]) for it in runs)


def test_each_second_fires_once_in_two_processes_of_which_one_is_killed(url, make):
    """None is missed, none fires twice, and every run ends."""
    state = make()

    def fired():
        return state.get_schedule(NAME).state.fired

    with daemon(url) as one, daemon(url) as other:
        until(lambda: fired() >= 3)
        one.kill()
        one.wait()
        before = fired()
        until(lambda: fired() >= before + 4)
        until(lambda: state.list(status="completed").total >= before + 4)
        other.stdin.close()
        assert 0 == other.wait(PATIENCE)

    stands, times = state.get_schedule(NAME).state, times_of(state)
    until(lambda: {it.status.value for it in state.list(limit=1000).runs} == {"completed"})
    expected = [times[0] + timedelta(seconds=number) for number in range(len(times))]
    assert expected == times
    assert (len(times), 0, 0) == (stands.fired + len(stands.pending), stands.skipped, stands.missed)

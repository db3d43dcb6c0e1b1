"""What the tests of embedding programs share."""

from __future__ import annotations

import threading

import pytest

from tests.support.flows import GUARD


@pytest.fixture
def release():
    """An event that hanging steps wait for; it is set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def nothing_stays(release):
    """Assert that no thread of actorflow's is left, once hanging steps may return."""
    before = set(threading.enumerate())
    yield
    release.set()
    new = [t for t in set(threading.enumerate()) - before if t.name.startswith("actorflow")]
    for thread in new:
        thread.join(GUARD)

    assert [] == [thread.name for thread in new if thread.is_alive()]

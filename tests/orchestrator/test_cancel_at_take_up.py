"""A run can be cancelled at any moment of its take-up, and the request is never lost."""

from __future__ import annotations

import threading

import pytest

from actorflow.orchestrator import remote_cancel, takeover
from tests.support.flows import GUARD, endless, flow_of, seen

# Their steps are closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

RECOVERS = {"recover": True, "recover_every": 0.01}


class Watched:
    """A lock that tells which thread asks for it.

    Args:
        lock: The lock.
        thread: The name of the thread.
        asked: Set when it asks.
    """

    def __init__(self, lock, thread, asked):
        self._lock = lock
        self._thread = thread
        self._asked = asked

    def acquire(self, *arguments, **options):
        """Take it."""
        if threading.current_thread().name == self._thread and options != {"blocking": False}:
            self._asked.set()
        return self._lock.acquire(*arguments, **options)

    def release(self):
        """Give it back."""
        self._lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()


def cancelling(run, waits, **options):
    """Cancel a run on a thread of its own; `waits` is set when that is over."""

    def cancel():
        try:
            run.cancel("enough", **options)
        finally:
            waits.set()

    thread = threading.Thread(target=cancel, name="canceller")
    thread.start()
    return thread


@pytest.mark.parametrize("compensate", [False, True])
def test_a_run_that_is_cancelled_while_it_is_taken_up_ends(
    make, make_orchestrator, monkeypatch, compensate
):
    """Who cancels it claims no run that this orchestrator has just claimed itself."""
    first = make_orchestrator(make())
    flow = flow_of(endless, "flow", async_=True)
    run = first.start(flow)
    seen(run, "step.started")
    first.shutdown(drain=0, grace=0, leave=True)
    taken, waits, launched = threading.Event(), threading.Event(), threading.Event()
    take_up, end = takeover.Resuming._take_up, remote_cancel._decide

    def slowly(*arguments):
        taken.set()
        assert waits.wait(GUARD)
        take_up(*arguments)
        launched.set()

    def decide(*arguments, **options):
        waits.set()
        assert launched.wait(GUARD)
        seen(there.get(run.id), "run.resumed")
        return end(*arguments, **options)

    monkeypatch.setattr(takeover.Resuming, "_take_up", slowly)
    monkeypatch.setattr(remote_cancel, "_decide", decide)
    there = make_orchestrator(make(), **RECOVERS)
    there._life.live.claims = Watched(there._life.live.claims, "canceller", waits)
    there.register(flow)
    assert taken.wait(GUARD)
    thread = cancelling(there.get(run.id), waits, compensate=compensate)
    thread.join(GUARD)
    result = there.get(run.id).wait(GUARD)

    assert ("cancelled", "enough") == (result.status, result.reason)
    assert 1 == [it.kind for it in there.get(run.id).events()].count("run.resumed")


def test_a_run_that_is_cancelled_while_it_is_handed_over_ends(make, make_orchestrator):
    """The supervisor hears of its start first."""
    here = make_orchestrator(make())
    flow = flow_of(endless, "flow", async_=True)
    runtime, waits, found = here._life.runtime("test"), threading.Event(), []
    start = runtime.start

    def slowly(message):
        (run_id,) = here._life.live.ids()
        found.append(here.get(run_id))
        found.append(cancelling(found[0], waits))
        assert waits.wait(GUARD)
        start(message)

    here._life.live.door = Watched(here._life.live.door, "canceller", waits)
    runtime.start = slowly
    run = here.start(flow)
    result = run.wait(GUARD)
    found[1].join(GUARD)

    assert ("cancelled", "enough") == (result.status, result.reason)
    assert "cancelled" == run.snapshot().status

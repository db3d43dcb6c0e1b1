"""Looking at another thread's stack: what it shows, and that nobody is hurt by it."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest

from actorflow.executors.stacks import stack_of

ROOT = Path(__file__).resolve().parents[2]
GUARD = 60
"""Seconds after which something that should happen at once never will."""


def waits(arrived, leave):
    """Be where a thread hangs."""
    arrived.set()
    leave.wait(GUARD)


@pytest.fixture
def hanging():
    """A thread that hangs until the test is over."""
    arrived, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=waits, args=(arrived, leave))
    thread.start()
    assert arrived.wait(GUARD)
    yield thread
    leave.set()
    thread.join(GUARD)


@pytest.fixture
def collector():
    """The garbage collector, put back as it was."""
    enabled, thresholds = gc.isenabled(), gc.get_threshold()
    yield gc
    gc.set_threshold(*thresholds)
    (gc.enable if enabled else gc.disable)()


def test_a_stack_is_shown_with_the_lines_of_the_code(hanging):
    """The outermost call first, as tracebacks are read."""
    stack = stack_of(hanging.ident)

    assert "leave.wait(GUARD)" in stack
    assert stack.index("in _bootstrap") < stack.index("in waits")
    assert stack.startswith('  File "')


def test_a_thread_that_has_ended_or_never_began_has_no_stack():
    """There is nothing to be told of it."""
    ended = threading.Thread(target=int)
    ended.start()
    ended.join(GUARD)

    assert ("", "") == (stack_of(ended.ident), stack_of(None))


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(hanging, collector, enabled):
    """Whichever of the two the program has chosen."""
    (collector.enable if enabled else collector.disable)()
    stack_of(hanging.ident)

    assert enabled == collector.isenabled()


def test_the_collector_goes_on_after_a_look_that_failed(collector, monkeypatch):
    """For want of memory, say."""

    def fails():
        raise MemoryError

    collector.enable()
    monkeypatch.setattr(sys, "_current_frames", fails)
    with pytest.raises(MemoryError):
        stack_of(threading.get_ident())

    assert collector.isenabled()


def test_a_look_keeps_nothing_alive(hanging, collector):
    """All frames include those of whoever looks, which would hold themselves."""

    class Kept:
        """Something in the frame that looks."""

    def look():
        kept = Kept()
        stack_of(hanging.ident)
        return weakref.ref(kept)

    collector.disable()

    assert look()() is None


# Both run a finalizer at the worst instant, if a collection can begin while somebody looks.
LOOKS = {
    "freeze": """
        # Asked from within itself, it waits for its own lock.
        class Litter:
            def __init__(self):
                self.itself = self

            def __del__(self):
                sys._current_frames()

        def waits():
            leave.wait()

        threads = [threading.Thread(target=waits) for _ in range(40)]
        for thread in threads:
            thread.start()
    """,
    "crash": """
        # The thread leaves its frames, and makes others in their place.
        class Litter:
            def __init__(self):
                self.itself = self

            def __del__(self):
                leave.set()
                left.wait()

        arrived, left, end = threading.Event(), threading.Event(), threading.Event()

        def waits(depth=60):
            return waits(depth - 1) if depth else (arrived.set(), leave.wait())

        def takes_their_place(depth=70, *more):
            return takes_their_place(depth - 1) if depth else (left.set(), end.wait())

        threads = [threading.Thread(target=lambda: (waits(), takes_their_place()))]
        threads[0].start()
        arrived.wait()
    """,
}

LOOK = """
import gc, sys, threading
from actorflow.executors.stacks import stack_of

leave = threading.Event()
{circumstances}
gc.collect()
gc.set_threshold(30)
Litter()
stack = stack_of(threads[0].ident)
gc.set_threshold(0)
leave.set()
if "end" in vars():
    left.wait()
    end.set()
for thread in threads:
    thread.join()
print("in waits" in stack)
"""


@pytest.mark.parametrize("danger", LOOKS)
def test_a_collection_never_begins_in_the_middle_of_a_look(danger):
    """Up to Python 3.11 that would end the process, one way or the other."""
    program = LOOK.format(circumstances=textwrap.dedent(LOOKS[danger]))
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=GUARD,
    )

    assert ("True\n", "", 0) == (ended.stdout, ended.stderr, ended.returncode)

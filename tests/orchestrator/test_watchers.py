"""The watchers of an orchestrator's runs: readers of events, observers and the log."""

from __future__ import annotations

import sys
import threading

from actorflow.observe import Feed
from actorflow.orchestrator.watchers import Audience
from tests.support.flows import GUARD


def test_a_reader_that_leaves_hides_nothing_from_one_that_stays():
    """A look without the lock finds the one that stays at every instant."""
    audience, over, heard = Audience(()), threading.Event(), []

    def come_and_go():
        while not over.is_set():
            audience.watch("run", come_and_go)
            audience.unwatch("run", come_and_go)

    def look():
        heard.append(True)

    audience.watch("run", look)
    other, interval = threading.Thread(target=come_and_go), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        other.start()
        seen = [look in audience._watchers.get("run", ()) for _ in range(20_000)]
    finally:
        sys.setswitchinterval(interval)
        over.set()
    other.join(GUARD)
    audience.notify("run")

    assert all(seen)
    assert [True] == heard


def test_a_reader_may_leave_while_the_log_begins(monkeypatch):
    """On the very thread that the log waits for, where the garbage collector finds him."""
    audience, left = Audience(()), threading.Event()
    look = left.set
    audience.watch("run", look)

    def start(feed, start=Feed.start):
        leaves = threading.Thread(target=lambda: (audience.unwatch("run", look), left.set()))
        leaves.start()
        leaves.join(GUARD / 6)
        start(feed)

    monkeypatch.setattr(Feed, "start", start)
    audience.hear_logging()
    audience.close()

    assert left.is_set()
    assert 1 == len(audience._feeds)


def test_a_reader_leaves_once():
    """His loop closes on one thread, and he goes by himself on another."""
    audience, looks = Audience(()), [lambda: None, lambda: None]
    for look in looks:
        audience.watch("run", look)

    for _ in range(2):
        audience.unwatch("run", looks[0])
    left = dict(audience._watchers)
    for _ in range(2):
        audience.unwatch("run", looks[1])

    assert ({"run": looks[1:]}, {}, False) == (left, audience._watchers, audience.present)

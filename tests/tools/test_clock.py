"""The machine's clock, asked by several threads at once."""

from __future__ import annotations

import threading
import time

from actorflow.support.clock import SystemClock


def test_wall_time_jumps_when_somebody_has_set_the_clock(monkeypatch):
    """It follows, but not every small correction."""
    clock, now, since = SystemClock(), time.monotonic(), time.time
    told = [clock.wall(now)]
    for seconds in (0.5, 7200):
        monkeypatch.setattr(time, "time", lambda ahead=seconds: since() + ahead)
        now += 2
        told.append(clock.wall(now) - 2)

    assert [0, 0, 2] == [round((each - told[0]) / 3600) for each in told]


def test_wall_time_is_right_while_another_thread_looks_at_the_clock(monkeypatch):
    """Also when it is the first one to do so."""
    told, true = [], time.time

    def looks():
        monkeypatch.setattr(time, "time", true)
        other = threading.Thread(target=lambda: told.append(clock.wall(time.monotonic())))
        other.start()
        other.join()
        return true()

    clock = SystemClock()
    monkeypatch.setattr(time, "time", looks)
    told.append(clock.wall(time.monotonic() + 2) - 2)

    assert [0, 0] == [round((each - true()) / 3600) for each in told]

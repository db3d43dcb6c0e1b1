"""The watcher's thread: it tells followers of their runs' changes, and an owner of requests.

There is one for each state manager. It begins when a run is first followed, or when an orchestrator
that listens for requests to cancel has had runs for a moment. It ends soon after neither is the
case, and when the manager is closed.

All followed runs are looked at together: one query for those that may have changed, and one now and
then for all of them, in case that an announcement was lost. A look that takes long is followed by a
pause as long, so that watching takes at most half of a processor.

After an error of the database, the watcher connects again at growing intervals, and looks at all
runs again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

from actorflow.state.sql.transactions import describe
from actorflow.state.sql.watching.bell import Bell
from actorflow.state.sql.watching.followers import Follower, Followers
from actorflow.state.sql.watching.signals import Signal
from actorflow.support.oneshot import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.lifecycle import RunStatus
    from actorflow.state.sql.leases import CancelRequests
    from actorflow.state.sql.watching.signals import Channel

__all__ = ["Watcher"]

_GAP: Final = 0.005
"""The shortest pause between two looks, so that very many changes are looked at together."""
_SELDOM: Final = 20.0
"""How many times as long as a look at all runs it is to the next one, at least."""
_AGAIN: Final = 0.05
"""Seconds between the first two looks: a commit under way at the first one is not announced."""
_PATIENCE: Final = 0.2
"""Seconds for which an owner must have had runs before requests are listened for."""
_LINGERS: Final = 1.0
"""Seconds for which it stays when no run is followed."""
_IDLE: Final = 5.0
"""Seconds after which an owner without runs is no longer listened for."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_CLOSING_TIMEOUT: Final = 5.0
_EVERYTHING: Final = Signal(runs=None, asked=True)


class Watcher:
    """Watches a database for one state manager; usable from any thread.

    Args:
        connect: Opens a connection that hears of changes.
        requests: The requests to cancel the manager's runs.
        now: Returns the monotonic time.
    """

    def __init__(
        self,
        connect: Callable[[], Channel],
        requests: CancelRequests,
        now: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._requests = requests
        self._now = now
        self._failures = 0
        self._error: str | None = None
        self._followers = Followers()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._channel: Channel | None = None
        self._closing = Alarm()
        self._owns = False
        self._owned_at = 0.0
        self._hears = False
        """Whether it is connected, and will hear of requests."""
        self._pid = os.getpid()
        self.looks: int = 0
        """How many queries it has made for followed runs."""

    def trouble(self) -> tuple[int, str] | None:
        """Return how often in a row it has failed, and the last error, if a caller waits for it."""
        error = self._error
        return None if error is None or not self._followers else (self._failures, error)

    def follow(
        self, run_id: str, changed: Callable[[RunStatus | None], None]
    ) -> Callable[[], None]:
        """Call `changed` when a run has changed; return what ends that."""
        follower = self._followers.add(run_id, changed)
        try:
            self._closing.silence()
            self._ensure()
        except BaseException:
            self._followers.remove(follower)
            raise
        return lambda: self._remove(follower)

    def _remove(self, follower: Follower) -> None:
        if os.getpid() == self._pid:  # a fork may have inherited a lock that is held for ever
            self._followers.remove(follower)

    def owns(self, owns: bool) -> None:  # noqa: FBT001 - a callback's
        """Take note of whether the owner has runs in progress."""
        news = owns is not self._owns
        if news:
            self._owns, self._owned_at = owns, self._now()
        if owns and (news or self._thread is None) and self._requests.has_listener:
            with contextlib.suppress(RuntimeError):  # no thread can be started: a net is left
                if not (self._hears or self._closing.rung):
                    self._ensure()

    def reopen(self) -> None:
        """Let it begin again after `close`."""
        if self._closing.rung:
            self._closing.silence()

    def _ensure(self) -> None:
        """Have a thread that looks soon."""
        with self._lock:
            bell, running = self._bell, self._thread is not None
        if running:
            if bell is not None:
                bell.ring()
        else:
            # Outside of the lock: until a new thread has started, the garbage collector may run in
            # it, and close a stream that takes the lock. Of two threads, one ends at once.
            threading.Thread(target=self._work, name="actorflow watcher", daemon=True).start()

    def close(self) -> None:
        """Forget all followers, and end the thread; following again starts it again."""
        self._closing.ring()
        self._followers.clear()
        with self._lock:
            thread, bell = self._thread, self._bell
        if bell is not None:
            bell.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSING_TIMEOUT)

    # ── On the watcher's thread ──────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while self._is_needed():  # perhaps again, by a caller that came while it was ending
            with self._lock:
                if self._thread is not None:
                    return
                self._thread = threading.current_thread()
            try:
                self._watch_with_a_bell()
            finally:
                with self._lock:
                    self._thread = self._bell = None

    def _watch_with_a_bell(self) -> None:
        try:
            bell = Bell()
        except OSError as error:  # the process has too many files open; its caller tries again
            self._failed(error)
            self._closing.wait(_LONGEST_PAUSE)
            return
        try:
            self._bell = bell
            self._watch_until_over(bell)
        finally:
            bell.close()

    def _failed(self, error: Exception) -> None:
        self._failures, self._error = self._failures + 1, describe(error)

    def _is_needed(self) -> bool:
        if self._closing.rung:
            return False
        return bool(self._followers) or (self._owns and self._requests.has_listener)

    def _watch_until_over(self, bell: Bell) -> None:
        if not self._followers:
            bell.wait(_PATIENCE)  # most runs end before anyone could ask
        pause = _FIRST_PAUSE
        while self._is_needed_soon(bell):
            try:
                with contextlib.closing(self._connect()) as channel:
                    self._channel, self._hears = channel, True
                    self._watch(channel, bell)
            except Exception as error:  # noqa: BLE001 - a defect must not leave followers waiting
                pause = min(2 * pause, _LONGEST_PAUSE) if self._error else _FIRST_PAUSE
                self._failed(error)
                self._closing.wait(pause)
            finally:
                self._channel, self._hears = None, False

    def _is_needed_soon(self, bell: Bell) -> bool:
        """Return whether there is anything to watch for, now or within a moment."""
        until = self._now() + _LINGERS
        while not (self._is_needed() or self._closing.rung):
            if (left := until - self._now()) <= 0:
                return False
            bell.wait(left)
        return not self._closing.rung

    def _watch(self, channel: Channel, bell: Bell) -> None:
        """Watch over one connection, until there is nothing to watch for."""
        followed, signal, look_again = False, _EVERYTHING, 0.0
        while not self._closing.rung and (self._followers or self._listens()):
            follows = bool(self._followers)
            channel.listen(follows=follows)
            if follows and not followed:
                look_again = self._now() + _AGAIN
            followed = follows
            took = self._look(channel, signal)
            if signal is _EVERYTHING:
                look_again = max(look_again, self._now() + took * _SELDOM)
            self._closing.wait(max(_GAP, took) if took else 0.0)
            self._failures, self._error = 0, None
            left = max(0.0, look_again - self._now()) if follows else _IDLE
            signal = channel.wait(bell, left)
            if follows and self._now() >= look_again:
                signal, look_again = _EVERYTHING, self._now() + channel.net

    def _listens(self) -> bool:
        """Return whether requests are listened for."""
        lately = self._owns or self._now() - self._owned_at < _IDLE
        return lately and self._requests.has_listener

    def _look(self, channel: Channel, signal: Signal) -> float:
        """Look at what may have changed; return for how long that took, or zero for nothing."""
        began = self._now()
        run_ids = self._followers.to_look_at(signal.runs)
        if run_ids:
            self.looks += 1
            self._followers.look(run_ids, channel.look(run_ids))
        if signal.asked and self._owns and self._requests.has_listener:
            self._requests.tell(channel.requests())
        elif not run_ids:
            return 0.0
        return self._now() - began

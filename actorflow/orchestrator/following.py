"""Following runs that are in progress elsewhere, for as long as one orchestrator is open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.storage import RunUnattended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.errors import ActorflowError
    from actorflow.model.events import Event
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.powers import FollowsRuns
    from actorflow.model.protocols import Clock
    from actorflow.orchestrator.powers import Powers

    _T = TypeVar("_T")

__all__ = ["FollowedSource", "Following", "FollowsRecords"]

_FOLLOW: Final = "wait for runs that other processes may run"
_NOT_HERE: Final = (
    "its record says {!r}, and this orchestrator does not run it. "
    "If no other orchestrator does, call orchestrator.resume(), or have one with recover=True "
    "take it over, where its workflow is registered"
)


class Following:
    """The runs that one orchestrator's callers follow.

    Args:
        powers: The state manager and its optional powers.
    """

    def __init__(self, powers: Powers) -> None:
        self._power = powers.follows
        self._closed = False
        self._ends: dict[object, tuple[Callable[[RunStatus | None], None], Callable[[], None]]] = {}

    @property
    def is_shared(self) -> bool:
        """Whether the record of a run says what other processes do, even after `close`."""
        return self._power is not None

    @property
    def is_open(self) -> bool:
        """Whether runs can be followed: its state manager can do that, and it is not closed."""
        return self._power is not None and not self._closed

    def refusal(self, run_id: str, status: RunStatus) -> ActorflowError:
        """Return the error for a run that has not ended and cannot be followed."""
        if self._power is not None:
            return _closed()
        return RunUnattended(run_id, _NOT_HERE.format(status.value))

    def follow(
        self, run_id: str, changed: Callable[[RunStatus | None], None]
    ) -> Callable[[], None]:
        """Call `changed` when the record of a run has changed, and once more when this is closed.

        Raises:
            OrchestratorClosed: When it is closed.
        """
        power = self._check_open()
        key, stop = object(), power.follow(run_id, changed)
        self._ends[key] = changed, stop

        def end() -> None:
            self._ends.pop(key, None)
            stop()

        try:
            self._check_open()  # it may have been closed in the meantime
        except OrchestratorClosed:
            end()
            raise
        return end

    def _check_open(self) -> FollowsRuns:
        if self._power is None or self._closed:
            raise _closed()
        return self._power

    def close(self) -> None:
        """Stop following, and tell all callers; a second call does nothing."""
        self._closed = True
        for key, (changed, stop) in list(self._ends.items()):
            self._ends.pop(key, None)
            stop()
            changed(None)


def _closed() -> OrchestratorClosed:
    return OrchestratorClosed(_FOLLOW, cure="Make a new one, and get() the run from it")


class FollowsRecords:
    """What a runtime offers to the handles of runs that may be in progress elsewhere."""

    following: Following
    slow_to_read: bool

    @property
    def can_follow(self) -> bool:
        """Whether it hears of changes of a record."""
        return self.following.is_open

    @property
    def is_shared(self) -> bool:
        """Whether other orchestrators may go on with its runs."""
        return self.following.is_shared

    def not_followed(self, run_id: str, status: RunStatus) -> ActorflowError:
        """Return the error for a run that has not ended and cannot be followed."""
        return self.following.refusal(run_id, status)

    def follow(
        self, run_id: str, changed: Callable[[RunStatus | None], None]
    ) -> Callable[[], None]:
        """Call `changed` when the record of a run has changed; return what ends that."""
        return self.following.follow(run_id, changed)

    async def read_async(self, read: Callable[[], _T]) -> _T:
        """Return what a function returns that may wait for the state manager."""
        return await asyncio.to_thread(read) if self.slow_to_read else read()


class Reading(Protocol):
    """What a stream of a followed run needs from its orchestrator."""

    @property
    def slow_to_read(self) -> bool:
        """Whether reading may block."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def following(self) -> Following:
        """The followed runs."""

    def read(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """Return recorded events."""

    def check_process(self) -> None:
        """Refuse to wait in a fork of the run's process."""

    def check_may_block(self, what: str) -> None:
        """Refuse to block the loop's own thread."""


class FollowedSource:
    """Where a stream reads the events of a run that may be in progress elsewhere.

    Args:
        reading: Its orchestrator.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._stops: dict[Callable[[], None], Callable[[], None]] = {}
        self.slow_to_read: bool = reading.slow_to_read
        self.clock: Clock = reading.clock
        self.read: Callable[[str, int, int], Sequence[Event]] = reading.read

    def live(self, _run_id: str) -> bool:
        """Return True: the record says when the run has ended."""
        return True

    def watch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Call `notify` when the record has changed."""
        self._reading.check_process()
        self._stops[notify] = self._reading.following.follow(run_id, lambda _status: notify())

    def unwatch(self, _run_id: str, notify: Callable[[], None]) -> None:
        """Stop calling it."""
        stop = self._stops.pop(notify, None)
        if stop is not None:
            stop()

    def check_process(self) -> None:
        """Refuse to wait in a fork, and after the orchestrator's end."""
        self._reading.check_process()
        if not self._reading.following.is_open:
            raise _closed()

    def check_may_block(self, what: str) -> None:
        """Refuse to block the orchestrator's event loop, and to wait after its end."""
        self._reading.check_may_block(what)
        self.check_process()

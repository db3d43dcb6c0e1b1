"""The end of a run that was not in progress here when its handle was made."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from actorflow.errors.storage import LeaseLost, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.model.results import RunResult
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.errors import ActorflowError
    from actorflow.model.protocols import Clock
    from actorflow.model.records import RunSnapshot

    _T = TypeVar("_T")

__all__ = ["FollowedEnd", "Record", "Watch"]


class Record(Protocol):
    """Where the record of a run is read and followed."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def can_follow(self) -> bool:
        """Whether it hears of changes of a record."""

    def not_followed(self, run_id: str, status: RunStatus) -> ActorflowError:
        """Return the error for a run that has not ended and cannot be followed."""

    def end_here(self, run_id: str) -> Once[RunResult] | None:
        """Return the end of a run that is in progress in this orchestrator."""

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run as it stands."""

    def wait(self, run_id: str, end: Once[_T]) -> _T:
        """Block until something is set that tells of a run; a step that waits holds nothing."""

    async def wait_async(self, run_id: str, end: Once[_T]) -> _T:
        """Do what `wait` does without blocking the event loop."""

    async def read_async(self, read: Callable[[], _T]) -> _T:
        """Return what a function returns that may wait for the state manager."""

    def staying(self) -> contextlib.AbstractContextManager[None]:
        """Keep the run of the step that calls in memory within the block, because it waits."""

    def follow(
        self, run_id: str, changed: Callable[[RunStatus | None], None]
    ) -> Callable[[], None]:
        """Call `changed` as `FollowsRuns.follow` does; return what ends that."""


class FollowedEnd:
    """The end of a run, wherever it runs: in this orchestrator by now, or as its record says.

    Args:
        record: Where the run is recorded.
        run_id: The run.
    """

    def __init__(self, record: Record, run_id: str) -> None:
        self._record = record
        self._run_id = run_id
        self.known: RunResult | None = None
        """The result, once it is known here."""
        self.status: RunStatus | None = None
        """The status that its record had when it was last looked at."""

    def look(self) -> RunResult | None:
        """Return the result if the run has ended, as its record says now."""
        if self.known is None and self._record.end_here(self._run_id) is None:
            snapshot = self._record.snapshot(self._run_id)
            self.status = snapshot.status
            if snapshot.status.terminal:
                self.known = RunResult.of(snapshot)
        return self.known

    def look_again(self) -> RunResult | None:
        """Do what `look` does; return None as well when the record cannot be read at this moment.

        The next ear then hears of the end as soon as it can be.
        """
        try:
            return self.look()
        except StoreUnavailable:
            return None

    def wait(self) -> RunResult:
        """Wait for the end, for as long as it takes, and over failures of the database.

        Raises:
            RunUnattended: When it is not in progress here, and cannot be followed.
            RunNotFound: When its record is not there, or no longer.
            OrchestratorClosed: When this orchestrator has been closed, and no longer follows it.
        """
        with self._record.staying():
            while self.known is None:
                here = self._record.end_here(self._run_id)
                if here is not None:
                    with contextlib.suppress(LeaseLost):  # it goes on elsewhere
                        self.known = self._record.wait(self._run_id, here)
                elif (ear := self._listen()) is not None:
                    with ear:
                        self._record.wait(self._run_id, ear.news)
                    self._check_open()
                    self.look_again()
        return self.known

    def wait_within(self, seconds: float) -> RunResult | None:
        """Wait for the end; return None when it has not come in that many seconds.

        The errors are those of `wait`.
        """
        clock = self._record.clock
        until = clock.now() + seconds
        while self.known is None:
            left = max(0.0, until - clock.now())
            here = self._record.end_here(self._run_id)
            if here is not None:
                if not here.wait(left):
                    return None
                with contextlib.suppress(LeaseLost):
                    self.known = here.result()
            elif (ear := self._listen()) is not None:
                with ear:
                    in_time = ear.news.wait(left)
                self._check_open()
                self.status = ear.status
                look = self.look_again if in_time else self.look
                if (in_time or not ear.has_heard) and look() is not None:
                    break
                if not in_time:
                    return None
        return self.known

    async def wait_async(self) -> RunResult:
        """Do what `wait` does without blocking the event loop, for as long as it takes."""
        with self._record.staying():
            while self.known is None:
                here = self._record.end_here(self._run_id)
                if here is not None:
                    with contextlib.suppress(LeaseLost):
                        self.known = await self._record.wait_async(self._run_id, here)
                elif (ear := await self._record.read_async(self._listen)) is not None:
                    with ear:
                        await self._record.wait_async(self._run_id, ear.news)
                    self._check_open()
                    await self._record.read_async(self.look_again)
        return self.known

    def _check_open(self) -> None:
        """Refuse to read a state manager that is being closed at this moment."""
        if not self._record.can_follow:
            raise self._record.not_followed(self._run_id, RunStatus.PENDING)

    def when_over(self, call: Callable[[], None]) -> Watch:
        """Call a function, on any thread, when the run may have ended.

        Raises:
            RunUnattended: When it cannot be followed.
            OrchestratorClosed: When this orchestrator has been closed, and the run has not ended.
        """
        here = self._record.end_here(self._run_id)
        if here is not None:
            return Watch.of(here, call)
        if self.known is None and (ear := self._listen()) is not None:
            ear.news.when_done(call)
            ear.__enter__()
            return Watch(ear.__exit__, lambda: ear.has_heard)
        call()
        return Watch()

    def _listen(self) -> _Ear | None:
        """Return an ear for the run's end; None if it has ended, or is in progress here now.

        Raises:
            RunUnattended: When it cannot be followed.
            OrchestratorClosed: When this orchestrator has been closed, and the run has not ended.
        """
        if self._record.can_follow:
            return _Ear(self._record, self._run_id)
        if self.look() is not None or self._record.end_here(self._run_id) is not None:
            return None
        status = self._record.snapshot(self._run_id).status
        raise self._record.not_followed(self._run_id, status)


@attrs.frozen
class Watch:
    """What waits for one of several runs."""

    stop: Callable[[], object] = attrs.field(default=lambda: None)
    """Ends the wait; a second call does nothing."""
    has_heard: Callable[[], bool] = attrs.field(default=lambda: True)
    """Whether it knows if the run had ended when the wait began."""

    @classmethod
    def of(cls, end: Once[RunResult], call: Callable[[], None]) -> Watch:
        """Call a function when an end is set."""
        end.when_done(call)
        return cls(functools.partial(end.forget, call))


class _Ear:
    """Hears when a run may have ended, within its block."""

    def __init__(self, record: Record, run_id: str) -> None:
        self._record = record
        self._run_id = run_id
        self.has_heard = False
        """Whether anything was heard of the run, such as that it has not ended."""
        self.status: RunStatus | None = None
        """What was last heard of it."""
        self.news: Once[None] = Once()
        """Set when the run has ended, or is gone, or is no longer followed."""

    def __enter__(self) -> None:
        self._stop = self._record.follow(self._run_id, self._changed)

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def _changed(self, status: RunStatus | None) -> None:
        self.has_heard = True
        self.status = status
        if status is None or status.terminal:
            self.news.set(None)

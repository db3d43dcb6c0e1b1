"""Contract tests of an optional power: followed runs."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, cast

from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    Patient,
    accept,
    accepted,
    happened,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.powers import FollowsRuns
    from actorflow.model.protocols import StateManager

__all__ = ["FollowsRunsContract"]


class FollowsRunsContract(Patient):
    """The promises of `FollowsRuns`, as tests; for a class that derives from another contract.

    For example `class TestMyState(FollowsRunsContract, SharedStateManagerContract)`.
    """

    other: StateManager

    def test_a_follower_is_told_soon_how_the_run_stands(self) -> None:
        """Nothing needs to happen in it, and it may have ended."""
        self._accept(accepted("pending"))
        self._accept(accepted("failed"))
        self._write(happened(*FAILED, run_id="failed"))

        assert "pending" == self._follow("pending").until("pending")
        assert "failed" == self._follow("failed").until("failed")

    def test_a_follower_is_told_what_others_record(self) -> None:
        """Each state of the run sooner or later, and the last one for certain."""
        self._accept(accepted())
        news = self._follow("run")
        news.until("pending")

        write(self.state, happened(*STARTED), self.patience)
        assert "running" == news.until("running")
        write(self.state, happened(*COMPLETED[3:], after=3), self.patience)
        assert "completed" == news.until("completed")

    def test_a_run_that_is_not_there_may_be_followed(self) -> None:
        """The follower is told that there is none, and of the run when it is accepted."""
        _ = self.state
        news = self._follow("run")

        assert None is news.until(None)
        accept(self.state, accepted(), self.patience)
        assert "pending" == news.until("pending")

    def test_every_follower_is_told(self) -> None:
        """Several of one run, and one of each run."""
        for name in ("one", "two"):
            self._accept(accepted(name))
        several = [self._follow(name) for name in ("one", "one", "two")]
        for news in several:
            news.until("pending")
        self._write([it for name in ("one", "two") for it in happened(*COMPLETED, run_id=name)])

        assert ["completed"] * 3 == [news.until("completed") for news in several]

    def test_a_follower_that_raises_keeps_no_other_from_being_told(self) -> None:
        """Nor itself from being told again."""
        self._accept(accepted())
        faulty, news = self._follow("run", raises=True), self._follow("run")
        self._write(happened(*COMPLETED))

        assert "completed" == faulty.until("completed") == news.until("completed")

    def test_a_follower_that_has_stopped_is_not_told(self) -> None:
        """Others go on, and to stop twice is to stop once."""
        self._accept(accepted())
        stopped, news = self._follow("run"), self._follow("run")
        stopped.until("pending")
        news.until("pending")
        stopped.stop()
        stopped.stop()
        self._write(happened(*COMPLETED))
        news.until("completed")

        assert stopped.is_empty

    def test_followers_are_told_nothing_after_the_end(self) -> None:
        """Closing a state manager ends all following, and does not wait for followers."""
        self._accept(accepted())
        news = self._follow("run")
        news.until("pending")
        self.other.close()
        self._write(happened(*COMPLETED))

        assert news.is_empty

    def _follow(self, run_id: str, *, raises: bool = False) -> _News:
        follow = cast("FollowsRuns", self.other).follow
        return _News(follow, run_id, self.patience, raises=raises)


class _News:
    """What one follower is told."""

    def __init__(
        self, follow: Callable[..., Any], run_id: str, patience: float, *, raises: bool
    ) -> None:
        self._patience = patience
        self._raises = raises
        self._told: queue.SimpleQueue[RunStatus | None] = queue.SimpleQueue()
        self.stop: Callable[[], None] = follow(run_id, self._changed)

    def _changed(self, status: RunStatus | None) -> None:
        self._told.put(status)
        if self._raises:
            raise SystemError

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that was not read."""
        return self._told.empty()

    def until(self, status: str | None) -> str | None:
        """Return a status once it is told."""
        while True:
            try:
                told = self._told.get(timeout=self._patience)
            except queue.Empty:
                problem = f"no follower was told of {status!r} within {self._patience:g} s"
                raise AssertionError(problem) from None
            if told == status:
                return status

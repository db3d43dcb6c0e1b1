"""Contract tests of an optional power: runs that wait for messages without an orchestrator."""

from __future__ import annotations

from typing import Any

from actorflow.model.mail import Eviction
from actorflow.model.pausing import Pause
from actorflow.testing.contracts.accounts import (
    EPOCH,
    STARTED,
    Patient,
    accepted,
    happened,
)

__all__ = ["EvictsRunsContract"]

_FAR = EPOCH + 1e9
"""When the time of no run is up yet."""


class EvictsRunsContract(Patient):
    """The promises of `EvictsRuns`, as tests.

    For a class that derives from `SharedStateManagerContract`, whose state manager evicts runs.
    For example `class TestMyState(EvictsRunsContract, SharedStateManagerContract)`.
    """

    state: Any
    other: Any

    def _evict(
        self, *, seen: int = 0, wake_at: float | None = None, deadline_at: float | None = None
    ) -> None:
        """Have the run evicted that was started; returns when that is recorded."""
        self.state.evict("run", Eviction("message 'go'", seen, wake_at, deadline_at))
        self._take(self.state)  # which comes after it

    def _start(self) -> None:
        self._accept(accepted("run"))
        self._write(happened(*STARTED))

    def _take(self, state: Any) -> list[str]:
        workflow = accepted("run").workflow_id, accepted("run").workflow_version
        return list(state.take({workflow}, ("none",), 5).taken)

    def test_an_evicted_run_is_left_alone(self) -> None:
        """It has no owner, and its snapshot says what it waits for."""
        self._start()
        self._evict(wake_at=_FAR, deadline_at=_FAR)
        found = self.state.snapshot("run")

        assert [] == self._take(self.other) == self._take(self.state)
        assert ("message 'go'", _FAR) == (found.waiting, found.deadline_at)
        assert found.waiting_since is not None
        assert found.owner is None
        assert ["run"] == [it.run_id for it in self.other.list(waiting=True).runs]

    def test_a_message_wakes_an_evicted_run(self) -> None:
        """Whoever sends it; one owner gets the run, which waits no longer."""
        self._start()
        self._evict()
        self.other.send_message("run", "go", None, None, EPOCH)

        assert ["run"] == self._take(self.other)
        assert None is self.state.snapshot("run").waiting

    def test_a_message_that_was_sent_before_does_not(self) -> None:
        """The same id again is no news."""
        self._start()
        self.state.send_message("run", "go", None, "a", EPOCH)
        self._evict(seen=1)
        self.other.send_message("run", "go", None, "a", EPOCH)

        assert [] == self._take(self.other)

    def test_a_message_that_came_before_the_eviction_is_news(self) -> None:
        """If the orchestrator had not heard of it."""
        self._start()
        self.other.send_message("run", "go", None, None, EPOCH)
        self.state.evict("run", Eviction("message 'go'", 0, None, _FAR))

        assert ["run"] == self._take(self.state) or ["run"] == self._take(self.other)
        found = self.state.snapshot("run")
        assert (None, _FAR) == (found.waiting, found.deadline_at)

    def test_a_cancellation_that_came_before_the_eviction_is_news(self) -> None:
        """If the state manager takes any."""
        self._start()
        if not hasattr(self.other, "ask_to_cancel"):
            return
        self.other.ask_to_cancel("run", "enough", compensate=False)
        self.state.evict("run", Eviction("message 'go'", 0, None, None))

        assert ["run"] == self._take(self.state) or ["run"] == self._take(self.other)

    def test_a_cancellation_wakes_an_evicted_run(self) -> None:
        """If the state manager takes any."""
        self._start()
        self._evict()
        if not hasattr(self.other, "ask_to_cancel"):
            return
        self.other.ask_to_cancel("run", "enough", compensate=False)

        assert ["run"] == self._take(self.other)

    def test_the_time_wakes_an_evicted_run(self) -> None:
        """By the clock of the storage."""
        self._start()
        self.state.evict("run", Eviction("message 'go'", 0, EPOCH, None))

        assert ["run"] == self._take(self.state)

    def test_a_claim_gets_an_evicted_run(self) -> None:
        """It is as any other run then."""
        self._start()
        self._evict(deadline_at=_FAR)
        self.other.claim("run")
        found = self.state.snapshot("run")

        assert (None, _FAR) == (found.waiting, found.deadline_at)

    def test_a_pause_moves_the_deadline_if_it_freezes(self) -> None:
        """By its length. The run is taken neither within the pause nor after it."""
        self._start()
        self._evict(deadline_at=_FAR)
        if not hasattr(self.other, "pause_run"):
            return
        self._pause_for_a_moment(freeze=False)
        assert _FAR == self.state.snapshot("run").deadline_at
        for _ in range(1000):  # its clock may be a coarse one
            self._pause_for_a_moment(freeze=True)
            if self.state.snapshot("run").deadline_at > _FAR:
                break
        assert self.state.snapshot("run").deadline_at > _FAR
        assert [] == self._take(self.other)

    def _pause_for_a_moment(self, *, freeze: bool) -> None:
        self.other.pause_run("run", Pause(reason="no paper", freeze=freeze), EPOCH)
        assert [] == self._take(self.state)
        self.other.unpause_run("run")

    def test_a_paused_run_goes_on_when_its_timeout_passes(self) -> None:
        """For which it must be taken, unless its clocks stand still."""
        self._start()
        self._evict(deadline_at=_FAR)
        if not hasattr(self.other, "pause_run"):
            return
        for freeze in (True, False):
            self.other.pause_run("run", Pause(reason="no paper", freeze=freeze), EPOCH)
            self.state.claim("run")
            self.state.evict("run", Eviction("message 'go'", 0, EPOCH, EPOCH))
            assert (["run"], [])[freeze] == self._take(self.state)
            self.other.unpause_run("run")

    def test_only_its_owner_evicts_a_run(self) -> None:
        """What another one says is ignored."""
        self._start()
        self.other.evict("run", Eviction("message 'go'", 0, None, None))
        self._take(self.other)

        assert None is self.state.snapshot("run").waiting

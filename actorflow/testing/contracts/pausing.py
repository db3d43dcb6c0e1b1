"""Contract tests of an optional power: pauses of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actorflow.errors import ActorflowError
from actorflow.errors.running import RunEnded
from actorflow.errors.storage import RunNotFound
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.model.pausing import Pause
from actorflow.testing.contracts.accounts import EPOCH, FAILED, STARTED, Patient, accepted, happened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from actorflow.model.powers import PausesRuns

__all__ = ["PausesRunsContract"]

_PAUSE = Pause(reason="no paper", freeze=True)
_NONE = (None, False)
"""What a run says that is not paused."""


class PausesRunsContract(Patient):
    """The promises of `PausesRuns`, as tests; for a class that derives from another contract.

    For example `class TestMyState(PausesRunsContract, StateManagerContract)`.
    """

    def test_a_pause_is_shown_until_it_is_ended(self) -> None:
        """By the run itself and in lists."""
        self._accept(accepted("run"))
        self._accept(accepted("other"))
        self._pause()
        known = self.state.snapshot("run")
        assert ("no paper", True) == (known.paused, known.frozen)
        assert known.paused_since is not None
        assert ["run"] == self._paused_runs()

        self._power.unpause_run("run")
        assert (*_NONE, None) == (*self._said(), self.state.snapshot("run").paused_since)
        assert [] == self._paused_runs()

    def test_the_first_pause_counts(self) -> None:
        """And ending none changes nothing."""
        self._accept(accepted("run"))
        self._power.unpause_run("run")
        self._pause()
        since = self.state.snapshot("run").paused_since
        self._power.pause_run("run", Pause(reason="another"), EPOCH + 9)

        assert ("no paper", True) == self._said()
        assert since == self.state.snapshot("run").paused_since
        self._power.unpause_run("run")
        self._power.pause_run("run", Pause(reason="another"), EPOCH + 9)
        assert ("another", False) == self._said()

    def test_a_run_that_has_ended_cannot_be_paused(self) -> None:
        """Nor can one that does not exist."""
        self._accept(accepted("run"))
        self._write(happened(*FAILED))

        for run_id, kind in (("run", RunEnded), ("unknown", RunNotFound)):
            assert isinstance(self._refused(run_id, _PAUSE), kind)
            assert isinstance(self._refused(run_id, None), kind)

    def test_the_end_of_a_run_ends_its_pause(self) -> None:
        """It is not paused when a person resumes it."""
        self._accept(accepted("run"))
        self._write(happened(*STARTED))
        self._pause()
        self._record(EventKind.RUN_PAUSED, {"reason": "no paper", "freeze": True})
        known = len(self.state.events("run"))
        self._write(happened(*FAILED[len(STARTED) :], after=known))

        assert _NONE == self._said()
        assert [] == self._paused_runs()
        assert None is self.state.claim("run").paused

    def test_a_cancellation_ends_a_pause(self) -> None:
        """Its event says so. While the run is undone it can be paused again."""
        self._accept(accepted("run"))
        self._write(happened(*STARTED))
        for _ in range(2):
            self._pause()
            self._record(EventKind.RUN_PAUSED, {"reason": "no paper", "freeze": True})
            assert ("no paper", True) == self._said()
            self._record(EventKind.RUN_UNPAUSED, {"reason": "enough", "cancelled": True})
            assert _NONE == self._said()

    def test_another_owner_finds_a_run_paused(self) -> None:
        """Until its pause is ended."""
        self._accept(accepted("run"))
        self._write(happened(*STARTED))
        self._pause()

        assert "no paper" == self.state.claim("run").paused
        self._power.unpause_run("run")
        assert None is self.state.claim("run").paused

    def test_pauses_can_be_listened_for(self) -> None:
        """And no longer be listened for."""
        self._power.listen_for_pauses(lambda _run_id, _pause: None)()

    @property
    def _power(self) -> PausesRuns:
        return cast("PausesRuns", self.state)

    def _pause(self) -> None:
        self._power.pause_run("run", _PAUSE, EPOCH)

    def _refused(self, run_id: str, pause: Pause | None) -> ActorflowError | None:
        """Return why a run is not paused, or not unpaused."""
        try:
            if pause is None:
                self._power.unpause_run(run_id)
            else:
                self._power.pause_run(run_id, pause, EPOCH)
        except ActorflowError as error:
            return error
        return None

    def _said(self) -> tuple[str | None, bool]:
        known = self.state.snapshot("run")
        return known.paused, known.frozen

    def _paused_runs(self) -> list[str]:
        listed = cast("Any", self.state).list(paused=True)
        return [run.run_id for run in listed.runs]

    def _record(self, kind: EventKind, data: Mapping[str, Any]) -> None:
        number = len(self.state.events("run")) + 1
        self._write([Event(number, kind, "run", None, None, EPOCH, data)])

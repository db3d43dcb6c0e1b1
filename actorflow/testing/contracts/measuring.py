"""Contract tests of an optional power: the usual durations of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from actorflow.model.lifecycle import EventKind
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    Patient,
    accepted,
    happened,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.model.powers import MeasuresSteps

__all__ = ["MeasuresStepsContract"]

_RECENT: Final = 20
"""The number of completed runs from which usual durations must be taken, at most."""
_ENDS: Final = {
    EventKind.STEP_COMPLETED,
    EventKind.STEP_FAILED,
    EventKind.STEP_SKIPPED,
    EventKind.RUN_COMPLETED,
    EventKind.RUN_FAILED,
    EventKind.RUN_CANCELLED,
}


class MeasuresStepsContract(Patient):
    """The promises of `MeasuresSteps`, as tests; for a class that derives from another contract.

    For example `class TestMyState(MeasuresStepsContract, StateManagerContract)`.
    """

    def test_a_duration_is_the_median_over_the_completed_runs(self) -> None:
        """From the start of a step to its end; of two in the middle, their mean."""
        for number, seconds in enumerate((9.0, 1.0, 2.0)):
            self._ran(f"r{number}", seconds)
        assert {"a": 2.0} == self._durations()

        self._ran("r3", 3.0)
        assert {"a": 2.5} == self._durations()

    def test_a_workflow_without_completed_runs_has_no_durations(self) -> None:
        """Nor has one that is unknown; both are no error."""
        self._accept(accepted("pending"))
        self._accept(accepted("running"))
        self._write(happened(*STARTED, EventKind.STEP_COMPLETED, run_id="running"))

        assert ({}, {}) == (self._durations(), self._durations("unknown"))

    def test_durations_are_of_one_workflow(self) -> None:
        """Steps of others may have the same ids."""
        self._ran("ours", 1.0)
        self._ran("theirs", 5.0, workflow_id="other")

        assert ({"a": 1.0}, {"a": 5.0}) == (self._durations(), self._durations("other"))

    def test_runs_that_did_not_complete_do_not_count(self) -> None:
        """Not even with the steps that completed in them."""
        cut = (*STARTED, EventKind.STEP_COMPLETED, EventKind.RUN_CANCELLED)
        for number, kinds in enumerate((FAILED, cut, cut)):
            self._ran(f"bad{number}", 50.0, kinds)
        assert {} == self._durations()

        self._ran("good", 2.0)
        assert {"a": 2.0} == self._durations()

    def test_steps_that_did_not_complete_do_not_count(self) -> None:
        """A run may complete without its optional steps."""
        self._ran("skipped", 5.0, (*STARTED, EventKind.STEP_SKIPPED, EventKind.RUN_COMPLETED))
        assert {} == self._durations()

        self._ran("completed", 2.0)
        assert {"a": 2.0} == self._durations()

    def test_the_newest_runs_count(self) -> None:
        """As many as 20, so that a step which has become slower is soon known to be slow."""
        for number in range(_RECENT):
            self._ran(f"old{number}", 1.0, at=EPOCH + number)
        for number in range(_RECENT):
            self._ran(f"new{number}", 7.0, at=EPOCH + 1000 + number)

        assert {"a": 7.0} == self._durations()

    def _durations(self, workflow_id: str = "flow") -> Mapping[str, float]:
        known = cast("MeasuresSteps", self.state).durations(workflow_id)
        # Databases keep times to the microsecond.
        return {step_id: round(seconds, 5) for step_id, seconds in known.items()}

    def _ran(
        self,
        run_id: str,
        seconds: float,
        kinds: tuple[EventKind, ...] = COMPLETED,
        *,
        at: float = EPOCH,
        **fields: Any,
    ) -> None:
        """Let a run happen whose step takes so many seconds."""
        self._accept(accepted(run_id, created_at=at, **fields))
        events = happened(*kinds, run_id=run_id, time=at)
        started = next(event.time for event in events if event.kind is EventKind.STEP_STARTED)
        self._write(
            [
                event._replace(time=started + seconds) if event.kind in _ENDS else event
                for event in events
            ]
        )

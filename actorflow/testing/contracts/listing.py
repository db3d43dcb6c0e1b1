"""Contract tests: lists are stable, complete, and match the filters exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.model.lifecycle import RunStatus
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    accept,
    accepted,
    happened,
    told,
    write,
)

if TYPE_CHECKING:
    from actorflow.model.protocols import StateManager

__all__ = ["Listing"]

_IDS: Final = ("workflow_id", "trace_id", "correlation_id", "business_id")
_HOSTILE: Final = ("' OR 1=1 --", "%", "_", "x' UNION SELECT 1", 'a"b', "a\\b", "ä€😀")


class Listing:
    """Many runs."""

    state: StateManager

    def _listed(self, **filters: Any) -> list[str]:
        return [run.run_id for run in self.state.list(**filters).runs]

    def test_runs_are_listed_the_newest_first(self) -> None:
        """By the time of acceptance."""
        for number in range(3):
            accept(self.state, accepted(f"r{number}", created_at=EPOCH + number))

        assert ["r2", "r1", "r0"] == self._listed()

    def test_runs_accepted_in_the_same_instant_are_listed_by_id(self) -> None:
        """Pages are stable regardless of the order of writing; ids compare by code point."""
        for run_id in ("b", "a", "B", "_", "c"):
            accept(self.state, accepted(run_id))

        assert ["B", "_", "a", "b", "c"] == self._listed()

    def test_the_order_of_a_list_is_that_of_acceptance_and_not_of_writing(self) -> None:
        """Two threads that start runs may overtake each other."""
        accept(self.state, accepted("later", created_at=EPOCH + 0.000002))
        accept(self.state, accepted("earlier", created_at=EPOCH))

        assert ["later", "earlier"] == self._listed()

    def test_pages_do_not_overlap_and_leave_nothing_out(self) -> None:
        """Each page has the total number of runs."""
        ids = [f"r{number:02}" for number in range(7)]
        for number, run_id in enumerate(ids):
            accept(self.state, accepted(run_id, created_at=EPOCH + number))

        pages = [self.state.list(limit=3, offset=offset) for offset in (0, 3, 6, 9)]

        assert ids[::-1] == [run.run_id for page in pages for run in page.runs]
        assert [7, 7, 7, 7] == [page.total for page in pages]
        assert [3, 3, 1, 0] == [len(page.runs) for page in pages]

    def test_a_page_of_nothing_still_counts(self) -> None:
        """A limit of 0 asks for the total only."""
        accept(self.state, accepted())

        assert ([], 1) == (list(self.state.list(limit=0).runs), self.state.list(limit=0).total)

    def test_a_list_holds_summaries(self) -> None:
        """Everything about a run except its steps."""
        accept(self.state, accepted(trace_id="t"))
        write(self.state, happened(*FAILED))

        (summary,) = self.state.list().runs
        whole = self.state.snapshot("run")
        assert {} == dict(summary.steps)
        assert told(attrs.evolve(whole, steps=summary.steps)) == told(summary)

    def test_runs_are_found_by_their_ids(self) -> None:
        """By one id, exactly."""
        for name in _IDS:
            accept(self.state, accepted(f"mine by {name}", **{name: "x"}))
            accept(self.state, accepted(f"other by {name}", **{name: "xy"}))

        for name in _IDS:
            asked: dict[str, Any] = {name: "x"}
            assert [f"mine by {name}"] == self._listed(**asked)
            assert 1 == self.state.list(**asked).total

    def test_runs_are_found_by_status(self) -> None:
        """By their current status."""
        for run_id in ("pending", "running", "completed", "failed"):
            accept(self.state, accepted(run_id))
        write(self.state, happened(*STARTED, run_id="running"))
        write(self.state, happened(*COMPLETED, run_id="completed"))
        write(self.state, happened(*FAILED, run_id="failed"))

        for status in ("pending", "running", "completed", "failed"):
            assert [status] == self._listed(status=RunStatus(status))
        assert [] == self._listed(status=RunStatus.CANCELLED)

    def test_filters_hold_together(self) -> None:
        """A run must match all of them."""
        accept(self.state, accepted("a", workflow_id="w", trace_id="t"))
        accept(self.state, accepted("b", workflow_id="w"))
        accept(self.state, accepted("c", trace_id="t"))

        found = self._listed(workflow_id="w", trace_id="t", status=RunStatus.PENDING)
        assert ["a"] == found

    def test_a_filter_is_a_value_and_nothing_else(self) -> None:
        """No part of it is a pattern or a piece of a query."""
        for number, hostile in enumerate(_HOSTILE):
            accept(self.state, accepted(f"r{number}", business_id=hostile))
        accept(self.state, accepted("other", business_id="x"))

        for number, hostile in enumerate(_HOSTILE):
            assert [f"r{number}"] == self._listed(business_id=hostile)

"""Contract tests of optional powers: attributes of runs, all filters, cursors and counts."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import RunStatus
from actorflow.model.records import Parent
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    Patient,
    accepted,
    happened,
)

__all__ = ["FindsRunsContract"]

if TYPE_CHECKING:
    from actorflow.model.records import RunPage

_HOSTILE: Final = ("' OR 1=1 --", "%", "_", 'a"b', "a\\b", "ä€😀", "true", "1", "")
_NUMBERS: Final = (0, 1, -1, 2**63 - 1, -(2**63), 0.5, 1e300, -2.5e-7)


class FindsRunsContract(Patient):
    """The promises of `KeepsAttributes`, `CountsRuns` and `RunListing`, as tests.

    For a class that derives from another contract, whose state manager has both powers and whose
    `list` takes every argument. For example
    `class TestMyState(FindsRunsContract, StateManagerContract)`.
    """

    state: Any

    def _found(self, **filters: Any) -> list[str]:
        return sorted(run.run_id for run in self.state.list(**filters).runs)

    # ── Attributes ───────────────────────────────────────────────────────────────────────────

    def test_a_run_is_found_by_what_it_was_started_with(self) -> None:
        """By one attribute and by several, each exactly."""
        self._accept(accepted("a", attributes={"tenant": "acme", "tier": 1}))
        self._accept(accepted("b", attributes={"tenant": "acme", "tier": 2}))
        self._accept(accepted("c", attributes={"tenant": "globex", "tier": 1}))
        self._accept(accepted("d"))

        assert ["a", "b"] == self._found(attributes={"tenant": "acme"})
        assert ["a"] == self._found(attributes={"tenant": "acme", "tier": 1})
        assert ["a", "b", "c"] == self._found(attributes={"tenant": ["acme", "globex"]})
        assert [] == self._found(attributes={"tenant": "acm"})
        assert [] == self._found(attributes={"other": "acme"})
        assert ["a", "b", "c", "d"] == self._found(attributes={})
        assert 2 == self.state.list(attributes={"tenant": "acme"}, limit=1).total

    def test_a_filter_may_give_many_values_and_name_several_attributes(self) -> None:
        """Values of several types among them."""
        several = {f"a{number}": number for number in range(16)}
        self._accept(accepted("a", attributes=several))
        self._accept(accepted("b", attributes={**several, "a15": "15"}))

        numbers = list(range(998))
        assert ["a"] == self._found(attributes=several)
        assert ["a"] == self._found(attributes={**several, "a15": numbers})
        assert ["a", "b"] == self._found(attributes={"a15": [*numbers, "15", True]})
        assert [] == self._found(attributes={"a14": [*numbers[15:], "14"]})

    def test_a_snapshot_has_the_attributes_of_its_run(self) -> None:
        """Each with its type; so has a summary."""
        given = {"text": "x", "whole": 1, "part": 1.5, "yes": True, "no": False, "round": 2.0}
        self._accept(accepted("run", attributes=given))

        for known in (self.state.snapshot("run"), *self.state.list().runs):
            assert given == dict(known.attributes)
            assert isinstance(known.attributes["yes"], bool)

    def test_values_are_compared_by_type_and_numbers_as_numbers(self) -> None:
        """1 and 1.0 are one value; True and the string are others."""
        values = {"whole": 1, "part": 1.0, "flag": True, "text": "1", "word": "true"}
        for run_id, value in values.items():
            self._accept(accepted(run_id, attributes={"value": value}))

        assert ["part", "whole"] == self._found(attributes={"value": 1})
        assert ["part", "whole"] == self._found(attributes={"value": 1.0})
        assert ["flag"] == self._found(attributes={"value": True})
        assert ["text"] == self._found(attributes={"value": "1"})
        assert ["text", "word"] == self._found(attributes={"value": ["1", "true"]})

    def test_any_value_is_found_again_and_is_nothing_else(self) -> None:
        """No part of a value is a pattern or a piece of a query, and no number is rounded."""
        values = [*_HOSTILE, *_NUMBERS]
        for number, value in enumerate(values):
            self._accept(accepted(f"r{number:02}", attributes={f"n{value!r}": value, "v": value}))

        for number, value in enumerate(values):
            assert [f"r{number:02}"] == self._found(attributes={"v": value})
            assert [f"r{number:02}"] == self._found(attributes={f"n{value!r}": value})

    def test_attributes_change_one_by_one(self) -> None:
        """Those that are named; None removes one. The run is found by the new values only."""
        self._accept(accepted("run", attributes={"a": 1, "b": 2, "c": 3}))
        self.state.set_attributes("run", {"b": "two", "c": None, "d": True})

        assert {"a": 1, "b": "two", "d": True} == dict(self.state.snapshot("run").attributes)
        for found in ({"a": 1}, {"b": "two"}, {"d": True}, {"a": 1, "d": True}):
            assert ["run"] == self._found(attributes=found)
        for gone in ({"b": 2}, {"c": 3}):
            assert [] == self._found(attributes=gone)

    def test_attributes_of_a_run_in_progress_and_of_an_ended_one_can_be_changed(self) -> None:
        """The run goes on, and its events leave them as they are."""
        self._accept(accepted("run"))
        self._write(happened(*STARTED))
        self.state.set_attributes("run", {"a": 1})
        self._write(happened(*COMPLETED[3:], after=3))
        self.state.set_attributes("run", {"b": 2})

        known = self.state.snapshot("run")
        assert ("completed", {"a": 1, "b": 2}) == (known.status, dict(known.attributes))

    def test_attributes_can_all_be_removed(self) -> None:
        """And removing what is not there does nothing."""
        self._accept(accepted("run", attributes={"a": 1}))
        self.state.set_attributes("run", {"a": None, "b": None})
        self.state.set_attributes("run", {})

        assert {} == dict(self.state.snapshot("run").attributes)
        assert [] == self._found(attributes={"a": 1})

    def test_a_change_that_makes_too_many_changes_nothing(self) -> None:
        """The limits are those of a start."""
        self._accept(accepted("run", attributes={f"a{number}": 1 for number in range(64)}))
        _refused(lambda: self.state.set_attributes("run", {"a0": 2, "more": 1}))

        assert ["run"] == self._found(attributes={"a0": 1})
        assert [] == self._found(attributes={"more": 1})

    def test_attributes_of_a_run_that_does_not_exist_cannot_be_changed(self) -> None:
        """It is said so."""
        with contextlib.suppress(RunNotFound):
            self.state.set_attributes("missing", {"a": 1})
            raise AssertionError("set_attributes() must raise RunNotFound")

    # ── Filters ──────────────────────────────────────────────────────────────────────────────

    def test_runs_of_several_statuses_are_found(self) -> None:
        """Those that have one of them."""
        self._accept(accepted("pending"))
        for run_id, kinds in (("running", STARTED), ("done", COMPLETED), ("failed", FAILED)):
            self._accept(accepted(run_id))
            self._write(happened(*kinds, run_id=run_id))

        found = self._found(status={RunStatus.PENDING, RunStatus.FAILED})
        assert ["failed", "pending"] == found
        assert ["running"] == self._found(status=[RunStatus.RUNNING])

    def test_runs_of_a_version_are_found(self) -> None:
        """Exactly."""
        self._accept(accepted("old", workflow_version="1.0.0"))
        self._accept(accepted("new", workflow_version="1.0.0b"))

        assert ["old"] == self._found(workflow_version="1.0.0")

    def test_runs_are_found_by_when_they_were_accepted(self) -> None:
        """The time itself belongs to what is after it."""
        for number in range(4):
            self._accept(accepted(f"r{number}", created_at=EPOCH + number))

        middle = datetime.fromtimestamp(EPOCH + 2, tz=UTC)
        assert ["r2", "r3"] == self._found(created_after=middle)
        assert ["r0", "r1"] == self._found(created_before=EPOCH + 2)
        assert ["r1", "r2"] == self._found(created_after=EPOCH + 1, created_before=EPOCH + 3)

    def test_runs_are_found_by_when_they_ended(self) -> None:
        """Those that have not ended are not."""
        self._accept(accepted("open"))
        for number in range(3):
            self._accept(accepted(f"r{number}"))
            events = happened(*COMPLETED, run_id=f"r{number}", time=EPOCH + 10 * number)
            self._write(events)  # it ends 5 seconds later

        assert ["r1", "r2"] == self._found(finished_after=EPOCH + 15)
        assert ["r0"] == self._found(finished_before=EPOCH + 15)
        assert ["r1"] == self._found(finished_after=EPOCH + 6, finished_before=EPOCH + 20)

    def test_runs_are_found_by_their_errors(self) -> None:
        """By the class, with or without its module, or by a part of the text."""
        for run_id, error in (
            ("a", ValueError("no %s left")),
            ("b", TimeoutError("No answer")),
            ("c", KeyError("value")),
        ):
            self._accept(accepted(run_id))
            events = happened(*FAILED, run_id=run_id)
            data = {"error": error, "failed_step": "a"}
            self._write([*events[:-1], events[-1]._replace(data=data)])
        self._accept(accepted("fine"))
        self._write(happened(*COMPLETED, run_id="fine"))

        assert ["a"] == self._found(error="ValueError")
        assert ["b"] == self._found(error="builtins.TimeoutError")
        assert ["a"] == self._found(error="no %s")
        assert [] == self._found(error="Error")
        assert [] == self._found(error="no _s")
        assert ["b"] == self._found(error="No answer")
        assert ["c"] == self._found(error="value")

    def test_runs_that_nothing_holds_up_are_found(self) -> None:
        """They are neither parked nor waiting nor paused, and have no other owner."""
        self._accept(accepted("run"))

        for name in ("parked", "waiting", "paused"):
            assert ["run"] == self._found(**{name: False})
            assert [] == self._found(**{name: True})
        assert [] == self._found(owner="nothing")

    def test_a_run_is_found_by_its_family(self) -> None:
        """By the run whose step has started it, and by the first run, which belongs to it too."""
        for run_id, parent in (("a", None), ("b", "a"), ("c", "b"), ("d", None)):
            link = parent and Parent(run_id=parent, step_id="a", root_run_id="a", call="")
            self._accept(accepted(run_id, parent=link))

        assert ["b"] == self._found(parent_run_id="a")
        assert ["c"] == self._found(parent_run_id="b", root_run_id="a")
        assert ["a", "b", "c"] == self._found(root_run_id="a")
        assert ["d"] == self._found(root_run_id="d")
        assert [] == self._found(root_run_id="b")
        assert [] == self._found(parent_run_id="c")
        assert {"pending": 3} == self.state.count_runs("status", root_run_id="a")

    def test_the_link_of_a_child_is_kept(self) -> None:
        """With everything that it says."""
        link = Parent(
            run_id="a", step_id="s", root_run_id="r", call="k", on_end="abandon", compensates=True
        )
        self._accept(accepted("b", parent=link))

        assert link == self.state.snapshot("b").parent
        assert link == self.state.list(parent_run_id="a").runs[0].parent

    def test_all_filters_hold_together(self) -> None:
        """A run must match each of them."""
        self._accept(accepted("a", attributes={"n": 1}, workflow_id="w", created_at=EPOCH + 1))
        self._accept(accepted("b", attributes={"n": 1}, workflow_id="w", created_at=EPOCH))
        self._accept(accepted("c", attributes={"n": 1}, created_at=EPOCH + 1))
        self._accept(accepted("d", attributes={"n": 2}, workflow_id="w", created_at=EPOCH + 1))

        asked: dict[str, Any] = {
            "attributes": {"n": 1},
            "workflow_id": "w",
            "created_after": EPOCH + 1,
            "status": {RunStatus.PENDING, RunStatus.FAILED},
            "parked": False,
        }
        assert ["a"] == self._found(**asked)
        assert 1 == self.state.list(**asked, limit=0).total
        assert {RunStatus.PENDING: 1} == self.state.count_runs("status", **asked)

    def test_a_wrong_filter_is_refused(self) -> None:
        """At once, and before the storage is asked."""
        for wrong in (
            {"workflow_id": object()},
            {"status": "done"},
            {"status": ["failed", 3]},
            {"attributes": "x"},
            {"attributes": {"a": None}},
            {"attributes": {"": 1}},
            {"created_after": "yesterday"},
            {"created_before": datetime(2026, 1, 1)},  # noqa: DTZ001 - without a time zone
            {"finished_after": float("nan")},
            {"error": ""},
            {"parked": "yes"},
            {"cursor": "what"},
            {"limit": -1},
            {"offset": True},
        ):
            _refused(lambda wrong=wrong: self.state.list(**wrong))

    # ── Pages ────────────────────────────────────────────────────────────────────────────────

    def test_pages_follow_each_other_by_their_cursors(self) -> None:
        """They leave nothing out, also among runs that were accepted in the same instant."""
        for number in range(7):
            self._accept(accepted(f"r{number}", created_at=EPOCH + number // 3))

        pages = self._pages(limit=3)
        assert ["r6", "r3", "r4", "r5", "r0", "r1", "r2"] == _ids(pages)
        assert [3, 3, 1] == [len(page.runs) for page in pages]
        assert [7, 7, 7] == [page.total for page in pages]

    def test_a_page_that_ends_with_the_last_run_is_the_last(self) -> None:
        """There is no empty page after it."""
        for number in range(4):
            self._accept(accepted(f"r{number}", attributes={"n": number % 2}))

        assert [2, 2] == [len(page.runs) for page in self._pages(limit=2)]
        assert [1, 1] == [len(page.runs) for page in self._pages(limit=1, attributes={"n": 0})]
        assert [None, None] == [self.state.list(limit=most).next_cursor for most in (0, 4)]

    def test_what_is_accepted_in_between_moves_no_page(self) -> None:
        """It belongs before the pages that were read already."""
        for number in range(4):
            self._accept(accepted(f"r{number}", created_at=EPOCH + number + 0.123456))
        first = self.state.list(limit=2)
        self._accept(accepted("newer", created_at=EPOCH + 9))
        second = self.state.list(limit=2, cursor=first.next_cursor)

        assert ["r3", "r2", "r1", "r0"] == _ids([first, second])
        assert (5, None) == (second.total, second.next_cursor)

    def test_a_cursor_stays_in_its_listing(self) -> None:
        """With the same filters, whatever these are."""
        for number in range(9):
            kind = number % 3
            self._accept(
                accepted(
                    f"r{number}",
                    created_at=EPOCH + number,
                    workflow_id=f"w{kind}",
                    attributes={"kind": kind, "all": "x"},
                )
            )

        for filters in ({"workflow_id": "w1"}, {"attributes": {"kind": 1, "all": "x"}}):
            assert ["r7", "r4", "r1"] == _ids(self._pages(limit=1, **filters))

    def _pages(self, **filters: Any) -> list[RunPage]:
        pages = [self.state.list(**filters)]
        while pages[-1].next_cursor is not None:
            pages.append(self.state.list(**filters, cursor=pages[-1].next_cursor))
        return pages

    # ── Numbers ──────────────────────────────────────────────────────────────────────────────

    def test_runs_are_counted_in_groups(self) -> None:
        """Only groups that have runs are there."""
        for number, kinds in enumerate((COMPLETED, COMPLETED, FAILED, STARTED)):
            run = accepted(f"r{number}", workflow_id=f"w{number % 2}", attributes={"n": number})
            self._accept(run)
            self._write(happened(*kinds, run_id=f"r{number}", workflow_id=f"w{number % 2}"))

        count = self.state.count_runs
        assert {"completed": 2, "failed": 1, "running": 1} == count("status")
        assert {"w0": 2, "w1": 2} == count("workflow_id")
        assert {("w0", "completed"): 1, ("w0", "failed"): 1} == count(
            ("workflow_id", "status"), workflow_id="w0"
        )
        assert {("1.0.0",): 4} == count(["workflow_version"])
        assert {"completed": 1} == count("status", attributes={"n": [1, 9]})
        assert {} == count("status", status=RunStatus.CANCELLED)
        assert all(isinstance(status, RunStatus) for status in count("status"))
        for wrong in ("steps", (), ("status", "status"), None, 3):
            _refused(lambda wrong=wrong: count(wrong))


def _ids(pages: list[RunPage]) -> list[str]:
    return [run.run_id for page in pages for run in page.runs]


def _refused(call: Any) -> None:
    try:
        call()
    except DefinitionError:
        return
    raise AssertionError("a wrong argument must raise a DefinitionError")

"""Contract tests: what is recorded can be read back complete, in order, and at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors.storage import AlreadyStarted, RunNotFound
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.orchestrator.powers import is_recorded
from actorflow.state.folding import fold
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    UNDONE,
    Commits,
    Patient,
    accepted,
    happened,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.protocols import StateManager
    from actorflow.model.records import RunRecord
    from actorflow.model.results import StepResult

__all__ = ["Listing", "Recording"]


class Recording(Patient):
    """One run at a time."""

    def test_an_accepted_run_is_pending(self) -> None:
        """It can be read before anything has happened."""
        self._accept(accepted())

        snapshot = self.state.snapshot("run")
        assert RunStatus.PENDING is snapshot.status
        assert {"a": StepStatus.PENDING} == {it: one.status for it, one in snapshot.steps.items()}
        assert [] == list(self.state.events("run"))

    def test_a_key_means_the_run_that_had_it_first(self) -> None:
        """A second run of the same workflow is not recorded; one of another workflow is."""
        self._accept(accepted("first", idempotency_key="order 7"))
        self._accept(accepted("other", idempotency_key="order 7", workflow_id="other"))
        self._accept(accepted("none"))

        second = accepted("second", idempotency_key="order 7")
        assert "first" == _already_started(self.state, second, self.patience)
        assert "'second'" in _not_found(self.state.snapshot, "second")
        assert ["first", "none", "other"] == [run.run_id for run in self.state.list().runs]

    def test_what_was_accepted_is_kept(self) -> None:
        """Everything that a run was started with."""
        fields: dict[str, Any] = {
            "inputs": {"url": "x"},
            "metadata": {"who": "me"},
            "priority": 7,
            "timeout": 0.1,
            "trace_id": "t",
            "correlation_id": "c",
            "business_id": "b",
            "workflow_version": "2",
        }
        self._accept(accepted(**fields))

        for _ in range(2):
            snapshot = self.state.snapshot("run")
            assert told(fields) == told({name: getattr(snapshot, name) for name in fields})
            assert EPOCH == snapshot.created_at
            self._write(happened(*STARTED) if snapshot.started_at is None else [])

    def test_a_snapshot_is_the_fold_of_what_was_recorded_at_any_instant(self) -> None:
        """After each event."""
        self._accept(accepted())
        kinds = (*STARTED, EventKind.STEP_RETRYING, *STARTED[1:], *COMPLETED[3:])
        events = happened(*kinds)

        for number, event in enumerate(events, 1):
            self._write([event])

            snapshot = self.state.snapshot("run")
            assert told(fold(accepted(), events[:number])) == told(snapshot)
            assert told(fold(accepted(), self.state.events("run"))) == told(snapshot)

    def test_events_recorded_together_come_to_the_same(self) -> None:
        """Regardless of how often a step has moved in between."""
        self._accept(accepted())
        events = happened(*STARTED, EventKind.STEP_RETRYING, *STARTED[1:], *COMPLETED[3:])
        self._write(events)

        assert told(fold(accepted(), events)) == told(self.state.snapshot("run"))

    def test_a_retried_step_has_each_of_its_attempts(self) -> None:
        """With its times, its outcome and its error, at any instant. A new life counts from 1."""
        self._accept(accepted())
        again = (*STARTED, EventKind.STEP_RETRYING, *STARTED[1:], *FAILED[3:])
        events = happened(*again)
        resumed = happened(EventKind.RUN_RESUMED, *COMPLETED[1:], after=len(events))

        self._write(events[:4])
        waiting = self.state.snapshot("run").steps["a"]
        self._write(events[4:6])
        running = self.state.snapshot("run").steps["a"]
        self._write(events[6:])
        failed = self.state.snapshot("run").steps["a"]
        self.state.claim("run")
        self._write(resumed)
        completed = self.state.snapshot("run").steps["a"]

        times = [EPOCH + 3, EPOCH + 4]
        assert [(1, *times, "failed")] == _attempts(waiting)
        assert [(1, *times, "failed"), (2, EPOCH + 6, None, "running")] == _attempts(running)
        assert [(1, *times, "failed"), (2, EPOCH + 6, EPOCH + 7, "failed")] == _attempts(failed)
        assert [told(ValueError("not yet")), told(ValueError("no"))] == [
            told(attempt.error) for attempt in failed.attempts_taken
        ]
        assert [(1, EPOCH + 11, EPOCH + 12, "completed")] == _attempts(completed)

    def test_a_completed_run_has_its_outputs(self) -> None:
        """By step id, with the times of the run's start and end."""
        self._accept(accepted())
        self._write(happened(*COMPLETED))

        snapshot = self.state.snapshot("run")
        assert RunStatus.COMPLETED is snapshot.status
        assert {"a": "of a"} == snapshot.outputs
        assert (EPOCH + 1, EPOCH + 5) == (snapshot.started_at, snapshot.finished_at)

    def test_events_come_back_as_they_were(self) -> None:
        """With all their data."""
        self._accept(accepted())
        self._write(happened(*FAILED))

        assert told(happened(*FAILED)) == told(self.state.events("run"))

    def test_events_come_back_in_order_and_by_the_page(self) -> None:
        """`after` is an event number, `limit` a number of events."""
        self._accept(accepted())
        self._write(happened(*COMPLETED))

        assert [1, 2, 3, 4, 5] == self._numbers()
        assert [3, 4] == self._numbers(after=2, limit=2)
        assert [5] == self._numbers(after=4, limit=9)
        assert [] == self._numbers(after=5)
        assert [] == self._numbers(limit=0)

    def _numbers(self, **page: Any) -> list[int]:
        return [event.number for event in self.state.events("run", **page)]

    def test_events_of_several_runs_may_be_recorded_together(self) -> None:
        """Each event goes to its own run."""
        self._accept(accepted("one"))
        self._accept(accepted("two"))

        self._write([*happened(*STARTED, run_id="one"), *happened(*COMPLETED, run_id="two")])

        assert [3, 5] == [len(self.state.events(run_id)) for run_id in ("one", "two")]
        assert RunStatus.RUNNING is self.state.snapshot("one").status
        assert RunStatus.COMPLETED is self.state.snapshot("two").status

    def test_commits_are_told_in_the_order_of_their_records(self) -> None:
        """What a commit reports can be read."""
        commits, seen = Commits(self.patience), list[tuple[int, int]]()
        self._accept(accepted())
        under_way = 0
        for number, event in enumerate(happened(*COMPLETED), 1):

            def done(error: BaseException | None, number: int = number) -> None:
                seen.append((number, len(self.state.events("run")) - number))
                commits.done(error)

            if not is_recorded("record", self.state.record([event], done)):
                under_way += 1
        for _ in range(under_way):
            commits.wait("record")

        assert [None] * under_way == commits.errors
        assert sorted(seen) == seen
        assert all(ahead >= 0 for _, ahead in seen)

    def test_what_was_read_does_not_change(self) -> None:
        """A snapshot and a page are values, not views."""
        self._accept(accepted())
        self._write(happened(*STARTED))
        snapshot, events = self.state.snapshot("run"), self.state.events("run")

        self._write(happened(EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED, after=3))

        assert RunStatus.RUNNING is snapshot.status
        assert 3 == len(events)

    def test_a_run_that_is_not_there_is_not_found(self) -> None:
        """The error names it."""
        for ask in (self.state.snapshot, self.state.events, self.state.claim):
            assert "'missing'" in _not_found(ask)

    def test_a_claimed_run_is_returned_as_it_stands(self) -> None:
        """With the state of its steps."""
        self._accept(accepted())
        self._write(happened(*FAILED))

        assert told(self.state.snapshot("run")) == told(self.state.claim("run"))

    def test_a_resumed_run_is_the_fold_of_both_its_lives(self) -> None:
        """The snapshot drops the failure of the first life; the events keep it."""
        self._accept(accepted())
        self._write(happened(*FAILED))
        self.state.claim("run")
        self._write(happened(EventKind.RUN_RESUMED, *COMPLETED[1:], after=5))

        snapshot = self.state.snapshot("run")
        assert RunStatus.COMPLETED is snapshot.status
        assert (None, None) == (snapshot.error, snapshot.failed_step)
        assert 1 == snapshot.steps["a"].attempts
        assert 10 == len(self.state.events("run"))
        assert told(fold(accepted(), self.state.events("run"))) == told(snapshot)

    def test_a_run_that_is_resumed_starts_its_failed_steps_afresh(self) -> None:
        """As soon as its resumption is recorded."""
        self._accept(accepted())
        self._write(happened(*FAILED))
        self.state.claim("run")
        self._write(happened(EventKind.RUN_RESUMED, after=5))

        step = self.state.snapshot("run").steps["a"]
        assert (StepStatus.PENDING, 0, None) == (step.status, step.attempts, step.error)

    def test_a_run_that_is_being_undone_says_how_far_it_has_come(self) -> None:
        """After each event, because another process may have to continue from there."""
        self._accept(accepted())
        events = happened(*UNDONE)

        for number, event in enumerate(events, 1):
            self._write([event])

            snapshot = self.state.snapshot("run")
            assert told(fold(accepted(), events[:number])) == told(snapshot)
            assert told(fold(accepted(), self.state.events("run"))) == told(snapshot)
        assert ("a",) == self.state.snapshot("run").compensations

    def test_a_cancelled_run_says_why(self) -> None:
        """In its snapshot."""
        self._accept(accepted())
        self._write(happened(EventKind.STEP_CANCELLED, EventKind.RUN_CANCELLED))

        assert "enough" == self.state.snapshot("run").reason


def _attempts(step: StepResult) -> list[tuple[int, float, float | None, str]]:
    return [
        (attempt.number, attempt.started_at, attempt.finished_at, attempt.outcome.value)
        for attempt in step.attempts_taken
    ]


def _already_started(state: StateManager, record: RunRecord, patience: float) -> str:
    """Return the id of the earlier run with the same key."""
    commits = Commits(patience)
    try:
        if not is_recorded("create", state.create(record, commits.done)):
            commits.wait("create")
            error = commits.errors[0]
            if error is not None:
                raise error
    except AlreadyStarted as known:
        return known.run_id
    raise AssertionError("create() must raise AlreadyStarted for a run whose key was used")


def _not_found(ask: Callable[[str], object], run_id: str = "missing") -> str:
    """Return the message of the error for a run that does not exist."""
    try:
        ask(run_id)
    except RunNotFound as error:
        return str(error)
    raise AssertionError("a run that does not exist must raise RunNotFound")


_IDS: Final = ("workflow_id", "trace_id", "correlation_id", "business_id")
_HOSTILE: Final = ("' OR 1=1 --", "%", "_", "x' UNION SELECT 1", 'a"b', "a\\b", "ä€😀")


class Listing(Patient):
    """Many runs."""

    def _listed(self, **filters: Any) -> list[str]:
        return [run.run_id for run in self.state.list(**filters).runs]

    def test_runs_are_listed_the_newest_first(self) -> None:
        """By the time of acceptance."""
        for number in range(3):
            self._accept(accepted(f"r{number}", created_at=EPOCH + number))

        assert ["r2", "r1", "r0"] == self._listed()

    def test_runs_accepted_in_the_same_instant_are_listed_by_id(self) -> None:
        """Pages are stable regardless of the order of writing; ids compare by code point."""
        for run_id in ("b", "a", "B", "_", "c"):
            self._accept(accepted(run_id))

        assert ["B", "_", "a", "b", "c"] == self._listed()

    def test_the_order_of_a_list_is_that_of_acceptance_and_not_of_writing(self) -> None:
        """Two threads that start runs may overtake each other."""
        self._accept(accepted("later", created_at=EPOCH + 0.000002))
        self._accept(accepted("earlier", created_at=EPOCH))

        assert ["later", "earlier"] == self._listed()

    def test_pages_do_not_overlap_and_leave_nothing_out(self) -> None:
        """Each page has the total number of runs."""
        ids = [f"r{number:02}" for number in range(7)]
        for number, run_id in enumerate(ids):
            self._accept(accepted(run_id, created_at=EPOCH + number))

        pages = [self.state.list(limit=3, offset=offset) for offset in (0, 3, 6, 9)]

        assert ids[::-1] == [run.run_id for page in pages for run in page.runs]
        assert [7, 7, 7, 7] == [page.total for page in pages]
        assert [3, 3, 1, 0] == [len(page.runs) for page in pages]

    def test_a_page_of_nothing_still_counts(self) -> None:
        """A limit of 0 asks for the total only."""
        self._accept(accepted())

        assert ([], 1) == (list(self.state.list(limit=0).runs), self.state.list(limit=0).total)

    def test_a_list_holds_summaries(self) -> None:
        """Everything about a run except its steps."""
        self._accept(accepted(trace_id="t"))
        self._write(happened(*FAILED))

        (summary,) = self.state.list().runs
        whole = self.state.snapshot("run")
        assert {} == dict(summary.steps)
        assert told(attrs.evolve(whole, steps=summary.steps)) == told(summary)

    def test_runs_are_found_by_their_ids(self) -> None:
        """By one id, exactly."""
        for name in _IDS:
            self._accept(accepted(f"mine by {name}", **{name: "x"}))
            self._accept(accepted(f"other by {name}", **{name: "xy"}))

        for name in _IDS:
            asked: dict[str, Any] = {name: "x"}
            assert [f"mine by {name}"] == self._listed(**asked)
            assert 1 == self.state.list(**asked).total

    def test_runs_are_found_by_status(self) -> None:
        """By their current status."""
        for run_id in ("pending", "running", "completed", "failed"):
            self._accept(accepted(run_id))
        self._write(happened(*STARTED, run_id="running"))
        self._write(happened(*COMPLETED, run_id="completed"))
        self._write(happened(*FAILED, run_id="failed"))

        for status in ("pending", "running", "completed", "failed"):
            assert [status] == self._listed(status=RunStatus(status))
        assert [] == self._listed(status=RunStatus.CANCELLED)

    def test_filters_hold_together(self) -> None:
        """A run must match all of them."""
        self._accept(accepted("a", workflow_id="w", trace_id="t"))
        self._accept(accepted("b", workflow_id="w"))
        self._accept(accepted("c", trace_id="t"))

        found = self._listed(workflow_id="w", trace_id="t", status=RunStatus.PENDING)
        assert ["a"] == found

    def test_a_filter_is_a_value_and_nothing_else(self) -> None:
        """No part of it is a pattern or a piece of a query."""
        for number, hostile in enumerate(_HOSTILE):
            self._accept(accepted(f"r{number}", business_id=hostile))
        self._accept(accepted("other", business_id="x"))

        for number, hostile in enumerate(_HOSTILE):
            assert [f"r{number}"] == self._listed(business_id=hostile)

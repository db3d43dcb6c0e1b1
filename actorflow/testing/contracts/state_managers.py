"""The whole contract of a state manager."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from typing import TYPE_CHECKING

from actorflow.errors.storage import LeaseHeld, NotRecorded, StoreError
from actorflow.model.lifecycle import EventKind
from actorflow.orchestrator.powers import is_recorded, powers_of
from actorflow.state.folding import fold
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    Commits,
    accept,
    accepted,
    happened,
    told,
    write,
)
from actorflow.testing.contracts.crashing import Crashing
from actorflow.testing.contracts.recording import Listing, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import StateManager

__all__ = ["SharedStateManagerContract", "StateManagerContract"]


class StateManagerContract(Recording, Listing, Crashing):
    """Every promise of `StateManager`, as a test; derive a class whose name begins with `Test`."""

    def make_state(self) -> StateManager:
        """Return a new, empty state manager."""
        raise NotImplementedError(f"{type(self).__name__} must define make_state()")

    @functools.cached_property
    def state(self) -> StateManager:  # type: ignore[override] # what the parts only declare
        """The state manager under test; each test has its own."""
        return powers_of(self.make_state()).state

    def teardown_method(self) -> None:
        """Close it, and let go of it: pytest keeps this instance until it ends."""
        if "state" in vars(self):
            vars(self).pop("state").close()

    def test_readers_on_other_threads_see_whole_states(self) -> None:
        """At any instant they see the fold of the first events, in order."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            wrong = _torn_reads(self.state, self.patience)
        finally:
            sys.setswitchinterval(interval)

        assert [] == wrong

    def test_runs_may_be_recorded_from_several_threads(self) -> None:
        """No run is lost, and none gets the events of another."""
        threads = [
            threading.Thread(target=_let_run, args=(self.state, f"t{number}", self.patience))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        runs = self.state.list(limit=1000).runs
        assert 40 == len(runs)
        for run in runs:
            expected = told(happened(*COMPLETED, run_id=run.run_id))
            assert expected == told(self.state.events(run.run_id))


def _let_run(state: StateManager, name: str, patience: float) -> None:
    for number in range(10):
        run_id = f"{name} {number}"
        accept(state, accepted(run_id), patience)
        write(state, happened(*COMPLETED, run_id=run_id), patience)


def _torn_reads(state: StateManager, patience: float) -> list[object]:
    runs = [f"r{number}" for number in range(20)]
    expected = {run_id: happened(*COMPLETED, run_id=run_id) for run_id in runs}
    over, wrong = threading.Event(), list[object]()

    def read() -> None:
        try:
            while not over.is_set():
                for run in state.list(limit=100).runs:
                    events = state.events(run.run_id)
                    if told(expected[run.run_id][: len(events)]) != told(events):
                        wrong.append(events)
                    state.snapshot(run.run_id)
        except BaseException as error:  # noqa: BLE001 - reported to the test, on another thread
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for run_id in runs:
            accept(state, accepted(run_id), patience)
            for event in expected[run_id]:
                write(state, [event], patience)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    return wrong


_AGAIN = (EventKind.RUN_RESUMED, *COMPLETED[1:])


class SharedStateManagerContract(StateManagerContract):
    """The promises of a state manager that several processes share, such as a database.

    These are laws 26 to 29, as far as breaking them takes two processes.
    """

    def make_other(self) -> StateManager:
        """Return another state manager over the storage of `self.state`, as in another process."""
        raise NotImplementedError(f"{type(self).__name__} must define make_other()")

    @functools.cached_property
    def other(self) -> StateManager:
        """The state manager of another process; created after `self.state`."""
        return self.make_other()

    def teardown_method(self) -> None:
        """Close both."""
        if "other" in vars(self):
            vars(self).pop("other").close()
        super().teardown_method()

    def test_others_read_what_was_recorded_as_soon_as_that_is_acknowledged(self) -> None:
        """After each event, and no later."""
        self._accept(accepted())
        events = happened(*COMPLETED)

        for number, event in enumerate(events, 1):
            self._write([event])

            assert told(events[:number]) == told(self.other.events("run"))
            assert told(fold(accepted(), events[:number])) == told(self.other.snapshot("run"))

    def test_of_two_who_resume_a_run_one_owns_it(self) -> None:
        """Only the last one to claim it can write, even before anything was written."""
        self._accept(accepted())
        self._write(happened(*FAILED))
        owners = []

        for state in (self.state, self.other):
            with contextlib.suppress(StoreError):
                state.claim("run")
                owners.append(state)
        written = [state for state in owners if _is_written(state, _resumed()[:1], self.patience)]

        assert owners[-1:] == written
        assert told([*happened(*FAILED), *_resumed()[:1]]) == told(self.state.events("run"))

    def test_to_claim_a_run_twice_is_to_claim_it_once(self) -> None:
        """Its owner goes on."""
        self._accept(accepted())
        self._write(happened(*FAILED))
        _ = self.other

        claims = [self.other.claim("run") for _ in range(2)]
        write(self.other, _resumed(), self.patience)

        assert told(claims[0]) == told(claims[1])
        assert told([*happened(*FAILED), *_resumed()]) == told(self.state.events("run"))

    def test_a_write_of_a_former_owner_changes_nothing(self) -> None:
        """It is refused, and the run stays as its owner left it."""
        self._accept(accepted())
        self._write(happened(*FAILED))
        self.other.claim("run")
        write(self.other, _resumed(), self.patience)

        stale = happened(*_AGAIN, after=5, time=0.0)
        refused = not _is_written(self.state, stale, self.patience)

        assert refused
        assert told([*happened(*FAILED), *_resumed()]) == told(self.other.events("run"))

    def test_a_run_in_progress_is_not_to_be_had(self) -> None:
        """Its owner is alive, and goes on."""
        self._accept(accepted())
        self._write(happened(*STARTED))

        with contextlib.suppress(LeaseHeld):
            self.other.claim("run")
            raise AssertionError("claiming a run in progress must raise LeaseHeld")
        self._write(happened(*COMPLETED[3:], after=3))

        assert told(happened(*COMPLETED)) == told(self.state.events("run"))

    def test_a_run_goes_on_where_its_former_owner_has_left_it(self) -> None:
        """The new owner knows what was recorded, and the event numbers continue."""
        self._accept(accepted())
        self._write(happened(*STARTED))
        _ = self.other
        self.state.close()

        known = self.other.claim("run")
        write(self.other, happened(*_AGAIN, after=3), self.patience)

        events = [*happened(*STARTED), *happened(*_AGAIN, after=3)]
        assert told(fold(accepted(), happened(*STARTED))) == told(known)
        assert told(events) == told(self.other.events("run"))
        assert told(fold(accepted(), events)) == told(self.other.snapshot("run"))


def _resumed() -> list[Event]:
    return happened(*_AGAIN, after=5)


def _is_written(state: StateManager, events: Sequence[Event], patience: float) -> bool:
    """Return whether events are recorded, not refused."""
    commits = Commits(patience)
    try:
        answer = state.record(events, commits.done)
    except (NotRecorded, StoreError):
        return False
    if is_recorded("record", answer):
        return True
    commits.wait("record")
    return commits.errors == [None]

"""The whole contract of a state manager."""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING

from actorflow.orchestrator.powers import powers_of
from actorflow.testing.contracts.accounts import COMPLETED, accept, accepted, happened, told, write
from actorflow.testing.contracts.crashing import Crashing
from actorflow.testing.contracts.listing import Listing
from actorflow.testing.contracts.recording import Recording

if TYPE_CHECKING:
    from actorflow.model.protocols import StateManager

__all__ = ["StateManagerContract"]


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
        """Close it."""
        if "state" in vars(self):
            self.state.close()

    def test_readers_on_other_threads_see_whole_states(self) -> None:
        """At any instant they see the fold of the first events, in order."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            wrong = _torn_reads(self.state)
        finally:
            sys.setswitchinterval(interval)

        assert [] == wrong

    def test_runs_may_be_recorded_from_several_threads(self) -> None:
        """No run is lost, and none gets the events of another."""
        threads = [
            threading.Thread(target=_let_run, args=(self.state, f"t{number}"))
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


def _let_run(state: StateManager, name: str) -> None:
    for number in range(10):
        run_id = f"{name} {number}"
        accept(state, accepted(run_id))
        write(state, happened(*COMPLETED, run_id=run_id))


def _torn_reads(state: StateManager) -> list[object]:
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
    for run_id in runs:
        accept(state, accepted(run_id))
        for event in expected[run_id]:
            write(state, [event])
    over.set()
    for reader in readers:
        reader.join()
    return wrong

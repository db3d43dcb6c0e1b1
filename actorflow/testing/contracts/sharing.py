"""Contract tests for a state manager whose storage outlives it and is shared with others."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from actorflow.errors.storage import LeaseHeld, NotRecorded, StoreError
from actorflow.model.lifecycle import EventKind
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
from actorflow.testing.contracts.state_managers import StateManagerContract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import StateManager

__all__ = ["SharedStateManagerContract"]

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
            self.other.close()
        super().teardown_method()

    def test_others_read_what_was_recorded_as_soon_as_that_is_acknowledged(self) -> None:
        """After each event, and no later."""
        accept(self.state, accepted())
        events = happened(*COMPLETED)

        for number, event in enumerate(events, 1):
            write(self.state, [event])

            assert told(events[:number]) == told(self.other.events("run"))
            assert told(fold(accepted(), events[:number])) == told(self.other.snapshot("run"))

    def test_of_two_who_resume_a_run_one_owns_it(self) -> None:
        """Only the last one to claim it can write, even before anything was written."""
        accept(self.state, accepted())
        write(self.state, happened(*FAILED))
        owners = []

        for state in (self.state, self.other):
            with contextlib.suppress(StoreError):
                state.claim("run")
                owners.append(state)
        written = [state for state in owners if _is_written(state, _resumed()[:1])]

        assert owners[-1:] == written
        assert told([*happened(*FAILED), *_resumed()[:1]]) == told(self.state.events("run"))

    def test_to_claim_a_run_twice_is_to_claim_it_once(self) -> None:
        """Its owner goes on."""
        accept(self.state, accepted())
        write(self.state, happened(*FAILED))
        _ = self.other

        claims = [self.other.claim("run") for _ in range(2)]
        write(self.other, _resumed())

        assert told(claims[0]) == told(claims[1])
        assert told([*happened(*FAILED), *_resumed()]) == told(self.state.events("run"))

    def test_a_write_of_a_former_owner_changes_nothing(self) -> None:
        """It is refused, and the run stays as its owner left it."""
        accept(self.state, accepted())
        write(self.state, happened(*FAILED))
        self.other.claim("run")
        write(self.other, _resumed())

        refused = not _is_written(self.state, happened(*_AGAIN, after=5, time=0.0))

        assert refused
        assert told([*happened(*FAILED), *_resumed()]) == told(self.other.events("run"))

    def test_a_run_in_progress_is_not_to_be_had(self) -> None:
        """Its owner is alive, and goes on."""
        accept(self.state, accepted())
        write(self.state, happened(*STARTED))

        with contextlib.suppress(LeaseHeld):
            self.other.claim("run")
            raise AssertionError("claiming a run in progress must raise LeaseHeld")
        write(self.state, happened(*COMPLETED[3:], after=3))

        assert told(happened(*COMPLETED)) == told(self.state.events("run"))

    def test_a_run_goes_on_where_its_former_owner_has_left_it(self) -> None:
        """The new owner knows what was recorded, and the event numbers continue."""
        accept(self.state, accepted())
        write(self.state, happened(*STARTED))
        _ = self.other
        self.state.close()

        known = self.other.claim("run")
        write(self.other, happened(*_AGAIN, after=3))

        events = [*happened(*STARTED), *happened(*_AGAIN, after=3)]
        assert told(fold(accepted(), happened(*STARTED))) == told(known)
        assert told(events) == told(self.other.events("run"))
        assert told(fold(accepted(), events)) == told(self.other.snapshot("run"))


def _resumed() -> list[Event]:
    return happened(*_AGAIN, after=5)


def _is_written(state: StateManager, events: Sequence[Event]) -> bool:
    """Return whether events are recorded, not refused."""
    commits = Commits()
    try:
        if state.record(events, commits.done):
            return True
    except (NotRecorded, StoreError):
        return False
    commits.wait()
    return commits.errors == [None]

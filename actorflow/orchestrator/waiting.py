"""The runs of one orchestrator that wait for their time or their turn, and their handles.

They have been accepted and recorded, but the supervisor does not know them, and they hold no place.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.storage import RunUnattended
from actorflow.model.cancelling import cancelled
from actorflow.model.results import RunResult
from actorflow.orchestrator.powers import hand_back, is_recorded
from actorflow.state.folding import fold
from actorflow.support.oneshot import Once
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.records import RunRecord, RunSnapshot
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.requests import Request
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.run.handle import Run

__all__ = ["Held", "WaitingRuns"]

_CLOSED: Final = (
    "its orchestrator has shut down and left the run, which stays pending",
    "Get it from an open orchestrator; one with recover=True takes it when it is due",
)
_TAKEN: Final = "another orchestrator has taken it"
_SHUT: Final = "the orchestrator is shutting down"


@attrs.define(eq=False)
class Held:
    """A run that waits."""

    run: Run
    end: Once[RunResult]
    request: Request
    record: RunRecord
    ticket: Ticket | None
    """The claim on a place that it will have, once it asks for one."""
    released: bool = False
    """Whether its time and its turn have come, so that it waits for its place only."""
    ending: bool = False
    """Whether it is being cancelled."""


class WaitingRuns:
    """The runs that wait; usable from any thread.

    Args:
        left: Called with the ticket of each run that ends before it starts.
    """

    def __init__(self, left: Callable[[Ticket], None]) -> None:
        self._left = left
        self._held: dict[str, Held] = {}
        self._by_key: dict[tuple[str, str], list[Held]] = {}
        """Those with a key; at most a few for each."""
        self._closed = False
        self.guard: Final = threading.RLock()
        """Held while a run starts or is cancelled, so that it does not do both."""
        self.changed: Callable[[], None] = _nothing
        """Called when a run may be able to start."""
        self.cut: list[str] = []
        """The ids of the runs that a shutdown cancelled."""
        self.left: list[str] = []
        """The ids of the runs that a shutdown left to other orchestrators."""
        self.ended: Once[None] = Once()
        """Resolved after `close` when nothing here uses the state manager."""

    @property
    def has_keys(self) -> bool:
        """Whether one of them may wait for the end of a run with its key."""
        return bool(self._by_key)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._held

    def get(self, run_id: str) -> Held | None:
        """Return a run that waits."""
        return self._held.get(run_id)

    def add(self, held: Held) -> None:
        """Add a run.

        Raises:
            OrchestratorClosed: After `close`.
        """
        with self.guard:
            if self._closed:
                raise OrchestratorClosed("start a run")
            self._held[held.run.id] = held
            if held.record.key is not None:
                pair = held.record.workflow_id, held.record.key
                self._by_key.setdefault(pair, []).append(held)

    def pop(self, run_id: str) -> Held | None:
        """Remove a run that starts, or that was not accepted."""
        with self.guard:
            held = self._held.pop(run_id, None)
            if held is not None and held.record.key is not None:
                pair = held.record.workflow_id, held.record.key
                self._by_key[pair].remove(held)
                if not self._by_key[pair]:
                    del self._by_key[pair]
        return held

    def with_key(self, workflow_id: str, key: str) -> list[Held]:
        """Return the runs that wait here with a key."""
        with self.guard:
            return list(self._by_key.get((workflow_id, key), ()))

    def cancel(self, run_id: str, reason: str, runtime: Runtime) -> bool:
        """Record the end of a run that waits; return whether it waits here."""
        with self.guard:
            held = self._held.get(run_id)
            if held is None:
                return False
            if held.ending:
                return True
            held.ending = True
        wall = runtime.clock.wall(runtime.clock.now())
        events = cancelled(fold(held.record, ()), 0, wall, reason)
        result = RunResult.of(fold(held.record, events))
        done = functools.partial(self._finish, held, result, runtime)
        try:
            if is_recorded("record", runtime.state.record(events, done)):
                done(None)
        except Exception as error:  # noqa: BLE001 - it may not even have been recorded
            done(error)
        return True

    def _finish(
        self,
        held: Held,
        result: RunResult,
        runtime: Runtime,
        error: BaseException | None,
    ) -> None:
        if error is None:
            held.end.set(result)
        else:
            self._look_up(held, runtime, error)
        self._remove(held, runtime)

    def _look_up(self, held: Held, runtime: Runtime, error: BaseException) -> None:
        """Give a run the end that its record has: another process may have been first.

        If it has none, the run is left to other orchestrators.
        """
        try:
            recorded = runtime.snapshot(held.run.id)
        except Exception as gone:  # noqa: BLE001 - its waiters must hear of something
            hand_back(runtime.powers, held.run.id)
            held.end.fail(gone)
            return
        if recorded.status.terminal:
            held.end.set(RunResult.of(recorded))
        else:
            hand_back(runtime.powers, held.run.id)
            held.end.fail(RunUnattended(held.run.id, text_of(error)))

    def lost(self, held: Held, recorded: RunSnapshot, runtime: Runtime) -> None:
        """Remove a run that another process has ended or taken."""
        if recorded.status.terminal:
            held.end.set(RunResult.of(recorded))
            self._remove(held, runtime)
        else:
            self.drop(held, runtime, _TAKEN)

    def drop(self, held: Held, runtime: Runtime, why: str) -> None:
        """Remove a run that will not start here, and tell its waiters why."""
        held.end.fail(RunUnattended(held.run.id, why))
        self._remove(held, runtime)

    def _remove(self, held: Held, runtime: Runtime) -> None:
        self.pop(held.run.id)
        if held.ticket is not None:
            self._left(held.ticket)
        runtime.audience.notify(held.run.id)

    def close(self, runtime: Runtime, *, leave: bool) -> None:
        """Accept no further run, and leave those that wait to other orchestrators, or cancel them.

        A second call does nothing.
        """
        with self.guard:
            if self._closed:
                return
            self._closed = True
            waiting = list(self._held.values())
        for held in waiting:
            if leave:
                self._leave(held, runtime)
            else:
                self.cut.append(held.run.id)
                self.cancel(held.run.id, _SHUT, runtime)

    def _leave(self, held: Held, runtime: Runtime) -> None:
        run_id = held.run.id
        self.left.append(run_id)
        hand_back(runtime.powers, run_id)
        held.end.fail(OrchestratorClosed(f"wait for run {run_id!r} here", *_CLOSED))
        self._remove(held, runtime)


def _nothing() -> None:
    """Wake no thread, because no run waits yet."""

"""Starts runs that were deferred: for later, or until the run with the same key has ended.

The state manager decides which of them may go (see `actorflow.state.keys`). This asks it when a run
is accepted, when a run has ended here, when the next one is due, and, if others share the state
manager, every second. A run that may go then takes a place like any other, behind the callers that
wait for one already. Until then it holds none: a thousand runs for tomorrow keep nothing from
running today.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from actorflow.errors import ActorflowError
from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.storage import AlreadyStarted, StoreOverloaded, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.deferral import checked_power
from actorflow.orchestrator.powers import hand_back, is_recorded
from actorflow.orchestrator.requests import resumed_run
from actorflow.orchestrator.waiting import Held
from actorflow.run.handle import Run
from actorflow.support.logs import get_logger
from actorflow.support.oneshot import Alarm, Once, settle

if TYPE_CHECKING:
    from actorflow.model.powers import DefersRuns
    from actorflow.model.records import RunRecord
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.requests import Request
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["Starter"]

_EVERY: Final = 1.0
"""Seconds between two questions when others share the state manager."""
_ENOUGH: Final = 100
"""How many runs may wait for their places before the state manager is asked for more."""
_SHORTEST: Final = 0.001
_WHAT: Final = "start(key=, at=, delay=)"


class Starter:
    """Starts the deferred runs of one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        launcher: Launches runs.
    """

    def __init__(self, life: Lifetime, launcher: Launcher) -> None:
        self._life = life
        self._launcher = launcher
        self._admission = life.admission
        self._waiting = life.live.waiting
        self._lock = threading.RLock()
        """Held while the state manager is asked, and what it releases is launched."""
        self._released: deque[Held] = deque()
        """Runs that wait for their place only."""
        self._woken = Alarm()
        self._over = False
        self._begun = False

    # ── Accepting ────────────────────────────────────────────────────────────────────────────

    def start(self, runtime: Runtime, request: Request) -> Run:
        """Record a deferred run, or return the live or earlier one with its key."""
        ticket = self._ticket(request)
        try:
            if ticket is not None:
                self._launcher.enter(runtime, ticket)
            held, accepted = self._accept(request, ticket)
            accepted.result()
            self._first_look(runtime, held)
        except AlreadyStarted as known:
            self._refuse(request.run_id, ticket)
            return self._launcher.earlier(runtime, known)
        except ActorflowError:
            self._refuse(request.run_id, ticket)
            raise
        except BaseException:
            self._withdraw(request.run_id, ticket)
            raise
        return held.run

    async def start_async(self, runtime: Runtime, request: Request) -> Run:
        """Do what `start` does without blocking the event loop."""
        ticket = self._ticket(request)
        try:
            if ticket is not None:
                await self._launcher.enter_async(runtime, ticket)
            held, accepted = self._accept(request, ticket)
            await accepted.result_async()
            await self._first_look_async(runtime, held)
        except AlreadyStarted as known:
            self._refuse(request.run_id, ticket)
            return await self._launcher.earlier_async(runtime, known)
        except ActorflowError:
            self._refuse(request.run_id, ticket)
            raise
        except BaseException:
            self._withdraw(request.run_id, ticket)
            raise
        return held.run

    def _ticket(self, request: Request) -> Ticket | None:
        """Return a claim on a place for a run that may start at once."""
        record = request.record
        if record is None or record.start_at is None or record.start_at > record.created_at:
            return None
        return self._admission.ticket()

    def _accept(self, request: Request, ticket: Ticket | None) -> tuple[Held, Once[None]]:
        record, accepted = request.record, Once[None]()
        assert record is not None  # noqa: S101 - only new runs are deferred
        # A shutdown takes the same lock: it leaves or cancels each run that was accepted before.
        with self._life.door:
            runtime = self._life.runtime("start a run")
            checked_power(runtime.powers, _WHAT)
            end: Once[RunResult] = Once()
            run = Run(runtime, request.run_id, request.workflow_id, end)
            held = Held(run, end, request, record, ticket)
            self._begin(runtime)
            self._waiting.add(held)
            done = functools.partial(settle, accepted)
            if is_recorded("create", runtime.state.create(record, done)):
                accepted.set(None)
        return held, accepted

    def _refuse(self, run_id: str, ticket: Ticket | None) -> None:
        self._waiting.pop(run_id)
        if ticket is not None:
            self._admission.leave(ticket)

    def _withdraw(self, run_id: str, ticket: Ticket | None) -> None:
        """Undo a start that was interrupted, however far it got."""
        if self._launcher.interrupt(run_id, "its start was interrupted") is None:
            self._refuse(run_id, ticket)

    def _first_look(self, runtime: Runtime, held: Held) -> None:
        """Start the run if it may go; otherwise give its place back."""
        with contextlib.suppress(ActorflowError):  # the thread asks again
            if held.record.key is not None:
                self.look(runtime)
                self._end_replaced(runtime, held.record)
        with self._waiting.guard:
            waits = held.run.id in self._waiting and not held.released
            ticket, held.ticket = held.ticket, None if waits else held.ticket
        if waits and ticket is not None:
            self._admission.leave(ticket)
        self._woken.ring()

    async def _first_look_async(self, runtime: Runtime, held: Held) -> None:
        if runtime.slow_to_read:
            import asyncio  # noqa: PLC0415 - a caller that awaits has loaded it

            await asyncio.to_thread(self._first_look, runtime, held)
        else:
            self._first_look(runtime, held)

    def enqueued(self, runtime: Runtime, record: RunRecord | None) -> None:
        """See to the runs here that a run with their key has replaced or told to end."""
        if record is not None and record.key is not None and runtime.powers.deferral is not None:
            with contextlib.suppress(ActorflowError):  # they hear of it later
                with self._lock:
                    self._release(runtime, runtime.powers.deferral)
                self._end_replaced(runtime, record)
            self._woken.ring()

    def _end_replaced(self, runtime: Runtime, record: RunRecord) -> None:
        for held in self._waiting.with_key(record.workflow_id, str(record.key)):
            if held.run.id != record.run_id and not held.ending:
                recorded = runtime.snapshot(held.run.id)
                if recorded.status.terminal:
                    self._waiting.lost(held, recorded, runtime)

    # ── Starting ─────────────────────────────────────────────────────────────────────────────

    def look(self, runtime: Runtime) -> float | None:
        """Start what may go; return the seconds until the next run is due, if one will be."""
        deferral = checked_power(runtime.powers, _WHAT)
        with self._lock:
            next_in = self._release(runtime, deferral)
            self._launch_released(runtime)
        return next_in

    def _launch_released(self, runtime: Runtime) -> None:
        left: list[Held] = []
        try:
            while self._released:
                if not self._launched(runtime, self._released[0]):
                    left.append(self._released[0])
                self._released.popleft()
        finally:  # after an error the thread tries again
            self._released.extendleft(reversed(left))

    def _release(self, runtime: Runtime, deferral: DefersRuns) -> float | None:
        """Take note of what may go, and cancel what makes way."""
        found = deferral.due(runtime.clock.wall(runtime.clock.now()))
        for run_id, reason in found.yielding.items():
            if run_id in self._life.live:
                runtime.cancel(run_id, reason)
        for run_id in found.run_ids:
            held = self._waiting.get(run_id)
            if held is not None and not held.released:
                held.released = True
                self._released.append(held)
        return found.next_in

    def _launched(self, runtime: Runtime, held: Held) -> bool:
        """Launch a run if there is a place for it; return whether it no longer waits."""
        if held.run.id not in self._waiting:
            return True
        if held.ticket is None:
            held.ticket = self._admission.ticket()
            if held.record.parent is None:
                self._admission.queue(held.ticket)
            else:  # its parent has a place, and may wait for it
                self._admission.enter_at_once(held.ticket)
            held.ticket.when_done(self._woken.ring)
        if not held.ticket.done:
            return False
        try:
            self._launch(runtime, held, held.ticket)
        except (OrchestratorClosed, StoreOverloaded, StoreUnavailable):
            raise
        except ActorflowError as error:
            self._give_up(runtime, held, error)
        return True

    def _launch(self, runtime: Runtime, held: Held, ticket: Ticket) -> None:
        recorded = runtime.snapshot(held.run.id)
        if recorded.status is not RunStatus.PENDING:
            self._waiting.lost(held, recorded, runtime)
            return
        # Its inputs may be newer than those that it was started with.
        variables = held.request.message.scope.variables.copy()
        request = variables.run(resumed_run, runtime, held.request.message.plan, recorded)
        # The door comes first, as in a start; `launch` enters it again.
        with self._life.door, self._waiting.guard:
            if held.run.id in self._waiting and not held.ending:
                self._launcher.launch(request, ticket, (held.run, held.end))
                self._waiting.pop(held.run.id)

    def _give_up(self, runtime: Runtime, held: Held, error: ActorflowError) -> None:
        """Leave a run that cannot start here to others, or end it if there are none."""
        why = f"it cannot start here: {error}"
        if runtime.powers.leases is None:
            self._waiting.cancel(held.run.id, why, runtime)
        else:
            hand_back(runtime.powers, held.run.id, why)
            self._waiting.drop(held, runtime, why)

    # ── On its thread ────────────────────────────────────────────────────────────────────────

    def _begin(self, runtime: Runtime) -> None:
        """Start the thread with the first run that waits."""
        if not self._begun:
            self._waiting.changed = self._woken.ring
            name = "actorflow starter"
            work = threading.Thread(target=self._work, args=(runtime,), name=name, daemon=True)
            self._begun = True
            try:
                work.start()
            except BaseException:
                self._begun = False
                raise

    def _work(self, runtime: Runtime) -> None:
        pause: float | None = None
        try:
            while True:
                self._woken.wait(pause)
                self._woken.silence()
                if self._over:
                    return
                pause = self._look(runtime) if self._waiting else None
        finally:
            self._waiting.ended.set(None)

    def _look(self, runtime: Runtime) -> float | None:
        try:
            if len(self._released) >= _ENOUGH:  # they wait for places, and so would others
                with self._lock:
                    self._launch_released(runtime)
                return _EVERY
            next_in = self.look(runtime)
        except OrchestratorClosed:
            return _EVERY
        except Exception as error:  # noqa: BLE001 - it asks again after any error
            with contextlib.suppress(Exception):  # a log that raises must not add to it
                get_logger().warning("starts.failed", exc_info=error)
            return _EVERY
        if runtime.powers.leases is not None:
            next_in = _EVERY if next_in is None else min(next_in, _EVERY)
        return None if next_in is None else max(next_in, _SHORTEST)

    def end(self, runtime: Runtime | None, *, leave: bool) -> None:
        """Start nothing further, and leave or cancel what waits; may be called several times."""
        self._over = True
        self._woken.ring()
        if runtime is not None:
            self._waiting.close(runtime, leave=leave)
        if not self._begun:
            self._waiting.ended.set(None)

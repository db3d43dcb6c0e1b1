"""Changes to recorded runs, wherever they are in progress; a part of the runtime."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from actorflow.errors.definition import DefinitionError
from actorflow.model.attributes import changes_of
from actorflow.model.deferral import moment_of
from actorflow.model.mail import KeepsMessages, checked_message
from actorflow.model.pausing import Pause
from actorflow.model.powers import KeepsAttributes, PausesRuns
from actorflow.model.results import RunResult
from actorflow.orchestrator.deferral import checked_power
from actorflow.orchestrator.powers import lacks
from actorflow.orchestrator.remote_cancel import Fate, cancel_unattended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.model.attributes import Attribute
    from actorflow.model.protocols import Clock, StateManager
    from actorflow.model.records import RunSnapshot
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.pausing import Pauses
    from actorflow.orchestrator.powers import Powers

__all__ = ["ChangesRuns"]


class ChangesRuns:
    """Cancels, pauses, reschedules and tags recorded runs, and sends messages to them."""

    clock: Clock
    powers: Powers
    slow_to_read: bool
    state: StateManager
    _live: LiveRuns
    _pauses: Pauses
    cancel: Callable[..., None]
    check_may_block: Callable[[str], None]
    check_may_read: Callable[[str], None]
    check_process: Callable[[], None]
    snapshot: Callable[[str], RunSnapshot]

    def cancel_elsewhere(self, run_id: str, reason: str, *, compensate: bool) -> RunResult | None:
        """End a run that is not in progress here, or ask its owner to; return any result."""
        if run_id in self._live:  # it was resumed in the meantime
            self.cancel(run_id, reason, compensate=compensate)
            return None
        self.check_may_read("Run.cancel()")
        with self._live.claims:
            if run_id in self._live:  # it was being taken up
                self.cancel(run_id, reason, compensate=compensate)
                return None
            fate = cancel_unattended(
                self.powers,
                run_id,
                self.clock,
                reason,
                compensate=compensate,
                cancel_child=functools.partial(self.cancel_elsewhere, compensate=False),
            )
        return RunResult.of(self.snapshot(run_id)) if fate is Fate.CANCELLED else None

    # ── Pauses ───────────────────────────────────────────────────────────────────────────────

    def pause(self, run_id: str, pause: Pause | None) -> None:
        """Pause a run, in progress anywhere, or end its pause; return when that is recorded."""
        if self.slow_to_read:
            self.check_may_block("Run.unpause()" if pause is None else "Run.pause()")
        self._pause(run_id, pause)

    async def pause_async(self, run_id: str, pause: Pause | None) -> None:
        """Do what `pause` does without blocking the event loop."""
        if self.slow_to_read:
            await asyncio.to_thread(self._pause, run_id, pause)
        else:
            self._pause(run_id, pause)

    def _pause(self, run_id: str, pause: Pause | None) -> None:
        self.check_process()
        power = self.powers.pauses
        if power is None:
            raise lacks(self.state, "Run.pause()", PausesRuns)
        with self._pauses.in_order:
            if pause is None:
                power.unpause_run(run_id)
            else:
                power.pause_run(run_id, pause, self.clock.wall(self.clock.now()))
            with self._live.door:  # a run that is being handed over is told to start first
                self.hear_pause(run_id, pause)

    def hear_pause(self, run_id: str, pause: Pause | None) -> None:
        """Tell the supervisor of a pause or its end, if it runs the run."""
        if run_id in self._live and run_id not in self._live.waiting:
            self._pauses.tell(run_id, pause)

    def hear_of(self, before: RunSnapshot) -> None:
        """Tell the supervisor of a pause that began or ended while a run was handed over.

        Args:
            before: The run as it was handed over.
        """
        # Another process would be asked again, because its events do not say so.
        if self.powers.pauses is not None and not self.slow_to_read:
            now = self.snapshot(before.run_id)
            if (now.paused is None) is not (before.paused is None):
                paused = now.paused
                pause = None if paused is None else Pause(reason=paused, freeze=now.frozen)
                self.hear_pause(before.run_id, pause)

    # ── Others ───────────────────────────────────────────────────────────────────────────────

    def reschedule(self, run_id: str, at: object, delay: object) -> None:
        """Move the start of a run that waits, here or elsewhere."""
        move = self._rescheduling(run_id, at, delay)
        if self.slow_to_read:
            self.check_may_block("Run.reschedule()")
        move()

    async def reschedule_async(self, run_id: str, at: object, delay: object) -> None:
        """Do what `reschedule` does without blocking the event loop."""
        move = self._rescheduling(run_id, at, delay)
        if self.slow_to_read:
            await asyncio.to_thread(move)
        else:
            move()

    def _rescheduling(self, run_id: str, at: object, delay: object) -> Callable[[], None]:
        """Check the arguments, and return what moves the run and may wait."""
        self.check_process()
        now = self.clock.wall(self.clock.now())
        start_at = moment_of(at, delay, now, None)
        if at is None and delay is None:
            problem = "Run.reschedule() needs a new time"
            raise DefinitionError(None, problem, "Pass at= or delay=; delay=0 means now")
        deferral = checked_power(self.powers, "Run.reschedule()")

        def move() -> None:
            deferral.reschedule(run_id, now if start_at is None else start_at, now)
            self._live.waiting.changed()

        return move

    def set_attributes(self, run_id: str, attributes: Mapping[str, Attribute | None]) -> None:
        """Change attributes of a run, in progress anywhere or ended; return when it is recorded."""
        if self.slow_to_read:
            self.check_may_block("Run.set_attributes()")
        self._set_attributes(run_id, attributes)

    async def set_attributes_async(
        self, run_id: str, attributes: Mapping[str, Attribute | None]
    ) -> None:
        """Do what `set_attributes` does without blocking the event loop."""
        if self.slow_to_read:
            await asyncio.to_thread(self._set_attributes, run_id, attributes)
        else:
            self._set_attributes(run_id, attributes)

    def _set_attributes(self, run_id: str, attributes: Mapping[str, Attribute | None]) -> None:
        changes = changes_of(attributes)
        self.check_process()
        if self.powers.attributes is None:
            raise lacks(self.state, "Run.set_attributes()", KeepsAttributes)
        self.powers.attributes.set_attributes(run_id, changes)

    def send(self, run_id: str, name: str, payload: Any, id_: str | None) -> None:
        """Send a message to a run, in progress anywhere; return when it is recorded."""
        if self.slow_to_read:
            self.check_may_block("Run.send()")
        self._send(run_id, name, payload, id_)

    async def send_async(self, run_id: str, name: str, payload: Any, id_: str | None) -> None:
        """Do what `send` does without blocking the event loop."""
        if self.slow_to_read:
            await asyncio.to_thread(self._send, run_id, name, payload, id_)
        else:
            self._send(run_id, name, payload, id_)

    def _send(self, run_id: str, name: str, payload: Any, id_: str | None) -> None:
        checked = checked_message(name, id_)
        self.check_process()
        if self.powers.messages is None:
            raise lacks(self.state, "Run.send()", KeepsMessages)
        sent_at = self.clock.wall(self.clock.now())
        self.powers.messages.send_message(run_id, checked[0], payload, checked[1], sent_at)

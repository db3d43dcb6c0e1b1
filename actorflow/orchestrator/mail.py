"""The mail of one orchestrator: messages of its runs on their way to the bodies that wait for them.

The messages of a run are read once the first of its bodies waits for one, and then whenever it is
heard that there are more. What is read goes to the supervisor, which decides who gets it (see
`actorflow.scheduling.mailboxes`). Reading some of them twice does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

from actorflow.definition.arguments import flag
from actorflow.definition.durations import patience
from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import StepCancelled, WaitExpired
from actorflow.errors.storage import StoreUnavailable
from actorflow.model.mail import KeepsMessages, checked_name
from actorflow.model.mailing import AwaitMail, ForgetWait, MailArrived
from actorflow.orchestrator.outage import PAUSES
from actorflow.orchestrator.powers import lacks
from actorflow.orchestrator.waits import to_await
from actorflow.support.oneshot import Once, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actorflow.model.context import Attempt
    from actorflow.model.mailing import AnswerWait
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.waits import Waits

__all__ = ["Mailroom"]


class _Asked:
    """What a body that waits for a message is told."""

    __slots__ = ("answer", "awaiting")

    def __init__(self) -> None:
        self.awaiting: Once[None] = Once()
        """Set when there is no message for it yet."""
        self.answer: Once[AnswerWait] = Once()


class Mailroom:
    """The mail of one orchestrator.

    Args:
        powers: The state manager and its optional powers.
        waits: Suspends attempts.
        tell: Sends a message to the supervisor, from any thread.
        loop: The event loop of the orchestrator.
    """

    def __init__(
        self,
        powers: Powers,
        waits: Waits,
        tell: Callable[[object], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._state = powers.state
        self._power = powers.messages
        self._slow = powers.slow_to_read
        self._waits = waits
        self._tell = tell
        self._loop = loop
        self._asked: dict[tuple[Attempt, str, int], _Asked] = {}
        self._known: dict[str, int] = {}
        """The number of the latest message that the supervisor knows, by run id; runs of which no
        body has waited for a message are left out."""
        self._wanted: dict[str, int] = {}
        """The number of the latest message that was heard of, by run id."""
        self._reading: set[str] = set()

    # ── What a step calls ────────────────────────────────────────────────────────────────────

    def wait_for(
        self, attempt: Attempt, calls: dict[str, int], name: str, timeout: object, evict: object
    ) -> Coroutine[Any, Any, Any]:
        """Return an awaitable of the payload of the next message of a name."""
        step = attempt.plan.step
        if not step.is_coroutine:
            raise DefinitionError(
                attempt.scope.workflow_id,
                "ctx.wait_for() was called in a plain function, which would hold its thread",
                "Make it a coroutine function, with `async def` and `await ctx.wait_for(...)`",
                attempt.step_id,
            )
        if self._power is None:
            raise lacks(self._state, "ctx.wait_for()", KeepsMessages)
        if attempt.cancelled:  # the supervisor would never answer
            why = "the attempt was asked to stop, and waits for no message"
            raise StepCancelled(attempt.scope.run_id, attempt.step_id, why)
        try:
            checked_name(name, "ctx.wait_for()")
            seconds = patience(timeout, "timeout of ctx.wait_for()")
            may_evict = flag(evict, "evict of ctx.wait_for()")
        except DefinitionError as error:
            workflow_id, step_id = attempt.scope.workflow_id, attempt.step_id
            raise DefinitionError(workflow_id, error.problem, error.cure, step_id) from None
        key = f"\0{name}"  # no child can have this name
        calls[key] = call = calls.get(key, 0) + 1
        receiving = self._receive(AwaitMail(attempt, name, call, seconds, may_evict))
        return to_await(receiving, "ctx.wait_for()", attempt)

    async def _receive(self, asking: AwaitMail) -> object:
        attempt, name = asking.attempt, asking.name
        key = attempt, name, asking.call
        self._asked[key] = asked = _Asked()
        try:
            await self._open(attempt)
            self._tell(asking)
            await first_of(asked.answer, asked.awaiting)
            answer = await self._waits.wait_async(attempt, asked.answer, f"message {name!r}")
        except BaseException:
            if not attempt.cancelled:  # the wait alone was cancelled
                with contextlib.suppress(ActorflowError):
                    self._tell(ForgetWait(*key))
            raise
        finally:
            del self._asked[key]
        if answer.outcome == "expired":
            seconds = asking.timeout or 0.0
            raise WaitExpired(attempt.scope.run_id, attempt.step_id, name, seconds)
        return answer.payload

    def answered(self, message: AnswerWait) -> None:
        """Tell a body what it gets, if it still waits; on the loop."""
        asked = self._asked.get((message.attempt, message.name, message.call))
        if asked is None:
            return
        if message.outcome == "awaiting":
            asked.awaiting.set(None)
        else:
            asked.answer.set(message)

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    async def _open(self, attempt: Attempt) -> None:
        """Have the supervisor know the messages of a run.

        A database that does not answer for a moment delays the step, and does not fail it.
        """
        run_id, pauses = attempt.scope.run_id, iter(PAUSES)
        while run_id not in self._known:
            try:
                await self._read_all(run_id)
            except StoreUnavailable:
                pause = next(pauses, None)
                if pause is None or attempt.cancelled:
                    raise
                await asyncio.sleep(pause)

    async def _read_all(self, run_id: str) -> None:
        self._known[run_id] = 0
        try:
            if self._slow:
                await asyncio.to_thread(self._read, run_id)
            else:
                self._read(run_id)
        except BaseException:
            self._known.pop(run_id, None)  # the next wait tries again
            raise

    def _read(self, run_id: str) -> None:
        after = self._known.get(run_id)
        if after is None or self._power is None:
            return  # it is not in progress here any more
        mail = self._power.read_messages(run_id, after)
        if mail:
            self._tell(MailArrived(run_id, mail))
            if run_id in self._known:
                self._known[run_id] = max(self._known[run_id], mail[-1].number)

    def heard(self, run_id: str, number: int) -> None:
        """Read the messages of a run up to this number, unless they are known; from any thread."""
        if number > self._known.get(run_id, number):
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._want, run_id, number)

    def _want(self, run_id: str, number: int) -> None:
        if run_id in self._known:
            self._wanted[run_id] = max(number, self._wanted.get(run_id, 0))
            self._go_on(run_id)

    def _go_on(self, run_id: str) -> None:
        """Read what was heard of and is not known, one read of a run at a time."""
        known, wanted = self._known.get(run_id), self._wanted.get(run_id, 0)
        if known is None or wanted <= known or run_id in self._reading:
            return
        if not self._slow:
            self._read(run_id)
            return
        self._reading.add(run_id)
        reading = self._loop.run_in_executor(None, self._read, run_id)
        reading.add_done_callback(functools.partial(self._has_read, run_id))

    def _has_read(self, run_id: str, reading: asyncio.Future[None]) -> None:
        self._reading.discard(run_id)
        # After an error it is read when it is heard of again, which it is until it is known.
        if not reading.cancelled() and reading.exception() is None:
            self._go_on(run_id)

    def forget(self, run_id: str) -> None:
        """Forget a run that has ended or was left."""
        if self._known.pop(run_id, None) is not None:
            self._wanted.pop(run_id, None)

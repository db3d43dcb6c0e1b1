"""`Run`: the handle of a run that was started or looked up."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

from actorflow.definition.arguments import flag, string
from actorflow.definition.durations import Duration, patience
from actorflow.errors.storage import LeaseLost, RunNotFound
from actorflow.model.lifecycle import RunStatus
from actorflow.run.followed import FollowedEnd, Watch
from actorflow.run.pausable import PausableRun

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from datetime import datetime

    from actorflow.model.attributes import Attribute
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import RunResult
    from actorflow.run.event_stream import EventStream
    from actorflow.run.hosting import Runtime
    from actorflow.support.oneshot import Once

__all__ = ["Run"]


_PENDING: Final = (
    "it is pending, and starts when an orchestrator that has registered its workflow in this "
    "version, with recover=True, takes it"
)


class Run(PausableRun):
    """A run, in progress or finished. Every method may be called from any thread.

    It may also be a run that another orchestrator runs, or that no orchestrator runs yet. What the
    handle says of it, and waits for, is what the run's record says, in the database that the
    orchestrators share.

    Awaiting a run returns its result or raises, as `result` does, from any event loop.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator() as orchestrator:
        ...     run = orchestrator.start(flow, {"name": "world"})
        ...     [event.kind.value for event in run.events()][1:]
        ...     run.result(timeout=10).output
        ['run.started', 'step.ready', 'step.started', 'step.completed', 'run.completed']
        'hello world'
    """

    workflow_id: str
    """The id of the run's workflow."""

    def __init__(
        self,
        runtime: Runtime,
        run_id: str,
        workflow_id: str,
        end: Once[RunResult] | None = None,
    ) -> None:
        self._runtime: Runtime = runtime
        self._end_here = end
        self._followed = FollowedEnd(runtime, run_id)
        self.id = run_id
        self.workflow_id = workflow_id

    @property
    def _end(self) -> Once[RunResult] | None:
        """The end of a run of this orchestrator; None for a run whose record is followed.

        That is a run which was not in progress here, or which another orchestrator has taken over.
        """
        end = self._end_here
        return None if end is not None and isinstance(end.error, LeaseLost) else end

    def __repr__(self) -> str:
        end, known = self._end, self._known
        if known is not None:
            state: str = known.status.value
        elif end is None:
            state = "followed"
        else:
            state = "cut off" if end.done else "in progress"
        return f"<Run {self.id} of {self.workflow_id!r}, {state}>"

    @property
    def _known(self) -> RunResult | None:
        """The result, if it is known without reading."""
        end = self._end
        if end is not None and end.done and end.error is None:
            return end.result()
        return self._followed.known

    @property
    def _is_decided(self) -> bool:
        """Whether a wait returns or raises at once."""
        return (self._end is not None and self._end.done) or self._followed.known is not None

    def _decided(self) -> RunResult:
        known = self._followed.known
        if known is None and self._end is not None:
            return self._end.result()
        return known  # type: ignore[return-value] # the caller has asked whether it is decided

    @property
    def done(self) -> bool:
        """Whether the run has ended.

        For a run that is not in progress in this orchestrator, the record is read. On the
        orchestrator's own event loop it raises `WrongLoop` when a database must be asked for that.
        Use `(await run.status_async()).terminal` there.
        """
        end = self._end
        if end is not None and not end.done:
            return False
        return self._known is not None or self._is_over()

    def _is_over(self) -> bool:
        if self._end is not None and not self._runtime.is_shared:
            return True  # it was cut off, and others cannot go on with it
        if self._runtime.end_here(self.id) is not None:
            return False
        self._runtime.check_may_read("Run.done")
        try:
            return self._followed.look() is not None
        except RunNotFound:
            return True

    @property
    def status(self) -> RunStatus:
        """The status of the run.

        It raises `RunNotFound` when the state manager no longer keeps the run, and `WrongLoop` on
        the orchestrator's own event loop when a database must be asked, because the run is not in
        progress in this orchestrator. Use `status_async` there.
        """
        known = self._known
        return self._runtime.status(self.id) if known is None else known.status

    async def status_async(self) -> RunStatus:
        """Return what `status` is without blocking the event loop."""
        known = self._known
        return (await self.snapshot_async()).status if known is None else known.status

    def snapshot(self) -> RunSnapshot:
        """Return the run as it stands, with all its steps.

        Raises:
            RunNotFound: When the run has finished and its state manager no longer keeps it.
            WrongLoop: On the orchestrator's own event loop, if a database must be asked; use
                `snapshot_async` there.
        """
        self._runtime.check_may_read("Run.snapshot()")
        return self._runtime.snapshot(self.id)

    async def snapshot_async(self) -> RunSnapshot:
        """Do what `snapshot` does without blocking the event loop."""
        return await self._runtime.read_async(functools.partial(self._runtime.snapshot, self.id))

    def wait(self, timeout: Duration | None = None) -> RunResult:
        """Wait for the run's end, and return its result whatever the outcome.

        Args:
            timeout: How many seconds to wait at most, or a `timedelta`.

        Raises:
            DefinitionError: When the timeout is not a duration, or too long for a clock.
            TimeoutError: When the run has not ended in time; it goes on.
            OrchestratorClosed: When it can no longer end, because its event loop was closed or
                blocked for good, or when another orchestrator runs it and this one is closed.
            RunUnattended: When its orchestrator does not run it, and its state manager cannot be
                shared with another one that may.
            RunNotFound: When its record was deleted meanwhile.
            WrongLoop: When called on the event loop that the run lives on.
            Deadlock: When called by a step without a timeout, and the run could never end.
            ForkedOrchestrator: In a fork of the run's process.
        """
        return self._wait(timeout, "wait")

    def _wait(self, timeout: Duration | None, call: str) -> RunResult:
        limit = patience(timeout, "timeout")
        if self._is_decided:
            return self._decided()
        self._runtime.check_may_block(f"Run.{call}()")
        if limit is None:
            with self._runtime.staying():
                with contextlib.suppress(LeaseLost):  # then its record is followed
                    if (end := self._end) is not None:
                        return self._runtime.wait(self.id, end)
                return self._followed.wait()
        return self._ended(limit)

    def _ended(self, limit: float) -> RunResult:
        end, clock = self._end, self._runtime.clock
        until = clock.now() + limit
        if end is None or (end.wait(limit) and self._end is None):
            result = self._followed.wait_within(max(0.0, until - clock.now()))
            if result is not None:
                return result
        elif end.done:
            return end.result()
        state = _PENDING if self._followed.status is RunStatus.PENDING else "it goes on"
        raise TimeoutError(
            f"run {self.id!r} of workflow {self.workflow_id!r} has not ended within "
            f"{limit:g} s; {state}. Wait again, or call run.cancel()."
        )

    def result(self, timeout: Duration | None = None) -> RunResult:
        """Return the result of a run that completes, and raise otherwise.

        Raises:
            RunFailed: When a required step failed; chained from the step's exception.
            RunTimeout: When the run's own timeout passed.
            RunCancelled: When the run was cancelled.
            TimeoutError: When the run has not ended within `timeout` seconds; it goes on.
            WrongLoop: When called on the event loop that the run lives on.
        """
        result = self._wait(timeout, "result")
        result.raise_for_status()
        return result

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._result_async().__await__()

    async def _result_async(self) -> RunResult:
        result = await self.wait_async()
        result.raise_for_status()
        return result

    async def wait_async(self) -> RunResult:
        """Wait for the run's end, and return its result whatever the outcome.

        Cancelling the awaiting task does not cancel the run.

        Raises:
            OrchestratorClosed: As `wait` does; likewise `RunUnattended` and `RunNotFound`.
            ForkedOrchestrator: In a fork of the run's process.
        """
        if self._is_decided:
            return self._decided()
        self._runtime.check_process()
        with self._runtime.staying():
            with contextlib.suppress(LeaseLost):  # then its record is followed
                if (end := self._end) is not None:
                    return await self._runtime.wait_async(self.id, end)
            return await self._followed.wait_async()

    def cancel(self, reason: str = "cancelled by its owner", *, compensate: bool = False) -> None:
        """Ask for the run to end, and return at once; `wait` returns when it has ended.

        No further step starts, coroutines are cancelled, threads are asked to stop. Cancelling a
        run twice, or after its end, does nothing. A run that is compensating continues to
        compensate.

        A run that is not in progress in this orchestrator is cancelled as well: at once if it has
        no owner, and otherwise by a request to its owner, which hears of the request within a
        moment. Either way this call waits for the database. The steps of such a run are
        undone by the orchestrator that runs it, now or later.

        Args:
            reason: Why; it is in the run's result.
            compensate: Whether to undo the completed steps then, as those of a failed run are.

        Raises:
            DefinitionError: When an argument is invalid.
            RunUnattended: When another orchestrator runs it, or when its steps are to be undone and
                it has no owner, and the state manager keeps no requests (see `CancelsRemotely`).
            StoreError: When it has no owner, and its end cannot be recorded.
            WrongLoop: When it is not in progress here, and the call would block the event loop; use
                `cancel_async` there.
        """
        cancel = self._cancelling(reason, compensate)
        if cancel is not None:
            self._followed.known = cancel()

    async def cancel_async(
        self, reason: str = "cancelled by its owner", *, compensate: bool = False
    ) -> None:
        """Do what `cancel` does without blocking the event loop."""
        cancel = self._cancelling(reason, compensate)
        if cancel is not None:
            self._followed.known = await self._runtime.read_async(cancel)

    def _cancelling(
        self,
        reason: str,
        compensate: bool,  # noqa: FBT001 - checked here
    ) -> Callable[[], RunResult | None] | None:
        """Cancel a run in progress here; for another one, return what cancels it and may wait."""
        reason = string(reason, "reason", "Say why the run is cancelled, as a string")
        compensate = flag(compensate, "compensate")
        end = self._end
        if end is not None and not end.done:
            self._runtime.cancel(self.id, reason, compensate=compensate)
        elif self._known is None:
            cancel = self._runtime.cancel_elsewhere
            return functools.partial(cancel, self.id, reason, compensate=compensate)
        return None

    def reschedule(self, *, at: datetime | None = None, delay: Duration | None = None) -> None:
        """Move the start of a run that waits for its time, or for its turn with its key.

        Args:
            at: When it may start, with a time zone; one in the past means now.
            delay: The seconds from now until it may start, or a `timedelta`, in place of `at`.

        Raises:
            DefinitionError: When an argument is invalid, or the state manager defers no runs.
            NotRescheduled: When the run does not wait: it has started, or has ended.
            RunNotFound: When there is no such run, or its state manager no longer keeps it.
            WrongLoop: On the orchestrator's own event loop, if it would block that; use
                `reschedule_async` there.
        """
        self._runtime.reschedule(self.id, at, delay)

    async def reschedule_async(
        self, *, at: datetime | None = None, delay: Duration | None = None
    ) -> None:
        """Do what `reschedule` does without blocking the event loop."""
        await self._runtime.reschedule_async(self.id, at, delay)

    def set_attributes(self, attributes: Mapping[str, Attribute | None]) -> None:
        """Change attributes of the run, wherever it runs, or after its end.

        It returns when the change is recorded, and leaves the attributes that it does not name.

        Args:
            attributes: The new values, by name: strings, numbers and bools. None removes an
                attribute. A run has at most 64, which take at most 4,096 bytes in all; a name
                takes at most 128 bytes, and a string at most 1,024.

        Raises:
            DefinitionError: When a name or a value is invalid, there are too many, or the state
                manager keeps no attributes (see `KeepsAttributes`).
            RunNotFound: When the run's state manager no longer keeps it.
            StoreError: When the change cannot be recorded.
            WrongLoop: On the orchestrator's own event loop, if it would block that; use
                `set_attributes_async` there.

        Example:
            >>> from actorflow import Orchestrator, Step, Workflow
            >>> flow = Workflow("greeting")
            >>> greet = flow.add(Step("greet", lambda: "hello"))
            >>> with Orchestrator() as orchestrator:
            ...     run = orchestrator.start(flow, attributes={"tenant": "acme", "draft": True})
            ...     run.set_attributes({"tier": 2, "draft": None})
            ...     run.snapshot().attributes
            {'tenant': 'acme', 'tier': 2}
        """
        self._runtime.set_attributes(self.id, attributes)

    async def set_attributes_async(self, attributes: Mapping[str, Attribute | None]) -> None:
        """Do what `set_attributes` does without blocking the event loop."""
        await self._runtime.set_attributes_async(self.id, attributes)

    def send(self, name: str, payload: Any = None, id: str | None = None) -> None:
        """Send a message to the run, which a step receives with `ctx.wait_for`.

        It returns when the message is recorded. The run may be in progress anywhere, or wait for
        its start; a message that comes before a step waits for it is kept.

        Args:
            name: The name of the message.
            payload: What `ctx.wait_for` returns. The state manager must be able to store it.
            id: Tells whether the message was sent before. If the run was sent a message with this
                name and id, even before its end, nothing is done.

        Raises:
            DefinitionError: When the name or the id is invalid, or the state manager keeps no
                messages (see `KeepsMessages`).
            RunEnded: When the run has ended.
            RunNotFound: When the run's state manager no longer keeps it.
            TooManyMessages: When the run has been sent 10,000 messages.
            StoreError: When the message cannot be recorded, for example its payload.
            WrongLoop: When the call would block the event loop that the run lives on; use
                `send_async` there.
        """
        self._runtime.send(self.id, name, payload, id)

    async def send_async(
        self,
        name: str,
        payload: Any = None,
        id: str | None = None,
    ) -> None:
        """Do what `send` does without blocking the event loop."""
        await self._runtime.send_async(self.id, name, payload, id)

    def _when_over(self, call: Callable[[], None]) -> Watch:
        """Call a function, on any thread, when the run may have ended."""
        end = self._end
        return self._followed.when_over(call) if end is None else Watch.of(end, call)

    def _look(self) -> bool:
        """Return whether a wait returns or raises at once; it may read the record."""
        if self._is_decided:
            return True
        if not (self._runtime.can_follow or self._runtime.end_here(self.id)):
            return True  # it is refused, and a state manager that is being closed is not read
        try:
            self._followed.look_again()
        except RunNotFound:
            return True
        return self._is_decided

    def events(self, timeout: Duration | None = None) -> EventStream:
        """Return the run's events from the first to the last, live.

        Iterate over them with `for` on any thread but the run's event loop, or with `async for` on
        any event loop. A slow reader misses nothing and delays no run.

        The events of a run that is not in progress here are followed as they are recorded. If its
        state manager cannot be shared, they end with the last one that is recorded.

        Args:
            timeout: For how many seconds an iteration waits for events altogether, or a
                `timedelta`. The iteration then raises `TimeoutError`.

        Raises:
            DefinitionError: When the timeout is not a duration, or too long for a clock.
            RunNotFound: When the run has finished and its state manager no longer keeps it. On the
                orchestrator's own event loop, the iteration raises it if a database must be asked.
            OrchestratorClosed: After the last recorded event, when the run has not ended and its
                orchestrator was closed.
        """
        limit = patience(timeout, "timeout")
        return self._runtime.stream(self.id, self._end, limit)

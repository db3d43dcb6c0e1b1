"""The four sockets: what an executor, a state manager, an observer and a clock must promise.

The docstrings are the contract. The suites under `tests/contracts` check it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.results import RunPage, RunRecord, RunSnapshot

    Report: TypeAlias = Callable[[Attempt, Any, BaseException | None], None]
    Commit: TypeAlias = Callable[[BaseException | None], None]

__all__ = ["Clock", "Executor", "Observer", "StateManager", "Taken"]


class Clock(Protocol):
    """Time, handed in.

    `now` never goes backwards and measures every deadline; `wall` says what a moment on it is
    called by people. Only clocks ask the machine for the time.
    """

    def now(self) -> float:
        """Return monotonic seconds from an arbitrary origin."""

    def wall(self, now: float) -> float:
        """Return the moment `now` in seconds since the epoch."""


class Executor(Protocol):
    """A place where step bodies run.

    1. `open` comes first, `close` last; nothing is submitted before or after.
    2. `submit` returns at once and never raises. It calls
       `attempt.function(**attempt.arguments)` within `attempt.variables`.
    3. Every submitted attempt is reported exactly once, from any thread, with its output or
       its error (any BaseException), unless it was abandoned: then never.
    4. `stop` asks a body to end. It returns at once and may be called for an attempt that has
       ended already. A stopped attempt is reported as any other.
    5. `abandon` gives up a body that has not ended: it will not be reported any more, whatever
       becomes of it.

    Example:
        An executor of `concurrent.futures` needs no adapter.

        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("sum")
        >>> add = flow.add(Step("add", lambda numbers: sum(numbers), executor="pool"))
        >>> pool = ThreadPoolExecutor(2)
        >>> with pool, Orchestrator(executors={"pool": pool}) as orchestrator:
        ...     orchestrator.run(flow, {"numbers": [1, 2, 3]}).output
        6
    """

    @property
    def preemptive(self) -> bool:
        """Whether `stop` ends a body (a coroutine, a process) or only asks it (a thread)."""

    def open(self, report: Report) -> None:
        """Get ready; `report(attempt, output, error)` takes what becomes of attempts."""

    def submit(self, attempt: Attempt) -> None:
        """Run an attempt."""

    def stop(self, attempt: Attempt) -> None:
        """Ask an attempt to end; `attempt.cancelled` is already true."""

    def abandon(self, attempt: Attempt) -> str:
        """Give an attempt up, and return the stack it hangs in, or an empty text."""

    def close(self) -> Sequence[Attempt]:
        """Release threads and handles; return the abandoned attempts that still run."""


class Taken(NamedTuple):
    """What came of a search for runs in progress that belong to nobody."""

    taken: Sequence[str]
    """The ids of those that have been claimed, the most urgent first."""
    parked: Sequence[str]
    """The ids of those that have to wait, as nobody here knows their workflows; if that is new."""


class StateManager(Protocol):
    """The memory of runs.

    1. `create` comes before any event of its run; events come in the order of their numbers.
       Like `record`, it has remembered the run when it returns True, or returns False and calls
       `done` later, once, from any thread. The run's events may come before that.
    2. `record` either has recorded its events when it returns True, or returns False and calls
       `done` later, once, from any thread: with None when they are recorded, or with the error
       that keeps them from being recorded. Calls of `done` keep the order of `record`. A
       `NotRecorded` says whose events are not; those of the other runs are.
    3. What `snapshot` and `events` say is the fold of what was recorded, at any instant and
       from any thread. Times are kept to the microsecond.
    4. `create` and `record` are called on event loops, and do not wait for anything.

    Two more members are looked for, and may be absent. `admit(run_id, step_id, output)` is called
    from any thread with each output before it is used, and raises when that cannot be recorded:
    then its step fails. `slow_to_read` says that reading has to wait for something, and `create`
    too, so that no event loop reads or waits that need not.

    A run whose record has an idempotency key is not remembered when there is an earlier one of
    the same workflow with the same key: then `create` raises `AlreadyStarted`, or `done` gets it.

    What `Orchestrator(recover=True)` and `Orchestrator.enqueue` need may be absent, too:
    `enqueue(record, done)` is like `create`, for a run that belongs to nobody yet, and
    `take(known, besides, limit)` claims up to `limit` runs in progress that belong to nobody (any
    more), and whose workflow's id and version are among the `known`. It returns a `Taken`.
    `hand_back(run_id, parked)` may be there to let others have a run that was claimed or taken and
    cannot go on here; `parked` says what it waits for, or is None. It does not wait for anything.

    `listen(cancel)` may be there to be told what others ask: it has `cancel(run_id, reason,
    compensate)` called, from any thread and perhaps again and again, for runs in progress that
    somebody wants cancelled, and returns what ends that.

    `actorflow.testing.contracts` has this as tests.

    Example:
        One that counts the events that it records:

        >>> from actorflow import MemoryStateManager, Orchestrator, Step, Workflow
        >>> class Counting(MemoryStateManager):
        ...     count = 0
        ...     def record(self, events, done):
        ...         self.count += len(events)
        ...         return super().record(events, done)
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> state = Counting()
        >>> with Orchestrator(state) as orchestrator:
        ...     result = orchestrator.run(flow)
        >>> state.count
        5
    """

    def create(self, record: RunRecord, done: Commit) -> bool:
        """Remember an accepted run, which has not started yet."""

    def claim(self, run_id: str) -> RunSnapshot:
        """Take up a finished run that is to be resumed, and return it as it stands.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
        """

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Record events of one run or several."""

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the run as it stands.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
        """

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Return the run's events whose number is greater than `after`, in order.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
        """

    def list(
        self,
        *,
        status: RunStatus | None = None,
        workflow_id: str | None = None,
        trace_id: str | None = None,
        correlation_id: str | None = None,
        business_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> RunPage:
        """Return runs, the newest first, ties by run id."""

    def close(self) -> None:
        """Release what is held; nothing is recorded afterwards."""


class Observer(Protocol):
    """Somebody who watches.

    Called with every event of every run, in order, on a thread of the orchestrator's own.
    What it raises is logged, what it delays delays nobody; when it falls too far behind,
    events are dropped and counted.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> seen = []
        >>> with Orchestrator(observers=[seen.append]) as orchestrator:
        ...     result = orchestrator.run(flow)
        >>> seen[0].kind.value, seen[-1].kind.value
        ('run.started', 'run.completed')
    """

    def __call__(self, event: Event, /) -> None:
        """Take one event."""

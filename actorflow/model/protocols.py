"""The four sockets: what an executor, a state manager, an observer and a clock must promise.

The docstrings are the contract, and `actorflow.testing.contracts` has it as tests. What a state
manager may do beyond `StateManager` is declared in `powers`, one Protocol for each power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.records import RunPage, RunRecord, RunSnapshot

    Report: TypeAlias = Callable[[Attempt, Any, BaseException | None], None]
    Commit: TypeAlias = Callable[[BaseException | None], None]

__all__ = [
    "Clock",
    "Executor",
    "Observer",
    "StateManager",
]


class Clock(Protocol):
    """Time, handed in.

    `now` never goes backwards and measures every deadline; `wall` converts such a moment to the
    time of day. Only clocks ask the machine for the time.
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
       ended already. A stopped attempt is reported like any other. If `attempt.cancelled` is
       true before its body begins, the function is not called, and the error is a
       `StepCancelled`.
    5. `abandon` gives up a body that has not ended: the attempt is never reported afterwards. It
       may be called for an attempt that has ended already, and then does nothing.
    6. Nothing of an attempt that has ended is kept, neither its arguments nor its output.

    `actorflow.testing.contracts.ExecutorContract` has this as tests.

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
       from any thread; `actorflow.state.RunFold` is that fold. Times are kept to the microsecond.
    4. `create` and `record` are called on event loops, and do not wait for anything. Like all
       methods, they are plain methods: a coroutine function is refused. If one of the two returns
       neither True nor False, the run fails with `InvalidAnswer`.

    A run whose record has an idempotency key is not remembered when there is an earlier one of
    the same workflow with the same key: then `create` raises `AlreadyStarted`, or `done` gets it.
    Its `terms` say when such a key is free again.

    A state manager may do more. Each power is a Protocol of its own: `ChecksOutputs`,
    `ReadsSlowly`, `LeasesRuns`, `QueuesRuns`, `CancelsRemotely`, `DefersRuns`, `FollowsRuns`,
    `MeasuresSteps`, `KeepsAttributes`, `KeepsMessages`, `CountsRuns` and `KeepsSchedules`. An
    `Orchestrator` looks for their members once, when it is made. A power that has only some of its
    members is refused then; a member that is None counts as absent.

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
        6
    """

    def create(self, record: RunRecord, done: Commit) -> bool:
        """Remember an accepted run, which has not started yet."""

    def claim(self, run_id: str) -> RunSnapshot:
        """Take up a run that is not in progress here, and return it as it stands.

        That is a run that will be resumed or cancelled. Until it ends or is handed back, it belongs
        to this state manager, and is kept.

        A state manager whose memory others share raises `LeaseHeld` for a run that is in progress
        elsewhere, as long as its owner is alive. One that has its memory to itself never does.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
            LeaseHeld: When another state manager over the same memory has the run in progress.
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

        At most `limit` of them; neither number is negative.

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
        """Return a page of the runs that match every filter, the newest first, ties by run id.

        Each `RunSnapshot` in the page is a summary: its `steps` is empty. The page's `total` counts
        all runs that match, whatever `limit` and `offset` are.

        A state manager may take more of the arguments of `RunListing`, each of which is passed only
        when it is given, by name. A listing with one that `list` has no parameter for is refused
        with a `DefinitionError` that names the state manager. `RunQuery` checks these arguments.
        """

    def close(self) -> None:
        """Release what is held; nothing is recorded afterwards."""


class Observer(Protocol):
    """A callable that watches runs.

    Called with every event of every run, in order, on a thread of the orchestrator's own.
    What it raises is logged, and its delays delay nothing else; when it falls too far behind,
    events are dropped and counted.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> seen = []
        >>> with Orchestrator(observers=[seen.append]) as orchestrator:
        ...     result = orchestrator.run(flow)
        >>> seen[0].kind.value, seen[-1].kind.value
        ('run.accepted', 'run.completed')
    """

    def __call__(self, event: Event, /) -> None:
        """Take one event."""

"""The four sockets: what an executor, a state manager, an observer and a clock must promise.

The docstrings are the contract, and `actorflow.testing.contracts` has it as tests. What a state
manager may do beyond `StateManager` is declared here too, one Protocol for each power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Unpack

    from actorflow.model.attributes import Attribute
    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.filters import RunFilters
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.results import RunPage, RunRecord, RunSnapshot
    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState

    Report: TypeAlias = Callable[[Attempt, Any, BaseException | None], None]
    Commit: TypeAlias = Callable[[BaseException | None], None]
    Cancel: TypeAlias = Callable[[str, str, bool], None]
    Changed: TypeAlias = Callable[[RunStatus | None], None]

__all__ = [
    "CancelsRemotely",
    "ChecksOutputs",
    "Clock",
    "CountsRuns",
    "DefersRuns",
    "Due",
    "Executor",
    "FollowsRuns",
    "KeepsAttributes",
    "KeepsSchedules",
    "LeasesRuns",
    "MeasuresSteps",
    "Observer",
    "QueuesRuns",
    "ReadsSlowly",
    "StateManager",
    "Taken",
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
    `MeasuresSteps`, `KeepsAttributes`, `CountsRuns` and `KeepsSchedules`. An `Orchestrator` looks
    for their members once, when it is made. A power that has only some of its members is refused
    then; a member that is None counts as absent.

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


# ── What a state manager may do beyond that ──────────────────────────────────────────────────────


class ReadsSlowly(Protocol):
    """A state manager whose methods wait for something, such as a database.

    Without this power, reading is taken to be as fast as memory, and happens on event loops.
    """

    @property
    def slow_to_read(self) -> bool:
        """Whether reading and `claim` may wait, and a run is recorded some time after `create`.

        When true, streams of events are read on other threads than the event loop, `close` is
        called on another one too, and methods that would block the loop, such as
        `Orchestrator.start`, raise `WrongLoop` there. It is read once, when an orchestrator is
        made.
        """


class ChecksOutputs(Protocol):
    """A state manager that cannot record every value."""

    def admit(self, run_id: str, step_id: str, output: Any) -> None:
        """Raise when a step's output cannot be recorded.

        It is called from any thread with each output, before anything uses it. Whatever it raises
        is the error of the attempt. An output that it lets pass must be accepted by `record`.
        """


class LeasesRuns(Protocol):
    """A state manager in which a run has an owner, and which can give a run up.

    Its `claim` raises `LeaseHeld` while another owner has the run in progress. A shutdown leaves
    the runs that have not ended, and hands them back.

    A snapshot's `takeovers` says how often a run in progress was claimed from an owner that had
    died after recording something of it. Without that count, a run is taken over for ever.
    """

    def hand_back(self, run_id: str, parked: str | None, /) -> None:
        """Let others have a run that was claimed or taken and does not go on here.

        It returns at once, and does nothing for a run that belongs to another owner. Events
        that were passed to `record` before are recorded first.

        Args:
            run_id: The run.
            parked: The reason that the run has to wait, for people to read; None when it waits
                for nothing but its turn.
        """


class Taken(NamedTuple):
    """The result of a search for unowned runs in progress."""

    taken: Sequence[str]
    """The ids of the runs that have been claimed, the most urgent first."""
    parked: Sequence[str]
    """The ids of the runs that were parked by this search, because no known workflow matches.

    Their snapshots say why in `parked`, until the run is claimed or taken.
    """
    next_due: float | None = None
    """Seconds until the next deferred run is due; None when there is none, or none is known."""


class QueuesRuns(LeasesRuns, Protocol):
    """A state manager with a queue of unowned runs: `Orchestrator.enqueue` and `recover=True`.

    These two methods and `LeasesRuns.hand_back` belong together: what is enqueued must be there
    to be taken, and what is taken may have to be handed back.
    """

    def enqueue(self, record: RunRecord, done: Commit, /) -> bool:
        """Do what `StateManager.create` does, for a run that has no owner yet."""

    def take(
        self, known: Collection[tuple[str, str]], besides: Collection[str], limit: int, /
    ) -> Taken:
        """Claim runs in progress that have no owner, or whose owner is gone, or that are one's own.

        Of several state managers that take at once, one gets the run. It may wait: it is called on
        a thread of the orchestrator's own.

        Args:
            known: The workflows that can be run here, by id and version; runs of others are parked.
            besides: The ids of runs that must not be taken, among them those that go on here.
            limit: The most runs to take; the most urgent are taken first.
        """


class Due(NamedTuple):
    """The deferred runs of one state manager that may start."""

    run_ids: Sequence[str]
    """The ids of the runs whose time and turn have come."""
    next_in: float | None = None
    """Seconds until the next one is due; None when there is none."""
    yielding: Mapping[str, str] = NOTHING
    """The runs in progress here that must be cancelled for the sake of others, and why; by id."""


class DefersRuns(Protocol):
    """A state manager that takes runs with a `start_at`: for later, or with a `key`.

    `create` and `enqueue` decide on such a run together with the runs that hold its key, whoever
    owns these: one of them may be in progress and one more may wait. They raise `KeyInUse` or
    `AlreadyStarted`, or `done` gets it, and cancel a run that is replaced. `take` leaves out runs
    whose time or turn has not come.
    """

    def due(self, now: float, /) -> Due:
        """Give the turn to deferred runs that belong to this state manager, and return them.

        It may wait. A run may be returned again until its first event is recorded.

        Args:
            now: The time in seconds since the epoch, for a state manager that has no clock.
        """

    def reschedule(self, run_id: str, start_at: float, now: float, /) -> None:
        """Move the start of a pending run that waits for its time or its turn, whoever owns it.

        Raises:
            RunNotFound: When there is no such run.
            NotRescheduled: When it does not wait.
        """

    def occupy(self, run_id: str, /) -> None:
        """Give a claimed run the turn of its key, if it has one, whatever its time is.

        Raises:
            RunNotFound: When there is no such run.
            KeyInUse: When another live run has it.
        """


class MeasuresSteps(Protocol):
    """A state manager that knows how long steps take.

    Workflows with `order="critical_path"` use it for steps without an expected duration.
    """

    def durations(self, workflow_id: str, /) -> Mapping[str, float]:
        """Return the median seconds of each step, by step id, over the last 20 completed runs.

        Steps that did not complete are left out. For a workflow without such runs the mapping is
        empty. It may wait, and is called on another thread than an event loop if `slow_to_read` is
        true.
        """


class ReadsRecords(Protocol):
    """A state manager that reads many runs in a few queries.

    Without this power, an orchestrator that takes over many runs reads them one by one.
    """

    def records(
        self, run_ids: Collection[str], /
    ) -> Mapping[str, tuple[RunSnapshot, Sequence[Event]]]:
        """Return runs with all of their events, by run id, as `snapshot` and `events` would.

        Runs that do not exist or cannot be read are left out; asking for one of them with
        `snapshot` tells why. It may wait: it is called on a thread of the orchestrator's own.
        """


class KeepsAttributes(Protocol):
    """A state manager that keeps the attributes of runs, and can change them.

    It keeps `RunRecord.attributes`, `snapshot` and `list` return them, and `list` finds runs by
    them. Without this power, a start with attributes is refused.
    """

    def set_attributes(self, run_id: str, attributes: Mapping[str, Attribute | None], /) -> None:
        """Change attributes of a run, in progress anywhere or ended, and leave its others.

        It may wait: it returns when the change is recorded. Changes of several callers are made one
        after the other, each as a whole.

        Args:
            run_id: The run.
            attributes: The new values by name; None removes an attribute.

        Raises:
            DefinitionError: When a name or a value is invalid, or there are then too many.
            RunNotFound: When there is no such run.
        """


class CountsRuns(Protocol):
    """A state manager that counts runs in groups: `Orchestrator.count`."""

    def count_runs(
        self, by: str | Sequence[str], /, **filters: Unpack[RunFilters]
    ) -> Mapping[Any, int]:
        """Return the numbers of runs that match every filter, by what they have in common.

        Args:
            by: `"status"`, `"workflow_id"`, `"workflow_version"`, or a sequence of these.
            filters: As those of `list`.

        Returns:
            A number for each group that has runs, by its value; by a tuple for a sequence.
        """


class CancelsRemotely(Protocol):
    """A state manager that keeps requests to cancel a run until its owner hears of them.

    Without this power, a run that another orchestrator runs cannot be cancelled from here, and a
    run without an owner cannot be told to undo what it has done.
    """

    def listen(self, cancel: Cancel, /) -> Callable[[], None]:
        """Have `cancel(run_id, reason, compensate)` called for requests, and return what ends that.

        It is called when an orchestrator starts. `cancel` may be called from any thread, for runs
        in progress that belong to this state manager, and again and again for the same request;
        it returns at once.

        Raises:
            DefinitionError: When it listens for another orchestrator already, and cannot for two.
        """

    def ask_to_cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Keep a request until the run has ended; its owner hears of it, the present or the next.

        It may wait. For a run that has ended it does nothing.

        Args:
            run_id: The run.
            reason: Why; it is in the run's result.
            compensate: Whether the steps that have completed are then undone.

        Raises:
            RunNotFound: When there is no such run.
        """


class KeepsSchedules(Protocol):
    """A state manager that keeps schedules: `Orchestrator.schedule`.

    Several orchestrators may decide about one schedule at once. Each reads it, decides, and writes
    the new state with `advance_schedule`; only the first of them succeeds, and the others read
    again. These methods may wait, and are called from any thread but an event loop's if
    `slow_to_read` is true.
    """

    def put_schedule(self, definition: ScheduleDefinition, now: float, /) -> RecordedSchedule:
        """Keep a schedule, and return it as it now stands.

        A new schedule has decided everything up to `now`, in seconds since the epoch. One that
        exists under this name keeps its state, and gets this definition; if that is equal to the
        one it has, nothing is written.

        Raises:
            StoreError: When the inputs cannot be kept.
        """

    def get_schedule(self, name: str, /) -> RecordedSchedule:
        """Return a schedule.

        Raises:
            ScheduleNotFound: When there is none of this name.
        """

    def list_schedules(self) -> Sequence[RecordedSchedule]:
        """Return all schedules, by name."""

    def advance_schedule(self, name: str, revision: int, state: ScheduleState, /) -> bool:
        """Write a new state, if the schedule still has this revision; return whether it had.

        It then has another revision, which no schedule of this name has had before.
        """

    def delete_schedule(self, name: str, /) -> None:
        """Delete a schedule. Its runs stay.

        Raises:
            ScheduleNotFound: When there is none of this name.
        """


class FollowsRuns(Protocol):
    """A state manager that tells when the record of a run has changed, whichever process wrote it.

    With this power, the end and the events of a run that another orchestrator runs, or that no
    orchestrator runs yet, can be waited for. Without it, such a wait raises `RunUnattended`.
    """

    def follow(self, run_id: str, changed: Changed, /) -> Callable[[], None]:
        """Have `changed` called when a run's record has changed, and return what ends that.

        It returns at once. `changed` is first called soon afterwards, with the run as it stands by
        then, and again after each change or several, until the returned function has been called or
        the state manager has been closed. A call may come late, but none is left out for good:
        after the last change there is a call. `changed` is called from any thread, also without a
        change, and even once more while following ends. It returns at once and does not raise.

        Args:
            run_id: The run. There need not be one.
            changed: Takes the recorded status of the run; None when there is no such run, or none
                that is recorded yet.
        """


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

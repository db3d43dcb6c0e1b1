"""What a state manager may do beyond `StateManager`, one Protocol for each power.

An orchestrator looks for their members once, when it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Unpack

    from actorflow.model.attributes import Attribute
    from actorflow.model.events import Event
    from actorflow.model.filters import RunFilters
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.pausing import Pause
    from actorflow.model.protocols import Commit
    from actorflow.model.records import RunRecord, RunSnapshot
    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState

    Cancel: TypeAlias = Callable[[str, str, bool], None]
    ChangePause: TypeAlias = Callable[[str, Pause | None], None]
    Changed: TypeAlias = Callable[[RunStatus | None], None]

__all__ = [
    "CancelsRemotely",
    "ChecksOutputs",
    "CountsRuns",
    "DefersRuns",
    "Due",
    "FollowsRuns",
    "KeepsAttributes",
    "KeepsSchedules",
    "LeasesRuns",
    "MeasuresSteps",
    "PausesRuns",
    "QueuesRuns",
    "ReadsRecords",
    "ReadsSlowly",
    "Taken",
]


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


class PausesRuns(Protocol):
    """A state manager that keeps pauses of runs: `Run.pause`.

    A pause is kept from the moment that `pause_run` returns, whichever process runs the run then or
    later, until `unpause_run` or the run's end. `snapshot` and `list` show it in `paused`,
    `paused_since` and `frozen`; an event `run.unpaused` whose data says `cancelled` ends it as
    well. The end of a pause that freezes moves `deadline_at` later by its length.

    `QueuesRuns.take` leaves out paused runs, but for those that are asked to be cancelled, and
    those whose `deadline_at` has passed although their clocks go on.
    """

    def pause_run(self, run_id: str, pause: Pause, at: float, /) -> None:
        """Keep a pause, and let the run's owner hear of it; a paused run keeps its first pause.

        It may wait: it returns when the pause is recorded.

        Args:
            run_id: The run.
            pause: The pause.
            at: The time in seconds since the epoch, for a state manager that has no clock.

        Raises:
            RunNotFound: When there is no such run.
            RunEnded: When it has ended.
        """

    def unpause_run(self, run_id: str, /) -> None:
        """End the pause of a run, and let its owner hear of it; otherwise as `pause_run`."""

    def listen_for_pauses(self, change: ChangePause, /) -> Callable[[], None]:
        """Have `change(run_id, pause)` called for pauses, and return what ends that.

        `change` may be called from any thread, with None for the end of a pause, for runs in
        progress that belong to this state manager and whose events do not say so yet. It returns at
        once. A state manager that no other process shares need not call it.
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
        exists under this name gets this definition, and the state that `RecordedSchedule.redefined`
        returns; if the definition is equal to the one it has, nothing is written.

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

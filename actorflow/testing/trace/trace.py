"""The trace of a simulation: what happened, from the first message to the last.

A trace is built from the plain tuples that the simulation has kept. Parts that most readers never
need (attempts as objects, labels of messages, the hash, the charts) are made on first use.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from actorflow.testing.errors import NotEnded
from actorflow.testing.laws.evidence.lives import Lives
from actorflow.testing.simulation.account import FIRST_RUN, UNDO
from actorflow.testing.simulation.tape import Tape
from actorflow.testing.trace import charts, labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.results import RunResult
    from actorflow.systems.delivery import Envelope
    from actorflow.systems.simulated.mischief import Fault
    from actorflow.testing.laws.evidence.sharing import Sharing
    from actorflow.testing.simulation.account import Outcome, RunTrace
    from actorflow.testing.simulation.mail import MessageTrace, ReceiptTrace
    from actorflow.testing.simulation.settings import Settings
    from actorflow.testing.simulation.tape import Choice

__all__ = [
    "AttemptTrace",
    "DeliveryTrace",
    "FaultTrace",
    "Idle",
    "Leftovers",
    "Mutation",
    "Trace",
    "WaitTrace",
]


class AttemptTrace(NamedTuple):
    """One attempt, by its executor's own account. Times are virtual seconds."""

    run_id: str
    step_id: str
    attempt: int
    """Counted from 1."""
    async_: bool
    started_at: float
    finished_at: float | None
    """When it returned, raised, stopped or was abandoned; None if none of these happened."""
    outcome: Outcome
    arguments: Mapping[str, Any]
    """The arguments for its function, by name."""
    output: Any
    error: BaseException | None
    begun: int
    """Number of messages delivered when it began."""
    over: int | None
    """Number of messages delivered when it returned, raised, stopped or was abandoned."""


class WaitTrace(NamedTuple):
    """One wait of an attempt, by its executor's own account. Times are virtual seconds."""

    run_id: str
    step_id: str
    attempt: int
    compensates: bool
    """Whether it is an attempt of the step's compensator."""
    async_: bool
    began_at: float
    woken_at: float | None
    """When the wait was over, and the attempt competed to continue; None if it never did."""
    until_at: float | None
    """When the attempt continued or was over; None if neither happened."""
    begun: int
    """Number of messages delivered when it began."""
    woken: int | None
    """Number of messages delivered when the wait was over."""
    stopped: int | None
    """Number of messages delivered when the body was asked to stop; None if it was not."""
    until: int | None
    """Number of messages delivered when the attempt continued or was over."""
    continued: bool
    """Whether the attempt continued."""


class DeliveryTrace(NamedTuple):
    """One delivered message."""

    time: float
    sender: str
    receiver: str
    message: str


class FaultTrace(NamedTuple):
    """One fault that the schedule chose."""

    delivery: int
    """Number of messages delivered before."""
    time: float
    fault: Fault
    sender: str
    receiver: str
    message: str


class Idle(NamedTuple):
    """The state at a moment when nothing could be delivered."""

    time: float
    events: int
    """Number of recorded events."""
    deliveries: int
    """Number of delivered messages."""
    leases_held: int
    """Number of workers held by attempts, by the supervisor's account."""
    leases_free: int
    """Number of free workers, by the supervisor's account."""
    in_flight: int
    """Number of async attempts in flight, by the executors' account, with those that wait."""
    writes: int
    """Number of writes in progress, whose consequences have not happened yet."""


class Mutation(NamedTuple):
    """An input or an output that a step's own function has changed."""

    run_id: str
    step_id: str
    attempt: int
    name: str
    """The run input or the step that the value came from."""


@attrs.frozen(kw_only=True)
class Leftovers:
    """What was left at the end."""

    actors: int
    """Number of actors, without the supervisor."""
    timers: int
    messages: int
    deadlines: int
    runs: int
    """Number of runs that the supervisor still knew."""
    leases: int
    """Number of workers that were held."""
    tasks: int
    """Number of tasks of real coroutines."""

    @property
    def nothing(self) -> bool:
        """Whether everything is as it was before the first run."""
        return not (
            self.actors
            or self.timers
            or self.messages
            or self.deadlines
            or self.runs
            or self.leases
            or self.tasks
        )


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Trace:
    """One schedule, from start to end. Times are virtual seconds from 0.

    Two traces with equal hashes are the same, message by message and event by event.
    """

    settings: Settings
    runs: Mapping[str, RunTrace]
    """The runs as they were started, by run id, in order of their starts."""
    results: Mapping[str, RunResult]
    """The results of the runs that have ended, by run id, in order of their ends."""
    events: Sequence[Event]
    """All events of all runs, in the order of recording."""
    torn: frozenset[str]
    """The ids of the runs whose record ends early because a write failed."""
    tears: Sequence[tuple[int, str]]
    """For each failed write: the number of messages delivered by then, and the run id."""
    marks: Sequence[int]
    """For each event, the number of messages delivered when it was recorded; the last of them
    caused it."""
    late: Sequence[tuple[int, int]]
    """For each event recorded later than requested: its index, and the number of messages delivered
    when it was requested."""
    shown: Sequence[tuple[int, Sequence[Event]]]
    """What watchers were shown, in order: the number of events recorded by then, and the events
    shown."""
    handed: Sequence[tuple[int, int, str]]
    """For each result handed out: the number of recorded events, the number of delivered messages,
    and the run id."""
    choices: Sequence[Choice]
    """The choices, in order."""
    max_in_flight: int
    """The largest number of async attempts in flight at once, by the executors' account, without
    those that waited."""
    now: float
    """The moment at which the trace was taken."""
    leftovers: Leftovers
    quiescent: bool
    """Whether it ended because nothing was left to happen, not because a bound was reached."""
    endless: bool
    """Whether things happened until a bound was reached."""
    changes: Sequence[tuple[str, str, int, str]]
    """Forbidden changes of values, as plain tuples; see `mutations`."""
    defects: Sequence[str]
    """Errors in actorflow itself, one line each."""
    rows: Sequence[tuple[Any, ...]]
    """The attempts as plain tuples; see `attempts`."""
    given: Sequence[Attempt]
    """The attempts as the executors received them, in the same order."""
    undoings: Sequence[tuple[Any, ...]]
    """The attempts of compensators as plain tuples; see `compensations`."""
    pauses: Sequence[tuple[Any, ...]]
    """The waits of attempts as plain tuples; see `waits`."""
    lulls: Sequence[tuple[Any, ...]]
    """The state at each moment when nothing could be delivered; see `idle`."""
    envelopes: Sequence[tuple[float, Envelope]]
    """The delivered messages themselves; see `deliveries`."""
    crashes: Sequence[tuple[int, float]]
    """The crashes of the whole orchestrator, and its shutdowns that left its runs: the number of
    deliveries before each, and the moment."""
    struck: Sequence[tuple[int, float, Fault, Envelope]]
    """The messages struck by faults, themselves; see `faults`."""
    handovers: Sequence[int] = ()
    """The indexes of the crashes that are shutdowns instead."""
    left: Sequence[tuple[int, int, str]] = ()
    """For each run that was left: the number of recorded events, the number of delivered messages,
    and the run id."""
    evicted: Sequence[tuple[int, str]] = ()
    """For each run that was left because it was evicted: the number of delivered messages, and the
    run id."""
    messages: Sequence[MessageTrace] = ()
    """The messages that were sent to runs, in order."""
    receipts: Sequence[ReceiptTrace] = ()
    """What bodies got that waited for a message, in order."""

    @property
    def parts(self) -> Sequence[Trace]:
        """The traces of the processes of a cluster; empty for one orchestrator after another."""
        return ()

    @property
    def sharing(self) -> Sharing | None:
        """The evidence about several orchestrators; None if there was one after another."""
        return None

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    @property
    def result(self) -> RunResult:
        """The result of the first run.

        Raises:
            NotEnded: When it has not ended.
        """
        return self.result_of(next(iter(self.runs), FIRST_RUN))

    def result_of(self, run_id: str) -> RunResult:
        """Return the result of a run.

        Raises:
            NotEnded: When it has not ended.
        """
        if run_id not in self.results:
            raise NotEnded(run_id, self._why_not(run_id))
        return self.results[run_id]

    def _why_not(self, run_id: str) -> str:
        if run_id not in self.runs:
            return "it was never started. Start it before taking the trace."
        named = ", ".join(
            (*_hanging(run_id, self.attempts), *_hanging(run_id, self.compensations, UNDO))
        )
        if named and self.leftovers.tasks:
            return (
                f"{named} never ends: a coroutine loops forever, or waits for something that a "
                "simulation does not have, such as a thread. Give it a timeout, or pass it a fake."
            )
        if named:
            return f"{named} never ends. Give it a timeout, or a script in which it ends."
        return "nothing was left that could end it, or a bound was reached. See .chart()."

    @property
    def duration(self) -> float:
        """Virtual seconds until the last event."""
        return self.events[-1].time if self.events else 0.0

    def events_of(self, run_id: str) -> list[Event]:
        """Return the events of one run."""
        return [event for event in self.events if event.run_id == run_id]

    @functools.cached_property
    def attempts(self) -> Sequence[AttemptTrace]:
        """All attempts of steps that reached an executor, in the order of their starts."""
        return tuple(AttemptTrace._make(row) for row in self.rows)

    @functools.cached_property
    def compensations(self) -> Sequence[AttemptTrace]:
        """All attempts of compensators, numbered separately, in the order of their starts."""
        return tuple(AttemptTrace._make(row) for row in self.undoings)

    @functools.cached_property
    def waits(self) -> Sequence[WaitTrace]:
        """All waits of attempts, in the order in which they began."""
        return tuple(map(WaitTrace._make, self.pauses))

    @functools.cached_property
    def idle(self) -> Sequence[Idle]:
        """The state at each moment when nothing could be delivered, in order."""
        return tuple(map(Idle._make, self.lulls))

    @functools.cached_property
    def mutations(self) -> Sequence[Mutation]:
        """Forbidden changes of values, in the order of detection."""
        return tuple(map(Mutation._make, self.changes))

    @functools.cached_property
    def lives(self) -> Lives:
        """The trace arranged by run and step, for the laws."""
        return Lives(self)

    # ── The schedule ─────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def tape(self) -> Tape:
        """The choices, as a tape that reproduces this trace."""
        return Tape.of(self.choices)

    @functools.cached_property
    def names(self) -> labels.Names:
        """The names of the actors."""
        return labels.Names(
            [*(envelope for _, envelope in self.envelopes), *(row[3] for row in self.struck)]
        )

    @functools.cached_property
    def deliveries(self) -> Sequence[DeliveryTrace]:
        """The delivered messages, in order."""
        return tuple(
            DeliveryTrace(time, *self.names.of(envelope)) for time, envelope in self.envelopes
        )

    @functools.cached_property
    def faults(self) -> Sequence[FaultTrace]:
        """The faults that happened, in order."""
        return tuple(
            FaultTrace(count, time, fault, *self.names.of(envelope))
            for count, time, fault, envelope in self.struck
        )

    @functools.cached_property
    def hash(self) -> str:
        """A digest of the whole schedule, equal for equal schedules in every process."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()

    def lines(self) -> Iterator[str]:
        """Yield the lines that the digest is made of."""
        for time, sender, receiver, message in self.deliveries:
            yield f"{time} {sender} {receiver} {message}"
        for part in (self.faults, self.crashes, self.attempts, self.compensations, self.waits):
            yield from map(labels.plain, part)
        yield from map(labels.plain, (*self.messages, *self.receipts))
        for number, kind, run_id, step_id, attempt, time, data, _ in self.events:
            # Stacks of hanging threads and coroutines contain file paths.
            known = {name: value for name, value in data.items() if name != "stack"}
            said = labels.plain(known) if known else ""
            yield f"{number} {kind.value} {run_id} {step_id} {attempt} {time} {said}"

    # ── Charts ───────────────────────────────────────────────────────────────────────────────

    def chart(self) -> str:
        """Return the message-sequence chart as text: the messages in order, with their times."""
        return charts.draw_text(self)

    def mermaid(self) -> str:
        """Return the chart as the source of a Mermaid sequence diagram."""
        return charts.draw_mermaid(self)

    def __repr__(self) -> str:
        ended = ", ".join(f"{id_} {one.status.value}" for id_, one in self.results.items())
        return f"<Trace of {len(self.envelopes)} deliveries: {ended or 'no run has ended'}>"


def _hanging(run_id: str, attempts: Sequence[AttemptTrace], undo: str = "") -> Iterator[str]:
    for one in attempts:
        if one.run_id == run_id and one.finished_at is None:
            yield f"{undo}{one.step_id}#{one.attempt}"

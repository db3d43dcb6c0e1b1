"""What happened in a simulation, from its first message to its last.

A trace is made of the bare tuples that the simulation has kept. What most readers never look
at (attempts as objects, labels of messages, the hash, the charts) is made when it is asked for.
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
    from actorflow.testing.simulation.account import Outcome, RunTrace
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
]


class AttemptTrace(NamedTuple):
    """One attempt, by its executor's own account; times in virtual seconds."""

    run_id: str
    step_id: str
    attempt: int
    """Counted from 1."""
    async_: bool
    started_at: float
    finished_at: float | None
    """When it returned, raised, stopped or was abandoned; None if it never was."""
    outcome: Outcome
    arguments: Mapping[str, Any]
    """What its function was to be called with, by name."""
    output: Any
    error: BaseException | None
    begun: int
    """How many messages had been delivered when it began."""
    over: int | None
    """How many had been when it returned, raised, stopped or was abandoned."""


class DeliveryTrace(NamedTuple):
    """One message that was delivered."""

    time: float
    sender: str
    receiver: str
    message: str


class FaultTrace(NamedTuple):
    """One thing that went wrong because the schedule says so."""

    delivery: int
    """How many messages had been delivered before."""
    time: float
    fault: Fault
    sender: str
    receiver: str
    message: str


class Idle(NamedTuple):
    """How things stood at a moment when nothing could be delivered."""

    time: float
    events: int
    """How many events had been recorded."""
    deliveries: int
    """How many messages had been delivered."""
    leases_held: int
    """By the supervisor's account."""
    leases_free: int
    in_flight: int
    """How many async attempts were in flight, by the executors' account."""
    writes: int
    """How many writes were under way: what follows from them had not been done yet."""


class Mutation(NamedTuple):
    """An input or an output that was changed while a step's own function had it."""

    run_id: str
    step_id: str
    attempt: int
    name: str
    """The run input or the step that it came from."""


@attrs.frozen(kw_only=True)
class Leftovers:
    """What was still there at the end."""

    actors: int
    """Without the supervisor."""
    timers: int
    messages: int
    deadlines: int
    runs: int
    """How many the supervisor still knew."""
    leases: int
    """How many were held."""
    tasks: int
    """Of coroutines that were run for real."""

    @property
    def nothing(self) -> bool:
        """Whether all is as it was before the first run."""
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
    """One schedule from its beginning to its end. Times are virtual seconds from nought.

    Two traces of equal hash are the same, message by message and event by event.
    """

    settings: Settings
    runs: Mapping[str, RunTrace]
    """The runs as they were started, by run id, in that order."""
    results: Mapping[str, RunResult]
    """How the runs that have ended did so, by run id, in that order."""
    events: Sequence[Event]
    """All events of all runs, in the order in which they were recorded."""
    torn: frozenset[str]
    """The ids of the runs whose record ends early, because a write of it has failed."""
    tears: Sequence[tuple[int, str]]
    """Whenever a write has failed: how many messages had been delivered, and whose it was."""
    marks: Sequence[int]
    """For each event, how many messages had been delivered when it was recorded: the last of
    them is the one that it follows from."""
    late: Sequence[tuple[int, int]]
    """For each event that was recorded later than that was asked for: its place, and how many
    messages had been delivered when it was asked for."""
    shown: Sequence[tuple[int, Sequence[Event]]]
    """What watchers were shown, in that order: how many events were recorded then, and which
    were shown."""
    handed: Sequence[tuple[int, int, str]]
    """Whenever a result was handed out: how many events were recorded, how many messages had been
    delivered, and whose it was."""
    choices: Sequence[Choice]
    """What was chosen, in order."""
    max_in_flight: int
    """The most async attempts that were in flight at once, by the executors' account."""
    now: float
    """When the trace was taken."""
    leftovers: Leftovers
    quiescent: bool
    """Whether it ended because nothing was left to happen, rather than because of a bound."""
    endless: bool
    """Whether things happened until a bound was reached."""
    changes: Sequence[tuple[str, str, int, str]]
    """What was changed that must not be, as plain tuples; see `mutations`."""
    defects: Sequence[str]
    """What went wrong in actorflow itself, a line each."""
    rows: Sequence[tuple[Any, ...]]
    """The attempts as plain tuples; see `attempts`."""
    given: Sequence[Attempt]
    """The attempts as the executors were given them, in the same order."""
    undoings: Sequence[tuple[Any, ...]]
    """The attempts of compensators as plain tuples; see `compensations`."""
    lulls: Sequence[tuple[Any, ...]]
    """How things stood whenever nothing could be delivered; see `idle`."""
    envelopes: Sequence[tuple[float, Envelope]]
    """The messages that were delivered, as they were; see `deliveries`."""
    crashes: Sequence[tuple[int, float]]
    """When the whole orchestrator has crashed: after how many deliveries, and at what moment."""
    struck: Sequence[tuple[int, float, Fault, Envelope]]
    """The messages that faults have struck, as they were; see `faults`."""

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    @property
    def result(self) -> RunResult:
        """How the first run ended.

        Raises:
            NotEnded: When it has not.
        """
        return self.result_of(next(iter(self.runs), FIRST_RUN))

    def result_of(self, run_id: str) -> RunResult:
        """Return how a run ended.

        Raises:
            NotEnded: When it has not.
        """
        if run_id not in self.results:
            raise NotEnded(run_id, self._why_not(run_id))
        return self.results[run_id]

    def _why_not(self, run_id: str) -> str:
        if run_id not in self.runs:
            return "it was never started. Start it before you take the trace."
        named = ", ".join(
            (*_hanging(run_id, self.attempts), *_hanging(run_id, self.compensations, UNDO))
        )
        if named and self.leftovers.tasks:
            return (
                f"{named} never ends: a coroutine goes on and on, or waits for what nothing in a "
                "simulation does, such as a thread. Give it a timeout, or hand it a fake."
            )
        if named:
            return f"{named} never ends. Give it a timeout, or a script in which it ends."
        return "nothing that could end it was left to happen, or a bound was reached. See .chart()."

    @property
    def duration(self) -> float:
        """Virtual seconds until the last event."""
        return self.events[-1].time if self.events else 0.0

    def events_of(self, run_id: str) -> list[Event]:
        """Return the events of one run."""
        return [event for event in self.events if event.run_id == run_id]

    @functools.cached_property
    def attempts(self) -> Sequence[AttemptTrace]:
        """All attempts of steps that an executor was given, in the order of their starts."""
        return tuple(AttemptTrace._make(row) for row in self.rows)

    @functools.cached_property
    def compensations(self) -> Sequence[AttemptTrace]:
        """All attempts of compensators, likewise; their numbers are counted apart."""
        return tuple(AttemptTrace._make(row) for row in self.undoings)

    @functools.cached_property
    def idle(self) -> Sequence[Idle]:
        """How things stood whenever nothing could be delivered, in that order."""
        return tuple(map(Idle._make, self.lulls))

    @functools.cached_property
    def mutations(self) -> Sequence[Mutation]:
        """What was changed that must not be, in the order in which it was noticed."""
        return tuple(map(Mutation._make, self.changes))

    @functools.cached_property
    def lives(self) -> Lives:
        """The same by run and step, put in order for the laws."""
        return Lives(self)

    # ── The schedule ─────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def tape(self) -> Tape:
        """The choices, as a tape that makes this trace again."""
        return Tape.of(self.choices)

    @functools.cached_property
    def names(self) -> labels.Names:
        """What the actors are called."""
        return labels.Names(
            [*(envelope for _, envelope in self.envelopes), *(row[3] for row in self.struck)]
        )

    @functools.cached_property
    def deliveries(self) -> Sequence[DeliveryTrace]:
        """The messages that were delivered, in that order."""
        return tuple(
            DeliveryTrace(time, *self.names.of(envelope)) for time, envelope in self.envelopes
        )

    @functools.cached_property
    def faults(self) -> Sequence[FaultTrace]:
        """What went wrong by choice, in that order."""
        return tuple(
            FaultTrace(count, time, fault, *self.names.of(envelope))
            for count, time, fault, envelope in self.struck
        )

    @functools.cached_property
    def hash(self) -> str:
        """A digest of all that happened, equal for equal schedules in every process."""
        return hashlib.sha256("\n".join(self._lines()).encode()).hexdigest()

    def _lines(self) -> Iterator[str]:
        for time, sender, receiver, message in self.deliveries:
            yield f"{time} {sender} {receiver} {message}"
        for part in (self.faults, self.crashes, self.attempts, self.compensations):
            yield from map(labels.plain, part)
        for number, kind, run_id, step_id, attempt, time, data in self.events:
            # Where a thread or a coroutine hangs is told by the paths of files.
            known = {name: value for name, value in data.items() if name != "stack"}
            said = labels.plain(known) if known else ""
            yield f"{number} {kind.value} {run_id} {step_id} {attempt} {time} {said}"

    # ── Charts ───────────────────────────────────────────────────────────────────────────────

    def chart(self) -> str:
        """Return who said what to whom, and when: a message-sequence chart, as text."""
        return charts.draw_text(self)

    def mermaid(self) -> str:
        """Return the same chart as the source of a Mermaid sequence diagram."""
        return charts.draw_mermaid(self)

    def __repr__(self) -> str:
        ended = ", ".join(f"{id_} {one.status.value}" for id_, one in self.results.items())
        return f"<Trace of {len(self.envelopes)} deliveries: {ended or 'no run has ended'}>"


def _hanging(run_id: str, attempts: Sequence[AttemptTrace], undo: str = "") -> Iterator[str]:
    for one in attempts:
        if one.run_id == run_id and one.finished_at is None:
            yield f"{undo}{one.step_id}#{one.attempt}"

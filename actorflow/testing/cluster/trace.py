"""What was observed in several orchestrators over one store."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from actorflow.errors.running import IllegalMove
from actorflow.model.results import RunResult
from actorflow.support.read_only import ReadOnly
from actorflow.testing.laws.evidence.life import RUN_ENDS
from actorflow.testing.laws.evidence.sharing import Sharing
from actorflow.testing.trace import labels
from actorflow.testing.trace.trace import Leftovers, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.model.records import RunRecord
    from actorflow.model.schedules import RecordedSchedule, ScheduleState
    from actorflow.testing.cluster.cluster import Cluster
    from actorflow.testing.cluster.mail import News
    from actorflow.testing.cluster.messages import Slept
    from actorflow.testing.cluster.pauses import Steered
    from actorflow.testing.cluster.store import Merged, Owned, SharedStore, Written
    from actorflow.testing.simulation.account import RunTrace
    from actorflow.testing.simulation.tape import Choices

__all__ = ["Absence", "ClusterTrace", "ProcessTrace", "cluster_trace_of", "results_of"]


class Absence(NamedTuple):
    """A time during which an orchestrator could not do all of its work."""

    orchestrator: int
    since: float
    until: float
    why: str
    """"crashed", "left", "down", "halted" or "cut off"."""


@attrs.frozen(eq=False)
class ProcessTrace:
    """One process of a cluster, from its start to its end."""

    name: str
    """The number of the orchestrator and of its process, such as "0.2"; also the owner's id."""
    orchestrator: int
    end: str
    """"crashed", "left", or empty if it was there to the end."""
    ended_at: float
    """When it ended; infinite for one that was there to the end."""
    trace: Trace
    """What happened in it. The events are those that it recorded."""
    heard: Sequence[tuple[float, str]]
    """When it was told to cancel which run."""
    lost: Sequence[tuple[float, str]]
    """When it gave up which run: it learnt that the run had been taken over, or could not record
    its events.
    """
    said: Sequence[tuple[float, str, Mapping[str, Any]]]
    """What its schedules logged."""
    news: Sequence[News] = ()
    """What it was told of messages and pauses."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ClusterTrace(Trace):
    """One schedule of several orchestrators. Its events are those of the store, whoever wrote them.

    `marks` and `crashes` count the deliveries of all processes together.
    """

    processes: Sequence[ProcessTrace]
    """All processes, in the order of their ends."""
    order: Sequence[tuple[str, int]]
    """For each delivery its process, and its index there."""
    orchestrators: int
    lease: float
    """Seconds for which a lease lasts."""
    recover_every: float
    """Seconds between two searches for unowned runs."""
    accepted: Mapping[str, RunRecord]
    """The accepted runs as recorded, by run id; a merged request has replaced the inputs."""
    owned: Sequence[Owned]
    """The changes of owners, in order."""
    written: Sequence[Written]
    """For each event, who recorded it, and when."""
    renewed: Sequence[tuple[float, str]]
    """When which owner renewed its lease."""
    asked: Sequence[tuple[float, str]]
    """The requests to cancel runs in progress elsewhere: when, and which run."""
    absences: Sequence[Absence]
    store_time: float
    """The time by the clock of the store at the end."""
    clocks_are_right: bool
    """Whether no wall clock was ever set wrong."""
    acknowledged: Sequence[str]
    """The ids of the runs whose start or enqueuing succeeded."""
    merged: Sequence[Merged]
    """The requests that were merged into runs that waited."""
    schedules: Sequence[RecordedSchedule]
    """The schedules as they stand at the end."""
    made: Mapping[str, ScheduleState]
    """How each schedule stood when it was last put."""
    slept: Sequence[Slept]
    """The evictions: when which run was handed back until there is news for it."""
    steered: Sequence[Steered]
    """The pauses that began or ended in the store, in order."""

    @functools.cached_property
    def parts(self) -> Sequence[Trace]:
        """The traces of the processes."""
        return tuple(process.trace for process in self.processes)

    def process(self, name: str) -> ProcessTrace:
        """Return a process by its name."""
        return next(one for one in self.processes if one.name == name)

    @functools.cached_property
    def sharing(self) -> Sharing:
        """The trace arranged for the laws about several orchestrators."""
        return Sharing(self)

    def ended_before(self, run_id: str, events: int) -> bool:
        """Return whether a run had ended when so many events of all runs were recorded."""
        return any(
            event.run_id == run_id and event.kind in RUN_ENDS for event in self.events[:events]
        )

    def lines(self) -> Iterator[str]:
        """Yield the lines that the digest is made of, process by process."""
        for name, place in self.order:
            time, envelope = self.process_of[name].envelopes[place]
            sender, receiver, message = self.process_of[name].names.of(envelope)
            yield f"{time} {name} {sender} {receiver} {message}"
        for process in self.processes:
            yield from process.trace.lines()
        parts = (self.owned, self.written, self.asked, self.absences, self.slept, self.steered)
        for part in (*parts, self.messages):
            yield from map(labels.plain, part)

    @functools.cached_property
    def process_of(self) -> Mapping[str, Trace]:
        """The trace of each process, by its name."""
        return {process.name: process.trace for process in self.processes}

    def chart(self) -> str:
        """Return what happened as text: messages, events, owners and faults, with their times."""
        from actorflow.testing.cluster.chart import draw  # noqa: PLC0415 - drawn seldom

        return draw(self)


def results_of(store: SharedStore) -> dict[str, RunResult]:
    """Return the results of the runs that have ended, except those whose records do not fold."""
    results = {}
    for row in store.rows.values():
        with contextlib.suppress(IllegalMove):  # a law says so
            if row.ended:
                results[row.run_id] = RunResult.of(row.snapshot())
    return results


_NOTHING: Final = Leftovers(actors=0, timers=0, messages=0, deadlines=0, runs=0, leases=0, tasks=0)


def cluster_trace_of(
    cluster: Cluster, choices: Choices, marks: Sequence[int], *, quiescent: bool, endless: bool
) -> ClusterTrace:
    """Return the trace of a cluster whose processes have ended.

    Args:
        cluster: The cluster.
        choices: The choices made.
        marks: For each event, the number of deliveries when it was recorded.
        quiescent: Whether nothing was left to happen.
        endless: Whether things happened until a bound was reached.
    """
    store, processes = cluster.store, tuple(cluster.processes)
    traces = {one.name: one.trace for one in processes}
    runs: dict[str, RunTrace] = {}
    for one in processes:
        for run_id, run in one.trace.runs.items():
            runs.setdefault(run_id, run)
    every = list(traces.values())
    receipts = (it for one in every for it in one.receipts)
    return ClusterTrace(
        settings=cluster.settings,
        runs=ReadOnly({run_id: runs[run_id] for run_id in store.rows if run_id in runs}),
        results=ReadOnly(results_of(store)),
        events=tuple(store.log),
        torn=frozenset(),
        tears=(),
        marks=tuple(marks),
        late=(),
        shown=(),
        handed=(),
        choices=tuple(choices.used),
        max_in_flight=max((one.max_in_flight for one in every), default=0),
        now=cluster.now,
        leftovers=_NOTHING,
        quiescent=quiescent,
        endless=endless,
        changes=tuple(it for one in every for it in one.changes),
        defects=tuple(it for one in every for it in one.defects),
        rows=tuple(it for one in every for it in one.rows),
        given=tuple(it for one in every for it in one.given),
        undoings=tuple(it for one in every for it in one.undoings),
        pauses=tuple(it for one in every for it in one.pauses),
        lulls=(),
        envelopes=tuple(traces[name].envelopes[place] for name, place in cluster.deliveries),
        crashes=(),
        struck=(),
        processes=processes,
        order=tuple(cluster.deliveries),
        orchestrators=len(cluster.members),
        lease=cluster.lease,
        recover_every=cluster.recover_every,
        accepted={row.run_id: row.record for row in store.rows.values()},
        owned=tuple(store.owned),
        written=tuple(store.written),
        renewed=tuple(store.renewed),
        asked=tuple(store.asked),
        absences=tuple(cluster.absences),
        store_time=store.wall(),
        clocks_are_right=cluster.clocks_are_right,
        acknowledged=tuple(cluster.acknowledged),
        merged=tuple(store.merged),
        schedules=tuple(store.schedules.list_schedules()),
        made=dict(cluster.made),
        messages=tuple(store.messages.sent),
        receipts=tuple(sorted(receipts, key=lambda it: it.events)),
        slept=tuple(store.messages.slept),
        steered=tuple(store.pauses.changed),
    )

"""A state manager that keeps a bounded number of runs in memory until the process exits."""

from __future__ import annotations

import bisect
import itertools
import operator
import threading
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.arguments import event_page, whole
from actorflow.definition.durations import seconds
from actorflow.errors.storage import AlreadyStarted, NotRescheduled, RunNotFound
from actorflow.model.attributes import changes_of, merged
from actorflow.model.cancelling import cancelled
from actorflow.model.events import Event
from actorflow.model.filters import RunFilters, RunQuery, next_cursor
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus, move_run
from actorflow.model.powers import Due
from actorflow.model.records import RunPage
from actorflow.model.results import RECENT_RUNS, medians
from actorflow.state.finding import counted, matching
from actorflow.state.folding import fold
from actorflow.state.keys import REPLACED, KeyTable
from actorflow.state.memory_families import Families
from actorflow.state.memory_mail import MemoryMail
from actorflow.state.memory_pauses import MemoryPauses
from actorflow.state.memory_schedules import MemorySchedules
from actorflow.support.sizes import SMALL, size_of
from actorflow.support.suggestions import checks_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import Unpack

    from actorflow.model.attributes import Attribute
    from actorflow.model.filters import RunListing
    from actorflow.model.protocols import Commit
    from actorflow.model.records import RunRecord, RunSnapshot

__all__ = ["MemoryStateManager"]

_WIDTH: Final = len(Event._fields)
_KIND: Final = Event._fields.index("kind")
_DATA: Final = Event._fields.index("data")
_ENDED_BADLY: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
_LOOKS: Final = 5_000
"""How many objects of an ended run are looked at to estimate its size; each takes about 1 us."""


class _Entry:
    """An accepted run and its events.

    The fields of all events are stored in one flat list, and `Event` objects are made from it when
    they are read. A million stored tuples would be visited by every full pass of the garbage
    collector, which was half the cost of a step in a run of ten thousand.
    """

    __slots__ = ("add", "bytes", "counted", "fields", "milestones", "record", "status")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.fields: list[Any] = []
        self.add: Callable[[Event], None] = self.fields.extend
        """Adds an event; called for each event of each step, so looked up once."""
        self.milestones: list[Event] = []
        """The events of the run itself."""
        self.status = RunStatus.PENDING
        self.counted = 0
        """How many events the run contributes to `max_events` while it is finished."""
        self.bytes = 0
        """How many bytes it contributes to `max_bytes` then."""

    def count(self) -> int:
        """Return the number of events."""
        return len(self.fields) // _WIDTH

    def events(self, after: int = 0, limit: int | None = None) -> list[Event]:
        """Return the events after the first `after` ones, at most `limit` of them."""
        until = None if limit is None else (after + limit) * _WIDTH
        fields = iter(self.fields[after * _WIDTH : until])
        return [Event._make(event) for event in zip(*[fields] * _WIDTH, strict=True)]

    def size(self) -> int:
        """Return the estimated size of the run's outputs, inputs and metadata."""
        # No bytecode is run for outputs that are numbers, because a run may have very many.
        kinds, data = self.fields[_KIND::_WIDTH], self.fields[_DATA::_WIDTH]
        completed = itertools.compress(data, map(EventKind.STEP_COMPLETED.__eq__, kinds))
        outputs = list(map(operator.methodcaller("get", "output"), completed))
        values = [*self.record.inputs.values(), *self.record.metadata.values()]
        if not SMALL.keys() >= set(map(type, outputs)):
            values += outputs
        return size_of(values, _LOOKS) if values else 0

    def summary(self) -> RunSnapshot:
        """Return the run without its steps, at a cost that does not depend on their number."""
        return fold(attrs.evolve(self.record, step_ids=()), tuple(self.milestones))


@checks_options
class MemoryStateManager(MemoryMail, MemoryPauses, MemorySchedules):
    """A state manager that keeps runs in this process's memory.

    Runs in progress are always kept, and so are the finished children of a family of which a run
    is in progress: they may be needed again. Other finished runs are kept until one of the limits
    is exceeded; then the runs that finished first are dropped. The limits are checked whenever a
    run ends. A `Run` that you hold keeps its own result in any case.

    Args:
        max_runs: How many finished runs are kept.
        max_age: For how many seconds a finished run is kept.
        max_events: How many events of finished runs are kept in total. A step without retries
            has three.
        max_bytes: How many bytes the outputs, inputs and metadata of finished runs may take in
            total; the run that finished last is kept in any case. The size is estimated: strings,
            buffers and arrays count exactly, of very many containers and items some stand for the
            others, and memory that an extension does not tell Python of is not seen.

    Raises:
        DefinitionError: When a limit is negative, or not a number.

    Example:
        >>> from actorflow import MemoryStateManager, Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> with Orchestrator(MemoryStateManager(max_runs=100)) as orchestrator:
        ...     run_id = orchestrator.run(flow).run_id
        ...     orchestrator.get(run_id).snapshot().outputs
        {'greet': 'hello'}
    """

    def __init__(
        self,
        *,
        max_runs: int = 1000,
        max_age: float | timedelta = 3600.0,
        max_events: int = 1_000_000,
        max_bytes: int = 256_000_000,
    ) -> None:
        super().__init__()
        self._max_runs = whole(max_runs, "max_runs", least=0)
        self._max_age = seconds(max_age, "max_age", zero=True, endless=True)
        self._max_events = whole(max_events, "max_events", least=0)
        self._max_bytes = whole(max_bytes, "max_bytes", least=0)
        # Protects the dictionaries from readers on other threads. Only the supervisor adds events,
        # each with a single list operation, which needs no lock.
        # Reentrant, because a start may end the run that it replaces.
        self._lock = threading.RLock()
        self._runs: dict[str, _Entry] = {}
        self._families: Families[_Entry] = Families(self._runs)
        self._finished: dict[str, _Entry] = {}
        """The runs that may be dropped, in the order in which they finished."""
        self._finished_events = 0
        self._finished_bytes = 0
        self._keys: dict[tuple[str, str], RunRecord] = {}
        """The latest kept run of each workflow id and idempotency key."""
        self._table = KeyTable()

    def create(self, record: RunRecord, done: Commit) -> bool:
        """Store an accepted run immediately."""
        with self._lock:
            if record.idempotency_key is not None:
                self._check_is_new(record, record.idempotency_key)
            if record.start_at is not None:
                self._defer(record, done)
            self._runs[record.run_id] = _Entry(record)
            if record.parent is not None:
                self._families.begin(record)
            if record.idempotency_key is not None:
                self._keys[record.workflow_id, record.idempotency_key] = record
        return True

    def _check_is_new(self, record: RunRecord, key: str) -> None:
        earlier = self._keys.get((record.workflow_id, key))
        if earlier is None or earlier.run_id == record.run_id:
            return
        expires = earlier.terms.expires
        if expires is not None and record.created_at >= earlier.created_at + expires:
            return
        ended_badly = self._runs[earlier.run_id].status in _ENDED_BADLY
        if not (ended_badly and record.terms.reuse == "if_failed"):
            raise AlreadyStarted(earlier.run_id)

    # ── Deferred runs ────────────────────────────────────────────────────────────────────────

    def _defer(self, record: RunRecord, done: Commit) -> None:
        verdict = self._table.admit(record)
        if verdict.merged is not None:
            self._runs[verdict.merged].record = self._table.waiting[verdict.merged]
        earlier = verdict.earlier or verdict.merged
        if earlier is not None:
            raise AlreadyStarted(earlier)
        if verdict.replaced is not None:
            entry = self._runs[verdict.replaced]
            pending, reason = fold(entry.record, ()), REPLACED.format(record.run_id)
            self.record(cancelled(pending, 0, record.created_at, reason), done)

    def due(self, now: float) -> Due:
        """Return the deferred runs whose time and turn have come, each of them once."""
        with self._lock:
            run_ids, following = self._table.due(now)
            next_in = None if following is None else max(0.0, following - now)
            return Due(run_ids, next_in, self._table.yielding())

    def reschedule(self, run_id: str, start_at: float, _now: float) -> None:
        """Move the start of a run that waits for its time or its turn.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
            NotRescheduled: When it does not wait.
        """
        with self._lock:
            entry = self._entry(run_id)
            if not self._table.reschedule(run_id, start_at):
                raise NotRescheduled(run_id, entry.status.value)
            entry.record = attrs.evolve(entry.record, start_at=start_at)

    def occupy(self, run_id: str) -> None:
        """Give a claimed run the turn of its key, if it has one.

        Raises:
            RunNotFound: When there is no such run, or it is not kept any more.
            KeyInUse: When another live run has it.
        """
        with self._lock:
            self._table.occupy(self._entry(run_id).record)

    # ── Recording ────────────────────────────────────────────────────────────────────────────

    def record(self, events: Sequence[Event], _done: Commit) -> bool:
        """Record events immediately."""
        runs = self._runs
        for event in events:
            runs[event.run_id].add(event)
            if event.step_id is None:
                self._milestone(runs[event.run_id], event)
        return True

    def _milestone(self, entry: _Entry, event: Event) -> None:
        run_id = event.run_id
        if run_id in self._finished:
            self._unfinish(run_id)
        if entry.status.terminal:
            with self._lock:
                self._families.begin(entry.record)
        entry.milestones.append(event)
        entry.status = status = move_run(run_id, entry.status, event.kind)
        if status.terminal:
            entry.counted = entry.count()
            entry.bytes = entry.size()  # not under the lock, because classes of the user say theirs
            with self._lock:
                if entry.record.start_at is not None:
                    self._table.end(entry.record)
                for ended in self._families.end(entry):
                    self._finished[ended.record.run_id] = ended
                    self._finished_events += ended.counted
                    self._finished_bytes += ended.bytes
                self._forget_old(event.time)

    def durations(self, workflow_id: str) -> Mapping[str, float]:
        """Return the median seconds of each step over the last completed runs of a workflow."""
        with self._lock:
            ended = list(self._finished.values())
        entries = (
            entry
            for entry in reversed(ended)
            if entry.record.workflow_id == workflow_id and entry.status is RunStatus.COMPLETED
        )
        return medians(
            (step.step_id, step.duration)
            for entry in itertools.islice(entries, RECENT_RUNS)
            for step in fold(entry.record, entry.events()).steps.values()
            if step.status is StepStatus.COMPLETED and step.duration is not None
        )

    def claim(self, run_id: str) -> RunSnapshot:
        """Return a finished run to resume, and keep it from being dropped before it goes on."""
        self._unfinish(run_id)
        return self.snapshot(run_id)

    def _unfinish(self, run_id: str) -> None:
        with self._lock:
            entry = self._finished.pop(run_id, None)
            if entry is not None:
                self._discount(entry)
                self._forget_pauses(run_id)

    def _discount(self, entry: _Entry) -> None:
        self._finished_events -= entry.counted
        self._finished_bytes -= entry.bytes

    def _forget_old(self, now: float) -> None:
        while self._finished:
            run_id, entry = next(iter(self._finished.items()))
            if not (
                len(self._finished) > self._max_runs
                or self._finished_events > self._max_events
                or (self._finished_bytes > self._max_bytes and len(self._finished) > 1)
                or now - entry.milestones[-1].time > self._max_age
            ):
                return
            del self._finished[run_id], self._runs[run_id]
            self._forget_mail(run_id)
            if entry.record.idempotency_key is not None:
                key = entry.record.workflow_id, entry.record.idempotency_key
                if self._keys[key].run_id == run_id:
                    del self._keys[key]
            self._discount(entry)

    def _entry(self, run_id: str) -> _Entry:
        try:
            return self._runs[run_id]
        except KeyError:
            raise RunNotFound(run_id) from None

    def _status_of(self, run_id: str) -> RunStatus:
        return self._entry(run_id).status

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the current state of a run."""
        entry = self._entry(run_id)
        snapshot = fold(entry.record, entry.events())
        return self._with_pause(entry, snapshot) if self._pauses else snapshot

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Return the run's events with a number greater than `after`, in order."""
        event_page(after, limit)
        return self._entry(run_id).events(after, limit)

    def set_attributes(self, run_id: str, attributes: Mapping[str, Attribute | None], /) -> None:
        """Change attributes of a run, and leave its others; None removes one."""
        changes = changes_of(attributes)
        with self._lock:
            entry = self._entry(run_id)
            kept = merged(run_id, entry.record.attributes, changes)
            entry.record = attrs.evolve(entry.record, attributes=kept)

    def list(self, **asked: Unpack[RunListing]) -> RunPage:
        """Return runs, newest first, ties by run id; see `RunListing`.

        Raises:
            DefinitionError: When a filter is invalid.
        """
        query = RunQuery.of(asked)
        entries = sorted(self._matching(query), key=_order)
        begin = query.offset
        if query.after is not None:
            created_at, run_id = query.after
            begin = bisect.bisect_right(entries, (-created_at, run_id), key=_order)
        page = entries[begin : begin + query.limit]
        more = begin + query.limit < len(entries)
        return RunPage(
            runs=tuple(entry.summary() for entry in page),
            total=len(entries),
            next_cursor=next_cursor([entry.record for entry in page], more=more),
        )

    def count_runs(
        self, by: str | Sequence[str], /, **filters: Unpack[RunFilters]
    ) -> Mapping[Any, int]:
        """Return how many runs match all filters, by what they have in common."""
        return counted(by, self._matching(RunQuery.of(filters, RunFilters)))

    def _matching(self, query: RunQuery) -> Iterable[_Entry]:
        with self._lock:
            entries = self._listed(self._runs.values()) if self._pauses else [*self._runs.values()]
        return matching(query, entries)

    def close(self) -> None:
        """Do nothing: finished runs can still be read after a shutdown."""


def _order(entry: _Entry) -> tuple[float, str]:
    return -entry.record.created_at, entry.record.run_id

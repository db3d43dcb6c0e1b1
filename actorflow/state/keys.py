"""Keys: which of the runs with one key is in progress, which one waits, and since when it may go.

A run that is started with a `key`, or for a later time, is *deferred*: it is recorded as pending,
and starts once its time has come and it is its turn. Everything about that is decided where runs
are recorded, never by an orchestrator, because several of them may share a database:

* `decide` says what a start does. It is a pure function of the terms and of the two runs that hold
  the key: the *running* one, whose turn it is, and the *queued* one, which waits.
* `KeyTable` holds these two runs in memory, and the times. `MemoryStateManager` asks it under its
  lock.
* In a database they are the column `key_slot` of the runs. A unique index over workflow, key and
  slot admits one run each, whatever the processes do. `actorflow.state.sql.writing.turns` decides
  within the transaction that inserts the run. On SQLite that is the only writer; on PostgreSQL it
  holds a lock of the key.

A start here with a free key is running at once. One that is enqueued is queued until an
orchestrator takes it, so that a later start can replace it. A debounced start gives its inputs to
the run that waits already, which keeps its id: no inputs get lost, and one run comes of them.

A queued run gets its turn when it is taken: there is no write at the end of a run, which would cost
every run something, and which a crash could omit. A failed run that is resumed takes its turn
again, or is refused.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import attrs

from actorflow.errors.storage import KeyInUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.model.records import RunRecord

__all__ = ["REPLACED", "YIELDED", "KeyTable", "Rival", "Verdict", "decide"]

REPLACED: Final = "run {} with the same key has taken its place"
YIELDED: Final = "it makes way for run {} with the same key"


class Rival(NamedTuple):
    """The run that waits with a key."""

    run_id: str
    due: bool
    """Whether its time has come, so that it waits for its turn only."""
    mergeable: bool
    """Whether it was debounced, and can take the inputs of the new one."""


class Verdict(NamedTuple):
    """What a start does to the runs with its key, and where it stands then."""

    slot: Literal["running", "queued"] = "queued"
    """The new run's place; of no meaning when there is none."""
    earlier: str | None = None
    """The run that is returned in place of a new one."""
    refused: tuple[str, bool] | None = None
    """The run that keeps this one out, and whether it waits."""
    merged: str | None = None
    """The run that takes over the inputs in place of a new one."""
    promoted: str | None = None
    """The queued run, if its turn comes by this."""
    replaced: str | None = None
    """The queued run, if it is cancelled."""
    cancelled: str | None = None
    """The running run, if it is to be cancelled."""


def decide(record: RunRecord, running: str | None, queued: Rival | None, *, owned: bool) -> Verdict:
    """Return what the start of a run with a key does.

    Args:
        record: The run that is to be accepted.
        running: The run with the same key whose turn it is.
        queued: The run with the same key that waits.
        owned: Whether it starts here, as soon as it may; otherwise it waits to be taken.
    """
    terms = record.terms
    delayed = record.start_at is not None and record.start_at > record.created_at
    at_once: Verdict = Verdict("running" if running is None and owned and not delayed else "queued")
    if terms.debounce is not None:
        return _debounced(queued)
    if terms.on_conflict in ("replace_queued", "cancel_running"):
        yields = running if terms.on_conflict == "cancel_running" else None
        replaced = None if queued is None else queued.run_id
        return at_once._replace(replaced=replaced, cancelled=yields)
    if terms.on_conflict == "queue":
        return at_once if queued is None else _behind(running, queued, delayed=delayed)
    live = running if running is not None or queued is None else queued.run_id
    if live is None:
        return at_once
    if terms.on_conflict == "return":
        return Verdict(earlier=live)
    return Verdict(refused=(live, running is None))


def _debounced(queued: Rival | None) -> Verdict:
    if queued is None:
        return Verdict()
    if queued.mergeable:
        return Verdict(merged=queued.run_id)
    return Verdict(replaced=queued.run_id)


def _behind(running: str | None, queued: Rival, *, delayed: bool) -> Verdict:
    """Return what a start with "queue" does when a run waits already."""
    if running is None and queued.due:
        return Verdict(promoted=queued.run_id)
    if running is None and not delayed:
        return Verdict("running")
    return Verdict(refused=(queued.run_id, True))


@attrs.define(eq=False)
class _Slots:
    """The runs that hold a key."""

    running: str | None = None
    queued: str | None = None


_FEW: Final = 64
"""How many entries that are ignored are kept for any number of waiting runs."""


class KeyTable:
    """The deferred runs and the holders of keys, in memory; not thread-safe.

    Times are seconds since the epoch, and are handed in.
    """

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], _Slots] = {}
        self.waiting: Final[dict[str, RunRecord]] = {}
        """The deferred runs that have not been released."""
        self._order = itertools.count()
        self._times: list[tuple[float, int, str]] = []
        """When each of them is looked at next; entries of others are ignored."""
        self._yielding: dict[str, str] = {}
        """Running runs that must be cancelled, and why."""

    def admit(self, record: RunRecord) -> Verdict:
        """Decide on a deferred run, and take note of it if it is accepted.

        The caller cancels the run that is replaced.

        Raises:
            KeyInUse: When a live run keeps it out.
        """
        if record.key is None:
            self._wait(record)
            return Verdict()
        slots = self._slots.get((record.workflow_id, record.key)) or _Slots()
        queued = self._rival(slots.queued, record)
        verdict = decide(record, slots.running, queued, owned=True)
        if verdict.refused is not None:
            raise KeyInUse(record.workflow_id, record.key, *verdict.refused)
        if verdict.merged is not None:
            self._merge(verdict.merged, record)
        elif verdict.earlier is None:
            self._slots[record.workflow_id, record.key] = slots
            self._place(slots, record, verdict)
        return verdict

    def _place(self, slots: _Slots, record: RunRecord, verdict: Verdict) -> None:
        if verdict.promoted is not None:
            slots.running = verdict.promoted
        if verdict.replaced is not None:
            self.waiting.pop(verdict.replaced, None)
        if verdict.promoted is not None or verdict.replaced is not None:
            slots.queued = None
        if verdict.slot == "running":
            slots.running = record.run_id
        else:
            slots.queued = record.run_id
        if verdict.cancelled is not None:
            self._yielding[verdict.cancelled] = YIELDED.format(record.run_id)
        self._wait(record)

    def _rival(self, run_id: str | None, record: RunRecord) -> Rival | None:
        if run_id is None:
            return None
        queued = self.waiting[run_id]
        due = queued.start_at is None or queued.start_at <= record.created_at
        same = queued.workflow_version == record.workflow_version
        return Rival(run_id, due, same and queued.terms.debounce is not None)

    def _wait(self, record: RunRecord) -> None:
        self.waiting[record.run_id] = record
        self._look_at(record)

    def _look_at(self, record: RunRecord) -> None:
        heapq.heappush(self._times, self._time_of(record))
        if len(self._times) > 2 * len(self.waiting) + _FEW:
            self._times = [self._time_of(it) for it in self.waiting.values()]
            heapq.heapify(self._times)

    def _time_of(self, record: RunRecord) -> tuple[float, int, str]:
        at = record.created_at if record.start_at is None else record.start_at
        return at, next(self._order), record.run_id

    def _merge(self, run_id: str, record: RunRecord) -> None:
        earlier = self.waiting[run_id]
        merged = attrs.evolve(record, run_id=run_id, created_at=earlier.created_at)
        self._wait(attrs.evolve(merged, parent=earlier.parent))

    def due(self, now: float) -> tuple[list[str], float | None]:
        """Release the runs whose time and turn have come.

        Returns their ids, and when the next run is due; None when there is none.
        """
        released = []
        while self._times and self._times[0][0] <= now:
            record = self.waiting.get(heapq.heappop(self._times)[2])
            if record is not None and self._may_go(record, now):
                del self.waiting[record.run_id]
                released.append(record.run_id)
        while self._times and self._times[0][2] not in self.waiting:
            heapq.heappop(self._times)
        return released, self._times[0][0] if self._times else None

    def _may_go(self, record: RunRecord, now: float) -> bool:
        if record.start_at is not None and record.start_at > now:
            return False  # it was moved, and has a later entry
        if record.key is None:
            return True
        slots = self._slots[record.workflow_id, record.key]
        if slots.running is None:
            slots.running, slots.queued = record.run_id, None
        return slots.running == record.run_id

    def yielding(self) -> Mapping[str, str]:
        """Return the running runs that must be cancelled, once each, and why."""
        found, self._yielding = self._yielding, {}
        return found

    def reschedule(self, run_id: str, start_at: float) -> bool:
        """Move the start of a run; return whether it still waits."""
        record = self.waiting.get(run_id)
        if record is None:
            return False
        self._wait(attrs.evolve(record, start_at=start_at))
        return True

    def occupy(self, record: RunRecord) -> None:
        """Give a run that is resumed the turn of its key.

        Raises:
            KeyInUse: When another run has it.
        """
        if record.key is None:
            return
        slots = self._slots.setdefault((record.workflow_id, record.key), _Slots())
        if slots.running not in (None, record.run_id):
            raise KeyInUse(record.workflow_id, record.key, str(slots.running))
        slots.running = record.run_id

    def end(self, record: RunRecord) -> None:
        """Release what a run holds that has ended."""
        self.waiting.pop(record.run_id, None)
        slots = None if record.key is None else self._slots.get((record.workflow_id, record.key))
        if record.key is None or slots is None:
            return
        if slots.queued == record.run_id:
            slots.queued = None
        if slots.running == record.run_id:
            slots.running = None
            if slots.queued is not None:  # it may have been waiting for this
                self._look_at(self.waiting[slots.queued])
        if slots.running is None and slots.queued is None:
            del self._slots[record.workflow_id, record.key]

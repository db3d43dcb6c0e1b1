"""Leases: for how long an owner's runs are its own.

An owner has one lease for all of its runs, and its writer renews it along with other writes, or on
its own when there is nothing to write. When a lease is over, and how others find that out, is the
subject of `actorflow.state.sql.owners`. A lease that is over does not take runs away by itself. It
only allows others to take them over, one at a time, and each run taken over gets a new fencing
token, which the former owner's writes lack. An owner that was merely slow therefore continues with
every run that was not taken over. It learns that it has lost a run when it next writes to that run
or renews its lease.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from actorflow.errors.definition import DefinitionError
from actorflow.model.pausing import Pause
from actorflow.state.leases import renewal_interval
from actorflow.state.sql.owners import OwnerWatch, columns_of
from actorflow.state.sql.pausing import FREEZE, UNPAUSE, unheard_pauses
from actorflow.state.sql.processes import Process
from actorflow.state.sql.schema.tables import AWAKE, NOT_PURGED, Moment, owners, runs
from actorflow.state.sql.values.errors import clipped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from actorflow.model.powers import ChangePause

    Cancel: TypeAlias = Callable[[str, str, bool], None]
    """Takes a run's id, the reason, and whether to compensate."""

__all__ = [
    "WOKEN",
    "Lease",
    "Requests",
    "database_time",
    "lease_expired",
    "lease_forgotten",
    "owned_elsewhere",
    "request_cancel",
    "unowned",
]

_RUNS_PER_QUERY: Final = 500
"""How many runs one query checks."""
_DAY: Final = 86_400.0
_TAKEN_OVER: Final = "it was taken over by another orchestrator"
_CANCEL: Final = "cancel"
_MESSAGE: Final = "message"
_IN_PROGRESS: Final = runs.c.finished_at.is_(None)
WOKEN: Final[Mapping[str, None]] = {"waiting": None, "waiting_since": None, "wake_at": None}
"""The values of a run that no longer waits without an owner."""


def unowned(dialect: str, run: Any = runs) -> sa.ColumnElement[bool]:
    """Return the condition that a run in progress has no owner with a lease.

    On SQLite, `OwnerWatch.end_leases` must have deleted the leases that are over, in the same
    transaction.

    Args:
        dialect: The name of the dialect.
        run: The table of runs, or an alias of it.
    """
    own = owners.c.owner == run.c.owner
    holds = own if dialect == "sqlite" else sa.and_(own, ~lease_expired(dialect))
    return ~sa.exists().where(holds)


def owned_elsewhere(connection: sa.Connection, owner: str, run_ids: Collection[str]) -> set[str]:
    """Return those of the runs that this owner has no longer.

    None of the others is taken over before the end of the transaction.
    """
    query = sa.select(runs.c.run_id, runs.c.owner).where(runs.c.run_id.in_(list(run_ids)))
    found = connection.execute(query.with_for_update(read=True))
    return {run_id for run_id, its_owner in found if its_owner != owner}


def lease_expired(dialect: str) -> sa.ColumnElement[bool]:
    """Return the condition that a lease has expired by the clock of the database."""
    return owners.c.lease_until <= database_time(dialect)


def lease_forgotten(dialect: str) -> sa.ColumnElement[bool]:
    """Return the condition that a lease has expired, and that no owner can still count on it.

    SQLite's clock is the wall clock, which may be set. An owner with a run in progress may be alive
    whatever it says, and so may one that starts a run before its next renewal is due.
    """
    if dialect != "sqlite":
        return lease_expired(dialect)
    needed = sa.exists().where(runs.c.owner == owners.c.owner, AWAKE)
    return sa.and_(owners.c.lease_until <= _now_plus(dialect, -_DAY), ~needed)


def database_time(dialect: str) -> sa.ColumnElement[Any]:
    """Return the current time of the database."""
    return _now_plus(dialect, 0.0)


def _now_plus(dialect: str, seconds: float) -> sa.ColumnElement[Any]:
    """Return the database's current time plus `seconds`."""
    if dialect == "sqlite":
        # The format of `Moment`, though SQLite's clock only has milliseconds.
        form = "%Y-%m-%d %H:%M:%f000+00:00"
        return sa.func.strftime(form, "now", f"{seconds:+f} seconds", type_=Moment)
    return sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


class Lease:
    """The lease of one owner; used only by its writer's thread.

    Args:
        dialect: The name of the database's dialect.
        owner: The owner's id.
        seconds: How long the lease lasts unless it is renewed.
        now: Returns the monotonic time.
        requests: The requests to cancel the owner's runs, which are read at each renewal.
    """

    def __init__(
        self,
        dialect: str,
        owner: str,
        seconds: float,
        now: Callable[[], float],
        requests: Requests,
    ) -> None:
        process = Process.current()
        self.others: Final = OwnerWatch(
            owner, process, lease_expired(dialect), now, by_clock=dialect != "sqlite"
        )
        """Watches the other owners."""
        self._now = now
        self._beats = itertools.count(1)
        self._requests = requests
        self._every = renewal_interval(seconds)
        self._renewed_at: float | None = None
        insert: Any = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(owners)
        renewed = {
            "lease_until": _now_plus(dialect, seconds),
            "beat": sa.bindparam("next_beat", type_=sa.BigInteger),
            "lease": seconds,
        }
        row = {"owner": owner, **renewed, **columns_of(process)}
        self._renew = insert.values(row).on_conflict_do_update(
            index_elements=["owner"], set_=renewed
        )
        self._delete = sa.delete(owners).where(owners.c.owner == owner)
        mine = sa.and_(runs.c.owner == owner, AWAKE)
        self._hand_back = sa.update(runs).where(mine).values(owner="")

    @property
    def until_renewal(self) -> float:
        """Seconds until the lease is due for renewal."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._every - self._now())

    def renew(self, connection: sa.Connection) -> float | None:
        """Renew the lease if due; return the argument for `confirm_renewal` after the commit."""
        if self.until_renewal > 0.0:
            return self._renewed_at
        at = self._now()
        connection.execute(self._renew, {"next_beat": next(self._beats)})
        self._requests.fetch(connection)
        return at

    def confirm_renewal(self, renewed_at: float | None) -> None:
        """Note that a renewal was committed, and deliver the requests that were read with it."""
        self._renewed_at = renewed_at
        self._requests.deliver()

    def look_soon(self) -> None:
        """Read the requests, and renew the lease for that, with the next transaction."""
        if self._requests.has_listener:
            self._renewed_at = None

    def lost_runs(self, connection: sa.Connection, fences: Mapping[str, int]) -> list[str]:
        """Return the runs whose fencing token is no longer the given one."""
        run_ids, found = list(fences), dict[str, int]()
        for start in range(0, len(run_ids), _RUNS_PER_QUERY):
            some = runs.c.run_id.in_(run_ids[start : start + _RUNS_PER_QUERY])
            query = sa.select(runs.c.run_id, runs.c.fence).where(some, NOT_PURGED)
            for run_id, fence in connection.execute(query):
                found[run_id] = fence
        return [run_id for run_id, fence in fences.items() if found.get(run_id) != fence]

    def cancel_lost(self, run_ids: Iterable[str]) -> None:
        """Cancel runs here that another orchestrator has taken over."""
        for run_id in run_ids:
            self._requests.cancel(run_id, _TAKEN_OVER, compensate=False)

    def release(self, connection: sa.Connection) -> None:
        """Delete the lease, so that others can take the owner's unfinished runs at once.

        The runs are handed back: an owner that ends cleanly has not died.
        """
        connection.execute(self._hand_back)
        connection.execute(self._delete)
        self._renewed_at = None


def request_cancel(run_id: str, reason: str, *, compensate: bool) -> sa.Update:
    """Return the statement that asks for a run to be cancelled; it ignores a run that has ended."""
    request = msgspec.json.encode({"reason": clipped(reason), "compensate": compensate}).decode()
    this = sa.and_(runs.c.run_id == run_id, _IN_PROGRESS, NOT_PURGED)
    return sa.update(runs).where(this).values(cancel_asked=request, **WOKEN)


class Requests:
    """The requests to cancel and to pause one owner's runs, and the messages to these runs.

    The writer's thread reads them at each renewal of the lease, and the watcher's thread as soon as
    it hears of one. Of messages it reads that there are some.

    Args:
        owner: The owner's id.
    """

    def __init__(self, owner: str) -> None:
        mine = (runs.c.owner == owner, _IN_PROGRESS)

        def pending(kind: str, text: sa.ColumnElement[Any]) -> sa.Select[Any]:
            named = sa.literal_column(f"'{kind}'", sa.Text)
            return sa.select(runs.c.run_id, named, text).where(*mine, text.is_not(None))

        self.query: Final = sa.union_all(
            pending(_CANCEL, runs.c.cancel_asked),
            pending(_MESSAGE, sa.cast(runs.c.last_message, sa.Text)),
            unheard_pauses(owner),
        )
        """Selects the pending requests, and the runs that have messages: run id, kind, and what
        belongs to it.
        """
        self._found: Sequence[Any] = ()
        self._cancel: Cancel | None = None
        self._change_pause: ChangePause | None = None
        self._heard: Callable[[str, int], None] | None = None

    @property
    def has_listener(self) -> bool:
        """Whether an orchestrator listens."""
        return self._cancel is not None

    def listen(self, cancel: Cancel) -> Callable[[], None]:
        """Deliver requests to `cancel` from now on, on any thread; return a function to stop that.

        Raises:
            DefinitionError: When another orchestrator listens already.
        """
        if self.has_listener:
            problem = "the orchestrator's state manager already serves another orchestrator"
            raise DefinitionError(None, problem, "Make one for each; they may share the URL")
        self._cancel = cancel

        def end() -> None:
            if self._cancel is cancel:
                self._cancel = None

        return end

    def listen_for_pauses(self, change: ChangePause) -> Callable[[], None]:
        """Deliver pauses to `change` from now on, on any thread; return a function to stop that."""
        self._change_pause = change

        def end() -> None:
            if self._change_pause is change:
                self._change_pause = None

        return end

    def hear(self, heard: Callable[[str, int], None]) -> Callable[[], None]:
        """Have `heard` called for runs with messages, on any thread; return what ends that."""
        self._heard = heard

        def end() -> None:
            if self._heard is heard:
                self._heard = None

        return end

    def heard(self, run_id: str, number: int) -> None:
        """Tell the listening orchestrator, if any, of the latest message of a run."""
        heard = self._heard
        if heard is not None:
            with contextlib.suppress(Exception):  # the orchestrator may be closing
                heard(run_id, number)

    def fetch(self, connection: sa.Connection) -> None:
        """Read the pending requests, if an orchestrator listens."""
        self._found = connection.execute(self.query).all() if self.has_listener else ()

    def deliver(self) -> None:
        """Deliver the requests that were read, after that transaction has ended."""
        found, self._found = self._found, ()
        self.tell(found)

    def tell(self, found: Iterable[Sequence[str]]) -> None:
        """Deliver requests, as `query` selects them; from any thread."""
        for run_id, kind, text in found:
            if kind == _CANCEL:
                request = msgspec.json.decode(text)
                self.cancel(run_id, request["reason"], compensate=request["compensate"])
            elif kind == _MESSAGE:
                self.heard(run_id, int(text))
            else:
                freeze = kind == FREEZE
                self._pause(run_id, None if kind == UNPAUSE else Pause(reason=text, freeze=freeze))

    def _pause(self, run_id: str, pause: Pause | None) -> None:
        change = self._change_pause
        if change is not None:
            with contextlib.suppress(Exception):  # as below
                change(run_id, pause)

    def cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Have the listening orchestrator, if any, cancel a run."""
        cancel = self._cancel
        if cancel is not None:
            with contextlib.suppress(Exception):  # the orchestrator may be closing
                cancel(run_id, reason, compensate)

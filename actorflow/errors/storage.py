"""Errors of storage: missing runs, unreachable databases, values that cannot be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from actorflow.errors import ActorflowError, listed, quoted
from actorflow.support.suggestions import FEW, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AlreadyStarted",
    "InvalidAnswer",
    "KeyInUse",
    "LeaseHeld",
    "LeaseLost",
    "MissingExtra",
    "NotRecorded",
    "NotRescheduled",
    "NotRestorable",
    "NotStorable",
    "RecordedError",
    "RunNotFound",
    "RunUnattended",
    "ScheduleNotFound",
    "SchemaMismatch",
    "StoreError",
    "StoreOverloaded",
    "StoreUnavailable",
    "TooLarge",
    "TooManyMessages",
]


@attrs.define(slots=False, repr=False)
class MissingExtra(ActorflowError, ImportError):
    """Raised when something needs a package that an extra of actorflow installs."""

    what: str
    package: str
    extra: str
    _text = "{what} needs {package}, which is not installed. Type: pip install 'actorflow[{extra}]'"


@attrs.define(slots=False, repr=False)
class RunNotFound(ActorflowError, LookupError):
    """Raised when no run has the given id."""

    run_id: str
    by_key: bool = False
    """Whether the run was named by an idempotency key, which outlives its run in a database."""

    def __str__(self) -> str:
        if self.by_key:
            return (
                f"the run that was started with this idempotency key, {self.run_id!r}, has been "
                "deleted, but its key is still reserved, so nothing was started. Use another key, "
                "or purge keys sooner (keys_older_than=)."
            )
        return (
            f"there is no run {self.run_id!r}, or it has been deleted. "
            "Check its id, and the limits of the orchestrator's state manager."
        )


@attrs.define(slots=False, repr=False)
class ScheduleNotFound(ActorflowError, LookupError):
    """Raised when no schedule has the given name; see `RunNotFound` for runs."""

    name: str
    known: tuple[str, ...] = ()
    """The names that exist."""

    def __str__(self) -> str:
        there = f"there is no schedule {self.name!r}"
        if not self.known:
            return f"{there}, and no other. Make one with orchestrator.schedule()."
        names = listed([quoted(name) for name in self.known], FEW)
        return f"{there}; there are {names}.{did_you_mean(self.name, self.known)}"


@attrs.define(slots=False, repr=False)
class RunUnattended(ActorflowError):
    """Raised when a wait for a run's end is refused, because no orchestrator runs it."""

    run_id: str
    why: str
    what: str = "waited for"
    """What cannot be done with it."""
    _text = "run {run_id!r} cannot be {what}: {why}."


class StoreError(ActorflowError):
    """Raised when a state manager cannot do what it was asked; base class of the next errors."""


@attrs.define(slots=False, repr=False)
class StoreUnavailable(StoreError):
    """Raised when a database could not be reached or written; `.__cause__` is the original error.

    The operation was retried for as long as that made sense. Its data is not recorded, and a run
    whose events it held fails.
    """

    what: str
    why: str
    database: str = "the database"
    """Which database, where that is not obvious."""
    cure: str = (
        "Check the database (is it running, is the disk full, is it locked by another program?), "
        "then resume the runs that failed because of this"
    )
    _text = "{database} did not {what}: {why}. {cure}."


@attrs.define(slots=False, repr=False)
class StoreOverloaded(StoreError):
    """Raised when more events wait to be written than the limit allows; see `Overloaded`."""

    waiting: int
    limit: int
    _text = (
        "{waiting} events wait to be written (the limit is {limit}): the database is slower than "
        "the work. Start fewer runs at once, or raise max_waiting."
    )


@attrs.define(slots=False, repr=False)
class LeaseLost(StoreError):
    """Raised when a run has a new owner; what this owner wrote since then was refused."""

    run_id: str
    _text = (
        "run {run_id!r} was taken over by another orchestrator, or is gone from the database. It "
        "has ended here. Look it up to see how it continues."
    )


@attrs.define(slots=False, repr=False)
class AlreadyStarted(StoreError):
    """Raised by a state manager when the idempotency key of a new run belongs to an earlier one."""

    run_id: str
    """The earlier run."""
    _text = (
        "run {run_id!r} of the same workflow has the same idempotency key. Get that run instead."
    )


@attrs.define(slots=False, repr=False)
class KeyInUse(StoreError):
    """Raised when a run is refused because another one with its `key` is live; see `Overloaded`."""

    workflow_id: str
    key: str
    run_id: str
    """The live run."""
    waits: bool = False
    """Whether that run waits for its turn or its time, and is not in progress."""

    def __str__(self) -> str:
        does = "waits" if self.waits else "is in progress"
        return (
            f"run {self.run_id!r} of workflow {self.workflow_id!r} {does} with key {self.key!r}. "
            f"{_BEHIND if self.waits else _BESIDE}."
        )


_BESIDE: Final = (
    'Wait for its end, or pass on_conflict="return" to get that run, "queue" to run after it, or '
    '"cancel_running" to run in its place'
)
_BEHIND: Final = (
    "One run a key may wait. Start it later, or pass "
    'on_conflict="replace_queued" to run in the place of the one that waits'
)


@attrs.define(slots=False, repr=False)
class NotRescheduled(StoreError):
    """Raised when the start of a run cannot be moved, because the run does not wait for it."""

    run_id: str
    status: str
    _text = (
        "run {run_id!r} cannot be rescheduled: it is {status} and does not wait for its time or "
        "its turn. Start another run with at= or delay=."
    )


@attrs.define(slots=False, repr=False)
class TooManyMessages(StoreError):
    """Raised when a run has been sent as many messages as it takes; see `TooLarge`."""

    run_id: str
    limit: int
    _text = (
        "run {run_id!r} has been sent {limit} messages and takes no more. Send fewer and larger "
        "ones, or have the workflow continue in another run."
    )


@attrs.define(slots=False, repr=False)
class LeaseHeld(StoreError):
    """Raised when a run cannot be taken over, because its owner is alive; see `LeaseLost`."""

    run_id: str
    retry_after: float | None = None
    """Seconds after which this state manager can take the run over if its owner is still silent;
    None when the owner has renewed its lease, so there is no reason to think that it is gone.
    """

    def __str__(self) -> str:
        run = f"run {self.run_id!r} is in progress in another orchestrator"
        if self.retry_after is None:
            return (
                f"{run}, whose lease has not run out. Wait for its end, or until that "
                "orchestrator is gone and its lease is over."
            )
        return (
            f"{run}, which is silent, but has not been watched for as long as its lease. Try "
            f"again in {self.retry_after:.1f} s in this process; only then is it known to be gone."
        )


@attrs.define(slots=False, repr=False)
class InvalidAnswer(StoreError, TypeError):
    """Raised when a method of a state manager returns neither True nor False, as it must.

    It fails the run, because it is unknown whether anything was recorded.
    """

    method: str
    answer: str
    """What it returned, as a string."""
    _text = (
        "{method}() of the state manager returned {answer}, which is neither True nor False. "
        "Return True, or return False and call done later."
    )


@attrs.define(slots=False, repr=False)
class NotRecorded(StoreError):
    """Passed to the `done` of `StateManager.record` when the events of some runs are not recorded.

    The events of all other runs are.
    """

    errors: Mapping[str, StoreError]
    """The reasons, by run id."""

    def __str__(self) -> str:
        return "; ".join(f"run {run_id!r}: {error}" for run_id, error in self.errors.items())


@attrs.define(slots=False, repr=False)
class NotStorable(StoreError, TypeError):
    """Raised when a value cannot be stored as it is; its step fails and is not retried."""

    where: str
    """What the value is: an input, the metadata, or a step's output."""
    path: str
    """The path to the part at fault, such as `["items"][3].price`."""
    why: str
    is_retryable: ClassVar[bool] = False
    _text = (
        "{where} cannot be stored: {path} {why}. Use plain values, dataclasses or attrs classes, "
        "or give the state manager a serializer that knows the type."
    )


@attrs.define(slots=False, repr=False)
class TooLarge(StoreError, ValueError):
    """Raised when a value is larger than the limit of the state manager; see `NotStorable`."""

    where: str
    path: str
    size: int
    limit: int
    is_retryable: ClassVar[bool] = False
    _text = (
        "{where} takes {size} bytes, which is more than the limit of {limit}; most of it is "
        "{path}. Store it elsewhere and keep its place, or raise the limit."
    )


@attrs.define(slots=False, repr=False)
class NotRestorable(StoreError):
    """Raised when this process cannot decode a stored value; the record itself is intact."""

    what: str
    why: str
    serializer: str | None = None
    """The name of the serializer that wrote it, where that is known."""
    _text = "{what} cannot be read back: {why}."


@attrs.define(slots=False, repr=False)
class SchemaMismatch(StoreError):
    """Raised when the tables of a database are not those of this version of actorflow."""

    database: str
    """Its URL, without a password."""
    found: str | None
    """The version of its tables; None when there are none."""
    expected: str
    newer: bool = False
    """Whether the tables are of a version that this actorflow does not know."""

    def __str__(self) -> str:
        if self.newer:
            return (
                f"database {self.database} has tables of version {self.found!r}, made by a newer "
                f"actorflow; this one knows {self.expected!r}. Upgrade actorflow."
            )
        has = "no tables yet" if self.found is None else f"tables of version {self.found!r}"
        return (
            f"database {self.database} has {has}; this actorflow needs {self.expected!r}. Type: "
            f"actorflow db upgrade {self.database} (or pass create=True)"
        )


@attrs.define(slots=False)
class RecordedError(ActorflowError):
    """A recorded exception: the name of its class, its text and its traceback."""

    type_name: str
    """The module and name of its class, such as `builtins.ValueError`."""
    text: str
    traceback: str = attrs.field(default="", repr=False)
    """As Python prints it, with the chain of causes."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordedError):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.type_name, self.text))

    def __str__(self) -> str:
        name = self.type_name.removeprefix("builtins.")
        return f"{name}: {self.text}" if self.text else name

"""The errors of records: runs that are not there, databases that are away, unfit values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actorflow.errors.base import ActorflowError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AlreadyStarted",
    "LeaseHeld",
    "LeaseLost",
    "MissingExtra",
    "NotRecorded",
    "NotRestorable",
    "NotStorable",
    "RecordedError",
    "RunNotFound",
    "RunUnattended",
    "SchemaMismatch",
    "StoreError",
    "StoreOverloaded",
    "StoreUnavailable",
    "TooLarge",
]


@attrs.define(slots=False)
class MissingExtra(ActorflowError, ImportError):
    """Raised when something needs a package that an extra of actorflow would have installed."""

    what: str
    package: str
    extra: str
    _text = "{what} needs {package}, which is not installed. Type: pip install 'actorflow[{extra}]'"


@attrs.define(slots=False)
class RunNotFound(ActorflowError, LookupError):
    """Raised when no run has the id that was asked for."""

    run_id: str
    by_key: bool = False
    """Whether it was found by an idempotency key, which outlives its run in a database."""

    def __str__(self) -> str:
        if self.by_key:
            return (
                f"the run that was started with this idempotency key, {self.run_id!r}, is kept no "
                "more, and the key still stands for it: nothing was started. Give another key, or "
                "have keys purged sooner (keys_older_than=)."
            )
        return (
            f"there is no run {self.run_id!r}, or it is kept no more. "
            "Check its id, and the limits of the orchestrator's state manager."
        )


@attrs.define(slots=False)
class RunUnattended(ActorflowError):
    """Raised when a run does not end, because no orchestrator here runs it; see `RunNotFound`."""

    run_id: str
    why: str
    what: str = "waited for"
    """What cannot be done with it."""
    _text = "run {run_id!r} cannot be {what}: {why}."


class StoreError(ActorflowError):
    """Raised when a state manager cannot do what it was asked; the base of the next ones."""


@attrs.define(slots=False)
class StoreUnavailable(StoreError):
    """Raised when a database could not be reached or written; `.__cause__` says what it said.

    It was tried again for as long as that made sense. What it was asked to record is not
    recorded, and a run that this happens to fails.
    """

    what: str
    why: str
    database: str = "the database"
    """Which, where that is not plain."""
    cure: str = (
        "See to the database (is it running, is the disk full, does somebody keep it locked?), "
        "then resume the runs that this has failed"
    )
    _text = "{database} did not {what}: {why}. {cure}."


@attrs.define(slots=False)
class StoreOverloaded(StoreError):
    """Raised when more waits to be written than may; `Overloaded` counts runs, this events."""

    waiting: int
    limit: int
    _text = (
        "{waiting} events wait to be written (the limit is {limit}): the database is slower than "
        "the work. Start fewer runs at once, or raise max_waiting."
    )


@attrs.define(slots=False)
class LeaseLost(StoreError):
    """Raised when a run belongs to somebody else by now; nothing of it was written any more."""

    run_id: str
    _text = (
        "run {run_id!r} was taken over by another orchestrator, or is gone from the database. It "
        "has ended here. Look it up to see how it goes on there."
    )


@attrs.define(slots=False)
class AlreadyStarted(StoreError):
    """What a state manager says of a run whose idempotency key is that of an earlier one."""

    run_id: str
    """The earlier one."""
    _text = "run {run_id!r} of the same workflow has the same idempotency key. Look that one up."


@attrs.define(slots=False)
class LeaseHeld(StoreError):
    """Raised when a run cannot be taken up, because its owner is alive; see `LeaseLost`."""

    run_id: str
    _text = (
        "run {run_id!r} is in progress in another orchestrator, whose lease has not run out. Wait "
        "for its end, or until that orchestrator is gone and its lease is over."
    )


@attrs.define(slots=False)
class NotRecorded(StoreError):
    """Handed to the `done` of `StateManager.record` when events of some runs are not recorded.

    Those of the runs that it does not name are.
    """

    errors: Mapping[str, StoreError]
    """Why not, by run id."""

    def __str__(self) -> str:
        return "; ".join(f"run {run_id!r}: {error}" for run_id, error in self.errors.items())


@attrs.define(slots=False)
class NotStorable(StoreError, TypeError):
    """Raised when a value cannot be stored as it is; its step fails, and is not tried again."""

    where: str
    """What the value is: an input, the metadata, or a step's output."""
    path: str
    """The way from there to the part at fault, such as `["items"][3].price`."""
    why: str
    _text = (
        "{where} cannot be stored: {path} {why}. Use plain values, dataclasses or attrs classes, "
        "or give the state manager a serializer that knows the type."
    )


@attrs.define(slots=False)
class TooLarge(StoreError, ValueError):
    """Raised when a value is larger than the state manager takes; see `NotStorable`."""

    where: str
    path: str
    size: int
    limit: int
    _text = (
        "{where} takes {size} bytes, which is more than the limit of {limit}; most of it is "
        "{path}. Store it elsewhere and keep its place, or raise the limit."
    )


@attrs.define(slots=False)
class NotRestorable(StoreError):
    """Raised when what was stored cannot be read back here; nothing is wrong with the record."""

    what: str
    why: str
    serializer: str | None = None
    """The name of what wrote it, where that is known."""
    _text = "{what} cannot be read back: {why}."


@attrs.define(slots=False)
class SchemaMismatch(StoreError):
    """Raised when a database has not the tables that this version of actorflow needs."""

    database: str
    """Its URL, without a password."""
    found: str | None
    """The version of its tables; None when there are none."""
    expected: str
    newer: bool = False
    """Whether this version of actorflow does not know the one that was found."""

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
    """What a database keeps of an exception: its class's name, its text and its traceback."""

    type_name: str
    """The module and name of its class, such as `builtins.ValueError`."""
    text: str
    traceback: str = attrs.field(default="", repr=False)
    """As Python prints it, with everything that the error was chained from."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordedError):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.type_name, self.text))

    def __str__(self) -> str:
        name = self.type_name.removeprefix("builtins.")
        return f"{name}: {self.text}" if self.text else name

"""What waits to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from actorflow.errors.storage import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actorflow.errors.storage import StoreError
    from actorflow.model.events import Event
    from actorflow.model.protocols import Commit, Taken
    from actorflow.model.results import RunRecord
    from actorflow.support.oneshot import Once

__all__ = ["ALONE", "Claim", "Create", "Entry", "HandBack", "Line", "Take", "Write", "concerned"]

Line: TypeAlias = "tuple[Event, str | None]"
"""An event whose output and error are texts already, and all that it says, as one text."""


@attrs.frozen(kw_only=True, eq=False)
class Create:
    """An accepted run."""

    record: RunRecord
    texts: Mapping[str, str]
    """Its inputs and its metadata, by column."""
    tell: Commit
    owned: bool = True
    """Whether it is to run here; otherwise it is for whoever takes it."""
    size: int = 1

    @property
    def run_ids(self) -> set[str]:
        """The run that it is about."""
        return {self.record.run_id}

    def done(self, lost: Mapping[str, StoreError]) -> None:
        """Tell whoever waits for it whether it is recorded."""
        self.tell(lost.get(self.record.run_id))


@attrs.frozen(kw_only=True, eq=False)
class Write:
    """Events that were recorded together."""

    lines: Sequence[Line]
    refused: Mapping[str, StoreError]
    """The runs whose events could not be made ready, and why."""
    tell: Commit
    not_recorded: Callable[[Mapping[str, StoreError]], BaseException]

    @property
    def size(self) -> int:
        """How many events it holds."""
        return len(self.lines)

    @property
    def run_ids(self) -> set[str]:
        """The runs that it is about."""
        return {event.run_id for event, _ in self.lines} | {*self.refused}

    def done(self, lost: Mapping[str, StoreError]) -> None:
        """Tell whoever waits for it what has become of it."""
        mine: dict[str, Any] = {it: lost[it] for it in self.run_ids if it in lost}
        self.tell(self.not_recorded(mine) if mine else None)


@attrs.frozen(kw_only=True, eq=False)
class Claim:
    """A run that is to go on here, from what is recorded."""

    run_id: str
    tell: Commit
    size: int = 1

    @property
    def run_ids(self) -> set[str]:
        """The run that it is about."""
        return {self.run_id}

    def done(self, lost: Mapping[str, BaseException]) -> None:
        """Tell whoever waits for it whether the run is his."""
        self.tell(lost.get(self.run_id))


@attrs.frozen(kw_only=True, eq=False)
class HandBack:
    """A run that was claimed, and cannot go on here after all."""

    run_id: str
    parked: str | None
    """What it waits for, if that is something else than its turn."""
    size: int = 1

    @property
    def run_ids(self) -> set[str]:
        """No run that anybody waits for."""
        return set()

    def done(self, _lost: Mapping[str, BaseException]) -> None:
        """Nobody waits for it."""


@attrs.define(kw_only=True, eq=False)
class Take:
    """Runs in progress that belong to nobody: those of them that can go on here."""

    known: Collection[tuple[str, str]]
    """The workflows that are known here, by id and version."""
    besides: Collection[str]
    """The runs that are not meant, because they go on here already."""
    limit: int
    outcome: Once[Taken]
    size: int = 1
    taken: Taken | None = None
    error: StoreError | None = None

    @property
    def run_ids(self) -> set[str]:
        """No run that anybody waits for."""
        return set()

    def done(self, _lost: Mapping[str, BaseException]) -> None:
        """Tell whoever waits for it what there was."""
        if self.taken is None:
            self.outcome.fail(self.error or StoreUnavailable("look for runs", "it did not say why"))
        else:
            self.outcome.set(self.taken)


Entry: TypeAlias = Create | Write | Claim | HandBack | Take
ALONE: Final = (Claim, HandBack, Take)
"""What is not written together with others: what follows it depends on what it reads."""


def concerned(group: Sequence[Entry]) -> set[str]:
    """Return the ids of the runs that a group is about."""
    return {run_id for entry in group for run_id in entry.run_ids}

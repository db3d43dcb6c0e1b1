"""What waits to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorflow.errors import StoreError
    from actorflow.events import Event
    from actorflow.protocols import Commit
    from actorflow.results import RunRecord

__all__ = ["Claim", "Create", "Entry", "Line", "Write", "concerned"]

Line: TypeAlias = "tuple[Event, str | None]"
"""An event whose output and error are texts already, and all that it says, as one text."""


@attrs.frozen(kw_only=True, eq=False)
class Create:
    """An accepted run."""

    record: RunRecord
    texts: Mapping[str, str]
    """Its inputs and its metadata, by column."""
    tell: Commit
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


Entry: TypeAlias = Create | Write | Claim


def concerned(group: Sequence[Entry]) -> set[str]:
    """Return the ids of the runs that a group is about."""
    return {run_id for entry in group for run_id in entry.run_ids}

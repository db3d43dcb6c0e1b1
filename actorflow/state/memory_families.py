"""Ended children that are kept in memory, because their families are still in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.records import RunRecord

__all__ = ["Families", "Kept"]


class Kept(Protocol):
    """A run in memory."""

    record: RunRecord
    status: RunStatus


_T = TypeVar("_T", bound=Kept)


class Families(Generic[_T]):
    """The families of which a run is in progress.

    Args:
        runs: All runs in memory, by id.
    """

    def __init__(self, runs: Mapping[str, _T]) -> None:
        self._runs = runs
        self._open: dict[str, set[str]] = {}
        """The ids of the children in progress, by the id of the first run of their family."""
        self._ended: dict[str, dict[str, _T]] = {}
        """The children that have ended, in that order, of families in progress."""

    def begin(self, record: RunRecord) -> None:
        """Take note that a run is in progress, perhaps again."""
        if record.parent is not None:
            root = record.parent.root_run_id
            self._open.setdefault(root, set()).add(record.run_id)
            self._ended.get(root, {}).pop(record.run_id, None)

    def end(self, run: _T) -> list[_T]:
        """Take note that a run has ended; return the runs that are not kept any longer for that."""
        parent, run_id = run.record.parent, run.record.run_id
        root = run_id if parent is None else parent.root_run_id
        if parent is None:
            return [run, *self._released(root)] if root in self._ended else [run]
        self._open.get(root, set()).discard(run_id)
        self._ended.setdefault(root, {})[run_id] = run
        return self._released(root)

    def _released(self, root: str) -> list[_T]:
        first = self._runs.get(root)
        if self._open.get(root) or (first is not None and not first.status.terminal):
            return []
        self._open.pop(root, None)
        return list(self._ended.pop(root, {}).values())

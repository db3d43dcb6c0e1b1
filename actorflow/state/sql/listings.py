"""Reading, finding and counting runs, as a part of `SQLStateManager`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.definition.arguments import event_page
from actorflow.model.filters import RunFilters, RunQuery, columns_of
from actorflow.state.folding import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Unpack

    from actorflow.model.events import Event
    from actorflow.model.filters import RunListing
    from actorflow.model.records import RunPage, RunRecord, RunSnapshot
    from actorflow.state.sql.health import Owner
    from actorflow.state.sql.reading import Reader
    from actorflow.state.sql.writing.writer import Writer

__all__ = ["SQLListings"]


class SQLListings:
    """Reads runs on the calling thread; a part of `SQLStateManager`."""

    _check_process: Callable[[], None]
    _fresh: dict[str, RunRecord]
    _reader: Reader
    _writer: Writer

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the current state of a run."""
        fresh = self._fresh.get(run_id)
        return self._reader.snapshot(run_id) if fresh is None else fold(fresh, ())

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Return the run's events with a number greater than `after`, in order."""
        event_page(after, limit)
        return [] if run_id in self._fresh else self._reader.events(run_id, after, limit)

    def records(
        self, run_ids: Collection[str]
    ) -> Mapping[str, tuple[RunSnapshot, Sequence[Event]]]:
        """Return runs with their events, by run id, without those that cannot be read."""
        return self._reader.records(run_ids)

    def durations(self, workflow_id: str) -> Mapping[str, float]:
        """Return the median seconds of each step over the last completed runs of a workflow."""
        return self._reader.durations(workflow_id)

    def list(self, **asked: Unpack[RunListing]) -> RunPage:
        """Return runs, newest first, ties by run id; waits for pending accepted runs to commit.

        Raises:
            DefinitionError: When a filter is invalid.
            StoreUnavailable: When the database cannot be reached.
        """
        query = RunQuery.of(asked)
        self._wait_for_fresh()
        return self._reader.list(query)

    def count_runs(
        self, by: str | Sequence[str], /, **filters: Unpack[RunFilters]
    ) -> Mapping[Any, int]:
        """Return how many runs match all filters, by what they have in common.

        Raises:
            DefinitionError: When an argument is invalid.
            StoreUnavailable: When the database cannot be reached.
        """
        columns, query = columns_of(by), RunQuery.of(filters, RunFilters)
        self._wait_for_fresh()
        groups = self._reader.count(columns, query)
        return {key[0]: count for key, count in groups.items()} if isinstance(by, str) else groups

    def owners(self) -> Sequence[Owner]:
        """Return the owners with a lease, and those that runs in progress have, by their names.

        Raises:
            StoreUnavailable: When the database cannot be reached.
        """
        self._wait_for_fresh()
        return self._reader.owners()

    def _wait_for_fresh(self) -> None:
        self._check_process()
        fresh = set(self._fresh)
        self._writer.wait_until(lambda: fresh.isdisjoint(self._fresh))

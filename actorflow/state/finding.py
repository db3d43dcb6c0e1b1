"""Finds and counts runs in memory, one by one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from actorflow.errors.storage import RecordedError
from actorflow.model.attributes import key_of
from actorflow.model.filters import columns_of
from actorflow.support.class_names import dotted_name
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorflow.model.filters import RunQuery
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.records import RunRecord, RunSnapshot

__all__ = ["Recorded", "counted", "matching"]


class Recorded(Protocol):
    """A run in memory."""

    record: RunRecord
    status: RunStatus

    def summary(self) -> RunSnapshot:
        """Return the run without its steps."""


_T = TypeVar("_T", bound=Recorded)
_ACCEPTED: Final = frozenset({"created_after", "created_before"})


def matching(query: RunQuery, runs: Iterable[_T]) -> Iterator[_T]:
    """Yield the runs that match all filters."""
    # A summary costs more than all other filters together.
    folds = bool(query.error or query.flags or query.times.keys() - _ACCEPTED)
    for run in runs:
        if _matches_record(query, run) and (not folds or _matches_summary(query, run.summary())):
            yield run


def _matches_record(query: RunQuery, run: Recorded) -> bool:
    record = run.record
    return (
        (query.status is None or run.status in query.status)
        and all(_column(record, name) == value for name, value in query.equal.items())
        and _is_within(query.times, "created", record.created_at)
        and all(_has(record, name, keys) for name, keys in query.attributes.items())
    )


def _column(record: RunRecord, name: str) -> Any:
    parent = record.parent
    if name == "root_run_id":
        return record.run_id if parent is None else parent.root_run_id
    if name == "parent_run_id":
        return None if parent is None else parent.run_id
    return getattr(record, name, None)


def _has(record: RunRecord, name: str, keys: frozenset[Any]) -> bool:
    value = record.attributes.get(name)
    return value is not None and key_of(value) in keys


def _matches_summary(query: RunQuery, run: RunSnapshot) -> bool:
    return (
        all((getattr(run, name) is not None) is wanted for name, wanted in query.flags.items())
        and _is_within(query.times, "finished", run.finished_at)
        and (query.error is None or _is_error(run.error, query.error))
    )


def _is_within(times: Mapping[str, float], what: str, moment: float | None) -> bool:
    after, before = times.get(f"{what}_after"), times.get(f"{what}_before")
    if moment is None:
        return after is before is None
    return (after is None or moment >= after) and (before is None or moment < before)


def _is_error(error: BaseException | None, wanted: str) -> bool:
    if error is None:
        return False
    if isinstance(error, RecordedError):
        name, text = error.type_name, error.text
    else:
        name, text = dotted_name(type(error)), _text(error)
    return wanted in text or f".{name}".endswith(f".{wanted}")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a user-defined `__str__` may raise anything
        return text_of(error)


def counted(by: str | Sequence[str], runs: Iterable[Recorded]) -> Mapping[Any, int]:
    """Return the numbers of runs, by the values of the columns `by`."""
    columns = columns_of(by)
    groups = Counter(tuple(_value(run, name) for name in columns) for run in runs)
    return {key[0] if isinstance(by, str) else key: count for key, count in groups.items()}


def _value(run: Recorded, column: str) -> Any:
    return run.status if column == "status" else getattr(run.record, column)

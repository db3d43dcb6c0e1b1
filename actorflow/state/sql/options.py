"""Checks of a manager's options, and of strings that no column can hold."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias

from actorflow.definition.arguments import is_storable, is_whole
from actorflow.definition.workflow import Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import MissingExtra, NotStorable
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.records import RunRecord

    Counts: TypeAlias = tuple[object, object, object, object]
    from collections.abc import Iterator

__all__ = ["check_columns", "check_options", "needs_extra", "plan_given"]

_SHORTEST_LEASE: Final = 0.1
_LONGEST_LEASE: Final = 366 * 86_400.0
_COUNTED: Final = (
    ("max_waiting", "events"),
    ("max_input", "bytes"),
    ("max_output", "bytes"),
    ("max_event", "bytes"),
)
_METHODS: Final = ("dumps", "loads")


def check_options(
    serializer: object, synchronous: object, lease: object, patience: object, counts: Counts
) -> None:
    """Raise if an option of a manager is invalid.

    Args:
        serializer: The manager's argument of that name, as are the next three.
        synchronous: See `serializer`.
        lease: See `serializer`.
        patience: See `serializer`.
        counts: `max_waiting`, `max_input`, `max_output` and `max_event`, in this order.

    Raises:
        DefinitionError: When one is invalid.
    """
    if serializer is not None:
        _check_serializer(serializer)
    if synchronous not in ("FULL", "NORMAL"):
        problem = (
            f'SQLStateManager() synchronous must be "FULL" or "NORMAL", not {text_of(synchronous)}'
        )
        raise DefinitionError(None, problem, 'Use "FULL", or "NORMAL" for faster commits')
    if not isinstance(lease, (int, float)) or not _SHORTEST_LEASE <= lease < _LONGEST_LEASE:
        problem = (
            f"SQLStateManager() lease must be from 0.1 seconds to a year, not {text_of(lease)}"
        )
        raise DefinitionError(None, problem, "Choose more than the longest pause of your process")
    if not isinstance(patience, (int, float)) or not patience >= 0:
        problem = f"SQLStateManager() patience must be a number of seconds, not {text_of(patience)}"
        raise DefinitionError(None, problem, "Use 0 to try each write only once")
    for (name, unit), count in zip(_COUNTED, counts, strict=True):
        if not is_whole(count, 1):
            problem = f"SQLStateManager() {name} must be a number of {unit}, not {text_of(count)}"
            raise DefinitionError(None, problem, "Use a whole number of at least 1")


def plan_given(flow: object) -> WorkflowPlan:
    """Return the plan of a workflow that is given as such.

    Raises:
        DefinitionError: When it is invalid, or is not a workflow.
    """
    if not isinstance(flow, Workflow):
        problem = f"enqueue_in() got {text_of(flow)}, which is not a workflow"
        raise DefinitionError(None, problem, "Pass the Workflow itself: no ids are registered here")
    return flow.plan()


def _check_serializer(serializer: object) -> None:
    shown = f"SQLStateManager(serializer={text_of(serializer)})"
    if isinstance(serializer, type):
        raise DefinitionError(None, f"{shown} is a class", "Pass an instance of it")
    missing = [f"{it}()" for it in _METHODS if not callable(getattr(serializer, it, None))]
    name = getattr(serializer, "name", None)
    if not isinstance(name, str) or not name:
        missing.append("name")
    if missing:
        problem = f"{shown} is not a serializer: it has no {missing[0]}"
        raise DefinitionError(None, problem, "Pass one such as JSONSerializer()")


_REQUIRED: Final = ("run_id", "workflow_id", "workflow_version")
_OPTIONAL: Final = ("trace_id", "correlation_id", "business_id", "idempotency_key", "key")


def check_columns(record: RunRecord) -> None:
    """Raise if a record has a value that no column can hold, before it makes a group fail.

    Raises:
        NotStorable: When it has one.
    """
    strings = {name: getattr(record, name) or "" for name in (*_REQUIRED, *_OPTIONAL)}
    for name, text in (*strings.items(), *(("step id", it) for it in record.step_ids)):
        if not is_storable(text):
            raise NotStorable(f"the run's {name}", repr(text), "contains NUL or lone surrogates")
    if not is_whole(record.priority):
        raise NotStorable("the run's priority", str(record.priority), "has more than 64 bits")


_EXTRA: Final = frozenset({"alembic", "msgspec", "psycopg", "sqlalchemy"})


@contextlib.contextmanager
def needs_extra(what: str) -> Iterator[None]:
    """Turn a failed import of the extra's packages into an error that names the extra.

    Args:
        what: The feature that needs the extra.

    Raises:
        MissingExtra: When one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in _EXTRA:
            raise
        raise MissingExtra(what, missing.name, "sql") from missing

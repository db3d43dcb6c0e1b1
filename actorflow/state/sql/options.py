"""What is refused before it can do harm: options, and texts that no column can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import NotStorable
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from actorflow.model.results import RunRecord

    Counts: TypeAlias = tuple[object, object, object, object]

__all__ = ["check_columns", "check_options"]

_BIGGEST: Final = 2**63
_SHORTEST_LEASE: Final = 0.1
_LONGEST_LEASE: Final = 366 * 86_400.0
_COUNTED: Final = (
    ("max_waiting", "events"),
    ("max_input", "bytes"),
    ("max_output", "bytes"),
    ("max_event", "bytes"),
)
_OF_A_SERIALIZER: Final = ("dumps", "loads")


def check_options(
    serializer: object, synchronous: object, lease: object, patience: object, counts: Counts
) -> None:
    """Refuse options of a manager that make no sense.

    Args:
        serializer: As the manager was told; likewise the next three.
        synchronous: Whether a commit has to reach the disk.
        lease: For how long runs are its own.
        patience: For how long it tries again.
        counts: How many events may wait, and how many bytes inputs, outputs and events may take.

    Raises:
        DefinitionError: When one is.
    """
    if serializer is not None:
        _check_serializer(serializer)
    if synchronous not in {"FULL", "NORMAL"}:
        problem = f"SQLStateManager(synchronous={synchronous!r}) is no choice"
        raise DefinitionError(None, problem, 'Use "FULL" or "NORMAL"')
    if not isinstance(lease, (int, float)) or not _SHORTEST_LEASE <= lease < _LONGEST_LEASE:
        problem = f"SQLStateManager(lease={lease!r}) is no number of seconds from 0.1 to a year"
        raise DefinitionError(None, problem, "Give more than the longest pause of your process")
    if not isinstance(patience, (int, float)) or not patience >= 0:
        problem = f"SQLStateManager(patience={patience!r}) is no number of seconds"
        raise DefinitionError(None, problem, "Give one, or 0 to try everything once")
    for (name, unit), count in zip(_COUNTED, counts, strict=True):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            problem = f"SQLStateManager({name}={count!r}) is no number of {unit}"
            raise DefinitionError(None, problem, "Give a whole number of at least 1")


def _check_serializer(serializer: object) -> None:
    said = f"SQLStateManager(serializer={text_of(serializer)})"
    if isinstance(serializer, type):
        raise DefinitionError(None, f"{said} is a class", "Pass an instance")
    lacking = [f"{it}()" for it in _OF_A_SERIALIZER if not callable(getattr(serializer, it, None))]
    name = getattr(serializer, "name", None)
    if not isinstance(name, str) or not name:
        lacking.append("name")
    if lacking:
        problem = f"{said} is no serializer: it has no {lacking[0]}"
        raise DefinitionError(None, problem, "Pass one such as JSONSerializer()")


_TEXTS: Final = ("run_id", "workflow_id", "workflow_version")
_IDS: Final = ("trace_id", "correlation_id", "business_id", "idempotency_key")


def check_columns(record: RunRecord) -> None:
    """Refuse what no column can hold, before it spoils a group.

    Raises:
        NotStorable: When the record has such a thing.
    """
    texts = {name: getattr(record, name) or "" for name in (*_TEXTS, *_IDS)}
    for name, text in (*texts.items(), *(("step id", it) for it in record.step_ids)):
        if "\0" in text or (not text.isascii() and _has_surrogates(text)):
            raise NotStorable(f"the run's {name}", repr(text), "is no text of characters")
    if not -_BIGGEST <= record.priority < _BIGGEST:
        raise NotStorable("the run's priority", str(record.priority), "has more than 64 bits")


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False

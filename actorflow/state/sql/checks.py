"""What is refused before it can do harm: options, and texts that no column can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors import DefinitionError, NotStorable

if TYPE_CHECKING:
    from actorflow.results import RunRecord

__all__ = ["check_columns", "check_options"]

_BIGGEST: Final = 2**63
_SHORTEST_LEASE: Final = 0.1
_LONGEST_LEASE: Final = 366 * 86_400.0


def check_options(
    synchronous: object, lease: object, patience: object, max_waiting: object
) -> None:
    """Refuse options of a manager that are out of their range.

    Raises:
        DefinitionError: When one is.
    """
    if synchronous not in {"FULL", "NORMAL"}:
        problem = f"SQLStateManager(synchronous={synchronous!r}) is no choice"
        raise DefinitionError(None, problem, 'Use "FULL" or "NORMAL"')
    if not isinstance(lease, (int, float)) or not _SHORTEST_LEASE <= lease < _LONGEST_LEASE:
        problem = f"SQLStateManager(lease={lease!r}) is no number of seconds from 0.1 to a year"
        raise DefinitionError(None, problem, "Give more than the longest pause of your process")
    if not isinstance(patience, (int, float)) or not patience >= 0:
        problem = f"SQLStateManager(patience={patience!r}) is no number of seconds"
        raise DefinitionError(None, problem, "Give one, or 0 to try everything once")
    if not isinstance(max_waiting, int) or max_waiting < 1:
        problem = f"SQLStateManager(max_waiting={max_waiting!r}) is no number of events"
        raise DefinitionError(None, problem, "Give a whole number of at least 1")


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

"""One log line per event through structlog, if the program has configured logging."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.support.logs import STANDARD, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.model.events import Event

__all__ = ["LogObserver", "logging_is_configured"]

_DEBUG: Final = frozenset({EventKind.STEP_READY})
_WARNINGS: Final = frozenset(
    {
        EventKind.RUN_FAILED,
        EventKind.STEP_RETRYING,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_ABANDONED,
        EventKind.STEP_FAILED,
        EventKind.STEP_SKIPPED,
        EventKind.COMPENSATION_RETRYING,
        EventKind.COMPENSATION_TIMED_OUT,
        EventKind.COMPENSATION_ABANDONED,
        EventKind.COMPENSATION_FAILED,
    }
)
_BEGINNINGS: Final = frozenset(
    {EventKind.RUN_ACCEPTED, EventKind.RUN_STARTED, EventKind.RUN_RESUMED}
)
_ENDS: Final = frozenset({EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})
# The watchdog logs these itself, while the body blocks.
_LOGGED_ELSEWHERE: Final = frozenset({EventKind.STEP_BLOCKING, EventKind.COMPENSATION_BLOCKING})
# Outputs belong to the program, may be large, and may be secret.
_PRIVATE: Final = frozenset({"output"})


def logging_is_configured() -> bool:
    """Return whether the program has configured structlog or standard logging."""
    # Another thread may be importing structlog at this moment.
    is_configured = getattr(sys.modules.get("structlog"), "is_configured", None)
    if is_configured is not None and is_configured():
        return True
    logger: logging.Logger | None = STANDARD
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


class LogObserver:
    """Logs each event as one line, with the run's ids bound."""

    def __init__(self) -> None:
        self._bound: dict[str, Mapping[str, str]] = {}

    def __call__(self, event: Event) -> None:
        """Log one event."""
        if event.kind in _BEGINNINGS:
            self._bound[event.run_id] = event.data
        if event.kind not in _LOGGED_ELSEWHERE:
            self._write(event)
        if event.kind in _ENDS:
            self._bound.pop(event.run_id, None)

    def _write(self, event: Event) -> None:
        bound = self._bound.get(event.run_id, {})
        where = {"step_id": event.step_id, "attempt": event.attempt}
        details = {name: value for name, value in event.data.items() if name not in _PRIVATE}
        known = {name: value for name, value in (where | details).items() if value is not None}
        logger = get_logger(run_id=event.run_id, **bound)
        if event.kind in _BEGINNINGS:
            known = {}
        _level(logger, event.kind)(event.kind.value, number=event.number, **known)


def _level(logger: object, kind: EventKind) -> Callable[..., object]:
    name = "warning" if kind in _WARNINGS else "debug" if kind in _DEBUG else "info"
    level: Callable[..., object] = getattr(logger, name)
    return level

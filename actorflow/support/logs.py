"""Loggers that are silent until the embedding program configures logging.

A program that has configured structlog receives actorflow's lines through it. Otherwise they go to
the standard logger `actorflow` as `event key=value …`. A program that has configured neither sees
nothing: the only handler that is added is a `NullHandler` on that logger.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import structlog

__all__ = ["NAME", "STANDARD", "get_logger"]

NAME: Final = "actorflow"
STANDARD: Final = logging.getLogger(NAME)
"""The standard logger, looked up once: Ctrl-C during a look-up can leave all logging locked."""

STANDARD.addHandler(logging.NullHandler())


def get_logger(**bindings: Any) -> structlog.typing.FilteringBoundLogger:
    """Return a logger that carries `bindings` in every line."""
    import structlog  # noqa: PLC0415 - it costs more to import than all of actorflow

    if structlog.is_configured():
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(NAME)
        return logger.bind(**bindings)
    plain: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        STANDARD,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return plain.bind(**bindings)

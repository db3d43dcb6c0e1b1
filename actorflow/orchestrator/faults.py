"""Reports of the faults of state managers and executors; a part of the runtime."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from actorflow.support.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.events import Event

__all__ = ["ReportsFaults"]


class ReportsFaults:
    """Logs what others did wrong."""

    def unrecorded(self, events: Sequence[Event], error: BaseException) -> None:
        """Report events that the state manager could not record."""
        with contextlib.suppress(BaseException):  # a log that raises must not add to it
            get_logger().error(
                "events.unrecorded", events=[str(event) for event in events], exc_info=error
            )

    def misbehaved(self, attempt: Attempt, what: str, error: BaseException) -> None:
        """Report an executor that raised where its contract forbids that."""
        with contextlib.suppress(BaseException):  # a log that raises must not add to it
            get_logger(run_id=attempt.scope.run_id, **attempt.scope.bindings()).error(
                "executor.failed", executor=repr(attempt.executor), method=what, exc_info=error
            )

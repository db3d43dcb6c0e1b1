"""Errors of step bodies that never started or returned a coroutine."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from actorflow.errors.running import StepCancelled

if TYPE_CHECKING:
    from actorflow.model.context import Attempt

__all__ = ["not_begun", "outcome"]


def not_begun(attempt: Attempt) -> StepCancelled:
    """Return the error for an attempt that was stopped before its body was called."""
    return StepCancelled(attempt.scope.run_id, attempt.step_id, "it was stopped before it began")


def outcome(attempt: Attempt, output: Any) -> tuple[Any, BaseException | None]:
    """Return a plain function's output; an error instead if the output is a coroutine."""
    if not inspect.iscoroutine(output):
        return output, None
    output.close()
    return None, TypeError(
        f"step {attempt.step_id!r} is a plain function that returned a coroutine, "
        "which would never be awaited. Define the step with `async def`."
    )

"""What executors say of bodies: that they never began, or returned nonsense."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from actorflow.errors.running import StepCancelled

if TYPE_CHECKING:
    from actorflow.model.context import Attempt

__all__ = ["not_begun", "outcome"]


def not_begun(attempt: Attempt) -> StepCancelled:
    """Return the error of an attempt that was stopped before its body was entered."""
    return StepCancelled(attempt.scope.run_id, attempt.step_id, "it was stopped before it began")


def outcome(attempt: Attempt, output: Any) -> tuple[Any, BaseException | None]:
    """Return a plain function's output, or the error that lies in its being a coroutine."""
    if not inspect.iscoroutine(output):
        return output, None
    output.close()
    return None, TypeError(
        f"step {attempt.step_id!r} is a plain function that returned a coroutine, "
        "which nobody would await. Define the step with `async def`."
    )

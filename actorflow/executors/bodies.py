"""Errors of step bodies: never started, returned a coroutine, or ignored a GeneratorExit."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from actorflow.errors.running import StepCancelled

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actorflow.model.context import Attempt

__all__ = ["not_begun", "outcome", "throw_into"]


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


def throw_into(coroutine: Coroutine[Any, Any, Any], error: BaseException) -> Any:
    """Throw an error into a suspended body; return what it waits for next."""
    waiting = coroutine.throw(error)
    if isinstance(error, GeneratorExit):
        # The task ends with this exception, so nothing would ever resume the body.
        coroutine.close()
        raise RuntimeError("coroutine ignored GeneratorExit")  # noqa: TRY004 - as Python does
    return waiting

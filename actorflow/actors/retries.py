"""Whether a failed attempt gets another one, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.errors import RetryAfter

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.actors.ledger import StepState

__all__ = ["backoff"]


def backoff(
    step: StepState, error: BaseException | None, now: float, random: Callable[[], float]
) -> float | None:
    """Return the seconds until the step's next attempt, or None if it gets none.

    A wait that would outlast the step's total timeout is not begun: the step fails at once,
    with the error at hand rather than with a timeout that hides it.
    """
    policy = step.step.retry
    if policy is None or error is None or step.attempts >= policy.max_attempts:
        return None
    if not policy.accepts(error):
        return None
    delay = (
        error.seconds if isinstance(error, RetryAfter) else policy.delay(step.attempts, random())
    )
    total = step.total_deadline
    return None if total is not None and now + delay >= total[0] else delay

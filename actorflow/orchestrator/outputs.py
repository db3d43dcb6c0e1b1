"""Outputs on their way from an executor to the supervisor, past the state manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.messages import AttemptFinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.context import Attempt
    from actorflow.protocols import StateManager

    Finished = Callable[[Attempt, Any, BaseException | None], AttemptFinished]

__all__ = ["finishing"]


def finishing(state: StateManager) -> Finished:
    """Return what makes the message that an attempt has finished.

    A state manager that cannot keep every value has a method `admit`. An output that it refuses
    is the attempt's failure, before anybody has heard of it.
    """
    admit = getattr(state, "admit", None)
    if admit is None:
        return AttemptFinished

    def finished(attempt: Attempt, output: Any, error: BaseException | None) -> AttemptFinished:
        if error is None:
            try:
                admit(attempt.scope.run_id, attempt.step_id, output)
            except BaseException as refusal:  # noqa: BLE001 - whatever it is, the attempt failed
                return AttemptFinished(attempt, None, refusal)
        return AttemptFinished(attempt, output, error)

    return finished

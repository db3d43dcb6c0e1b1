"""The power to defer runs, demanded where a start needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.errors.definition import DefinitionError

if TYPE_CHECKING:
    from actorflow.model.powers import DefersRuns
    from actorflow.orchestrator.powers import Powers

__all__ = ["checked_power"]


def checked_power(powers: Powers, what: str) -> DefersRuns:
    """Return the state manager as one that defers runs.

    Raises:
        DefinitionError: When it is none; `what` needs it.
    """
    if powers.deferral is None:
        name = type(powers.state).__name__
        problem = f"{what} needs a state manager that defers runs, and {name} does not"
        cure = "Keep runs in a MemoryStateManager or an SQLStateManager, or see DefersRuns"
        raise DefinitionError(None, problem, cure)
    return powers.deferral

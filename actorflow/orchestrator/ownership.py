"""Runs that were claimed, and are for others after all."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from actorflow.errors import ActorflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.protocols import StateManager

__all__ = ["hand_back"]


def hand_back(state: StateManager, run_id: str, parked: str | None = None) -> None:
    """Let others have a run that was claimed and does not go on here.

    Args:
        state: What has claimed it; one that knows no owners has nothing to give.
        run_id: The run.
        parked: What it waits for, if that is something else than its turn.
    """
    give: Callable[..., None] | None = getattr(state, "hand_back", None)
    if give is not None:
        with contextlib.suppress(ActorflowError):  # then it is this owner's until that is gone
            give(run_id, parked)

"""What is wrong with a command, said so that the reader knows what to type."""

from __future__ import annotations

import attrs

from actorflow.errors import ActorflowError

__all__ = ["Problem"]


@attrs.define(slots=False)
class Problem(ActorflowError):
    """Raised when a command cannot be carried out as it was typed; a run that fails is none."""

    text: str
    _text = "{text}"

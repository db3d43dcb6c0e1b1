"""What a simulation raises that production does not."""

from __future__ import annotations

import attrs

from actorflow.errors import ActorflowError

__all__ = ["NotEnded", "NotSimulated", "StoreFault"]


@attrs.define(slots=False)
class NotSimulated(ActorflowError):
    """Raised inside a step that asks a simulation for something of the real world."""

    what: str
    _text = (
        "loop.{what}() takes threads or I/O, and a simulation has none: its time is virtual. Hand "
        "the step a fake of what it talks to, or script the step with returns(…) or raises(…)."
    )


class StoreFault(ActorflowError):
    """Raised by a simulated state manager that cannot write, because the schedule says so."""

    _text = "the schedule has this write fail"


@attrs.define(slots=False)
class NotEnded(ActorflowError, LookupError):
    """Raised when the result is asked for of a simulated run that has none."""

    run_id: str
    why: str
    _text = "run {run_id!r} has not ended: {why}"

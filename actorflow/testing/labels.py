"""What actors, messages and values are called in traces: the same in every process.

No object's id, no order of a set and no address may show in a name, or equal schedules would
have unequal traces.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from actorflow.messages import ConfigureRun, ConfigureStep
from actorflow.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorflow.systems.delivery import Cell, Envelope

__all__ = ["OUTSIDE", "SUPERVISOR", "Names", "plain", "said"]

OUTSIDE: Final = "outside"
SUPERVISOR: Final = "supervisor"
_ADDRESS: Final = re.compile(r"\b0x[0-9a-fA-F]+")


class Names:
    """What the actors of a trace are called.

    Args:
        envelopes: All its messages: an actor is told who it is by the first that it gets.
    """

    def __init__(self, envelopes: Iterable[Envelope]) -> None:
        self._names: dict[Cell, str] = {}
        for target, message, _ in envelopes:
            if type(message) is ConfigureStep:
                self._names[target] = _step(message.scope.run_id, message.plan.id)
            elif type(message) is ConfigureRun:
                self._names[target] = message.scope.run_id
            elif type(message).__name__ == "ConfigureSupervisor":
                self._names[target] = SUPERVISOR

    def cell(self, cell: Cell) -> str:
        """Return what an actor is called."""
        if cell.parent is None:
            return OUTSIDE
        return self._names.get(cell) or f"actor {cell.number}"

    def of(self, envelope: Envelope) -> tuple[str, str, str]:
        """Return what sender, receiver and message are called."""
        target, message, sender = envelope
        return self.cell(sender), self.cell(target), said(message)


def _step(run_id: str, step_id: str) -> str:
    return step_id if run_id == "run-1" else f"{run_id}/{step_id}"


def said(message: object) -> str:
    """Return what a message is called: its class, and what it is about."""
    kind = type(message).__name__
    attempt = getattr(message, "attempt", None)
    if attempt is not None:
        about = f"{attempt.step_id}#{attempt.number}"
        error = getattr(message, "error", None)
        return f"{kind} {about}" if error is None else f"{kind} {about}: {type(error).__name__}"
    step_id = getattr(message, "step_id", None)
    return kind if step_id is None else f"{kind} {step_id}"


def plain(value: Any) -> str:
    """Return a text of a value that is the same in every process, as far as it can be."""
    if isinstance(value, enum.Enum):
        text = str(value.value)
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{plain(key)}: {plain(value[key])}" for key in value) + "}"
    elif isinstance(value, AbstractSet):
        text = "{" + ", ".join(sorted(map(plain, value))) + "}"
    elif isinstance(value, (list, tuple)):
        text = "(" + ", ".join(map(plain, value)) + ")"
    elif isinstance(value, BaseException):
        text = f"{type(value).__name__}{plain(value.args)}"
    else:
        text = _ADDRESS.sub("0x…", text_of(value))
    return text

"""The names of actors, messages and values in traces, identical in every process.

A name must not show an object's id, the order of a set or a memory address: equal schedules would
then have unequal traces.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.actors import ConfigureSupervisor
from actorflow.model.messages import Execute, MakeSteps, StepMoved, StepsMade
from actorflow.support.safe_text import text_of
from actorflow.testing.simulation.account import FIRST_RUN, UNDO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorflow.systems.delivery import Cell, Envelope

__all__ = ["EXECUTOR", "OUTSIDE", "SUPERVISOR", "Names", "plain", "said", "step_name"]

OUTSIDE: Final = "caller"
EXECUTOR: Final = "executor"
SUPERVISOR: Final = "supervisor"
_ADDRESS: Final = re.compile(r"\b0x[0-9a-fA-F]+")


class Names:
    """The names of the actors of a trace.

    Args:
        envelopes: All messages of the trace; the first message to an actor identifies it.
    """

    def __init__(self, envelopes: Iterable[Envelope]) -> None:
        self._names: dict[Cell, str] = {}
        for envelope in envelopes:
            self.meet(envelope)

    def meet(self, envelope: Envelope) -> None:
        """Learn the names of actors, if a message tells them."""
        target, message, _ = envelope
        if isinstance(message, (StepsMade, StepMoved)):
            for step_id, cell in message.addresses.items():
                self._names[cell] = step_name(message.run_id, step_id)
        else:
            name = _introduced(message)
            if name is not None:
                self._names[target] = name

    def cell(self, cell: Cell) -> str:
        """Return the name of an actor."""
        name = self._names.get(cell)
        if name is None:
            name = (cell.globalName or OUTSIDE) if cell.parent is None else f"actor {cell.number}"
            self._names[cell] = name
        return name

    def of(self, envelope: Envelope) -> tuple[str, str, str]:
        """Return the names of the sender, the receiver and the message."""
        target, message, sender = envelope
        return self.cell(sender), self.cell(target), said(message)


def _introduced(message: object) -> str | None:
    """Return the name of the actor that receives a configuring message, else None."""
    if isinstance(message, Execute):
        return step_name(message.attempt.scope.run_id, message.attempt.step_id)
    if isinstance(message, MakeSteps):
        return message.scope.run_id
    return SUPERVISOR if isinstance(message, ConfigureSupervisor) else None


def step_name(run_id: str, step_id: str) -> str:
    """Return the name of a step; steps of the first run omit the run id."""
    return step_id if run_id == FIRST_RUN else f"{run_id}/{step_id}"


def said(message: Any) -> str:
    """Return the name of a message: its class and its subject."""
    kind = type(message).__name__
    if hasattr(message, "attempt"):
        attempt = message.attempt
        undo = UNDO if attempt.compensates else ""
        about = f"{undo}{attempt.step_id}#{attempt.number}"
        error = getattr(message, "error", None)
        return f"{kind} {about}" if error is None else f"{kind} {about}: {type(error).__name__}"
    if hasattr(message, "poisonMessage"):
        return f"{kind} of {said(message.poisonMessage)}"
    step_id = getattr(message, "step_id", None)
    return kind if step_id is None else f"{kind} {step_id}"


def plain(value: Any) -> str:
    """Return a string for a value that is the same in every process, as far as possible."""
    try:
        return repr(value) if type(value) in _AS_WRITTEN else _plain(value)
    except Exception:  # noqa: BLE001 - a user's value, a recursive one, or too large an int
        return _ADDRESS.sub("0x…", text_of(value))


def _plain(value: Any) -> str:
    kind = type(value)
    say = next((say for known, say in _KINDS if isinstance(value, known)), None)
    if say is not None:
        return say(value)
    if attrs.has(kind) or dataclasses.is_dataclass(value):
        names = [field.name for field in _fields(kind)]
        return f"{kind.__name__}{plain({name: getattr(value, name, None) for name in names})}"
    return _ADDRESS.sub("0x…", text_of(value))


def _fields(kind: Any) -> tuple[Any, ...]:
    return attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(kind)


def _all(values: Iterable[Any]) -> str:
    return ", ".join(map(plain, values))


_AS_WRITTEN: Final = frozenset({str, int, float, bool, bytes, complex, type(None)})
_KINDS: Final[tuple[tuple[type[Any], Callable[[Any], str]], ...]] = (
    (enum.Enum, lambda value: str(value.value)),
    (Mapping, lambda value: f"{{{', '.join(f'{plain(k)}: {plain(value[k])}' for k in value)}}}"),
    (AbstractSet, lambda value: f"{{{', '.join(sorted(map(plain, value)))}}}"),
    (list, lambda value: f"[{_all(value)}]"),
    (tuple, lambda value: f"({_all(value)})"),
    (BaseException, lambda value: f"{type(value).__name__}({_all(value.args)})"),
)

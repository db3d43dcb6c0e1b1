"""How much may go wrong in a schedule."""

from __future__ import annotations

from typing import Any, Final

import attrs

from actorflow.errors import DefinitionError
from actorflow.spelling import checks_options
from actorflow.testing.sparse import Sparse

__all__ = ["NO_FAULTS", "Faults"]


def _count() -> Any:
    return attrs.field(default=0, validator=_check_count)


def _check_count(_owner: object, field: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        problem = f"{field.name} of Faults is {value!r}"
        raise DefinitionError(None, problem, "Give a whole number, 0 or more")


@checks_options
@attrs.frozen(kw_only=True, repr=False)
class Faults(Sparse):
    """How many faults of each kind one schedule may hold; when they happen is chosen.

    Each that is allowed is a choice, and the plainest choice is that it does not happen.
    """

    crashes: int = _count()
    """The actor of a step or of a run dies in place of a message, and the message with it."""
    poisons: int = _count()
    """A step's actor cannot handle what it is to execute, and lives on."""
    duplicates: int = _count()
    """A message that says what has happened arrives twice."""
    delays: int = _count()
    """A message, and what its sender says after it, is withheld for some deliveries."""
    cancels: int = _count()
    """A run is cancelled."""
    restarts: int = _count()
    """The whole orchestrator crashes, another one takes its place and resumes the runs."""
    late_results: int = _count()
    """An attempt that was abandoned is reported all the same, when its body ends."""
    store_failures: int = _count()
    """The state manager cannot write."""
    store_stalls: int = _count()
    """The state manager takes its time to write."""

    def budget(self, label: str) -> int:
        """Return how many there may be of the kind whose choice is called so."""
        return int(getattr(self, _FIELDS[label]))

    @property
    def deviations(self) -> int:
        """How many faults there may be."""
        return sum(attrs.astuple(self))

    @property
    def any(self) -> bool:
        """Whether anything may go wrong."""
        return any(attrs.astuple(self))


_FIELDS: Final = {
    "crash": "crashes",
    "poison": "poisons",
    "duplicate": "duplicates",
    "delay": "delays",
    "cancel": "cancels",
    "restart": "restarts",
    "late result": "late_results",
    "store fails": "store_failures",
    "store stalls": "store_stalls",
}
NO_FAULTS: Final = Faults()

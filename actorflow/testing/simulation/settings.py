"""Settings and faults of a simulation, whose repr shows only what differs from the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.actors.run import RunActor
from actorflow.actors.step import CompensatorActor, StepActor
from actorflow.definition.durations import as_seconds, seconds
from actorflow.errors.definition import DefinitionError
from actorflow.model.messages import (
    AttemptAbandoned,
    AttemptFinished,
    CancelRun,
    DependencyCompleted,
    Execute,
    Settled,
)
from actorflow.support.suggestions import checks_options
from actorflow.systems.simulated.mischief import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.systems.delivery import Envelope

__all__ = [
    "MESSAGE_FAULTS",
    "NO_FAULTS",
    "PLAIN_SETTINGS",
    "SPANS",
    "Faults",
    "Settings",
    "Sparse",
    "may_strike",
]


class Sparse:
    """An attrs value whose repr recreates it and leaves out defaults.

    Its classes are made with `attrs.frozen(kw_only=True, repr=False)`.
    """

    __slots__ = ()
    __attrs_attrs__: tuple[attrs.Attribute[Any], ...]

    def special(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields that differ from their defaults, with their values."""
        for field in self.__attrs_attrs__:
            value = getattr(self, field.name)
            if value != field.default:
                yield field.name, value

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.special())
        return f"{type(self).__name__}({said})"

    def _repr_pretty_(self, page: Any, _cycle: object) -> None:
        """Show the same repr in pretty printers, such as those of Hypothesis and IPython."""
        page.text(repr(self))

    @property
    def deviations(self) -> int:
        """Number of deviations from the defaults."""
        return sum(_weight(value) for _, value in self.special())


def _weight(value: object) -> int:
    if isinstance(value, tuple):
        return sum(map(_weight, value))
    return value.deviations if isinstance(value, Sparse) else 1


def _count() -> Any:
    return attrs.field(default=0, validator=_check_count)


def _check_count(_owner: object, field: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        problem = f"{field.name} of Faults is {value!r}"
        raise DefinitionError(None, problem, "Give a whole number, 0 or more")


@checks_options
@attrs.frozen(kw_only=True, repr=False)
class Faults(Sparse):
    """How many faults of each kind one schedule may have; when they happen is chosen.

    Each allowed fault is a choice; by default it does not happen.

    Example:
        >>> from actorflow import Step, Workflow
        >>> from actorflow.testing import Faults, explore
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> explore(flow, schedules=50, faults=Faults(crashes=1, duplicates=2)).broken is None
        True
    """

    crashes: int = _count()
    """The actor of a step or a run dies instead of handling a message, and the message is lost."""
    poisons: int = _count()
    """A step's actor fails to handle the message that starts an attempt, and stays alive."""
    duplicates: int = _count()
    """A message that reports what has happened arrives twice."""
    delays: int = _count()
    """A message, and what its sender sends after it, is withheld for some deliveries."""
    cancels: int = _count()
    """A run is cancelled."""
    restarts: int = _count()
    """The whole orchestrator crashes; another one takes its place and takes the runs over."""
    pauses: int = _count()
    """A run is paused, and goes on after a while."""
    handovers: int = _count()
    """The whole orchestrator is shut down and leaves its runs; another one takes its place and
    takes them over."""
    late_results: int = _count()
    """An abandoned attempt is still reported when its body ends."""
    store_failures: int = _count()
    """A write of the state manager fails."""
    store_stalls: int = _count()
    """A write of the state manager is delayed."""

    halts: int = _count()
    """With several orchestrators: one of them stands still, perhaps beyond its lease."""
    partitions: int = _count()
    """With several orchestrators: one of them cannot reach the store for a while."""
    clock_steps: int = _count()
    """With several orchestrators: the wall clock of one of them, or of the store, is set wrong."""
    lost_signals: int = _count()
    """With several orchestrators: the owner of a run is not told of its cancellation, of a message
    or of a pause, or who waits for a run is not told that it has ended; they find that out later.
    """
    meanwhile: int = _count()
    """With several orchestrators: one of them takes a turn between two transactions of another."""
    late_signals: int = _count()
    """With several orchestrators: the owner is told late."""

    def budget(self, label: str) -> int:
        """Return how many faults of a kind may happen, given the label of its choice."""
        return int(getattr(self, _FIELDS[label]))

    @property
    def deviations(self) -> int:
        """Total number of faults that may happen."""
        return sum(attrs.astuple(self))

    @property
    def any(self) -> bool:
        """Whether any fault may happen."""
        return any(attrs.astuple(self))


_FIELDS: Final = {
    "crash": "crashes",
    "poison": "poisons",
    "duplicate": "duplicates",
    "delay": "delays",
    "cancel": "cancels",
    "pause": "pauses",
    "restart": "restarts",
    "hand over": "handovers",
    "late result": "late_results",
    "store fails": "store_failures",
    "store stalls": "store_stalls",
    "halt": "halts",
    "cut off": "partitions",
    "clock step": "clock_steps",
    "signal lost": "lost_signals",
    "signal late": "late_signals",
    "meanwhile": "meanwhile",
}
NO_FAULTS: Final = Faults()


@checks_options
@attrs.frozen(kw_only=True, repr=False)
class Settings(Sparse):
    """The settings of a simulated orchestrator."""

    async_workers: int = attrs.field(default=2)
    max_active_runs: int = attrs.field(default=100)
    stop_grace: float = attrs.field(default=5.0, converter=as_seconds)
    race: bool = attrs.field(default=True)
    faults: Faults = attrs.field(default=NO_FAULTS)
    ageing: float | None = attrs.field(
        default=None, converter=attrs.converters.optional(as_seconds)
    )
    max_takeovers: int = attrs.field(default=10)
    evict_after: float | None = attrs.field(
        default=None, converter=attrs.converters.optional(as_seconds)
    )

    @max_takeovers.validator
    def _check_takeovers(self, field: attrs.Attribute[int], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            problem = f"{field.name} is {value!r}"
            raise DefinitionError(None, problem, "Give a whole number, 0 or more")

    @async_workers.validator
    @max_active_runs.validator
    def _check_count(self, field: attrs.Attribute[int], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problem = f"{field.name} is {value!r}"
            raise DefinitionError(None, problem, "Give a whole number, 1 or more")

    @stop_grace.validator
    def _check_grace(self, field: attrs.Attribute[float], value: object) -> None:
        seconds(value, field.name, zero=True)

    @ageing.validator
    @evict_after.validator
    def _check_seconds(self, field: attrs.Attribute[float], value: object) -> None:
        if value is not None:
            seconds(value, field.name)

    @race.validator
    def _check_race(self, field: attrs.Attribute[bool], value: object) -> None:
        if not isinstance(value, bool):
            raise DefinitionError(None, f"{field.name} is {value!r}", "Give True or False")

    @faults.validator
    def _check_faults(self, _field: object, value: object) -> None:
        if not isinstance(value, Faults):
            raise DefinitionError(None, f"faults is {value!r}", "Give Faults(…)")


PLAIN_SETTINGS: Final = Settings()


MESSAGE_FAULTS: Final = (Fault.CRASH, Fault.POISON, Fault.DUPLICATE, Fault.DELAY)
"""The faults that may strike a message, in the order in which they are tried.

`Fault.REORDER` is not one of them: Thespian keeps the order of messages between two actors."""

SPANS: Final = {
    "crash": 4,
    "poison": 1,
    "duplicate": 4,
    "delay": 5,
    "cancel": 8,
    "pause": 8,
    "restart": 8,
    "hand over": 8,
    "store fails": 3,
    "store stalls": 3,
    "late result": 1,
    "halt": 8,
    "cut off": 8,
    "clock step": 8,
    "signal lost": 1,
    "signal late": 1,
    "meanwhile": 20,
}
"""Approximate number of occasions for each fault, per step of a run. They make a fault about as
likely to strike the last occasion as the first."""

_IDEMPOTENT: Final = frozenset(
    {
        AttemptAbandoned,
        AttemptFinished,
        CancelRun,
        DependencyCompleted,
        Execute,
        Settled,
    }
)
"""Messages that change nothing when they are received twice: reports of what has happened, and
instructions to do something once.

Messages that create actors, report their deaths or tell their addresses are not included: an old
address received after the new one would be believed."""
_MORTAL: Final = frozenset({StepActor, RunActor, CompensatorActor})


def may_strike(fault: Fault, envelope: Envelope) -> bool:
    """Return whether a fault may strike a message."""
    target, message, _ = envelope
    if fault is Fault.CRASH:
        return type(target.actor) in _MORTAL
    if fault is Fault.POISON:
        return type(message) is Execute
    if fault is Fault.DUPLICATE:
        return type(message) in _IDEMPOTENT
    return True

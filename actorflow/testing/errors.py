"""What a simulation raises that production does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actorflow.errors.base import ActorflowError
from actorflow.errors.storage import StoreError

if TYPE_CHECKING:
    from actorflow.testing.simulation.tape import Tape

_PURE: Final = (
    "Have laws judge by the trace alone, and steps that are run for real by their arguments alone: "
    "no chance, no clock, nothing that is kept from one schedule to the next."
)

__all__ = ["LawBroken", "NotEnded", "NotNow", "NotSimulated", "Picture", "StoreFault", "Witness"]


@attrs.define(slots=False)
class NotSimulated(ActorflowError):
    """Raised inside a step that asks a simulation for something of the real world."""

    what: str
    _text = (
        "loop.{what}() takes threads or I/O, and a simulation has none: its time is virtual. Hand "
        "the step a fake of what it talks to, or script the step with returns(…) or raises(…)."
    )


class StoreFault(StoreError):
    """Raised by a simulated state manager that cannot write, because the schedule says so."""

    _text = "the schedule has this write fail"


@attrs.define(slots=False)
class NotEnded(ActorflowError, LookupError):
    """Raised when the result is asked for of a simulated run that has none."""

    run_id: str
    why: str
    _text = "run {run_id!r} has not ended: {why}"


@attrs.define(slots=False)
class NotNow(ActorflowError):
    """Raised when a simulation is asked for something after its end, or from within itself."""

    why: str
    _text = "{why}"


class Witness(Protocol):
    """What shows how it came to something: a trace, or what is kept of one in a pickle."""

    @property
    def tape(self) -> Tape:
        """The choices that lead to it."""

    def chart(self) -> str:
        """Return who said what to whom, and when."""


@attrs.frozen
class Picture:
    """What is kept of a trace when it is pickled."""

    tape: Tape
    drawn: str

    def chart(self) -> str:
        """Return the chart as it was drawn."""
        return self.drawn


@attrs.define(slots=False)
class LawBroken(ActorflowError, AssertionError):
    """Raised when a trace does not keep a law.

    Its text is the law, what was seen, the tape as a literal to paste, and the chart.
    """

    number: int | None
    """The law's number; those that users add have none."""
    name: str
    text: str
    """The law itself."""
    observed: str
    """What was seen that must not be."""
    witness: Witness
    """The trace; of a pickled error, only its tape and its chart."""
    doubt: str = ""
    """Why the tape may not show it again: something was not decided by the schedule alone."""

    @property
    def tape(self) -> Tape:
        """The choices that lead to it."""
        return self.witness.tape

    @property
    def chart(self) -> str:
        """Who said what to whom, and when."""
        return self.witness.chart()

    def __str__(self) -> str:
        law = self.name if self.number is None else f"{self.number} ({self.name})"
        doubt = f"FLAKY: {self.doubt}. {_PURE}\n" if self.doubt else ""
        return (
            f"law {law} is broken: {self.text}\n"
            f"seen: {self.observed}\n{doubt}"
            f"tape: {self.tape!r}\n\n{self.chart}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        picture = Picture(self.tape, self.chart)
        said = (self.number, self.name, self.text, self.observed, picture, self.doubt)
        return LawBroken, said

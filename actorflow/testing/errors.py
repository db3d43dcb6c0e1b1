"""What a simulation raises that production does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from actorflow.errors import ActorflowError, StoreError

if TYPE_CHECKING:
    from actorflow.testing.tape import Tape

__all__ = ["LawBroken", "NotEnded", "NotSimulated", "Picture", "StoreFault", "Witness"]


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
        return (
            f"law {law} is broken: {self.text}\n"
            f"seen: {self.observed}\n"
            f"tape: {self.tape!r}\n\n{self.chart}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        picture = Picture(self.tape, self.chart)
        return LawBroken, (self.number, self.name, self.text, self.observed, picture)

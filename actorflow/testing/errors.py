"""The errors of simulations, which production code never raises, and of a missing Hypothesis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.storage import MissingExtra, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.simulation.tape import Tape

__all__ = [
    "LawBroken",
    "NotEnded",
    "NotNow",
    "NotSimulated",
    "NothingExplored",
    "Picture",
    "StoreFault",
    "Witness",
    "needs_hypothesis",
]

_PURE: Final = (
    "Let laws depend on the trace alone, and real steps on their arguments alone: "
    "no randomness, no clock, no state kept from one schedule to the next."
)


@attrs.define(slots=False)
class NotSimulated(ActorflowError):
    """Raised inside a step that needs threads or I/O, which a simulation does not have."""

    what: str
    _text = (
        "loop.{what}() needs threads or I/O, but a simulation has none: its time is virtual. Pass "
        "the step a fake of what it talks to, or script the step with returns(…) or raises(…)."
    )


class StoreFault(StoreError):
    """Raised by a simulated state manager when the schedule makes a write fail."""

    _text = "the schedule has this write fail"


@attrs.define(slots=False)
class NotEnded(ActorflowError, LookupError):
    """Raised when a simulated run has no result, because it has not ended."""

    run_id: str
    why: str
    _text = "run {run_id!r} has not ended: {why}"


@attrs.define(slots=False)
class NotNow(ActorflowError):
    """Raised when a simulation is used after its end, or advanced from within itself."""

    why: str
    _text = "{why}"


@attrs.define(slots=False)
class NothingExplored(ActorflowError, AssertionError):
    """Raised when a search broke no law because a step cannot be simulated.

    Not raised when some of its schedules explored something: `Exploration.explored` is their
    number.
    """

    schedules: int
    """Number of schedules tried."""
    why: str
    _text = "nothing was explored on any of {schedules} schedules: {why}"


class Witness(Protocol):
    """The evidence of a broken law: a trace, or the part of one that a pickle keeps."""

    @property
    def tape(self) -> Tape:
        """The choices that lead to it."""

    def chart(self) -> str:
        """Return the message-sequence chart as text."""


@attrs.frozen
class Picture:
    """The part of a trace that a pickle keeps."""

    tape: Tape
    drawn: str

    def chart(self) -> str:
        """Return the chart as it was drawn."""
        return self.drawn


@attrs.define(slots=False)
class LawBroken(ActorflowError, AssertionError):
    """Raised when a trace breaks a law.

    Its message is the law, what was seen, the tape as a literal to paste, and the chart.
    """

    number: int | None
    """The law's number; None for laws of users."""
    name: str
    text: str
    """The law, in one sentence."""
    observed: str
    """The violation that was seen."""
    witness: Witness
    """The trace; after unpickling, only its tape and chart."""
    doubt: str = ""
    """Why the tape may not reproduce it: something did not depend on the schedule alone."""

    @property
    def tape(self) -> Tape:
        """The choices that lead to it."""
        return self.witness.tape

    @property
    def chart(self) -> str:
        """The message-sequence chart, as text."""
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


@contextlib.contextmanager
def needs_hypothesis(what: str) -> Iterator[None]:
    """Turn a failed import of Hypothesis into an error that names the extra.

    Args:
        what: The module that needs it.

    Raises:
        MissingExtra: When it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name != "hypothesis":
            raise
        raise MissingExtra(what, missing.name, "testing") from missing

"""Choices: where they come from, and how a tape records them.

A schedule is a function of the workflow, the settings and a tape, and of nothing else. A tape holds
one stream of whole numbers for each kind of choice, and each kind reads its own stream, so changing
one choice does not shift the others. 0 is the default choice, a stream that has ended continues
with zeros, and a number that is too large for its choice wraps around. Any tape therefore fits any
schedule, and the empty tape is the default schedule.

A choice about one attempt, such as "take fetch#1", has its own stream. If the tape lacks that
stream, the choice is read from the stream of all such choices, "take *", if there is one. A tape
can therefore be made up without knowing the names of the steps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from actorflow.errors.definition import DefinitionError
from actorflow.support.read_only import ReadOnly
from actorflow.support.safe_text import text_of

__all__ = ["BOM", "Choice", "Choices", "Source", "Tape", "loaded"]

T = TypeVar("T")

Choice: TypeAlias = tuple[str, int, int]
"""One choice: its label, the chosen option, and the number of options."""

_FORMAT: Final = 1
_LARGEST: Final = 2**63 - 1
"""The largest integer that common JSON readers can hold; no choice has as many options."""
BOM: Final = "\ufeff"
"""The byte order mark that some editors put at the start of a file."""
_CURE: Final = "Give whole numbers by choice label, as in the tape of a Trace"


class Tape:
    """The choices that make a schedule: whole numbers, in one stream for each kind of choice.

    A tape is immutable, equal tapes compare equal, and its repr recreates it. Zeros at the end of a
    stream mean nothing and are dropped.

    Args:
        streams: The numbers, by choice label.

    Example:
        >>> from actorflow.testing import Tape
        >>> tape = Tape({"deliver": (0, 1, 0, 0)})
        >>> tape
        Tape({'deliver': (0, 1)})
        >>> Tape.from_json(tape.to_json()) == tape
        True
    """

    __slots__ = ("_streams",)

    def __init__(self, streams: Mapping[str, Iterable[int]] | None = None) -> None:
        given = {} if streams is None else streams
        if not isinstance(given, Mapping):
            raise DefinitionError(None, f"the streams of a tape are {given!r}", _CURE)
        kept = {label: _stream(label, given[label]) for label in sorted(given)}
        self._streams = ReadOnly({label: stream for label, stream in kept.items() if stream})

    @classmethod
    def of(cls, choices: Iterable[Choice]) -> Tape:
        """Return the tape of some choices."""
        streams: dict[str, list[int]] = {}
        for label, value, _ in choices:
            streams.setdefault(label, []).append(value)
        return cls(streams)

    @property
    def streams(self) -> Mapping[str, tuple[int, ...]]:
        """The numbers, by choice label; no stream ends with a zero."""
        return self._streams

    @property
    def deviations(self) -> int:
        """Number of choices that are not the default."""
        return sum(bool(value) for stream in self._streams.values() for value in stream)

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for label, stream in self._streams.items():
            for value in stream:
                yield label, value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tape):
            return NotImplemented
        return dict(self._streams) == dict(other.streams)

    def __hash__(self) -> int:
        return hash(tuple(self._streams.items()))

    def __repr__(self) -> str:
        return f"Tape({dict(self._streams)!r})" if self._streams else "Tape()"

    def __reduce__(self) -> tuple[Any, ...]:
        return Tape, (dict(self._streams),)

    def reader(self) -> Callable[[int, str], int]:
        """Return a reader: the next number for a label, regardless of the number of options."""
        return _from_tape(self)

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> str:
        """Return the tape as JSON."""
        streams = {label: list(stream) for label, stream in self._streams.items()}
        return json.dumps({"actorflow_tape": _FORMAT, "choices": streams})

    @classmethod
    def from_json(cls, text: str) -> Tape:
        """Return the tape in a JSON string.

        Raises:
            DefinitionError: When there is none.
        """
        try:
            said = json.loads(text.removeprefix(BOM))
        except (ValueError, RecursionError) as error:
            problem = f"a tape is not valid JSON: {error}"
            raise DefinitionError(None, problem, "Save it again") from None
        if not isinstance(said, dict) or said.get("actorflow_tape") != _FORMAT:
            problem = f'the JSON of a tape does not have "actorflow_tape": {_FORMAT}'
            raise DefinitionError(None, problem, "Give JSON that Tape.to_json() has made")
        return cls(said.get("choices"))

    def save(self, path: str | Path) -> None:
        """Write the tape to a file, as JSON."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Tape:
        """Return the tape in a file.

        Raises:
            DefinitionError: When there is none.
        """
        return loaded(path, cls.from_json)


def loaded(path: str | Path, from_json: Callable[[str], T]) -> T:
    """Parse a file; name the file in the error if that fails.

    Raises:
        DefinitionError: When its content is not what `from_json` expects.
    """
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        problem = f"{path} is not a text file, so it does not hold a schedule"
        raise DefinitionError(None, problem, "Save it again") from None
    except DefinitionError as error:
        problem = f"{path}: {error.problem}"
        raise DefinitionError(error.workflow_id, problem, error.cure, error.step_id) from error


def _stream(label: object, values: object) -> tuple[int, ...]:
    if not isinstance(label, str) or not isinstance(values, Iterable):
        raise _refusal(values, label)
    stream = tuple(values)
    for value in stream:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
            raise _refusal(value, label)
    end = len(stream)
    while end and not stream[end - 1]:
        end -= 1
    return stream[:end]


def _refusal(held: object, label: object) -> DefinitionError:
    problem = f"a tape holds {text_of(held)} for {text_of(label)}"
    return DefinitionError(None, problem, _CURE)


Source: TypeAlias = Tape | random.Random | Callable[[int, str], int] | None
"""Where choices come from: a tape, a random generator, or a callable that gets the number of
options and the choice's label; None for the default choice everywhere."""


class Choices:
    """Chooses from a source, and keeps the choices.

    Args:
        source: Where the choices come from.
        bias: With a random source, the probability of the default choice before the source is
            asked.
    """

    choose: Callable[[int, str], int]
    """Called with the number of options and the choice's label; returns the index of an option."""
    choose_rarely: Callable[[int, str, int], int]
    """Like `choose`, with a number of blanks as a third argument, which make the last option rare.
    The source is asked to choose from the options and the blanks, and a blank that it chooses
    stands for one of the other options."""

    def __init__(self, source: Source = None, *, bias: float = 0.0) -> None:
        self.used: list[Choice] = []
        """The choices so far, in order."""
        self._errors: list[BaseException] = []
        self.choose, self.choose_rarely = _choosers(
            _reader(source, bias), self.used.append, self._errors.append
        )

    @property
    def error(self) -> BaseException | None:
        """The error that the source raised, if any; after it, every choice is the default.

        Actors survive errors raised in them, so the code that advances the simulation must raise it
        again.
        """
        return self._errors[0] if self._errors else None

    @property
    def tape(self) -> Tape:
        """The choices so far, as a tape that repeats them."""
        return Tape.of(self.used)


def _choosers(
    read: Callable[[int, str], int],
    note: Callable[[Choice], None],
    fail: Callable[[BaseException], None],
) -> tuple[Callable[[int, str], int], Callable[[int, str, int], int]]:
    # Closures rather than methods, because they are called for every message. They hold no
    # reference to their owner: reference cycles would be left to the garbage collector.
    def choose(options: int, label: str) -> int:
        nonlocal read
        try:
            value = read(options, label) % options
        except BaseException as error:
            read = _default_choice
            fail(error)
            raise
        note((label, value, options))
        return value

    def choose_rarely(options: int, label: str, blanks: int) -> int:
        nonlocal read
        try:
            value = read(options + blanks, label) % (options + blanks)
        except BaseException as error:
            read = _default_choice
            fail(error)
            raise
        if value >= options:
            value = (value - options) % (options - 1)
        note((label, value, options))
        return value

    return choose, choose_rarely


def _reader(source: Any, bias: float) -> Callable[[int, str], int]:
    if source is None:
        return _default_choice
    if isinstance(source, Tape):
        return _from_tape(source)
    if isinstance(source, random.Random):
        return _from_chance(source.random, bias)
    if callable(source):
        asked: Callable[[int, str], int] = source
        return asked
    problem = f"choices cannot come from {source!r}"
    raise DefinitionError(None, problem, "Give Tape({…}), random.Random(seed) or a callable")


def _default_choice(_options: int, _label: str) -> int:
    return 0


def _from_tape(tape: Tape) -> Callable[[int, str], int]:
    streams = {label: iter(stream) for label, stream in tape.streams.items()}
    ended: Iterator[int] = iter(())

    def read(_options: int, label: str) -> int:
        stream = streams.get(label)
        if stream is None:
            stream = streams[label] = streams.get(f"{label.partition(' ')[0]} *", ended)
        return next(stream, 0)

    return read


def _from_chance(draw: Callable[[], float], bias: float) -> Callable[[int, str], int]:
    if bias:
        return lambda options, _label: 0 if draw() < bias else int(draw() * options)
    return lambda options, _label: int(draw() * options)

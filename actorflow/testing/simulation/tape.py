"""Choices: where they come from, and how they are kept.

A schedule is a function of the workflow, the settings and a tape, and of nothing else. A tape
holds a stream of whole numbers for each kind of choice, and each kind reads its own: whoever
changes one choice does not shift the others. Nought is the plainest choice, a stream that has
ended goes on with noughts, and a number that is too large for its choice wraps round. Any tape
therefore fits any schedule, and the empty one is the plainest schedule there is.

A choice about one attempt, such as "take fetch#1", has a stream of its own. One that a tape does
not have is read from the stream of all such choices, "take *", if there is one: whoever makes a
tape up need not know the names of the steps.
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
"""What was chosen: what the choice is called, the option, and of how many."""

_FORMAT: Final = 1
_LARGEST: Final = 2**63 - 1
"""What any reader of JSON can hold; nobody has as many options."""
BOM: Final = "\ufeff"
"""What some editors put in front of a text that they save."""
_CURE: Final = "Give whole numbers by the names of choices, as a Trace's tape has them"


class Tape:
    """The choices that make a schedule: whole numbers, in a stream for each kind of choice.

    It is a value: it never changes, equal tapes are equal, and its repr makes it anew.
    Noughts at the end of a stream mean nothing and are dropped.

    Args:
        streams: The numbers, by what the choice is called.

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
            raise DefinitionError(None, f"a tape is made from {given!r}", _CURE)
        kept = {label: _stream(label, given[label]) for label in sorted(given)}
        self._streams = ReadOnly({label: stream for label, stream in kept.items() if stream})

    @classmethod
    def of(cls, choices: Iterable[Choice]) -> Tape:
        """Return the tape of what was chosen."""
        streams: dict[str, list[int]] = {}
        for label, value, _ in choices:
            streams.setdefault(label, []).append(value)
        return cls(streams)

    @property
    def streams(self) -> Mapping[str, tuple[int, ...]]:
        """The numbers, by what the choice is called; none ends with a nought."""
        return self._streams

    @property
    def deviations(self) -> int:
        """How many of the choices are not the plainest."""
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
        """Return what reads it: the next number for a label, however many options there are."""
        return _from_tape(self)

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> str:
        """Return the tape as JSON."""
        streams = {label: list(stream) for label, stream in self._streams.items()}
        return json.dumps({"actorflow_tape": _FORMAT, "choices": streams})

    @classmethod
    def from_json(cls, text: str) -> Tape:
        """Return the tape that JSON holds.

        Raises:
            DefinitionError: When it holds none.
        """
        try:
            said = json.loads(text.removeprefix(BOM))
        except (ValueError, RecursionError) as error:
            raise DefinitionError(None, f"a tape is no JSON: {error}", "Save one anew") from None
        if not isinstance(said, dict) or said.get("actorflow_tape") != _FORMAT:
            problem = f'a tape\'s JSON does not say "actorflow_tape": {_FORMAT}'
            raise DefinitionError(None, problem, "Give one that Tape.to_json() has made")
        return cls(said.get("choices"))

    def save(self, path: str | Path) -> None:
        """Write the tape into a file, as JSON."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Tape:
        """Return the tape that a file holds.

        Raises:
            DefinitionError: When it holds none.
        """
        return loaded(path, cls.from_json)


def loaded(path: str | Path, from_json: Callable[[str], T]) -> T:
    """Return what a file holds, and name the file where it holds something else.

    Raises:
        DefinitionError: When it does.
    """
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        problem = f"{path} is no text, so it holds no schedule"
        raise DefinitionError(None, problem, "Save one anew") from None
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
"""Where choices come from: a tape, chance, or whoever is asked with the number of options and
what the choice is called; None for the plainest choice everywhere."""


class Choices:
    """Chooses from a source, and keeps what was chosen.

    Args:
        source: Where the choices come from.
        bias: When chance chooses, how likely the plainest choice is before it does.
    """

    choose: Callable[[int, str], int]
    """Called with the number of options and what the choice is called; returns an option,
    counted from nought."""

    def __init__(self, source: Source = None, *, bias: float = 0.0) -> None:
        self.used: list[Choice] = []
        """What was chosen so far, in order."""
        self._errors: list[BaseException] = []
        self.choose = _chooser(_reader(source, bias), self.used.append, self._errors.append)

    @property
    def error(self) -> BaseException | None:
        """What the source has raised; from then on the plainest is chosen.

        Actors outlive what is raised in them, so whoever lets things happen has to raise it
        again.
        """
        return self._errors[0] if self._errors else None

    @property
    def tape(self) -> Tape:
        """What was chosen so far, as a tape that chooses the same again."""
        return Tape.of(self.used)


def _chooser(
    read: Callable[[int, str], int],
    note: Callable[[Choice], None],
    fail: Callable[[BaseException], None],
) -> Callable[[int, str], int]:
    # A function of its own rather than a method: it is called for every message. It does not
    # know whose it is, because whatever refers to itself is left to the garbage collector.
    def choose(options: int, label: str) -> int:
        nonlocal read
        try:
            value = read(options, label) % options
        except BaseException as error:
            read = _plainest
            fail(error)
            raise
        note((label, value, options))
        return value

    return choose


def _reader(source: Any, bias: float) -> Callable[[int, str], int]:
    if source is None:
        return _plainest
    if isinstance(source, Tape):
        return _from_tape(source)
    if isinstance(source, random.Random):
        return _from_chance(source.random, bias)
    if callable(source):
        asked: Callable[[int, str], int] = source
        return asked
    problem = f"choices are to come from {source!r}"
    raise DefinitionError(None, problem, "Give Tape({…}), random.Random(seed) or a callable")


def _plainest(_options: int, _label: str) -> int:
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

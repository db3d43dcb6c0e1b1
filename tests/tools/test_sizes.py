"""How many bytes values keep: close, and at a bounded cost."""

from __future__ import annotations

import array
import collections
import dataclasses
import sys

import attrs
import pytest

from actorflow.support import sizes
from actorflow.support.sizes import size_of

MB = 1_000_000
LOOKS = 5_000


@attrs.define
class Slotted:
    """A value with slots."""

    content: object


@dataclasses.dataclass
class Plain:
    """A value with a dictionary."""

    content: object


class Array:
    """An array of an extension, which knows its size."""

    nbytes = 5 * MB


class Faulty:
    """A value whose size raises."""

    @property
    def nbytes(self):
        """Raise."""
        raise RuntimeError("no size")


class AnyAttribute:
    """A value that answers to any name."""

    def __getattr__(self, name):
        return 5 * MB


def strings(count, length=1000):
    """So many different strings."""
    return [chr(97 + number % 26) * length for number in range(count)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (bytes(MB), MB),
        (bytearray(MB), MB),
        (memoryview(bytes(MB)), MB),
        ("x" * MB, MB),
        (array.array("d", bytes(8 * MB)), 8 * MB),
        (Array(), 5 * MB),
        ([bytes(MB), {"a": (bytes(MB), {"x" * MB})}], 3 * MB),
        (collections.deque([bytes(MB)]), MB),
        (Slotted(Plain([bytes(MB)])), MB),
        ([float(number) for number in range(MB)], 32 * MB),
        (dict(enumerate(strings(100_000))), 100_000 * (1049 + 28 + 50)),
        ([{"id": n, "tags": strings(3)} for n in range(10_000)], 10_000 * (3200 + 300)),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "str",
        "array",
        "extension",
        "nested",
        "deque",
        "objects",
        "floats",
        "dict",
        "rows",
    ],
)
def test_a_size_is_estimated(value, expected):
    """To a tenth, whatever holds the bytes."""
    assert expected == pytest.approx(size_of([value], LOOKS), rel=0.1)


def test_each_of_very_many_simple_values_counts():
    """One large output among thousands of small ones is seen."""
    values = [*strings(10_000, 10), bytes(MB), *strings(10_000, 10), Array()]

    assert 6 * MB + 20_000 * sys.getsizeof("x" * 10) == pytest.approx(
        size_of(values, LOOKS), rel=0.01
    )


def test_of_very_many_containers_some_stand_for_the_others():
    """They are chosen evenly."""
    values = [{"rows": strings(number % 10, 100)} for number in range(10_000)]

    assert 10_000 * (300 + 4.5 * 157) == pytest.approx(size_of(values, LOOKS), rel=0.2)


def test_an_object_that_appears_twice_counts_once():
    """An output may be passed on as it is."""
    shared = bytes(MB)

    assert MB == pytest.approx(size_of([shared, [shared, shared], {"a": shared}], LOOKS), rel=0.1)


def test_a_value_may_contain_itself():
    """It is counted once, too."""
    value = [bytes(MB)]
    value.append(value)

    assert MB == pytest.approx(size_of([value], LOOKS), rel=0.1)


@pytest.mark.parametrize(
    "value", [None, 5, True, Faulty(), AnyAttribute(), [None] * 10, size_of], ids=type
)
def test_what_has_no_size_is_small(value):
    """Classes of the user's may raise, or answer to any name."""
    assert 5000 > size_of([value], LOOKS)


@pytest.mark.parametrize(
    "value",
    [
        {"items": [1, 2.5, None], "names": ("a", frozenset({b"b", True})), "more": {"c": set()}},
        [[["x" * MB]]],
        [],
    ],
)
def test_few_plain_values_take_no_look(value, monkeypatch):
    """Most runs end with a few of them, and a look at each would cost more than a step."""
    looked_at = sizes._Look(LOOKS).at_all([value])
    monkeypatch.setattr(sizes, "_Look", None)

    assert looked_at == pytest.approx(size_of([value], LOOKS), abs=200)


@pytest.mark.parametrize(
    "value",
    [list(range(300)), [[[]] * 3, *[[n] * 90 for n in range(3)]], [[[[[[[]]]]]]], [Plain(1)]],
)
def test_other_values_take_looks(value):
    """Many objects, deep ones and those of other classes."""
    assert sizes._size_of_few([value]) is None


def test_a_huge_value_takes_a_bounded_number_of_looks():
    """The estimate is made on the event loop."""
    looked = []

    class Counting:
        @property
        def nbytes(self):
            looked.append(self)
            return 10

    nested = [[[Counting() for _ in range(100)] for _ in range(100)] for _ in range(10)]

    assert 100_000 * 10 < size_of([nested], LOOKS)
    assert LOOKS > len(looked)

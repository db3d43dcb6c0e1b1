"""Attributes of runs: what they may be, and which are equal."""

from __future__ import annotations

import enum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actorflow.errors.definition import DefinitionError
from actorflow.model.attributes import attributes_of, changes_of, key_of, merged

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.text(max_size=9) | st.booleans() | NUMBERS


class Tier(str, enum.Enum):  # noqa: UP042 - str() of a member is not its value
    """An enum of strings."""

    GOLD = "gold"


class Level(enum.IntEnum):
    """An enum of numbers."""

    HIGH = 3


@given(VALUES, VALUES)
@example(True, 1)
@example(2, 2.0)
@example("1", 1)
def test_values_have_one_key_if_they_are_equal_and_of_one_kind(one, other):
    """Whole numbers and fractions are of one kind, bools and strings are not."""
    kinds = [
        str if isinstance(it, str) else bool if isinstance(it, bool) else 0 for it in (one, other)
    ]
    expected = kinds[0] is kinds[1] and one == other

    assert expected == (key_of(one) == key_of(other))


def test_members_of_enums_are_kept_as_their_values():
    """A state manager sees the four types only."""
    found = attributes_of({"tier": Tier.GOLD, "level": Level.HIGH})

    assert {"tier": "gold", "level": 3} == dict(found)
    assert [str, int] == [type(value) for value in found.values()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("a", 1)], "is not a mapping. Pass values by name"),
        ({5: 1}, "has the name 5, which is not a string, or is empty"),
        ({"": 1}, "has the name '', which is not a string, or is empty"),
        ({"a\0": 1}, "contains NUL"),
        ({"n" * 129: 1}, "takes 129 bytes; the limit is 128"),
        ({"a": None}, "attribute 'a' is None, which is neither a string nor a number nor a bool"),
        ({"a": ["x"]}, r"attribute 'a' is \['x'\], which is neither"),
        ({"a": float("inf")}, "attribute 'a' is inf, which is not finite"),
        ({"a": 2**63}, "has more than 64 bits. Pass a string"),
        ({"a": "\ud800"}, "lone surrogates"),
        ({"a": "ä" * 513}, "attribute 'a' takes 1,026 bytes; the limit is 1,024"),
        ({f"a{number}": 1 for number in range(65)}, "there are 65 attributes; the limit is 64"),
        ({f"a{number}": "x" * 1000 for number in range(5)}, "take 5,010 bytes; the limit is 4,096"),
    ],
)
def test_what_is_no_attribute_is_refused(given, said):
    """With its name, and what to do."""
    with pytest.raises(DefinitionError, match=said) as caught:
        attributes_of(given, "flow")

    assert str(caught.value).startswith("workflow 'flow': ")


def test_attributes_may_be_as_many_and_as_large_as_the_limits_say():
    """The limits themselves are allowed."""
    assert 64 == len(attributes_of({f"{number}": 1 for number in range(64)}))
    assert 4 == len(attributes_of(dict.fromkeys("abcd", "x" * 1023)))
    assert attributes_of({"n" * 128: "ä" * 512})


def test_changes_may_remove_and_are_checked_together_with_what_is_kept():
    """A change that makes room may fill it."""
    full = {f"{number}": 1 for number in range(64)}
    changes = changes_of({"0": None, "new": 2})

    assert 64 == len(merged("run", full, changes))
    with pytest.raises(DefinitionError, match="65 attributes of run 'run'; the limit is 64"):
        merged("run", full, changes_of({"new": 2}))

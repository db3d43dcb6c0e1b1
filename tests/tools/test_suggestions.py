"""Misspelt names: which one was meant, and how options are refused."""

from __future__ import annotations

import inspect

import attrs
import pytest

from actorflow.support.suggestions import (
    checks_options,
    did_you_mean,
    nearest,
    refuse_unknown_options,
    surely,
)


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("fecth", ["fetch", "store"], "fetch"),
        ("ulr", ["url", "user"], "url"),
        ("URL", ["url"], "url"),
        ("asnyc_", ["async_", "after"], "async_"),
        ("price", ["fetch", "store"], None),
        ("fetch", [], None),
        (7, ["7"], None),
    ],
)
def test_the_nearest_name_is_asked_for(name, known, meant):
    """Capitals do not matter; what is no text is near to nothing."""
    assert meant == nearest(name, known)
    assert ("" if meant is None else f" Did you mean {meant!r}?") == did_you_mean(name, known)


def test_among_very_many_names_those_of_the_same_first_letter_are_compared():
    """Comparing with thousands would take longer than a refusal may."""
    known = [*(f"a{number}" for number in range(1000)), "fetch"]

    assert "fetch" == nearest("Fecth", known)
    assert nearest("gfetch", known) is None


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("fecth", ["fetch"], "fetch"),
        ("limti", ["limit"], "limit"),
        # Might well be names of their own.
        ("ulr", ["url"], None),
        ("part1", ["part2"], None),
        ("data", ["date"], None),
        ("fetched_at", ["fetch"], None),
        (7, ["fetch"], None),
    ],
)
def test_only_what_is_very_alike_is_surely_misspelt(name, known, meant):
    """A warning that is wrong teaches people to ignore warnings."""
    assert meant == surely(name, known)


def test_an_unknown_option_is_refused_with_the_known_ones():
    """And with a sentence more, where there is one."""
    refuse_unknown_options("a run", ["timeout"], ["timeout", "priority"])
    with pytest.raises(TypeError) as caught:
        refuse_unknown_options("a run", ["tiemout"], ["timeout", "priority"], "Try these.")

    assert (
        "a run has no option 'tiemout'. Did you mean 'timeout'? "
        "Its options are: timeout, priority. Try these."
    ) == str(caught.value)


def test_a_class_that_checks_its_options_is_as_it_was():
    """Its signature, its defaults and what Python itself refuses."""

    @checks_options
    @attrs.frozen
    class Box:
        """A box."""

        width: int
        height: int = attrs.field(default=1, kw_only=True)

    with pytest.raises(TypeError, match=r"Box has no option 'heigth'. Did you mean 'height'"):
        Box(1, heigth=2)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Box(height=2)

    assert (Box(1, height=2), 1) == (attrs.evolve(Box(1), height=2), Box(1).height)
    assert ["width", "height"] == list(inspect.signature(Box).parameters)

"""The planted defects fit the source, and the program that plants them tells found from missed."""

from __future__ import annotations

import ast

import pytest

from tests.support.defects import CHECKOUT, DEFECTS, Defect, check

every_defect = pytest.mark.parametrize("one", DEFECTS, ids=lambda one: one.name)


@every_defect
def test_a_defect_applies_to_the_source(one):
    """Its text occurs once, and what replaces it is another program."""
    assert one.applies
    assert ast.dump(ast.parse(one.source)) != ast.dump(ast.parse(one.mistaken))


@every_defect
def test_the_tests_of_a_defect_exist(one):
    """Each is a function or a method of its file."""
    assert one.tests
    for name in one.tests:
        file, *_, function = name.split("::")
        tree = ast.parse((CHECKOUT / file).read_text())

        assert function in {it.name for it in ast.walk(tree) if isinstance(it, ast.FunctionDef)}


def test_there_are_enough_defects():
    """Each has a name of its own, and says what a user would see."""
    assert 30 <= len({one.name for one in DEFECTS}) == len(DEFECTS)
    assert all(one.why for one in DEFECTS)


CLOCK = "actorflow/support/clock.py"
TEST = "tests/tools/test_clock.py::test_wall_time_jumps_when_somebody_has_set_the_clock"
FOLLOWS = "            self._offset = offset\n"


def of_the_clock(name, text, replacement):
    """A defect that one test of the clock may find."""
    return Defect(name, CLOCK, text, replacement, (TEST,), "times")


@pytest.mark.slow
def test_a_defect_is_found_or_missed_or_does_not_apply():
    """One that is not found counts, whatever the reason."""
    said = []
    defects = [
        of_the_clock("never follows", FOLLOWS, "            self._offset += 0\n"),
        of_the_clock("follows late", "_TOLERANCE: Final = 1.0", "_TOLERANCE: Final = 2.0"),
        of_the_clock("rotten", "no such text", "another"),
        of_the_clock("no program", FOLLOWS, "            self._offset =\n"),
    ]

    missed = check(defects, said.append)

    expected = ["never follows: found", "follows late: survived", "rotten: does not apply"]
    assert expected == [it.split("s  ")[1] for it in said if " s  " in it][:3]
    assert "no program: unclear: pytest ends with" in "\n".join(said)
    assert (3, "1 of 4 defects found") == (missed, said[-1])

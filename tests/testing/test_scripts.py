"""Scripts: what each attempt of each step does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actorflow.errors.definition import DefinitionError
from actorflow.testing import Script, either, hangs, raises, real, returns, simulate
from actorflow.testing.script_files import encoded_script, script_of
from tests.support.brain import flow, task


def test_a_script_is_looked_up_by_step_and_attempt():
    """The last of a sequence counts for all attempts that follow."""
    first, then = raises(ValueError("no")), returns(1)
    script = Script({"a": [first, then], "b": hangs()}, default=real())

    assert [first, then, then] == [script.of("a", number) for number in (1, 2, 3)]
    assert hangs() == script.of("b", 7)
    assert real() == script.of("c", 1)


def test_a_script_without_a_default_names_what_happened():
    """Its outputs can be told apart; how long it takes is left to the tape."""
    assert returns(after=None) == Script().of("a", 1)


def test_durations_are_seconds():
    """Or a timedelta; nought is one, and less is not."""
    assert returns(after=90.0) == returns(after=timedelta(minutes=1.5))
    assert 0.0 == raises(ValueError, after=0).after
    with pytest.raises(DefinitionError, match=r"after of returns\(\)"):
        returns(after=-1)


@pytest.mark.parametrize("error", ["no", 3, None, int])
def test_only_exceptions_can_be_raised(error):
    """An instance or a class."""
    with pytest.raises(DefinitionError, match="exception"):
        raises(error)


def test_a_class_of_exceptions_has_to_do_without_arguments():
    """It is called anew for every attempt."""
    with pytest.raises(DefinitionError, match="instance"):
        raises(UnicodeDecodeError)


@pytest.mark.parametrize("said", [[], 3, [returns(), "x"], None])
def test_a_script_holds_behaviours_and_nothing_else(said):
    """With the step's id in the text."""
    with pytest.raises(DefinitionError, match=r"'a'.*returns"):
        Script({"a": said})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Script({"a": [returns(), OSError("x")]}),
            "step 'a': the script holds OSError('x').",
        ),
        (lambda: Script({"a": []}), "step 'a': the script holds []."),
        (lambda: Script(default=None), "the default of the script is None."),
        (lambda: either(returns(), 1), "either() was given 1."),
        (either, "either() was given ()."),
    ],
    ids=["error", "nothing", "default", "either", "either of nothing"],
)
def test_what_is_no_behaviour_is_shown_alone_and_where_it_stands(make, said):
    """In a script of many steps nobody would find it."""
    with pytest.raises(DefinitionError) as caught:
        make()

    assert str(caught.value).startswith(f"{said} Give returns(…), raises(…), hangs(), real() or e")


def test_a_script_for_a_step_that_is_not_there_is_refused():
    """A misspelt id would otherwise run the default, and the test would mean nothing."""
    with pytest.raises(DefinitionError, match=r"'flow': .* 'b', which the workflow does not have"):
        simulate(flow(task("a")), script=Script({"b": hangs()}))


def test_a_script_that_undoes_a_step_without_a_compensator_is_refused():
    """The step is there, so it is not its name that is wrong."""
    with pytest.raises(DefinitionError, match="names a compensator of step 'a', which has none"):
        simulate(flow(task("a")), script=Script(compensators={"a": hangs()}))


def test_a_script_can_be_read():
    """For messages, and for whoever generates scripts."""
    script = Script({"a": returns(1)})

    assert {"a": (returns(1),)} == dict(script.steps)
    assert (returns(after=None),) == script.default
    assert "Script({'a': returns(1)})" == repr(script)


def test_a_script_can_be_pasted():
    """Its repr makes it anew, without what is as usual."""
    script = Script(
        {
            "a": [raises(ValueError), raises(OSError("full"), after=None), returns(after=2.0)],
            "b": either(returns(), hangs(), hangs(stubborn=True), real(after=1.0)),
        },
        default=returns(3),
    )

    said = repr(script)

    assert (
        "Script({'a': [raises(ValueError), raises(OSError('full'), after=None), "
        "returns(after=2.0)], 'b': either(returns(), hangs(), hangs(stubborn=True), "
        "real(after=1.0))}, default=returns(3))"
    ) == said
    assert repr(eval(said)) == said  # noqa: S307 - our own


def test_either_wants_something_to_choose_from():
    """The first is the plainest."""
    assert (returns(1), hangs()) == either(returns(1), hangs()).behaviours
    with pytest.raises(DefinitionError):
        either()


def test_a_script_of_compensators_is_saved_with_the_others():
    """And shown, if there is one."""
    undo = [raises(OSError), returns(2, after=None)]
    script = Script({"a": returns(1)}, compensators={"a": undo})

    again = script_of(encoded_script(script))

    assert repr(script) == repr(again)
    assert f"compensators={{'a': {undo!r}}}" in repr(script)
    assert "compensators" not in repr(Script({"a": returns(1)}))
    assert "compensators" not in encoded_script(Script())

"""What newcomers to the simulation get wrong, and what it says then."""

from __future__ import annotations

import pytest

from actorflow.errors import DefinitionError
from actorflow.step import Step
from actorflow.testing import Faults, Script, explore, law, real, simulate
from tests.deciding import flow, nothing, task


@law
def nothing_happens(trace):
    """Nobody does anything."""
    assert not trace.attempts


def plain(trace):
    """A function that nobody has made a law."""


@pytest.mark.parametrize(
    ("laws", "said"),
    [
        (nothing_happens, "laws is <law nothing_happens: .* Give a list of laws"),
        (None, "laws is None. Give a list of laws"),
        ([plain], "laws holds <function plain at .*>, which is no law. Decorate .* with @law"),
    ],
    ids=["one law", "none", "a function"],
)
def test_what_are_no_laws_is_refused(laws, said):
    """Before anything is run."""
    with pytest.raises(DefinitionError, match=said):
        explore(flow(task("a")), laws=laws)


def test_a_misspelt_step_of_a_script_is_asked_about():
    """Among many steps it would be hard to see."""
    with pytest.raises(DefinitionError, match=r"Did you mean 'fetch'\? Name one of: fetch, join"):
        simulate(flow(task("fetch"), task("join")), script=Script({"fetsh": real()}))


def test_a_fake_that_a_step_changes_can_say_what_it_is():
    """Law 23 says how."""

    class Service:
        def __init__(self):
            self.calls = 0

    class Only(Service):
        def __deepcopy__(self, memo):
            return self

    def found(service):
        def call(service):
            service.calls += 1

        workflow = flow(Step("a", call))
        return explore(workflow, {"service": service}, script=Script(default=real()), schedules=3)

    assert "__deepcopy__(self, memo): return self" in found(Service()).broken.observed
    assert found(Only()).broken is None


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda f: explore(f, schedule=5), TypeError, "explore() has no option 'schedule'. Did"),
        (lambda f: simulate(f, async_worker=5), TypeError, "Did you mean 'async_workers'?"),
        (lambda f: simulate(f, colour=5), TypeError, "a run has no option 'colour'."),
        (lambda f: simulate(f, async_workers=0), DefinitionError, "async_workers is 0. Give a"),
        (lambda f: simulate(f, faults=1), DefinitionError, "faults is 1. Give Faults(…)"),
        (lambda _f: Faults(crash=1), TypeError, "Faults has no option 'crash'. Did you mean"),
        (lambda _f: Script(real()), DefinitionError, "one for all steps is Script(default=…)"),
        (lambda f: simulate(f, script=real()), DefinitionError, "script is real()"),
        (lambda _f: simulate(nothing), DefinitionError, "is not a workflow. Pass the Workflow"),
        (lambda _f: explore(nothing), DefinitionError, "is not a workflow. Pass the Workflow"),
    ],
    ids=[
        *("schedule", "worker", "colour", "no workers", "no faults", "crash", "no mapping"),
        *("no script", "no workflow", "no workflow to explore"),
    ],
)
def test_what_is_typed_wrongly_says_what_to_write(call, error, said):
    """Before anything is run."""
    with pytest.raises(error) as caught:
        call(flow(task("a")))

    assert said in str(caught.value)

"""What newcomers to the simulation get wrong, and what it says then."""

from __future__ import annotations

import pytest

from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.testing import (
    Faults,
    NotNow,
    ScenarioStep,
    Script,
    Settings,
    Simulation,
    explore,
    explore_scenarios,
    law,
    real,
    simulate,
)
from tests.support.brain import flow, nothing, task


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
        (None, "laws is None. Give a list of laws: laws.ALL"),
        ([plain], "laws holds <function plain at .*>, which is not a law. Decorate .* with @law"),
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
        (lambda f: simulate(f, colour=5), TypeError, "simulate() has no option 'colour'. Its"),
        (
            lambda f: explore(f, runs=10),
            TypeError,
            "Its options are: script, schedules, exhaustive, s",
        ),
        (lambda f: explore(f, runs=10), TypeError, "metadata, timeout, priority"),
        (lambda f: simulate(f, async_workers=0), DefinitionError, "async_workers is 0. Give a"),
        (lambda f: simulate(f, faults=1), DefinitionError, "faults is 1. Give Faults(…)"),
        (lambda _f: Faults(crash=1), TypeError, "Faults has no option 'crash'. Did you mean"),
        (
            lambda _f: Script(real()),
            DefinitionError,
            "one behaviour for all steps is Script(default=…)",
        ),
        (lambda f: simulate(f, script=real()), DefinitionError, "script is real()"),
        (lambda f: explore(f, script=real()), DefinitionError, "script is real()"),
        (lambda _f: simulate(nothing), DefinitionError, "is not a workflow. Pass the Workflow"),
        (lambda _f: explore(nothing), DefinitionError, "is not a workflow. Pass the Workflow"),
    ],
    ids=[
        *(
            "schedule",
            "worker",
            "colour",
            "runs",
            "of a run",
            "no workers",
            "no faults",
            "crash",
            "no mapping",
        ),
        *("no script", "no script to explore", "no workflow", "no workflow to explore"),
    ],
)
def test_what_is_typed_wrongly_says_what_to_write(call, error, said):
    """Before anything is run."""
    with pytest.raises(error) as caught:
        call(flow(task("a")))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda f: simulate(f, stop_grace=-1),
            "stop_grace must be zero or a positive number of seconds or a timedelta; got -1.0.",
        ),
        (lambda _f: Simulation(ageing=0), "ageing must be a positive number of seconds or a t"),
        (lambda f: simulate(f, cancel_at=-1), "cancel_at must be zero or a positive number of s"),
        (lambda f: explore(f, cancel_at="soon"), "seconds or a timedelta; got 'soon'."),
        (lambda f: explore(f, seed=None, schedules=2), "seed is None. Give a whole number."),
        (lambda f: explore(f, schedules=-1), "schedules is -1. Give a whole number, 1 or more."),
        (lambda _f: explore_scenarios(max_steps=0), "max_steps is 0. Give a whole number, 1 or"),
        (lambda _f: Simulation(max_happenings=0), "max_happenings is 0. Give a whole number, 1"),
        (lambda _f: Simulation(max_time=-1), "max_time must be zero or a positive number"),
        (lambda _f: Simulation(script={}), "script is {}. Give a Script"),
        (
            lambda f: simulate(f, tape=7),
            "choices cannot come from 7. Give Tape({…}), random.Random(",
        ),
        (lambda _f: ScenarioStep(id="a", retry="often"), "'twice', 'twice, evenly', 'at once'"),
        (lambda _f: Simulation().advance(-1), "seconds must be zero or a positive number"),
        (lambda _f: Simulation().call_at(-1, print), "moment must be zero or a positive number"),
        (lambda _f: Simulation().call_at(1, "print"), "function is 'print'. Give a function"),
        (explore_scenarios, "draw is Workflow(id="),
        (lambda f: explore_scenarios(lambda _: f), "draw returned Workflow(id="),
    ],
    ids=[
        *(
            "grace",
            "ageing",
            "cancel",
            "cancel by a text",
            "no seed",
            "schedules",
            "no steps",
            "bound",
        ),
        *("time", "script", "seed", "policy", "advance", "past", "no function"),
        *("workflow", "drawn workflow"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call, said):
    """None of these would have said what is wrong by itself, and some nothing at all."""
    with pytest.raises(DefinitionError) as caught:
        call(flow(task("a")))

    assert said in str(caught.value)


@pytest.mark.parametrize("taker", [Simulation, Settings])
def test_an_option_that_is_not_there_is_asked_about(taker):
    """The search and the single schedule do so too."""
    with pytest.raises(TypeError, match=r"has no option 'workers'\. Did you mean 'async_workers'"):
        taker(workers=3)


@pytest.mark.parametrize(
    "ask",
    [
        lambda simulation: simulation.start(flow(task("b"))),
        lambda simulation: simulation.results,
        lambda simulation: simulation.trace(),
        lambda simulation: simulation.conclude(),
    ],
    ids=["start", "results", "trace", "conclude"],
)
def test_a_simulation_that_has_been_concluded_says_so(ask):
    """Its trace is what `conclude` has returned."""
    simulation = Simulation()
    simulation.start(flow(task("a")))
    simulation.conclude()

    with pytest.raises(NotNow, match=r"has been concluded\. Use its trace, or create another one"):
        ask(simulation)

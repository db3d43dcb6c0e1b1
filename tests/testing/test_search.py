"""The search for schedules that break a law, and what it says in the end."""

from __future__ import annotations

import contextlib
import gc
import pickle
import random
import signal

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError, MissingInput
from actorflow.model.lifecycle import EventKind
from actorflow.testing import (
    ClusterScenario,
    Faults,
    LawBroken,
    Scenario,
    ScenarioStep,
    Script,
    Settings,
    Spread,
    Tape,
    draw_scenario,
    explore,
    explore_scenarios,
    law,
    laws,
    raises,
    real,
    returns,
    simulate,
)
from actorflow.testing.search import search
from actorflow.testing.soak import main
from tests.support.brain import flow, task

PAIR = flow(task("a"), task("b"))


@law
def a_comes_first(trace):
    """Step a completes before step b."""
    ends = [event.step_id for event in trace.events if event.kind == EventKind.STEP_COMPLETED]
    assert ["a", "b"] == ends


@law
def nothing_is_retried(trace):
    """No step is tried again."""
    assert all(event.kind != EventKind.STEP_RETRYING for event in trace.events)


def needs(url):
    """Take an input."""


# ── A workflow of one's own ──────────────────────────────────────────────────────────────────


def test_a_workflow_that_keeps_the_laws_is_explored_to_the_end():
    """With so many schedules as were asked for, most of which have no like."""
    exploration = explore(PAIR, schedules=300, seed=7)

    assert (300, None, None) == (
        exploration.schedules,
        exploration.failure,
        exploration.broken,
    )
    assert 100 < exploration.distinct <= 300
    assert exploration.seconds > 0
    assert 300 / exploration.seconds == exploration.schedules_per_second
    exploration.check()


def test_a_law_that_breaks_ends_the_search():
    """With a trace that is small, the law, and its tape."""
    exploration = explore(PAIR, seed=1, laws=[a_comes_first])

    assert exploration.schedules < 50
    assert 1 == exploration.failure.tape.deviations
    assert exploration.failure.hash == simulate(PAIR, tape=exploration.failure.tape).hash
    with pytest.raises(LawBroken, match="a_comes_first"):
        exploration.check()


def test_the_failure_breaks_the_law_that_was_broken():
    """Not another one that happens to be broken by a smaller schedule."""

    @law
    def broken_by_all(trace):
        """No schedule has exactly seven choices that are not plain."""
        assert 7 != trace.tape.deviations

    @law
    def three_choices(trace):
        """Schedules do not deviate."""
        assert trace.tape.deviations < 3

    exploration = explore(PAIR, seed=3, laws=[broken_by_all, three_choices])

    broken = exploration.broken.name
    assert {"broken_by_all": 7, "three_choices": 3}[broken] == exploration.failure.tape.deviations


def test_the_first_schedule_is_the_plainest():
    """What fails anyway needs no search."""
    exploration = explore(
        flow(task("a", retry=RetryPolicy(max_attempts=2))),
        laws=[nothing_is_retried],
        script=Script(default=[raises(OSError), returns()]),
    )

    assert 1 == exploration.schedules
    assert Tape() == exploration.failure.tape


def test_equal_seeds_give_equal_explorations():
    """However long they take, and whether or not they find something."""
    assert explore(PAIR, schedules=200, seed=5) == explore(PAIR, schedules=200, seed=5)
    assert explore(PAIR, schedules=200, seed=5) != explore(PAIR, schedules=200, seed=6)
    one, other = (explore(PAIR, seed=5, laws=[a_comes_first]) for _ in range(2))
    assert one == other
    assert one.broken.tape == other.broken.tape


def test_a_search_can_be_limited_in_time():
    """It ends with the first schedule after which the time is over."""
    exploration = explore(PAIR, schedules=10**9, seconds=1e-9)

    assert 1 == exploration.schedules


def test_a_search_can_be_watched():
    """For a progress bar."""
    seen = []

    explore(PAIR, schedules=5, watch=seen.append)

    assert [1, 2, 3, 4, 5] == seen


def test_a_search_can_be_ended_while_it_makes_a_failure_small():
    """What it has by then counts."""
    asked = []

    def watch(schedules):
        asked.append(schedules)
        return len(asked) < 6

    whole = explore(PAIR, schedules=300, seed=3, laws=[a_comes_first])
    ended = explore(PAIR, schedules=300, seed=3, laws=[a_comes_first], watch=watch)

    assert [1, 2, 2, 2, 2, 2] == asked
    assert ended.schedules == whole.schedules
    assert ended.shrunk_by < whole.shrunk_by
    assert not ended.broken.doubt


def test_a_law_that_is_a_matter_of_chance_is_said_to_be():
    """Nobody should look for its cause in the schedule."""
    judged = []

    @law
    def seventh(trace):
        """Every seventh schedule is a bad one."""
        judged.append(trace)
        assert len(judged) % 7

    exploration = explore(PAIR, schedules=50, laws=[seventh])

    assert 7 == exploration.schedules
    assert 0 == exploration.shrunk_by
    assert "the law found nothing" in exploration.broken.doubt
    assert "FLAKY: the same tape gave the same trace" in str(exploration.broken)
    again = pickle.loads(pickle.dumps(exploration.broken))  # noqa: S301 - our own
    assert exploration.broken.doubt == again.doubt


def test_a_step_that_is_a_matter_of_chance_is_said_to_be():
    """When it decides whether a law breaks."""
    calls = []

    @law
    def few(trace):
        """A number stays small."""
        assert trace.result.outputs["a"] < 5

    flow_of_chance = flow(Step("a", lambda: calls.append(1) or len(calls)))
    exploration = explore(flow_of_chance, schedules=50, script=Script(default=real()), laws=[few])

    assert "returned 5'" in exploration.broken.doubt
    assert "returned 6'" in exploration.broken.doubt


def test_a_failure_that_comes_again_is_not_doubted():
    """Nor is one that is left as it was found."""
    for shrink in (True, False):
        found = explore(PAIR, schedules=300, seed=3, laws=[a_comes_first], shrink=shrink)

        assert "" == found.broken.doubt
        assert "FLAKY" not in str(found.broken)


def test_a_law_may_fail_as_tests_of_pytest_do():
    """What that raises is no Exception; the schedule is made small all the same."""

    @law
    def strict(trace):
        """Step a completes before step b."""
        if trace.events[-3].step_id != "a":
            pytest.fail("b came first")

    found = explore(PAIR, schedules=300, laws=[strict])

    assert "Failed: b came first" == found.broken.observed


def test_a_law_cannot_change_what_the_next_one_sees():
    """Which would accuse actorflow of it."""

    @law
    def greedy(trace):
        """It takes what it wants."""
        for taken in (trace.runs, trace.results):
            with contextlib.suppress(AttributeError):
                taken.clear()

    explore(PAIR, schedules=3, laws=[greedy, *laws.ALL]).check()


def test_the_search_says_how_long_schedules_take_in_virtual_time():
    """At least, at the median, and at the 99th percentile."""
    scripted = Script({"a": returns(after=2.0), "b": returns(after=3.0)})

    exploration = explore(PAIR, schedules=50, script=scripted, race=False)

    assert Spread(3.0, 3.0, 3.0) == exploration.durations
    assert Spread(1.0, 2.5, 4.0) == Spread.of([4.0, 1.0, 2.0, 3.0])
    assert Spread(0.0, 49.5, 98.0) == Spread.of([float(n) for n in range(100)])
    assert Spread(0.0, 0.0, 0.0) == Spread.of([])


def test_the_search_says_which_moves_it_has_seen():
    """Of those that the workflow can make."""
    once = explore(PAIR, schedules=1, script=Script({"a": raises(OSError)}))
    often = explore(PAIR, schedules=500, script=Script({"a": raises(OSError)}))

    assert len(once.edges.seen) < len(often.edges.seen)
    assert () == often.edges.missed


def test_settings_and_options_are_those_of_a_simulation():
    """Workers, grace, faults, cancel, and what a run may be told."""
    seen = []

    @law
    def look(trace):
        """Nothing is said."""
        seen.append((trace.settings, trace.runs["run-1"], trace.results["run-1"].status))

    explore(
        PAIR,
        schedules=1,
        async_workers=1,
        stop_grace=3.0,
        faults=Faults(crashes=1),
        race=False,
        cancel_at=0.5,
        laws=[look],
        priority=4,
        timeout=8.0,
    )

    settings, run, status = seen[0]
    assert (1, 3.0, 1, False) == (
        settings.async_workers,
        settings.stop_grace,
        settings.faults.crashes,
        settings.race,
    )
    assert (4, 8.0, "cancelled") == (run.priority, run.timeout, status)


def test_inputs_are_asked_for():
    """As by `simulate`."""
    wanting = flow(Step("a", needs))

    explore(wanting, {"url": "x"}, schedules=2)
    with pytest.raises(MissingInput, match="url"):
        explore(wanting)


@pytest.mark.parametrize(
    "options", [{"schedules": 0}, {"schedules": True}, {"schedules": 1.5}, {"seconds": 0}]
)
def test_a_search_of_nothing_is_refused(options):
    """It would find nothing, and seem to be content."""
    with pytest.raises(DefinitionError, match="Give a"):
        explore(PAIR, **options)


def test_an_exploration_can_be_read():
    """All figures; and what broke, if something did."""
    kept, broken = (explore(PAIR, schedules=40, laws=laws) for laws in ([], [a_comes_first]))

    assert "40 schedules in" in str(kept)
    assert "seen: 6 of 6 moves" in str(kept)
    assert str(kept).endswith("no law broken")
    assert str(broken).endswith(broken.failure.chart())


# ── Scenarios ────────────────────────────────────────────────────────────────────────────────


def test_a_soak_explores_scenarios_that_are_made_up():
    """A few schedules of each."""
    scenarios = []

    def draw(chance):
        scenarios.append(draw_scenario(chance))
        return scenarios[-1]

    explore_scenarios(draw, schedules=40, seed=2)

    assert 20 == len(scenarios)
    assert 20 == len(set(scenarios))


def test_a_soak_has_as_many_orchestrators_as_it_is_told(capsys):
    """Also from the command line."""
    exploration = explore_scenarios(
        orchestrators=3, schedules=200, seed=2, laws=[nothing_is_retried]
    )

    assert isinstance(exploration.case, ClusterScenario)
    assert 1 == exploration.case.size
    assert 0 == main(["--orchestrators", "2", "--schedules", "20"])
    assert "no law broken" in capsys.readouterr().out
    with pytest.raises(DefinitionError, match="orchestrators is 0"):
        explore_scenarios(orchestrators=0)


def test_a_soak_makes_the_scenario_small_too():
    """One step that is retried is all that this law takes."""
    exploration = explore_scenarios(seed=2, laws=[nothing_is_retried])

    assert 1 == exploration.case.size
    assert {"once"} == {step.retry for step in exploration.case.steps}
    assert exploration.failure.hash == exploration.case.simulate(exploration.failure.tape).hash


@pytest.mark.slow
def test_equal_seeds_give_equal_soaks():
    """Scenario by scenario."""
    one, other = (explore_scenarios(schedules=100, seed=3) for _ in range(2))
    first, second = (explore_scenarios(seed=3, laws=[nothing_is_retried]) for _ in range(2))

    assert one == other
    assert first == second
    assert first.case == second.case


def test_a_soak_draws_scenarios_as_large_as_was_asked_for():
    """And no larger."""
    sizes = set()

    @law
    def look(trace):
        """Nothing is said."""
        sizes.update(len(run.plan.steps) for run in trace.runs.values())

    explore_scenarios(schedules=200, max_steps=3, laws=[look])

    assert {1, 2, 3} == sizes


def test_a_scenario_by_hand_can_be_soaked():
    """It is made small like any other."""
    mine = Scenario(steps=(ScenarioStep(id="a", retry="twice", does=("raises", "returns")),))
    small = Scenario(steps=(ScenarioStep(id="a", retry="once", does=("raises",)),))

    exploration = explore_scenarios(lambda _chance: mine, schedules=20, laws=[nothing_is_retried])

    assert small == exploration.case


def test_a_soak_can_be_run_from_a_shell(capsys):
    """It says what it has come to, and how far it is."""
    assert 0 == main(["--schedules", "50", "--seed", "4", "--max-steps", "2"])

    said = capsys.readouterr()
    assert said.out.startswith("50 schedules in")
    assert "seed 4" in said.out
    assert "" == said.err


def test_a_soak_can_be_ended_from_a_shell(capsys, monkeypatch):
    """By Ctrl-C: it says what it has come to, and the next Ctrl-C is nobody's again."""
    before = signal.getsignal(signal.SIGINT)

    def interrupt(random, max_steps):
        signal.raise_signal(signal.SIGINT)
        return draw_scenario(random, max_steps)

    monkeypatch.setattr(search, "draw_scenario", interrupt)

    assert 130 == main([])
    assert capsys.readouterr().out.startswith("1 schedule in")
    assert before is signal.getsignal(signal.SIGINT)


def test_a_soak_from_a_shell_says_how_to_see_a_failure_again(capsys, monkeypatch):
    """By a literal to paste, which is the small scenario."""
    monkeypatch.setitem(explore_scenarios.__kwdefaults__, "laws", (nothing_is_retried,))

    assert 1 == main(["--seed", "2"])

    pasted = capsys.readouterr().out.splitlines()[-1].strip()
    names = {kind.__name__: kind for kind in (Faults, Scenario, ScenarioStep, Settings, Tape)}
    trace = eval(pasted, names)  # noqa: S307 - our own
    with pytest.raises(LawBroken):
        nothing_is_retried.check(trace)


@pytest.mark.slow
def test_a_search_leaves_nothing_to_the_garbage_collector():
    """Which would take longer than the laws."""
    explore(PAIR, schedules=10)
    gc.collect()
    gc.disable()
    try:
        explore(PAIR, schedules=100, seed=1)
        left = gc.collect()
    finally:
        gc.enable()

    assert 0 == left


def test_chance_is_the_seeds_alone():
    """Whoever uses Python's own chance meanwhile changes nothing."""
    random.seed(1)
    one = explore_scenarios(schedules=20, seed=9)
    random.seed(2)

    assert one == explore_scenarios(schedules=20, seed=9)


@pytest.mark.parametrize("option", ["--max-steps", "--schedules"])
def test_a_search_for_nothing_is_refused_by_name(option, capsys):
    """Before it has begun."""
    with pytest.raises(SystemExit) as left:
        main([option, "0"])

    assert 2 == left.value.code
    assert f"argument {option}: '0' is not a whole number of at least 1" in capsys.readouterr().err

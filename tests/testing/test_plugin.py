"""The pytest plugin, in test suites of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from actorflow.testing import Replay, Tape
from tests.support.brain import flow, task

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

FLOWS = """
from actorflow import Workflow
from actorflow.testing import Script, returns
from actorflow.testing.laws import law

pair = Workflow("pair")

@pair.step(async_=True)
def a():
    return 1

@pair.step(async_=True)
def b():
    return 2

@law
def a_is_heard_first(trace):
    '''The supervisor hears of step a before step b.'''
    ends = [event.step_id for event in trace.events if event.kind == "step.completed"]
    assert ends[0] == "a"
"""
PASSES = """
from flows import *

def test_pair(simulation):
    exploration = simulation.explore(pair)
    print("explored", exploration.schedules, exploration.seed)
"""
FAILS = """
from flows import *

def test_pair(simulation):
    simulation.explore(pair, laws=[a_is_heard_first])
"""


@pytest.fixture
def suite(pytester):
    """A test suite that can import some workflows."""
    pytester.makepyfile(flows=FLOWS)
    return pytester


def run(suite, source, *words):
    """Run a module of tests, without what this suite's own run is told."""
    suite.makepyfile(test_flows=source)
    return suite.runpytest_inprocess("-p", "no:randomly", "-rP", *words)


def kept(suite):
    """The files of the failing schedules."""
    return sorted(suite.path.glob(".pytest_cache/d/actorflow/*.json"))


# ── Exploring ────────────────────────────────────────────────────────────────────────────────


def test_a_test_explores_the_workflow_that_it_hands_over(suite):
    """A thousand schedules, unless it says otherwise."""
    result = run(suite, PASSES)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["explored 1000 0"])
    assert [] == kept(suite)


def test_a_test_can_try_every_schedule_with_few_deviations(suite):
    """However many schedules the command line asks for."""
    source = PASSES.replace("explore(pair)", "explore(pair, exhaustive=1)")
    source += '    assert exploration.exhausted, "not all"\n'
    result = run(suite, source, "--actorflow-schedules=3")

    result.assert_outcomes(passed=1)


def test_the_command_line_overrules_how_many_schedules_and_which(suite):
    """For a long run at night, without changing a test."""
    result = run(suite, PASSES, "--actorflow-schedules=30", "--actorflow-seed=7")

    result.stdout.fnmatch_lines(["explored 30 7"])


@pytest.mark.parametrize("number", ["-5", "0", "many"])
def test_a_number_of_schedules_that_makes_no_sense_is_refused_once(suite, number):
    """Before any test runs, with the option's name."""
    result = run(suite, PASSES, f"--actorflow-schedules={number}")

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(
        [f"*argument --actorflow-schedules: '{number}' is not a whole number of at least 1"]
    )


HANGS = """
from flows import *
from actorflow.testing import hangs

def test_pair(simulation):
    simulation.explore(pair, script=Script({"b": hangs()}), schedules=9)
"""
ASKS = """
import asyncio
from flows import *
from actorflow.testing import real

apart = Workflow("apart")

@apart.step(async_=True)
async def c():
    await asyncio.to_thread(print)

def test_pair(simulation):
    simulation.CALL(apart, script=Script(default=real()))
"""


def test_a_test_in_which_no_run_ends_is_warned_of(suite):
    """It passes, because no law is broken; the summary names its line."""
    result = run(suite, HANGS, "-Wdefault")

    result.assert_outcomes(passed=1, warnings=1)
    said = "no run ended on any of 9 schedules: b#1 never ends. Give it a timeout*"
    result.stdout.fnmatch_lines(["*test_flows.py:*: ActorflowWarning: " + said])


@pytest.mark.parametrize(("call", "schedules"), [("check", 1), ("explore", 1000)])
def test_a_test_that_explores_nothing_fails(suite, call, schedules):
    """Its silence would be taken for a proof."""
    result = run(suite, ASKS.replace("CALL", call), "-Wdefault")

    result.assert_outcomes(failed=1)
    said = f"nothing was explored on any of {schedules} schedules: step 'c' fails wherever *"
    result.stdout.fnmatch_lines(["*NothingExplored: " + said])
    assert "def explore" not in result.stdout.str()


def test_a_broken_law_fails_the_test(suite):
    """With the law, a small tape, the chart, and the command that shows it again."""
    result = run(suite, FAILS)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*LawBroken: law a_is_heard_first is broken: *hears of step a before step b.",
            "*tape: Tape({'deliver': (0, 0, 2)})",
            "*run-1 completed",
            "To replay this schedule:",
            "    actorflow replay .pytest_cache/d/actorflow/test_flows.py-test_pair.json",
        ]
    )


def test_the_report_is_about_the_test(suite):
    """Not about where in the search the schedule was found."""
    result = run(suite, FAILS)

    assert "def explore" not in result.stdout.str()
    assert "def judged" not in result.stdout.str()


def test_what_failed_is_kept_with_everything_that_it_takes(suite):
    """The workflow by file and name, as the command line takes it."""
    run(suite, FAILS)

    [path] = kept(suite)
    replay = Replay.load(path)
    assert ("test_flows.py:pair", "a_is_heard_first", Tape({"deliver": [0, 0, 2]})) == (
        replay.flow,
        replay.law,
        replay.tape,
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "mine = Workflow('mine'); script = None; [mine.step(it, async_=True) for it in (a, b)]",
            "a global",
        ),
        ("mine = pair; script = Script({'a': returns({1})})", "JSON cannot hold"),
    ],
)
def test_what_no_command_can_show_is_shown_by_the_test(suite, line, reason):
    """With the tape alone: the test itself knows the rest."""
    source = f"""
from flows import *

def test_mine(simulation):
    {line}
    simulation.explore(mine, laws=[a_is_heard_first], script=script)
"""
    result = run(suite, source)

    [path] = kept(suite)
    assert 1 == Tape.load(path).deviations
    result.stdout.fnmatch_lines(
        [f"    simulation.check(flow, tape=Tape.load('{path.relative_to(suite.path)}'))"]
    )
    result.stdout.fnmatch_lines([f"*{reason}*"])


def test_every_search_of_a_test_keeps_its_own_failure(suite):
    """And so does every test, whatever its name."""
    source = """
import pytest
from flows import *

@pytest.mark.parametrize("name", ["a/b", "ü"])
def test_many(simulation, name):
    for laws in ([], [a_is_heard_first]):
        simulation.explore(pair, laws=laws, schedules=50)
"""
    run(suite, source)

    names = [path.name for path in kept(suite)]
    assert 2 == len(names)
    assert all(name.endswith("-2.json") for name in names)


# ── Next time ────────────────────────────────────────────────────────────────────────────────


def test_what_failed_is_tried_first_next_time(suite):
    """One schedule is enough to see that nothing has changed."""
    run(suite, FAILS)
    [path] = kept(suite)
    tape = Tape.load(path)

    result = run(suite, FAILS, "--actorflow-schedules=1")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["    actorflow replay *"])
    assert tape == Tape.load(path)


def test_what_failed_is_forgotten_when_it_passes(suite):
    """The search then goes on as usual."""
    run(suite, FAILS)

    result = run(suite, FAILS.replace("laws=[a_is_heard_first]", ""))

    result.assert_outcomes(passed=1)
    assert [] == kept(suite)


def test_a_kept_file_that_cannot_be_read_is_passed_over(suite):
    """It is a cache."""
    run(suite, FAILS)
    [path] = kept(suite)
    path.write_text("{")

    result = run(suite, FAILS)

    result.assert_outcomes(failed=1)
    assert Tape({"deliver": [0, 0, 2]}) == Tape.load(path)


MANY = """
import pytest
from flows import *

@pytest.mark.parametrize("name", ["x/y", "x:y", "LONG"], ids=str)
def test_many(simulation, name):
    simulation.explore(pair, laws=[a_is_heard_first], schedules=50)
""".replace("LONG", 300 * "long")


def test_every_test_keeps_its_own_failure_whatever_it_is_called(suite):
    """Also where names of files cannot tell tests apart, or would be too long."""
    result = run(suite, MANY)

    result.assert_outcomes(failed=3)
    assert 3 == len(kept(suite))


def test_where_nothing_can_be_kept_a_test_fails_of_its_law(suite):
    """And one that passes needs no file."""
    suite.path.joinpath(".pytest_cache").write_text("no folder")

    for source, outcomes in ((FAILS, {"failed": 1}), (PASSES, {"passed": 1})):
        result = run(suite, source, "-W", "ignore::pytest.PytestCacheWarning")
        result.assert_outcomes(**outcomes)
        result.stdout.no_fnmatch_line("*FileExistsError*")


def test_without_a_cache_what_failed_is_kept_in_the_tests_own_folder(suite):
    """Pytest keeps that for a while."""
    result = run(suite, FAILS, "-p", "no:cacheprovider")

    [line] = [line for line in result.outlines if "actorflow replay" in line]
    assert Tape({"deliver": [0, 0, 2]}) == Tape.load(suite.path / line.split()[-1])


# ── One schedule ─────────────────────────────────────────────────────────────────────────────


def test_a_test_can_hold_a_single_schedule_to_the_laws(suite):
    """The one that has failed once, and must not again; it gets the trace for more claims."""
    source = """
from flows import *
from actorflow.testing import Tape

def test_kept(simulation):
    trace = simulation.check(pair, tape=Tape({"deliver": [0, 0, 2]}), async_workers=1)
    assert trace.settings.async_workers == 1
    print(trace.result.status)

def test_broken(simulation):
    simulation.check(pair, tape=Tape({"deliver": [0, 0, 2]}), laws=[a_is_heard_first])
"""
    result = run(suite, source)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*LawBroken: law a_is_heard_first is broken*", "completed"])


# ── Whoever does not use it ──────────────────────────────────────────────────────────────────

LIGHT = ["actorflow", "actorflow.pytest_plugin", "actorflow.support", "actorflow.support.lazy"]
LOADED = """
import json, sys

def test_nothing():
    ours = [name for name in sys.modules if name.partition(".")[0] == "actorflow"]
    heavy = {"attrs", "hypothesis", "structlog", "thespian"} & set(sys.modules)
    print("LOADED", json.dumps([sorted(ours), sorted(heavy)]))
"""


def test_a_suite_that_does_not_use_it_does_not_load_it(pytester):
    """Pytest imports every plugin that is installed, for every project."""
    path = pytester.makepyfile(test_other=LOADED)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:hypothesispytest", str(path)]

    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)

    [line] = [line for line in ended.stdout.splitlines() if "LOADED" in line]
    assert [LIGHT, []] == json.loads(line.partition("LOADED")[2])


def test_the_fixture_needs_no_hypothesis(suite):
    """It searches by itself."""
    source = PASSES.replace("print(", "import sys; print('hypothesis.core' in sys.modules); print(")
    suite.makepyfile(test_flows=source)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:hypothesispytest", "test_flows.py"]

    ended = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, cwd=suite.path
    )

    assert "False\n" in ended.stdout


def test_a_misspelt_option_is_asked_about(simulation):
    """In a search and on a single schedule alike."""
    for taker in (simulation.explore, simulation.check):
        with pytest.raises(TypeError, match=r"'async_worker'\. Did you mean 'async_workers'"):
            taker(flow(task("a")), async_worker=3)


def test_this_suite_can_use_it(simulation):
    """It is installed with the package."""
    exploration = simulation.explore(flow(task("a"), task("b")), schedules=20)

    assert exploration.schedules >= 1

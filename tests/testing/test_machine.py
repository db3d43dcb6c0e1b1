"""The state machine: several workflows at once, at the mercy of Hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.scheduling.starts import Starts
from actorflow.testing import Faults, LawBroken, Script, Settings, laws, raises, returns
from actorflow.testing.laws import law
from actorflow.testing.machine import SimulationMachine
from tests.support.brain import flow, step, task

pytestmark = pytest.mark.slow

BRIEF = settings(
    max_examples=30,
    stateful_step_count=20,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(BRIEF, max_examples=300)


def needs(url):
    """Take an input."""


class Mill(SimulationMachine):
    """Two workflows, faults, and a step that is retried."""

    flows = (
        flow(
            task("a"),
            task("b", "a", retry=RetryPolicy(max_attempts=2), timeout=2.0),
            step("c"),
            id="one",
        ),
        flow(Step("x", needs), step("y", "x"), id="two", fail_fast=False),
    )
    inputs = {"two": {"url": "here"}}  # noqa: RUF012 - a ClassVar of the machine's
    scripts = {  # noqa: RUF012 - the same
        "one": Script({"b": [raises(ValueError, after=None), returns(after=None)]})
    }
    settings = Settings(async_workers=1, faults=Faults(crashes=1, duplicates=1))


def searched(machine, options=SEARCH):
    """Run a machine that is to fail, and return what it has raised, with Hypothesis' notes."""
    with pytest.raises(LawBroken) as caught:
        run_state_machine_as_test(machine, settings=options)
    return caught.value, "\n".join(caught.value.__notes__)


class TestMill(Mill.TestCase):
    """The laws hold, whatever a day may bring."""

    settings = BRIEF


def test_a_machine_starts_runs_of_all_its_workflows():
    """With their inputs and scripts; and everything that can be done to them is done."""
    seen = set()

    class Watched(Mill):
        @invariant()
        def look(self):
            """Take note of what there is."""
            trace = self.trace()
            seen.update(run.plan.workflow_id for run in trace.runs.values())
            seen.update(result.status for result in trace.results.values())
            seen.update(event.kind for event in trace.events if event.kind.startswith("run"))
            seen.update(trace.settings.faults.special())
            seen.update(["crash"] if trace.crashes else [])

    run_state_machine_as_test(Watched, settings=settings(BRIEF, max_examples=100))

    assert {
        "one",
        "two",
        "completed",
        "cancelled",
        "run.resumed",
        "crash",
        ("crashes", 1),
        ("duplicates", 1),
    } <= seen


def test_a_law_that_breaks_is_found_and_shrinks():
    """To a run, and what makes it retry."""

    @law
    def nothing_is_retried(trace):
        """No step is tried again."""
        assert not [event for event in trace.events if event.kind == "step.retrying"]

    class Strict(Mill):
        laws = (nothing_is_retried,)

    broken, notes = searched(Strict)

    assert "nothing_is_retried" == broken.name
    assert 1 == notes.count("state.start(")
    assert "state.crash(" not in notes


def test_a_planted_bug_is_found(monkeypatch):
    """A lease that does not come back."""
    release = Starts.release

    def leak(self, run, one):
        release(self, run, one)
        if one.stop_error is not None and one.step.async_:
            self._workers.free -= 1

    monkeypatch.setattr(Starts, "release", leak)

    broken, _ = searched(Mill)

    assert 2 == broken.number


def test_the_laws_are_checked_once_more_when_all_has_come_to_rest():
    """A run that is still going when Hypothesis stops goes on to its end."""

    @law
    def a_run_never_ends(trace):
        """No run has a result."""
        assert not trace.results

    class Impatient(SimulationMachine):
        flows = (flow(step("a")),)
        laws = (a_run_never_ends,)

        def advance(self):
            """Let no time pass while Hypothesis is at it."""

        deliver = cancel = restart = crash = resume = advance

    _, notes = searched(Impatient)

    said = [line.strip() for line in notes.splitlines() if line.startswith("state.")]
    assert "state.start(priority=0, which=0)" in said
    assert "state.teardown()" == said[-1]


def test_a_machine_takes_rules_of_its_own():
    """With the simulation at hand."""
    happened = []

    class Own(Mill):
        @rule()
        def look(self):
            """Look at the time."""
            happened.append(self.simulation.now)

    run_state_machine_as_test(Own, settings=BRIEF)

    assert any(happened)


def test_a_machine_without_workflows_is_refused():
    """It would find nothing, and seem to be content."""

    class Empty(SimulationMachine):
        pass

    with pytest.raises(DefinitionError, match="Empty has no flows"):
        run_state_machine_as_test(Empty, settings=BRIEF)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("flows", flow(task("a")), "flows of Wrong is Workflow(id='flow'"),
        ("flows", [task("a")], "flows of Wrong is [Step(id='a'"),
        (
            "scripts",
            Script(),
            "scripts of Wrong is Script({}). Give a mapping by workflow id: 'fl",
        ),
        ("scripts", {"flw": Script()}, "scripts of Wrong names 'flw', which is not in flows"),
        ("inputs", {"stock": 3}, "inputs of Wrong names 'stock', which is not in flows. Give"),
        ("settings", {}, "settings of Wrong is {}. Give Settings(…)."),
        ("laws", laws.runs_end_once, "Give a list of laws: laws.ALL, or [one, another]"),
    ],
    ids=["one flow", "steps", "one script", "misspelt", "bare inputs", "no settings", "one law"],
)
def test_what_a_machine_is_told_wrongly_is_refused(field, value, said):
    """At once; inputs and scripts of no workflow would not be used, without a word."""
    right = {"flows": (flow(task("a")),)}
    wrong = type("Wrong", (SimulationMachine,), {**right, field: value})

    with pytest.raises(DefinitionError) as caught:
        wrong()

    assert said in str(caught.value)

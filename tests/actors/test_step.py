"""One step's actor, among actors that only listen."""

from __future__ import annotations

import pytest

from actorflow.actors import StepActor
from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.model.context import Attempt, StepContext
from actorflow.model.messages import (
    AttemptFinished,
    ConfigureStep,
    DependencyCompleted,
    DependentMoved,
    Execute,
    Settled,
    StepReady,
)
from tests.support.brain import nothing, scope
from tests.support.stage import HandExecutor, Loop, Recorder, embedded


class Scene:
    """A step actor, a listening supervisor, and two listening dependents."""

    def __init__(self, run=nothing, after=("a", "b"), **inputs):
        self.loop = Loop()
        self.system, self.actors = embedded(self.loop)
        workflow = Workflow("flow")
        for dependency in after:
            workflow.add(Step(dependency, nothing, required=dependency != "maybe"))
        workflow.add(Step("s", run, after=after))
        workflow.add(Step("t", nothing, after="s"))
        workflow.add(Step("u", nothing, after="s"))
        self.plan = workflow.plan().by_id["s"]
        self.scope = scope("run", inputs=inputs)
        self.step = self.actors.createActor(StepActor)
        self.supervisor = self.actors.createActor(Recorder)
        self.dependents = {name: self.actors.createActor(Recorder) for name in "tu"}

    def tell(self, *messages):
        """Tell the step actor something."""
        for message in messages:
            self.actors.tell(self.step, message)
        self.loop.run()

    def configure(self, *settled):
        """Tell it who it is."""
        addresses = {**self.dependents, "s": self.step}
        self.tell(ConfigureStep(self.plan, self.scope, self.supervisor, addresses, settled, 7))

    def execute(self, executor=None):
        """Let it run an attempt, and return the attempt."""
        attempt = Attempt(self.scope, "s", 1, None, executor or HandExecutor())
        self.tell(Execute(attempt))
        return attempt

    @property
    def heard(self):
        """What the supervisor has heard."""
        return self.supervisor.actor.heard


def done(step_id, output=None, *, skipped=False):
    """A dependency that has settled."""
    return DependencyCompleted(step_id, output, skipped)


def test_it_is_ready_when_the_last_dependency_has_settled():
    """It says so once, where it lives, and which of the step's actors it is."""
    scene = Scene()
    scene.configure()
    scene.tell(done("a"))
    before = list(scene.heard)
    scene.tell(done("b"))

    (ready,) = scene.heard
    assert [] == before
    assert isinstance(ready, StepReady)
    assert ("run", "s") == (ready.run_id, ready.step_id)
    assert (scene.step, 7) == (ready.address, ready.incarnation)


def test_a_step_without_dependencies_is_ready_at_once():
    """As soon as it knows who it is."""
    scene = Scene(after=())

    scene.configure()

    assert [StepReady] == [type(message) for message in scene.heard]


def test_a_completion_may_arrive_before_the_configuration():
    """Order is kept per sender only; a simple adapter hung on exactly this."""
    scene = Scene()
    scene.tell(done("a"), done("b"))

    scene.configure()

    assert [StepReady] == [type(message) for message in scene.heard]


def test_a_completion_that_is_said_twice_counts_once():
    """A revived sender may repeat itself, and so may the configuration."""
    scene = Scene()
    scene.configure(done("a", "first"))
    scene.tell(done("a", "second"), done("a", "third"))
    before = list(scene.heard)
    scene.tell(done("b"), done("b"))

    assert [] == before
    assert 1 == len(scene.heard)


def test_what_had_settled_before_it_was_made_counts():
    """After a crash, or when a run is resumed."""
    scene = Scene()

    scene.configure(done("a"), done("b"))

    assert [StepReady] == [type(message) for message in scene.heard]


def test_an_attempt_gets_the_function_and_what_it_is_called_with():
    """Outputs of its own dependencies, and run inputs, by name."""

    def run(a, b, url, size=7):
        """Never called."""

    scene = Scene(run, url="x", other="not asked for")
    scene.configure(done("a", 1), done("b", 2))

    attempt = scene.execute()

    assert run is attempt.function
    assert {"a": 1, "b": 2, "url": "x"} == attempt.arguments
    assert attempt.submitted
    assert {("run", "s"): attempt} == attempt.executor.running


def test_a_skipped_dependency_has_no_output():
    """Its parameter takes its default; `inputs` does not have it."""

    def run(inputs, maybe=None, b=None):
        """Never called."""

    scene = Scene(run, after=("maybe", "b"))
    scene.configure(done("maybe", skipped=True), done("b"))

    arguments = scene.execute().arguments

    assert "maybe" not in arguments
    assert {"b": None} == dict(arguments["inputs"])
    assert arguments["b"] is None


def test_a_step_that_asks_for_its_context_gets_one_for_this_attempt():
    """And only then."""

    def run(ctx):
        """Never called."""

    scene = Scene(run)
    scene.configure(done("a"), done("b"))

    ctx = scene.execute().arguments["ctx"]

    assert isinstance(ctx, StepContext)
    assert ("run", "s", 1) == (ctx.run_id, ctx.step_id, ctx.attempt)


def test_every_attempt_has_context_variables_of_its_own():
    """Copies of what the run was started with."""
    scene = Scene()
    scene.configure(done("a"), done("b"))

    first, second = scene.execute(), scene.execute()

    assert first.variables is not second.variables
    assert scene.scope.variables is not first.variables


class Refusing(HandExecutor):
    """An executor that breaks its contract."""

    def submit(self, attempt):
        """Refuse."""
        raise RuntimeError("not today")


def test_an_attempt_that_cannot_be_submitted_has_failed():
    """Whatever is wrong with the executor, the supervisor hears of it."""
    scene = Scene()
    scene.configure(done("a"), done("b"))

    attempt = scene.execute(Refusing())

    finished = scene.heard[-1]
    assert isinstance(finished, AttemptFinished)
    assert attempt is finished.attempt
    assert "not today" == str(finished.error)


@pytest.mark.parametrize("skipped", [False, True])
def test_a_settled_step_tells_its_dependents(skipped):
    """Each of them, once, by reference."""
    scene = Scene()
    output = object()
    scene.configure()

    scene.tell(Settled(output, skipped))

    for dependent in scene.dependents.values():
        (told,) = dependent.actor.heard
        assert ("s", skipped) == (told.step_id, told.skipped)
        assert output is told.output


def test_a_dependent_that_moved_is_told_where_it_lives_now():
    """And the other one where it always lived."""
    scene = Scene()
    new = scene.actors.createActor(Recorder)
    scene.configure()

    moved = DependentMoved("t", {**scene.dependents, "t": new})
    scene.tell(moved, Settled(1, skipped=False))

    assert [0, 1, 1] == [len(one.actor.heard) for one in (*scene.dependents.values(), new)]


def test_a_dependent_that_moved_when_the_step_had_settled_is_told_as_well():
    """Its predecessor may have taken the news with it into the grave."""
    scene = Scene()
    new = scene.actors.createActor(Recorder)
    scene.configure()

    moved = DependentMoved("t", {**scene.dependents, "t": new})
    scene.tell(Settled(1, skipped=False), moved)

    assert [1] == [told.output for told in new.actor.heard]


def test_what_is_said_twice_changes_nothing():
    """A duplicated message, before the step has settled or after, has been heard already."""
    scene = Scene()
    scene.configure()
    executor = HandExecutor()
    scene.tell(done("a", 1), done("a", 1), done("b", 2))
    attempt = scene.execute(executor)
    executor.running.clear()
    scene.tell(Execute(attempt))
    settled = Settled(3, skipped=False)
    scene.tell(settled, settled, Execute(attempt), done("b", 4))
    scene.configure()

    assert {} == executor.running
    assert [StepReady] == [type(message) for message in scene.heard]
    assert [[3], [3]] == [
        [told.output for told in dependent.actor.heard] for dependent in scene.dependents.values()
    ]

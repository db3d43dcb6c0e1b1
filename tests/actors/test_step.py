"""One step's actor, among actors that only listen."""

from __future__ import annotations

import itertools

import pytest
from thespian.actors import PoisonMessage

from actorflow.actors import StepActor
from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.model.context import Attempt, StepContext
from actorflow.model.messages import (
    ActorBroken,
    AttemptFinished,
    DependencyCompleted,
    Execute,
    Settled,
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
        self.executor = HandExecutor()

    def tell(self, *messages):
        """Tell the step actor something, as its supervisor does."""
        for message in messages:
            self.system.post(self.step, message, self.supervisor)
        self.loop.run()

    def attempt(self, number=1, executor=None):
        """An attempt of the step, as the supervisor's brain makes it."""
        attempt = Attempt(self.scope, "s", number, None, executor or self.executor)
        attempt.plan = self.plan
        return attempt

    def execute(self, executor=None):
        """Let it run an attempt, and return the attempt."""
        attempt = self.attempt(executor=executor)
        self.tell(Execute(attempt))
        return attempt

    def settled(self, output=None, *, skipped=False):
        """What the supervisor says when the step has settled."""
        return Settled(self.plan, output, skipped, {**self.dependents, "s": self.step})

    @property
    def heard(self):
        """What the supervisor has heard."""
        return self.supervisor.actor.heard

    @property
    def told(self):
        """What each dependent has heard."""
        return [dependent.actor.heard for dependent in self.dependents.values()]


def done(step_id, output=None, *, skipped=False):
    """A dependency that has settled."""
    return DependencyCompleted(step_id, output, skipped)


@pytest.mark.parametrize("order", list(itertools.permutations(["grant", "a", "b"])))
@pytest.mark.parametrize("times", [1, 2])
def test_it_submits_once_when_it_has_the_grant_and_all_its_data(order, times):
    """In any order: order is kept per sender only; and a message may come twice after a crash."""
    scene = Scene()
    attempt = scene.attempt()
    messages = {"grant": Execute(attempt), "a": done("a"), "b": done("b")}

    submitted = []
    for what in order:
        scene.tell(*[messages[what]] * times)
        submitted.append(attempt.submitted)

    assert [False, False, True] == submitted
    assert [attempt] == scene.executor.submissions


def test_a_step_without_dependencies_is_submitted_when_it_is_granted():
    """It waits for no data."""
    scene = Scene(after=())

    attempt = scene.execute()

    assert [attempt] == scene.executor.submissions


def test_the_first_completion_of_a_dependency_counts():
    """A second one after a crash says the same, and is ignored."""
    scene = Scene(lambda a, b: (a, b))
    scene.tell(done("a", "first"), done("a", "second"), done("b"))

    assert {"a": "first", "b": None} == scene.execute().arguments


@pytest.mark.parametrize("first", ["grant", "data"])
def test_an_attempt_that_was_stopped_before_it_was_submitted_never_runs(first):
    """The supervisor has marked it as over; the grant and the data find that."""
    scene = Scene()
    attempt = scene.attempt()
    messages = [Execute(attempt), done("a"), done("b")]
    if first == "data":
        messages.reverse()
    scene.tell(*messages[:-1])

    attempt.submitted = True
    scene.tell(messages[-1])

    assert [] == scene.executor.submissions
    assert [] == scene.heard


def test_the_next_attempt_takes_the_place_of_one_that_never_began():
    """A grant that waits for data is replaced by the newer one."""
    scene = Scene()
    first, second = scene.attempt(), scene.attempt(2)
    scene.tell(Execute(first))
    first.submitted = True

    scene.tell(Execute(second), done("a"), done("b"))

    assert [second] == scene.executor.submissions


def test_the_grant_of_a_stopped_attempt_does_not_take_the_place_of_a_later_one():
    """It came late, and the attempt that waits for data would never begin."""
    scene = Scene()
    first, second = scene.attempt(), scene.attempt(2)
    first.submitted = True

    scene.tell(Execute(second), Execute(first), done("a"), done("b"))

    assert [second] == scene.executor.submissions


def test_a_retry_needs_no_second_completion():
    """The data of the first attempt is kept for the others."""
    scene = Scene(lambda a, b: (a, b))
    scene.tell(done("a", 1), done("b", 2))
    scene.execute()

    second = scene.attempt(2)
    scene.tell(Execute(second))

    assert second is scene.executor.submissions[-1]
    assert {"a": 1, "b": 2} == second.arguments


def test_an_attempt_gets_the_function_and_its_arguments():
    """Outputs of its own dependencies, and run inputs, by name."""

    def run(a, b, url, size=7):
        """Never called."""

    scene = Scene(run, url="x", other="not asked for")
    scene.tell(done("a", 1), done("b", 2))

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
    scene.tell(done("maybe", skipped=True), done("b"))

    arguments = scene.execute().arguments

    assert "maybe" not in arguments
    assert {"b": None} == dict(arguments["inputs"])
    assert arguments["b"] is None


def test_a_step_that_asks_for_its_context_gets_one_for_this_attempt():
    """And only then."""

    def run(ctx):
        """Never called."""

    scene = Scene(run)
    scene.tell(done("a"), done("b"))

    ctx = scene.execute().arguments["ctx"]

    assert isinstance(ctx, StepContext)
    assert ("run", "s", 1) == (ctx.run_id, ctx.step_id, ctx.attempt)


def test_every_attempt_has_context_variables_of_its_own():
    """Copies of what the run was started with."""
    scene = Scene()
    scene.tell(done("a"), done("b"))

    first, second = scene.execute(), scene.execute()

    assert first.variables is not second.variables
    assert scene.scope.variables is not first.variables


class Refusing(HandExecutor):
    """An executor that breaks its contract."""

    def submit(self, attempt):
        """Refuse."""
        raise RuntimeError("not today")


@pytest.mark.parametrize("last", ["grant", "data"])
def test_an_attempt_that_cannot_be_submitted_has_failed(last):
    """The supervisor hears of it, also when the executor refuses on a dependency's message."""
    scene = Scene()
    attempt = scene.attempt(executor=Refusing())
    messages = [done("a"), done("b"), Execute(attempt)]
    scene.tell(*(messages if last == "grant" else reversed(messages)))

    (finished,) = scene.heard
    assert isinstance(finished, AttemptFinished)
    assert attempt is finished.attempt
    assert "not today" == str(finished.error)


@pytest.mark.parametrize("skipped", [False, True])
def test_a_settled_step_tells_its_dependents(skipped):
    """Each of them, once, by reference."""
    scene = Scene()
    output = object()

    scene.tell(scene.settled(output, skipped=skipped))

    for (told,) in scene.told:
        assert ("s", skipped) == (told.step_id, told.skipped)
        assert output is told.output


def test_a_dependent_without_an_actor_is_not_told():
    """A resumed run may have kept it, if the workflow was changed in between."""
    scene = Scene()

    scene.tell(Settled(scene.plan, 1, False, {"t": scene.dependents["t"]}))

    assert [1, 0] == [len(heard) for heard in scene.told]


def test_a_settlement_without_addresses_tells_no_dependent():
    """It was not passed on by the run's actor, which alone knew them; the next one counts."""
    scene = Scene()
    scene.tell(Settled(scene.plan, 1, False, None))
    before = [list(heard) for heard in scene.told]

    scene.tell(scene.settled(2))

    assert [[], []] == before
    assert [[2], [2]] == [[told.output for told in heard] for heard in scene.told]


def test_what_is_said_twice_changes_nothing():
    """A duplicated message, before the step has settled or after, has been heard already."""
    scene = Scene()
    attempt = scene.attempt()
    scene.tell(done("a", 1), done("a", 1), done("b", 2), Execute(attempt), Execute(attempt))
    scene.tell(scene.settled(3), scene.settled(3), Execute(attempt), done("b", 4))

    assert [attempt] == scene.executor.submissions
    assert [] == scene.heard
    assert [[3], [3]] == [[told.output for told in heard] for heard in scene.told]


def test_a_settled_step_keeps_no_output_of_its_dependencies():
    """They may be large, and the actor lives as long as its run."""
    scene = Scene()
    scene.tell(done("a", "large"), done("b"), scene.settled(1))

    scene.tell(done("a", "larger"))

    assert not scene.step.actor._outputs


def test_a_dependent_that_cannot_handle_its_data_is_reported():
    """Thespian gives a message back to its sender; only the supervisor can have it replaced."""
    scene = Scene()
    dependent = scene.dependents["t"]
    scene.tell(scene.settled(1))
    (told,) = dependent.actor.heard

    scene.system.post(scene.step, PoisonMessage(told, "why it could not"), dependent)
    scene.loop.run()

    (broken,) = scene.heard
    assert isinstance(broken, ActorBroken)
    assert (dependent, "why it could not") == (broken.address, broken.details)

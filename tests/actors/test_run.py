"""The actor that a run is: it makes the steps' actors, and replaces the dead ones."""

from __future__ import annotations

import pytest
from thespian.actors import ActorExitRequest, PoisonMessage

from actorflow.actors import StepActor
from actorflow.actors.run import RunActor
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.model.context import Attempt, Compensation
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.messages import (
    ActorBroken,
    ActorLost,
    AttemptFinished,
    Compensate,
    CompensatorLost,
    DependencyCompleted,
    Execute,
    ForStep,
    MakeSteps,
    ReviveStep,
    Settled,
    StepMoved,
    StepsMade,
)
from tests.support.brain import flow, scope, step, task
from tests.support.stage import HandExecutor, Loop, Recorder, Stage, embedded

FOREVER = RetryPolicy(max_attempts=9, initial_interval=1.0, jitter=0)
HOPS = range(9)
"""How many messages another one may be behind: more than any exchange between the actors."""


def chain():
    """Two branches that meet: a and b, then c, then d."""
    return flow(task("a"), task("b"), task("c", "a", "b"), task("d", "c"))


def living(stage):
    """How many step actors there are."""
    cells = [stage.supervisor]
    for cell in cells:
        cells += cell.children or ()
    return sum(isinstance(cell.actor, StepActor) for cell in cells)


def test_every_step_is_an_actor():
    """From the run's beginning to its end."""
    stage = Stage()
    stage.start(chain())

    assert 4 == living(stage)


def test_a_run_leaves_no_actor_behind():
    """One exit takes all of its steps along."""
    stage = Stage()
    stage.start(chain())
    for step_id in "abcd":
        stage.end(step_id)

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert 0 == living(stage)
    assert not stage.supervisor.children
    assert 0 == stage.system.dead_letters


@pytest.mark.parametrize("victim", ["c", "d"])
def test_a_waiting_steps_death_is_not_noticed(victim):
    """Another actor takes its place, and knows what it knew."""
    stage = Stage()
    stage.start(chain())
    stage.end("a", 1)
    stage.kill(victim)
    stage.settle()

    for step_id in "bcd":
        stage.end(step_id)

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert [] == stage.defects


def test_a_running_steps_death_costs_no_attempt():
    """Its body is with the executor, which reports its end to the supervisor."""
    stage = Stage()
    stage.start(flow(task("a", retry=FOREVER), task("sibling"), task("c", "a", "sibling")))
    stage.kill("a")
    stage.settle()
    running = stage.running
    for step_id in ("a", "sibling", "c"):
        stage.end(step_id)

    assert ["a", "sibling"] == running
    assert [] == stage.executor.stopped
    assert RunStatus.COMPLETED is stage.results["run"].status
    assert 1 == stage.results["run"].steps["a"].attempts
    assert 3 == len(stage.executor.submissions)


def test_a_new_actor_of_a_running_step_runs_the_next_attempt():
    """With the outputs that the former actor had received."""
    stage = Stage()
    stage.start(flow(task("a"), Step("b", takes_a, after=["a"], async_=True, retry=FOREVER)))
    stage.end("a", "from a")
    stage.kill("b")
    stage.settle()
    stage.end("b", error=ValueError("once"))
    stage.loop.advance(1.0)

    assert {"a": "from a"} == stage.executor.running["run", "b"].arguments


def takes_a(a):
    """The function of a step that is never called."""
    return a


def test_a_completed_steps_death_loses_nothing():
    """The supervisor tells the dependents what the dead actor may not have told."""
    stage = Stage()
    stage.start(chain())
    stage.end("a", 1)
    stage.kill("a")
    stage.settle()
    for step_id in "bcd":
        stage.end(step_id)

    assert RunStatus.COMPLETED is stage.results["run"].status


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("victim", ["a", "b", "c", "d"])
@pytest.mark.parametrize("fate", ["completes", "is skipped"])
def test_no_death_at_any_moment_makes_a_run_hang(victim, fate, hops):
    """Whatever is in the mail when an actor dies: here, the end of an attempt."""
    stage = Stage()
    stage.start(
        flow(
            task("a", required=False),
            task("b", required=False),
            task("c", "a", "b"),
            task("d", "c"),
        )
    )
    error = None if fate == "completes" else ValueError("no")
    attempt = stage.executor.running.pop(("run", "a"))
    stage.kill(victim)
    stage.later(hops, AttemptFinished(attempt, 1, error))
    stage.settle()

    for _ in range(10):
        for step_id in stage.running:
            stage.end(step_id)

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert StepStatus.COMPLETED is stage.results["run"].steps["d"].status
    assert 5 == stage.brain.workers.free
    assert [] == stage.defects


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("fate", ["completes", "is skipped"])
def test_no_death_of_the_runs_own_actor_makes_it_hang(fate, hops):
    """All of its steps' actors die with it, and all are replaced."""
    stage = Stage()
    stage.start(
        flow(
            task("a", required=False), task("b", retry=FOREVER), task("c", "a", "b", retry=FOREVER)
        )
    )
    error = None if fate == "completes" else ValueError("no")
    attempt = stage.executor.running.pop(("run", "a"))
    stage.actors.tell(stage.supervisor.actor._run_actors["run"], ActorExitRequest())
    stage.later(hops, AttemptFinished(attempt, 1, error))
    stage.settle()

    for _ in range(10):
        for step_id in stage.running:
            stopped = stage.executor.running["run", step_id].cancelled
            stage.end(step_id, error=RuntimeError("stopped") if stopped else None)
        stage.loop.advance(5.0)

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert 5 == stage.brain.workers.free
    assert [] == stage.defects
    assert 0 == living(stage)


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("victims", ["ac", "cc", "cd", "ab", "abcd", "dcba"])
def test_several_deaths_make_no_run_hang(victims, hops):
    """At the same moment, or the same step's again."""
    stage = Stage()
    stage.start(
        flow(
            *[
                task(name, *after, required=False)
                for name, after in [("a", ""), ("b", ""), ("c", "ab"), ("d", "c")]
            ]
        )
    )
    attempt = stage.executor.running.pop(("run", "a"))
    stage.later(hops, AttemptFinished(attempt, 1, None))
    for victim in victims:
        stage.kill(victim)
        stage.loop.iterate()
    stage.settle()

    for _ in range(10):
        for step_id in stage.running:
            stage.end(step_id)

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert 5 == stage.brain.workers.free


def test_the_lane_survives_a_death():
    """A sync step that has its turn when its actor dies gives the lane back."""
    stage = Stage()
    stage.start(flow(step("a", required=False), step("b")))
    stage.kill("a")
    stage.settle()
    stage.end("a", error=RuntimeError("stopped"))

    assert ["b"] == stage.running


def test_the_exit_of_a_run_kills_steps_that_nobody_counts():
    """No step's death is reported to anybody when its run has ended."""
    stage = Stage()
    stage.start(chain())
    stage.cancel()
    for step_id in "ab":
        stage.end(step_id, error=RuntimeError("stopped"))

    assert RunStatus.CANCELLED is stage.results["run"].status
    assert 0 == living(stage)
    assert [] == stage.defects


def test_a_stranger_in_the_mail_is_ignored():
    """What no actor of ours understands hurts none of them."""
    stage = Stage()
    stage.start(flow(task("a")))
    run_actor = stage.supervisor.actor._run_actors["run"]
    for address in (stage.supervisor, run_actor, stage.address("a")):
        stage.actors.tell(address, "what is this?")
    stage.settle()
    stage.end("a")

    assert RunStatus.COMPLETED is stage.results["run"].status
    assert [] == stage.defects


def test_an_actor_that_is_asked_to_exit_by_anybody_is_replaced():
    """Who asked makes no difference."""
    stage = Stage()
    stage.start(flow(task("a"), task("b", "a")))
    old = stage.address("b")
    stage.actors.tell(old, ActorExitRequest())
    stage.settle()

    assert old != stage.address("b")
    assert 2 == living(stage)


def test_a_resumed_run_makes_no_actors_for_what_it_keeps():
    """And those that it makes know what was kept."""
    stage = Stage()
    stage.start(chain())
    stage.end("a", "from a")
    stage.end("b", error=ValueError("no"))
    stage.resume(chain())
    before = living(stage)
    for step_id in "bcd":
        stage.end(step_id)

    assert 3 == before
    assert RunStatus.COMPLETED is stage.results["run"].status
    assert "from a" == stage.results["run"].outputs["a"]


@pytest.mark.parametrize("how", ["death", "resume"])
def test_whoever_is_made_anew_knows_what_was_skipped(how):
    """A skipped dependency has no output, also for a new actor: its default counts."""
    stage = Stage()
    workflow = flow(
        task("maybe", required=False), task("b"), Step("c", takes_maybe, after=["maybe", "b"])
    )
    stage.start(workflow)
    stage.end("maybe", error=ValueError("no"))
    if how == "death":
        stage.kill("c")
        stage.settle()
    else:
        stage.end("b", error=ValueError("no"))
        stage.resume(workflow)
    stage.end("b")

    assert {} == stage.executor.running["run", "c"].arguments


def takes_maybe(maybe="the default"):
    """The function of a step that is never called."""


def test_a_resumed_run_whose_workflow_has_gained_a_dependency_does_not_hang():
    """What is kept is kept, although something that it now depends on has yet to run."""
    stage = Stage()
    stage.start(flow(task("a"), task("kept"), fail_fast=False))
    stage.end("kept", 1)
    stage.end("a", error=ValueError("no"))

    stage.resume(flow(task("a"), task("kept", "a")))
    for step_id in stage.running:
        stage.end(step_id)

    assert [] == stage.defects
    assert RunStatus.COMPLETED is stage.results["run"].status


# ── The run's actor, among actors that only listen ───────────────────────────────────────────


class Scene:
    """A run's actor under a listening supervisor; its steps are real."""

    def __init__(self, workflow):
        self.loop = Loop()
        self.system, self.actors = embedded(self.loop)
        self.plans = workflow.plan().by_id
        self.scope = scope("run")
        self.executor = HandExecutor()
        self.supervisor = self.actors.createActor(Recorder)
        self.run = self.actors.createActor(RunActor)

    def tell(self, *messages):
        """Tell the run's actor something, as its supervisor does."""
        for message in messages:
            self.system.post(self.run, message, self.supervisor)
        self.loop.run()

    def make_steps(self):
        """Have it create all steps, and return their addresses."""
        self.tell(MakeSteps(self.scope, self.plans.keys()))
        return self.heard[0].addresses

    def attempt(self, step_id):
        """An attempt of a step, as the supervisor's brain makes it."""
        attempt = Attempt(self.scope, step_id, 1, None, self.executor)
        attempt.plan = self.plans[step_id]
        return attempt

    @property
    def heard(self):
        """What the supervisor has heard."""
        return self.supervisor.actor.heard


def test_it_creates_the_steps_it_is_told_of_and_says_where_they_live():
    """Once, in one message."""
    scene = Scene(chain())

    scene.tell(MakeSteps(scene.scope, ["a", "c"]))

    (made,) = scene.heard
    assert isinstance(made, StepsMade)
    assert ("run", ["a", "c"]) == (made.run_id, list(made.addresses))
    assert all(isinstance(address.actor, StepActor) for address in made.addresses.values())


def test_steps_are_created_once():
    """A second message of this kind is a repetition."""
    scene = Scene(chain())
    addresses = scene.make_steps()

    scene.tell(MakeSteps(scene.scope, scene.plans.keys()))

    assert 1 == len(scene.heard)
    assert set(addresses.values()) == set(scene.run.children)


def test_a_run_that_is_only_undone_has_no_steps_to_report():
    """It only creates the actors of compensators."""
    scene = Scene(chain())

    scene.tell(MakeSteps(scene.scope, []))

    assert [] == scene.heard
    assert not scene.run.children


def test_a_grant_is_passed_on_before_the_addresses_are_known():
    """The supervisor sends it right behind the first message."""
    scene = Scene(chain())
    attempt = scene.attempt("a")

    scene.tell(MakeSteps(scene.scope, scene.plans.keys()), ForStep("a", Execute(attempt)))

    assert [attempt] == scene.executor.submissions


def test_a_settlement_that_is_passed_on_carries_the_addresses():
    """The supervisor did not know them; the step's actor tells its dependents by them."""
    scene = Scene(chain())
    scene.make_steps()
    attempt = scene.attempt("d")
    settled = Settled(scene.plans["c"], "of c", False, None)

    scene.tell(ForStep("c", settled), ForStep("d", Execute(attempt)))

    assert [attempt] == scene.executor.submissions
    assert {"c": "of c"} == scene.run.actor._addresses["d"].actor._outputs


def test_data_is_passed_on_after_a_death():
    """What the ledger says again, to a step whose new address is not known yet."""
    scene = Scene(chain())
    scene.make_steps()
    attempt = scene.attempt("d")

    scene.tell(
        ReviveStep("run", "d"),
        ForStep("d", DependencyCompleted("c", 1, skipped=False)),
        ForStep("d", Execute(attempt)),
    )

    assert [attempt] == scene.executor.submissions


def test_a_message_for_a_step_without_an_actor_is_dropped():
    """A resumed run creates none for what it keeps."""
    scene = Scene(chain())
    scene.tell(MakeSteps(scene.scope, ["c", "d"]))

    scene.tell(ForStep("a", Execute(scene.attempt("a"))))

    assert [] == scene.executor.submissions
    assert 0 == scene.system.dead_letters


def test_a_step_that_is_revived_has_a_new_actor_and_the_former_one_exits():
    """It may be alive, but unable to handle a message."""
    scene = Scene(chain())
    addresses = scene.make_steps()

    scene.tell(ReviveStep("run", "c"))

    moved = scene.heard[-1]
    assert isinstance(moved, StepMoved)
    assert ("run", "c") == (moved.run_id, moved.step_id)
    assert addresses["c"] != moved.addresses["c"]
    assert {**addresses, "c": moved.addresses["c"]} == moved.addresses
    assert addresses["c"].actor is None
    assert 2 == len(scene.heard), "the exit of a former actor is no loss"


@pytest.mark.parametrize("how", ["exits", "breaks on its grant", "is reported broken"])
def test_a_step_that_is_lost_is_reported(how):
    """However the run's actor gets to know it."""
    scene = Scene(chain())
    address = scene.make_steps()["c"]
    if how == "exits":
        scene.system.post(address, ActorExitRequest(), scene.supervisor)
    elif how == "is reported broken":
        scene.tell(ActorBroken(address, "no room for it"))
    else:
        poison = PoisonMessage(Execute(scene.attempt("c")), "no room for it")
        scene.system.post(scene.run, poison, address)
    scene.loop.run()

    lost = scene.heard[-1]
    assert isinstance(lost, ActorLost)
    assert ("run", "c") == (lost.run_id, lost.step_id)
    assert lost.details == ("the actor exited" if how == "exits" else "no room for it")


def test_a_broken_actor_of_another_run_is_not_reported():
    """The supervisor asks every run whose addresses it does not know."""
    scene = Scene(chain())
    scene.make_steps()

    scene.tell(ActorBroken(scene.supervisor, "no room for it"))

    assert 1 == len(scene.heard)


def test_a_compensator_gets_what_its_step_saw_and_its_grant():
    """From one sender, in order."""
    scene = Scene(flow(task("a", compensate=takes_a), task("b", "a")))
    scene.make_steps()
    attempt = Compensation(scene.scope, "a", 1, None, scene.executor)
    attempt.plan = scene.plans["a"].compensation

    scene.tell(Compensate(attempt, [DependencyCompleted("a", "of a", skipped=False)]))

    assert [attempt] == scene.executor.submissions
    assert {"a": "of a"} == attempt.arguments


def test_a_compensator_whose_actor_is_lost_is_reported():
    """With its attempt."""
    scene = Scene(flow(task("a", compensate=takes_a), task("b", "a")))
    scene.make_steps()
    attempt = Compensation(scene.scope, "a", 1, None, scene.executor)
    attempt.plan = scene.plans["a"].compensation
    scene.tell(Compensate(attempt, []))
    address, _ = scene.run.actor._undoing

    scene.system.post(address, ActorExitRequest(), scene.supervisor)
    scene.loop.run()

    lost = scene.heard[-1]
    assert isinstance(lost, CompensatorLost)
    assert attempt is lost.attempt


def test_the_next_attempt_of_a_compensator_is_watched_as_the_first_one():
    """Each has an actor of its own, and the last one's death is reported."""
    scene = Scene(flow(task("a", compensate=takes_a), task("b", "a")))
    scene.make_steps()
    first, second = (Compensation(scene.scope, "a", it, None, scene.executor) for it in (1, 2))
    first.plan = second.plan = scene.plans["a"].compensation
    scene.tell(Compensate(first, []))
    before = set(scene.run.children)
    scene.tell(Compensate(second, []))
    (address,) = set(scene.run.children) - before

    scene.system.post(address, ActorExitRequest(), scene.supervisor)
    scene.loop.run()

    assert isinstance(scene.heard[-1], CompensatorLost)
    assert second is scene.heard[-1].attempt


def test_an_attempt_that_a_step_cannot_submit_is_reported_to_the_supervisor():
    """The step's actor answers the sender of its grant, which may be the run's actor."""
    scene = Scene(chain())
    attempt = scene.attempt("a")
    attempt.executor = None
    scene.tell(MakeSteps(scene.scope, scene.plans.keys()), ForStep("a", Execute(attempt)))

    finished = scene.heard[-1]
    assert isinstance(finished, AttemptFinished)
    assert attempt is finished.attempt
    assert isinstance(finished.error, AttributeError)

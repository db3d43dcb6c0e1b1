"""The actor that a run is: it makes the steps' actors, and replaces the dead ones."""

from __future__ import annotations

import pytest
from thespian.actors import ActorExitRequest

from actorflow.actors import StepActor
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
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
from tests.support.brain import flow, step, task
from tests.support.stage import Stage

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

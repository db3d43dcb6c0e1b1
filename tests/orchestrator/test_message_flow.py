"""The messages of a run in production: data goes from step to step, along the graph's edges."""

from __future__ import annotations

import types
from collections import Counter

import pytest

from actorflow import Orchestrator
from actorflow.actors import StepActor, Supervisor
from actorflow.actors.run import RunActor
from actorflow.model import messages
from actorflow.model.messages import (
    AttemptFinished,
    DependencyCompleted,
    Execute,
    ForStep,
    MakeSteps,
    Settled,
    StepsMade,
)
from actorflow.systems.delivery import Delivery
from docs.examples import lesson
from tests.support.flows import GUARD

INPUTS = {"url": "https://example.org/text"}


@pytest.fixture
def tapped(monkeypatch):
    """Every message that is delivered, in order: receiver, message and sender."""
    seen, deliver = [], Delivery.deliver

    def tap(batch):
        for envelope in batch:
            seen.append(envelope)
            yield envelope

    monkeypatch.setattr(Delivery, "deliver", lambda self, batch: deliver(self, tap(batch)))
    return seen


@pytest.fixture
def told(tapped, monkeypatch):
    """The messages of one run of the lesson, in production; its services take no time."""

    async def at_once(_seconds):
        pass

    monkeypatch.setattr(lesson, "asyncio", types.SimpleNamespace(sleep=at_once))
    classes, create = {}, Delivery.create

    def note(self, actor_class, *arguments, **options):
        cell = create(self, actor_class, *arguments, **options)
        classes[cell] = actor_class
        return cell

    monkeypatch.setattr(Delivery, "create", note)
    with Orchestrator() as orchestrator:
        orchestrator.run(lesson.flow, INPUTS, timeout=GUARD)
    return [
        (classes.get(sender), sender, message, target, classes.get(target))
        for target, message, sender in tapped
    ]


def names_of(told):
    """The step of each step actor's address."""
    (made,) = [message for _, _, message, _, _ in told if isinstance(message, StepsMade)]
    return {address: step_id for step_id, address in made.addresses.items()}


def edges_of(flow):
    """The edges of a workflow's graph."""
    steps = flow.plan().steps
    return [(one.id, dependent) for one in steps for dependent in one.dependents]


def test_each_edge_of_the_graph_is_one_message_from_step_to_step(told):
    """Tap the messages of a run, and you see its graph."""
    names = names_of(told)
    data = [
        (message.step_id, names[sender], names[target])
        for _, sender, message, target, _ in told
        if isinstance(message, DependencyCompleted)
    ]

    assert {step_id == sender for step_id, sender, _ in data} == {True}
    assert Counter(edges_of(lesson.flow)) == Counter((sender, to) for _, sender, to in data)


def test_a_step_is_told_of_its_data_its_grant_and_its_end_and_of_nothing_else(told):
    """No message only configures it."""
    names = names_of(told)
    heard = Counter(
        (names[target], type(message)) for _, _, message, target, to in told if to is StepActor
    )

    expected = Counter()
    for plan in lesson.flow.plan().steps:
        expected[plan.id, Execute] = 1
        expected[plan.id, DependencyCompleted] = len(plan.dependencies)
        expected[plan.id, Settled] = int(bool(plan.dependents))
    assert +expected == heard


def test_a_step_tells_its_dependents_and_no_one_else(told):
    """It does not report that it is ready: the supervisor has counted."""
    said = {(type(message), to) for of, _, message, _, to in told if of is StepActor}

    assert {(DependencyCompleted, StepActor)} == said
    assert not hasattr(messages, "StepReady")


def test_the_supervisor_takes_one_turn_for_a_step(told):
    """It hears of the run's start, of its actors, and once of each step."""
    heard = Counter(type(message) for _, _, message, _, to in told if to is Supervisor)

    assert 5 == heard[AttemptFinished]
    assert 1 == heard[StepsMade]
    assert {"ConfigureSupervisor", "StartRun", "StepsMade", "AttemptFinished"} == {
        kind.__name__ for kind in heard
    } - {"ChildActorExited"}


def test_the_run_actor_passes_on_only_what_comes_before_the_addresses(told):
    """The grants of the first steps; later ones go directly to their steps."""
    heard = [message for _, _, message, _, to in told if to is RunActor]
    passed_on = [message.step_id for message in heard if isinstance(message, ForStep)]

    assert isinstance(heard[0], MakeSteps)
    assert ["fetch"] == passed_on

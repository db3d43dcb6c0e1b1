"""The production actors on every system base: the same workflow comes to the same result.

Bodies run at once, when their attempt is submitted, and report by a message. So a whole run is
a matter of messages and wakeups, which is what bases differ in.
"""

from __future__ import annotations

import itertools
import types

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow import Orchestrator
from actorflow.actors import StepActor
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.messages import ConfigureStep, DependencyCompleted, StepReady
from docs.examples import lesson
from tests.support.brain import flow, scope, step
from tests.support.stage import Recorder, Relay
from tests.support.system_bases import BASES, SimulatedBase, Theatre

INPUTS = {"url": "https://example.org/text"}
GUARD = 60
"""Seconds after which something that should happen at once never will."""


@pytest.fixture
def lesson_flow(monkeypatch):
    """The lesson's workflow, whose services take no time."""

    async def at_once(_seconds):
        pass

    monkeypatch.setattr(lesson, "asyncio", types.SimpleNamespace(sleep=at_once))
    return lesson.flow


# ── The lesson ───────────────────────────────────────────────────────────────────────────────


def test_the_lesson_comes_to_what_an_orchestrator_comes_to(base, lesson_flow):
    """Step by step."""
    with Orchestrator() as orchestrator:
        expected = orchestrator.run(lesson_flow, INPUTS, timeout=GUARD)

    result = Theatre(base).run(lesson_flow, INPUTS)

    assert dict(expected.outputs) == dict(result.outputs)
    assert expected.output == result.output
    assert {name: (one.status, one.attempts) for name, one in expected.steps.items()} == {
        name: (one.status, one.attempts) for name, one in result.steps.items()
    }


def test_nobody_complains_of_the_lesson(base, lesson_flow):
    """Neither the supervisor nor the executor has met anything that should not be."""
    theatre = Theatre(base)
    theatre.run(lesson_flow, INPUTS)

    assert [] == theatre.defects + theatre.complaints + theatre.lost + theatre.strangers


def test_a_required_step_that_fails_fails_the_run(base):
    """What waits for it never starts."""

    def break_down():
        raise ValueError("why")

    failing = flow(Step("a", break_down), step("b", "a"))

    result = Theatre(base).run(failing)

    assert (RunStatus.FAILED, "a") == (result.status, result.failed_step)
    assert "why" == str(result.error)
    assert StepStatus.CANCELLED == result.steps["b"].status


def test_a_retry_waits_for_its_time(base):
    """The wakeup that the supervisor asks for comes on every base."""
    moments = []

    def fail_twice():
        moments.append(base.now())
        if len(moments) < 3:
            raise ConnectionError

    policy = RetryPolicy(initial_interval=1.0, multiplier=2.0, jitter=0.0)
    retried = flow(Step("a", fail_twice, retry=policy))

    result = Theatre(base).run(retried)

    assert RunStatus.COMPLETED == result.status
    assert [1.0, 2.0] == [later - earlier for earlier, later in itertools.pairwise(moments)]


# ── A completion before the configuration ────────────────────────────────────────────────────


def configuration(supervisor):
    """What a step that waits for two others is told first of all, or later."""
    plan = flow(step("a"), step("b"), step("c", "a", "b")).plan()
    return ConfigureStep(
        plan=plan.by_id["c"],
        scope=scope("run"),
        supervisor=supervisor,
        addresses={},
        settled=(),
        incarnation=1,
    )


@pytest.mark.parametrize("order", list(itertools.permutations(["configuration", "a", "b"])))
def test_a_step_is_ready_when_it_knows_everything_in_whatever_order(base, order):
    """Its dependencies are strangers to it: what they say may come before its configuration."""
    supervisor, actor = base.create(Recorder), base.create(StepActor)
    told = {
        "configuration": configuration(supervisor),
        "a": DependencyCompleted("a", 1, skipped=False),
        "b": DependencyCompleted("b", 2, skipped=False),
    }
    sayers = [base.create(Relay) for _ in order]

    ready = []
    for sayer, what in zip(sayers, order, strict=True):
        base.tell(sayer, (0, actor, told[what]))
        ready.append(len(base.heard(supervisor)))

    assert [0, 0, 1] == ready
    assert [StepReady] == [type(message) for message in base.heard(supervisor)]


def early(system):
    """The steps that heard of all their dependencies before they were configured."""
    heard, surprised = {}, []
    for _, (target, message, _) in system.deliveries:
        if isinstance(message, DependencyCompleted):
            heard[target] = heard.get(target, 0) + 1
        elif isinstance(message, ConfigureStep):
            wanted = len(message.plan.dependencies)
            if wanted == heard.get(target, 0) > 0:
                surprised.append(message.plan.id)
    return surprised


def test_a_run_completes_though_every_completion_comes_before_the_configuration(lesson_flow):
    """Only the order within a pair of actors is kept, and these are different pairs."""

    def configure_late(options, _label):
        waits = [is_configuration(message) for _, message, _ in base.system.offered]
        waits += [False] * (options - len(waits))  # what the supervisor has put off
        return waits.index(False) if False in waits else 0

    def is_configuration(message):
        return isinstance(message, ConfigureStep) and message.plan.dependencies != ()

    base = SimulatedBase(configure_late)

    result = Theatre(base).run(lesson_flow, INPUTS)

    assert ["process", "enrich", "analyze", "aggregate"] == early(base.system)
    assert RunStatus.COMPLETED == result.status


# ── Drawn workflows ──────────────────────────────────────────────────────────────────────────


class Unlucky(Exception):
    """What drawn steps fail with."""


def body(name, fate, *, is_async):
    """The function of a step: what became of its dependencies, or its fate."""
    calls = itertools.count(1)

    def run(inputs):
        if fate == "breaks" or (fate == "stumbles" and next(calls) == 1):
            raise Unlucky(name)
        return f"{name}({', '.join(sorted(str(inputs[one]) for one in inputs))})"

    async def run_async(inputs):
        return run(inputs)

    return run_async if is_async else run


def workflow(shapes):
    """A workflow of drawn steps; what breaks is optional, so that no order decides the outcome."""
    steps = []
    for index, (after, fate, is_async, priority) in enumerate(shapes):
        steps.append(
            Step(
                f"s{index}",
                body(f"s{index}", fate, is_async=is_async),
                after=[f"s{number}" for number in sorted({one % index for one in after if index})],
                async_=is_async,
                priority=priority,
                required=fate != "breaks",
                retry=RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0.0),
            )
        )
    return flow(*steps)


SHAPES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 9), max_size=3),
        st.sampled_from(["works", "works", "stumbles", "breaks"]),
        st.booleans(),
        st.integers(-1, 1),
    ),
    min_size=1,
    max_size=8,
)


def told(result):
    """A run's result as a value, for errors are equal only to themselves."""
    steps = {name: repr(one) for name, one in result.steps.items()}
    return attrs.evolve(result, steps=steps, error=repr(result.error))


@given(SHAPES, st.integers(1, 3), st.lists(st.integers(0, 5)))
@settings(max_examples=150)
def test_a_drawn_workflow_ends_alike_on_every_base(shapes, workers, tape):
    """And in every order of the simulated one."""
    chosen = iter(tape)
    drawn = SimulatedBase(lambda options, _label: next(chosen, 0) % options)
    results = []
    for base in [*(make() for make in BASES.values()), drawn]:
        results.append(told(Theatre(base, async_workers=workers).run(workflow(shapes))))
        base.close()

    assert RunStatus.COMPLETED == results[0].status
    assert [results[0]] * len(results) == results

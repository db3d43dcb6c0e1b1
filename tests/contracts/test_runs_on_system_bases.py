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
from actorflow.model.context import Attempt
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.messages import DependencyCompleted, Execute, Settled
from docs.examples import lesson
from tests.contracts.test_system_bases import Undertaker
from tests.support.brain import flow, scope, step, task
from tests.support.stage import HandExecutor, Relay
from tests.support.system_bases import BASES, SimpleBase, SimulatedBase, Theatre, shuffled

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


# ── Grant and data, in either order ──────────────────────────────────────────────────────────


def granted():
    """An attempt of a step that waits for two others, and its executor."""
    plan = flow(step("a"), step("b"), step("c", "a", "b")).plan()
    executor = HandExecutor()
    attempt = Attempt(scope("run"), "c", 1, None, executor)
    attempt.plan = plan.by_id["c"]
    return attempt, executor


@pytest.mark.parametrize("order", list(itertools.permutations(["grant", "a", "b"])))
@pytest.mark.parametrize("times", [1, 2])
def test_a_step_is_submitted_once_when_grant_and_data_are_there_in_whatever_order(
    base, order, times
):
    """They come from different actors; after a crash, they may come twice."""
    actor = base.create(StepActor)
    attempt, executor = granted()
    told = {
        "grant": Execute(attempt),
        "a": DependencyCompleted("a", 1, skipped=False),
        "b": DependencyCompleted("b", 2, skipped=False),
    }
    sayers = [base.create(Relay) for _ in order]

    submitted = []
    for sayer, what in zip(sayers, order, strict=True):
        for _ in range(times):
            base.tell(sayer, (0, actor, told[what]))
        submitted.append(len(executor.submissions))

    assert [0, 0, 1] == submitted


@pytest.mark.parametrize("first", ["grant", "data"])
def test_a_step_whose_attempt_was_stopped_before_is_not_submitted(base, first):
    """The supervisor marks it; the message that comes last finds that."""
    actor = base.create(StepActor)
    attempt, executor = granted()
    told = [Execute(attempt), *(DependencyCompleted(name, 1, skipped=False) for name in "ab")]
    ordered = told if first == "grant" else told[::-1]
    base.tell(actor, *ordered[:-1])

    attempt.submitted = True
    base.tell(actor, ordered[-1])

    assert [] == executor.submissions


def met(system):
    """The steps whose grant came before the last of their data, and those it came after."""
    data, early, late = {}, [], []
    for _, (target, message, _) in system.deliveries:
        if isinstance(message, DependencyCompleted):
            data[target] = data.get(target, 0) + 1
        elif isinstance(message, Execute) and message.attempt.plan.dependencies:
            plan = message.attempt.plan
            complete = data.get(target, 0) == len(plan.dependencies)
            (late if complete else early).append(plan.id)
    return early, late


@pytest.mark.parametrize("first", ["grant", "data"])
def test_a_run_completes_whichever_of_grant_and_data_comes_first(lesson_flow, first):
    """Only the order within a pair of actors is kept, and these are different pairs."""

    def choose(options, _label):
        waits = [isinstance(message, slow) for _, message, _ in base.system.offered]
        waits += [False] * (options - len(waits))  # what the supervisor has put off
        return waits.index(False) if False in waits else 0

    slow = DependencyCompleted if first == "grant" else Execute
    base = SimulatedBase(choose)

    result = Theatre(base).run(lesson_flow, INPUTS)

    early, late = met(base.system)
    waited_for, in_time = (early, late) if first == "grant" else (late, early)
    assert ["process", "enrich", "analyze", "aggregate"] == waited_for
    assert [] == in_time
    assert RunStatus.COMPLETED == result.status


# ── Data that comes too late ─────────────────────────────────────────────────────────────────


def ends_early():
    """A workflow whose second step is granted in the decision that precedes its run's end."""

    def break_down():
        raise ValueError("why")

    return flow(task("a"), Step("bad", break_down, async_=True), task("b", "a"), task("c", "b"))


@pytest.mark.parametrize("slow", [Settled, DependencyCompleted, Execute])
def test_a_message_to_a_step_whose_run_has_ended_is_no_dead_letter(slow):
    """It was on its way; nothing waits for it."""

    def choose(options, _label):
        waits = [type(message) is slow for _, message, _ in base.system.offered]
        waits += [False] * (options - len(waits))  # what the supervisor has put off
        return waits.index(False) if False in waits else 0

    base = SimulatedBase(choose)
    undertaker = base.create(Undertaker)
    base.tell(undertaker, True)

    result = Theatre(base).run(ends_early())

    too_late = [message for target, message, _ in delivered(base) if target.actor is None]
    assert RunStatus.FAILED == result.status
    assert slow in {type(message) for message in too_late}
    assert 0 == base.system.dead_letters
    assert [] == base.heard(undertaker)


def delivered(base):
    """What a simulated base has delivered."""
    return [envelope for _, envelope in base.system.deliveries]


def test_runs_that_end_in_any_order_leave_no_dead_letter(base):
    """Whatever was on its way to whom; Thespian's own base knows no quiet children."""
    theatre = Theatre(base, async_workers=2)
    theatre.run(ends_early())

    if not isinstance(base, SimpleBase):
        assert 0 == base.system.dead_letters


@pytest.mark.parametrize("seed", range(50))
def test_no_schedule_makes_data_to_cancelled_steps_a_dead_letter(seed):
    """In fifty orders of everything."""
    base = shuffled(seed)

    Theatre(base, async_workers=2).run(ends_early())

    assert 0 == base.system.dead_letters


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

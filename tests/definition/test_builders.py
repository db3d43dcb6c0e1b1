"""The fluent spelling says the same as the direct one."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest

from actorflow.definition.builders import RetryPolicyBuilder, StepBuilder, WorkflowBuilder
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step, Workflow
from actorflow.errors.definition import DefinitionError


def fetch():
    """Be a step."""


def undo():
    """Undo it."""


def test_a_step_says_the_same_in_both_spellings():
    """Every option has its method."""
    policy = RetryPolicy(max_attempts=2)
    direct = Step(
        "process",
        fetch,
        name="Process",
        description="words",
        after=("fetch", "enrich"),
        async_=True,
        executor="gpu",
        timeout=5,
        total_timeout=timedelta(minutes=1),
        retry=policy,
        required=False,
        priority=10,
        expected=timedelta(seconds=3),
        compensate=undo,
    )

    fluent = (
        StepBuilder("process", "Process", fetch)
        .with_description("words")
        .with_dependencies("fetch", "enrich")
        .with_async(True)
        .with_executor("gpu")
        .with_timeout(5)
        .with_total_timeout(timedelta(minutes=1))
        .with_retry_policy(policy)
        .with_required(False)
        .with_priority(10)
        .with_expected_duration(timedelta(seconds=3))
        .with_compensator(undo)
        .build()
    )

    assert direct == fluent


def test_a_bare_step_says_the_same_in_both_spellings():
    """What is not said has the same default."""
    assert Step("fetch", fetch, name="Fetch") == StepBuilder("fetch", "Fetch", fetch).build()


def test_a_policy_says_the_same_in_both_spellings():
    """Every option has its method."""
    direct = RetryPolicy(
        max_attempts=5,
        initial_interval=2.0,
        multiplier=3.0,
        max_interval=60.0,
        jitter=0.0,
        retryable_errors=(OSError, "busy"),
        give_up_on=(PermissionError,),
    )

    fluent = (
        RetryPolicyBuilder()
        .with_max_attempts(5)
        .with_initial_interval(2.0)
        .with_multiplier(3.0)
        .with_max_interval(60.0)
        .with_jitter(0.0)
        .with_retryable_errors(OSError, "busy")
        .with_give_up_on(PermissionError)
        .build()
    )

    assert direct == fluent
    assert RetryPolicy() == RetryPolicyBuilder().build()


def test_a_workflow_says_the_same_in_both_spellings():
    """Every option has its method."""
    first, second = Step("fetch", fetch), Step("store", fetch, after="fetch")
    direct = Workflow(
        "report",
        name="Daily report",
        version="2.0.0",
        description="words",
        metadata={"owner": "ops", "tier": 1},
        timeout=60,
        fail_fast=False,
        order="critical_path",
    )
    direct.add(first)
    direct.add(second)

    fluent = (
        WorkflowBuilder("report", "Daily report")
        .with_version("2.0.0")
        .with_description("words")
        .with_metadata("owner", "ops")
        .with_metadata("tier", 1)
        .with_timeout(60)
        .with_fail_fast(False)
        .with_order("critical_path")
        .add_step(first)
        .add_step(second)
        .build()
    )

    assert said(direct) == said(fluent)
    assert direct.plan().fingerprint == fluent.plan().fingerprint


def said(flow):
    """All that a workflow was told."""
    options = set(inspect.signature(Workflow).parameters)
    return {"steps": dict(flow.steps)} | {name: getattr(flow, name) for name in options}


@pytest.mark.parametrize(
    ("builder", "made"),
    [(WorkflowBuilder, Workflow), (RetryPolicyBuilder, RetryPolicy)],
)
def test_every_option_has_its_method(builder, made):
    """A new option is not finished before its builder knows it; for steps see test_options.py."""
    options = set(inspect.signature(made).parameters) - {"id", "name"}
    methods = {name for name in vars(builder) if name.startswith("with_")}

    assert {f"with_{option}" for option in options} == methods


def test_a_builder_may_go_on_after_building():
    """Each `build` gives a new object, and leaves the earlier ones alone."""
    steps = StepBuilder("fetch", "Fetch", fetch)
    flows = WorkflowBuilder("report", "Report").add_step(steps.build())

    before, flow = steps.build(), flows.with_metadata("tier", 1).build()
    after = steps.with_priority(5).build()
    longer = flows.with_metadata("tier", 2).add_step(Step("store", fetch)).build()

    assert (0, 5) == (before.priority, after.priority)
    assert (["fetch"], {"tier": 1}) == (list(flow.steps), flow.metadata)
    assert (["fetch", "store"], {"tier": 2}) == (list(longer.steps), longer.metadata)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            StepBuilder("fetch", "", fetch).build,
            "step 'fetch': its name is ''. Give a non-empty string.",
        ),
        (
            RetryPolicyBuilder().with_max_attempts(0).build,
            "max_attempts of RetryPolicy is 0. Give a whole number, 1 or more.",
        ),
        (
            WorkflowBuilder("", "Report").build,
            "a workflow's id is ''. Give a non-empty string.",
        ),
        (
            WorkflowBuilder("report", "Report").build().validate,
            "workflow 'report': it has no steps. Add one with @flow.step or flow.add.",
        ),
    ],
    ids=["step", "policy", "workflow", "validation"],
)
def test_both_spellings_fail_alike(build, text):
    """The constructors judge, not the builders."""
    with pytest.raises(DefinitionError) as caught:
        build()

    assert text == str(caught.value)

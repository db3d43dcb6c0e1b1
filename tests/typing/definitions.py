"""What a type checker knows of definitions; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, assert_type

from actorflow.definition.builders import RetryPolicyBuilder, StepBuilder, WorkflowBuilder
from actorflow.definition.plan import StepPlan, WorkflowPlan
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.errors.running import RetryAfter
from actorflow.model.results import RunFailed, RunResult

flow = Workflow("report", metadata={"owner": "ops"}, timeout=timedelta(hours=1))


@flow.step
def fetch(url: str) -> int:
    """Decorate without options."""
    return len(url)


@flow.step(after=fetch, async_=True, timeout=2, retry=RetryPolicy(retryable_errors=OSError))
async def process(fetch: int, limit: int = 3) -> list[str]:
    """Decorate with options."""
    return ["x"] * fetch * limit


# The decorated function keeps its exact type, in both spellings: a caller who gives the wrong
# argument is told so. An ignore that is not needed is an error too, which is what proves it.
assert_type(fetch("u"), int)
as_declared: Callable[[str], int] = fetch
fetch(1)  # type: ignore[arg-type]  # the claim is that this is refused
pending = process(1, limit=2)
checked = assert_type(pending, Coroutine[Any, Any, list[str]])
refused = process("a")  # type: ignore[arg-type]  # the claim is that this is refused
flow.step(fetch, timeot=1)  # type: ignore[call-overload]  # a misspelt option
flow.step(fetch, timeout="1")  # type: ignore[call-overload]  # an option of the wrong type

assert_type(flow.step(id="again")(fetch)("u"), int)
assert_type(flow.add(Step("store", fetch, after=["fetch", Step("a", fetch)])), Step)
assert_type(flow.id, str)
assert_type(flow.name, str)
assert_type(flow.timeout, float | None)
assert_type(flow.steps, Mapping[str, Step])
assert_type(flow.metadata, Mapping[str, Any])
assert_type(flow.required_inputs, tuple[str, ...])
Workflow("report", name=None, metadata=None, timeout=None)
Workflow("report", metadata=5)  # type: ignore[arg-type]  # not a mapping

step = Step("fetch", fetch, name=None, timeout=timedelta(seconds=1), compensate=process)
assert_type(step.name, str)
assert_type(step.after, tuple[str, ...])
assert_type(step.timeout, float | None)
step.priority = 1  # type: ignore[misc]  # frozen
Step("fetch", fetch, after=5)  # type: ignore[arg-type]  # not a step

plan = flow.plan()
assert_type(plan, WorkflowPlan)
assert_type(plan.steps, tuple[StepPlan, ...])
assert_type(plan.by_id["fetch"].arguments({}, {}, None), dict[str, Any])
assert_type(plan.by_id["fetch"].compensation, StepPlan | None)

policy = RetryPolicy(initial_interval=timedelta(seconds=1), give_up_on=[KeyError, "gone"])
assert_type(policy.delay(1), float)
assert_type(policy.initial_interval, float)
RetryPolicy(retryable_errors=lambda error: error.args == ())
RetryPolicy(retryable_errors=5)  # type: ignore[arg-type]  # not a pattern

assert_type(StepBuilder("a", "A", fetch).with_async(True).with_timeout(5).build(), Step)
assert_type(WorkflowBuilder("a", "A").with_metadata("k", 1).add_step(step).build(), Workflow)
assert_type(RetryPolicyBuilder().with_retryable_errors(OSError, "x").build(), RetryPolicy)


def read(error: RunFailed, wait: RetryAfter) -> None:
    """Read the fields of errors."""
    assert_type(error.result, RunResult)
    assert_type(wait.seconds, float)
    RetryAfter(timedelta(seconds=1))

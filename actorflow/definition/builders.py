"""Fluent builders for definitions, for users who come from Go.

A builder collects keywords and passes them to `Step`, `Workflow` or `RetryPolicy`, so that both
spellings mean the same and fail alike. Each method returns the builder. `build` may be called
again after further calls, and returns a new object each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step, StepOptions, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.definition.durations import Duration
    from actorflow.definition.retry import ErrorPattern

__all__ = ["RetryPolicyBuilder", "StepBuilder", "WorkflowBuilder"]


class StepBuilder:
    """Builds a `Step`.

    Args:
        id: The step's id.
        name: Its name for people.
        executor: The step's function, as the seed's Go library calls it. `with_executor` chooses
            the executor of the orchestrator that runs it.

    Example:
        >>> from actorflow import StepBuilder
        >>> step = StepBuilder("fetch", "Fetch", lambda url: url).with_timeout(5).build()
        >>> step.id, step.name, step.timeout
        ('fetch', 'Fetch', 5.0)
    """

    def __init__(self, id: str, name: str, executor: Callable[..., Any]) -> None:
        self._id = id
        self._run = executor
        self._after: tuple[str, ...] = ()
        self._options: StepOptions = {"name": name}

    def with_description(self, description: str) -> Self:
        """Set the description for people."""
        self._options["description"] = description
        return self

    def with_dependencies(self, *ids: str) -> Self:
        """Wait for these steps, in place of any that were named before."""
        self._after = ids
        return self

    def with_async(self, async_: bool) -> Self:
        """Run concurrently with other steps, on an async worker."""
        self._options["async_"] = async_
        return self

    def with_executor(self, name: str) -> Self:
        """Run on the orchestrator's executor of this name."""
        self._options["executor"] = name
        return self

    def with_timeout(self, timeout: Duration) -> Self:
        """Limit each attempt to that many seconds, or to a `timedelta`."""
        self._options["timeout"] = timeout
        return self

    def with_total_timeout(self, total_timeout: Duration) -> Self:
        """Limit all attempts together, including the waits between them."""
        self._options["total_timeout"] = total_timeout
        return self

    def with_retry_policy(self, policy: RetryPolicy) -> Self:
        """Retry failed attempts by this policy."""
        self._options["retry"] = policy
        return self

    def with_required(self, required: bool) -> Self:
        """Set whether a failure of the step fails the run."""
        self._options["required"] = required
        return self

    def with_priority(self, priority: int) -> Self:
        """Start before ready steps of a lower priority."""
        self._options["priority"] = priority
        return self

    def with_expected_duration(self, expected: Duration) -> Self:
        """Say how long the step usually takes; it matters with `order="critical_path"`."""
        self._options["expected"] = expected
        return self

    def with_compensator(self, undo: Callable[..., Any] | Step) -> Self:
        """Undo the step with this compensator when the run fails later."""
        self._options["compensate"] = undo
        return self

    def build(self) -> Step:
        """Return the step, or raise `DefinitionError` as `Step` does."""
        return Step(self._id, self._run, after=self._after, **self._options)


class WorkflowBuilder:
    """Builds a `Workflow`.

    Args:
        id: The workflow's id.
        name: Its name for people.

    Example:
        >>> from actorflow import StepBuilder, WorkflowBuilder
        >>> fetch = StepBuilder("fetch", "Fetch", lambda url: url).build()
        >>> flow = WorkflowBuilder("report", "Daily report").add_step(fetch).build()
        >>> flow.name, list(flow.steps)
        ('Daily report', ['fetch'])
    """

    def __init__(self, id: str, name: str) -> None:
        self._id = id
        self._options: dict[str, Any] = {"name": name}
        self._metadata: dict[str, Any] = {}
        self._steps: list[Step] = []

    def with_description(self, description: str) -> Self:
        """Set the description for people."""
        self._options["description"] = description
        return self

    def with_version(self, version: str) -> Self:
        """Set the version of the definition."""
        self._options["version"] = version
        return self

    def with_metadata(self, key: str, value: Any) -> Self:
        """Set one entry of the metadata that every run receives."""
        self._metadata[key] = value
        return self

    def with_timeout(self, timeout: Duration) -> Self:
        """Limit a whole run to that many seconds, or to a `timedelta`."""
        self._options["timeout"] = timeout
        return self

    def with_fail_fast(self, fail_fast: bool) -> Self:
        """Set whether a failure cancels the branches that do not depend on it."""
        self._options["fail_fast"] = fail_fast
        return self

    def with_order(self, order: Literal["readiness", "critical_path"]) -> Self:
        """Set which of the ready steps of equal priority goes first."""
        self._options["order"] = order
        return self

    def add_step(self, step: Step) -> Self:
        """Add a step."""
        self._steps.append(step)
        return self

    def build(self) -> Workflow:
        """Return the workflow with its steps, or raise `DefinitionError` as `Workflow` does.

        Like every workflow, it is validated as a whole when it is run or registered.
        """
        workflow = Workflow(self._id, metadata=self._metadata, **self._options)
        for step in self._steps:
            workflow.add(step)
        return workflow


class RetryPolicyBuilder:
    """Builds a `RetryPolicy`.

    Example:
        >>> from actorflow import RetryPolicyBuilder
        >>> RetryPolicyBuilder().with_max_attempts(5).with_max_interval(10).build().max_attempts
        5
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    def with_max_attempts(self, max_attempts: int) -> Self:
        """Set the number of attempts in all."""
        self._options["max_attempts"] = max_attempts
        return self

    def with_initial_interval(self, initial_interval: Duration) -> Self:
        """Set the wait after the first attempt."""
        self._options["initial_interval"] = initial_interval
        return self

    def with_max_interval(self, max_interval: Duration) -> Self:
        """Limit each wait, before jitter."""
        self._options["max_interval"] = max_interval
        return self

    def with_multiplier(self, multiplier: float) -> Self:
        """Set by how much each wait grows over the one before."""
        self._options["multiplier"] = multiplier
        return self

    def with_jitter(self, jitter: float) -> Self:
        """Set the fraction by which each wait varies at random."""
        self._options["jitter"] = jitter
        return self

    def with_retryable_errors(self, *patterns: ErrorPattern) -> Self:
        """Retry these errors only."""
        self._options["retryable_errors"] = patterns
        return self

    def with_give_up_on(self, *patterns: ErrorPattern) -> Self:
        """Never retry these errors."""
        self._options["give_up_on"] = patterns
        return self

    def build(self) -> RetryPolicy:
        """Return the policy, or raise `DefinitionError` as `RetryPolicy` does."""
        return RetryPolicy(**self._options)

"""The fluent spelling of definitions, for those who come from Go.

A builder collects keywords and gives them to `Step`, `Workflow` or `RetryPolicy`, so that both
spellings say the same and fail alike. Each method returns the builder; `build` may be called
again after more has been said, and gives a new object each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

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
        name: What people call it.
        executor: The step's function, under the name that the seed gives it; the orchestrator's
            executor that runs it is chosen by `with_executor`.

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
        """Describe the step to people."""
        self._options["description"] = description
        return self

    def with_dependencies(self, *ids: str) -> Self:
        """Wait for these steps, in place of any that were named before."""
        self._after = ids
        return self

    def with_async(self, async_: bool) -> Self:
        """Run beside other steps of the run, on an async worker."""
        self._options["async_"] = async_
        return self

    def with_executor(self, name: str) -> Self:
        """Run on the executor that the orchestrator has under this name."""
        self._options["executor"] = name
        return self

    def with_timeout(self, timeout: Duration) -> Self:
        """Limit each attempt to so many seconds, or to a `timedelta`."""
        self._options["timeout"] = timeout
        return self

    def with_total_timeout(self, total_timeout: Duration) -> Self:
        """Limit all attempts together, with the waits in between."""
        self._options["total_timeout"] = total_timeout
        return self

    def with_retry_policy(self, policy: RetryPolicy) -> Self:
        """Try again after a failure, as the policy says."""
        self._options["retry"] = policy
        return self

    def with_required(self, required: bool) -> Self:
        """Say whether the step's failure fails the run."""
        self._options["required"] = required
        return self

    def with_priority(self, priority: int) -> Self:
        """Go before ready steps of a lower priority."""
        self._options["priority"] = priority
        return self

    def with_compensator(self, undo: Callable[..., Any] | Step) -> Self:
        """Undo the step with this when the run fails later."""
        self._options["compensate"] = undo
        return self

    def build(self) -> Step:
        """Return the step, or raise `DefinitionError` as `Step` does."""
        return Step(self._id, self._run, after=self._after, **self._options)


class WorkflowBuilder:
    """Builds a `Workflow`.

    Args:
        id: The workflow's id.
        name: What people call it.

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
        """Describe the workflow to people."""
        self._options["description"] = description
        return self

    def with_version(self, version: str) -> Self:
        """Give the definition a version."""
        self._options["version"] = version
        return self

    def with_metadata(self, key: str, value: Any) -> Self:
        """Set one entry of the metadata that every run is handed."""
        self._metadata[key] = value
        return self

    def with_timeout(self, timeout: Duration) -> Self:
        """Limit a whole run to so many seconds, or to a `timedelta`."""
        self._options["timeout"] = timeout
        return self

    def with_fail_fast(self, fail_fast: bool) -> Self:
        """Say whether a failure cancels the branches that do not depend on it."""
        self._options["fail_fast"] = fail_fast
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
        """Try so often in all."""
        self._options["max_attempts"] = max_attempts
        return self

    def with_initial_interval(self, initial_interval: Duration) -> Self:
        """Wait so long after the first attempt."""
        self._options["initial_interval"] = initial_interval
        return self

    def with_max_interval(self, max_interval: Duration) -> Self:
        """Never wait longer, but for the jitter."""
        self._options["max_interval"] = max_interval
        return self

    def with_multiplier(self, multiplier: float) -> Self:
        """Make each wait so many times as long as the one before."""
        self._options["multiplier"] = multiplier
        return self

    def with_jitter(self, jitter: float) -> Self:
        """Move each wait at random by at most this fraction."""
        self._options["jitter"] = jitter
        return self

    def with_retryable_errors(self, *patterns: ErrorPattern) -> Self:
        """Try again after these errors only."""
        self._options["retryable_errors"] = patterns
        return self

    def with_give_up_on(self, *patterns: ErrorPattern) -> Self:
        """Do not try again after these errors."""
        self._options["give_up_on"] = patterns
        return self

    def build(self) -> RetryPolicy:
        """Return the policy, or raise `DefinitionError` as `RetryPolicy` does."""
        return RetryPolicy(**self._options)

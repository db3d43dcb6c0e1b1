"""The context of an attempt: its run, its limits, and whether it must stop.

All steps of a run share its `RunScope`. An `Attempt` is one execution of one step, on its way
through supervisor, step actor and executor. `StepContext` is the view of both that a step receives
as its `ctx` parameter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actorflow.errors.running import StepCancelled

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Mapping

    import structlog

    from actorflow.definition.durations import Duration
    from actorflow.definition.plan import StepPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.protocols import Executor

__all__ = ["Attempt", "Compensation", "RunScope", "StepContext"]

_NONE: Final[Any] = None


class Children(Protocol):
    """Starts the child runs of steps."""

    def run(
        self,
        attempt: Attempt,
        calls: dict[str, int],
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None,
        options: dict[str, Any],
        /,
    ) -> Any:
        """Run a child and return its result, or an awaitable of it in a coroutine step."""

    def start(
        self,
        attempt: Attempt,
        calls: dict[str, int],
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None,
        options: dict[str, Any],
        /,
    ) -> Any:
        """Start a child and return its handle, or an awaitable of it in a coroutine step."""


class Mailroom(Protocol):
    """Passes messages to the bodies of steps."""

    def wait_for(
        self, attempt: Attempt, calls: dict[str, int], name: str, timeout: object, evict: object, /
    ) -> Any:
        """Return an awaitable of the payload of the next message of a name."""


# A frozen class fills a dictionary in half the time of slots. One is made for every run.
@attrs.frozen(kw_only=True, eq=False, slots=False)
class RunScope:
    """The data that all steps of one run share."""

    run_id: str
    workflow_id: str
    inputs: Mapping[str, Any]
    metadata: Mapping[str, Any]
    variables: contextvars.Context
    """The caller's context variables; each attempt runs in its own copy of them."""
    now: Callable[[], float]
    """The monotonic clock of all deadlines, in seconds."""
    trace_id: str | None = None
    correlation_id: str | None = None
    business_id: str | None = None
    priority: int = 0
    deadline: float | None = None
    """The deadline of the run, on the monotonic clock; see `postpone`."""
    root_run_id: str | None = None
    """The id of the first run of its family, if a step started the run."""
    generation: int = 0
    """How many runs of its family are above it."""
    resumed: bool = False
    """Whether steps of it may have run in an earlier life."""
    children: Children | None = None
    """Starts the child runs of its steps; None where there is no orchestrator."""
    mail: Mailroom | None = None
    """Passes messages to its steps; None where there is no orchestrator."""

    def postpone(self, deadline: float | None) -> None:
        """Set another deadline, because the run's clock stands still or goes on.

        Nothing else of a scope ever changes.
        """
        object.__setattr__(self, "deadline", deadline)

    def bindings(self) -> dict[str, str]:
        """Return the ids that each log line of this run carries beside the run's own id."""
        bindings = {"workflow_id": self.workflow_id}
        if self.trace_id is not None:
            bindings["trace_id"] = self.trace_id
        if self.correlation_id is not None:
            bindings["correlation_id"] = self.correlation_id
        if self.business_id is not None:
            bindings["business_id"] = self.business_id
        return bindings


class Attempt:
    """One execution of one step.

    The supervisor creates it, the step actor fills in the call, and an executor runs it. It is the
    one mutable object that travels between them: `cancelled` asks the body to stop, and `handle`
    belongs to the executor that runs it. It has plain slots, without attrs, because one is made for
    every attempt of every step.
    """

    __slots__ = (
        "arguments",
        "cancelled",
        "deadline",
        "ended_at",
        "executor",
        "function",
        "handle",
        "heartbeat_at",
        "number",
        "plan",
        "scope",
        "step_id",
        "submitted",
        "variables",
    )

    compensates = False
    """Whether it runs a compensator."""
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    variables: contextvars.Context
    handle: Any

    def __init__(  # noqa: PLR0917 - made for every attempt, where keywords would cost
        self,
        scope: RunScope,
        step_id: str,
        number: int,
        deadline: float | None,
        executor: Executor,
        plan: StepPlan = _NONE,
    ) -> None:
        self.plan: StepPlan = plan
        """What it runs: the plan of a step, or of a compensator. None in an executor's tests."""
        self.scope: RunScope = scope
        self.step_id: str = step_id
        self.number: int = number
        self.deadline: float | None = deadline
        self.executor: Executor = executor
        self.cancelled: bool = False
        self.heartbeat_at: float | None = None
        self.ended_at: float | None = None
        """When its body ended, as reported by its executor."""
        self.submitted: bool = False
        self.handle = None

    @property
    def was_submitted(self) -> bool:
        """Whether an executor has received it; `submitted` is also true if none ever will."""
        return hasattr(self, "variables")

    def __repr__(self) -> str:
        return f"<Attempt {self.number} of step {self.step_id!r} in run {self.scope.run_id}>"


class Compensation(Attempt):
    """One execution of a compensator; these are counted apart from the step's attempts."""

    __slots__ = ()

    compensates = True

    def __repr__(self) -> str:
        what = f"Attempt {self.number} of undoing step {self.step_id!r}"
        return f"<{what} in run {self.scope.run_id}>"


class StepContext:
    """The information that a running step can ask for; passed to a parameter named `ctx`.

    Example:
        >>> from actorflow import Orchestrator, RetryPolicy, Workflow
        >>> flow = Workflow("stubborn")
        >>> @flow.step(retry=RetryPolicy(initial_interval=0.01))
        ... def fetch(ctx):
        ...     if ctx.attempt < 3:
        ...         raise ConnectionError("busy")
        ...     return f"{ctx.step_id} needed {ctx.attempt} attempts"
        >>> with Orchestrator() as orchestrator:
        ...     orchestrator.run(flow).output
        'fetch needed 3 attempts'
    """

    __slots__ = ("_attempt", "_calls", "_log")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._calls: dict[str, int] | None = None
        """How often a child has been started with each key, or of each workflow without a key; and
        how often a message of each name has been waited for, after a NUL.
        """
        self._log: structlog.typing.FilteringBoundLogger | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._attempt.scope.run_id

    @property
    def workflow_id(self) -> str:
        """The workflow's id."""
        return self._attempt.scope.workflow_id

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self._attempt.step_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1; attempts of a compensator are counted apart."""
        return self._attempt.number

    @property
    def compensating(self) -> bool:
        """Whether this is the step's compensator, not the step itself."""
        return self._attempt.compensates

    @property
    def remaining(self) -> float | None:
        """Seconds until the nearest deadline (attempt, step or run); None without one.

        It is never negative: 0.0 means that the deadline has passed. The run's timeout does not
        apply to a compensator.
        """
        deadline = self._attempt.deadline
        if deadline is None:
            return None
        return max(0.0, deadline - self._attempt.scope.now())

    @property
    def cancelled(self) -> bool:
        """Whether this attempt must stop: it was cancelled, timed out or abandoned."""
        return self._attempt.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise if the attempt must stop, and return otherwise.

        Raises:
            StepCancelled: When the attempt was cancelled, timed out or abandoned.
        """
        if self._attempt.cancelled:
            raise StepCancelled(self.run_id, self.step_id, "the attempt was asked to stop")

    def heartbeat(self) -> None:
        """Report that the step is alive; raise if the attempt must stop.

        The events `step.timed_out` and `step.abandoned` contain the time of the last heartbeat. A
        heartbeat does not extend a timeout.

        Raises:
            StepCancelled: When the attempt was cancelled, timed out or abandoned.
        """
        self._attempt.heartbeat_at = self._attempt.scope.now()
        self.raise_if_cancelled()

    def run(
        self, flow: Workflow | str, inputs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run another workflow as a child of this run, and return its `RunResult`.

        In a coroutine step, await it; in a plain step, it blocks. While it waits, the step holds
        neither a worker nor its run's sync lane, and its timeouts stand still.

        The child inherits the run's metadata, ids, priority and deadline. It is cancelled when this
        run fails or is cancelled. A later attempt of the step finds the child again: it takes the
        result of one that has completed, waits for one that is in progress, and starts a new one in
        place of one that has failed.

        Args:
            flow: A workflow, or the id of a registered one.
            inputs: The child's inputs, by name.
            options: `key`, a string that tells calls of one step apart, which otherwise are counted
                for each workflow; `on_parent_end`, `"cancel"` by default, or `"abandon"` to leave
                the child running; and the options of `Orchestrator.start`.

        Raises:
            RunFailed: When a required step of the child failed.
            RunTimeout: When the child's timeout passed.
            RunCancelled: When the child was cancelled.
            StepCancelled: When this attempt must stop; in a coroutine step, the task is cancelled.
            ChildChanged: When the child is there already, with another workflow or other inputs.
            DefinitionError: When an argument is invalid.

        Example:
            >>> from actorflow import Orchestrator, Workflow
            >>> square, total = Workflow("square"), Workflow("total")
            >>> @square.step(async_=True)
            ... async def multiply(number):
            ...     return number * number
            >>> @total.step(async_=True)
            ... async def add(ctx):
            ...     return sum([(await ctx.run(square, {"number": n})).output for n in (3, 4)])
            >>> with Orchestrator(async_workers=1) as orchestrator:
            ...     orchestrator.run(total).output
            25
        """
        children, calls = self._family()
        return children.run(self._attempt, calls, flow, inputs, options)

    def start(
        self, flow: Workflow | str, inputs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Start another workflow as a child of this run, and return its `Run`.

        In a coroutine step, await it. The arguments are those of `run`, and so is the link between
        the two runs. Await the `Run`, or call its `result()` in a plain step, to wait for the
        child.
        """
        children, calls = self._family()
        return children.start(self._attempt, calls, flow, inputs, options)

    def wait_for(
        self, name: str, timeout: Duration | None = None, *, evict: bool = True
    ) -> Awaitable[Any]:
        """Wait for a message that is sent to the run with `Run.send`, and return its payload.

        Await it; in a plain function it raises. While it waits, the step holds neither a worker nor
        its run's sync lane, and its timeouts stand still; that of the run goes on. A message that
        was sent before is received at once. Messages of one name are received in the order in which
        they were sent, by the waits for it in their order.

        An attempt that fails receives nothing for good: the next attempt of the step receives the
        same messages again.

        Args:
            name: The name of the message.
            timeout: For how many seconds to wait, or a `timedelta`; by default as long as it takes.
            evict: Whether the run may leave memory meanwhile, where runs do (see `evict_after` of
                `Orchestrator`). This function is then stopped, and begins again later, as the same
                attempt: its waits return what they returned before. Put what must not happen again
                into a step of its own, or pass False.

        Raises:
            TimeoutError: When the timeout has passed; it is a `WaitExpired`.
            StepCancelled: When this attempt must stop; or else its task is cancelled.
            DefinitionError: When an argument is invalid, in a step that is no coroutine function,
                or when the state manager keeps no messages (see `KeepsMessages`).
            StoreError: When the run's messages cannot be read.

        Example:
            >>> from actorflow import Orchestrator, Workflow
            >>> flow = Workflow("order")
            >>> @flow.step(async_=True)
            ... async def ship(ctx):
            ...     return f"approved by {await ctx.wait_for('approved')}"
            >>> with Orchestrator() as orchestrator:
            ...     run = orchestrator.start(flow)
            ...     run.send("approved", "Ada")
            ...     run.result(timeout=10).output
            'approved by Ada'
        """
        mail = self._attempt.scope.mail
        if mail is None:
            raise RuntimeError(
                f"step {self.step_id!r} of run {self.run_id!r} cannot wait for a message, because "
                "no orchestrator runs it"
            )
        if self._calls is None:
            self._calls = {}
        said = name, timeout, evict
        waiting: Awaitable[Any] = mail.wait_for(self._attempt, self._calls, *said)
        return waiting

    def _family(self) -> tuple[Children, dict[str, int]]:
        children = self._attempt.scope.children
        if children is None:
            raise RuntimeError(
                f"step {self.step_id!r} of run {self.run_id!r} cannot start a child, because no "
                "orchestrator runs it"
            )
        if self._calls is None:
            self._calls = {}
        return children, self._calls

    @property
    def idempotency_key(self) -> str:
        """A key that is the same in every attempt of this step in this run.

        Pass it to a service that deduplicates requests, so that a retried or resumed step acts
        once. The compensator of the step has a different key, because undoing is a different
        action.
        """
        key = f"{self.run_id}:{self.step_id}"
        return f"{key}:compensate" if self._attempt.compensates else key

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The `metadata` that the run was started with; read-only."""
        return self._attempt.scope.metadata

    @property
    def trace_id(self) -> str | None:
        """The run's trace id."""
        return self._attempt.scope.trace_id

    @property
    def correlation_id(self) -> str | None:
        """The run's correlation id."""
        return self._attempt.scope.correlation_id

    @property
    def business_id(self) -> str | None:
        """The run's business id."""
        return self._attempt.scope.business_id

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A structlog logger that carries run, workflow, step, attempt and the three ids.

        A compensator's lines carry `compensating=True` too.
        """
        if self._log is None:
            # Imported on first use: importing structlog costs more than all of actorflow.
            from actorflow.support.logs import get_logger  # noqa: PLC0415

            self._log = get_logger(
                run_id=self.run_id,
                step_id=self.step_id,
                attempt=self.attempt,
                **({"compensating": True} if self.compensating else {}),
                **self._attempt.scope.bindings(),
            )
        return self._log

"""A compiled workflow, which the runtime works from.

A plan is made once and shared by all runs of its workflow. It never changes.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.options import fingerprinted
from actorflow.definition.parameters import RESERVED, Binding, is_anonymous, path_of
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import MissingInput, UnknownInput
from actorflow.support.suggestions import FEW, hints_for, nearest, surely
from actorflow.support.warnings import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    _StepsOfNames = tuple[tuple[str, ...], ...]

__all__ = ["StepPlan", "WorkflowPlan", "run_inputs"]

_UNKNOWN_SECONDS: Final = 1.0
"""The duration of a step that nothing is known of, where durations are compared."""


@attrs.frozen(kw_only=True, eq=False)
class StepPlan(Binding):
    """A step, its relations to the others, and where its arguments come from.

    It is one object and not several, because there may be a hundred thousand.
    """

    id: str
    index: int
    """Its index in the plan's order."""
    rank: tuple[int, int]
    """What orders the steps of a run that are ready together: the negated priority, then the
    position in the definition.
    """
    step: Step = attrs.field(repr=False)
    dependents: tuple[str, ...]
    compensation: StepPlan | None = attrs.field(default=None, repr=False)
    """The compensator of the step. It receives what the step received, and the step's output."""
    is_coroutine: bool = attrs.field(init=False)
    """Whether its function is awaited; asked for at every attempt, so it is looked up once."""

    @is_coroutine.default
    def _is_coroutine(self) -> bool:
        return self.step.is_coroutine


@attrs.frozen(kw_only=True, eq=False, slots=False)
class WorkflowPlan:
    """A compiled workflow."""

    workflow_id: str
    name: str
    version: str
    description: str
    metadata: Mapping[str, Any]
    timeout: float | None
    fail_fast: bool
    order: str
    """Which of the ready steps of equal priority goes first; see `Workflow.order`."""
    steps: tuple[StepPlan, ...] = attrs.field(repr=False)
    """In topological order; independent steps in order of definition."""
    by_id: Mapping[str, StepPlan] = attrs.field(repr=False)
    first_steps: tuple[str, ...]
    """The steps without dependencies, in order of definition."""
    last_steps: tuple[str, ...]
    """The steps without dependents, in order of definition."""
    required_inputs: tuple[str, ...]
    """The run inputs that are required by some step, in the order of their first use."""
    optional_inputs: tuple[str, ...]
    """The run inputs that every step takes with a default, in the order of their first use."""

    def ways(self, durations: Mapping[str, float]) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end, in seconds, by step id.

        None if the workflow is not ordered by critical path. The way of a step is its own expected
        duration and the longest way of its dependents.

        Args:
            durations: The usual durations of steps without an expected one, in seconds.
        """
        if self.order != "critical_path":
            return None
        ways: dict[str, float] = {}
        for plan in reversed(self.steps):
            expected = plan.step.expected
            own = durations.get(plan.id, _UNKNOWN_SECONDS) if expected is None else expected
            ways[plan.id] = own + max((ways[name] for name in plan.dependents), default=0.0)
        return ways

    def require(self, inputs: Mapping[str, Any]) -> None:
        """Refuse to run without the inputs that the steps require.

        Raises:
            MissingInput: When inputs are missing; it names all of them.
        """
        missing = tuple(itertools.filterfalse(inputs.__contains__, self.required_inputs))
        if missing:
            wanted_by, undone = self._wanting(missing)
            others = [name for name in inputs if name not in self.inputs]
            raise MissingInput(
                self.workflow_id,
                missing,
                wanted_by,
                hints_for(missing, lambda name: self._hint(name, others)),
                undone if any(undone) else (),
            )

    def _wanting(self, names: Sequence[str]) -> tuple[_StepsOfNames, _StepsOfNames]:
        """Return the steps that take each input, and those whose compensator alone does."""
        takers: dict[str, dict[str, None]] = {name: {} for name in names}
        undone: dict[str, dict[str, None]] = {name: {} for name in names}
        for step in self.steps:
            for call in _calls(step):
                for name in takers.keys() & call.inputs:
                    takers[name][step.id] = None
                    if name not in step.inputs:
                        undone[name][step.id] = None
        return tuple(map(tuple, takers.values())), tuple(map(tuple, undone.values()))

    def _hint(self, name: str, others: Sequence[str]) -> str:
        given = nearest(name, others)
        if given is not None:
            return f"you passed {given!r}"
        close = nearest(name, (*RESERVED, *self.by_id))
        if close is None:
            return ""
        if not close.isidentifier():
            return f"did you mean inputs[{close!r}]?"
        return f"did you mean {'the step ' * (close in self.by_id)}{close!r}?"

    def recognise(self, inputs: Mapping[str, Any]) -> None:
        """Refuse inputs that no step takes, as a function refuses arguments.

        A step that takes the mapping `inputs` may look up any name; then a name that is surely
        misspelt causes a warning.

        Raises:
            UnknownInput: When there are such inputs; it names all of them.
        """
        unknown = tuple(itertools.filterfalse(self.inputs.__contains__, inputs))
        if not unknown:
            return
        if not self.takes_any_input:
            known = (*self.required_inputs, *self.optional_inputs)
            hints = hints_for(unknown, self._meaning)
            raise UnknownInput(self.workflow_id, unknown, known, hints)
        left_out = [name for name in self.optional_inputs if name not in inputs]
        # With many names they are data, and comparing each would delay every start.
        for name in unknown[:FEW] if left_out else ():
            self._warn_of(name, surely(name, left_out))

    def _meaning(self, name: str) -> str:
        if name in self.by_id:
            return "a step, whose output the run makes"
        close = nearest(name, self.inputs)
        return "" if close is None else f"did you mean {close!r}?"

    def _warn_of(self, name: str, meant: str | None) -> None:
        if meant is not None:
            warn(
                f"workflow {self.workflow_id!r}: no step names the input {name!r}, and {meant!r} "
                f"is not given. Did you mean {meant!r}? If not, name {name!r} in a step that "
                "looks it up in `inputs`."
            )

    @functools.cached_property
    def step_ids(self) -> tuple[str, ...]:
        """The ids of the steps, in topological order."""
        return tuple(self.by_id)

    @functools.cached_property
    def inputs(self) -> frozenset[str]:
        """The run inputs that are named by some step."""
        return frozenset((*self.required_inputs, *self.optional_inputs))

    @functools.cached_property
    def compensations(self) -> Mapping[str, StepPlan]:
        """The compensators, by step id."""
        return {step.id: step.compensation for step in self.steps if step.compensation}

    @functools.cached_property
    def takes_any_input(self) -> bool:
        """Whether an input may have any name, because a step takes `inputs`."""
        return any(one.wants_inputs for step in self.steps for one in _calls(step))

    @property
    def anonymous(self) -> tuple[str, ...]:
        """The steps whose function, or compensator, a fingerprint cannot tell from others."""
        return tuple(step.id for step in self.steps if any(map(is_anonymous, _functions(step))))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what the workflow does, which is equal for equal definitions.

        It covers the ids, the dependencies, the options, and the functions by their module
        and name; not the code within them, nor what is written for people only.
        """
        import hashlib  # noqa: PLC0415 - loads OpenSSL, and only registered workflows need it

        workflow: tuple[Any, ...]
        workflow = (self.workflow_id, self.version, self.timeout, self.fail_fast)
        if self.order != "readiness":
            workflow = (*workflow, self.order)
        steps = sorted(repr(_described(step.step)) for step in self.steps)
        return hashlib.sha256(repr((workflow, steps)).encode()).hexdigest()


def _described(value: object) -> object:
    if isinstance(value, (Step, RetryPolicy)):
        return {name: _described(getattr(value, name)) for name in fingerprinted(type(value))}
    if isinstance(value, tuple):
        return tuple(_described(item) for item in value)
    return path_of(value) if callable(value) else value


def _calls(plan: StepPlan) -> tuple[StepPlan, ...]:
    """Return a step and its compensator, if it has one."""
    return (plan,) if plan.compensation is None else (plan, plan.compensation)


def _functions(plan: StepPlan) -> tuple[Callable[..., Any], ...]:
    return tuple(call.step.run for call in _calls(plan))


def run_inputs(steps: Iterable[StepPlan]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the run inputs that are required and those that are optional, by first use."""
    calls = [one for step in steps for one in _calls(step)]
    required = dict.fromkeys(name for one in calls for name in one.inputs)
    optional = dict.fromkeys(name for one in calls for name in one.optional_inputs)
    return tuple(required), tuple(name for name in optional if name not in required)

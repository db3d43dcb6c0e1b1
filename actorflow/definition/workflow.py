"""Workflows: steps with an id, collected by a decorator and checked as a whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, Unpack, overload

import attrs

from actorflow.definition.arguments import cure_of_text, is_text
from actorflow.definition.compiling import plan_steps
from actorflow.definition.durations import as_seconds, seconds
from actorflow.definition.parameters import name_of
from actorflow.definition.plan import StepPlan, WorkflowPlan, run_inputs
from actorflow.definition.step import Step, StepOptions, or_id
from actorflow.errors.definition import DefinitionError
from actorflow.support.read_only import NOTHING, ReadOnly
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import checks_options, refuse_unknown_options

__all__ = [
    "Dependencies",
    "Dependency",
    "Step",
    "StepOptions",
    "StepPlan",
    "Workflow",
    "WorkflowPlan",
]

F = TypeVar("F", bound=Callable[..., Any])

ORDERS: Final = ("readiness", "critical_path")

Dependency = str | Step | Callable[..., Any]
"""A step: its id, the step itself, or the function that `flow.step` decorated."""

Dependencies = Dependency | Sequence[Dependency]
"""One dependency, or a list or tuple of them."""


def _function_name(run: Any) -> str:
    if isinstance(run, str):
        problem = f"a step's function is the string {run!r}"
        raise DefinitionError(None, problem, f"Write @flow.step(id={run!r})")
    if not hasattr(run, "__name__"):
        problem = f"{name_of(run)} has no name to take the step's id from"
        raise DefinitionError(None, problem, "Give it: flow.step(id=...)")
    return str(run.__name__)


@contextlib.contextmanager
def _blaming(workflow_id: str) -> Iterator[None]:
    """Add the workflow's id to an error of a part that does not know it."""
    try:
        yield
    except DefinitionError as fault:
        raise DefinitionError(workflow_id, fault.problem, fault.cure, fault.step_id) from None


def _copied(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    given: Any = {} if metadata is None else metadata
    if not isinstance(given, Mapping):
        problem = f"a workflow's metadata is {text_of(given)}"
        raise DefinitionError(None, problem, "Give a mapping")
    return MappingProxyType(dict(given))


def _as_step(workflow_id: str, step: Any) -> Step:
    if isinstance(step, Step):
        return step
    cure = "Give a Step, or decorate the function with @flow.step; call .build() on a builder"
    raise DefinitionError(workflow_id, f"{text_of(step)} is not a Step", cure)


def _check_id(_workflow: Workflow, _field: attrs.Attribute[str], value: str) -> None:
    if not is_text(value):
        problem = f"a workflow's id is {text_of(value)}"
        raise DefinitionError(None, problem, cure_of_text(value))


@checks_options
@attrs.define(eq=False, on_setattr=attrs.setters.frozen)
class Workflow:
    """A directed acyclic graph of steps.

    It is a template: runs take a plan of it and never change it. Steps may be added at any time and
    count for runs that start afterwards. All methods may be called from several threads.

    Example:
        >>> from actorflow import Workflow
        >>> flow = Workflow("report")
        >>> @flow.step
        ... def fetch(url):
        ...     return ["two", "words"]
        >>> @flow.step(after=fetch)
        ... def count(fetch):
        ...     return len(fetch)
        >>> flow.validate()
        >>> list(flow.steps), flow.required_inputs
        (['fetch', 'count'], ('url',))
    """

    id: str = attrs.field(validator=_check_id)
    name: str = attrs.field(default=None, converter=or_id, kw_only=True)
    """Its name for people; the id by default."""
    version: str = attrs.field(default="1.0.0", kw_only=True)
    description: str = attrs.field(default="", kw_only=True)
    metadata: Mapping[str, Any] = attrs.field(default=None, converter=_copied, kw_only=True)
    """Read-only; every run receives it."""
    timeout: float | None = attrs.field(
        default=None, converter=attrs.converters.optional(as_seconds), kw_only=True
    )
    """Seconds, or a `timedelta`, that a whole run may take."""
    fail_fast: bool = attrs.field(default=True, kw_only=True)
    """Whether a failure cancels the branches that do not depend on it."""
    order: Literal["readiness", "critical_path"] = attrs.field(default="readiness", kw_only=True)
    """Which of a run's ready steps goes first when their priorities are equal.

    `"readiness"`: the one that became ready first, then the one that was defined first.
    `"critical_path"`: the one from which the longest way leads to the end of the workflow, in
    seconds of `Step.expected` (the upward rank of HEFT: Topcuoglu, Hariri and Wu, 2002). A step
    without `expected` counts with the median of its recorded durations if the state manager knows
    them, and with 1 second if not.
    """
    _steps: dict[str, Step] = attrs.field(init=False, factory=dict, repr=False)
    _plan: WorkflowPlan | None = attrs.field(
        init=False, default=None, repr=False, on_setattr=attrs.setters.NO_OP
    )
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    @name.validator
    @version.validator
    def _check_text(self, field: attrs.Attribute[str], value: object) -> None:
        if not is_text(value) and not (field.name == "name" and value is None):
            problem = f"its {field.name} is {text_of(value)}"
            raise DefinitionError(self.id, problem, cure_of_text(value))

    @description.validator
    def _check_description(self, _field: object, value: object) -> None:
        if not isinstance(value, str):
            raise DefinitionError(self.id, f"description is {text_of(value)}", "Give a string")

    @fail_fast.validator
    def _check_fail_fast(self, _field: object, value: object) -> None:
        if not isinstance(value, bool):
            raise DefinitionError(self.id, f"fail_fast is {text_of(value)}", "Give True or False")

    @order.validator
    def _check_order(self, _field: object, value: object) -> None:
        if value not in ORDERS:
            cure = f"Give {' or '.join(map(repr, ORDERS))}"
            raise DefinitionError(self.id, f"order is {value!r}", cure)

    @timeout.validator
    def _check_timeout(self, _field: object, value: object) -> None:
        if value is not None:
            seconds(value, "timeout", workflow_id=self.id)

    def __attrs_post_init__(self) -> None:
        """Fall back on the id for a name."""
        if not self.name:
            object.__setattr__(self, "name", self.id)

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps by id, in order of definition; a read-only view."""
        return MappingProxyType(self._steps)

    @property
    def required_inputs(self) -> tuple[str, ...]:
        """The run inputs that are required by some step, in the order of their first use."""
        return self.plan().required_inputs

    @property
    def optional_inputs(self) -> tuple[str, ...]:
        """The run inputs that every step takes with a default, in the order of their first use."""
        return self.plan().optional_inputs

    def add(self, step: Step) -> Step:
        """Add a step and return it, so that other steps can be defined `after` it.

        Raises:
            DefinitionError: When its id is taken.
        """
        step = _as_step(self.id, step)
        with self._lock:
            if step.id in self._steps:
                cure = "Give one of them another id"
                raise DefinitionError(self.id, "its id is taken by another step", cure, step.id)
            self._steps[step.id] = step
            self._plan = None
        return step

    @overload
    def step(
        self,
        run: F,
        /,
        *,
        id: str | None = None,
        after: Dependencies = (),
        **options: Unpack[StepOptions],
    ) -> F: ...

    @overload
    def step(
        self,
        /,
        *,
        id: str | None = None,
        after: Dependencies = (),
        **options: Unpack[StepOptions],
    ) -> Callable[[F], F]: ...

    def step(
        self,
        run: F | None = None,
        /,
        *,
        id: str | None = None,
        after: Dependencies = (),
        **options: Unpack[StepOptions],
    ) -> F | Callable[[F], F]:
        """Decorate a function as a step, and return the function unchanged.

        Args:
            run: The function; absent when the decorator is called with options.
            id: The step's id; the function's name by default.
            after: Its dependencies: ids, steps, and functions decorated before.
            **options: The other options of `Step`.

        Raises:
            DefinitionError: When the step is invalid or its id is taken.
            TypeError: When an option does not exist.
        """
        refuse_unknown_options("flow.step", options, ("id", "after", *StepOptions.__annotations__))
        if run is None:
            return lambda function: self.step(function, id=id, after=after, **options)
        with _blaming(self.id):
            step_id = _function_name(run) if id is None else id
            self.add(Step(step_id, run, after=self._ids(step_id, after), **options))
        return run

    def _ids(self, step_id: str, after: Dependencies) -> tuple[str, ...]:
        several: Any = after if isinstance(after, (list, tuple)) else (after,)
        return tuple(self._id_of(step_id, dependency) for dependency in several)

    def _id_of(self, step_id: str, dependency: Any) -> Any:
        if isinstance(dependency, Step):
            return dependency.id
        if not callable(dependency):
            # An id; anything else is refused by the step.
            return dependency
        with self._lock:
            ids = [step.id for step in self._steps.values() if step.run == dependency]
        if len(ids) == 1:
            return ids[0]
        said = f"after names the function {name_of(dependency)}"
        if not ids:
            cure = "Decorate it with this workflow's step, or name a step by its id"
            raise DefinitionError(None, f"{said}, which is not a step of it", cure, step_id)
        cure = "Name the step by its id"
        raise DefinitionError(None, f"{said}, which is the steps {', '.join(ids)}", cure, step_id)

    def validate(self) -> None:
        """Check everything that only the whole workflow shows.

        Raises:
            DefinitionError: When the steps do not fit together; it names the cure.
        """
        self.plan()

    def plan(self) -> WorkflowPlan:
        """Return the compiled workflow; the same plan until a step is added.

        Raises:
            DefinitionError: As `validate` does.
        """
        plan = self._plan
        return self._compiled_once() if plan is None else plan

    def _compiled_once(self) -> WorkflowPlan:
        with self._lock, _blaming(self.id):
            if self._plan is None:
                self._plan = self._compiled()
            return self._plan

    def _compiled(self) -> WorkflowPlan:
        steps = plan_steps(self._steps)
        by_id = {step.id: step for step in steps}
        required, optional = run_inputs(steps)
        return WorkflowPlan(
            workflow_id=self.id,
            name=self.name,
            version=self.version,
            description=self.description,
            metadata=ReadOnly(self.metadata) if self.metadata else NOTHING,
            timeout=self.timeout,
            fail_fast=self.fail_fast,
            order=self.order,
            steps=steps,
            by_id=MappingProxyType(by_id),
            first_steps=tuple(id_ for id_ in self._steps if not by_id[id_].dependencies),
            last_steps=tuple(id_ for id_ in self._steps if not by_id[id_].dependents),
            required_inputs=required,
            optional_inputs=optional,
        )

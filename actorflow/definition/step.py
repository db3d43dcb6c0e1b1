"""One step of a workflow, as its author defines it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from actorflow.definition.durations import as_seconds, seconds
from actorflow.definition.parameters import RESERVED, Parameter, is_coroutine, read_parameters
from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import checks_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Step", "is_text", "or_id"]


def _ids(after: str | Step | Sequence[str | Step]) -> tuple[str, ...]:
    # Only what keeps an order counts as several: a set would give each run another one.
    several: Any = after if isinstance(after, (list, tuple)) else (after,)
    return tuple(item.id if isinstance(item, Step) else item for item in several)


def _cure_of_after(item: object) -> str:
    """Return what to write in the place of what is no step's id."""
    if item is None or item == "":
        return "Leave after out for a step that waits for none, or give step ids"
    if isinstance(item, (list, tuple)):
        return "Give the ids one by one, not in a list of their own"
    if hasattr(item, "build"):
        return "A builder needs its .build()"
    if isinstance(item, Iterable) and not isinstance(item, str):
        # A set gives each run of the program another order, and a generator is empty later.
        return f"Give several step ids as a list or a tuple, not as a {type(item).__name__}"
    if callable(item):
        return "Give step ids; a decorated function is known to its own workflow's @flow.step only"
    return "Give step ids, or steps"


def is_text(value: object) -> bool:
    """Return whether `value` is a text that says something."""
    return isinstance(value, str) and bool(value.strip())


def or_id(name: str | None) -> Any:
    """Let a name be left out in the eyes of type checkers; the class then puts its id."""
    return name


def _check_id(_step: Step, _field: attrs.Attribute[str], value: str) -> None:
    if not is_text(value):
        problem = f"a step's id is {value!r}"
        raise DefinitionError(None, problem, "Give a text that is not empty")
    if value in RESERVED:
        cure = "Give it another one: as the name of a parameter it has a meaning of its own"
        raise DefinitionError(None, "its id is reserved", cure, value)


@checks_options
@attrs.frozen
class Step:
    """A function, what it waits for, and how it is run.

    It is complete and legal once it exists; only what takes the other steps to see is left
    for `Workflow.validate`. It may be added to several workflows.

    Example:
        >>> from actorflow import Step, Workflow
        >>> flow = Workflow("report")
        >>> fetch = flow.add(Step("fetch", lambda url: ["two", "words"]))
        >>> count = flow.add(Step("count", lambda fetch: len(fetch), after=fetch, timeout=2.0))
        >>> count.after, count.timeout
        (('fetch',), 2.0)
    """

    id: str = attrs.field(validator=_check_id)
    run: Callable[..., Any] = attrs.field()
    """The function. Its parameters are filled by name; see `actorflow.definition.parameters`."""
    name: str = attrs.field(default=None, converter=or_id, kw_only=True)
    """What people call it; the id when none is given."""
    description: str = attrs.field(default="", kw_only=True)
    after: tuple[str, ...] = attrs.field(default=(), converter=_ids, kw_only=True)
    """The ids of its dependencies. Steps may be given in their place, and one without a list."""
    async_: bool = attrs.field(default=False, kw_only=True)
    """Whether it runs beside other steps of its run, on an async worker."""
    executor: str | None = attrs.field(default=None, kw_only=True)
    """The name of the orchestrator's executor that runs it; None leaves the choice to it."""
    timeout: float | None = attrs.field(
        default=None, converter=attrs.converters.optional(as_seconds), kw_only=True
    )
    """Seconds, or a `timedelta`, that one attempt may take."""
    total_timeout: float | None = attrs.field(
        default=None, converter=attrs.converters.optional(as_seconds), kw_only=True
    )
    """Seconds that all attempts may take together, with the waits in between."""
    retry: RetryPolicy | None = attrs.field(default=None, kw_only=True)
    """None means that it is tried once."""
    required: bool = attrs.field(default=True, kw_only=True)
    """Whether its failure fails the run; an optional step is skipped instead."""
    priority: int = attrs.field(default=0, kw_only=True)
    """Among ready steps the higher goes first."""
    compensate: Callable[..., Any] | Step | None = attrs.field(default=None, kw_only=True)
    """What undoes it when the run fails later: a function, run, tried and timed as the step
    itself is, or a `Step` that says all of that for itself."""
    is_coroutine: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether its function is awaited."""
    parameters: tuple[Parameter, ...] = attrs.field(init=False, eq=False, repr=False)
    """What its function takes by name."""

    @is_coroutine.default
    def _read_kind(self) -> bool:
        return is_coroutine(self.run)

    @parameters.default
    def _read_parameters(self) -> tuple[Parameter, ...]:
        return read_parameters(self.id, self.run)

    @name.validator
    def _check_name(self, _field: object, value: object) -> None:
        if value is not None and not is_text(value):
            raise self._refusal(f"its name is {value!r}", "Give a text that is not empty")

    @executor.validator
    def _check_executor(self, _field: object, value: object) -> None:
        if value is not None and not is_text(value):
            cure = "Give the name of one of the orchestrator's executors"
            raise self._refusal(f"executor is {value!r}", cure)

    @description.validator
    def _check_description(self, _field: object, value: object) -> None:
        if not isinstance(value, str):
            raise self._refusal(f"description is {value!r}", "Give a text")

    @after.validator
    def _check_after(self, _field: object, value: tuple[object, ...]) -> None:
        for item in value:
            if not is_text(item):
                raise self._refusal(f"after holds {text_of(item)}", _cure_of_after(item))
        if len(set(value)) < len(value):
            twice = next(item for item in value if value.count(item) > 1)
            raise self._refusal(f"after names {twice!r} twice", "Name it once")

    @async_.validator
    @required.validator
    def _check_flag(self, field: attrs.Attribute[bool], value: object) -> None:
        if not isinstance(value, bool):
            raise self._refusal(f"{field.name} is {value!r}", "Give True or False")

    @priority.validator
    def _check_priority(self, _field: object, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refusal(f"priority is {value!r}", "Give a whole number")

    @timeout.validator
    @total_timeout.validator
    def _check_timeout(self, field: attrs.Attribute[float | None], value: object) -> None:
        if value is not None:
            seconds(value, field.name, step_id=self.id)

    @retry.validator
    def _check_retry(self, _field: object, value: object) -> None:
        if value is not None and not isinstance(value, RetryPolicy):
            cure = "Give a RetryPolicy, such as RetryPolicy(max_attempts=3)"
            if hasattr(value, "build"):
                cure = "A builder needs its .build()"
            raise self._refusal(f"retry is {text_of(value)}", cure)

    @compensate.validator
    def _check_compensate(self, _field: object, value: Callable[..., Any] | Step | None) -> None:
        if isinstance(value, Step):
            if value.after or value.compensate:
                cure = "Leave them out: it runs when the run is undone"
                raise self._refusal("what compensates it has dependencies or a compensator", cure)
        elif value is not None:
            read_parameters(self.id, value)

    def __attrs_post_init__(self) -> None:
        """Fall back on the id for a name."""
        if not self.name:
            object.__setattr__(self, "name", self.id)

    def _refusal(self, problem: str, cure: str) -> DefinitionError:
        return DefinitionError(None, problem, cure, self.id)

    @property
    def compensation(self) -> Step | None:
        """What undoes the step, as a step: a bare function inherits how this one is run."""
        if self.compensate is None or isinstance(self.compensate, Step):
            return self.compensate
        return Step(
            self.id,
            self.compensate,
            async_=self.async_,
            priority=self.priority,
            executor=self.executor if is_coroutine(self.compensate) is self.is_coroutine else None,
            timeout=self.timeout,
            total_timeout=self.total_timeout,
            retry=self.retry,
        )

"""Steps, as their author defines them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

import attrs

from actorflow.definition.arguments import cure_of_text, cure_of_whole, is_text, is_whole
from actorflow.definition.durations import as_seconds, seconds
from actorflow.definition.options import inherited, option
from actorflow.definition.parameters import RESERVED, Parameter, is_coroutine, read_parameters
from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import checks_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.definition.durations import Duration

__all__ = ["Step", "StepOptions", "or_id"]


def _ids(after: str | Step | Sequence[str | Step]) -> tuple[str, ...]:
    # Only what keeps an order counts as several: a set would give each run another one.
    several: Any = after if isinstance(after, (list, tuple)) else (after,)
    return tuple(item.id if isinstance(item, Step) else item for item in several)


def _cure_of_after(item: object) -> str:
    """Return the cure for a dependency that is not a step id."""
    if item is None or item == "":
        return "Leave after out for a step without dependencies, or give step ids"
    if isinstance(item, (list, tuple)):
        return "Give the ids one by one, not in a nested list"
    if hasattr(item, "build"):
        return "Call .build() on a builder"
    if isinstance(item, Iterable) and not isinstance(item, str):
        # A set gives each run of the program another order, and a generator is empty later.
        return f"Give several step ids as a list or a tuple, not as a {type(item).__name__}"
    if callable(item):
        return "Give step ids; a decorated function is known to its own workflow's @flow.step only"
    return "Give step ids, or steps"


def or_id(name: str | None) -> Any:
    """Let a name be left out in the eyes of type checkers; the class then puts its id."""
    return name


def _check_id(_step: Step, _field: attrs.Attribute[str], value: str) -> None:
    if not is_text(value):
        problem = f"a step's id is {text_of(value)}"
        raise DefinitionError(None, problem, cure_of_text(value))
    if value in RESERVED:
        cure = "Choose another one: a parameter of this name has a special meaning"
        raise DefinitionError(None, "its id is reserved", cure, value)


class StepOptions(TypedDict, total=False):
    """The options of `Step` for type checkers, as keywords that other callables pass on.

    All but `after`, which `flow.step` takes in more forms than `Step`.
    """

    name: str | None
    description: str
    async_: bool
    executor: str | None
    timeout: Duration | None
    total_timeout: Duration | None
    retry: RetryPolicy | None
    required: bool
    priority: int
    expected: Duration | None
    compensate: Callable[..., Any] | Step | None


@checks_options
@attrs.frozen
class Step:
    """A function, its dependencies, and how it is run.

    It is complete and valid once it exists, except for faults that only the whole workflow shows;
    `Workflow.validate` finds those. A step may be added to several workflows.

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
    """The function; its parameters are filled by name (dependencies, inputs, `ctx`)."""
    name: str = attrs.field(
        default=None,
        converter=or_id,
        kw_only=True,
        metadata=option(None, inherited=False, phrase=None, scenario=None, changes_nothing=True),
    )
    """Its name for people; the id by default."""
    description: str = attrs.field(
        default="",
        kw_only=True,
        metadata=option(
            "with_description", inherited=False, phrase=None, scenario=None, changes_nothing=True
        ),
    )
    after: tuple[str, ...] = attrs.field(
        default=(),
        converter=_ids,
        kw_only=True,
        metadata=option("with_dependencies", inherited=False, phrase=None, scenario="after"),
    )
    """The ids of its dependencies. Steps may be given instead, and a single one without a list."""
    async_: bool = attrs.field(
        default=False,
        kw_only=True,
        metadata=option("with_async", inherited=True, phrase="async", scenario=(True, True, False)),
    )
    """Whether it runs concurrently with other steps of its run, on an async worker."""
    executor: str | None = attrs.field(
        default=None,
        kw_only=True,
        metadata=option("with_executor", inherited=True, phrase="executor {}", scenario=None),
    )
    """The name of the orchestrator's executor that runs it; None for the default."""
    timeout: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(as_seconds),
        kw_only=True,
        metadata=option(
            "with_timeout",
            inherited=True,
            phrase="timeout {:g} s",
            scenario=(None, None, 2.0, 1.0, 5.0),
        ),
    )
    """Seconds, or a `timedelta`, that one attempt may take."""
    total_timeout: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(as_seconds),
        kw_only=True,
        metadata=option(
            "with_total_timeout",
            inherited=True,
            phrase="total timeout {:g} s",
            scenario=(None, 3.0, 2.0),
        ),
    )
    """Seconds, or a `timedelta`, that all attempts and the waits between them may take."""
    retry: RetryPolicy | None = attrs.field(
        default=None,
        kw_only=True,
        metadata=option(
            "with_retry_policy",
            inherited=True,
            phrase="up to {.max_attempts} attempts",
            scenario="retry",
        ),
    )
    """None means one attempt."""
    required: bool = attrs.field(
        default=True,
        kw_only=True,
        metadata=option(
            "with_required", inherited=False, phrase="optional", scenario=(True, False)
        ),
    )
    """Whether its failure fails the run; an optional step is skipped instead."""
    priority: int = attrs.field(
        default=0,
        kw_only=True,
        metadata=option(
            "with_priority", inherited=True, phrase="priority {}", scenario=(0, 0, 1, -1)
        ),
    )
    """Higher goes first among ready steps."""
    expected: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(as_seconds),
        kw_only=True,
        metadata=option(
            "with_expected_duration",
            inherited=False,
            phrase="expected {:g} s",
            scenario=(None, 5.0, 2.0, 0.5),
            changes_nothing=True,
        ),
    )
    """Seconds, or a `timedelta`, that it usually takes. A workflow with `order="critical_path"`
    uses it to find the longest way to the end."""
    compensate: Callable[..., Any] | Step | None = attrs.field(
        default=None,
        kw_only=True,
        metadata=option(
            "with_compensator",
            inherited=False,
            phrase="can be undone",
            scenario="undo",
            replayed=False,
        ),
    )
    """Undoes the step when the run fails later: a function, which inherits the executor, timeouts
    and retries of the step, or a `Step` with its own.
    """
    is_coroutine: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether its function is awaited."""
    parameters: tuple[Parameter, ...] = attrs.field(init=False, eq=False, repr=False)
    """Its function's parameters."""

    @is_coroutine.default
    def _read_kind(self) -> bool:
        return is_coroutine(self.run)

    @parameters.default
    def _read_parameters(self) -> tuple[Parameter, ...]:
        return read_parameters(self.id, self.run)

    @name.validator
    def _check_name(self, _field: object, value: object) -> None:
        if value is not None and not is_text(value):
            raise self._refusal(f"its name is {text_of(value)}", cure_of_text(value))

    @executor.validator
    def _check_executor(self, _field: object, value: object) -> None:
        if value is not None and not is_text(value):
            cure = "Give the name of one of the orchestrator's executors"
            raise self._refusal(f"executor is {text_of(value)}", cure)

    @description.validator
    def _check_description(self, _field: object, value: object) -> None:
        if not isinstance(value, str):
            raise self._refusal(f"description is {text_of(value)}", "Give a string")

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
            raise self._refusal(f"{field.name} is {text_of(value)}", "Give True or False")

    @priority.validator
    def _check_priority(self, _field: object, value: object) -> None:
        if not is_whole(value):
            raise self._refusal(f"priority is {text_of(value)}", cure_of_whole(value))

    @timeout.validator
    @total_timeout.validator
    @expected.validator
    def _check_timeout(self, field: attrs.Attribute[float | None], value: object) -> None:
        if value is not None:
            seconds(value, field.name, step_id=self.id)

    @retry.validator
    def _check_retry(self, _field: object, value: object) -> None:
        if value is not None and not isinstance(value, RetryPolicy):
            cure = "Give a RetryPolicy, such as RetryPolicy(max_attempts=3)"
            if hasattr(value, "build"):
                cure = "Call .build() on a builder"
            raise self._refusal(f"retry is {text_of(value)}", cure)

    @compensate.validator
    def _check_compensate(self, _field: object, value: Callable[..., Any] | Step | None) -> None:
        if isinstance(value, Step):
            if value.after or value.compensate:
                both = {"after=": value.after, "compensate=": value.compensate}
                has = " and ".join(option for option, given in both.items() if given)
                cure = "A compensator can have neither after= nor compensate=; leave them out"
                raise self._refusal(f"its compensator has {has}", cure)
        elif value is not None:
            read_parameters(self.id, value, "compensate")

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
        options = inherited(self)
        if is_coroutine(self.compensate) is not self.is_coroutine:
            # The executor was chosen for the step's kind of function.
            options["executor"] = None
        return Step(self.id, self.compensate, **options)

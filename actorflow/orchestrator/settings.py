"""The settings of one orchestrator, and checks of its arguments."""

from __future__ import annotations

import concurrent.futures
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import attrs

from actorflow.definition.arguments import (
    cure_of_text,
    flag,
    is_storable,
    is_text,
    one_of,
    whole,
)
from actorflow.definition.durations import as_seconds, seconds
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import RunNotFound
from actorflow.model.protocols import Executor
from actorflow.orchestrator.powers import called, check_no_coroutines, members_of, missing
from actorflow.run.handle import Run
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from actorflow.model.protocols import Observer

__all__ = [
    "Settings",
    "checked_executors",
    "checked_observers",
    "run_id_of",
]


def _whole(least: int) -> Any:
    def check(_owner: object, field: attrs.Attribute[int], value: object) -> None:
        whole(value, field.name, least=least)

    return check


def _seconds(_owner: object, field: attrs.Attribute[float], value: object) -> None:
    seconds(value, field.name, endless=True)


def _flag(_owner: object, field: attrs.Attribute[bool], value: object) -> None:
    flag(value, field.name)


def _choice(_owner: object, field: attrs.Attribute[str], value: object) -> None:
    one_of(value, field.name, ("block", "reject"))


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Settings:
    """The arguments of `Orchestrator(...)`; see there."""

    async_workers: int = attrs.field(validator=_whole(1))
    max_active_runs: int = attrs.field(validator=_whole(1))
    max_queued_runs: int = attrs.field(validator=_whole(0))
    when_full: Literal["block", "reject"] = attrs.field(validator=_choice)
    max_abandoned: int = attrs.field(validator=_whole(1))
    stop_grace: float = attrs.field(converter=as_seconds, validator=_seconds)
    recover: bool = attrs.field(validator=_flag)
    recover_every: float = attrs.field(converter=as_seconds, validator=_seconds)
    max_takeovers: int = attrs.field(default=10, validator=_whole(0))
    blocked_after: float = attrs.field(converter=as_seconds, validator=_seconds)
    evict_after: float | None = attrs.field(
        default=cast("float | None", 60.0),
        converter=attrs.converters.optional(as_seconds),
        validator=attrs.validators.optional(_seconds),
    )
    ageing: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(as_seconds),
        validator=attrs.validators.optional(_seconds),
    )


def checked_executors(
    executors: Mapping[str, Executor | concurrent.futures.Executor] | None,
) -> Mapping[str, Executor | concurrent.futures.Executor]:
    """Return the executors by name.

    Raises:
        DefinitionError: When they are not a mapping, or a value is not an executor.
    """
    given: Any = {} if executors is None else executors
    if not isinstance(given, Mapping):
        problem = f"executors must be a mapping; got {text_of(given)}"
        raise DefinitionError(None, problem, 'Give each a name: {"pool": ...}')
    for name, executor in given.items():
        _check_executor(name, executor)
    return given


def _check_executor(name: object, executor: object) -> None:
    said = f"executors[{text_of(name)}]"
    if not is_text(name):
        raise DefinitionError(None, f"{said} has no name that a step can give", cure_of_text(name))
    if name == "coroutine":
        cure = "Give the executor another name"
        raise DefinitionError(None, f"{said} takes the event loop's own name", cure)
    if isinstance(executor, type):
        problem = f"{said} is a class, {executor.__name__}"
        raise DefinitionError(None, problem, f"Pass an instance: {executor.__name__}(...)")
    said = f"{said} is {text_of(executor)}, which"
    if isinstance(executor, concurrent.futures.Executor):
        return
    methods = [name for name in members_of(Executor) if name != "preemptive"]
    lacking = missing(executor, methods)
    if lacking:
        problem = f"{said} is not an executor: it has no {called(lacking)}"
        raise DefinitionError(None, problem, "Pass a concurrent.futures.Executor, or an Executor")
    check_no_coroutines(said, executor, methods)
    if not hasattr(executor, "preemptive"):
        problem = f"{said} does not say whether it is preemptive"
        cure = "Give it preemptive = True if stop() ends a body, or False if it only asks it to end"
        raise DefinitionError(None, problem, cure)


def checked_observers(observers: object) -> tuple[Observer, ...]:
    """Return the observers.

    Raises:
        DefinitionError: When they are not a sequence of plain callables.
    """
    if not isinstance(observers, (list, tuple)):
        problem = f"observers must be a list of callables; got {text_of(observers)}"
        raise DefinitionError(None, problem, "Pass observers=[...], even for one")
    for observer in observers:
        if not callable(observer) or inspect.iscoroutinefunction(observer):
            problem = (
                "observers must be a list of callables, called with an event; got "
                f"{text_of(observer)} in it"
            )
            cure = "Pass plain functions; each is called on a separate thread"
            raise DefinitionError(None, problem, cure)
    return tuple(observers)


def run_id_of(value: object, taker: str) -> str:
    """Return the id of a run.

    Raises:
        DefinitionError: When it is not a string, but for example a `Run`.
        RunNotFound: When no state manager can hold it.
    """
    if not isinstance(value, str):
        cure = "Pass its .id" if isinstance(value, Run) else "Pass the .id of a Run"
        raise DefinitionError(None, f"{taker} takes a run's id, not {text_of(value)}", cure)
    if not is_storable(value):
        raise RunNotFound(value)
    return value

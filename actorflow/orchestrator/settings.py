"""The limits of one orchestrator."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from actorflow.errors import DefinitionError

if TYPE_CHECKING:
    from actorflow.protocols import Observer, StateManager

__all__ = ["Settings", "checked_observers", "checked_state"]


def _whole(least: int) -> Any:
    def check(_owner: object, field: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DefinitionError(
                None,
                f"Orchestrator({field.name}={value!r}) is not a whole number of at least {least}",
                f"Give {field.name} one",
            )

    return check


def _seconds(_owner: object, field: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise DefinitionError(
            None,
            f"Orchestrator({field.name}={value!r}) is not a positive number of seconds",
            f"Give {field.name} one",
        )


def _choice(_owner: object, field: attrs.Attribute[str], value: object) -> None:
    if value not in {"block", "reject"}:
        raise DefinitionError(
            None, f"Orchestrator({field.name}={value!r}) is no choice", 'Use "block" or "reject"'
        )


@attrs.frozen(kw_only=True)
class Settings:
    """What `Orchestrator(...)` was told; see there."""

    async_workers: int = attrs.field(validator=_whole(1))
    max_active_runs: int = attrs.field(validator=_whole(1))
    max_queued_runs: int = attrs.field(validator=_whole(0))
    when_full: Literal["block", "reject"] = attrs.field(validator=_choice)
    max_abandoned: int = attrs.field(validator=_whole(1))
    stop_grace: float = attrs.field(validator=_seconds)
    blocked_after: float = attrs.field(validator=_seconds)


_STATE_METHODS: Final = ("create", "claim", "record", "snapshot", "events", "list", "close")


def checked_state(state: StateManager) -> StateManager:
    """Return what can be a state manager.

    Raises:
        DefinitionError: When it lacks a method.
    """
    lacking = [name for name in _STATE_METHODS if not callable(getattr(state, name, None))]
    if lacking:
        problem = f"Orchestrator(state={state!r}) is no state manager: it has no {lacking[0]}()"
        raise DefinitionError(None, problem, "Pass one such as MemoryStateManager(), by name")
    return state


def checked_observers(observers: object) -> tuple[Observer, ...]:
    """Return what can be called with events.

    Raises:
        DefinitionError: When it is no sequence of plain callables.
    """
    if not isinstance(observers, (list, tuple)):
        problem = f"Orchestrator(observers={observers!r}) is no list"
        raise DefinitionError(None, problem, "Give a list of callables")
    for observer in observers:
        if not callable(observer) or inspect.iscoroutinefunction(observer):
            problem = f"Orchestrator(observers=[{observer!r}]) cannot be called with an event"
            cure = "Give plain functions; each is called on a thread of its own"
            raise DefinitionError(None, problem, cure)
    return tuple(observers)

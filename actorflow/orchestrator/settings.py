"""The limits of one orchestrator."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from actorflow.errors import DefinitionError

__all__ = ["Settings"]


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

"""The options of a start that concern its keys and its time, checked."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from actorflow.definition.arguments import LONGEST, one_of, string
from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.model.terms import OnConflict, Reuse, StartTerms
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["DEFERRING", "deferral_of", "moment_of"]

DEFERRING: Final = frozenset({"reuse", "expires", "key", "on_conflict", "debounce", "at", "delay"})
"""The options that `deferral_of` checks."""
_NAIVE: Final = (
    "Give it a time zone: datetime(..., tzinfo=ZoneInfo('Europe/Berlin')), or datetime.now(UTC) "
    "plus a timedelta"
)


def deferral_of(
    options: Mapping[str, Any], now: float, workflow_id: str, idempotency_key: str | None
) -> dict[str, Any]:
    """Return the fields of a record that say when the run may start, and on what terms.

    Args:
        options: The options of the start.
        now: The time, in seconds since the epoch.
        workflow_id: The workflow, for errors.
        idempotency_key: The idempotency key of the start.

    Raises:
        DefinitionError: When an option is invalid, or needs another one.
    """
    key, debounce = options.get("key"), options.get("debounce")
    _check_together(options, workflow_id, idempotency_key)
    start_at = moment_of(options.get("at"), options.get("delay"), now, workflow_id)
    if key is not None:
        cure = "Pass a non-empty string that identifies what the run works on"
        key = string(key, "key", cure, empty=False, longest=LONGEST, workflow_id=workflow_id)
        start_at = max(now, now if start_at is None else start_at)
    if debounce is not None:
        debounce = seconds(debounce, "debounce", workflow_id=workflow_id)
        start_at = now + debounce
    expires = options.get("expires")
    terms = StartTerms(
        reuse=_choice(options.get("reuse"), "reuse", Reuse, workflow_id),
        expires=None if expires is None else seconds(expires, "expires", workflow_id=workflow_id),
        on_conflict=_choice(options.get("on_conflict"), "on_conflict", OnConflict, workflow_id),
        debounce=debounce,
    )
    return {"start_at": start_at, "key": key, "terms": terms}


def _check_together(
    options: Mapping[str, Any], workflow_id: str, idempotency_key: str | None
) -> None:
    given = {name for name in DEFERRING if options.get(name) is not None}
    for name in ("reuse", "expires"):
        if name in given and idempotency_key is None:
            problem = f"{name}= says what an idempotency key means, and there is none"
            raise DefinitionError(workflow_id, problem, "Pass idempotency_key= as well")
    for name in ("on_conflict", "debounce"):
        if name in given and "key" not in given:
            problem = f"{name}= concerns the runs with one key, and there is none"
            raise DefinitionError(workflow_id, problem, "Pass key= as well")
    for name in ("at", "delay", "on_conflict"):
        if "debounce" in given and name in given:
            problem = f"debounce= and {name}= exclude each other"
            cure = "Leave one out: debounce= sets the time, and the run waits behind a running one"
            raise DefinitionError(workflow_id, problem, cure)
    if "debounce" in given and idempotency_key is not None:
        problem = "debounce= and idempotency_key= exclude each other"
        cure = "Leave one out: a debounced run stands for many requests, such a key for one"
        raise DefinitionError(workflow_id, problem, cure)


def moment_of(at: object, delay: object, now: float, workflow_id: str | None) -> float | None:
    """Return a later moment in seconds since the epoch; None for one that has come already.

    Args:
        at: The moment as an aware datetime, or None.
        delay: The seconds until then, or a timedelta, or None.
        now: The time, in seconds since the epoch.
        workflow_id: The workflow, for errors.

    Raises:
        DefinitionError: When both are given, or one is invalid.
    """
    if at is not None and delay is not None:
        problem = "at= and delay= are two ways to say when the run may start"
        raise DefinitionError(workflow_id, problem, "Pass one of them")
    if delay is not None:
        wait = seconds(delay, "delay", zero=True, workflow_id=workflow_id)
        return now + wait if wait > 0 else None
    if at is None:
        return None
    if not isinstance(at, datetime):
        problem = f"at={text_of(at)} is not a datetime"
        raise DefinitionError(workflow_id, problem, "Pass a datetime, or delay= in seconds")
    if at.utcoffset() is None:
        problem = f"at={text_of(at)} has no time zone, so it does not say when"
        raise DefinitionError(workflow_id, problem, _NAIVE)
    moment = at.timestamp()
    return moment if moment > now else None


def _choice(value: object, name: str, kind: Any, workflow_id: str) -> Any:
    choices = get_args(kind)
    return choices[0] if value is None else one_of(value, name, choices, workflow_id=workflow_id)

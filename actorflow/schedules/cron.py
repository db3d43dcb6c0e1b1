"""Cron expressions, parsed by cronsim; this is the only module that imports it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import MissingExtra
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    Nominal: TypeAlias = Callable[[datetime], Iterator[datetime]]
    """Returns the matching local times after a local time, in order, without timezones."""

__all__ = ["matches"]

_NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SOME_DAY: Final = datetime(2026, 1, 1)  # noqa: DTZ001 - a local time, of any timezone
_CURE: Final = (
    'Pass five fields (minute, hour, day of month, month, day of week), such as "0 2 * * *", or '
    "six, of which the first is seconds"
)


def matches(expression: object) -> Nominal:
    """Return the function that lists the local times of a cron expression.

    Local times are handed in and returned without a timezone, so that cronsim has no part in
    changes of daylight saving time; `times` decides those.

    Raises:
        DefinitionError: When the expression is invalid, or never matches.
        MissingExtra: When the extra `schedules` is not installed.
    """
    if not isinstance(expression, str):
        raise DefinitionError(None, f"cron={text_of(expression)} is not a string", _CURE)
    try:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError as missing:
        if missing.name != "cronsim":
            raise
        raise MissingExtra("cron=", "cronsim", "schedules") from missing
    fields = _NAMED.get(expression.strip().lower(), expression)
    try:
        first = next(CronSim(fields, _SOME_DAY), None)
    except CronSimError as error:
        problem = f"cron={expression!r} is not a cron expression: {error}"
        raise DefinitionError(None, problem, _CURE) from None
    if first is None:
        problem = f"cron={expression!r} matches no time within 50 years"
        raise DefinitionError(None, problem, "Check its days and months")
    return lambda after: CronSim(fields, after)

"""Nominal times: the moments at which a schedule should fire.

A cron expression lists local times. The moment of a local time is the first one at which the
timezone's clock shows it or a later time. So a local time that a change of daylight saving time
leaves out belongs to the moment of the change, and one that occurs twice to its first occurrence.
Several local times that belong to one moment are one nominal time.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final, Protocol
from zoneinfo import ZoneInfo, available_timezones

from actorflow.errors.definition import DefinitionError
from actorflow.schedules.cron import matches
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.schedules import ScheduleDefinition
    from actorflow.schedules.cron import Nominal

__all__ = ["Timetable", "moment_of", "timetable", "zone_name", "zone_of"]

_MICRO: Final = 1_000_000


class Timetable(Protocol):
    """The nominal times of a schedule."""

    def after(self, moment: float, /) -> Iterator[float]:
        """Return the nominal times after a moment, in order, in seconds since the epoch."""


def timetable(definition: ScheduleDefinition) -> Timetable:
    """Return the nominal times of a schedule.

    Raises:
        DefinitionError: When the cron expression or the timezone is invalid.
        MissingExtra: When a cron expression is given and the extra `schedules` is not installed.
    """
    if definition.every is not None:
        return _Every(definition.every)
    return _Cron(matches(definition.cron), zone_of(definition.tz))


def zone_of(name: str) -> tzinfo:
    """Return a timezone by its IANA name.

    Raises:
        DefinitionError: When it is not known.
    """
    if name == "UTC":
        return UTC  # also on machines without timezone data
    try:
        return ZoneInfo(name)
    except Exception:  # noqa: BLE001 - it raises errors of many kinds for what is not a name
        known = available_timezones()
        cure = f'{did_you_mean(name, known)} Pass an IANA name such as "Europe/Berlin"'.strip()
        if not known:
            cure = "This machine has no timezone data. Type: pip install 'actorflow[schedules]'"
        problem = f"tz={text_of(name)} is not a known timezone"
        raise DefinitionError(None, problem, cure) from None


def zone_name(zone: object) -> str:
    """Return the IANA name of a timezone that is given as a name or a `ZoneInfo`.

    Raises:
        DefinitionError: When it is neither, or not known.
    """
    if isinstance(zone, str):
        zone_of(zone)
        return zone
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    if zone is UTC:
        return "UTC"
    problem = f"tz={text_of(zone)} is neither the name of a timezone nor a ZoneInfo"
    raise DefinitionError(None, problem, 'Pass an IANA name such as "Europe/Berlin"')


class _Every:
    """The multiples of an interval since the epoch, counted in whole microseconds."""

    def __init__(self, seconds: float) -> None:
        self._step = round(seconds * _MICRO)

    def after(self, moment: float, /) -> Iterator[float]:
        """Return the multiples that are greater than a moment."""
        first = round(moment * _MICRO) // self._step + 1
        return (count * self._step / _MICRO for count in itertools.count(first))


class _Cron:
    """The moments of the local times of a cron expression."""

    def __init__(self, nominal: Nominal, zone: tzinfo) -> None:
        self._nominal = nominal
        self._zone = zone

    def after(self, moment: float, /) -> Iterator[float]:
        """Return the moments after a moment, each once."""
        last = moment
        # Local times up to the one that the clock shows now have had their moments.
        local = datetime.fromtimestamp(moment, self._zone).replace(tzinfo=None, fold=0)
        for time in self._nominal(local):
            at = moment_of(time, self._zone)
            if at > last:
                yield at
                last = at


def moment_of(local: datetime, zone: tzinfo) -> float:
    """Return the first moment at which the clock of a timezone shows a local time, or a later one.

    Args:
        local: A local time without a timezone.
        zone: The timezone.

    Returns:
        Seconds since the epoch.
    """
    moment = local.replace(tzinfo=zone, fold=0).timestamp()
    if datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0) == local:
        return moment
    # The clock skips this time. Before the change it is `moment`, after the change it is earlier,
    # and the change itself lies in between.
    early = int(local.replace(tzinfo=zone, fold=1).timestamp())
    late = int(moment)
    before = _offset(early, zone)
    while late - early > 1:
        middle = (early + late) // 2
        if _offset(middle, zone) == before:
            early = middle
        else:
            late = middle
    return float(late)


def _offset(moment: int, zone: tzinfo) -> object:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()

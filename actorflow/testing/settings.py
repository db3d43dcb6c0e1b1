"""What an orchestrator in virtual time is told."""

from __future__ import annotations

from typing import Final

import attrs

from actorflow.durations import as_seconds, seconds
from actorflow.errors import DefinitionError
from actorflow.spelling import checks_options
from actorflow.testing.faults import NO_FAULTS, Faults
from actorflow.testing.sparse import Sparse

__all__ = ["PLAIN_SETTINGS", "Settings"]


@checks_options
@attrs.frozen(kw_only=True, repr=False)
class Settings(Sparse):
    """What the simulated orchestrator was told."""

    async_workers: int = attrs.field(default=2)
    max_active_runs: int = attrs.field(default=100)
    stop_grace: float = attrs.field(default=5.0, converter=as_seconds)
    race: bool = attrs.field(default=True)
    faults: Faults = attrs.field(default=NO_FAULTS)

    @async_workers.validator
    @max_active_runs.validator
    def _check_count(self, field: attrs.Attribute[int], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problem = f"{field.name} is {value!r}"
            raise DefinitionError(None, problem, "Give a whole number, 1 or more")

    @stop_grace.validator
    def _check_grace(self, field: attrs.Attribute[float], value: object) -> None:
        seconds(value, field.name, zero=True)

    @race.validator
    def _check_race(self, field: attrs.Attribute[bool], value: object) -> None:
        if not isinstance(value, bool):
            raise DefinitionError(None, f"{field.name} is {value!r}", "Give True or False")

    @faults.validator
    def _check_faults(self, _field: object, value: object) -> None:
        if not isinstance(value, Faults):
            raise DefinitionError(None, f"faults is {value!r}", "Give Faults(…)")


PLAIN_SETTINGS: Final = Settings()

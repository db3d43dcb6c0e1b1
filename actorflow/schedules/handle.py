"""`Schedule`: the handle of one schedule."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from actorflow.errors import ActorflowError
from actorflow.schedules.book import next_time
from actorflow.schedules.times import zone_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition
    from actorflow.run.handle import Run

__all__ = ["Keeper", "Schedule"]

_T = TypeVar("_T")


class Keeper(Protocol):
    """The orchestrator, for a handle."""

    def read(self, name: str) -> RecordedSchedule:
        """Return the schedule as it stands."""

    def pause(self, name: str) -> RecordedSchedule:
        """Pause it."""

    def unpause(self, name: str) -> RecordedSchedule:
        """Let it fire again."""

    def trigger(self, name: str) -> Run:
        """Start a run of it now."""

    def backfill(self, name: str, start: datetime, end: datetime) -> list[Run]:
        """Start the runs of a period."""

    def delete(self, name: str) -> None:
        """Delete it."""

    async def elsewhere(self, call: Callable[[], _T]) -> _T:
        """Call a function on another thread than the event loop's."""


class Schedule:
    """A schedule of an orchestrator; `Orchestrator.schedule` and `schedules` return it.

    Its values are those of the moment at which it was read: when the orchestrator returned it, or
    at the last call of `refresh`, `pause` or `unpause`. Times are datetimes in the schedule's
    timezone.

    The methods without `_async` raise `WrongLoop` on the orchestrator's event loop if runs are in a
    database. All raise `ScheduleNotFound` once the schedule has been deleted.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("report")
        >>> step = flow.add(Step("write", lambda ctx: ctx.metadata["schedule"]))
        >>> with Orchestrator() as orchestrator:
        ...     hourly = orchestrator.schedule("hourly", flow, every=3600.0)
        ...     hourly.trigger().result().output
        'hourly'
    """

    def __init__(self, keeper: Keeper, recorded: RecordedSchedule) -> None:
        self._keeper = keeper
        self._recorded = recorded

    def __repr__(self) -> str:
        it = self.definition
        when = f"every {it.every:g} s" if it.every is not None else f"cron {it.cron!r} {it.tz}"
        try:
            following = "paused" if self.paused else f"next {self.next_at}"
        except ActorflowError:  # the library or the timezone is not installed here
            following = "next unknown here"
        return f"<Schedule {self.name!r} of workflow {it.workflow_id!r}, {when}, {following}>"

    # ── Values ───────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.name

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        return self.definition.workflow_id

    @property
    def definition(self) -> ScheduleDefinition:
        """When it fires, and what then runs."""
        return self._recorded.definition

    @property
    def paused(self) -> bool:
        """Whether it is paused."""
        return self._recorded.state.paused

    @property
    def next_at(self) -> datetime | None:
        """The next nominal time; None if it is paused.

        It lies in the past if no orchestrator with this version of the workflow runs.
        """
        return self._time(next_time(self._recorded))

    @property
    def last_at(self) -> datetime | None:
        """The nominal time that fired last; None if none has."""
        return self._time(self._recorded.state.last_at)

    @property
    def last_run_id(self) -> str | None:
        """The id of the run of `last_at`."""
        return self._recorded.state.last_run_id

    @property
    def fired(self) -> int:
        """How many nominal times have fired."""
        return self._recorded.state.fired

    @property
    def skipped(self) -> int:
        """How many did not, because the last run was in progress or the schedule was paused."""
        return self._recorded.state.skipped

    @property
    def missed(self) -> int:
        """How many did not, because it was too late for them, or their runs could not start."""
        return self._recorded.state.missed

    def _time(self, at: float | None) -> datetime | None:
        return None if at is None else datetime.fromtimestamp(at, zone_of(self.definition.tz))

    # ── Operations ───────────────────────────────────────────────────────────────────────────

    def refresh(self) -> None:
        """Read its values again."""
        self._recorded = self._keeper.read(self.name)

    def pause(self) -> None:
        """Let nothing fire until `unpause`; runs in progress go on."""
        self._recorded = self._keeper.pause(self.name)

    def unpause(self) -> None:
        """Let it fire again.

        Nominal times that passed during the pause do not fire later; they count as skipped.
        """
        self._recorded = self._keeper.unpause(self.name)

    def trigger(self) -> Run:
        """Start a run now, whatever is in progress and even while paused, and return it.

        The run counts neither as a firing nor for `overlap`.

        Raises:
            UnknownWorkflow: When this version of its workflow is not registered here.
        """
        return self._keeper.trigger(self.name)

    def backfill(self, start: datetime, end: datetime) -> list[Run]:
        """Start a run for each nominal time from `start` on and before `end`, and return them.

        A nominal time that has fired already, or has been backfilled, is not started again: its
        run is returned. The runs count neither as firings nor for `overlap`.

        Raises:
            DefinitionError: When a datetime has no timezone, the period has not passed, or it has
                more than 10,000 nominal times.
            UnknownWorkflow: When this version of its workflow is not registered here.
        """
        return self._keeper.backfill(self.name, start, end)

    def delete(self) -> None:
        """Delete it. Its runs stay, and those in progress go on."""
        self._keeper.delete(self.name)

    async def refresh_async(self) -> None:
        """Do what `refresh` does without blocking the event loop."""
        await self._elsewhere(self.refresh)

    async def pause_async(self) -> None:
        """Do what `pause` does without blocking the event loop."""
        await self._elsewhere(self.pause)

    async def unpause_async(self) -> None:
        """Do what `unpause` does without blocking the event loop."""
        await self._elsewhere(self.unpause)

    async def trigger_async(self) -> Run:
        """Do what `trigger` does without blocking the event loop."""
        run: Run = await self._elsewhere(self.trigger)
        return run

    async def backfill_async(self, start: datetime, end: datetime) -> list[Run]:
        """Do what `backfill` does without blocking the event loop."""
        runs: list[Run] = await self._elsewhere(lambda: self.backfill(start, end))
        return runs

    async def delete_async(self) -> None:
        """Do what `delete` does without blocking the event loop."""
        await self._elsewhere(self.delete)

    async def _elsewhere(self, call: Callable[[], Any]) -> Any:
        return await self._keeper.elsewhere(call)

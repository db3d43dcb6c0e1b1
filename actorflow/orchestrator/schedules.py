"""The schedules of one orchestrator, as its caller makes and changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from actorflow.definition.workflow import Workflow
from actorflow.errors.definition import DefinitionError, UnknownWorkflow
from actorflow.model.schedules import ScheduleDefinition, checked_schedule_name
from actorflow.orchestrator.firing import options_of
from actorflow.orchestrator.requests import new_run
from actorflow.schedules.book import ScheduleBook
from actorflow.schedules.handle import Schedule
from actorflow.schedules.times import timetable, zone_name
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import refuse_unknown_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta, tzinfo

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.schedules import Missed, Overlap, RecordedSchedule
    from actorflow.orchestrator.firing import Firing
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.run.handle import Run

__all__ = ["ScheduleOptions", "Schedules"]

_T = TypeVar("_T")


class ScheduleOptions(TypedDict, total=False):
    """When a schedule fires, and how."""

    cron: str | None
    """A cron expression: minute, hour, day of month, month, day of week; or six fields, of which
    the first is seconds. It needs the extra `schedules`.
    """
    every: float | timedelta | None
    """Seconds between two nominal times, which are the multiples of it since the epoch. Exactly
    one of `cron` and `every` is given.
    """
    tz: str | tzinfo | None
    """The timezone of the cron expression: an IANA name or a `ZoneInfo`; UTC by default."""
    inputs: Mapping[str, Any] | None
    """The inputs of each run."""
    overlap: Overlap
    """What happens to a nominal time while the run of the last one is in progress. `"skip"`, the
    default: nothing runs for it. `"queue"`: one waits until that run has ended; others are skipped.
    `"cancel_running"`: that run is cancelled, and the newest one fires when it has ended.
    `"allow"`: its run starts at once.
    """
    catch_up: float | timedelta
    """Seconds after a nominal time for which it may still fire, if nothing could fire it in time;
    an hour by default.
    """
    missed: Missed
    """Which of the nominal times that are late, but within `catch_up`, fire: `"latest"`, the
    default, `"all"` or `"none"`.
    """
    jitter: float | timedelta
    """Each firing is delayed by a random part of this many seconds, the same in every process."""


class Schedules:
    """Makes, lists and changes schedules for one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it has registered.
        launcher: Starts its runs.
        powers: Its state manager.
        firing: Fires its schedules.
    """

    def __init__(
        self,
        life: Lifetime,
        registry: Registry,
        launcher: Launcher,
        powers: Powers,
        firing: Firing,
    ) -> None:
        self._life = life
        self._registry = registry
        self._launcher = launcher
        self._powers = powers
        self._firing = firing

    # ── For the orchestrator ─────────────────────────────────────────────────────────────────

    def put(self, name: str, flow: Workflow | str, options: ScheduleOptions) -> Schedule:
        """Make a schedule, or replace the definition of the one with this name."""
        book = self._book("Orchestrator.schedule()")
        checked_schedule_name(name)
        plan = self._registry.resolve(flow)
        try:
            definition = self._definition(name, plan, options)
        except DefinitionError as error:
            raise _of_schedule(error, name, plan.workflow_id) from None
        if isinstance(flow, Workflow):
            self._registry.register(flow)
        recorded = book.keeper.put_schedule(definition, book.wall())
        self._firing.wake()
        return Schedule(self, recorded)

    def _definition(
        self, name: str, plan: WorkflowPlan, options: ScheduleOptions
    ) -> ScheduleDefinition:
        given: dict[str, Any] = dict(options)
        refuse_unknown_options("a schedule", given, tuple(ScheduleOptions.__annotations__))
        tz, cron, every = given.pop("tz", None), given.pop("cron", None), given.pop("every", None)
        if tz is not None and every is not None and cron is None:
            problem = "every= counts seconds from the epoch, so tz= means nothing"
            cure = "Omit tz=, or pass a cron expression for times of day"
            raise DefinitionError(None, problem, cure)
        # Checks the inputs, and that the executors exist: not only when it fires.
        request = new_run(self._runtime(), plan, given.pop("inputs", None), {})
        assert request.record is not None  # noqa: S101 - a new run has one
        definition = ScheduleDefinition(
            name=name,
            workflow_id=plan.workflow_id,
            workflow_version=plan.version,
            cron=cron,
            every=every,
            tz="UTC" if tz is None else zone_name(tz),
            inputs=request.record.inputs,
            **given,
        )
        timetable(definition)
        return definition

    def all(self) -> list[Schedule]:
        """Return all schedules, by name."""
        recorded = self._book("Orchestrator.schedules()").keeper.list_schedules()
        return [Schedule(self, each) for each in recorded]

    # ── For their handles ────────────────────────────────────────────────────────────────────

    def read(self, name: str) -> RecordedSchedule:
        """Return a schedule as it stands."""
        return self._book("Schedule.refresh()").keeper.get_schedule(name)

    def pause(self, name: str) -> RecordedSchedule:
        """Pause a schedule."""
        return self._book("Schedule.pause()").pause(name)

    def unpause(self, name: str) -> RecordedSchedule:
        """Let a schedule fire again."""
        recorded = self._book("Schedule.unpause()").unpause(name)
        self._firing.wake()
        return recorded

    def trigger(self, name: str) -> Run:
        """Start a run of a schedule now."""
        book = self._book("Schedule.trigger()")
        definition = book.keeper.get_schedule(name).definition
        return self._start(definition, book.wall())

    def backfill(self, name: str, start: datetime, end: datetime) -> list[Run]:
        """Start the runs of a period."""
        book = self._book("Schedule.backfill()")
        definition = book.keeper.get_schedule(name).definition
        return [self._start(definition, at) for at in book.nominal(definition, start, end)]

    def delete(self, name: str) -> None:
        """Delete a schedule."""
        self._book("Schedule.delete()").keeper.delete_schedule(name)
        self._firing.wake()

    async def elsewhere(self, call: Callable[[], _T]) -> _T:
        """Call a function on another thread than the event loop's."""
        import asyncio  # noqa: PLC0415 - a caller that awaits has loaded it

        return await asyncio.to_thread(call)

    # ── Both ─────────────────────────────────────────────────────────────────────────────────

    def _start(self, definition: ScheduleDefinition, at: float) -> Run:
        plan = self._registry.planned(definition.workflow_id, definition.workflow_version)
        if plan is None:
            known = tuple(sorted(f"{flow} {version}" for flow, version in self._registry.known()))
            raise UnknownWorkflow(definition.workflow_id, known, definition.workflow_version)
        runtime = self._runtime()
        request = new_run(runtime, plan, definition.inputs, options_of(definition, at))
        return self._launcher.start(runtime, request)

    def _book(self, what: str) -> ScheduleBook:
        self._runtime()
        self._launcher.check_may_wait(what)
        keeper = self._powers.schedules
        if keeper is None:
            name = type(self._powers.state).__name__
            problem = f"{what} needs a state manager that keeps schedules, and {name} does not"
            raise DefinitionError(None, problem, "Give it all of actorflow.KeepsSchedules")
        return ScheduleBook(keeper, self._firing.wall)

    def _runtime(self) -> Runtime:
        return self._life.runtime("use a schedule")


def _of_schedule(error: DefinitionError, name: object, workflow_id: str) -> DefinitionError:
    """Return an error in the definition of a schedule that names the schedule."""
    told = error.problem.startswith("schedule")
    problem = error.problem if told else f"schedule {text_of(name)}: {error.problem}"
    return DefinitionError(workflow_id, problem, error.cure, error.step_id)

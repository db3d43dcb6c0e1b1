"""The methods of `Orchestrator` for schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from actorflow.definition.workflow import Workflow
    from actorflow.orchestrator.schedules import ScheduleOptions, Schedules
    from actorflow.schedules.handle import Schedule

__all__ = ["ScheduleMethods"]


class ScheduleMethods:
    """Makes and lists schedules; a part of `Orchestrator`."""

    _schedules: Schedules

    def schedule(
        self, name: str, flow: Workflow | str, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Run a workflow again and again, and return the `Schedule`.

        A new schedule fires at its nominal times from now on. With the definition that the schedule
        of this name has already, this does nothing. Another definition replaces that one; counts,
        pause and the last firing stay. A changed timetable counts from the change.

        Each firing is a run whose idempotency key is made of the schedule's name and the nominal
        time: of all orchestrators that share a database, one starts it. A step finds the nominal
        time in `ctx.metadata["scheduled_for"]` (ISO 8601, in the schedule's timezone), and the
        name in `ctx.metadata["schedule"]`.

        Args:
            name: The schedule's name.
            flow: A workflow, which is then registered, or the id of a registered one.
            options: See `ScheduleOptions`.

        Raises:
            DefinitionError: When an argument is invalid, or the state manager keeps no schedules.
            MissingExtra: When `cron` is given and the extra `schedules` is not installed.
            MissingInput: When a step takes an input that is missing.
            UnknownInput: When no step takes an input.
            UnknownWorkflow: When the id is not registered.
            StoreError: When the schedule cannot be recorded.
            WrongLoop: On the orchestrator's own event loop, if it would block that.
        """
        return self._schedules.put(name, flow, options)

    async def schedule_async(
        self, name: str, flow: Workflow | str, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Do what `schedule` does without blocking the event loop."""
        return await self._schedules.elsewhere(lambda: self._schedules.put(name, flow, options))

    def schedules(self) -> Sequence[Schedule]:
        """Return all schedules, by name.

        Raises:
            DefinitionError: When the state manager keeps no schedules.
            WrongLoop: On the orchestrator's own event loop, if it would block that.
        """
        return self._schedules.all()

    async def schedules_async(self) -> Sequence[Schedule]:
        """Do what `schedules` does without blocking the event loop."""
        return await self._schedules.elsewhere(self._schedules.all)

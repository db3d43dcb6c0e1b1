"""Pauses of runs: what is wanted of a run, and what its events say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actorflow.model.lifecycle import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorflow.model.events import Event
    from actorflow.model.records import RunSnapshot

__all__ = ["Pause", "Pausing"]

_ENDS: Final = frozenset(
    {
        EventKind.RUN_UNPAUSED,
        EventKind.RUN_COMPLETED,
        EventKind.RUN_FAILED,
        EventKind.RUN_CANCELLED,
    }
)
"""The events after which a run is not paused."""


@attrs.frozen(kw_only=True)
class Pause:
    """A pause of a run that was asked for; for authors of state managers."""

    reason: str
    """Why."""
    freeze: bool = False
    """Whether the clocks of the run stand still; see `Run.pause`."""


@attrs.frozen(kw_only=True)
class Pausing:
    """How a run that begins another life stands with regard to pauses."""

    wanted: Pause | None
    """The pause that it is in by its record; None if it may go on."""
    recorded: bool
    """Whether its events say that it is paused."""

    @classmethod
    def of(cls, run: RunSnapshot, events: Iterable[Event]) -> Pausing | None:
        """Return how a run stands; None if neither its record nor its events know of a pause.

        Args:
            run: The run.
            events: All of its events.
        """
        recorded = False
        for event in events:
            if event.step_id is None:
                if event.kind is EventKind.RUN_PAUSED:
                    recorded = True
                elif event.kind in _ENDS:
                    recorded = False
        if run.paused is None:
            return cls(wanted=None, recorded=True) if recorded else None
        return cls(wanted=Pause(reason=run.paused, freeze=run.frozen), recorded=recorded)

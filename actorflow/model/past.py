"""The earlier lives of a run that is taken over, as its events tell them.

A life of a run ends with its orchestrator: in a crash, or at a shutdown that leaves the run. An
attempt that this cuts has neither ended by an error nor by a timeout, so it uses up none of a
step's `max_attempts`. One that only waited for messages is not even cut: its body begins again
under the same number, and is given what it was given before. Each person's `Orchestrator.resume`
sets all counts back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.model.lifecycle import EventKind
from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorflow.model.events import Event

__all__ = ["Past"]

_SETTLES: Final = frozenset(
    {
        EventKind.STEP_COMPLETED,
        EventKind.STEP_FAILED,
        EventKind.STEP_SKIPPED,
        EventKind.STEP_CANCELLED,
    }
)
# By their values, because not every version of the table of moves has these kinds.
_WAITS: Final = frozenset({"step.suspended", "compensation.suspended"})
"""A suspended attempt only waits, and cannot be what ends its process."""
_GOES_ON: Final = frozenset({"step.continued", "compensation.continued"})
_ANSWERS: Final = frozenset({EventKind.STEP_RECEIVED, EventKind.STEP_EXPIRED})
_ENDS_WAITS: Final = _SETTLES | {
    EventKind.STEP_CONTINUED,
    EventKind.STEP_STARTED,
    EventKind.STEP_RETRYING,
    EventKind.STEP_TIMED_OUT,
    EventKind.STEP_ABANDONED,
}
"""What tells that an attempt does not wait, or not any more."""
_UNDOES: Final = frozenset({EventKind.COMPENSATION_COMPLETED, EventKind.COMPENSATION_FAILED})


@attrs.frozen(kw_only=True)
class Past:
    """The earlier lives of a run, since a person started or resumed it."""

    attempts: Mapping[str, int] = NOTHING
    """How many attempts of each step were started, by step id."""
    failures: Mapping[str, int] = NOTHING
    """How many of these ended by an error or a timeout, and were followed by another one."""
    undo_attempts: Mapping[str, int] = NOTHING
    """The same for compensators, by the id of the step that they undo."""
    undo_failures: Mapping[str, int] = NOTHING
    failed_step: str | None = None
    """The first required step that has failed."""
    crashes: tuple[tuple[str, ...], ...] = ()
    """The steps in flight at each crash since a step settled last, the latest crash last. Crashes
    without an attempt in flight are left out.
    """
    crashed: bool = False
    """Whether the last life ended with such a crash."""
    again: tuple[str, ...] = ()
    """The steps whose attempts only waited for messages, and begin again under the same number;
    these attempts do not count among `attempts`.
    """

    def cut(self, step_id: str) -> int:
        """Return how many attempts of a step were cut."""
        return self.attempts.get(step_id, 0) - self.failures.get(step_id, 0)

    def undo_cut(self, step_id: str) -> int:
        """Return how many attempts of a step's compensator were cut."""
        return self.undo_attempts.get(step_id, 0) - self.undo_failures.get(step_id, 0)

    @classmethod
    def of(cls, events: Iterable[Event], takeovers: int) -> Past:
        """Return the past of a run.

        Args:
            events: All of its events.
            takeovers: How often it has been taken over from owners that were gone; see
                `RunSnapshot.takeovers`.
        """
        lives = _Lives()
        for event in events:
            if event.step_id is not None:
                lives.wait(event, event.step_id)
                lives.step(event, event.step_id)
            elif event.kind is EventKind.RUN_STARTED:
                lives.takeovers = event.data.get("takeovers", 0)
            elif event.kind is EventKind.RUN_RESUMED:
                lives = lives.resumed(event.data)
        again = lives.waiting()
        lives.attempts.subtract(again)
        crashed = takeovers > lives.takeovers and bool(lives.in_flight)
        if crashed:
            lives.crashes.append(tuple(lives.in_flight))
        return cls(
            attempts=lives.attempts,
            failures=lives.failures,
            undo_attempts=lives.undo_attempts,
            undo_failures=lives.undo_failures,
            failed_step=lives.failed_step,
            crashes=tuple(lives.crashes),
            crashed=crashed,
            again=again,
        )


class _Lives:
    """What is known after some of a run's events."""

    def __init__(self, takeovers: int = 0) -> None:
        self.takeovers = takeovers
        """The take-overs by the event with which the current life began."""
        self.attempts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.undo_attempts: Counter[str] = Counter()
        self.undo_failures: Counter[str] = Counter()
        self.failed_step: str | None = None
        self.in_flight: dict[str, None] = {}
        """The steps and compensators in flight, in order of their starts."""
        self.crashes: list[tuple[str, ...]] = []
        self.suspended: dict[str, None] = {}
        """The steps whose attempts are suspended."""
        self.waits: dict[str, dict[tuple[str, int], bool]] = {}
        """Their waits for messages, and whether the body may begin again; by step id."""
        self.begins_again: dict[str, None] = {}
        """The steps whose attempts have yet to begin again in this life."""

    def waiting(self) -> tuple[str, ...]:
        """Return the steps whose attempts only wait for messages, and may begin again."""
        waits = self.waits
        return tuple(it for it in self.suspended if waits.get(it) and all(waits[it].values()))

    def resumed(self, data: Mapping[str, Any]) -> _Lives:
        """Return what is known at the beginning of a new life."""
        takeovers = data.get("takeovers", self.takeovers)
        if not data.get("taken_over"):
            return _Lives(takeovers)  # a person sets all counts back
        self.takeovers = takeovers
        self.in_flight.clear()
        self.begins_again = dict.fromkeys(data.get("again", ()))
        for step_id in [*self.suspended]:
            if step_id not in self.begins_again:
                del self.suspended[step_id]
                self.waits.pop(step_id, None)
        if data.get("in_flight"):
            self.crashes.append(tuple(data["in_flight"]))
        return self

    def wait(self, event: Event, step_id: str) -> None:
        """Take note of what an event says about waits for messages."""
        kind = event.kind
        if kind is EventKind.STEP_AWAITING:
            key = event.data["name"], event.data["call"]
            self.waits.setdefault(step_id, {})[key] = event.data.get("evict", True)
        elif kind in _ANSWERS:
            if step_id not in self.suspended:  # else it may not have been told yet
                self.waits.get(step_id, {}).pop((event.data["name"], event.data["call"]), None)
        elif kind is EventKind.STEP_SUSPENDED:
            self.suspended[step_id] = None
        elif kind in _ENDS_WAITS:
            self.suspended.pop(step_id, None)
            self.waits.pop(step_id, None)

    def step(self, event: Event, step_id: str) -> None:
        """Take note of an event of a step."""
        kind = event.kind
        if kind is EventKind.STEP_STARTED:
            if step_id in self.begins_again:
                del self.begins_again[step_id]
            else:
                self.attempts[step_id] += 1
            self.in_flight[step_id] = None
        elif kind is EventKind.COMPENSATION_STARTED:
            self.undo_attempts[step_id] += 1
            self.in_flight[step_id] = None
        elif kind is EventKind.STEP_RETRYING:
            self.failures[step_id] += 1
            self.in_flight.pop(step_id, None)
        elif kind is EventKind.COMPENSATION_RETRYING:
            self.undo_failures[step_id] += 1
            self.in_flight.pop(step_id, None)
        elif kind in _WAITS:
            self.in_flight.pop(step_id, None)
        elif kind in _GOES_ON:
            self.in_flight[step_id] = None
        elif kind in _SETTLES or kind in _UNDOES:
            self.in_flight.pop(step_id, None)
            self.crashes.clear()
            if kind is EventKind.STEP_FAILED and self.failed_step is None:
                self.failed_step = step_id

"""What a simulated process does for families by itself: tasks of production are timers here.

Which children end with a parent, and which are undone, is decided by production's code
(`actorflow.orchestrator.family` and `undoing`). Its tasks on the event loop try again while the
state manager cannot be reached, and wait for children that are undone. They do so here in virtual
time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors.storage import StoreError, StoreUnavailable
from actorflow.model.families import ChildUndone
from actorflow.orchestrator.family import HasFamilies, pause_before

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.run.handle import Run
    from actorflow.systems.simulated.timers import Timer

__all__ = ["HasFamiliesInTurns"]

_PAUSE: Final = 0.5
"""The first pause before another try to undo a child, as in production; likewise the others."""
_LONGEST: Final = 8.0
_LOOKS_AGAIN: Final = 15.0


class HasFamiliesInTurns(HasFamilies):
    """What premises do for families, in turns of virtual time."""

    later: Callable[..., Timer]
    """Calls a function after so many seconds."""
    is_reachable: Callable[[], bool]
    """Returns whether the store can be reached."""
    when_over: Callable[[Run, Callable[[], None]], Callable[[], None]]
    """Calls a function when a wait for a run is over; returns what ends that."""
    _at_once: Callable[[], AbstractContextManager[None]]

    # ── Ends of parents ──────────────────────────────────────────────────────────────────────

    def end_children(self, message: EndChildren) -> None:
        """Cancel the children of a run that ends, and tell the supervisor which to undo."""
        self.later(0.0, self._end_in_turn, message, 1)

    def _end_in_turn(self, asked: EndChildren, number: int) -> None:
        if number > 1 and asked.run_id not in self._live:
            return
        found: list[Any] | None = None
        if self.is_reachable():
            with self._at_once():
                found = self._end_once(asked, number)
        if found is None:
            self.later(pause_before(number + 1), self._end_in_turn, asked, number + 1)
        else:
            self._answer(asked, found)

    # ── Children that are undone ─────────────────────────────────────────────────────────────

    def undo_child(self, message: UndoChild) -> None:
        """Have a child undone, and tell the supervisor when it is."""
        self.later(0.0, self._undo_in_turn, message, 0.0)

    def _undo_in_turn(self, message: UndoChild, pause: float) -> None:
        try:
            run = self._taken_up(message)
        except StoreError:
            self._undo_later(message, pause)
        except Exception:  # noqa: BLE001 - its parent must go on
            self._undone(message, undone=False)
        else:
            if run is None:
                self._undone(message, undone=True)
            else:
                self._await(run, message, pause)

    def _taken_up(self, message: UndoChild) -> Run | None:
        if self.undoing is None or not self.is_reachable():
            raise StoreUnavailable("undo a child", "the schedule has it wait")
        here: Any = self
        with self._at_once():
            return self.undoing.take_up(here, message.child_id, message.reason)

    def _undo_later(self, message: UndoChild, pause: float) -> None:
        pause = min(2 * pause + _PAUSE, _LONGEST)
        self.later(pause, self._undo_in_turn, message, pause)

    def _undone(self, message: UndoChild, *, undone: bool) -> None:
        self._tell(ChildUndone(message.run_id, message.child_id, undone))

    def _await(self, run: Run, message: UndoChild, pause: float) -> None:
        def is_over() -> None:
            alarm.cancel()
            try:
                run.wait()  # it is decided
            except StoreError:
                self._undo_later(message, pause)
            except Exception:  # noqa: BLE001 - as above
                self._undone(message, undone=False)
            else:
                self._undo_in_turn(message, pause)

        def looks_again() -> None:
            stop()
            self._undo_later(message, pause)

        alarm = self.later(_LOOKS_AGAIN, looks_again)
        stop = self.when_over(run, is_over)

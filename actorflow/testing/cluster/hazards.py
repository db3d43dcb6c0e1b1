"""The faults of a cluster: whom they strike, when and for how long, as the tape chooses."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from actorflow.errors import ActorflowError
from actorflow.errors.storage import StoreUnavailable
from actorflow.systems.simulated.mischief import Countdown
from actorflow.testing.errors import NotNow
from actorflow.testing.simulation.settings import SPANS

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.testing.cluster.cluster import Cluster
    from actorflow.testing.cluster.process import Process
    from actorflow.testing.cluster.world import Orchestrated
    from actorflow.testing.simulation.tape import Choices

__all__ = ["Hazards"]

_LABELS: Final = (
    "restart",
    "hand over",
    "halt",
    "cut off",
    "clock step",
    "cancel",
    "pause",
    "signal lost",
    "signal late",
    "meanwhile",
)
_DOWN: Final = (2.0, 0.0, 10.0)
"""Seconds until another process starts."""
_LEASES: Final = (1.5, 0.5, 3.0)
"""For how many leases a process stands still or is cut off."""
_STEPS: Final = (3600.0, -3600.0, 5.0, -86_400.0)
"""By how many seconds a wall clock is set wrong."""
_LATE: Final = (1.0, 5.0)
_MOST_TRANSACTIONS: Final = 8
"""A process that is to die finishes fewer transactions than these."""
_REASON: Final = "the schedule has it cancelled"
_PAUSED: Final = "the schedule has it paused"
_PAUSES: Final = (5.0, 1.0, 12.0)
"""For how many seconds a run is paused."""
_RETRY: Final = 1.0
"""Seconds after which the next orchestrator is asked to let a run go on."""


class Hazards:
    """Has faults happen to the processes of a cluster.

    Args:
        cluster: The cluster.
        choices: Makes the choices.
    """

    def __init__(self, cluster: Cluster, choices: Choices) -> None:
        self._cluster = cluster
        self._choose = choices.choose
        faults = cluster.settings.faults
        self._steps = 1
        self._countdowns = {
            label: Countdown(choices.choose, label, faults.budget(label), self._span(label))
            for label in _LABELS
        }
        self._any = any(not one.over for one in self._countdowns.values())
        self._interrupted = False
        """Whether a turn is taken between two transactions of another one."""
        self._doomed: dict[Process, int] = {}
        """The processes that die at their next transaction, and how many more they finish."""

    def _span(self, label: str) -> Callable[[], int]:
        return lambda: SPANS[label] * self._steps

    def expect(self, steps: int) -> None:
        """Note that so many more steps will run."""
        self._steps += steps

    def get_through(self, writes: int) -> int:
        """Choose how many of the waiting writes of a process are made although it dies."""
        return self._choose(writes + 1, "reach")

    def delay_of_signal(self) -> float | None:
        """Return after how many seconds a signal arrives; None if it is lost."""
        if self._countdowns["signal lost"].due():
            return None
        if self._countdowns["signal late"].due():
            return _LATE[self._choose(len(_LATE), "late by")]
        return 0.0

    def before_transaction(self, process: Process) -> None:
        """Have a process die here, or another one take a turn first, if either is to be."""
        left = self._doomed.get(process)
        if left is not None:
            self._doomed[process] = left - 1
            if left <= 0:
                process.recorder.be_cut_off()
        elif process.recorder.within_a_turn and not self._interrupted:
            countdown = self._countdowns["meanwhile"]
            if not countdown.over and countdown.due():
                self._let_another_turn(process)

    def _let_another_turn(self, process: Process) -> None:
        """Have another process take a turn between two transactions of one."""
        others = self._cluster.others_able(process)
        if others:
            other = others[self._choose(len(others), "who meanwhile") if others[1:] else 0]
            self._interrupted = True
            try:
                other.take_turn(self._choose(len(other.turns), "turn meanwhile"))
            finally:
                self._interrupted = False

    def strike(self, member: Orchestrated) -> None:
        """Have something happen to an orchestrator, after it has done something."""
        process = member.process
        if process is not None and process in self._doomed and process.recorder.cut_off:
            del self._doomed[process]
            self._cluster.crash(member.number, down=self._down())
        if not self._any or not self._cluster.in_progress:
            return
        for label, act in (
            ("restart", self._crash),
            ("hand over", self._deploy),
            ("halt", self._halt),
            ("cut off", self._cut_off),
            ("clock step", self._set_clock),
            ("cancel", self._cancel),
            ("pause", self._pause),
        ):
            countdown = self._countdowns[label]
            if not countdown.over and member.process is not None and countdown.due():
                act(member)

    def _down(self) -> float:
        return _DOWN[self._choose(len(_DOWN), "down for")]

    def _crash(self, member: Orchestrated) -> None:
        where = self._choose(_MOST_TRANSACTIONS, "restart where")
        if where and member.process is not None:
            self._doomed[member.process] = where - 1
        else:
            self._cluster.crash(member.number, down=self._down())

    def _deploy(self, member: Orchestrated) -> None:
        self._cluster.deploy(member.number, down=self._down())

    def _length(self) -> float:
        return self._cluster.lease * _LEASES[self._choose(len(_LEASES), "for leases")]

    def _halt(self, member: Orchestrated) -> None:
        self._cluster.halt(member.number, self._length())

    def _cut_off(self, member: Orchestrated) -> None:
        self._cluster.cut_off(member.number, self._length())

    def _set_clock(self, member: Orchestrated) -> None:
        wrong_by = _STEPS[self._choose(len(_STEPS), "wrong by")]
        if not self._cluster.server_clock and self._choose(2, "whose clock"):
            self._cluster.set_store_clock(wrong_by)
        else:
            self._cluster.set_clock(member.number, wrong_by)

    def _chosen(self, label: str) -> str | None:
        """Choose a run in progress; None if there is none."""
        going = [row.run_id for row in self._cluster.store.rows.values() if not row.ended]
        if not going:
            return None
        return going[self._choose(len(going), label) if going[1:] else 0]

    def _cancel(self, member: Orchestrated) -> None:
        run_id = self._chosen("cancel whom")
        if run_id is not None:
            with contextlib.suppress(ActorflowError):
                self._cluster.cancel(run_id, _REASON, orchestrator=member.number)

    def _pause(self, _member: Orchestrated) -> None:
        run_id = self._chosen("pause whom")
        if run_id is not None:
            freeze = bool(self._choose(2, "freeze"))
            length = _PAUSES[self._choose(len(_PAUSES), "pause for")]
            where, door = (
                self._choose(len(self._cluster.members), label)
                for label in ("pause where", "unpause where")
            )
            with contextlib.suppress(ActorflowError):
                self._cluster.pause(run_id, _PAUSED, freeze=freeze, orchestrator=where)
                self._cluster.call_at(self._cluster.now + length, self._go_on, run_id, door)

    def _go_on(self, run_id: str, door: int) -> None:
        """End a pause through one orchestrator, or through the next one a little later."""
        try:
            self._cluster.unpause(run_id, orchestrator=door % len(self._cluster.members))
        except (NotNow, StoreUnavailable):
            self._cluster.call_at(self._cluster.now + _RETRY, self._go_on, run_id, door + 1)
        except ActorflowError:
            pass  # it has ended

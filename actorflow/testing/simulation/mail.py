"""Messages to simulated runs: what `actorflow.orchestrator.mail` is to real ones.

The messages of a run are read once the first of its bodies waits for one. An orchestrator hears of
later ones at once or late, by choice, or not at all if it crashes before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actorflow.errors.running import RunEnded
from actorflow.model.mailing import MailArrived
from actorflow.testing.simulation.sleeping import Sleeping

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.simulation.store import SimulatedStateManager

__all__ = ["MessageTrace", "ReceiptTrace", "SimulatedMail"]

_DELAYS: Final = (0.0, 1.0)
"""The virtual seconds after which an orchestrator hears of a message."""


class MessageTrace(NamedTuple):
    """One message that was sent to a run. Times are virtual seconds."""

    run_id: str
    name: str
    payload: Any
    id: str | None
    number: int | None
    """Its number in the run; None if it was sent before, or the run had ended."""
    refused: bool
    """Whether it was refused because the run had ended."""
    time: float
    events: int
    """Number of events recorded before."""
    deliveries: int
    """Number of messages of actors delivered before."""


class ReceiptTrace(NamedTuple):
    """What a body got that waited for a message. Times are virtual seconds."""

    run_id: str
    step_id: str
    attempt: int
    compensates: bool
    """Whether it is an attempt of the step's compensator."""
    name: str
    call: int
    """The number of the wait, among those of the attempt for this name."""
    expired: bool
    payload: Any
    time: float
    events: int = 0
    """Number of events recorded before."""


class SimulatedMail:
    """The mail of a simulated orchestrator.

    Args:
        system: The system whose virtual time is used.
        state: The state manager.
        choose: Chooses how late a message is heard of.
        tell: Sends a message to the supervisor.
        take_up: Has an evicted run go on.
    """

    def __init__(
        self,
        system: SimulatedSystem,
        state: SimulatedStateManager,
        choose: Callable[[int, str], int],
        tell: Callable[[object], None],
        take_up: Callable[[str], None],
    ) -> None:
        self.asleep: Final = Sleeping(system, self._latest, take_up)
        self._system = system
        self._state = state
        self._choose = choose
        self._tell = tell
        self._known: dict[str, int] = {}
        """The number of the latest message that the supervisor was told of, by run id."""
        self.sent: list[MessageTrace] = []
        """All messages so far."""
        self.receipts: list[ReceiptTrace] = []
        """All that bodies got so far."""

    def send(self, run_id: str, name: str, payload: Any, id_: str | None) -> bool:
        """Send a message; return whether the run took it or had been sent it before."""
        system, state = self._system, self._state
        before, refused = self._latest(run_id), False
        try:
            state.send_message(run_id, name, payload, id_, system.time)
        except RunEnded:
            refused = True
        latest = self._latest(run_id)
        number = latest if latest > before else None
        place = system.time, len(state.log), len(system.deliveries)
        self.sent.append(MessageTrace(run_id, name, payload, id_, number, refused, *place))
        if number is not None:
            delay = _DELAYS[self._choose(len(_DELAYS), "hear of message")]
            system.call_at(system.time + delay, self._hear, run_id)
        return not refused

    def _latest(self, run_id: str) -> int:
        """Return the number of the latest message of a run."""
        found = self._state.read_messages(run_id, 0)
        return found[-1].number if found else 0

    def open(self, run_id: str, tell: Callable[[object], None]) -> None:
        """Tell the supervisor of the messages of a run, if it knows none of them."""
        if run_id not in self._known:
            self._known[run_id] = 0
            self._read(run_id, tell)

    def _hear(self, run_id: str) -> None:
        self.asleep.wake(run_id)
        if run_id in self._known:
            self._read(run_id, self._tell)

    def _read(self, run_id: str, tell: Callable[[object], None]) -> None:
        mail = self._state.read_messages(run_id, self._known[run_id])
        if mail:
            self._known[run_id] = mail[-1].number
            tell(MailArrived(run_id, mail))

    @property
    def recorded(self) -> int:
        """The number of events recorded so far."""
        return len(self._state.log)

    def forget(self, run_id: str) -> None:
        """Forget a run that has ended or was left."""
        self._known.pop(run_id, None)

    def lose(self) -> None:
        """Forget what the supervisor knows, because it is gone."""
        self._known.clear()

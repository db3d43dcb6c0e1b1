"""Actors in virtual time: the system base on which every schedule is a choice.

Messages wait in channels, one for each sender and receiver, and each channel keeps its order.
At every step the first messages of all channels may come next, and somebody chooses. They are
offered by age, so that the first choice is always the oldest message of all, and whoever always
takes the first choice has the order in which the embedded base delivers.

Timers are wakeups of actors and callbacks of whoever ends the attempts; both lie in one heap.
When nothing can be delivered, time jumps to the next of them, and of those that are due at the
same moment any may be first. With `race` the next timer is the last choice while messages still
wait: that is a world in which mail is slow. An actor that has put a call off until the waiting
mail is delivered (`Cell.put_off`) is called when none waits, or earlier if that is chosen, and
always before a timer fires.

It is told what to choose by a plain callable. It knows no workflow, no thread, no wall clock
and no event loop; what it does is a function of its actors and of what is chosen.
"""

from __future__ import annotations

import heapq
from bisect import insort
from typing import TYPE_CHECKING, Any, Final

from actorflow.systems.delivery import Cell, Delivery, Envelope, kill, population
from actorflow.systems.simulated.mischief import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorflow.systems.simulated.mischief import Mischief

    _Channel = tuple[Cell, Cell]
    _Entry = tuple[int, Envelope, _Channel]
    """When it was sent, by count; the message; and where it waits."""

__all__ = ["CALLS", "TIME", "SimulatedSystem", "Timer"]

_FOREVER: Final = float("inf")
_LONGEST_DELAY: Final = 8


class SimulatedSystem(Delivery):
    """A Thespian system base whose time is virtual and whose order is chosen.

    Args:
        choose: Takes a number of options and what the choice is called, and returns an option,
            counted from nought, which is the plainest. It is not asked when there is only one.
        race: Whether the next timer may fire while messages wait.
        mischief: Decides what goes wrong; nothing does without it.
        when_idle: Called whenever nothing can be delivered, before time moves on.
        before_choice: Called before each choice among messages, between any two deliveries; it
            may post messages, and it may `clear` the system.
    """

    def __init__(
        self,
        choose: Callable[[int, str], int],
        *,
        race: bool = False,
        mischief: Mischief | None = None,
        when_idle: Callable[[], None] | None = None,
        before_choice: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(self._keep)
        self.time: float = 0.0
        """The virtual moment, in seconds."""
        self.deliveries: list[tuple[float, Envelope]] = []
        """What was delivered so far, and when."""
        self.faults: list[tuple[int, float, Fault, Envelope]] = []
        """What went wrong so far: after how many deliveries, when, how, and with what."""
        self._choose = choose
        self._race = race
        self._mischief = mischief
        self._when_idle = when_idle
        self.before_choice = before_choice
        self._left = 0
        self._sent = 0
        self._heads: list[_Entry] = []
        """The first message of every channel that has any, the oldest in front."""
        self._behind: dict[_Channel, list[_Entry]] = {}
        """What waits behind those, by channel."""
        self._withheld: list[tuple[int, _Entry]] = []
        """Delayed messages, by the number of deliveries that they wait for."""
        self._calls: list[Callable[[], None]] = []
        """What was put off until the mail has been delivered."""

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Have a message wait to be chosen."""
        self._keep((target, message, sender))

    def _keep(self, envelope: Envelope) -> None:
        channel = (envelope[0], envelope[2])
        self._sent = sent = self._sent + 1
        all_behind = self._behind
        if channel in all_behind:
            all_behind[channel].append((sent, envelope, channel))
        else:
            all_behind[channel] = []
            self._heads.append((sent, envelope, channel))

    # ── Delivering ───────────────────────────────────────────────────────────────────────────

    def run(self, most: int, until: float = _FOREVER) -> int:
        """Let things happen, and return how many did: fewer than `most` when none was left.

        A thing is a message that is delivered or struck by a fault, or a timer that fires.

        Args:
            most: How many at most.
            until: The moment after which no timer fires.
        """
        self._left = most
        self.deliver(self._chosen(until))
        return most - self._left

    def _chosen(self, until: float) -> Iterator[Envelope]:
        """Choose what happens, and yield what is to be delivered."""
        # Every message of every schedule comes through here: no call that is not needed.
        heads, all_behind, calls = self._heads, self._behind, self._calls
        choose, race, timers = self._choose, self._race, self._timers
        mischief, before_choice = self._mischief, self.before_choice
        note = self.deliveries.append
        while self._left > 0:
            if before_choice is not None:
                before_choice()
            options = waiting = len(heads)
            if not waiting:
                if not self._pass_time(until):
                    return
                continue
            self._left -= 1
            if calls or (race and timers):
                options += self._options_without_mail(until)
            index = choose(options, "deliver") if options > 1 else 0
            if index >= waiting:
                self._do_without_mail(fire=index > waiting or not calls)
                continue
            if mischief is not None and self._struck(mischief, index):
                continue
            _, envelope, channel = heads.pop(index)
            behind = all_behind[channel]
            if behind:
                insort(heads, behind.pop(0))
            else:
                del all_behind[channel]
            note((self.time, envelope))
            yield envelope
            if self._withheld:
                self._release(len(self.deliveries))

    @property
    def offered(self) -> list[Envelope]:
        """What can be delivered next, the oldest in front: what a choice is among."""
        return [envelope for _, envelope, _ in self._heads]

    @property
    def channels(self) -> list[_Channel]:
        """Where what is offered waits: its receiver and its sender, in the same order."""
        return [channel for _, _, channel in self._heads]

    @property
    def without_mail(self) -> list[str]:
        """What may happen although messages wait: the options after those that are offered."""
        calls = [CALLS] if self._calls else []
        return calls + ([TIME] if self._race and self.next_timer() is not None else [])

    @property
    def waiting(self) -> int:
        """How many messages have not been delivered."""
        behind = sum(len(entries) for entries in self._behind.values())
        return len(self._heads) + len(self._withheld) + behind

    @property
    def population(self) -> int:
        """How many actors live."""
        return population(self.system_cell)

    def clear(self) -> None:
        """Let every actor, message and timer be gone, as when their process is killed."""
        kill(self.system_cell)
        self._heads.clear()
        self._behind.clear()
        self._withheld.clear()
        self._timers.clear()
        self._calls.clear()
        self._global_names.clear()
        self._dead_letter_handler = None

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """Return the virtual moment."""
        return self.time

    def timer_changed(self) -> None:
        """Nothing has to be told: the heap is looked at whenever time may move on."""

    def call_at(self, when: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Have a function called at a virtual moment, or as soon as may be if it has passed."""
        self._timer_count += 1
        timer = Timer(function, arguments)
        heapq.heappush(self._timers, (max(when, self.time), self._timer_count, None, timer))
        return timer

    def next_timer(self) -> float | None:
        """Return the moment of the earliest timer that was not cancelled, or None."""
        timers = self._timers
        while timers and timers[0][2] is None and timers[0][3].cancelled:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    @property
    def timers(self) -> int:
        """How many timers are still to fire."""
        return sum(cell is not None or not timer.cancelled for _, _, cell, timer in self._timers)

    def put_off(self, call: Callable[[], None]) -> bool:
        """Have a call made after the mail that waits now, or return False if none does."""
        if not self._heads:
            return False
        self._calls.append(call)
        return True

    def _make_calls(self) -> None:
        while self._calls:
            self._calls.pop()()

    def _options_without_mail(self, until: float) -> int:
        """Return how many things may happen although mail waits."""
        return bool(self._calls) + (self._race and self._next_by(until))

    def _do_without_mail(self, *, fire: bool) -> None:
        """Make the calls that were put off although mail still waits, and fire a timer or not."""
        self._make_calls()
        if fire:
            self._fire_next()

    def _pass_time(self, until: float) -> bool:
        """Do what comes next when nothing can be delivered; return whether there was anything."""
        if self._calls:
            self._make_calls()
            return True
        if self._withheld:
            self._release(self._withheld[0][0])
            return True
        if self._when_idle is not None:
            self._when_idle()
        if not self._next_by(until):
            return False
        self._left -= 1
        self._fire_next()
        return True

    def _next_by(self, until: float) -> bool:
        upcoming = self.next_timer()
        return upcoming is not None and upcoming <= until

    def _fire_next(self) -> None:
        moment = self.next_timer()
        if moment is None:
            return
        self.time = max(self.time, moment)
        _, _, cell, timer = self._pop_one_of(moment)
        if cell is None:
            timer.ring()
        else:
            self._keep((cell, timer, cell))

    def _pop_one_of(self, moment: float) -> tuple[float, int, Cell | None, Any]:
        """Take a timer out of the heap, by choice if others are due at the same moment."""
        first = heapq.heappop(self._timers)
        if self.next_timer() != moment:
            return first
        equals = [first]
        while self.next_timer() == moment:
            equals.append(heapq.heappop(self._timers))
        chosen = equals.pop(self._choose(len(equals), "timer"))
        for other in equals:
            heapq.heappush(self._timers, other)
        return chosen

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    def _struck(self, mischief: Mischief, index: int) -> bool:
        """Let a fault strike a message, and return whether it must not be delivered now."""
        entry = self._heads[index]
        envelope = entry[1]
        fault = mischief.strike(envelope)
        if fault is None:
            return False
        self.faults.append((len(self.deliveries), self.time, fault, envelope))
        if fault is Fault.DUPLICATE:
            self._keep(envelope)
            return False
        del self._heads[index]
        if fault is Fault.DELAY:
            self._withhold(entry)
        elif fault is Fault.REORDER:
            self._overtake(entry)
        else:
            self._follow(entry[2])
            self._break(fault, envelope)
        return True

    def _follow(self, channel: _Channel) -> None:
        """Let the next message of a channel be chosen, when its first one is gone."""
        behind = self._behind[channel]
        if behind:
            insort(self._heads, behind.pop(0))
        else:
            del self._behind[channel]

    def _break(self, fault: Fault, envelope: Envelope) -> None:
        target, message, sender = envelope
        if fault is Fault.CRASH:
            self._exit(target, recursive=True)
        else:
            error = RuntimeError("the schedule has this handler raise")
            self._poison(target, message, sender, error)

    def _withhold(self, entry: _Entry) -> None:
        """Have a message wait for some deliveries; its channel stands still meanwhile."""
        deliveries = 1 + self._choose(_LONGEST_DELAY, "withhold")
        insort(self._withheld, (len(self.deliveries) + deliveries, entry))

    def _release(self, deliveries: int) -> None:
        """Let those messages be chosen that were withheld for long enough."""
        withheld = self._withheld
        while withheld and withheld[0][0] <= deliveries:
            insort(self._heads, withheld.pop(0)[1])

    def _overtake(self, entry: _Entry) -> None:
        """Let the message behind this one come first, if there is one."""
        behind = self._behind[entry[2]]
        if behind:
            following = behind[0]
            behind[0] = entry
            entry = following
        insort(self._heads, entry)


CALLS: Final = "calls"
"""What may happen although messages wait: calls that were put off are made."""
TIME: Final = "time"
"""The same: the next timer fires."""


class Timer:
    """A call at a virtual moment, which can be cancelled."""

    __slots__ = ("_arguments", "_function")

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._function: Callable[..., object] | None = function
        self._arguments = arguments

    @property
    def cancelled(self) -> bool:
        """Whether nothing will come of it any more."""
        return self._function is None

    def cancel(self) -> None:
        """Forget the call; once it has been made this does nothing."""
        self._function, self._arguments = None, ()

    def ring(self) -> None:
        """Make the call."""
        function, arguments = self._function, self._arguments
        self.cancel()
        if function is not None:
            function(*arguments)

"""The system base for simulations: actors in virtual time, where every schedule is a choice.

Messages wait in channels, one for each sender and receiver, and each channel keeps its order. At
every step, the first message of any channel may come next, and the caller chooses one. They are
offered by age, so the first choice is always the oldest message of all, and always taking the first
choice gives the order in which the embedded base delivers.

Timers are wakeups of actors, and callbacks that end attempts; both are kept in one heap. When
nothing can be delivered, time jumps to the next timer, and among timers due at the same moment any
may be first. With `race`, the next timer is the last choice while messages still wait, which models
a world in which mail is slow. A call that an actor has deferred until the waiting mail is delivered
(`Cell.put_off`) is made when no mail waits, or earlier if that is chosen, and always before a timer
fires.

The further off the next timer is, the less likely it should be to fire while messages wait.
Otherwise nearly every schedule of a run with a timeout would end by that timeout, because the jump
to it is offered again at each choice where no other timer is pending. The system therefore says how
rare that option is, and what chooses at random honours it (`rarity`).

Callbacks of an event loop keep their order among themselves, as asyncio promises, but each may come
before or after any message: in production the actors' deliveries are callbacks of the same loop.
Messages come first by default. A callback may deliver messages itself (`deliver_some`), as the
executor for coroutines does; how many is a choice.

A plain callable makes the choices. This module knows no workflow, thread, wall clock or event loop;
its behaviour is a function of its actors and the choices.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.systems.delivery import Cell, Envelope, kill, population
from actorflow.systems.simulated.channels import Channels
from actorflow.systems.simulated.timers import NEAR, Timer, rarity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorflow.systems.simulated.mischief import Mischief


__all__ = ["CALLBACK", "CALLS", "TIME", "SimulatedSystem"]

_FOREVER: Final = float("inf")
_MOST_AT_ONCE: Final = 512
"""How many messages a callback delivers at most, as in production."""
_MOST_CALLBACKS: Final = 200
"""The number of callbacks in a row after which a message or a timer comes next. Otherwise a body
that polls with `sleep(0)` could wait for ever for a message that is never chosen."""


class SimulatedSystem(Channels):
    """A Thespian system base whose time is virtual and whose order is chosen.

    Args:
        choose: Takes the number of options and the name of the choice, and returns a zero-based
            index; 0 is the default order. It is not called when there is only one option.
        race: Whether the next timer may fire while messages wait.
        mischief: Decides which faults happen; without it there are none.
        when_idle: Called whenever nothing can be delivered, before time advances.
        before_choice: Called before each choice among messages, between any two deliveries; it
            may post messages, and it may `clear` the system.
        choose_rarely: Like `choose`, with the `rarity` of the last option as a third argument;
            called when that option is a long jump of time. By default `choose` is called instead.
    """

    time: float

    def __init__(
        self,
        choose: Callable[[int, str], int],
        *,
        race: bool = False,
        mischief: Mischief | None = None,
        when_idle: Callable[[], None] | None = None,
        before_choice: Callable[[], None] | None = None,
        choose_rarely: Callable[[int, str, int], int] | None = None,
    ) -> None:
        super().__init__(choose)
        self._choose_rarely = choose_rarely
        self._race = race
        self._mischief = mischief
        self._when_idle = when_idle
        self.before_choice = before_choice
        self._left = 0
        self._calls: list[Callable[[], None]] = []
        """Calls deferred until the mail has been delivered."""
        self._callbacks: deque[Callable[[], object]] = deque()
        """Callbacks of an event loop that are ready, in order."""
        self._callbacks_in_a_row = 0
        self._delivered_before_callback = 0
        """The number of messages delivered before the last callback."""
        self._within_callback = False
        self._callback_may_go_on = False

    # ── Delivering ───────────────────────────────────────────────────────────────────────────

    def run(self, most: int, until: float = _FOREVER) -> int:
        """Run up to `most` steps and return how many ran: fewer when nothing was left to do.

        A step delivers a message, has a fault strike one, makes a callback, or fires a timer. The
        messages that a callback delivers count too, but it is not interrupted.

        Args:
            most: The maximum number of steps.
            until: The time after which no timer fires.
        """
        self._left = most
        self.deliver(self._chosen(until))
        return most - self._left

    def _chosen(self, until: float) -> Iterator[Envelope]:
        """Choose what happens, and yield the messages to deliver."""
        # Every message of every schedule passes through here, so calls are avoided.
        heads, queues, calls = self._heads, self._behind, self._calls
        callbacks = self._callbacks
        choose, race, timers = self._choose, self._race, self._timers
        mischief, before_choice = self._mischief, self.before_choice
        note = self.deliveries.append
        while self._left > 0:
            if before_choice is not None:
                before_choice()
            waiting = len(heads)
            if not waiting:
                if not self._pass_time(until):
                    return
                continue
            self._left -= 1
            if calls or callbacks or (race and timers):
                index = self._choose_with_others(waiting, until)
            else:
                index = choose(waiting, "deliver") if waiting > 1 else 0
            if index >= waiting:
                self._act_without_mail(index - waiting)
                continue
            if mischief is not None and self._struck(mischief, index):
                continue
            _, envelope, channel = heads.pop(index)
            behind = queues[channel]
            if behind:
                insort(heads, behind.pop(0))
            else:
                del queues[channel]
            note((self.time, envelope))
            yield envelope
            if self._withheld:
                self._release(len(self.deliveries))

    def deliver_some(self) -> bool:
        """Deliver messages within a callback, as many as are chosen; return whether any are left.

        Must not be called by an actor.
        """
        self.announce()
        self._within_callback = True
        try:
            self.deliver(self._chosen_within_callback())
            if self._calls:
                self.make_calls()
        finally:
            self._within_callback = False
        return bool(self._heads)

    def _chosen_within_callback(self) -> Iterator[Envelope]:
        """Yield messages to deliver: at least one, until the choice is to go on."""
        heads, mischief = self._heads, self._mischief
        for number in range(_MOST_AT_ONCE):
            if not heads and self._calls:
                self.make_calls()
            self._callback_may_go_on = number > 0
            options = len(heads) + self._callback_may_go_on
            index = self._choose(options, "deliver") if options > 1 and heads else 0
            if index >= len(heads):
                return
            self._left -= 1
            if mischief is not None and self._struck(mischief, index):
                continue
            _, envelope, channel = heads.pop(index)
            self._offer_next(channel)
            self.deliveries.append((self.time, envelope))
            yield envelope
            if self._withheld:
                self._release(len(self.deliveries))

    @property
    def without_mail(self) -> list[str]:
        """What else may happen while messages wait: the options after the offered messages."""
        if self._within_callback:
            return [CALLBACK] if self._callback_may_go_on else []
        calls = [CALLS] if self._calls else []
        callback = [CALLBACK] if self._callbacks and self._callback_may_be_next() else []
        time = [TIME] if self._race and self.next_timer() is not None else []
        return calls + callback + time

    @property
    def busy(self) -> bool:
        """Whether anything is left to do before time passes."""
        return bool(self._heads or self._calls or self._callbacks or self._withheld)

    @property
    def population(self) -> int:
        """The number of living actors."""
        return population(self.system_cell)

    def clear(self) -> None:
        """Remove all actors, messages and timers, as when a process is killed."""
        kill(self.system_cell)
        self._heads.clear()
        self._behind.clear()
        self._withheld.clear()
        self._timers.clear()
        self._calls.clear()
        self._callbacks.clear()
        self._unannounced.clear()
        self._global_names.clear()
        self._dead_letter_handler = None

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """Return the virtual time."""
        return self.time

    def timer_changed(self) -> None:
        """Do nothing: the heap is checked whenever time may advance."""

    def call_at(self, when: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Schedule a call at a virtual time, or as soon as possible if it has passed."""
        self._timer_count += 1
        timer = Timer(function, arguments)
        heapq.heappush(self._timers, (max(when, self.time), self._timer_count, None, timer))
        return timer

    def next_timer(self) -> float | None:
        """Return the time of the earliest timer that was not cancelled, or None."""
        timers = self._timers
        while timers and timers[0][2] is None and timers[0][3].cancelled:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    @property
    def timers(self) -> int:
        """The number of timers that have yet to fire."""
        return sum(cell is not None or not timer.cancelled for _, _, cell, timer in self._timers)

    @property
    def agenda(self) -> list[tuple[float, Cell | None, Any]]:
        """The timers that have yet to fire, in order: when, the actor to wake or None, and what."""
        return [
            (when, cell, timer)
            for when, _, cell, timer in sorted(self._timers)
            if cell is not None or not timer.cancelled
        ]

    def put_off(self, call: Callable[[], None]) -> bool:
        """Defer a call until the queued messages are delivered; return False if none are queued."""
        if not self._heads:
            return False
        self._calls.append(call)
        return True

    def make_calls(self) -> None:
        """Make the deferred calls now, although messages are queued."""
        while self._calls:
            self._calls.pop()()

    # ── Callbacks ────────────────────────────────────────────────────────────────────────────

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Queue a callback of an event loop; callbacks are made in order."""
        self._callbacks.append(callback)

    def _make_callback(self) -> None:
        self._callbacks_in_a_row += 1
        self._delivered_before_callback = len(self.deliveries)
        self._callbacks.popleft()()
        if self._unannounced:
            self._take_in()

    def _take_in(self) -> None:
        """Have the messages that were left delivered together with those that wait, if any do."""
        if self._heads:
            self.announce()

    def _callback_or_time(self, until: float) -> None:
        """Make the next callback when nothing can be delivered, or let time pass first."""
        self._left -= 1
        if self._next_by(until) and self._time_goes_first():
            self._fire_next()
        else:
            self._make_callback()

    def _time_goes_first(self) -> bool:
        if not self._callback_may_be_next():
            return True
        upcoming = self.next_timer()
        if not self._race or upcoming is None:
            return False
        jump = upcoming - self.time
        if jump > NEAR and self._choose_rarely is not None:
            return self._choose_rarely(2, "callback", rarity(jump)) == 1
        return self._choose(2, "callback") == 1

    def _callback_may_be_next(self) -> bool:
        """Return whether the next callback may come before the messages and timers that wait."""
        if self._delivered_before_callback != len(self.deliveries):
            self._callbacks_in_a_row = 0
        return self._callbacks_in_a_row < _MOST_CALLBACKS

    # ── What happens without mail ────────────────────────────────────────────────────────────

    def _choose_with_others(self, waiting: int, until: float) -> int:
        """Choose a message, or one of the options that need none."""
        options = waiting + bool(self._calls)
        if self._callbacks:
            options += self._callback_may_be_next()
        upcoming = self.next_timer() if self._race else None
        if upcoming is not None and upcoming <= until:
            options += 1
            jump = upcoming - self.time
            if jump > NEAR and self._choose_rarely is not None:
                return self._choose_rarely(options, "deliver", rarity(jump))
        return self._choose(options, "deliver") if options > 1 else 0

    def _act_without_mail(self, index: int) -> None:
        """Do one of the things that may happen while mail waits; the deferred calls come first."""
        index -= bool(self._calls)
        callback = index == 0 and self._callbacks and self._callback_may_be_next()
        self.make_calls()
        if callback:
            self._make_callback()
        elif index >= 0:
            self._fire_next()

    def _pass_time(self, until: float) -> bool:
        """Do what comes next when nothing can be delivered; return whether there was anything."""
        if self._calls:
            self.make_calls()
            return True
        if self._withheld:
            self._release(self._withheld[0][0])
            return True
        if self._callbacks:
            self._callback_or_time(until)
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
        self._callbacks_in_a_row = 0
        self.time = max(self.time, moment)
        _, _, cell, timer = self._pop_one_of(moment)
        if cell is None:
            timer.ring()
        else:
            self._enqueue((cell, timer, cell))
        if self._unannounced:
            self._take_in()

    def _pop_one_of(self, moment: float) -> tuple[float, int, Cell | None, Any]:
        """Take a timer from the heap; the choice decides between timers due at the same time."""
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


CALLS: Final = "calls"
"""An option while messages wait: the deferred calls are made."""
CALLBACK: Final = "callback"
"""An option while messages wait: the next callback is made, or the current one goes on."""
TIME: Final = "time"
"""An option while messages wait: the next timer fires."""

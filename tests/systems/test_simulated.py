"""The simulated system: virtual time, and an order that is chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thespian.actors import Actor, ActorExitRequest, ActorSystem, ChildActorExited, WakeupMessage

from actorflow.systems import SimulatedSystem
from actorflow.systems.simulated.mischief import Countdown, Fault, Mischief
from tests.support.stage import Loop, Parent, Recorder, embedded

numbers = st.lists(st.integers(0, 5), max_size=60)


class Chooser:
    """Chooses from a list, zero after its end, and keeps what it was asked."""

    def __init__(self, values=()):
        self._values = iter(values)
        self.asked = []

    def __call__(self, options, label):
        """Choose."""
        self.asked.append((options, label))
        return next(self._values, 0) % options


class Gossip(Actor):
    """Says on what it hears: which numbers to which of the others is written in a table."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Take note, and tell others."""
        if isinstance(message, dict):
            self.__dict__.update(message)
        elif isinstance(message, tuple):
            self.log.append((self.name, message))
            rest, word = message
            if rest:
                for count, listener in enumerate(self.table[self.name]):
                    self.send(self.everybody[listener], (rest - 1, f"{word}{self.name}{count}"))


def gossip(actors, run, table):
    """Let a table of people gossip, and return who heard what in which order."""
    log = []
    everybody = [actors.createActor(Gossip) for _ in table]
    for name, address in enumerate(everybody):
        shared = {"name": name, "table": table, "everybody": everybody, "log": log}
        actors.tell(address, shared)
    actors.tell(everybody[0], (3, ""))
    run()
    return log


tables = st.integers(1, 4).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size
    )
)


def simulated(choose=None, **options):
    """A system, and Thespian's view of it."""
    system = SimulatedSystem(choose or Chooser(), **options)
    return system, ActorSystem(system, transientUnique=True)


# ── Order ────────────────────────────────────────────────────────────────────────────────────


@given(tables)
def test_the_plainest_order_is_the_one_that_production_delivers_in(table):
    """The first choice is always the oldest message of all."""
    loop = Loop()
    _, production = embedded(loop)
    system, actors = simulated()

    assert gossip(production, loop.run, table) == gossip(actors, lambda: system.run(10**6), table)


class Sequel(Actor):
    """Sends numbers to a listener, in order, as many as it is told."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Send them."""
        if isinstance(message, tuple):
            name, listener, count = message
            for number in range(count):
                self.send(listener, (name, number))


@given(numbers, st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_whatever_is_chosen_each_channel_keeps_its_order(values, counts):
    """Messages from one sender to one receiver overtake each other never."""
    system, actors = simulated(Chooser(values))
    listener = actors.createActor(Recorder)
    for name, count in enumerate(counts):
        actors.tell(actors.createActor(Sequel), (name, listener, count))

    system.run(10**6)

    heard = listener.actor.heard
    for name, count in enumerate(counts):
        assert list(range(count)) == [number for who, number in heard if who == name]


def test_what_may_come_next_is_offered_by_age():
    """One message for each channel, the oldest in front."""
    system, actors = simulated()
    one, other = actors.createActor(Recorder), actors.createActor(Recorder)
    for word in ("first", "second"):
        actors.tell(other, f"{word} to the other")
        actors.tell(one, f"{word} to the one")

    before = [message for _, message, _ in system.offered]
    system.run(1)
    after = [message for _, message, _ in system.offered]

    assert ["first to the other", "first to the one"] == before
    assert ["first to the one", "second to the other"] == after


def test_the_choice_decides_what_comes_next():
    """An option is a position among what is offered."""
    system, actors = simulated(Chooser([2, 1, 0]))
    listeners = [actors.createActor(Recorder) for _ in range(3)]
    for number, listener in enumerate(listeners):
        actors.tell(listener, number)

    system.run(10)

    assert [2, 1, 0] == [message for _, (_, message, _) in system.deliveries]


def test_nothing_is_asked_when_there_is_only_one_option():
    """A schedule without alternatives needs no tape."""
    choose = Chooser()
    system, actors = simulated(choose, race=True)
    listener = actors.createActor(Recorder)

    for word in ("alone", "and alone again"):
        actors.tell(listener, word)
    system.run(10)

    assert [] == choose.asked
    assert ["alone", "and alone again"] == listener.actor.heard


def test_a_run_is_bounded():
    """However much there is to deliver; and it says when nothing was left."""
    system, actors = simulated()
    listener = actors.createActor(Recorder)
    for number in range(5):
        actors.tell(listener, number)

    assert 2 == system.run(2)
    assert 3 == system.waiting
    assert 3 == system.run(100)
    assert [0, 1, 2, 3, 4] == listener.actor.heard


def test_each_delivery_is_written_down():
    """With its time, and what was delivered from whom to whom."""
    system, actors = simulated()
    listener = actors.createActor(Recorder)
    system.call_at(2.5, actors.tell, listener, "late")

    actors.tell(listener, "soon")
    system.run(10)

    outside = system.system_cell
    expected = [(0.0, (listener, "soon", outside)), (2.5, (listener, "late", outside))]
    assert expected == system.deliveries


# ── Calls that are put off ───────────────────────────────────────────────────────────────────


class Batcher(Recorder):
    """Deals with what arrives together in one go."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self._waiting = False

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Keep it, and put off dealing with it."""
        super().receiveMessage(message, sender)
        if not self._waiting:
            self._waiting = self._myRef.put_off(self.deal)
            if not self._waiting:
                self.deal()

    def deal(self):
        """Deal with what has arrived."""
        self._waiting = False
        self.batches.append(self.heard)
        self.heard = []


def batches(values):
    """What a batcher deals with together, of three messages; and what was asked."""
    choose = Chooser(values)
    system, actors = simulated(choose)
    batcher = actors.createActor(Batcher)
    for word in "abc":
        actors.tell(batcher, word)
    system.run(10)
    return batcher.actor.batches, choose.asked


def test_a_call_that_is_put_off_is_made_when_no_mail_waits():
    """As in production, where messages that arrive together are dealt with together."""
    assert [["a", "b", "c"]] == batches([])[0]


def test_a_call_that_is_put_off_may_be_made_earlier():
    """That is the option after the messages."""
    assert ([["a"], ["b", "c"]], [(2, "deliver")] * 2) == batches([1])
    assert [["a", "b"], ["c"]] == batches([0, 1])[0]


def test_a_call_that_is_put_off_is_made_before_a_timer_fires():
    """No time passes within what is dealt with together."""
    system, actors = simulated(Chooser([0, 2]), race=True)
    batcher = actors.createActor(Batcher)
    system.call_at(1.0, lambda: batcher.actor.batches.append("the timer"))
    for word in "ab":
        actors.tell(batcher, word)

    system.run(10)

    assert [["a"], "the timer", ["b"]] == batcher.actor.batches


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


class Sleeper(Recorder):
    """Has itself woken after so many seconds, and keeps when that was."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Ask for it, or take note of it."""
        if isinstance(message, float):
            self.wakeupAfter(message, payload=message)
        elif isinstance(message, WakeupMessage):
            self.heard.append((self._myRef.system.time, message.payload))


def test_time_jumps_to_the_next_timer_when_nothing_can_be_delivered():
    """However far away it is; and not before."""
    system, actors = simulated()
    sleeper = actors.createActor(Sleeper)
    for seconds in (3600.0, 0.25, 86400.0):
        actors.tell(sleeper, seconds)

    system.run(3)
    before = system.time
    system.run(100)

    assert 0.0 == before
    assert [(0.25, 0.25), (3600.0, 3600.0), (86400.0, 86400.0)] == sleeper.actor.heard
    assert 86400.0 == system.time


def test_no_timer_fires_after_the_end_of_a_run():
    """What is due then waits for the next one."""
    system, actors = simulated()
    sleeper = actors.createActor(Sleeper)
    for seconds in (1.0, 2.0, 3.0):
        actors.tell(sleeper, seconds)

    system.run(100, until=2.0)

    assert [(1.0, 1.0), (2.0, 2.0)] == sleeper.actor.heard
    assert (2.0, 3.0, 1) == (system.time, system.next_timer(), system.timers)


def test_callbacks_and_wakeups_lie_in_one_heap():
    """The one that is due first is first."""
    system, actors = simulated()
    sleeper = actors.createActor(Sleeper)
    actors.tell(sleeper, 2.0)
    for seconds in (3.0, 1.0):
        system.call_at(seconds, lambda: sleeper.actor.heard.append((system.time, "called")))

    system.run(100)

    assert [(1.0, "called"), (2.0, 2.0), (3.0, "called")] == sleeper.actor.heard


@pytest.mark.parametrize(
    ("values", "expected"), [([], "abc"), ([1], "bac"), ([2, 1], "cba"), ([1, 1], "bca")]
)
def test_timers_that_are_due_at_the_same_moment_race(values, expected):
    """Any of them may be first; the plainest is the one that was set first."""
    choose, called = Chooser(values), []
    system = SimulatedSystem(choose)
    for name in "abc":
        system.call_at(1.0, called.append, name)
    system.call_at(2.0, called.append, "later")

    system.run(100)

    assert [*expected, "later"] == called
    assert [(3, "timer"), (2, "timer")] == choose.asked


def test_a_cancelled_timer_neither_fires_nor_lets_time_pass():
    """Cancelling it twice, or when it has fired, does nothing."""
    called = []
    system = SimulatedSystem(Chooser())
    timers = [system.call_at(seconds, called.append, seconds) for seconds in (1.0, 2.0, 3.0)]
    for _ in range(2):
        timers[2].cancel()
        timers[0].cancel()

    system.run(100)
    timers[1].cancel()

    assert [2.0] == called
    assert (2.0, None, 0) == (system.time, system.next_timer(), system.timers)


def test_a_moment_that_has_passed_is_now():
    """Time never goes back."""
    times = []
    system = SimulatedSystem(Chooser())
    system.call_at(5.0, system.call_at, 1.0, lambda: times.append(system.time))

    system.run(100)

    assert [5.0] == times


def test_a_wakeup_in_the_past_comes_at_once():
    """And does not turn the clock back."""
    system, actors = simulated()
    sleeper = actors.createActor(Sleeper)
    system.call_at(5.0, actors.tell, sleeper, -3.0)

    system.run(100)

    assert [(5.0, -3.0)] == sleeper.actor.heard


def test_with_a_race_the_next_timer_may_fire_while_mail_waits():
    """It is the last option; the clock goes on, and the mail is late."""
    choose = Chooser([1, 1])
    system, actors = simulated(choose, race=True)
    listener = actors.createActor(Recorder)
    for seconds in (1.0, 2.0):
        system.call_at(seconds, actors.tell, listener, seconds)
    actors.tell(listener, "slow")

    system.run(100)

    assert [(2, "deliver"), (2, "deliver")] == choose.asked
    assert [(2.0, "slow"), (2.0, 1.0), (2.0, 2.0)] == [
        (time, message) for time, (_, message, _) in system.deliveries
    ]


# ── Callbacks ────────────────────────────────────────────────────────────────────────────────


def three_callbacks(choose, **options):
    """Run a system with a message, a timer and three callbacks; return the order."""
    system, actors = simulated(choose, **options)
    order = []
    listener = actors.createActor(Recorder)
    listener.actor.receiveMessage = lambda message, _sender: order.append(message)
    system.call_at(1.0, order.append, "timer")
    for number in range(3):
        system.call_soon(lambda number=number: order.append(number))
    actors.tell(listener, "mail")
    assert 5 == system.run(100)
    return order


def test_callbacks_come_after_messages_and_before_time():
    """In their order, unless another one is chosen."""
    assert ["mail", 0, 1, 2, "timer"] == three_callbacks(Chooser())


def test_a_callback_may_come_before_a_message_and_after_a_timer():
    """It is the option before the last one, which is that time passes."""
    choose = Chooser([1, 0, 1])

    assert [0, "mail", "timer", 1, 2] == three_callbacks(choose, race=True)
    assert [(3, "deliver"), (3, "deliver"), (2, "callback")] == choose.asked


def test_callbacks_alone_do_not_hold_up_messages_for_ever():
    """A callback that calls itself again gives way to messages and to time."""
    system, actors = simulated(lambda _options, label: label == "deliver", race=True)
    listener = actors.createActor(Recorder)

    def again():
        if len(listener.actor.heard) < 2:
            system.call_soon(again)

    system.call_at(1.0, actors.tell, listener, "late")
    system.call_soon(again)
    actors.tell(listener, "mail")
    system.run(1_000)

    assert ["mail", "late"] == listener.actor.heard


def test_a_callback_delivers_as_many_messages_as_are_chosen():
    """One at least, and those that they cause."""
    system, actors = simulated(Chooser([0, 1, 1, 0, 1]))
    listeners = [actors.createActor(Recorder) for _ in range(3)]
    left = []

    def callback():
        for listener in listeners:
            actors.tell(listener, "mail")
        left.append(system.deliver_some())
        left.append(len(system.deliveries))

    system.call_soon(callback)
    system.run(1)

    assert [True, 2] == left
    system.run(100)
    assert 3 == len(system.deliveries)


def test_a_message_that_nothing_announces_is_not_delivered():
    """It goes with the next message, or is announced later."""
    system, actors = simulated()
    listener = actors.createActor(Recorder)
    system.leave(listener, "left", system.system_cell)

    assert (0, 1, 1) == (system.run(100), system.unannounced, system.waiting)

    actors.tell(listener, "told")
    system.leave(listener, "left too", system.system_cell)
    assert (3, 0) == (system.run(100), system.unannounced)
    assert ["left", "told", "left too"] == listener.actor.heard

    system.leave(listener, "last", system.system_cell)
    system.announce()
    assert (1, 0) == (system.run(100), system.waiting)


def test_without_a_race_mail_takes_no_time():
    """The timer is no option."""
    choose = Chooser([1])
    system, actors = simulated(choose)
    listener = actors.createActor(Recorder)
    system.call_at(1.0, actors.tell, listener, "timer")
    actors.tell(listener, "mail")

    system.run(100)

    assert [] == choose.asked
    assert ["mail", "timer"] == listener.actor.heard


def test_idle_moments_are_told():
    """Those at which nothing can be delivered, before time goes on, and at the end."""
    idle = []
    system, actors = simulated(when_idle=lambda: idle.append(system.time))
    listener = actors.createActor(Recorder)
    system.call_at(1.0, actors.tell, listener, "one")
    system.call_at(2.0, actors.tell, listener, "two")
    actors.tell(listener, "now")

    system.run(100)

    assert [0.0, 1.0, 2.0] == idle


# ── Faults ───────────────────────────────────────────────────────────────────────────────────


def struck(fault, occasion, *words, values=(), budget=1):
    """A parent that tells its child these words, of which one is struck by a fault."""
    choose = Chooser([occasion, *values])
    countdown = Countdown(choose, fault.value, budget, lambda: 20)
    mischief = Mischief({fault: countdown}, lambda _fault, envelope: envelope[1] in words)
    system, actors = simulated(choose, mischief=mischief)
    parent = actors.createActor(Parent)
    actors.tell(parent, Recorder)
    actors.tell(parent, (0, *words))
    system.run(1000)
    return system, parent.actor, parent.actor.children[0]


def test_a_fault_that_is_not_chosen_does_not_happen():
    """Zero is the plainest choice."""
    system, _, child = struck(Fault.CRASH, 0, "a", "b", "c")

    assert ["a", "b", "c"] == child.actor.heard
    assert [] == system.faults


def test_a_crash_takes_the_receiver_and_the_message():
    """The parent is told, and what comes later is a dead letter."""
    system, parent, child = struck(Fault.CRASH, 2, "a", "b", "c")

    assert child.actor is None
    (exited,) = parent.heard
    assert isinstance(exited, ChildActorExited)
    assert child == exited.childAddress
    assert 1 == system.dead_letters
    assert [(Fault.CRASH, "b")] == [(fault, message[1]) for *_, fault, message in system.faults]


def test_a_poisoned_message_goes_back_and_the_receiver_lives():
    """As when a handler raises."""
    _, parent, child = struck(Fault.POISON, 2, "a", "b", "c")

    (poison,) = parent.heard
    assert "b" == poison.poisonMessage
    assert ["a", "c"] == child.actor.heard


def test_a_duplicate_comes_once_more_after_what_was_sent_meanwhile():
    """Its channel keeps its order otherwise."""
    _, _, child = struck(Fault.DUPLICATE, 1, "a", "b", "c")

    assert ["a", "b", "c", "a"] == child.actor.heard


def test_a_message_may_overtake_the_one_before_it():
    """No actor system does that which promises an order; it can be had all the same."""
    _, _, child = struck(Fault.REORDER, 1, "a", "b", "c")

    assert ["b", "a", "c"] == child.actor.heard


def test_a_delayed_message_holds_up_its_channel_and_no_other():
    """For as many deliveries as is chosen."""
    choose = Chooser([1, 1])  # the first message that may be struck, for two deliveries
    countdown = Countdown(choose, "delay", 1, lambda: 20)
    mischief = Mischief({Fault.DELAY: countdown}, lambda _fault, envelope: envelope[1] == "slow")
    system, actors = simulated(choose, mischief=mischief)
    listener, other = actors.createActor(Recorder), actors.createActor(Recorder)
    for word in ("slow", "behind it"):
        actors.tell(listener, word)
    for word in "abcd":
        actors.tell(other, word)

    system.run(100)

    order = [message for _, (_, message, _) in system.deliveries]
    assert ["a", "b", "slow", "behind it", "c", "d"] == order


def test_a_delayed_message_is_not_held_up_by_time():
    """When nothing else can be delivered, it is."""
    choose = Chooser([1, 7])
    countdown = Countdown(choose, "delay", 1, lambda: 20)
    mischief = Mischief({Fault.DELAY: countdown}, lambda _fault, _envelope: True)
    system, actors = simulated(choose, mischief=mischief)
    listener = actors.createActor(Recorder)
    system.call_at(1.0, actors.tell, listener, "timer")
    actors.tell(listener, "slow")

    system.run(100)

    assert ["slow", "timer"] == listener.actor.heard


def test_a_fault_happens_as_often_as_its_budget_says():
    """Each time after as many occasions as are chosen then."""
    system, _, child = struck(Fault.DUPLICATE, 1, *"abcd", values=[2, 1, 1], budget=2)

    assert ["a", "c"] == [envelope[1] for *_, envelope in system.faults]
    assert [*"abcdac"] == child.actor.heard


@given(numbers)
def test_with_faults_the_channels_keep_their_order(values):
    """A delay holds up what follows, a duplicate comes last."""
    choose = Chooser(values)
    countdowns = {
        fault: Countdown(choose, fault.value, 2, lambda: 5)
        for fault in (Fault.DELAY, Fault.DUPLICATE)
    }
    mischief = Mischief(countdowns, lambda _fault, envelope: isinstance(envelope[1][1], int))
    system, actors = simulated(choose, mischief=mischief)
    listener = actors.createActor(Recorder)
    for name in range(3):
        actors.tell(actors.createActor(Sequel), (name, listener, 4))

    system.run(1000)

    for name in range(3):
        heard = [number for who, number in listener.actor.heard if who == name]
        assert [0, 1, 2, 3] == list(dict.fromkeys(heard))


# ── The end ──────────────────────────────────────────────────────────────────────────────────


def test_a_cleared_system_is_as_new():
    """No actor, message or timer is left; and the time is what it was."""
    system, actors = simulated()
    parent = actors.createActor(Parent, globalName="the parent")
    actors.tell(parent, Recorder)
    system.call_at(1.0, actors.tell, parent, "more")
    system.run(2)
    actors.tell(parent, "unread")
    system.call_at(9.0, actors.tell, parent, "never")
    before = system.population, system.waiting, system.timers

    system.clear()

    assert (2, 2, 1) == before
    assert (0, 0, 0) == (system.population, system.waiting, system.timers)
    assert 0 == system.run(100)
    assert 1.0 == system.time
    assert parent != actors.createActor(Parent, globalName="the parent")


def test_actors_that_exit_are_counted_out():
    """With their children."""
    system, actors = simulated()
    parent = actors.createActor(Parent)
    actors.tell(parent, Recorder)
    system.run(10)
    before = system.population

    actors.tell(parent, ActorExitRequest())
    system.run(10)

    assert (2, 0) == (before, system.population)

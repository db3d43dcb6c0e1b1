"""What a message's delivery means on every base that actorflow ships."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from thespian.actors import (
    Actor,
    ActorExitRequest,
    ChildActorExited,
    DeadEnvelope,
    PoisonMessage,
    WakeupMessage,
)

from tests.support.stage import Loop, Parent, Recorder, embedded


class Scene:
    """A system on a loop that is turned by hand."""

    def __init__(self):
        self.loop = Loop()
        self.system, self.actors = embedded(self.loop)

    def create(self, actor_class=Recorder, **options):
        """Make an actor of the system's own."""
        return self.actors.createActor(actor_class, **options)

    def tell(self, target, *messages):
        """Send messages and let everything happen that needs no time."""
        for message in messages:
            self.actors.tell(target, message)
        self.loop.run()

    def heard(self, address):
        """What a recorder has heard."""
        return address.actor.heard


@pytest.fixture
def scene():
    """A system without actors."""
    return Scene()


class Broken(Actor):
    """Raises what it is told to raise, and counts how often."""

    calls = 0

    def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
        """Raise it."""
        if isinstance(message, BaseException):
            Broken.calls += 1
            raise message


class Stillborn(Actor):
    """Cannot be made."""

    def __init__(self):
        super().__init__()
        raise ValueError("not today")


def test_messages_arrive_in_the_order_of_sending(scene):
    """From one sender to one receiver."""
    recorder = scene.create()

    scene.tell(recorder, *range(100))

    assert list(range(100)) == scene.heard(recorder)


def test_an_actor_knows_who_sent_and_where_it_lives(scene):
    """Its own address is what others send to."""
    parent = scene.create(Parent)
    scene.tell(parent, Recorder, (0, "hello"))
    (child,) = parent.actor.children

    assert [parent] == child.actor.senders
    assert parent == parent.actor.myAddress


def test_addresses_are_keys():
    """Two are equal only if they are the same; Thespian's own cannot even be hashed."""
    scene, other = Scene(), Scene()
    one, two, elsewhere = scene.create(), scene.create(), other.create()

    assert 3 == len({one, two, elsewhere, one})
    assert one != elsewhere
    assert str(one) != str(two)


def test_a_handler_that_raises_is_not_tried_again(scene):
    """Thespian's own bases run it twice or three times, with all its effects."""
    Broken.calls = 0
    parent = scene.create(Parent)

    scene.tell(parent, Broken, (0, ValueError("once")))

    assert 1 == Broken.calls


@pytest.mark.parametrize("error", [ValueError("why"), SystemExit(3), GeneratorExit()])
def test_a_poisoned_message_goes_back_to_its_sender(scene, error):
    """With the message and the traceback; the actor lives on."""
    parent = scene.create(Parent)

    scene.tell(parent, Broken, (0, error), (0, "still there?"))

    (poison,) = scene.heard(parent)
    assert isinstance(poison, PoisonMessage)
    assert error is poison.poisonMessage
    assert type(error).__name__ in poison.details
    assert 0 == scene.system.dead_letters


def test_a_poisoned_message_is_not_answered_with_another(scene):
    """Two broken actors would go on for ever."""

    class Touchy(Parent):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            super().receiveMessage(message, sender)
            if message == "hello" or isinstance(message, PoisonMessage):
                raise RuntimeError("I will not have this")

    parent = scene.create(Touchy)

    scene.tell(parent, Touchy, (0, "hello"))

    (child,) = parent.actor.children
    assert [PoisonMessage] == [type(message) for message in scene.heard(parent)]
    assert ["hello"] == scene.heard(child)


def test_an_interrupt_is_for_the_program(scene):
    """It hit this thread by chance; the actors go on afterwards."""
    parent = scene.create(Parent)
    scene.tell(parent, Broken, Recorder)

    with pytest.raises(KeyboardInterrupt):
        scene.tell(parent, (0, KeyboardInterrupt()), (1, "after"))
    scene.loop.run()

    assert ["after"] == scene.heard(parent.actor.children[1])


def test_on_another_thread_an_interrupt_is_an_error_like_any_other(scene):
    """Python interrupts the main thread only: it is what an actor has raised itself."""
    parent = scene.create(Parent)
    scene.tell(parent, Broken, Recorder)
    ended = []

    def tell():
        scene.tell(parent, (0, KeyboardInterrupt()), (1, "after"))
        ended.append(True)

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()

    assert [True] == ended
    assert ["after"] == scene.heard(parent.actor.children[1])


def test_an_actor_whose_constructor_raises_has_exited(scene):
    """Its parent is told, and what is sent to it is a dead letter."""
    parent = scene.create(Parent)

    scene.tell(parent, Stillborn, (0, "hello?"))

    (exited,) = scene.heard(parent)
    assert isinstance(exited, ChildActorExited)
    assert parent.actor.children == [exited.childAddress]
    assert 1 == scene.system.dead_letters


def test_an_actor_that_exits_takes_its_children_along(scene):
    """And its parent is told of it, not of them."""
    parent = scene.create(Parent)
    scene.tell(parent, Parent, (0, Recorder))
    (child,) = parent.actor.children
    (grandchild,) = child.actor.children

    scene.tell(child, ActorExitRequest())

    (exited,) = scene.heard(parent)
    assert child == exited.childAddress
    assert (None, None) == (child.actor, grandchild.actor)


def test_an_actor_hears_of_its_own_end(scene):
    """Whatever it holds, it can give back then."""
    recorder = scene.create()
    actor = recorder.actor

    scene.tell(recorder, ActorExitRequest())

    assert [ActorExitRequest] == [type(message) for message in actor.heard]


def test_children_may_outlive_their_parent(scene):
    """If the request says so."""
    parent = scene.create(Parent)
    scene.tell(parent, Recorder)
    (child,) = parent.actor.children

    scene.tell(parent, ActorExitRequest(recursive=False))
    scene.tell(child, "still there?")

    assert parent.actor is None
    assert ["still there?"] == scene.heard(child)


def test_what_is_sent_to_the_dead_is_counted(scene):
    """And otherwise forgotten: an address outlives its actor."""
    recorder = scene.create()
    scene.tell(recorder, ActorExitRequest())

    scene.tell(recorder, "one", "two")

    assert 2 == scene.system.dead_letters


@pytest.mark.parametrize(
    "message", [ActorExitRequest(), WakeupMessage(1), ChildActorExited("another")]
)
def test_what_is_about_life_itself_is_no_dead_letter(scene, message):
    """It is stale, not lost."""
    recorder = scene.create()
    scene.tell(recorder, ActorExitRequest())

    scene.tell(recorder, message)

    assert 0 == scene.system.dead_letters


class Quiet(Recorder):
    """Leaves with its parent, without any messages."""

    leaves_quietly = True


class Undertaker(Recorder):
    """Handles the dead letters while it is told to."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Begin, end, or keep."""
        super().receiveMessage(message, sender)
        if isinstance(message, bool):
            self.handleDeadLetters(startHandling=message)


def test_a_message_to_a_child_that_left_quietly_is_dropped(scene):
    """It is neither counted nor handed to the handler: it was for a life that has ended."""
    parent, undertaker = scene.create(Parent), scene.create(Undertaker)
    scene.tell(undertaker, True)
    scene.tell(parent, Quiet, Recorder)
    quiet, loud = parent.actor.children
    scene.tell(parent, ActorExitRequest())

    scene.tell(quiet, "data")
    before = scene.system.dead_letters
    scene.tell(loud, "data")

    assert (0, 1) == (before, scene.system.dead_letters)
    letters = [one for one in scene.heard(undertaker) if isinstance(one, DeadEnvelope)]
    assert [loud] == [letter.deadAddress for letter in letters]


def test_a_quiet_child_that_died_before_its_parent_gets_dead_letters(scene):
    """Its parent lives, and its sender may want to know."""
    parent = scene.create(Parent)
    scene.tell(parent, Quiet)
    (child,) = parent.actor.children
    scene.tell(child, ActorExitRequest())

    scene.tell(child, "data")

    assert 1 == scene.system.dead_letters


def test_dead_letters_go_to_whoever_handles_them(scene):
    """In an envelope that says for whom they were."""
    undertaker, gone = scene.create(Undertaker), scene.create()
    scene.tell(undertaker, True)
    scene.tell(gone, ActorExitRequest())
    scene.tell(gone, "too late")
    scene.tell(undertaker, False)
    scene.tell(gone, "later still")

    (envelope,) = [one for one in scene.heard(undertaker) if isinstance(one, DeadEnvelope)]
    assert (gone, "too late") == (envelope.deadAddress, envelope.deadMessage)
    assert 2 == scene.system.dead_letters


def test_a_dead_undertaker_gets_no_letters(scene):
    """Which would be dead letters themselves."""

    class Undertaker(Recorder):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            self.handleDeadLetters()

    undertaker = scene.create(Undertaker)
    scene.tell(undertaker, "begin", ActorExitRequest())

    scene.tell(undertaker, "hello?")

    assert 1 == scene.system.dead_letters


def test_a_global_name_means_one_actor(scene):
    """Until it exits; then another may have it."""
    first = scene.create(globalName="the one")
    again = scene.create(globalName="the one")
    scene.tell(first, ActorExitRequest())
    second = scene.create(globalName="the one")

    assert first == again
    assert second != first
    assert second.actor is not None


# ── Timers ───────────────────────────────────────────────────────────────────────────────────


class Sleeper(Recorder):
    """Asks for a wakeup for every pair of seconds and payload."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Ask, or keep."""
        if isinstance(message, tuple):
            self.wakeupAfter(*message)
        else:
            super().receiveMessage(message, sender)


def test_a_timer_fires_while_nothing_else_happens(scene):
    """Thespian's simple base delivers a wakeup only with other mail."""
    sleeper = scene.create(Sleeper)
    scene.tell(sleeper, (5.0, "up"))

    scene.loop.advance(4.999)
    early = list(scene.heard(sleeper))
    scene.loop.advance(0.001)

    assert [] == early
    assert ["up"] == [message.payload for message in scene.heard(sleeper)]


def test_timers_fire_in_the_order_of_their_times(scene):
    """Not in that of asking; equal ones in that of asking."""
    sleeper = scene.create(Sleeper)
    scene.tell(
        sleeper, (3.0, "c"), (1.0, "a"), (2.0, "b"), (3.0, "d"), (timedelta(seconds=0.5), "0")
    )

    scene.loop.advance(10)

    assert ["0", "a", "b", "c", "d"] == [message.payload for message in scene.heard(sleeper)]


def test_a_timer_of_the_dead_wakes_nobody(scene):
    """And is no dead letter either."""
    sleeper = scene.create(Sleeper)
    scene.tell(sleeper, (5.0, "up"), ActorExitRequest())

    scene.loop.advance(10)

    assert 0 == scene.system.dead_letters


def test_nothing_is_left_of_timers_that_have_fired(scene):
    """Neither in the system nor on the loop."""
    sleeper = scene.create(Sleeper)
    scene.tell(sleeper, *[(float(n), n) for n in range(20)])

    scene.loop.advance(30)

    assert 20 == len(scene.heard(sleeper))
    assert 0 == scene.loop.timers
    assert scene.system.next_timer() is None

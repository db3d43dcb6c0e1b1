"""The embedded base on its own: a thread for the actors, and many that talk to them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import sys
import threading
from datetime import timedelta

import pytest
from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ActorSystem,
    ActorSystemFailure,
    ActorSystemMessage,
    ChildActorExited,
    InvalidActorAddress,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
    PoisonMessage,
    requireCapability,
)
from thespian.system.messages.status import Thespian_ActorStatus, Thespian_StatusReq

from actorflow.systems.standalone import StandaloneSystem
from actorflow.systems.standalone import system as standalone

GUARD = 60
"""Seconds after which something that should happen at once never will."""


@pytest.fixture
def start():
    """A way to start systems, which end with the test."""
    started = []

    def new(**options):
        started.append(ActorSystem(StandaloneSystem(**options), transientUnique=True))
        return started[-1]

    yield new
    for system in started:
        system.shutdown()


@pytest.fixture
def actors(start):
    """A system without actors."""
    return start()


@pytest.fixture
def silent():
    """A way to have a thread ask an actor that has heard the question and does not answer."""

    @contextlib.contextmanager
    def ask(actors):
        asked = threading.Event()

        class Silent(Actor):
            def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
                asked.set()

        with concurrent.futures.ThreadPoolExecutor() as pool:
            asker = pool.submit(actors.ask, actors.createActor(Silent), "hello?")
            assert asked.wait(GUARD)
            yield asker

    return ask


class Echo(Actor):
    """Sends back what it is sent."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Send it back."""
        if not isinstance(message, ActorSystemMessage):
            self.send(sender, message)


class Holder(Actor):
    """Holds every message back until it is told to let go of them."""

    def __init__(self):
        super().__init__()
        self.held = []

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Hold it, or let go."""
        if message == "let go":
            for asker, answer in self.held:
                self.send(asker, answer)
        else:
            self.held.append((sender, message))


class Twice(Actor):
    """Answers twice."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Answer."""
        self.send(sender, f"{message}!")
        self.send(sender, f"{message}!!")


class Friend(Actor):
    """Remembers who wrote first, and answers that one, whichever asks."""

    friend = None

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Remember, or answer."""
        if self.friend is None:
            self.friend = sender
        else:
            known = self.friend == sender and hash(self.friend) == hash(sender)
            self.send(self.friend, f"{message} from {'you' if known else 'another'}")


class Caller(Actor):
    """Calls what it is sent, and answers with what came of it."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Call it."""
        if isinstance(message, (ActorAddress, ChildActorExited, PoisonMessage)):
            self.told = message
        elif callable(message):
            try:
                self.send(sender, message(self))
            except Exception as error:  # noqa: BLE001 - whatever it is, the asker wants to see it
                self.send(sender, error)


class Stillborn(Actor):
    """Cannot be made."""

    def __init__(self):
        super().__init__()
        raise ValueError("not today")


@requireCapability("wings")
class Bird(Echo):
    """Lives only where there are wings."""


class Picky(Actor):
    """Is made with what the system offers and what its maker requires."""

    def __init__(self, capabilities, requirements):
        super().__init__()
        self.given = capabilities["wings"], requirements

    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):  # noqa: N802 - Thespian's name
        """Whether the system has as many wings as are required."""
        return capabilities.get("wings", 0) >= requirements.get("wings", 0)

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Say what it was made with."""
        self.send(sender, self.given)


# ── Asking ───────────────────────────────────────────────────────────────────────────────────


def test_every_thread_gets_the_answers_to_its_own_questions(actors):
    """On Thespian's own bases about three of four answers reach the wrong thread."""
    echo, threads, each = actors.createActor(Echo), 8, 200
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def ask(thread):
        return [actors.ask(echo, (thread, number), GUARD) for number in range(each)]

    try:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(ask, range(threads)))
    finally:
        sys.setswitchinterval(interval)

    assert [[(one, number) for number in range(each)] for one in range(threads)] == answers


def test_a_late_answer_is_not_given_to_the_next_question(actors):
    """It is there for every listener."""
    holder, echo = actors.createActor(Holder), actors.createActor(Echo)
    in_time = actors.ask(holder, "late", 0)
    actors.tell(holder, "let go")

    next_one = actors.ask(echo, "next", GUARD)

    assert (None, "next") == (in_time, next_one)
    assert "late" == actors.listen(GUARD)


def test_a_second_answer_is_not_given_to_the_next_question(actors):
    """It is there for every listener, too."""
    twice, echo = actors.createActor(Twice), actors.createActor(Echo)

    answers = [actors.ask(twice, "yes", GUARD), actors.ask(echo, "next", GUARD)]

    assert ["yes!", "next"] == answers
    assert "yes!!" == actors.listen(GUARD)


def test_of_answers_that_nobody_takes_the_oldest_are_dropped(actors):
    """A program that asks for ever and never listens does not grow."""
    twice = actors.createActor(Twice)
    for number in range(1_100):
        actors.ask(twice, number, GUARD)

    assert "99!!" == actors.listen(GUARD)


def test_an_actor_that_was_told_something_may_answer_a_question(actors):
    """Thespian promises the answer of any actor; the asker is the same to it as the teller."""
    friend = actors.createActor(Friend)
    actors.tell(friend, "hello")

    assert "question from you" == actors.ask(friend, "question", GUARD)


def test_a_private_place_is_somebody_else(actors):
    """It has its own answers, and actors can tell it apart."""
    friend, echo = actors.createActor(Friend), actors.createActor(Echo)
    actors.tell(friend, "hello")

    with actors.private() as private:
        answers = [private.ask(friend, "question", 0), private.ask(echo, "mine", GUARD)]

    assert [None, "mine"] == answers
    assert "question from another" == actors.listen(GUARD)


def test_what_is_sent_to_a_private_place_that_was_left_is_a_dead_letter(actors):
    """It has no one who could listen."""
    holder = actors.createActor(Holder)
    with actors.private() as private:
        private.tell(holder, "too late")
    actors.tell(holder, "let go")
    actors.ask(actors.createActor(Echo), "everything before this has been delivered", GUARD)

    assert 1 == actors._systemBase.dead_letters


class Quiet(Echo):
    """Leaves with its parent, without any messages."""

    leaves_quietly = True


class QuietParent(Actor):
    """Answers with the address of a quiet child."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Create one."""
        if message == "child?":
            self.send(sender, self.createActor(Quiet))


def test_a_message_to_a_child_that_left_quietly_is_no_dead_letter(actors):
    """It left with its parent, whose end is known."""
    parent = actors.createActor(QuietParent)
    child = actors.ask(parent, "child?", GUARD)
    actors.tell(parent, ActorExitRequest())
    actors.tell(child, "too late")
    actors.tell(parent, "too late as well")
    actors.ask(actors.createActor(Echo), "everything before this has been delivered", GUARD)

    assert 1 == actors._systemBase.dead_letters


@pytest.mark.parametrize("timeout", [0, 0.001, timedelta(milliseconds=1)])
def test_who_gets_no_answer_in_time_gets_none(actors, timeout):
    """Seconds may be a number or a timedelta."""
    holder = actors.createActor(Holder)

    assert actors.ask(holder, "hello?", timeout) is None
    assert actors.listen(timeout) is None


def test_a_question_that_cannot_be_handled_comes_back(actors):
    """With the traceback."""

    class Broken(Actor):
        def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
            raise ValueError(message)

    answer = actors.ask(actors.createActor(Broken), "why?", GUARD)

    assert isinstance(answer, PoisonMessage)
    assert "why?" == answer.poisonMessage
    assert "ValueError: why?" in answer.details


def test_an_actor_cannot_wait_for_itself(actors):
    """Asking and listening are for threads outside; telling and making are not."""
    caller, echo = actors.createActor(Caller), actors.createActor(Echo)

    refused = [
        actors.ask(caller, lambda _: actors.ask(echo, "hello"), GUARD),
        actors.ask(caller, lambda _: actors.listen(), GUARD),
    ]
    made = actors.ask(caller, lambda _: actors.createActor(Echo), GUARD)

    assert [ActorSystemFailure] * 2 == [type(error) for error in refused]
    assert "hello" == actors.ask(made, "hello", GUARD)


def test_an_address_outside_does_not_exit(actors):
    """An actor may send the request; what is outside is not the system's to end."""
    caller, echo = actors.createActor(Caller), actors.createActor(Echo)

    actors.tell(caller, lambda _: ActorExitRequest())
    actors.tell(echo, "still here")

    assert "still here" == actors.listen(GUARD)


@pytest.mark.parametrize("talk", ["tell", "ask"])
def test_an_address_of_another_base_is_refused(actors, talk):
    """The message would never be read."""
    with pytest.raises(InvalidActorAddress, match="not an address of this system base"):
        getattr(actors, talk)(ActorAddress("/elsewhere"), "hello?")


# ── Making actors ────────────────────────────────────────────────────────────────────────────


def test_an_actor_can_be_made_by_the_name_of_its_class(actors):
    """As with Thespian's own bases, which need that across processes."""
    upper = actors.createActor("thespian.test.sub1.upper.UpperFloor")

    assert "Viewed: garden" == actors.ask(upper, "garden", GUARD)


@pytest.mark.parametrize(
    ("actor_class", "error"),
    [
        ("nowhere.Unknown", ImportError),
        ("Unknown", InvalidActorSpecification),
        (Stillborn, ValueError),
        (Bird, NoCompatibleSystemForActor),
    ],
)
def test_why_an_actor_cannot_be_made_is_raised_where_it_is_wanted(actors, actor_class, error):
    """An address without an actor would be of no use."""
    with pytest.raises(error):
        actors.createActor(actor_class)


@pytest.mark.parametrize("actor_class", ["nowhere.Unknown", Stillborn, Bird])
def test_a_child_that_cannot_be_made_has_exited(actors, actor_class):
    """Its parent is told."""
    parent = actors.createActor(Caller)
    child = actors.ask(parent, lambda self: self.createActor(actor_class), GUARD)

    exited = actors.ask(parent, lambda self: self.told.childAddress, GUARD)

    assert child == exited


def test_a_global_name_comes_before_everything_else(actors):
    """Who has it is meant, whatever class is asked for."""
    echo = actors.createActor(Echo, globalName="echo")

    assert echo == actors.createActor("nowhere.Unknown", globalName="echo")


def test_actors_are_made_where_the_capabilities_are(start):
    """They can be added and taken away, from outside and by actors."""
    actors = start(capabilities={"wings": 2})
    bird = actors.createActor(Bird)
    actors.updateCapability("wings")
    with pytest.raises(NoCompatibleSystemForActor):
        actors.createActor(Bird)
    caller = actors.createActor(Caller)
    actors.ask(caller, lambda self: self.updateCapability("wings", 4) or 1, GUARD)
    other = actors.createActor(Bird)

    assert "tweet" == actors.ask(bird, "tweet", GUARD)
    assert "tweet" == actors.ask(other, "tweet", GUARD)


def test_an_actor_may_be_made_with_capabilities_and_requirements(start):
    """If its constructor has parameters of these names; a maker inside passes them on."""
    actors = start(capabilities={"wings": 2})
    require = {"wings": 2}
    picky = actors.createActor(Picky, targetActorRequirements=require)
    caller = actors.createActor(Caller)
    child = actors.ask(caller, lambda self: self.createActor(Picky, require), GUARD)

    assert [(2, require)] * 2 == [actors.ask(one, "?", GUARD) for one in (picky, child)]
    with pytest.raises(NoCompatibleSystemForActor):
        actors.createActor(Picky, targetActorRequirements={"wings": 3})


def test_an_actor_that_waits_for_other_systems_waits_in_vain(actors):
    """There are no conventions of systems here; asking for news of them does no harm."""
    caller = actors.createActor(Caller)

    answer = actors.ask(caller, lambda self: self.notifyOnSystemRegistrationChanges() or 1, GUARD)

    assert 1 == answer


def test_the_status_of_an_actor_can_be_asked_for(actors):
    """Its class, its children and its wakeups; a dead one has none."""
    caller = actors.createActor(Caller)
    child = actors.ask(caller, lambda self: self.createActor(Echo), GUARD)
    actors.ask(caller, lambda self: self.wakeupAfter(timedelta(hours=1)) or 1, GUARD)

    status = actors.ask(caller, Thespian_StatusReq(), GUARD)
    actors.tell(child, ActorExitRequest())

    assert isinstance(status, Thespian_ActorStatus)
    assert ("Caller", [child], 1) == (
        status.actorClass,
        status.childActors,
        len(status.pendingWakeups),
    )
    assert actors.ask(child, Thespian_StatusReq(), 0.001) is None


# ── Two systems ──────────────────────────────────────────────────────────────────────────────


def test_an_address_leads_to_its_actor_from_other_systems(start):
    """Each actor runs on the thread of its own system, whichever writes to it."""
    here, there = start(), start()
    caller, far = here.createActor(Caller), there.createActor(Caller)
    place, seen = threading.get_ident, queue.SimpleQueue()
    home = there.ask(far, lambda _: place(), GUARD)

    here.ask(caller, lambda self: self.send(far, lambda _: seen.put(place())) or 1, GUARD)

    assert home == seen.get(timeout=GUARD)
    assert home == here.ask(far, lambda _: place(), GUARD)
    assert home != here.ask(caller, lambda _: place(), GUARD)


def test_a_message_to_a_system_that_has_ended_is_a_dead_letter(start):
    """Its actors have exited."""
    here, there = start(), start()
    caller, far = here.createActor(Caller), there.createActor(Echo)
    there.shutdown()

    here.ask(caller, lambda self: self.send(far, "hello?") or 1, GUARD)

    assert 1 == here._systemBase.dead_letters


# ── The end ──────────────────────────────────────────────────────────────────────────────────


def test_everybody_exits_in_the_end(start):
    """Children as well; and the thread is gone."""
    exited, before = [], threading.active_count()

    class Parent(Actor):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            if isinstance(message, ActorExitRequest):
                exited.append(self.myAddress)
            elif message:
                self.send(self.createActor(Parent), message - 1)

    actors = start()
    actors.tell(actors.createActor(Parent), 3)

    actors.shutdown()

    assert 4 == len(exited)
    assert before == threading.active_count()


def test_an_actor_can_end_the_system(start):
    """It returns first; shutting down from outside afterwards does no harm."""
    actors = start()
    thread = actors.ask(actors.createActor(Caller), lambda _: threading.current_thread(), GUARD)

    actors.tell(actors.createActor(Caller), lambda self: self.actorSystemShutdown())
    thread.join(GUARD)

    assert not thread.is_alive()


def test_nobody_waits_for_a_system_that_has_ended(start, silent):
    """Neither who asked before, nor who asks afterwards, nor who listens."""
    actors = start()
    base = actors._systemBase

    with silent(actors) as asker:
        actors.shutdown()

        assert asker.result(GUARD) is None
    with pytest.raises(ActorSystemFailure, match="shut down"):
        base.ask(base.system_cell, "hello?")
    with pytest.raises(ActorSystemFailure, match="shut down"):
        base.newPrimaryActor(Echo)
    assert [None] * 2 == [base.listen(), base.listen()]
    assert base.external_clone().listen() is None


def test_nobody_waits_when_the_loop_is_ended_from_elsewhere(start, silent):
    """A later listener hears that nothing will come."""
    actors = start()
    with silent(actors) as asker:
        actors._systemBase._thread.end()

        assert asker.result(GUARD) is None


def test_an_interrupt_that_an_actor_raises_does_not_end_the_loop(start):
    """Python interrupts the main thread only: here it is an error like any other."""
    actors = start()

    class Interrupted(Actor):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            raise KeyboardInterrupt

    answer = actors.ask(actors.createActor(Interrupted), "now", GUARD)

    assert isinstance(answer, PoisonMessage)
    assert "hello" == actors.ask(actors.createActor(Echo), "hello", GUARD)


def test_an_actor_that_does_not_return_is_left_behind(start, monkeypatch):
    """Nothing can stop it; the shutdown says so."""
    monkeypatch.setattr(standalone, "_GRACE", 0.0)
    monkeypatch.setattr(standalone, "_MARGIN", 0.0)
    actors, begun, release = start(), threading.Event(), threading.Event()
    base = actors._systemBase

    class Busy(Actor):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            begun.set()
            release.wait(GUARD)

    actors.tell(actors.createActor(Busy), "work")
    assert begun.wait(GUARD)

    with pytest.raises(TimeoutError, match="has not returned from receiveMessage"):
        base.shutdown()
    release.set()
    assert base._thread.join(GUARD)


def test_actors_that_never_stop_talking_are_cut_short(start, monkeypatch):
    """The end is bounded, whatever they have to say to each other."""
    monkeypatch.setattr(standalone, "_GRACE", 0.0)
    actors = start()

    class Orphan(Actor):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            if not isinstance(message, ActorExitRequest):
                self.send(self.myAddress, message)

    class Mother(Actor):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            if message == "leave":
                self.send(self.createActor(Orphan), "for ever")
                self.send(self.myAddress, ActorExitRequest(recursive=False))

    actors.tell(actors.createActor(Mother), "leave")

    actors.shutdown()

    assert actors._systemBase is None

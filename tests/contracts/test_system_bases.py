"""One contract for system bases: the same actors come to the same on each of them.

The bases are the embedded one, the simulated one in its plainest order and in two others, and
Thespian's own `simpleSystemBase`. Where ours deviate from that on purpose, the test says so and
holds both to what they do.
"""

from __future__ import annotations

from datetime import timedelta

from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ChildActorExited,
    DeadEnvelope,
    PoisonMessage,
    WakeupMessage,
)

from tests.support.stage import Parent, Recorder


class Talker(Actor):
    """Says numbers to each of some others, in order."""

    def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
        """Say them."""
        if isinstance(message, list):
            for number in range(20):
                for listener in message:
                    self.send(listener, number)


class Broken(Actor):
    """Raises what it is told to raise, counts how often, and answers anything else."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Raise it."""
        if isinstance(message, Exception):
            self.calls += 1
            raise message
        if isinstance(message, str):
            self.send(sender, message)


class Stillborn(Actor):
    """Cannot be made."""

    def __init__(self):
        super().__init__()
        raise ValueError("not today")


class Sleeper(Recorder):
    """Asks for a wakeup for every pair of a delay and a payload."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Ask, or keep."""
        if isinstance(message, tuple):
            self.wakeupAfter(*message)
        else:
            super().receiveMessage(message, sender)


class Undertaker(Recorder):
    """Takes the dead letters while it is told to."""

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Begin, end, or keep."""
        if isinstance(message, bool):
            self.handleDeadLetters(startHandling=message)
        else:
            super().receiveMessage(message, sender)


class Crowd(Actor):
    """Makes many children at once, greets each, and counts the answers."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Make them, or count."""
        if isinstance(message, int):
            for child in [self.createActor(Broken) for _ in range(message)]:
                self.send(child, "hello")
        elif isinstance(message, str):
            self.answers.append(sender)


def family(base, *generations):
    """A parent that has a child, which has a child, and so on: their addresses."""
    addresses = [base.create(Parent)]
    for generation in generations:
        base.tell(addresses[-1], generation)
        addresses.append(base.actor(addresses[-1]).children[-1])
    return addresses


def kinds(messages):
    """What messages are."""
    return [type(message) for message in messages]


# ── Sending ──────────────────────────────────────────────────────────────────────────────────


def test_messages_of_one_actor_to_another_keep_their_order(base):
    """Those of different actors may be mixed in any way, and nothing is lost or doubled."""
    listeners = [base.create(Recorder) for _ in range(3)]
    talkers = [base.create(Talker) for _ in range(3)]
    for talker in talkers:
        base.actors.tell(talker, listeners)
    base.settle()

    for listener in map(base.actor, listeners):
        assert 60 == len(listener.heard)
        for talker in talkers:
            said = zip(listener.heard, listener.senders, strict=True)
            assert list(range(20)) == [number for number, sender in said if sender == talker]


def test_a_message_from_a_stranger_may_come_before_the_parents_first(base):
    """An address works as soon as it is known; an actor has to be ready for that."""
    parent, stranger = base.create(Parent), base.create(Parent)
    base.tell(parent, Recorder)
    (child,) = base.actor(parent).children

    base.tell(stranger, (child, "early"))
    base.tell(parent, (child, "configuration"))

    assert ["early", "configuration"] == base.heard(child)
    assert [stranger, parent] == base.actor(child).senders


def test_an_actor_can_write_to_itself_and_be_written_back_to(base):
    """What it is told as its own address, and as the sender, are the same actor."""
    parent, broken = base.create(Parent), base.create(Broken)

    base.tell(parent, (base.actor(parent).myAddress, "to myself"), (broken, "to you"))

    assert {"to myself", "to you"} == set(base.heard(parent))
    senders = dict(zip(base.heard(parent), base.actor(parent).senders, strict=True))
    assert parent == senders["to myself"]
    assert broken == senders["to you"]
    assert parent != broken


def test_addresses_can_be_sent(base):
    """And lead to the same actor afterwards."""
    parent, recorder = base.create(Parent), base.create(Recorder)

    base.tell(parent, (recorder, recorder))

    (address,) = base.heard(recorder)
    assert isinstance(address, ActorAddress)
    base.tell(address, "you")
    assert "you" == base.heard(recorder)[-1]


def test_one_handler_can_make_and_greet_many(base):
    """All of them answer, each once."""
    crowd = base.create(Crowd)

    base.tell(crowd, 500)

    answers = base.actor(crowd).answers
    assert 500 == len(answers) == len({str(address) for address in answers})


# ── Exits ────────────────────────────────────────────────────────────────────────────────────


def test_an_actor_hears_of_its_exit_and_its_parent_is_told(base):
    """After that it is gone."""
    parent, child = family(base, Parent)
    actor = base.actor(child)

    base.tell(child, ActorExitRequest())

    assert [ActorExitRequest] == kinds(actor.heard)
    (exited,) = base.heard(parent)
    assert isinstance(exited, ChildActorExited)
    assert child == exited.childAddress
    assert base.actor(child) is None


def test_exits_go_down_the_tree(base):
    """Everybody below hears of it; a parent is told of its own child only."""
    grandmother, mother, *younger = family(base, Parent, Parent, Parent)
    actors = list(map(base.actor, younger))

    base.tell(mother, ActorExitRequest())

    assert [None] * 3 == [base.actor(one) for one in (mother, *younger)]
    assert [[ActorExitRequest]] * 2 == [
        [kind for kind in kinds(actor.heard) if kind is ActorExitRequest] for actor in actors
    ]
    assert [mother] == [exited.childAddress for exited in base.heard(grandmother)]


def test_an_actor_can_leave_by_itself(base):
    """By the same request, sent to itself."""
    parent, child = family(base, Parent)

    base.tell(child, (child, ActorExitRequest()))

    assert base.actor(child) is None
    assert [ChildActorExited] == kinds(base.heard(parent))


def test_a_handler_that_raises_at_the_exit_does_not_prevent_it(base):
    """Its parent is told all the same."""

    class Reluctant(Actor):
        def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
            raise RuntimeError("I will not go")

    parent, child = family(base, Reluctant)

    base.tell(parent, (child, ActorExitRequest()))

    assert base.actor(child) is None
    assert ChildActorExited in kinds(base.heard(parent))


def test_a_child_that_cannot_be_made_has_exited(base):
    """Its parent has an address, learns that no actor lives there, and can make another."""
    parent, child = family(base, Stillborn)

    base.tell(parent, (child, "hello?"), Recorder, (1, "hello!"))

    (exited,) = base.heard(parent)
    assert child == exited.childAddress
    assert ["hello!"] == base.heard(base.actor(parent).children[1])


# ── Errors ───────────────────────────────────────────────────────────────────────────────────


def test_a_message_that_cannot_be_handled_goes_back_to_its_sender(base):
    """With the traceback; the actor lives on."""
    parent, broken = family(base, Broken)
    error = ValueError("why")

    base.tell(parent, (broken, error))
    base.tell(parent, (broken, "still there?"))

    poison, answer = base.heard(parent)
    assert error is poison.poisonMessage
    assert "ValueError: why" in poison.details
    assert "still there?" == answer


def test_a_handler_that_raises_is_run_once(base):
    """On Thespian's base three times, with all its effects, which is why actorflow deviates."""
    parent, broken = family(base, Broken)

    base.tell(parent, (broken, ValueError("why")))

    assert base.runs_of_a_broken_handler == base.actor(broken).calls


def test_a_poisoned_message_is_not_answered_with_another(base):
    """Two broken actors would go on for ever."""

    class Touchy(Parent):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            super().receiveMessage(message, sender)
            if message == "hello" or isinstance(message, PoisonMessage):
                raise RuntimeError("I will not have this")

    parent = base.create(Touchy)
    base.tell(parent, Touchy)
    (child,) = base.actor(parent).children

    base.tell(parent, (child, "hello"))

    assert {PoisonMessage} == set(kinds(base.heard(parent)))
    assert {"hello"} == set(base.heard(child))


# ── Dead letters and names ───────────────────────────────────────────────────────────────────


def test_dead_letters_go_to_whoever_handles_them(base):
    """As long as that one wants them."""
    undertaker, gone = base.create(Undertaker), base.create(Recorder)
    base.tell(undertaker, True)
    base.tell(gone, ActorExitRequest())
    base.tell(gone, "too late")
    base.tell(undertaker, False)

    base.tell(gone, "later still")

    letters = [one for one in base.heard(undertaker) if isinstance(one, DeadEnvelope)]
    assert ["too late"] == [letter.deadMessage for letter in letters]


def test_whoever_asks_last_handles_the_dead_letters(base):
    """Who asked before gets none, not even when the last one has exited."""
    first, last = base.create(Undertaker), base.create(Undertaker)
    gone = base.create(Recorder)
    base.tell(gone, ActorExitRequest())
    base.tell(first, True)
    base.tell(last, True)
    actor = base.actor(last)

    base.tell(gone, "one")
    base.tell(last, ActorExitRequest())
    base.tell(gone, "two")

    assert ["one"] == [one.deadMessage for one in actor.heard if isinstance(one, DeadEnvelope)]
    assert [] == base.heard(first)


def test_a_global_name_means_one_actor(base):
    """For every asker; when it has exited, another may have the name."""
    named = base.create(Recorder, globalName="the one")
    name = base.actor(named).globalName

    class Namer(Recorder):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            self.heard.append(self.createActor(Parent, globalName="the one"))

    namer = base.create(Namer)
    base.tell(namer, "make it")
    base.tell(named, ActorExitRequest())
    base.tell(namer, "again")
    found, made = base.heard(namer)

    assert "the one" == name
    assert named == found
    assert made != named
    assert isinstance(base.actor(made), Parent)


# ── Wakeups ──────────────────────────────────────────────────────────────────────────────────


def test_wakeups_come_at_their_times_and_with_their_payloads(base):
    """Not before, and in the order of their times, not in that of asking."""
    sleeper = base.create(Sleeper)
    base.tell(sleeper, (3.0, "c"), (1.0, "a"), (timedelta(seconds=2), "b"))

    seen = []
    for seconds in (0.9, 0.2, 1.0, 1.0, 10.0):
        base.advance(seconds)
        seen.append([wakeup.payload for wakeup in base.heard(sleeper)])

    assert [[], ["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]] == seen
    assert {WakeupMessage} == set(kinds(base.heard(sleeper)))
    assert all(sleeper == sender for sender in base.actor(sleeper).senders)


def test_a_wakeup_for_the_dead_disturbs_nobody(base):
    """They cannot be cancelled."""
    sleeper, other = base.create(Sleeper), base.create(Sleeper)
    base.tell(sleeper, (1.0, "up"), ActorExitRequest())
    base.tell(other, (2.0, "up"))

    base.advance(3.0)

    assert base.actor(sleeper) is None
    assert ["up"] == [wakeup.payload for wakeup in base.heard(other)]

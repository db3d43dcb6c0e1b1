"""The production system: actors on an asyncio loop, told from any thread."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading

import pytest
from thespian.actors import Actor, ActorSystem

from actorflow.systems import EmbeddedSystem
from tests.support.stage import Loop, Recorder, embedded
from tests.support.thread_races import busy_switching, together

GUARD = 60
"""Seconds after which something that should happen at once never will."""


class Player(Actor):
    """Returns the ball as often as the game is to last; counts for everybody."""

    hits = 0

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Hit it."""
        if isinstance(message, int):
            Player.hits += 1
            if message:
                self.send(self.myAddress, message - 1)


@pytest.fixture
def ball():
    """A system in which mail never runs dry, on a loop where looking at the time takes time."""
    loop = Loop(tick=0.001)
    system, actors = embedded(loop)
    actors.tell(actors.createActor(Player), 10**9)
    Player.hits = 0
    return loop, system, actors


def hits_a_turn(loop):
    """How many messages are delivered before the loop's other guests get their turn."""
    before = Player.hits
    loop.iterate()
    return Player.hits - before


def test_a_turn_is_bounded(ball):
    """However much mail there is, the loop's other guests get their share."""
    loop, *_ = ball
    called = []
    loop.call_soon(called.append, "a guest")

    first = hits_a_turn(loop)

    assert ["a guest"] == called
    assert 0 < first < 10_000


def test_posts_from_other_threads_do_not_lengthen_the_turns(ball):
    """Each wakes the loop; none may add a chain of turns that lasts as long as there is mail."""
    loop, system, actors = ball
    listener = actors.createActor(Recorder)
    usual = max(hits_a_turn(loop) for _ in range(5))

    shares = []
    for _ in range(50):
        system.post_from_anywhere(listener, "news")
        shares.append(hits_a_turn(loop))

    assert max(shares) <= 3 * usual


def test_many_posts_from_other_threads_wake_the_loop_once():
    """Until it has turned; then the next one wakes it again."""
    loop = Loop()
    system, actors = embedded(loop)
    listener = actors.createActor(Recorder)

    counts = []
    for _ in range(2):
        for _ in range(100):
            system.post_from_anywhere(listener, "news")
        counts.append(loop.waiting)
        loop.run()

    assert [1, 1] == counts
    assert 200 == len(listener.actor.heard)


def test_a_wake_up_that_ctrl_c_interrupts_is_made_up_for(monkeypatch):
    """Another thread has posted in the meantime, and relies on it."""
    loop = Loop()
    system, actors = embedded(loop)
    listener = actors.createActor(Recorder)
    loop.run()

    def interrupted(*_arguments, **_options):
        monkeypatch.undo()
        system.post_from_anywhere(listener, "another's")
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        system.post_from_anywhere(listener, "one's own")
    loop.run()

    assert ["one's own", "another's"] == listener.actor.heard


def test_a_guest_that_delivers_keeps_within_the_bounds(ball):
    """The coroutine executor lets mail be delivered in its own time; and learns what is left."""
    loop, system, _ = ball
    loop.iterate()
    before = Player.hits

    more = system.deliver_some()

    assert more
    assert 0 < Player.hits - before < 10_000


def test_a_message_posted_before_the_loop_runs_is_delivered():
    """The queue is there before its reader."""
    loop = asyncio.new_event_loop()
    system = EmbeddedSystem(loop, contextvars.copy_context())
    recorder = ActorSystem(system, transientUnique=True).createActor(Recorder)
    system.post_from_anywhere(recorder, "early")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert ["early"] == recorder.actor.heard


def test_posting_to_a_closed_loop_is_refused():
    """The poster learns that it will not be read."""
    loop = asyncio.new_event_loop()
    system = EmbeddedSystem(loop, contextvars.copy_context())
    recorder = ActorSystem(system, transientUnique=True).createActor(Recorder)
    loop.close()

    with pytest.raises(RuntimeError, match="closed"):
        system.post_from_anywhere(recorder, "too late")


class Counter(Recorder):
    """Sets an event when it has heard as much as it waits for."""

    full = None
    expected = 0

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Count."""
        super().receiveMessage(message, sender)
        if len(self.heard) == Counter.expected:
            Counter.full.set()


@pytest.fixture
def busy():
    """Threads that interrupt each other at almost every instruction."""
    with busy_switching(often=0.2):
        yield


def test_nothing_is_lost_between_threads(busy):
    """Several post as fast as they can; all arrives, in each one's order."""
    posters, each = 4, 1_000

    async def main():
        Counter.full, Counter.expected = asyncio.Event(), posters * each
        system = EmbeddedSystem(asyncio.get_running_loop(), contextvars.copy_context())
        counter = ActorSystem(system, transientUnique=True).createActor(Counter)

        def post(poster):
            for number in range(each):
                system.post_from_anywhere(counter, (poster, number))

        threads = [threading.Thread(target=post, args=(poster,)) for poster in range(posters)]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(Counter.full.wait(), GUARD)
        for thread in threads:
            thread.join(GUARD)
        return counter.actor.heard

    heard = asyncio.run(main())
    for poster in range(posters):
        assert list(range(each)) == [number for who, number in heard if who == poster]


def test_a_single_post_to_a_sleeping_loop_wakes_it(busy):
    """Again and again: a wake-up that is lost once would hang here."""

    async def main():
        system = EmbeddedSystem(asyncio.get_running_loop(), contextvars.copy_context())
        heard = threading.Semaphore(0)

        class Echo(Actor):
            def receiveMessage(self, _message, _sender):  # noqa: N802 - Thespian's name
                heard.release()

        echo = ActorSystem(system, transientUnique=True).createActor(Echo)

        def post():
            for _ in range(500):
                system.post_from_anywhere(echo, "ping")
                assert heard.acquire(timeout=GUARD)

        await asyncio.to_thread(post)
        return heard

    async def guarded():
        return await asyncio.wait_for(main(), GUARD)

    assert not asyncio.run(guarded()).acquire(blocking=False)


def test_two_posts_that_meet_are_both_heard(busy):
    """Nothing is posted after them, so neither may rely on a wake-up that is over."""

    class Echo(Actor):
        def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
            message.release()

    async def main():
        system = EmbeddedSystem(asyncio.get_running_loop(), contextvars.copy_context())
        echo = ActorSystem(system, transientUnique=True).createActor(Echo)
        both = threading.Barrier(2)

        def post():
            heard = threading.Semaphore(0)
            for _ in range(300):
                both.wait(GUARD)
                system.post_from_anywhere(echo, heard)
                assert heard.acquire(timeout=GUARD)

        await asyncio.to_thread(together, post, post)

    asyncio.run(main())


def test_a_timer_fires_on_a_real_loop():
    """While nothing is posted."""

    async def main():
        fired = asyncio.Event()

        class Sleeper(Actor):
            def receiveMessage(self, message, _sender):  # noqa: N802 - Thespian's name
                if message == "sleep":
                    self.wakeupAfter(0.001)
                else:
                    fired.set()

        system = EmbeddedSystem(asyncio.get_running_loop(), contextvars.copy_context())
        actors = ActorSystem(system, transientUnique=True)
        actors.tell(actors.createActor(Sleeper), "sleep")
        await asyncio.wait_for(fired.wait(), GUARD)
        return fired.is_set()

    assert asyncio.run(main())


def test_several_systems_share_nothing():
    """Two on one loop and one on another, each with actors of the same names."""
    loop, other = Loop(), Loop()
    systems = [embedded(loop), embedded(loop), embedded(other)]
    recorders = [actors.createActor(Recorder, globalName="r") for _, actors in systems]
    for number, (system, _) in enumerate(systems):
        system.post_from_anywhere(recorders[number], number)

    loop.run()
    first = [list(recorder.actor.heard) for recorder in recorders]
    other.run()

    assert [[0], [1], []] == first
    assert [2] == recorders[2].actor.heard
    assert 3 == len(set(recorders))


def test_closing_one_system_leaves_the_other_alone():
    """Its mail and timers are its own."""
    loop = Loop()
    (closed, actors), (system, others) = embedded(loop), embedded(loop)
    gone, recorder = actors.createActor(Recorder), others.createActor(Recorder)
    actors.tell(gone, "never heard")
    others.tell(recorder, "heard")

    closed.close()
    loop.run()

    assert [] == gone.actor.heard
    assert ["heard"] == recorder.actor.heard
    assert not system._closed


def test_closing_leaves_nothing_on_the_loop():
    """Neither timers nor turns that do something."""
    loop = Loop()
    system, actors = embedded(loop)

    class Sleeper(Recorder):
        def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
            self.wakeupAfter(5.0)

    actors.tell(actors.createActor(Sleeper), "sleep")
    loop.run()

    system.close()
    loop.advance(10)

    assert 0 == loop.timers
    assert system.next_timer() is None


def test_turns_run_in_the_systems_context():
    """No variable of the first poster leaks into the actors."""
    variable = contextvars.ContextVar("variable", default="the system's")
    seen = []

    class Looker(Actor):
        def receiveMessage(self, _message, _sender):  # noqa: N802 - Thespian's name
            seen.append(variable.get())

    loop = Loop()
    system, actors = embedded(loop)
    looker = actors.createActor(Looker)

    def post():
        variable.set("the poster's")
        actors.tell(looker, "look")
        system.post_from_anywhere(looker, "look")

    contextvars.copy_context().run(post)
    loop.run()

    assert ["the system's"] * 2 == seen


def test_the_hosts_logging_is_left_alone():
    """Thespian's own bases add handlers to the root logger, or replace it."""
    root = logging.getLogger()
    before = [*root.handlers, root.level]

    _, actors = embedded(Loop())
    actors.createActor(Recorder)

    assert before == [*root.handlers, root.level]
    assert [] == logging.getLogger("Thespian").handlers


class Interrupted(Actor):
    """Defers a call, and is then interrupted."""

    called = 0

    def receiveMessage(self, message, sender):  # noqa: N802 - Thespian's name
        """Defer a call, unless it is the last message."""
        if message == "defer":
            self._myRef.put_off(self.call)
        else:
            raise KeyboardInterrupt

    def call(self):
        """Count the deferred calls."""
        Interrupted.called += 1


@pytest.mark.parametrize("guest", [False, True])
def test_what_ctrl_c_leaves_undelivered_is_delivered_in_a_later_turn(guest):
    """Deferred calls too, even if no message follows, on either way of delivery."""
    loop = Loop()
    system, actors = embedded(loop)
    target = actors.createActor(Interrupted)
    loop.run()
    Interrupted.called = 0
    for message in ("defer", "raise"):
        system.enqueue((target, message, system.system_cell))
    if not guest:
        system.deliver_later()
    with pytest.raises(KeyboardInterrupt):
        system.deliver_some() if guest else loop.iterate()
    loop.run()

    assert 1 == Interrupted.called


def test_timers_outlive_ctrl_c(monkeypatch):
    """The next one still rings, although none is added."""
    loop = Loop()
    system, actors = embedded(loop)
    listener = actors.createActor(Recorder)
    for delay in (1, 2):
        system.wake_after(listener, delay, delay)

    def interrupted():
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(system, "fire_timers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.advance(1)
    loop.advance(2)

    assert [1, 2] == [wakeup.payload for wakeup in listener.actor.heard]

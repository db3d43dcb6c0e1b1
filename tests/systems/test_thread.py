"""An event loop on a thread of its own."""

from __future__ import annotations

from actorflow.systems.thread import LoopThread

HANGS = 60.0


def test_a_loop_that_is_being_closed_is_not_woken():
    """That would write into a closed socket: SIGPIPE, which ends a program that heeds it."""
    thread, woken = LoopThread(), []
    loop = thread.start()
    close = loop.close

    def end_again_while_it_closes():
        loop.call_soon_threadsafe = lambda *call: woken.append(call)
        thread.end()
        close()

    loop.close = end_again_while_it_closes
    left = thread.stop(HANGS)

    assert (None, []) == (left, woken)


def test_a_thread_is_ended_as_often_as_anybody_likes():
    """Also when it has ended long ago."""
    thread = LoopThread()
    loop = thread.start()
    for _ in range(3):
        thread.end()
    thread.stop(HANGS)
    thread.end()

    assert loop.is_closed()

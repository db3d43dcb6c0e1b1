"""A door with a bounded number of places."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.running import Overloaded
from actorflow.orchestrator.admission import Admission
from actorflow.support.oneshot import Once

GUARD = 60
"""Seconds after which something that should happen at once never will."""


class Door(Admission):
    """A door that says when a caller has got in line."""

    def __init__(self, *places):
        super().__init__(*places)
        self.asked = threading.Semaphore(0)

    def _ask(self, ticket, *, may_wait):
        super()._ask(ticket, may_wait=may_wait)
        if may_wait:
            self.asked.release()


def enter(door, **options):
    """Go in; return the ticket."""
    ticket = door.ticket()
    door.enter(ticket, **options)
    return ticket


def enter_async(door):
    """Go in without blocking the loop; return the task, and the ticket."""
    ticket = door.ticket()
    return asyncio.ensure_future(door.enter_async(ticket)), ticket


def full(places=1):
    """A door with one place, and the ticket of the run that has it."""
    door = Door(places, 0)
    tickets = [enter(door, may_block=False) for _ in range(places)]
    return door, tickets[0]


class Waiter:
    """A thread that wants in."""

    def __init__(self, door):
        self.outcome = None
        self.ticket = door.ticket()
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._enter, args=(door,))
        self._thread.start()
        assert door.asked.acquire(timeout=GUARD)

    def _enter(self, door):
        try:
            door.enter(self.ticket)
        except OrchestratorClosed as error:
            self.outcome = error
        else:
            self.outcome = "in"
        self.over.set()

    def join(self):
        """Wait until it is in, or was turned away."""
        assert self.over.wait(GUARD)
        self._thread.join()
        return self.outcome


def test_there_is_room_for_active_and_for_queued_runs():
    """And not for one more; the error says how full it is."""
    door = Admission(2, 3)
    for _ in range(5):
        enter(door, may_block=False)

    with pytest.raises(Overloaded) as caught:
        enter(door, may_block=False)

    error = caught.value
    assert (2, 3, 2, 3) == (error.active, error.queued, error.max_active, error.max_queued)


def test_a_door_that_rejects_lets_nobody_wait():
    """Neither a thread nor a task, whatever they would like."""
    door = Admission(1, 0, rejects=True)
    enter(door)

    with pytest.raises(Overloaded):
        enter(door)
    with pytest.raises(Overloaded):
        asyncio.run(door.enter_async(door.ticket()))


def test_a_place_that_was_given_back_is_free():
    """For the next to come."""
    door, ticket = full()
    door.leave(ticket)

    enter(door)

    with pytest.raises(Overloaded):
        enter(door, may_block=False)


def test_those_who_wait_are_let_in_in_the_order_of_their_coming():
    """One for each who leaves."""
    door, ticket = full()
    first, second = Waiter(door), Waiter(door)

    door.leave(ticket)
    outcome = first.join()
    waiting = not second.over.is_set()
    door.leave(first.ticket)

    assert ("in", True, "in") == (outcome, waiting, second.join())


def test_nobody_slips_in_before_those_who_wait():
    """A place that is given back is theirs at once."""
    door, ticket = full()
    waiter = Waiter(door)
    door.leave(ticket)

    with pytest.raises(Overloaded):
        enter(door, may_block=False)
    assert "in" == waiter.join()


def test_a_closed_door_lets_nobody_in():
    """Whichever way it tries."""
    door = Admission(1, 1)
    door.close()

    for may_block in (True, False):
        with pytest.raises(OrchestratorClosed):
            enter(door, may_block=may_block)
    with pytest.raises(OrchestratorClosed):
        asyncio.run(door.enter_async(door.ticket()))


def test_those_who_wait_are_turned_away_when_the_door_closes():
    """They do not hang there for ever."""
    door, _ = full()
    waiters = [Waiter(door) for _ in range(3)]

    door.close()

    assert [OrchestratorClosed] * 3 == [type(waiter.join()) for waiter in waiters]


def test_a_task_waits_without_blocking_its_loop():
    """Until a place is free."""

    async def main():
        door, ticket = full()
        task, _ = enter_async(door)
        await asyncio.sleep(0)
        before = task.done()
        door.leave(ticket)
        await asyncio.wait_for(task, GUARD)
        return before

    assert not asyncio.run(main())


def test_a_task_that_gives_up_leaves_the_line():
    """Its place goes to the next one."""

    async def main():
        door, ticket = full()
        first, given_up = enter_async(door)
        second, _ = enter_async(door)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        door.leave(given_up)
        door.leave(ticket)
        await asyncio.wait_for(second, GUARD)
        return first.cancelled()

    assert asyncio.run(main())


def test_a_place_that_comes_in_the_instant_of_giving_up_is_not_lost():
    """The task is cancelled when the place is its own, and before it has noticed."""

    async def main():
        door, ticket = full()
        task, granted = enter_async(door)
        await asyncio.sleep(0)
        door.leave(ticket)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        door.leave(granted)
        enter(door, may_block=False)
        return task.cancelled()

    assert asyncio.run(main())


def test_an_interrupted_wait_gives_its_place_back(monkeypatch):
    """Ctrl-C while blocking: the line goes on without this one."""
    door, inside = full()
    mine = door.ticket()

    def interrupt(_ticket, timeout=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Once, "result", interrupt)
        with pytest.raises(KeyboardInterrupt):
            door.enter(mine)
    door.leave(mine)
    door.leave(inside)

    enter(door, may_block=False)


def test_no_place_is_lost_or_made_among_many():
    """Threads come, wait, and go; at the end all places are free."""
    door, most = Admission(3, 0), 3
    inside, seen, lock = set(), [], threading.Lock()

    def visit(number):
        for _ in range(50):
            ticket = enter(door)
            with lock:
                inside.add(number)
                seen.append(len(inside))
            with lock:
                inside.discard(number)
            door.leave(ticket)

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(GUARD)

    assert 400 == len(seen)
    assert max(seen) <= most
    for _ in range(most):
        enter(door, may_block=False)
    with pytest.raises(Overloaded):
        enter(door, may_block=False)


def test_leaving_twice_is_leaving_once():
    """An interrupted caller need not know whether it has left."""
    door, ticket = full(2)
    for _ in range(3):
        door.leave(ticket)

    assert 1 == door.free


def test_a_ticket_that_never_went_in_gives_nothing_back():
    """It was interrupted before it had asked."""
    door, _ = full()
    door.leave(door.ticket())

    assert 0 == door.free

"""The laws about messages, evictions and pauses between several orchestrators can be broken."""

from __future__ import annotations

import attrs
import pytest

from actorflow import Workflow
from actorflow.model.lifecycle import EventKind
from actorflow.testing import Cluster, Script, laws, returns
from actorflow.testing.cluster.pauses import Steered
from tests.support.doctored_traces import broken

CASES = []


def breaks(number, *others):
    """Keep a trace that breaks a law; and others with it, where it cannot be done otherwise."""

    def keep(doctor):
        name = doctor.__name__.replace("_", " ")
        CASES.append(pytest.param(sorted([number, *others]), doctor, id=f"{number}: {name}"))
        return doctor

    return keep


async def work():
    """Stand in for a step; its script says what it does."""


def pair():
    """Two steps, one after the other."""
    flow = Workflow("pair")
    flow.step(work, id="one", async_=True)
    flow.step(work, id="two", after="one", async_=True)
    return flow


RECEIVES = Script(default=returns(after=1.0).receiving("go"))
SLOW = Script({"one": returns(after=5.0), "two": returns(after=20.0)})


def mailed(*moments, **options):
    """The trace of a run whose steps each receive a message, through another orchestrator."""
    cluster = Cluster(**options)
    run_id = cluster.start(pair(), script=RECEIVES)
    for number, moment in enumerate(moments, 1):
        cluster.call_at(moment, lambda it: cluster.send(run_id, payload=it, orchestrator=1), number)
    return cluster.conclude()


def paused(until, *, down=None):
    """The trace of a run that was paused in its first step, whose owner may have died then."""
    cluster = Cluster()
    cluster.start(pair(), script=SLOW)
    cluster.advance(1.0)
    cluster.pause("run-1", orchestrator=1)
    if down is not None:
        cluster.crash(0, down=down)
    cluster.call_at(until, lambda: cluster.unpause("run-1", orchestrator=1))
    return cluster.conclude()


def slow(down=None):
    """The trace of a run that was never paused."""
    cluster = Cluster()
    cluster.start(pair(), script=SLOW)
    cluster.advance(1.0)
    if down is not None:
        cluster.crash(0, down=down)
    return cluster.conclude()


IN_ORDER = {
    "mailed": lambda: mailed(5.0, 20.0),
    "evicted": lambda: mailed(10.0, 30.0, evict_after=2.0),
    "paused": lambda: paused(20.0),
    "paused and taken over": lambda: paused(20.0, down=500.0),
}


def steered(trace, since, until):
    """The trace with a pause of the run at other times."""
    pauses = Steered(since, "run-1", True, 0), Steered(until, "run-1", False, 0)
    return attrs.evolve(trace, steered=pauses)


def with_received(trace, *numbers):
    """The trace with other messages in the events that say what was received."""
    left, events = list(numbers), []
    for event in trace.events:
        if event.kind is EventKind.STEP_RECEIVED:
            event = event._replace(data={**event.data, "message": left.pop(0)})  # noqa: PLW2901
        events.append(event)
    return attrs.evolve(trace, events=tuple(events))


def with_message(trace, place, **changes):
    """The trace with a message that was sent otherwise."""
    messages = list(trace.messages)
    messages[place] = messages[place]._replace(**changes)
    return attrs.evolve(trace, messages=tuple(messages))


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


@breaks(55)
def a_message_that_two_steps_consumed():
    """The second one is lost."""
    return with_received(mailed(5.0, 20.0), 1, 1)


@breaks(55)
def messages_that_were_received_the_other_way_round():
    """Both had been sent before the first wait."""
    trace = mailed(0.1, 0.2)
    first, second = trace.receipts
    swapped = first._replace(payload=second.payload), second._replace(payload=first.payload)
    return attrs.evolve(with_received(trace, 2, 1), receipts=swapped)


@breaks(55)
def a_message_that_changed_on_its_way():
    """A body got something else."""
    trace = mailed(5.0, 20.0)
    first, second = trace.receipts
    return attrs.evolve(trace, receipts=(first, second._replace(payload=object())))


@breaks(55)
def an_id_of_two_messages():
    """Both are in the record."""
    return with_message(with_message(mailed(5.0, 20.0), 0, id="a"), 1, id="a")


@breaks(55)
def a_message_that_an_ended_run_took():
    """Its sender believes that somebody reads it."""
    trace = mailed(5.0, 20.0)
    late = trace.messages[1]._replace(number=3, events=len(trace.events))
    return attrs.evolve(trace, messages=(*trace.messages, late))


@breaks(56)
def a_message_that_was_not_heard_of():
    """Until fifteen seconds later."""
    return with_message(mailed(5.0, 20.0), 1, time=6.0)


# ── Evictions ────────────────────────────────────────────────────────────────────────────────


@breaks(57)
def an_evicted_run_that_was_taken_for_no_reason():
    """Its owner had seen the message."""
    trace = mailed(10.0, 30.0, evict_after=2.0)
    first, *others = trace.slept
    return attrs.evolve(trace, slept=(first._replace(seen=1), *others))


@breaks(57)
def an_evicted_run_that_was_taken_before_its_time():
    """It was to be woken later."""
    cluster = Cluster(evict_after=2.0)
    cluster.start(pair(), script=Script({"one": returns(after=1.0).receiving("go", timeout=9.0)}))
    trace = cluster.conclude()
    (slept,) = trace.slept
    return attrs.evolve(trace, slept=(slept._replace(wake_at=slept.wake_at + 5.0),))


@breaks(57)
def an_attempt_that_went_on_under_another_number():
    """As if it had been cut off."""
    trace = mailed(10.0, 30.0, evict_after=2.0)
    events = list(trace.events)
    place = max(it for it, one in enumerate(events) if one.kind is EventKind.STEP_STARTED)
    events[place] = events[place]._replace(attempt=2)
    return attrs.evolve(trace, events=tuple(events))


@breaks(42)
def an_evicted_run_that_was_forgotten():
    """There had been a message for it long before it was taken."""
    return with_message(mailed(10.0, 30.0, evict_after=2.0), 0, time=4.0)


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────


@breaks(58)
def a_step_that_started_in_a_pause():
    """Its owner had long had to hear of that."""
    return steered(slow(), 0.1, 6.0)


@breaks(58)
def a_step_that_the_next_owner_started_in_a_pause():
    """It took the run after that."""
    return steered(slow(down=500.0), 4.0, 100.0)


@breaks(58)
def an_end_of_a_pause_that_was_not_heard_of():
    """The run stayed paused for much longer."""
    return steered(paused(20.0), 1.0, 8.0)


@breaks(58)
def a_run_that_was_paused_twice_in_a_row():
    """The record says so."""
    trace = paused(20.0)
    events = list(trace.events)
    place = next(it for it, one in enumerate(events) if one.kind is EventKind.STEP_COMPLETED)
    pause = next(one for one in events if one.kind is EventKind.RUN_PAUSED)
    events[place] = pause._replace(number=events[place].number)
    return attrs.evolve(trace, events=tuple(events))


# ── All of them ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trace", IN_ORDER.values(), ids=IN_ORDER)
def test_a_trace_that_is_in_order_keeps_all_laws(trace):
    """It is what the doctored ones are made of."""
    assert [] == broken(trace())


@pytest.mark.parametrize(("numbers", "doctor"), CASES)
def test_a_doctored_trace_breaks_the_law_that_it_is_doctored_against(numbers, doctor):
    """And no other, unless the one cannot be had without the others."""
    assert numbers == broken(doctor())


def test_each_law_about_mail_and_pauses_is_broken_by_a_doctored_trace():
    """A law that nothing can break says nothing."""
    first = {int(case.id.partition(":")[0]) for case in CASES}

    assert {law.number for law in laws.ALL if 55 <= law.number <= 58} | {42} == first

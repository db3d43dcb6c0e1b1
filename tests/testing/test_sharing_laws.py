"""The laws about several orchestrators: each can be broken, and drawn schedules keep them."""

from __future__ import annotations

import attrs
import pytest

from actorflow import Workflow
from actorflow.testing import Cluster, Script, laws, raises, returns
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


SLOW = Script({"one": returns(after=1.0), "two": returns(after=20.0)})
QUICK = Script(default=returns(after=1.0))


def crashed(down=500.0, **options):
    """The trace of a run whose owner died in the second step, and which was taken over."""
    cluster = Cluster(**options)
    cluster.start(pair(), script=SLOW)
    cluster.advance(2.0)
    cluster.crash(0, down=down)
    return cluster.conclude()


def paused():
    """The trace of a run that was taken from an owner that stood still."""
    cluster = Cluster()
    cluster.start(pair(), script=SLOW)
    cluster.advance(2.0)
    cluster.halt(0, 15.0)
    return cluster.conclude()


def three(**options):
    """The trace of three runs at once, in two orchestrators."""
    cluster = Cluster()
    for number in range(3):
        given = {name: values[number] for name, values in options.items()}
        cluster.start(pair(), script=QUICK, orchestrator=number % 2, **given)
    return cluster.conclude()


def merged():
    """The trace of two starts of which the second gave its inputs to the first."""
    cluster = Cluster()
    for number in range(2):
        metadata = {"request": number}
        cluster.start(
            pair(), script=QUICK, orchestrator=number, key="k", debounce=2.0, metadata=metadata
        )
    return cluster.conclude()


def scheduled(script=QUICK, **options):
    """The trace of a schedule that two orchestrators serve."""
    cluster = Cluster()
    cluster.schedule("often", pair(), script=script, every=5.0, **options)
    cluster.call_at(12.0, cluster.stop_schedule, "often")
    return cluster.conclude()


CHILD = Workflow("child")
CHILD.step(work, id="work", async_=True)
SAGA = Workflow("saga")
SAGA.step(work, id="work", async_=True, compensate=work)
SLOW_CHILD = Script(default=returns(after=20.0))


def family(body, *, two=None, cancel=None):
    """The trace of a pair, which can be undone and whose first step has children."""
    flow = Workflow("pair")
    flow.step(work, id="one", async_=True, compensate=work)
    flow.step(work, id="two", after="one", async_=True)
    cluster = Cluster()
    script = Script({"one": body, "two": two or returns(after=1.0)})
    run_id = cluster.start(flow, script=script)
    if cancel is not None:
        cluster.call_at(cancel, cluster.cancel, run_id)
    return cluster.conclude()


def with_link(trace, run_id, **changes):
    """The trace with a child that has another link to its parent."""
    parent = attrs.evolve(trace.accepted[run_id].parent, **changes)
    return with_run(trace, run_id, parent=parent)


IN_ORDER = {
    "a family": lambda: family(returns(after=1.0).running(CHILD)),
    "an undone family": lambda: family(returns(after=1.0).running(SAGA), two=raises(ValueError)),
    "crashed": crashed,
    "paused": paused,
    "three": three,
    "merged": merged,
    "scheduled": scheduled,
    "given up": lambda: crashed(max_takeovers=0),
    "overlapping": lambda: scheduled(SLOW, overlap="allow"),
    "skipping": lambda: scheduled(SLOW),
}


def with_run(trace, run_id, **changes):
    """The trace with a run that was accepted otherwise."""
    record = attrs.evolve(trace.accepted[run_id], **changes)
    return attrs.evolve(trace, accepted={**trace.accepted, run_id: record})


def with_process(trace, name, /, **changes):
    """The trace with a process of which something else is known."""
    processes = [
        attrs.evolve(one, **changes) if one.name == name else one for one in trace.processes
    ]
    return attrs.evolve(trace, processes=tuple(processes))


def with_schedule(trace, *, overlap="skip", **state):
    """The trace with another schedule."""
    (one,) = trace.schedules
    definition = attrs.evolve(one.definition, overlap=overlap)
    other = attrs.evolve(one, definition=definition, state=attrs.evolve(one.state, **state))
    return attrs.evolve(trace, schedules=(other,))


def place_of(trace, kind):
    """The place of the first event of a kind."""
    return next(place for place, event in enumerate(trace.events) if event.kind == kind)


# ── Owners ───────────────────────────────────────────────────────────────────────────────────


@breaks(40)
def an_owner_that_wrote_after_another_one_had_claimed_its_run():
    """With the fencing token that it had."""
    trace = crashed()
    late = trace.written[-1]._replace(owner="0.1", fence=1)
    return attrs.evolve(trace, written=(*trace.written[:-1], late))


@breaks(40)
def a_claim_that_left_the_fencing_token_as_it_was():
    """So that its former owner can still write."""
    trace = crashed()
    owned = [one._replace(fence=1) for one in trace.owned]
    written = [one._replace(fence=1) for one in trace.written]
    return attrs.evolve(trace, owned=tuple(owned), written=tuple(written))


@breaks(41, 5, 10, 49)
def a_step_that_was_done_again_by_the_next_owner():
    """Its end was recorded by the first one."""
    trace = crashed()
    part = trace.process("1.1").trace
    rows = [one._replace(step_id="one") for one in part.attempts]
    return with_process(trace, "1.1", trace=attrs.evolve(part, rows=tuple(map(tuple, rows))))


@breaks(41, 48)
def a_step_that_ended_twice():
    """Instead of another one that began."""
    trace = crashed()
    events, place = list(trace.events), place_of(trace, "run.resumed")
    ended = events[place_of(trace, "step.completed")]
    events[place] = ended._replace(number=events[place].number)
    return attrs.evolve(trace, events=tuple(events))


@breaks(42)
def a_run_that_was_left_alone():
    """While its orchestrator was there, as far as is known."""
    return attrs.evolve(crashed(60.0, orchestrators=1), absences=())


@breaks(43)
def a_request_that_was_not_heard():
    """The run completes as if nothing had been asked."""
    return attrs.evolve(crashed(), asked=((12.0, "run-1"),))


# ── Keys and schedules ───────────────────────────────────────────────────────────────────────


@breaks(44)
def three_runs_with_one_key_at_once():
    """Though one may wait."""
    trace = three()
    for run_id in trace.runs:
        trace = with_run(trace, run_id, key="k")
    return trace


@breaks(44)
def two_runs_in_progress_with_one_key():
    """Neither of them waits."""
    return with_run(with_run(three(), "run-1", key="k"), "run-2", key="k")


@breaks(44)
def an_idempotency_key_of_two_runs():
    """A caller who asks twice has two runs."""
    trace = three(idempotency_key=("a", "b", "c"))
    return with_run(trace, "run-2", idempotency_key="a")


@breaks(44)
def a_run_with_the_inputs_of_an_earlier_start():
    """Those that were given last are lost."""
    trace = merged()
    (one,) = trace.merged
    other = one._replace(record=attrs.evolve(one.record, metadata={"request": 2}))
    return attrs.evolve(trace, merged=(other,))


@breaks(45)
def a_nominal_time_with_two_runs():
    """One for each orchestrator."""
    trace = scheduled()
    first, second = (trace.accepted[run_id].metadata for run_id in trace.accepted)
    assert first != second
    return with_run(trace, "run-2", metadata=first)


@breaks(45)
def a_run_that_overlaps_the_one_before():
    """The schedule says that it must not."""
    return with_schedule(scheduled(SLOW, overlap="allow"))


@breaks(45)
def a_run_that_was_not_counted():
    """It was started all the same."""
    return with_schedule(scheduled(), fired=1, missed=1)


@breaks(45)
def a_nominal_time_that_was_lost():
    """It is neither fired nor skipped nor missed."""
    trace = scheduled(SLOW)
    return with_schedule(trace, skipped=trace.schedules[0].state.skipped - 1)


@breaks(51)
def a_run_that_started_too_early():
    """It was for later."""
    return with_run(three(), "run-1", start_at=5.0)


# ── The record ───────────────────────────────────────────────────────────────────────────────


@breaks(46)
def a_run_that_was_taken_from_a_healthy_owner():
    """Which had just renewed its lease."""
    trace = paused()
    taken = next(one for one in trace.owned if one.owner == "1.1")
    renewed = [*trace.renewed]
    renewed[taken.renewals - 1] = taken.time - 1.0, "0.1"
    return attrs.evolve(trace, renewed=tuple(renewed))


@breaks(46)
def an_owner_that_did_not_renew_its_lease():
    """Although nothing kept it from that."""
    return attrs.evolve(paused(), absences=())


@breaks(47)
def an_accepted_run_that_is_not_in_the_record():
    """Its caller has its id."""
    trace = crashed()
    return attrs.evolve(trace, acknowledged=(*trace.acknowledged, "run-2"))


@breaks(47)
def a_run_without_an_end():
    """Nothing is left to happen."""
    trace = crashed()
    return attrs.evolve(trace, events=trace.events[:-1], written=trace.written[:-1])


@breaks(48)
def a_record_with_a_gap():
    """One event is missing, as the numbers tell."""
    trace = crashed()
    last = trace.events[-1]
    return attrs.evolve(trace, events=(*trace.events[:-1], last._replace(number=last.number + 1)))


@breaks(49)
def an_owner_that_did_not_learn_that_it_had_lost_its_run():
    """It was there again long before the end."""
    return with_process(paused(), "0.1", lost=())


@breaks(50)
def a_run_that_went_on_after_too_many_crashes():
    """It was allowed none."""
    trace = crashed()
    return attrs.evolve(trace, settings=attrs.evolve(trace.settings, max_takeovers=0))


@breaks(50)
def a_run_that_was_given_up_too_early():
    """It was allowed ten."""
    trace = crashed(max_takeovers=0)
    return attrs.evolve(trace, settings=attrs.evolve(trace.settings, max_takeovers=10))


# ── Families ─────────────────────────────────────────────────────────────────────────────────


@breaks(59)
def a_call_with_two_children():
    """Both are there at once."""
    trace = family(returns(after=1.0).running(CHILD, waits=False).running(CHILD, waits=False))
    return with_link(trace, "run-1.one.2", call="1")


@breaks(60)
def a_step_that_went_on_without_its_child():
    """It had said that it waited for it."""
    body = returns(after=1.0).running(CHILD, script=SLOW_CHILD, waits=False).waiting(1.0)
    trace, events = family(body), []
    for event in trace.events:
        waits = event.kind == "step.suspended"
        data = {"reason": "run run-1.one.1"} if waits else event.data
        events.append(event._replace(data=data))
    return attrs.evolve(trace, events=tuple(events))


@breaks(61)
def a_child_that_was_not_told_of_its_parents_end():
    """It was abandoned, and so it runs to its own end."""
    body = returns(after=1.0).running(CHILD, script=SLOW_CHILD, on_parent_end="abandon")
    return with_link(family(body, cancel=3.0), "run-1.one.1", on_end="cancel")


@breaks(62)
def a_child_that_was_not_undone_with_its_parent():
    """It was abandoned, and so what it has done stays."""
    body = returns(after=1.0).running(SAGA, on_parent_end="abandon")
    trace = family(body, two=raises(ValueError, after=20.0))
    return with_link(trace, "run-1.one.1", on_end="cancel")


@breaks(63)
def a_parent_that_waited_for_a_child_that_had_ended():
    """Its process was there, and did not look."""
    body = returns(after=1.0).running(CHILD, then=1.0)
    trace = family(body, two=returns(after=60.0))
    part = trace.process("0.1").trace
    (wait,) = part.waits
    late = wait._replace(woken_at=50.0)
    return with_process(trace, "0.1", trace=attrs.evolve(part, pauses=(tuple(late),)))


# ── All of them ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trace", IN_ORDER.values(), ids=IN_ORDER)
def test_a_trace_that_is_in_order_keeps_all_laws(trace):
    """It is what the doctored ones are made of."""
    assert [] == broken(trace())


@pytest.mark.parametrize(("numbers", "doctor"), CASES)
def test_a_doctored_trace_breaks_the_law_that_it_is_doctored_against(numbers, doctor):
    """And no other, unless the one cannot be had without the others."""
    assert numbers == broken(doctor())


SEVERAL = {*range(40, 52), *range(59, 64)}


def test_each_law_about_several_orchestrators_is_broken_by_a_doctored_trace():
    """A law that nothing can break says nothing."""
    first = {int(case.id.partition(":")[0]) for case in CASES}

    assert {law.number for law in laws.ALL if law.number in SEVERAL} == first

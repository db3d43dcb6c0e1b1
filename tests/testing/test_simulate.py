"""Runs in virtual time: what attempts do, how faults strike, and what the trace says of it."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError, MissingInput
from actorflow.errors.running import StepTimeout
from actorflow.testing import (
    Choices,
    Faults,
    NotEnded,
    Outcome,
    Script,
    Simulation,
    StoreFault,
    Tape,
    either,
    hangs,
    laws,
    raises,
    real,
    returns,
    simulate,
)
from actorflow.testing.trace.labels import Names
from docs.examples.lesson import flow as lesson
from tests.support.brain import flow, nothing, step, task
from tests.support.stage import Stage

RETRIED = RetryPolicy(max_attempts=3, initial_interval=1.0, jitter=0.0)
ALL_FAULTS = Faults(
    crashes=2,
    poisons=1,
    duplicates=2,
    delays=2,
    cancels=1,
    restarts=1,
    late_results=1,
    store_failures=1,
    store_stalls=1,
)


async def coroutine():
    """The function of a coroutine step that nobody calls."""


def async_step(id, *after, **options):
    """A coroutine step that runs beside others."""
    return Step(id, coroutine, after=after, async_=True, **options)


def kinds(trace):
    """The events, briefly."""
    return [f"{event.kind} {event.step_id or event.run_id}" for event in trace.events]


def outcomes(trace):
    """What became of each attempt."""
    return [(f"{one.step_id}#{one.attempt}", one.outcome) for one in trace.attempts]


# ── One run ──────────────────────────────────────────────────────────────────────────────────


def test_a_run_takes_the_time_that_its_script_says():
    """In virtual seconds, of which none passes really."""
    script = Script({"a": returns("of a", after=3600), "b": returns("of b", after=86400.5)})

    trace = simulate(flow(task("a"), task("b", "a")), script=script)

    assert "completed" == trace.result.status
    assert {"a": "of a", "b": "of b"} == dict(trace.result.outputs)
    assert 90000.5 == trace.duration == trace.result.duration
    assert [(0.0, 3600.0), (3600.0, 90000.5)] == [
        (one.started_at, one.finished_at) for one in trace.attempts
    ]


def test_the_plainest_schedule_needs_no_tape():
    """Every step takes a second, and returns what it is."""
    trace = simulate(flow(task("a"), task("b", "a")))

    assert {"a": "a#1", "b": "b#1"} == dict(trace.result.outputs)
    assert 2.0 == trace.duration
    assert Tape() == trace.tape
    assert trace.quiescent
    assert trace.leftovers.nothing
    assert () == trace.defects


def test_attempts_get_what_their_dependencies_returned():
    """The executor sees the arguments that production would call the function with."""

    def join(a, b, greeting):
        return None

    joined = Step("c", join, after=["a", "b"])
    trace = simulate(flow(task("a"), task("b"), joined), {"greeting": "hello"})

    assert {"a": "a#1", "b": "b#1", "greeting": "hello"} == dict(trace.attempts[2].arguments)


def test_a_failure_is_retried_after_its_backoff():
    """As often as the policy says; the script knows which attempt it is."""
    script = Script({"a": [raises(ValueError("1")), raises(KeyError, after=2), returns("at last")]})

    trace = simulate(flow(task("a", retry=RETRIED)), script=script)

    assert {"a": "at last"} == dict(trace.result.outputs)
    assert [("a#1", "raised"), ("a#2", "raised"), ("a#3", "returned")] == outcomes(trace)
    assert [0.0, 2.0, 6.0] == [one.started_at for one in trace.attempts]
    assert [ValueError, KeyError, type(None)] == [type(one.error) for one in trace.attempts]


def test_a_failure_may_be_retried_at_once():
    """The next attempt starts at the moment at which the first one has failed; law 12 holds."""
    policy = RetryPolicy(initial_interval=0)
    script = Script({"a": [raises(KeyError(), after=1), returns(7, after=1)]})

    trace = simulate(flow(task("a", retry=policy)), script=script)
    laws.check(trace)

    assert [(0.0, 1.0), (1.0, 2.0)] == [(it.started_at, it.finished_at) for it in trace.attempts]
    assert {"a": 7} == dict(trace.result.outputs)


def test_a_coroutine_that_hangs_is_cancelled_when_its_timeout_passes():
    """It is stopped, and its attempt is over at that moment."""
    trace = simulate(flow(async_step("a", timeout=2.0)), script=Script({"a": hangs()}))

    (one,) = trace.attempts
    assert (Outcome.STOPPED, 2.0) == (one.outcome, one.finished_at)
    assert isinstance(one.error, asyncio.CancelledError)
    assert isinstance(trace.result.error, StepTimeout)
    assert 2.0 == trace.duration


def test_a_plain_function_that_hangs_is_abandoned_when_its_timeout_passes():
    """Nobody can stop a thread."""
    trace = simulate(flow(task("a", timeout=2.0)), script=Script({"a": hangs()}))

    assert [("a#1", Outcome.ABANDONED)] == outcomes(trace)
    assert 2.0 == trace.duration


def test_a_plain_function_that_is_not_wanted_any_more_gets_the_grace():
    """It ends within it, or is abandoned after it."""
    steps = flow(task("bad"), task("quick"), task("slow"))
    script = Script({"bad": raises(ValueError), "quick": returns(after=3), "slow": hangs()})

    trace = simulate(steps, script=script, async_workers=3, stop_grace=4.0)

    ends = {one.step_id: (one.outcome, one.finished_at) for one in trace.attempts}
    assert (Outcome.RETURNED, 3.0) == ends["quick"]
    assert (Outcome.ABANDONED, 5.0) == ends["slow"]


def test_a_stubborn_coroutine_is_abandoned_after_the_grace():
    """It goes on although it was cancelled."""
    trace = simulate(
        flow(async_step("a", timeout=2.0)), script=Script({"a": hangs(stubborn=True)}), stop_grace=3
    )

    (one,) = trace.attempts
    assert (Outcome.ABANDONED, 5.0) == (one.outcome, one.finished_at)
    assert "step.abandoned a" in kinds(trace)


def test_an_attempt_that_is_to_stop_before_it_begins_was_never_in_flight():
    """Its timeout has passed while its message was on the way."""
    # Mail waits when the timer fires: the second option of the last choice.
    found = []
    for number in range(40):
        tape = Tape({"deliver": [0] * number + [1] * 3})
        trace = simulate(flow(async_step("a", timeout=2.0)), tape=tape)
        found += [one for one in trace.attempts if one.outcome is Outcome.NOT_BEGUN]

    assert found
    assert {True} == {one.started_at == one.finished_at for one in found}


def test_the_executors_count_what_is_in_flight_themselves():
    """Async attempts; those of the sync lane hold no worker."""
    trace = simulate(
        flow(*[task(f"s{number}") for number in range(5)], step("s5")), async_workers=3
    )

    assert 3 == trace.max_in_flight
    assert {"s5"} == {one.step_id for one in trace.attempts if not one.async_}


def test_a_run_that_hangs_has_no_result():
    """And says which attempt it is that never ends."""
    trace = simulate(flow(task("a"), task("b")), script=Script({"b": hangs()}))

    assert trace.quiescent
    assert {} == dict(trace.results)
    with pytest.raises(NotEnded, match=r"'run-1' has not ended: b#1 never ends. Give it a timeout"):
        _ = trace.result


def test_a_run_can_be_cancelled_at_a_virtual_moment():
    """What runs is stopped, what waits never starts."""
    trace = simulate(flow(async_step("a"), async_step("b", "a")), cancel_at=0.5)

    assert "cancelled" == trace.result.status
    assert [("a#1", Outcome.STOPPED)] == outcomes(trace)
    assert 0.5 == trace.duration


def test_what_a_run_needs_is_asked_for_as_in_production():
    """Definitions and inputs are checked by the same code."""

    def needs(url):
        return url

    with pytest.raises(MissingInput, match="url"):
        simulate(flow(Step("a", needs)))
    with pytest.raises(TypeError, match="no option 'colour'"):
        simulate(flow(task("a")), colour="red")


def test_the_runs_options_are_those_of_production():
    """Its timeout, for one."""
    trace = simulate(flow(async_step("a")), timeout=0.25)

    assert ("failed", 0.25) == (trace.result.status, trace.duration)
    assert 0.25 == trace.runs["run-1"].timeout


# ── Undoing ──────────────────────────────────────────────────────────────────────────────────


def test_a_failed_run_is_undone_as_its_script_says():
    """What compensators do is said apart from what steps do, by the steps' ids."""
    script = Script(
        {"c": raises(ValueError("no"))},
        compensators={"a": [raises(OSError("busy")), returns(after=3)], "b": raises(KeyError("b"))},
    )
    steps = flow(
        task("a", compensate=Step("undo", nothing, retry=RETRIED)),
        task("b", "a", compensate=nothing),
        task("c", "b"),
    )

    trace = simulate(steps, script=script)

    assert (("a",), ("b",)) == (trace.result.compensated, trace.result.uncompensated)
    assert [("b", 1, 3.0, 4.0), ("a", 1, 4.0, 5.0), ("a", 2, 6.0, 9.0)] == [
        (one.step_id, one.attempt, one.started_at, one.finished_at) for one in trace.compensations
    ]
    assert [("a#1", "returned"), ("b#1", "returned"), ("c#1", "raised")] == outcomes(trace)
    assert trace.leftovers.nothing
    assert () == trace.defects


def test_compensators_can_be_run_for_real():
    """They get what their step saw and what it made, as in production."""
    undone = []
    steps = flow(
        Step("a", lambda: 1, compensate=lambda a, ctx: undone.append((a, ctx.idempotency_key))),
        Step("b", coroutine, after="a", async_=True),
    )

    simulate(steps, script=Script({"b": raises(ValueError)}, default=real()))

    assert [(1, "run-1:a:compensate")] == undone


def test_what_a_compensator_does_may_be_left_to_the_tape():
    """By a name of its own."""
    steps = flow(task("a", compensate=nothing), task("b", "a"))
    script = Script({"b": raises(ValueError)})

    trace = simulate(steps, script=script, tape=Tape({"take undo of a#1": [3]}))

    assert [("a", 2.0, 7.0)] == [
        (one.step_id, one.started_at, one.finished_at) for one in trace.compensations
    ]


def test_a_chart_tells_of_undoing():
    """Apart from doing."""
    steps = flow(task("a", compensate=nothing), task("b", "a"))
    script = Script({"b": raises(ValueError("no"))}, compensators={"a": raises(OSError("busy"))})

    chart = simulate(steps, script=script).chart()

    assert "undo of a#1 is granted" in chart
    assert "undo of a#1 raised OSError: busy\n" in chart
    assert "run-1 compensating: ValueError: no" in chart
    assert "undo of a failed: OSError: busy" in chart


def test_a_script_names_compensators_that_are_there():
    """A misspelt one would be done by default, and nobody would know."""
    with pytest.raises(
        DefinitionError, match=r"compensator of step 'b', which has none.*Name one of: a"
    ):
        simulate(
            flow(task("a", compensate=nothing), task("b")),
            script=Script(compensators={"b": returns()}),
        )


def test_an_orchestrator_that_crashes_while_a_run_is_undone_goes_on_undoing():
    """When the run is resumed: what was undone is not undone again."""
    steps = flow(task("a", compensate=nothing), task("b", "a", compensate=nothing), task("c", "b"))
    with Simulation(script=Script({"c": raises(ValueError("no"))})) as simulation:
        run_id = simulation.start(steps)
        simulation.advance(4.5)
        simulation.crash()
        simulation.resume(run_id)
        simulation.run_until_quiet()
        trace = simulation.trace()

    assert ["b", "a", "a"] == [one.step_id for one in trace.compensations]
    assert ("b", "a") == trace.result.compensated
    assert ("failed", "c") == (trace.result.status, trace.result.failed_step)


def test_a_run_can_be_cancelled_and_undone():
    """When that is asked for."""
    with Simulation() as simulation:
        run_id = simulation.start(flow(task("a", compensate=nothing), async_step("b", "a")))
        simulation.advance(1.5)
        simulation.cancel(run_id, compensate=True)
        simulation.run_until_quiet()

    assert ("cancelled", ("a",)) == (
        simulation.results[run_id].status,
        simulation.results[run_id].compensated,
    )


@pytest.mark.parametrize("seed", range(60))
def test_undoing_survives_every_fault(seed):
    """Nothing hangs, nothing is left, and what is recorded tells what was undone."""
    undo = Step("undo", coroutine, async_=True, retry=RETRIED, timeout=2.0)
    steps = flow(
        async_step("a", compensate=undo, retry=RETRIED),
        task("b", "a", compensate=nothing),
        async_step("c", "a", compensate=undo, timeout=5.0),
        step("d", "b", "c"),
    )
    script = Script(
        {"d": raises(ValueError("no"), after=None)},
        default=either(returns(after=None), returns(after=None), raises(OSError, after=None)),
    )
    with Simulation(script=script, tape=random.Random(seed), faults=ALL_FAULTS) as simulation:
        simulation.start(steps)
        simulation.run_until_quiet()
        trace = simulation.trace()
    events = trace.events_of("run-1")
    ended = [one.step_id for one in events if one.kind == "compensation.completed"]

    assert () == trace.defects
    assert trace.leftovers.nothing
    assert "run-1" in trace.results
    assert len(set(ended)) == len(ended)


# ── Choices ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("choice", "seconds"), [(0, 1.0), (1, 0.0), (2, 2.0), (3, 5.0), (4, 7.0)])
def test_a_duration_that_is_left_open_is_chosen(choice, seconds):
    """A second, or one of a few others; one of them is just the step's timeout."""
    trace = simulate(flow(task("a", timeout=7.0)), tape=Tape({"take a#1": [choice]}))

    assert seconds == trace.attempts[0].started_at + seconds
    assert seconds in {trace.duration, trace.attempts[0].finished_at}


def test_a_choice_of_an_attempt_is_known_by_the_attempt():
    """However many others are made before it."""
    steps = flow(task("a"), task("b"), task("c", "a", "b"))

    trace = simulate(steps, tape=Tape({"take c#1": [2]}))

    assert {"a": 1.0, "b": 1.0, "c": 2.0} == {
        one.step_id: one.finished_at - one.started_at for one in trace.attempts
    }


def test_an_attempt_may_do_either_of_several_things_by_choice():
    """The first of them without a tape."""
    script = Script({"a": either(returns("well"), raises(ValueError("ill")))})
    plain, other = (
        simulate(flow(task("a")), script=script, tape=tape)
        for tape in (None, Tape({"do a#1": [1]}))
    )

    assert {"a": "well"} == dict(plain.result.outputs)
    assert "ill" == str(other.result.error)


@pytest.mark.parametrize("choice", [0, 1])
def test_a_body_that_ends_just_when_its_timeout_passes_has_timed_out(choice):
    """Whichever of the two is noticed first."""
    script = Script({"a": returns("in time", after=2)})
    workflow = flow(async_step("a", timeout=2.0))

    trace = simulate(workflow, script=script, tape=Tape({"timer": [choice]}))

    assert ("timer", choice, 2) in trace.choices
    assert isinstance(trace.result.error, StepTimeout)


def test_a_result_whose_mail_is_late_loses_against_the_timeout():
    """It was there in time; with a race the timer may fire before the mail is delivered."""
    script = Script({"a": returns("in time", after=1.5)})
    workflow = flow(async_step("a", timeout=2.0))
    with_race, without = (
        {
            simulate(workflow, script=script, tape=random.Random(seed), race=race).result.status
            for seed in range(30)
        }
        for race in (True, False)
    )

    assert {"completed", "failed"} == with_race
    assert {"completed"} == without


@pytest.mark.parametrize(("choice", "least", "most"), [(0, 2, 2), (1, 1.5, 1.5), (2, 2.4, 2.5)])
def test_the_jitter_of_a_backoff_is_chosen(choice, least, most):
    """In the middle, or at either end."""
    policy = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0.5)
    script = Script({"a": [raises(ValueError), returns()]})

    trace = simulate(flow(task("a", retry=policy)), script=script, tape=Tape({"jitter": [choice]}))

    assert least <= trace.attempts[1].started_at <= most


def test_choices_may_be_made_by_hand():
    """With a bias, or to be looked at afterwards."""
    choices = Choices(random.Random(1), bias=0.5)

    trace = simulate(flow(task("a"), task("b")), tape=choices)

    assert choices.used
    assert list(trace.choices) == choices.used


class Overrun(BaseException):
    """What a property-based test framework raises to end a test at once."""


@pytest.mark.parametrize("label", ["deliver", "take a#1", "jitter"])
def test_what_a_source_raises_reaches_whoever_simulates(label):
    """Wherever the choice was: actors outlive what is raised in them, and the test must not."""
    asked = []

    def choose(_options, about):
        asked.append(about)
        if about == label:
            raise Overrun
        return 0

    script = Script({"a": [raises(ValueError, after=None), returns()]})
    with pytest.raises(Overrun):
        simulate(flow(task("a", retry=RETRIED), task("b")), script=script, tape=choose)

    assert 1 == asked.count(label)


def test_a_run_can_be_started_at_a_virtual_moment():
    """While another one is under way."""
    simulation = Simulation()
    simulation.start(flow(task("a")), script=Script({"a": returns(after=5.0)}))
    simulation.call_at(2.0, simulation.start, flow(task("b")))

    simulation.run_until_quiet()

    assert [0.0, 2.0] == [one.started_at for one in simulation.trace().attempts]


def test_what_is_offered_can_be_seen_by_whoever_chooses():
    """Receiver, message and sender of each option."""
    simulation = Simulation(tape=lambda _options, _label: seen.append(simulation.offered) or 0)
    seen = []
    simulation.start(flow(task("a"), task("b")))

    simulation.run_until_quiet()

    assert seen
    assert {3} == {len(envelope) for offered in seen for envelope in offered}


@pytest.mark.slow
@pytest.mark.parametrize("faults", [Faults(), Faults(crashes=2, restarts=1, duplicates=2)])
def test_a_schedule_leaves_nothing_to_the_garbage_collector(faults):
    """To find it would take longer than the schedule."""
    script = Script({"b": raises(ValueError)})
    definition = flow(task("a"), task("b", "a", retry=RETRIED, timeout=1.5), task("c"))
    simulate(definition, script=script)
    gc.collect()
    gc.disable()
    try:
        for seed in range(20):
            simulate(definition, script=script, tape=random.Random(seed), faults=faults)
        left = gc.collect()
    finally:
        gc.enable()

    assert 0 == left


# ── Like production ──────────────────────────────────────────────────────────────────────────


def deliveries_of(system):
    """Have a system keep what it delivers; returns the list that it keeps it in."""
    delivered = []
    deliver = system.deliver

    def noting(batch):
        deliver(noted(batch))

    def noted(batch):
        for envelope in batch:
            delivered.append(envelope)
            yield envelope

    system.deliver = noting
    return delivered


class NotedStage(Stage):
    """A stage on the embedded base that keeps what it delivers, from the first message on."""

    def _set(self, *arguments):
        self.delivered = deliveries_of(self.system)
        super()._set(*arguments)


def said(envelopes):
    """Messages as who says what to whom, without what only one of the hosts has."""
    names = Names(envelopes)
    told = [names.of(envelope) for envelope in envelopes]
    return [
        ("outside" if sender in {"caller", "executor"} else sender, receiver, message)
        for sender, receiver, message in told
    ]


def test_the_plainest_schedule_of_the_lesson_is_the_one_of_the_embedded_base():
    """Message by message and event by event, with attempts that end in the same order."""
    stage = NotedStage(async_workers=2, random=lambda: 0.5)
    stage.start(lesson, "run-1", inputs={"url": "an address"})
    ends = ["fetch", "process", "enrich", "analyze", "aggregate"]
    for step_id in ends:
        stage.end(step_id, f"{step_id}#1", run_id="run-1")

    durations = dict(zip(ends, (1.0, 1.0, 1.5, 1.0, 1.0), strict=True))
    script = Script({name: returns(after=seconds) for name, seconds in durations.items()})
    trace = simulate(lesson, {"url": "an address"}, script=script)

    wakeups = ("supervisor", "supervisor", "WakeupMessage")
    expected = [line for line in said(stage.delivered) if line != wakeups]
    simulated = said([envelope for _, envelope in trace.envelopes])
    assert expected == [line for line in simulated if line != wakeups]
    assert [(event.number, event.kind, event.step_id) for event in stage.shown] == [
        (event.number, event.kind, event.step_id) for event in trace.events
    ]


# ── Faults ───────────────────────────────────────────────────────────────────────────────────


def many(faults, seeds=60, **options):
    """Schedules by chance, of a few steps with retries."""
    steps = [
        async_step("a", timeout=2.0, retry=RETRIED),
        step("b", "a", retry=RETRIED),
        task("c", "a", retry=RETRIED),
        task("d", "b", "c", required=False),
    ]
    return [
        simulate(flow(*steps), tape=random.Random(seed), faults=faults, **options)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        (Faults(crashes=1), "crash"),
        (Faults(poisons=1), "poison"),
        (Faults(duplicates=1), "duplicate"),
        (Faults(delays=1), "delay"),
    ],
)
def test_messages_are_struck_by_the_faults_that_are_allowed(faults, found):
    """At most as often as they are; and every run ends all the same."""
    traces = many(faults)
    struck = [len(trace.faults) for trace in traces]

    assert {found} == {fault.fault for trace in traces for fault in trace.faults}
    assert {0, 1} == set(struck)
    assert all(trace.results and trace.leftovers.nothing for trace in traces)
    assert [()] * len(traces) == [trace.defects for trace in traces]


def test_a_crash_strikes_steps_and_runs_and_never_the_supervisor():
    """It is what production promises to survive."""
    struck = {fault.receiver for trace in many(Faults(crashes=2), 200) for fault in trace.faults}

    assert {"run-1", "a", "b", "c", "d"} == struck


def test_a_run_may_be_cancelled_by_the_schedule():
    """At any moment."""
    traces = many(Faults(cancels=1), 100)
    cancelled = {trace.duration for trace in traces if trace.result.status == "cancelled"}

    assert len(cancelled) > 3
    assert {"completed", "cancelled"} <= {trace.result.status for trace in traces}


def test_an_orchestrator_that_crashes_is_followed_by_one_that_resumes():
    """Its attempts are lost, what was recorded is kept, and the run ends."""
    traces = many(Faults(restarts=1), 100)
    resumed = [trace for trace in traces if "run.resumed run-1" in kinds(trace)]
    lost = [trace for trace in traces for one in trace.attempts if one.outcome is Outcome.LOST]

    assert resumed
    assert lost
    assert all(trace.results and trace.leftovers.nothing for trace in traces)
    assert all(
        [*range(1, len(trace.events) + 1)] == [event.number for event in trace.events]
        for trace in resumed
    )


def test_a_cancelled_run_gets_the_grace_of_a_shutdown_as_well():
    """From the beginning of the shutdown, here just before the first grace is over."""
    script = Script({"a": returns(after=1.5)})
    with Simulation(script=script, stop_grace=1.0) as simulation:
        run_id = simulation.start(flow(step("a")))
        simulation.advance(0.1)
        simulation.cancel(run_id)
        simulation.advance(0.8)
        simulation.hand_over(grace=1.0)
        for moment in (1.2, 1.3):  # the law looks whenever time passes
            simulation.call_at(moment, lambda: None)
        simulation.run_until_quiet()

        assert 1.5 == simulation.trace().events[-1].time
        laws.check(simulation.trace())


def test_a_late_result_comes_from_an_attempt_that_was_abandoned():
    """Only if the schedule says so."""

    def late(trace):
        return [one for one in trace.attempts if one.outcome == "abandoned" and one.output]

    workflow = flow(task("a", timeout=2.0, retry=RETRIED))
    script = Script({"a": [returns("late", after=9), returns("in time")]})
    without = simulate(workflow, script=script)
    with_it = simulate(
        workflow, script=script, faults=Faults(late_results=1), tape=Tape({"late result": [1]})
    )

    assert ([], ["late"]) == (late(without), [one.output for one in late(with_it)])
    assert "in time" == with_it.result.output
    assert 2 == sum("AttemptFinished" in one.message for one in with_it.deliveries)


def test_a_write_that_stalls_holds_up_what_follows_from_it():
    """Nothing is acknowledged before it is recorded."""
    tape = Tape({"store stalls": [1], "stall for": [2]})

    trace = simulate(flow(task("a")), faults=Faults(store_stalls=1), tape=tape)

    assert 5.0 == trace.attempts[0].started_at
    assert "completed" == trace.result.status
    assert any(one.writes for one in trace.idle)


def test_a_write_that_fails_ends_the_run_and_its_record():
    """A record has no holes: what happens after it is not recorded either."""
    tape = Tape({"store fails": [2]})

    trace = simulate(flow(task("a"), task("b", "a")), faults=Faults(store_failures=1), tape=tape)

    assert "failed" == trace.result.status
    assert isinstance(trace.result.error, StoreFault)
    assert {"run-1"} == trace.torn
    assert [*range(1, len(trace.events) + 1)] == [event.number for event in trace.events]
    assert "run.cancelled run-1" not in kinds(trace)


@pytest.mark.parametrize("count", [-1, True, 1.5, None])
def test_faults_are_counted(count):
    """In whole numbers."""
    with pytest.raises(DefinitionError, match="crashes of Faults"):
        Faults(crashes=count)


def test_faults_say_whether_there_are_any():
    """None is the default."""
    assert (False, True) == (Faults().any, Faults(delays=1).any)


# ── Several runs, step by step ───────────────────────────────────────────────────────────────


def test_several_runs_share_the_workers():
    """Each has an id of its own, and its own script."""
    simulation = Simulation(async_workers=1)
    first = simulation.start(flow(task("a")), script=Script({"a": returns("1", after=4)}))
    second = simulation.start(flow(task("a"), id="other"), {}, priority=1)

    simulation.run_until_quiet()

    trace = simulation.trace()
    assert ("run-1", "run-2") == (first, second)
    assert ["run-1", "run-2"] == list(trace.runs)
    assert {"run-1": "1", "run-2": "run-2/a#1"} == {
        run_id: result.output for run_id, result in trace.results.items()
    }
    assert 1 == trace.max_in_flight
    assert 1 == trace.runs["run-2"].priority
    assert {"run-2"} == {event.run_id for event in trace.events_of("run-2")}


def test_time_is_given_in_the_amounts_that_a_test_asks_for():
    """Message by message, or by seconds."""
    simulation = Simulation()
    simulation.start(flow(async_step("a"), async_step("b", "a")))

    before = simulation.now
    simulation.advance(0.5)
    half = simulation.now, len(simulation.trace().attempts)
    simulation.advance(1.0)
    further = simulation.now, len(simulation.trace().attempts)
    while simulation.deliver():
        pass

    assert (0.0, (0.5, 1), (1.5, 2)) == (before, half, further)
    assert ["completed"] == [result.status for result in simulation.results.values()]
    assert not simulation.deliver()


def test_a_trace_is_what_has_happened_so_far():
    """What happens afterwards does not change it."""
    simulation = Simulation()
    simulation.start(flow(async_step("a")))
    simulation.advance(0.5)
    trace = simulation.trace()
    before = kinds(trace), outcomes(trace), len(trace.deliveries), dict(trace.results)

    simulation.run_until_quiet()

    assert before == (kinds(trace), outcomes(trace), len(trace.deliveries), dict(trace.results))
    assert not trace.quiescent
    assert simulation.trace().quiescent


def test_an_orchestrator_can_be_crashed_and_its_runs_resumed():
    """What had completed does not run again."""
    simulation = Simulation()
    run_id = simulation.start(flow(task("a"), task("b", "a"), task("c")))
    simulation.advance(1.5)

    simulation.crash()
    simulation.advance(10)
    while_nobody_runs_it = dict(simulation.results)
    simulation.resume(run_id)
    simulation.run_until_quiet()

    trace = simulation.trace()
    assert {} == while_nobody_runs_it
    assert "completed" == trace.result.status
    assert [
        ("a#1", Outcome.RETURNED),
        ("c#1", Outcome.RETURNED),
        ("b#1", Outcome.LOST),
        ("b#1", Outcome.RETURNED),
    ] == outcomes(trace)
    assert 12.5 == trace.duration


def test_how_long_a_run_waited_for_its_place_is_in_its_events():
    """From its acceptance to its start, also for one that is cancelled while it waits."""
    simulation = Simulation(max_active_runs=1, script=Script({"a": returns(after=5.0)}))
    for _ in range(3):
        simulation.start(flow(task("a")))
    simulation.cancel_at(7.0, "run-3")
    simulation.run_until_quiet()
    of_runs = [event for event in simulation.trace().events if event.step_id is None]

    assert {
        "run-1": [("run.accepted", 0.0), ("run.started", 0.0), ("run.completed", 5.0)],
        "run-2": [("run.accepted", 0.0), ("run.started", 5.0), ("run.completed", 10.0)],
        "run-3": [("run.accepted", 0.0), ("run.cancelled", 7.0)],
    } == {
        run_id: [(it.kind, it.time - of_runs[0].time) for it in of_runs if it.run_id == run_id]
        for run_id in ("run-1", "run-2", "run-3")
    }


def test_a_run_that_had_not_started_when_its_orchestrator_crashed_starts_anew():
    """It was accepted, so it is not lost."""
    simulation = Simulation()
    run_id = simulation.start(flow(task("a")))

    simulation.crash()
    simulation.resume(run_id)
    simulation.run_until_quiet()

    assert ["run.accepted run-1", "run.started run-1"] == kinds(simulation.trace())[:2]
    assert "completed" == simulation.trace().result.status


def test_resuming_a_run_that_has_completed_or_is_in_progress_does_nothing():
    """As in production."""
    simulation = Simulation()
    run_id = simulation.start(flow(async_step("a")))
    simulation.advance(0.5)

    simulation.resume(run_id)
    simulation.run_until_quiet()
    simulation.resume(run_id)
    simulation.run_until_quiet()

    assert "run.resumed run-1" not in kinds(simulation.trace())


def test_a_run_that_has_failed_can_be_resumed_with_another_script():
    """Somebody has mended what broke."""
    simulation = Simulation(script=Script({"b": raises(ValueError("broken"))}))
    run_id = simulation.start(flow(task("a"), task("b", "a")))
    simulation.run_until_quiet()
    before = simulation.results[run_id].status

    simulation.resume(run_id, script=Script({"b": returns("mended")}))
    simulation.run_until_quiet()

    assert ("failed", "completed") == (before, simulation.results[run_id].status)
    assert "mended" == simulation.results[run_id].outputs["b"]


def test_a_record_that_cannot_be_read_when_its_run_is_resumed_is_a_defect():
    """A law says so; an exception would end the search before it has a tape."""
    simulation = Simulation(script=Script({"a": raises(ValueError("broken"))}))
    run_id = simulation.start(flow(task("a")))
    simulation.run_until_quiet()
    *_, failed, ended = simulation.trace().events
    again = failed._replace(number=ended.number + 1)
    simulation._runtime.state.record([again], lambda _error: None)

    simulation.resume(run_id)
    simulation.run_until_quiet()

    (defect,) = simulation.trace().defects
    assert defect.startswith("the record of run-1 could not be read: IllegalMove")


def test_a_run_that_goes_on_has_no_result_until_it_ends_again():
    """The one that it had is not the last word any more."""
    simulation = Simulation(script=Script({"a": [raises(ValueError("broken"))]}))
    run_id = simulation.start(flow(task("a")))
    simulation.run_until_quiet()

    simulation.resume(run_id)
    simulation.advance(0.5)

    assert {} == dict(simulation.results)


def test_what_was_not_written_when_the_orchestrator_crashed_is_done_again():
    """A write that stalls is lost with it."""
    tape = Tape({"store stalls": [2], "stall for": [2]})
    simulation = Simulation(tape=tape, faults=Faults(store_stalls=1))
    run_id = simulation.start(flow(async_step("a"), async_step("b", "a")))
    simulation.advance(2.0)
    before = kinds(simulation.trace())

    simulation.crash()
    simulation.resume(run_id)
    simulation.run_until_quiet()

    trace = simulation.trace()
    assert "step.completed a" not in before
    assert ["a", "a", "b"] == [one.step_id for one in trace.attempts]
    assert [*range(1, len(trace.events) + 1)] == [event.number for event in trace.events]


def test_a_run_whose_end_was_recorded_has_ended_although_nobody_has_heard():
    """The orchestrator crashed just then."""
    tape = Tape({"store stalls": [2]})
    simulation = Simulation(tape=tape, faults=Faults(store_stalls=1))
    simulation.start(flow(async_step("a")))
    while "run.completed run-1" not in kinds(simulation.trace()):
        assert simulation.deliver()
    unheard = dict(simulation.results)

    simulation.crash()

    assert {} == unheard
    assert ["completed"] == [result.status for result in simulation.results.values()]


def test_a_record_that_has_ended_early_goes_on_when_its_run_is_resumed():
    """From where it is, and without a hole."""
    tape = Tape({"store fails": [2]})
    simulation = Simulation(tape=tape, faults=Faults(store_failures=1))
    run_id = simulation.start(flow(async_step("a"), async_step("b", "a")))
    simulation.run_until_quiet()
    before = simulation.trace()

    simulation.resume(run_id)
    simulation.run_until_quiet()

    after = simulation.trace()
    assert ({run_id}, frozenset()) == (before.torn, after.torn)
    assert "completed" == after.result.status
    assert [*range(1, len(after.events) + 1)] == [event.number for event in after.events]


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_a_run_that_was_never_started_is_not_found(verb):
    """A misspelt id does not pass for a run without news."""
    with pytest.raises(LookupError, match="'run-9'"):
        getattr(Simulation(), verb)("run-9")
    with pytest.raises(LookupError, match="'run-9'"):
        Simulation().cancel_at(1.0, "run-9")


def test_an_endless_schedule_is_cut():
    """And says so, rather than hang."""
    policy = RetryPolicy(max_attempts=10**6, initial_interval=0.001)
    script = Script({"a": raises(ValueError, after=0)})
    simulation = Simulation(script=script, max_happenings=500)
    simulation.start(flow(task("a", retry=policy)))

    simulation.run_until_quiet()

    trace = simulation.trace()
    assert not trace.quiescent
    assert {} == dict(trace.results)


def test_the_bound_is_on_the_whole_schedule():
    """However it is given its time."""
    policy = RetryPolicy(max_attempts=10**6, initial_interval=1.0, multiplier=1.0, jitter=0)
    simulation = Simulation(script=Script({"a": raises(ValueError, after=0)}), max_happenings=500)
    simulation.start(flow(task("a", retry=policy)))
    for _ in range(1000):
        simulation.advance(1.0)

    assert len(simulation.trace().deliveries) < 500


def test_a_schedule_is_cut_in_time_too():
    """A retry in a thousand years is as good as none."""
    simulation = Simulation(script=Script({"a": returns(after=1e9)}), max_time=1e6)
    simulation.start(flow(task("a")))

    simulation.run_until_quiet()

    assert not simulation.trace().quiescent


# ── Laws that any trace can be held to ───────────────────────────────────────────────────────


@pytest.mark.slow
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.booleans())
def test_whatever_happens_the_accounts_agree(chance, workers, race):
    """The supervisor's leases are the executors' attempts whenever nothing is on its way."""
    steps = [
        async_step("a", timeout=2.0, retry=RETRIED),
        task("b", retry=RETRIED, timeout=5.0),
        step("c", "a", required=False),
        task("d", "a", "b", "c"),
    ]
    script = Script(
        default=either(returns(after=None), raises(ValueError("v"), after=None), hangs())
    )
    simulation = Simulation(
        script=script, tape=chance, async_workers=workers, faults=ALL_FAULTS, race=race
    )
    for _ in range(2):
        simulation.start(flow(*steps, timeout=60.0))
    simulation.run_until_quiet()
    trace = simulation.trace()

    assert trace.quiescent
    assert () == trace.defects
    assert {"run-1", "run-2"} == set(trace.results)
    assert trace.leftovers.nothing
    assert trace.max_in_flight <= workers
    assert [] == [one for one in trace.idle if one.leases_held != one.in_flight and not one.writes]
    assert {workers} == {one.leases_held + one.leases_free for one in trace.idle}

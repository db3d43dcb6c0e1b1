"""The state manager of a simulation: it fails, takes its time, and is cut off."""

from __future__ import annotations

import pytest

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import NotRecorded
from actorflow.model.events import EventKind
from actorflow.state import MemoryStateManager
from actorflow.state.sql import SQLStateManager
from actorflow.testing import Faults, Simulation, StoreFault, Tape, laws
from actorflow.testing.contracts import happened, told
from actorflow.testing.contracts.accounts import STARTED
from tests.support.brain import flow, task

CHAIN = flow(task("a"), task("b", "a"))


def kinds(events):
    """What happened, in a line each."""
    return [f"{event.kind.value} {event.step_id or event.run_id}" for event in events]


def shown(trace):
    """All events that watchers saw."""
    return [event for _, events in trace.shown for event in events]


# ── What is shown and handed out ─────────────────────────────────────────────────────────────


def test_a_trace_says_what_watchers_saw_and_when_results_were_handed_out():
    """Everything that was recorded, and the result when all of it was."""
    with Simulation() as simulation:
        simulation.start(CHAIN)
        simulation.run_until_quiet()
        trace = simulation.trace()

    assert list(trace.events) == shown(trace)
    assert [(len(trace.events), "run-1")] == [(it[0], it[2]) for it in trace.handed]


def test_what_follows_a_write_that_has_failed_is_refused_and_shown_to_nobody():
    """As a database does: a record has no holes, and nobody is told that there is none."""
    tape = Tape({"store fails": [2]})
    with Simulation(tape=tape, faults=Faults(store_failures=1)) as simulation:
        simulation.start(CHAIN)
        simulation.advance(0.5)
        simulation.start(flow(task("c")))
        simulation.run_until_quiet()
        trace = simulation.trace()

    failed, completed = trace.results.values()
    assert isinstance(failed.error, StoreFault)
    assert "completed" == completed.status
    assert list(trace.events) == shown(trace)


def test_a_batch_of_which_one_run_is_refused_is_recorded_for_the_others():
    """The error names the run that is not."""
    with Simulation() as simulation:
        for _ in range(2):
            simulation.start(flow(task("a")))
        store = simulation._runtime.state
        simulation.deliver()
        store.torn.add("run-1")
        events = [event._replace(run_id=f"run-{n}") for n in (1, 2) for event in _started()]

        with pytest.raises(NotRecorded) as raised:
            store.record(events, lambda _error: None)

    assert {"run-1"} == raised.value.errors.keys()
    assert events[1:] == store.log


def _started():
    with Simulation() as simulation:
        simulation.start(flow(task("a")))
        simulation.run_until_quiet()
        return simulation.trace().events[:1]


# ── Crashes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("reach", "known"), [(0, False), (1, True)])
def test_a_write_that_was_on_its_way_may_be_made_although_its_process_is_gone(reach, known):
    """Nobody has heard of it, and whoever resumes the run finds it."""
    tape = Tape({"store stalls": [2], "stall for": [2], "reach": [reach]})
    with Simulation(tape=tape, faults=Faults(store_stalls=1)) as simulation:
        run_id = simulation.start(CHAIN)
        simulation.advance(2.0)

        simulation.crash()
        recorded = kinds(simulation.trace().events)
        simulation.resume(run_id)
        simulation.run_until_quiet()

        trace = simulation.trace()
    assert known is ("step.completed a" in recorded)
    assert (["a", "b"] if known else ["a", "a", "b"]) == [it.step_id for it in trace.attempts]
    laws.check(trace)


@pytest.mark.parametrize("recorded", [False, True])
def test_an_orchestrator_can_be_crashed_at_a_write(recorded):
    """Before it is made, or when it is made and nobody has heard of it."""
    with Simulation() as simulation:
        simulation.start(CHAIN)

        crashed = simulation.crash_at_write(2, recorded=recorded)

        trace = simulation.trace()
    last = trace.events[-1]
    assert crashed
    assert (EventKind.STEP_STARTED, "b" if recorded else "a") == (last.kind, last.step_id)
    assert ["a"] == [it.step_id for it in trace.attempts]


@pytest.mark.parametrize("number", [0, "1", True])
def test_a_write_is_counted_from_one(number):
    """In whole numbers."""
    with Simulation() as simulation, pytest.raises(DefinitionError, match="number is"):
        simulation.crash_at_write(number)


def test_a_write_that_never_comes_crashes_nothing():
    """The run ends before it."""
    with Simulation() as simulation:
        simulation.start(CHAIN)

        crashed = simulation.crash_at_write(99)

        trace = simulation.trace()
    assert not crashed
    assert ("completed", []) == (trace.result.status, list(trace.crashes))


# ── Other state managers ─────────────────────────────────────────────────────────────────────


def test_a_simulation_may_keep_its_runs_in_any_state_manager(tmp_path):
    """It is opened anew after a crash, and knows what was recorded."""
    url, opened = f"sqlite:///{tmp_path}/runs.db", []

    def open_again():
        opened.append(SQLStateManager(url, create=True))
        return opened[-1]

    with Simulation(state=open_again) as simulation:
        run_id = simulation.start(CHAIN)
        simulation.crash_at_write(2, recorded=True)
        simulation.resume(run_id)
        simulation.run_until_quiet()
        trace, events = simulation.trace(), opened[-1].events(run_id)

    assert 2 == len(opened)
    assert told(trace.events) == told(events)
    laws.check(trace)


def test_a_state_manager_that_was_opened_already_is_refused():
    """A crash could not open it again."""
    with pytest.raises(
        DefinitionError, match=r"state is <.*Give a function that opens a state manager"
    ):
        Simulation(state=MemoryStateManager())


def test_what_a_state_manager_refuses_ends_the_record_of_its_run():
    """Whatever it is that does not take it."""

    class Full(MemoryStateManager):
        def record(self, events, done):
            if any(event.kind is EventKind.STEP_COMPLETED for event in events):
                done(StoreFault())
                return False
            return super().record(events, done)

    with Simulation(state=Full) as simulation:
        simulation.start(CHAIN)
        simulation.run_until_quiet()
        trace = simulation.trace()

    assert {"run-1"} == trace.torn
    assert isinstance(trace.result.error, StoreFault)
    assert [] == [it for it in trace.events if it.kind is EventKind.STEP_COMPLETED]
    laws.check(trace)


def test_runs_whose_record_has_ended_are_refused_in_the_order_of_their_events():
    """A set of their ids has another order in every process, and equal tapes equal charts."""
    ids = [f"run-{number}" for number in range(20)]
    events = [event for run_id in ids for event in happened(*STARTED[:1], run_id=run_id)]
    with Simulation() as simulation:
        state = simulation._runtime.state
        state.torn |= {*ids}

        with pytest.raises(NotRecorded) as caught:
            state.record(events, lambda _error: None)

    assert ids == list(caught.value.errors)

"""The two tables of moves, and the function that moves or refuses."""

from __future__ import annotations

import pickle

import pytest

from actorflow.errors.running import IllegalMove
from actorflow.model.lifecycle import (
    COMPENSATION_KINDS,
    KEPT,
    RUN_MOVES,
    STEP_MOVES,
    EventKind,
    RunStatus,
    StepStatus,
    move_run,
    move_step,
)

MACHINES = [
    pytest.param(RunStatus, RUN_MOVES, move_run, id="run"),
    pytest.param(StepStatus, STEP_MOVES, move_step, id="step"),
]
both = pytest.mark.parametrize(("statuses", "table", "move"), MACHINES)


@both
def test_every_move_of_the_table_is_made_and_every_other_is_refused(statuses, table, move):
    """For every status and every kind of event that there is."""
    for status in statuses:
        for kind in EventKind:
            if kind in table[status]:
                assert table[status][kind] is move("x", status, kind)
            else:
                with pytest.raises(IllegalMove):
                    move("x", status, kind)


@both
def test_every_status_is_in_its_table_and_can_be_reached(statuses, table, move):
    """None is forgotten, and none is there for nothing."""
    reached = {statuses("pending")}
    line = list(reached)
    while line:
        following = set(table[line.pop()].values()) - reached
        reached |= following
        line += following

    assert set(statuses) == set(table) == reached


def test_a_refusal_names_who_where_and_what():
    """It is a defect, and whoever reports it should not have to search."""
    with pytest.raises(IllegalMove) as caught:
        move_step("fetch", StepStatus.COMPLETED, EventKind.STEP_STARTED)

    assert "step 'fetch'" in str(caught.value)
    assert "'completed'" in str(caught.value)
    assert "'step.started'" in str(caught.value)


def test_a_runs_refusal_names_the_run():
    """By its id."""
    with pytest.raises(IllegalMove, match="run 'r1'"):
        move_run("r1", RunStatus.COMPLETED, EventKind.RUN_STARTED)


def test_a_settled_step_does_not_run_again():
    """Its outcome stands; only compensation may follow a completion."""
    settled = {status for status in StepStatus if status.settled}

    assert {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.CANCELLED,
        StepStatus.COMPENSATED,
        StepStatus.COMPENSATION_FAILED,
    } == settled
    for status in settled:
        assert set(STEP_MOVES[status].values()) <= settled
    assert {StepStatus.COMPLETED} == {status for status in settled if STEP_MOVES[status]}


def test_a_terminal_run_can_only_be_resumed():
    """And a completed one not even that; it is undone if it is a child whose parent is."""
    terminal = {status for status in RunStatus if status.terminal}

    assert {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED} == terminal
    assert {EventKind.RUN_COMPENSATING} == set(RUN_MOVES[RunStatus.COMPLETED])
    for status in terminal - {RunStatus.COMPLETED}:
        assert set(RUN_MOVES[status]) <= {EventKind.RUN_RESUMED}


def test_a_run_ends_from_wherever_it_stands():
    """Cancelling or failing is possible in every status that is not terminal."""
    for status in RunStatus:
        if not status.terminal:
            assert {EventKind.RUN_FAILED, EventKind.RUN_CANCELLED} <= set(RUN_MOVES[status])


def test_a_step_can_be_cancelled_from_wherever_it_stands():
    """Until it has settled."""
    for status in StepStatus:
        assert status.settled is not (EventKind.STEP_CANCELLED in STEP_MOVES[status])


def test_facts_about_an_attempt_do_not_move_the_step():
    """What becomes of the step is an event of its own."""
    facts = {EventKind.STEP_TIMED_OUT, EventKind.STEP_ABANDONED, EventKind.STEP_BLOCKING}
    for status, moves in STEP_MOVES.items():
        assert {status} >= {after for kind, after in moves.items() if kind in facts}


def test_run_events_move_runs_and_step_events_move_steps():
    """No kind means both."""
    run_kinds = {kind for moves in RUN_MOVES.values() for kind in moves}
    step_kinds = {kind for moves in STEP_MOVES.values() for kind in moves}

    assert set() == run_kinds & step_kinds
    assert {kind for kind in EventKind if kind.value.startswith("run.")} == run_kinds
    assert set(EventKind) - run_kinds == step_kinds


def test_what_a_resumed_run_keeps_has_an_outcome():
    """Completed or skipped: the others start afresh."""
    assert {StepStatus.COMPLETED, StepStatus.SKIPPED} == KEPT


@pytest.mark.parametrize(
    "member", [*EventKind, *RunStatus, *StepStatus], ids=lambda one: f"{type(one).__name__}.{one}"
)
def test_members_are_the_texts_that_they_stand_for(member):
    """Equal to them, hashed as they are, and the same after a pickle."""
    text = member.value

    assert member == text
    assert hash(member) == hash(text)
    assert {member: 1}[text] == {text: 1}[member]
    assert str(member) == text
    assert member is pickle.loads(pickle.dumps(member))  # noqa: S301 - our own
    assert member is type(member)(text)


def test_a_compensator_makes_moves_of_steps_and_its_step_records_them():
    """Each event that it can record is a legal move of a completed step."""
    recorded = {kind for kind in COMPENSATION_KINDS.values() if kind is not None}

    assert recorded == set(STEP_MOVES[StepStatus.COMPLETED])
    assert set(COMPENSATION_KINDS) <= {kind for moves in STEP_MOVES.values() for kind in moves}

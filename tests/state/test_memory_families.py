"""Ended children in memory: they stay for as long as their family is in progress."""

from __future__ import annotations

import pytest

from actorflow import MemoryStateManager
from actorflow.model.lifecycle import EventKind
from actorflow.model.records import Parent
from actorflow.testing.contracts.accounts import COMPLETED, STARTED, accept, accepted, happened
from actorflow.testing.contracts.accounts import write as record

ENDS = [EventKind.STEP_COMPLETED, EventKind.RUN_COMPLETED]
UNDONE = [EventKind.RUN_COMPENSATING, EventKind.RUN_CANCELLED]


def begin(state, run_id, parent=None, root=None):
    """Have a run begin, as a child or not."""
    link = None if parent is None else Parent(
        run_id=parent, step_id="a", root_run_id=root or parent, call="flow#1"
    )  # fmt: skip
    accept(state, accepted(run_id, parent=link))
    record(state, happened(*STARTED, run_id=run_id))


def end(state, run_id):
    """Have it complete."""
    after = len(state.events(run_id))
    record(state, happened(*COMPLETED[len(STARTED) :], run_id=run_id, after=after))


def kept(state):
    """The ids of the runs that are there."""
    return {run.run_id for run in state.list(limit=1000).runs}


@pytest.fixture
def state():
    """A memory that keeps no finished run, with a parent in progress."""
    state = MemoryStateManager(max_runs=0)
    begin(state, "parent")
    return state


def test_a_child_stays_until_its_parent_has_ended(state):
    """It may be asked for again, or be undone."""
    begin(state, "child", "parent")
    begin(state, "stranger")
    for run_id in ("child", "stranger"):
        end(state, run_id)

    assert {"parent", "child"} == kept(state)
    end(state, "parent")
    assert set() == kept(state)


def test_grandchildren_stay_with_the_family(state):
    """Whatever has become of the run between."""
    begin(state, "child", "parent")
    begin(state, "grandchild", "child", "parent")
    end(state, "grandchild")
    end(state, "child")

    assert {"parent", "child", "grandchild"} == kept(state)


def test_a_child_stays_for_its_own_children_too(state):
    """Its parent has completed, and has left it."""
    begin(state, "child", "parent")
    begin(state, "grandchild", "child", "parent")
    end(state, "grandchild")
    end(state, "parent")

    assert {"child", "grandchild"} == kept(state)
    end(state, "child")
    assert set() == kept(state)


def test_an_undone_child_is_in_progress_again(state):
    """And has ended once more, when its parent ends."""
    begin(state, "child", "parent")
    end(state, "child")
    record(state, happened(UNDONE[0], run_id="child", after=len(state.events("child"))))
    end(state, "parent")

    assert {"child"} == kept(state)
    record(state, happened(UNDONE[1], run_id="child", after=len(state.events("child"))))
    assert set() == kept(state)

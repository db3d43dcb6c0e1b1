"""Runs in memory: complete while they last, and bounded."""

from __future__ import annotations

import pytest

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.state import MemoryStateManager, memory
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    EPOCH,
    FAILED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)


def ran(state, run_id, kinds=COMPLETED, *, time=EPOCH, after=0):
    """Let a run happen."""
    if not after:
        accept(state, accepted(run_id))
    write(state, happened(*kinds, run_id=run_id, time=time, after=after))


def kept(state):
    """The ids of the runs that are still there."""
    return {run.run_id for run in state.list(limit=1000).runs}


def test_only_so_many_finished_runs_are_kept():
    """The one that finished first goes first."""
    state = MemoryStateManager(max_runs=2)

    for run_id in ("one", "two", "three"):
        ran(state, run_id)

    assert {"two", "three"} == kept(state)
    with pytest.raises(RunNotFound):
        state.snapshot("one")


def test_old_runs_are_let_go_when_another_ends():
    """By the time at which they finished."""
    state = MemoryStateManager(max_age=100.0)
    ran(state, "old", time=EPOCH)
    ran(state, "young", time=EPOCH + 50)

    ran(state, "now", time=EPOCH + 120)

    assert {"young", "now"} == kept(state)


def test_durations_are_those_of_runs_that_are_kept_and_completed():
    """A run that has been let go is not remembered for its durations."""
    state = MemoryStateManager(max_runs=2)
    ran(state, "cut", (*STARTED, EventKind.STEP_COMPLETED, EventKind.RUN_CANCELLED))
    assert {} == state.durations("flow")

    ran(state, "completed")
    assert {"a": 1.0} == state.durations("flow")

    ran(state, "failed again", FAILED)
    ran(state, "failed once more", FAILED)
    assert {} == state.durations("flow")


def test_only_so_many_events_of_finished_runs_are_kept():
    """A few long runs count as much as many short ones."""
    state = MemoryStateManager(max_events=10)

    for run_id in ("one", "two", "three"):
        ran(state, run_id)

    assert {"two", "three"} == kept(state)


def test_runs_in_progress_are_always_kept():
    """However many there are, and however old."""
    state = MemoryStateManager(max_runs=1, max_age=1.0, max_events=1)
    ran(state, "in progress", STARTED)

    for number in range(5):
        ran(state, f"r{number}", time=EPOCH + 1000 * number)

    assert "in progress" in kept(state)


def test_a_resumed_run_is_in_progress_again():
    """It is not let go while it runs, although it had finished once."""
    state = MemoryStateManager(max_runs=1)
    ran(state, "again", FAILED)
    ran(state, "again", (EventKind.RUN_RESUMED, EventKind.STEP_READY), after=5)

    ran(state, "other")
    ran(state, "another")

    assert RunStatus.RUNNING is state.snapshot("again").status
    assert {"again", "another"} == kept(state)


def test_a_resumed_run_that_ends_counts_as_finished_then():
    """Its place among the finished ones is that of its last end."""
    state = MemoryStateManager(max_runs=2)
    ran(state, "again", FAILED)
    ran(state, "other")
    ran(state, "again", (EventKind.RUN_RESUMED, *COMPLETED[1:]), after=5)

    ran(state, "last")

    assert {"again", "last"} == kept(state)


def test_the_events_of_a_resumed_run_count_once():
    """Ten events are ten, over two lives."""
    state = MemoryStateManager(max_events=15)
    ran(state, "again", FAILED)
    ran(state, "again", (EventKind.RUN_RESUMED, *COMPLETED[1:]), after=5)

    ran(state, "other")

    assert {"again", "other"} == kept(state)


def test_what_was_let_go_takes_its_events_off_the_count():
    """A thousand runs later the limit is the same."""
    state = MemoryStateManager(max_events=10)

    for number in range(50):
        ran(state, f"r{number}")

    assert {"r48", "r49"} == kept(state)


def test_finished_runs_can_be_read_after_the_end():
    """Closing releases nothing that a `Run` may still be asked for."""
    state = MemoryStateManager()
    ran(state, "run")

    state.close()

    assert RunStatus.COMPLETED is state.snapshot("run").status


# ── Bytes ────────────────────────────────────────────────────────────────────────────────────

MB = 1_000_000


def produced(state, run_id, output, **fields):
    """Let a run happen whose step has an output."""
    accept(state, accepted(run_id, **fields))
    events = happened(*COMPLETED, run_id=run_id)
    write(
        state,
        [
            event._replace(data={"output": output}) if event.kind == "step.completed" else event
            for event in events
        ],
    )


def test_only_so_many_bytes_of_finished_runs_are_kept():
    """A few runs with large outputs count as much as many with small ones."""
    state = MemoryStateManager(max_bytes=5 * MB)

    for number in range(10):
        produced(state, f"r{number}", {"image": bytes(2 * MB)})

    assert {"r8", "r9"} == kept(state)


def test_inputs_and_metadata_count_as_outputs_do():
    """A run is kept with them."""
    state = MemoryStateManager(max_bytes=5 * MB)

    for number in range(10):
        inputs, metadata = {"page": "x" * MB}, {"template": "x" * MB}
        produced(state, f"r{number}", 1, inputs=inputs, metadata=metadata)

    assert {"r8", "r9"} == kept(state)


def test_the_run_that_finished_last_is_kept_however_large_it_is():
    """Its events are perhaps being read at this moment."""
    state = MemoryStateManager(max_bytes=MB)

    produced(state, "one", bytes(2 * MB))
    assert {"one"} == kept(state)
    produced(state, "two", bytes(2 * MB))

    assert {"two"} == kept(state)


def test_what_was_let_go_takes_its_bytes_off_the_count():
    """Also where a run that had finished goes on."""
    state = MemoryStateManager(max_bytes=5 * MB)
    produced(state, "large", bytes(3 * MB))
    state.claim("large")

    for number in range(20):
        produced(state, f"r{number}", bytes(MB))

    assert {"large", *(f"r{number}" for number in range(16, 20))} >= kept(state)
    assert {"large", "r19", "r18", "r17"} <= kept(state)


def test_outputs_that_are_numbers_are_not_looked_at(monkeypatch):
    """The end of a run with very many steps must not block the event loop for long."""
    looked = []
    monkeypatch.setattr(memory, "size_of", lambda values, _looks: looked.append(values) or 0)
    state = MemoryStateManager()

    for number, output in enumerate([1, None, 2.5, True, "a string"]):
        produced(state, f"r{number}", output)

    assert [["a string"]] == looked


@pytest.mark.parametrize("limit", [-1, True, 1.5, 2**63, None, "5", []], ids=str)
@pytest.mark.parametrize("name", ["max_runs", "max_events", "max_bytes", "max_age"])
def test_a_limit_that_makes_no_sense_is_refused(name, limit):
    """With its name; an age may be a fraction, and as long as a clock can count."""
    if name == "max_age" and limit == 1.5:
        limit = float("nan")
    with pytest.raises(DefinitionError, match=f"^{name} "):
        MemoryStateManager(**{name: limit})


def test_a_misspelt_limit_is_asked_about():
    """As other options are."""
    with pytest.raises(TypeError, match=r"has no option 'max_byte'\. Did you mean 'max_bytes'\?"):
        MemoryStateManager(max_byte=1)

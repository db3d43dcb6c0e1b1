"""One fact about a run."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from actorflow.model.events import NO_DATA, Event
from actorflow.model.lifecycle import EventKind

STARTED = Event(3, EventKind.STEP_STARTED, "run", "a", 2, 1_700_000_000.25)
FAILED = Event(5, EventKind.STEP_FAILED, "run", "a", 2, 1_700_000_001.0, {"error": KeyError("k")})


def test_an_event_cannot_be_changed():
    """It has happened."""
    with pytest.raises(AttributeError):
        STARTED.number = 4
    with pytest.raises(TypeError):
        NO_DATA["more"] = 1
    with pytest.raises(AttributeError):
        STARTED.other = 1


def test_without_data_it_has_an_empty_mapping():
    """The same for all, so that nobody has to ask first."""
    assert {} == dict(STARTED.data)
    assert STARTED.data.get("error") is None


def test_its_kind_compares_equal_to_its_text():
    """So that a program needs no import to look for one."""
    assert "step.started" == STARTED.kind


def test_its_time_can_be_had_as_a_date():
    """An aware one."""
    assert datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC) == STARTED.at


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (STARTED, "3 step.started a #2"),
        (FAILED, "5 step.failed a #2 error=KeyError('k')"),
        (Event(1, EventKind.RUN_STARTED, "run", None, None, 0.0), "1 run.started"),
        (Event(2, EventKind.STEP_CANCELLED, "run", "a", None, 0.0), "2 step.cancelled a"),
    ],
)
def test_it_reads_as_one_line(event, text):
    """Number, kind, step, attempt, and what else is known."""
    assert text == str(event)


def test_the_workflow_of_an_event_need_not_be_known():
    """Events that an earlier version recorded in an output or a pickle have none."""
    assert "" == STARTED.workflow_id
    assert "flow" == STARTED._replace(workflow_id="flow").workflow_id


def test_it_survives_pickling():
    """With and without data."""
    copied = pickle.loads(pickle.dumps(FAILED))  # noqa: S301 - our own

    assert FAILED[:6] == copied[:6]
    assert repr(FAILED.data) == repr(copied.data)


def test_an_event_without_data_survives_pickling():
    """Most have none."""
    assert STARTED == pickle.loads(pickle.dumps(STARTED))  # noqa: S301 - our own

"""One line for each event, for programs that have asked for lines."""

from __future__ import annotations

import io
import logging

import pytest
import structlog

from actorflow.model.events import NO_DATA, Event
from actorflow.model.lifecycle import EventKind
from actorflow.observe import LogObserver, logging_is_configured
from tests.support.brain import EPOCH

IDS = {"workflow_id": "flow", "trace_id": "t"}


def event(kind, number=1, step_id=None, attempt=None, **data):
    """Something that happened."""
    return Event(number, kind, "run", step_id, attempt, EPOCH, data or NO_DATA)


@pytest.fixture
def unheard(monkeypatch):
    """A call that removes every listener: pytest itself listens, from the moment a test begins."""
    return lambda: monkeypatch.setattr(logging.getLogger(), "handlers", [])


@pytest.fixture
def lines(no_configuration):
    """What structlog was given, once it is configured."""
    with structlog.testing.capture_logs() as captured:
        structlog.configure(processors=structlog.get_config()["processors"])
        yield captured


# ── Is anybody listening? ────────────────────────────────────────────────────────────────────


def test_nobody_listens_by_default(unheard):
    """A library is silent until its program wants to hear it."""
    unheard()

    assert not logging_is_configured()


def test_a_program_that_has_configured_structlog_listens(unheard):
    """Whatever it does with the lines."""
    unheard()
    structlog.configure()

    assert logging_is_configured()


@pytest.mark.parametrize("name", [None, "actorflow"])
def test_a_handler_of_the_standard_library_listens(name, monkeypatch, unheard):
    """At the root, or at our own logger."""
    unheard()
    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, logging.StreamHandler()])

    assert logging_is_configured()


def test_a_null_handler_does_not_listen(monkeypatch):
    """It is there so that no other handler speaks up."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])

    assert not logging_is_configured()


def test_a_logger_that_does_not_propagate_is_not_heard_at_the_root(monkeypatch):
    """Handlers further up get nothing then."""
    monkeypatch.setattr(logging.getLogger("actorflow"), "propagate", False)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler()])

    assert not logging_is_configured()


# ── Lines ────────────────────────────────────────────────────────────────────────────────────


def test_a_line_says_what_happened_where(lines):
    """With the event's kind for its text, and the run's ids bound."""
    observer = LogObserver()
    observer(event(EventKind.RUN_STARTED, **IDS))
    observer(event(EventKind.STEP_STARTED, 3, "a", 2))

    assert [
        {"event": "run.started", "log_level": "info", "run_id": "run", "number": 1, **IDS},
        {
            "event": "step.started",
            "log_level": "info",
            "run_id": "run",
            "number": 3,
            "step_id": "a",
            "attempt": 2,
            **IDS,
        },
    ] == lines


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (EventKind.STEP_READY, "debug"),
        (EventKind.STEP_STARTED, "info"),
        (EventKind.STEP_COMPLETED, "info"),
        (EventKind.STEP_RETRYING, "warning"),
        (EventKind.STEP_TIMED_OUT, "warning"),
        (EventKind.STEP_ABANDONED, "warning"),
        (EventKind.STEP_SKIPPED, "warning"),
        (EventKind.STEP_FAILED, "warning"),
        (EventKind.RUN_FAILED, "warning"),
        (EventKind.RUN_COMPLETED, "info"),
        (EventKind.RUN_CANCELLED, "info"),
    ],
)
def test_what_went_wrong_is_louder(lines, kind, level):
    """And what only prepares is quieter."""
    LogObserver()(event(kind))

    assert [level] == [line["log_level"] for line in lines]


def test_outputs_are_not_logged(lines):
    """They belong to the program, may be large and may be secret."""
    LogObserver()(event(EventKind.STEP_COMPLETED, 4, "a", 1, output="secret"))

    assert "secret" not in str(lines)


def test_errors_are_logged(lines):
    """As the exception, so that a processor can do with it what it likes."""
    error = ValueError("no")

    LogObserver()(event(EventKind.STEP_FAILED, 4, "a", 1, error=error))

    assert error is lines[0]["error"]


def test_what_the_watchdog_has_said_is_not_said_again(lines):
    """It spoke while the loop was blocked."""
    LogObserver()(event(EventKind.STEP_BLOCKING, 4, "a", 1, seconds=1.0, stack="here"))

    assert [] == lines


@pytest.mark.parametrize(
    "end", [EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED]
)
def test_nothing_of_a_run_is_kept_after_its_end(lines, end):
    """A daemon has many of them."""
    observer = LogObserver()

    observer(event(EventKind.RUN_STARTED, **IDS))
    observer(event(end))

    assert {} == observer._bound
    assert "t" == lines[-1]["trace_id"]


def test_a_resumed_run_has_its_ids_again(lines):
    """They are told at every beginning."""
    observer = LogObserver()

    observer(event(EventKind.RUN_RESUMED, **IDS))
    observer(event(EventKind.STEP_READY, 2, "a"))

    assert "t" == lines[-1]["trace_id"]


def test_without_structlog_lines_go_to_the_standard_library(monkeypatch):
    """To the logger `actorflow`, as `event key=value`."""
    stream = io.StringIO()
    logger = logging.getLogger("actorflow")
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(logger, "level", logging.DEBUG)

    LogObserver()(event(EventKind.STEP_STARTED, 3, "a", 2))

    line = stream.getvalue()
    assert line.startswith("event='step.started'")
    assert {"run_id='run'", "step_id='a'", "attempt=2"} <= set(line.split())


def test_the_standard_loggers_level_is_respected(monkeypatch):
    """A program that wants warnings gets no information."""
    stream = io.StringIO()
    logger = logging.getLogger("actorflow")
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(logger, "level", logging.WARNING)

    LogObserver()(event(EventKind.STEP_STARTED, 3, "a", 2))
    LogObserver()(event(EventKind.STEP_FAILED, 4, "a", 2))

    assert ["event='step.failed'"] == [line.split()[0] for line in stream.getvalue().splitlines()]


def test_by_default_nothing_is_heard(capfd, unheard):
    """Neither on the screen nor by Python's handler of last resort."""
    unheard()

    LogObserver()(event(EventKind.RUN_FAILED, error=ValueError("no")))

    assert ("", "") == capfd.readouterr()

"""Errors are values: fields, a text made from them, and nothing lost on the way."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import timedelta

import pytest

from actorflow import errors
from actorflow.errors import ActorflowError, definition, running, storage
from actorflow.errors.definition import (
    DefinitionConflict,
    DefinitionError,
    ForkedOrchestrator,
    ForkedStateManager,
    MissingInput,
    NotRunning,
    OrchestratorClosed,
    UnknownExecutor,
    UnknownInput,
    UnknownWorkflow,
    WrongLoop,
)
from actorflow.errors.running import (
    ActorCrashed,
    ChildChanged,
    CompensationCut,
    DeadlineExceeded,
    Deadlock,
    GiveUp,
    IllegalMove,
    Overloaded,
    RetryAfter,
    RunEnded,
    StepCancelled,
    StepTimeout,
    TakenOverTooOften,
    TooManyAbandoned,
    WaitExpired,
)
from actorflow.errors.storage import (
    AlreadyStarted,
    InvalidAnswer,
    KeyInUse,
    LeaseHeld,
    LeaseLost,
    MissingExtra,
    NotRecorded,
    NotRescheduled,
    NotRestorable,
    NotStorable,
    RecordedError,
    RunNotFound,
    RunUnattended,
    ScheduleNotFound,
    SchemaMismatch,
    StoreOverloaded,
    StoreUnavailable,
    TooLarge,
    TooManyMessages,
)
from actorflow.model import results
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.results import RunCancelled, RunFailed, RunResult, RunTimeout, StepResult


def ended(status=RunStatus.FAILED, **fields):
    """The result of a run in which `fetch` failed at its third attempt."""
    fetch = StepResult(step_id="fetch", status=StepStatus.FAILED, attempts=3)
    return RunResult(
        run_id="r1",
        workflow_id="report",
        status=status,
        outputs={},
        steps={"fetch": fetch},
        **fields,
    )


# At least one of each class, with all that it says.
SAYINGS = [
    (
        DefinitionError("report", "it has no steps", "Add one"),
        "workflow 'report': it has no steps. Add one.",
    ),
    (
        DefinitionError("report", "timeout is 0", "Give more", "fetch"),
        "workflow 'report', step 'fetch': timeout is 0. Give more.",
    ),
    (
        DefinitionError("report", "timeout must be a number; got 'x'", ""),
        "workflow 'report': timeout must be a number; got 'x'.",
    ),
    (
        DefinitionError(None, "jitter of RetryPolicy is 2", "Give less"),
        "jitter of RetryPolicy is 2. Give less.",
    ),
    (
        MissingInput("report", ("url", "day"), (("fetch",), ("fetch", "sum"))),
        (
            "workflow 'report' lacks a run input: 'url', wanted by step 'fetch'; 'day', "
            "wanted by steps 'fetch', 'sum'. Pass it when you start the run, or give the "
            "parameter a default. If a dependency's output was meant, name the parameter "
            "after that step."
        ),
    ),
    (
        MissingInput("report", ("url", "day"), (("a",), ("a",)), ("you passed 'ulr'", "")),
        (
            "workflow 'report' lacks a run input: 'url', wanted by step 'a' (you passed 'ulr');"
            " 'day', wanted by step 'a'. Pass it when you start the run, or give the "
            "parameter a default. If a dependency's output was meant, name the parameter "
            "after that step."
        ),
    ),
    (
        MissingInput("order", ("paid",), (("charge",),), (), (("charge",),)),
        (
            "workflow 'order' lacks a run input: 'paid', wanted by the compensator of step "
            "'charge'. Pass it when you start the run, or give the parameter a default. If the "
            "output of that step was meant, name the parameter 'charge'."
        ),
    ),
    (
        MissingInput("order", ("paid", "url"), (("a", "b", "c"), ("a",)), (), (("b", "c"), ())),
        (
            "workflow 'order' lacks a run input: 'paid', wanted by step 'a' and by the "
            "compensators of steps 'b', 'c'; 'url', wanted by step 'a'. Pass it when you start the "
            "run, or give the parameter a default. If the output of the compensator's step was "
            "meant, name the parameter 'b' or 'c'; for a dependency's output, name it after that "
            "step."
        ),
    ),
    (
        UnknownInput("report", ("limt", "x"), ("url", "limit"), ("did you mean 'limit'?", "")),
        (
            "no step of workflow 'report' takes the inputs 'limt' (did you mean 'limit'?), "
            "'x'. The inputs are: 'url', 'limit'. Leave them out, or add parameters of these "
            "names to steps, or the parameter `inputs`, which holds all inputs."
        ),
    ),
    (
        UnknownInput("report", ("x",), ()),
        (
            "no step of workflow 'report' takes the input 'x'. The inputs are: none. Leave it"
            " out, or add a parameter of that name to a step, or the parameter `inputs`, "
            "which holds all inputs."
        ),
    ),
    (
        DefinitionConflict("report", "1.0.0"),
        (
            "workflow 'report' version '1.0.0' is registered already, with a different definition. "
            "Give the changed workflow a new version."
        ),
    ),
    (
        UnknownWorkflow("report", ("audit", "sync")),
        (
            "no workflow 'report' is registered (these are: 'audit', 'sync'). "
            "Register it first, or pass the Workflow itself."
        ),
    ),
    (
        UnknownWorkflow("reprot", ("audit", "report")),
        (
            "no workflow 'reprot' is registered (these are: 'audit', 'report'). "
            "Did you mean 'report'? Register it first, or pass the Workflow itself."
        ),
    ),
    (
        UnknownWorkflow("report", ("report 1.0.0",), "2.0.0"),
        (
            "no workflow 'report' version '2.0.0' is registered (these are: 'report 1.0.0'). "
            "Register that version first, or pass it along: resume(run_id, flow)."
        ),
    ),
    (
        UnknownExecutor("fetch", "gpus", ("thread", "gpu")),
        (
            "step 'fetch' wants executor 'gpus', which this orchestrator does not have (it has: "
            "'thread', 'gpu'). Did you mean 'gpu'? Pass it as "
            "Orchestrator(executors={'gpus': ...})."
        ),
    ),
    (
        UnknownExecutor("fetch", "gpu", ()),
        (
            "step 'fetch' wants executor 'gpu', which this orchestrator does not have "
            "(it has: none). Pass it as Orchestrator(executors={'gpu': ...})."
        ),
    ),
    (
        RunFailed(ended(error=OSError("no route"), failed_step="fetch")),
        (
            "run 'r1' of workflow 'report' failed: step 'fetch', attempt 3: OSError: no route. "
            "See .result.steps for every step."
        ),
    ),
    (
        RunFailed(ended()),
        (
            "run 'r1' of workflow 'report' failed: no error is known. "
            "See .result.steps for every step."
        ),
    ),
    (
        RunCancelled(ended(RunStatus.CANCELLED, reason="shutdown")),
        (
            "run 'r1' of workflow 'report' was cancelled: shutdown. "
            "See .result.steps for what it had completed."
        ),
    ),
    (
        RunCancelled(ended(RunStatus.CANCELLED)),
        (
            "run 'r1' of workflow 'report' was cancelled. "
            "See .result.steps for what it had completed."
        ),
    ),
    (
        RunTimeout(ended(error=DeadlineExceeded("r1", 5.0))),
        (
            "run 'r1' of workflow 'report' was cut when its timeout passed. Raise the timeout "
            "of the workflow or of the run; see .result.steps for what it had completed."
        ),
    ),
    (
        DeadlineExceeded("r1", 5.0),
        "run 'r1' exceeded its timeout of 5 s. Raise its timeout.",
    ),
    (
        RunUnattended("r1", "its record says 'running', and nobody is there"),
        "run 'r1' cannot be waited for: its record says 'running', and nobody is there.",
    ),
    (
        ScheduleNotFound("nightli", ("hourly", "nightly")),
        ("there is no schedule 'nightli'; there are 'hourly', 'nightly'. Did you mean 'nightly'?"),
    ),
    (
        ScheduleNotFound("nightly"),
        ("there is no schedule 'nightly', and no other. Make one with orchestrator.schedule()."),
    ),
    (
        RunNotFound("r1"),
        (
            "there is no run 'r1', or it has been deleted. Check its id, and the limits of "
            "the orchestrator's state manager."
        ),
    ),
    (
        StepTimeout("r1", "fetch", 2, 0.5, "attempt"),
        (
            "step 'fetch': attempt 2 timed out after 0.5 s (run 'r1'). "
            "Raise the step's timeout, or make the step faster."
        ),
    ),
    (
        StepTimeout("r1", "fetch", 2, 0.5, "total"),
        (
            "step 'fetch': 2 attempts together timed out after 0.5 s (run 'r1'). "
            "Raise the step's total_timeout, or make the step faster."
        ),
    ),
    (
        TakenOverTooOften("r1", (("fetch",), ("fetch", "parse")), 1),
        (
            "the process of run 'r1' died 2 times in a row without a step settling in between "
            "(the limit is 1). Steps in flight at the crashes: 'fetch' (2 times), 'parse' (once). "
            "Find out what ends the process there, such as memory or native code; then resume the "
            "run, or raise max_takeovers."
        ),
    ),
    (
        CompensationCut("r1", "pay"),
        (
            "undoing step 'pay' of run 'r1' was cut by a shutdown. Check by hand what is not "
            "undone, and give the shutdown a longer drain."
        ),
    ),
    (
        StepCancelled("r1", "fetch", "the run failed"),
        "step 'fetch' of run 'r1' was cancelled: the run failed. Let this error pass.",
    ),
    (
        TooManyAbandoned("fetch", 8, 8),
        (
            "step 'fetch' cannot start: 8 abandoned threads still run (the limit is 8). Give steps "
            "that hang an executor that can kill, or let them watch ctx.cancelled."
        ),
    ),
    (
        ActorCrashed("r1", "fetch", "killed"),
        (
            "the actor of step 'fetch' in run 'r1' crashed: killed. "
            "It counts as a failed attempt; a retry policy lets the step try again."
        ),
    ),
    (GiveUp("the account {is} closed"), "the account {is} closed"),
    (
        RunEnded("r1", "completed", "paused"),
        (
            "run 'r1' has ended (completed) and cannot be paused. Start another run, or resume it "
            "first if it failed or was cancelled."
        ),
    ),
    (RetryAfter(2.5), "the step asks for another attempt in 2.5 s"),
    (
        Overloaded(4, 10, 4, 10),
        (
            "the orchestrator is full: 4 of 4 runs active, 10 of 10 queued. Try again later, raise "
            'max_active_runs or max_queued_runs, or let callers wait with when_full="block".'
        ),
    ),
    (
        ChildChanged("r1", "fetch", "page#2", "r2", "page", "page", ("number", "url")),
        (
            "step 'fetch' of run 'r1' asks for child 'page#2', which it has started before as run "
            "'r2', with other values of the inputs 'number', 'url'. Ask for the same child in each "
            "attempt, or give the call a key= that depends on what differs."
        ),
    ),
    (
        ChildChanged("r1", "fetch", "k", "r2", "page", "book", ()),
        (
            "step 'fetch' of run 'r1' asks for child 'k', which it has started before as run 'r2', "
            "with workflow 'page' instead of 'book'. Ask for the same child in each attempt, or "
            "give the call a key= that depends on what differs."
        ),
    ),
    (
        Deadlock("r1", "fetch", "r2", "circle"),
        (
            "step 'fetch' of run 'r1' would wait for run 'r2' for ever: that run waits for the "
            "run of the step, directly or through others. Remove the wait."
        ),
    ),
    (
        Deadlock("r1", "fetch", "r1", "itself"),
        (
            "step 'fetch' of run 'r1' would wait for run 'r1' for ever: it is its own run, "
            "which cannot end before the step does. Remove the wait."
        ),
    ),
    (
        NotRunning("start a run"),
        (
            "cannot start a run: the orchestrator is not running. Enter it with `with`, or with "
            "`async with` on your own event loop, first."
        ),
    ),
    (
        OrchestratorClosed("start a run"),
        "cannot start a run: the orchestrator has shut down. Make a new one.",
    ),
    (
        OrchestratorClosed("start a run", "its event loop has been closed"),
        "cannot start a run: its event loop has been closed. Make a new one.",
    ),
    (
        ForkedOrchestrator(1, 2),
        (
            "this orchestrator belongs to process 1 and was used in its fork 2, "
            "where its threads do not exist. Make one in each process."
        ),
    ),
    (
        ForkedStateManager(1, 2),
        (
            "this state manager belongs to process 1 and was used in its fork 2, which must "
            "not share its connections or runs. Make one in each process."
        ),
    ),
    (WrongLoop("use run_async"), "use run_async"),
    (
        IllegalMove("step 'fetch'", "completed", "step.started"),
        (
            "step 'fetch' is 'completed' and cannot take 'step.started'. "
            "This is a defect in actorflow; please report it with the run's events."
        ),
    ),
]

SAYINGS += [
    (
        MissingExtra("SQLStateManager", "sqlalchemy", "sql"),
        (
            "SQLStateManager needs sqlalchemy, which is not installed. "
            "Type: pip install 'actorflow[sql]'"
        ),
    ),
    (
        StoreUnavailable("record what has happened", "OperationalError: database is locked"),
        (
            "the database did not record what has happened: OperationalError: database is "
            "locked. Check the database (is it running, is the disk full, is it locked by "
            "another program?), then resume the runs that failed because of this."
        ),
    ),
    (
        StoreOverloaded(10, 10),
        (
            "10 events wait to be written (the limit is 10): the database is slower than the work. "
            "Start fewer runs at once, or raise max_waiting."
        ),
    ),
    (
        AlreadyStarted("r1"),
        ("run 'r1' of the same workflow has the same idempotency key. Get that run instead."),
    ),
    (
        KeyInUse("flow", "k", "r1"),
        (
            "run 'r1' of workflow 'flow' is in progress with key 'k'. Wait for its end, or pass "
            'on_conflict="return" to get that run, "queue" to run after it, or "cancel_running" '
            "to run in its place."
        ),
    ),
    (
        WaitExpired("r1", "ask", "approved", 60.0),
        (
            "step 'ask' of run 'r1' got no message 'approved' within 60 s. Catch this "
            "TimeoutError to go on without it, or give wait_for() a longer timeout."
        ),
    ),
    (
        RunEnded("r1", "completed", "sent message 'approved'", "Start another run"),
        "run 'r1' has ended (completed) and cannot be sent message 'approved'. Start another run.",
    ),
    (
        TooManyMessages("r1", 10_000),
        (
            "run 'r1' has been sent 10000 messages and takes no more. Send fewer and larger ones, "
            "or have the workflow continue in another run."
        ),
    ),
    (
        NotRescheduled("r1", "running"),
        (
            "run 'r1' cannot be rescheduled: it is running and does not wait for its time or its "
            "turn. Start another run with at= or delay=."
        ),
    ),
    (
        LeaseHeld("r1"),
        (
            "run 'r1' is in progress in another orchestrator, whose lease has not run out. Wait "
            "for its end, or until that orchestrator is gone and its lease is over."
        ),
    ),
    (
        LeaseLost("r1"),
        (
            "run 'r1' was taken over by another orchestrator, or is gone from the database. "
            "It has ended here. Look it up to see how it continues."
        ),
    ),
    (
        InvalidAnswer("record", "None"),
        (
            "record() of the state manager returned None, which is neither True nor False. Return "
            "True, or return False and call done later."
        ),
    ),
    (NotRecorded({"r1": StoreOverloaded(1, 1)}), f"run 'r1': {StoreOverloaded(1, 1)}"),
    (
        NotStorable("the output of step 'fetch' in run 'r1'", "['rows'][3]", "is a module.Thing"),
        (
            "the output of step 'fetch' in run 'r1' cannot be stored: ['rows'][3] is a "
            "module.Thing. Use plain values, dataclasses or attrs classes, or give the state "
            "manager a serializer that knows the type."
        ),
    ),
    (
        TooLarge("the run's input", "['text']", 200, 100),
        (
            "the run's input takes 200 bytes, which is more than the limit of 100; most of it is "
            "['text']. Store it elsewhere and keep its place, or raise the limit."
        ),
    ),
    (
        NotRestorable("run 'r1'", "the serializer 'other' wrote it"),
        "run 'r1' cannot be read back: the serializer 'other' wrote it.",
    ),
    (
        SchemaMismatch("sqlite:///runs.db", None, "0001"),
        (
            "database sqlite:///runs.db has no tables yet; this actorflow needs '0001'. Type: "
            "actorflow db upgrade sqlite:///runs.db (or pass create=True)"
        ),
    ),
    (
        SchemaMismatch("sqlite:///runs.db", "0000", "0001"),
        (
            "database sqlite:///runs.db has tables of version '0000'; this actorflow needs '0001'. "
            "Type: actorflow db upgrade sqlite:///runs.db (or pass create=True)"
        ),
    ),
    (
        SchemaMismatch("sqlite:///runs.db", "0002", "0001", newer=True),
        (
            "database sqlite:///runs.db has tables of version '0002', made by a newer actorflow; "
            "this one knows '0001'. Upgrade actorflow."
        ),
    ),
    (RecordedError("builtins.ValueError", "no", "Traceback: …"), "ValueError: no"),
    (RecordedError("shop.Gone", ""), "shop.Gone"),
]

NAMES = [f"{type(error).__name__}-{number}" for number, (error, _) in enumerate(SAYINGS)]

every_error = pytest.mark.parametrize("error", [error for error, _ in SAYINGS], ids=NAMES)


@pytest.mark.parametrize(("error", "text"), SAYINGS, ids=NAMES)
def test_an_error_says_what_happened_and_what_to_do(error, text):
    """The whole text is part of the interface: people search for it."""
    assert text == str(error)


def test_every_error_class_is_in_the_list_above():
    """A new error is not finished before its text has been read once."""
    rooms = (errors, definition, running, storage, results)
    classes = {it for room in rooms for it in vars(room).values() if inspect.isclass(it)}
    own = {it for it in classes if issubclass(it, ActorflowError)}
    bases = {ActorflowError, results.RunError, storage.StoreError}

    assert own - bases == {type(error) for error, _ in SAYINGS}
    published = {getattr(room, name) for room in rooms for name in room.__all__}
    assert own == {it for it in published if inspect.isclass(it) and it in own}


@every_error
def test_an_error_survives_pickling(error):
    """It may come from another process or from a store."""
    error.add_note("seen by a test")

    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(error) is type(back)
    assert str(error) == str(back)
    assert repr(error.args) == repr(back.args)
    assert error.__notes__ == back.__notes__


@every_error
def test_an_error_can_be_copied(error):
    """Frameworks copy exceptions to raise them in another place."""
    assert str(error) == str(copy.copy(error))


@every_error
def test_every_error_is_an_actorflow_error(error):
    """One `except` catches all of them."""
    assert isinstance(error, ActorflowError)
    assert isinstance(error, Exception)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (DefinitionError("w", "p", "c"), ValueError),
        (RunNotFound("r"), LookupError),
        (ScheduleNotFound("s"), LookupError),
        (UnknownWorkflow("w", ()), LookupError),
        (UnknownExecutor("s", "n", ()), LookupError),
        (StepTimeout("r", "s", 1, 1.0, "attempt"), TimeoutError),
        (DeadlineExceeded("r", 1.0), TimeoutError),
        (WaitExpired("r", "s", "m", 1.0), TimeoutError),
    ],
    ids=lambda it: it.__name__ if inspect.isclass(it) else type(it).__name__,
)
def test_an_error_is_also_the_builtin_that_says_the_same(error, builtin):
    """Code that knows nothing of actorflow catches it by its usual name."""
    assert isinstance(error, builtin)


def test_a_run_that_timed_out_is_not_a_timeout_of_the_waiting():
    """`TimeoutError` from a handle says that the run goes on, which this one does not."""
    assert not isinstance(RunTimeout(ended()), TimeoutError)


def test_a_base_error_keeps_a_text_of_its_own():
    """Whoever extends actorflow may raise the base with a plain text."""
    assert "it broke" == str(ActorflowError("it broke"))


@pytest.mark.parametrize(
    ("wait", "seconds"), [(3, 3.0), (timedelta(minutes=1), 60.0), (0, 0.0), (-5, 0.0)]
)
def test_retry_after_takes_seconds_or_a_timedelta(wait, seconds):
    """A moment that has passed already is a wait of nothing."""
    assert seconds == RetryAfter(wait).seconds


@pytest.mark.parametrize("wait", [float("nan"), float("inf")])
def test_retry_after_refuses_a_wait_without_end(wait):
    """A step that never wants to be tried again raises `GiveUp`."""
    with pytest.raises(ValueError, match="RetryAfter takes finite seconds"):
        RetryAfter(wait)


def test_the_signals_of_a_step_may_be_chained():
    """What made the step wait or give up is reported with it."""
    cause = OSError("busy")

    def step():
        raise RetryAfter(1) from cause

    with pytest.raises(RetryAfter) as caught:
        step()

    assert cause is caught.value.__cause__

"""`Orchestrator`: what is accepted, where it runs, how it is found again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import itertools
import logging
import re
import signal
import sys
import threading
import time
import types
from datetime import timedelta
from traceback import walk_stack

import pytest

from actorflow import (
    ActorflowWarning,
    DefinitionConflict,
    DefinitionError,
    MemoryStateManager,
    MissingInput,
    NotRunning,
    Orchestrator,
    OrchestratorClosed,
    Overloaded,
    RetryPolicy,
    RunCancelled,
    RunNotFound,
    RunStatus,
    RunTimeout,
    RunUnattended,
    Step,
    StepTimeout,
    TooManyAbandoned,
    UnknownExecutor,
    UnknownInput,
    UnknownWorkflow,
    Workflow,
    WorkflowBuilder,
    WrongLoop,
)
from actorflow.orchestrator.runtime import Runtime
from actorflow.testing.contracts.accounts import STARTED, accept, accepted, happened
from tests.support.flows import (
    GUARD,
    Gate,
    broken,
    endless,
    fine,
    flow_of,
    in_thread,
    seen,
    timed_out,
)

# ── Two ways to live ─────────────────────────────────────────────────────────────────────────


def test_the_same_flow_runs_in_all_four_ways(orchestrator):
    """Blocking or awaited, at once or by a handle, on a thread or on the caller's loop."""
    flow = flow_of(lambda url: url + "!")

    async def main():
        async with Orchestrator() as here:
            return [
                (await each.run_async(flow, {"url": "u"})).output for each in (here, orchestrator)
            ] + [
                (await (await each.start_async(flow, {"url": "u"}))).output
                for each in (here, orchestrator)
            ]

    blocking = [orchestrator.run(flow, {"url": "u"}), orchestrator.start(flow, {"url": "u"}).wait()]

    assert ["u!", "u!"] == [result.output for result in blocking]
    assert ["u!"] * 4 == asyncio.run(main())


async def loop_of_step():
    """Say which loop, task and thread a coroutine step is on."""
    return asyncio.get_running_loop(), threading.get_ident()


def test_in_an_async_block_coroutines_run_on_the_callers_loop():
    """So that they can use the sessions and pools that belong to it."""

    async def main():
        async with Orchestrator() as orchestrator:
            loop, thread = (await orchestrator.run_async(flow_of(loop_of_step))).output
        return loop is asyncio.get_running_loop(), thread == threading.get_ident()

    assert (True, True) == asyncio.run(main())


def test_in_a_plain_block_coroutines_run_on_a_thread_of_their_own(orchestrator):
    """One loop for all runs, and not the caller's thread."""
    first, second = (orchestrator.run(flow_of(loop_of_step)).output for _ in range(2))

    assert first == second
    assert threading.get_ident() != first[1]


@pytest.mark.parametrize("async_", [True, False])
def test_plain_functions_never_run_on_the_event_loop(orchestrator, async_):
    """Neither on the orchestrator's own nor on the caller's."""

    def thread():
        return threading.get_ident()

    where = flow_of(thread, async_=async_)

    async def main():
        async with Orchestrator() as here:
            return (await here.run_async(where)).output

    loop_thread = orchestrator.run(flow_of(loop_of_step)).output[1]

    assert orchestrator.run(where).output not in {threading.get_ident(), loop_thread}
    assert threading.get_ident() != asyncio.run(main())


COLOUR = contextvars.ContextVar("COLOUR", default="none")


def test_context_variables_travel_with_a_run(orchestrator):
    """To threads and coroutines, from the caller that started it; a step's changes are its own."""
    flow = Workflow("flow")

    def paint():
        before = COLOUR.get()
        COLOUR.set("changed")
        return before

    async def paint_later():
        await asyncio.sleep(0)
        return paint()

    flow.step(paint, id="a")
    flow.step(paint_later, id="b", after="a")
    flow.step(paint, id="c", after="b", async_=True)
    token = COLOUR.set("red")
    red = orchestrator.run(flow)
    COLOUR.reset(token)
    none = orchestrator.run(flow)

    assert ({"red"}, {"none"}) == (set(red.outputs.values()), set(none.outputs.values()))


def test_a_coroutine_step_has_one_task_of_its_own(orchestrator):
    """The same from its first line to its last, and never another step's that waits."""
    flow = Workflow("flow")

    async def tasks():
        first = asyncio.current_task()
        await asyncio.sleep(0)
        return first, asyncio.current_task()

    for number in range(20):
        flow.step(tasks, id=f"s{number}", async_=True)
    outputs = orchestrator.run(flow).outputs.values()

    assert [] == [pair for pair in outputs if pair[0] is not pair[1]]
    assert 20 == len({id(task) for task, _ in outputs})


def test_a_step_that_cancels_its_own_task_harms_nobody_else(orchestrator):
    """Before it has waited for anything: the next step must not pay for it."""

    async def rash():
        asyncio.current_task().cancel()
        return "returned"

    flow = Workflow("flow")
    for number in range(10):
        flow.step(rash if number % 2 else endless_but_once, id=f"s{number}", async_=True)

    outputs = orchestrator.run(flow).outputs

    assert {"returned", "waited"} == set(outputs.values())


async def endless_but_once():
    """Be a coroutine that waits for a moment."""
    await asyncio.sleep(0)
    return "waited"


# ── What is asked for is checked first ───────────────────────────────────────────────────────


def test_a_missing_input_is_named_before_anything_runs(orchestrator):
    """By `start` itself, with the steps that want it; nothing is recorded."""
    ran = []
    flow = Workflow("flow")
    flow.step(lambda: ran.append(1), id="first")
    flow.step(lambda url, limit=3: ran.append((url, limit)), id="second")
    flow.step(lambda url, token: ran.append((url, token)), id="third")

    for call in (orchestrator.start, orchestrator.run):
        with pytest.raises(MissingInput) as caught:
            call(flow, {"other": 1})

    assert (("url", "token"), (("second", "third"), ("third",))) == (
        caught.value.names,
        caught.value.step_ids,
    )
    assert ([], 0) == (ran, orchestrator.list().total)


def test_an_input_that_no_step_takes_is_refused_before_anything_runs(orchestrator):
    """It would be ignored without a word; and nothing is recorded."""
    flow = flow_of(lambda limit=3: limit)

    for call in (orchestrator.start, orchestrator.run):
        with pytest.raises(UnknownInput, match=r"'limt' \(did you mean 'limit'\?\)"):
            call(flow, {"limt": 4})

    assert 0 == orchestrator.list().total


def test_an_input_that_no_step_names_reaches_a_step_that_takes_all(orchestrator):
    """One that is surely misspelt is warned of."""
    flow = flow_of(lambda inputs, limit=3: (limit, dict(inputs)))

    with pytest.warns(ActorflowWarning, match="Did you mean 'limit'") as caught:
        output = orchestrator.run(flow, {"limt": 4}).output

    assert ((3, {"limt": 4}), [__file__]) == (output, [it.filename for it in caught])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"url": 1},
            (
                "'url' is an input of workflow 'flow', not an option of run(). "
                "Pass inputs as a mapping before the options: {'url': ...}"
            ),
        ),
        (
            {"tiemout": 1},
            (
                "a run has no option 'tiemout'. Did you mean 'timeout'? Its options are: metadata, "
                "timeout, priority, trace_id, correlation_id, business_id, idempotency_key, reuse, "
                "expires, key, on_conflict, debounce, at, delay, attributes, detached, "
                "on_parent_end. "
                "Inputs are passed as a mapping, before the options."
            ),
        ),
    ],
    ids=["input", "misspelt"],
)
def test_an_option_of_a_run_that_there_is_not_is_refused(orchestrator, options, text):
    """An input that was passed by name is told apart from a misspelling."""
    for call in (orchestrator.start, orchestrator.run):
        with pytest.raises(TypeError) as caught:
            call(flow_of(lambda url: url), **options)

        assert text == str(caught.value)


def test_an_input_that_is_not_given_takes_its_default(orchestrator):
    """And one that is given does not."""
    flow = flow_of(lambda limit=3: limit)

    assert (3, 4) == (orchestrator.run(flow).output, orchestrator.run(flow, {"limit": 4}).output)


def test_inputs_are_taken_as_they_are_when_the_run_starts(orchestrator, gate):
    """What the caller does to its dictionary afterwards is its own affair."""
    flow, inputs = Workflow("flow"), {"value": 1, "gate": gate}
    flow.step(lambda gate: gate.opened.wait(GUARD), id="first")
    flow.step(lambda value: value, id="second", after="first")
    run = orchestrator.start(flow, inputs)
    inputs["value"] = 2
    gate.open()

    assert 1 == run.result(GUARD).outputs["second"]
    with pytest.raises(TypeError):
        run.snapshot().inputs["value"] = 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"inputs": [1]}, "inputs=[1] is not a mapping"),
        ({"metadata": "m"}, "metadata='m' is not a mapping"),
        ({"priority": 1.5}, "priority must be a whole number; got 1.5."),
        ({"priority": True}, "priority must be a whole number; got True."),
        ({"timeout": 0}, "got 0."),
        ({"timeout": timedelta(-1)}, "got datetime.timedelta"),
        (
            {"timeout": float("nan")},
            "'flow': timeout must be a positive number of seconds or a timedelta; got nan.",
        ),
        ({"trace_id": 5}, "trace_id=5 is not a string"),
        ({"metadata": {"business_id": 5}}, "business_id=5 is not a string"),
    ],
    ids=str,
)
def test_an_argument_that_makes_no_sense_is_refused(orchestrator, arguments, text):
    """With its name and its value, and nothing is recorded."""
    with pytest.raises(DefinitionError) as caught:
        orchestrator.start(flow_of(fine), **arguments)

    assert text in str(caught.value)
    assert 0 == orchestrator.list().total


@pytest.mark.parametrize(
    ("flow", "cure"),
    [
        (5, "Pass a Workflow, or the id of a registered one."),
        (None, "Pass a Workflow, or the id of a registered one."),
        (Workflow, "Pass a Workflow, or the id of a registered one."),
        (fine, "Pass the Workflow that it is a step of, or the id of a registered one."),
        (Step("a", fine), "Pass the Workflow that it is a step of, or the id of a registered one."),
        (WorkflowBuilder("a", "A"), "Call .build() on a builder."),
    ],
    ids=["number", "nothing", "class", "function", "step", "builder"],
)
def test_what_is_no_workflow_is_refused(orchestrator, flow, cure):
    """The text says what would be one."""
    with pytest.raises(DefinitionError) as caught:
        orchestrator.start(flow)

    assert str(caught.value).endswith(f" is not a workflow. {cure}")


def test_a_limit_may_be_a_timedelta():
    """As every duration may."""
    limits = {"stop_grace": timedelta(seconds=1), "blocked_after": timedelta(seconds=0.1)}
    with Orchestrator(**limits) as orchestrator:
        assert "fine" == orchestrator.run(flow_of(fine)).output


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            20,
            "state=20 is not a state manager: it has no create(), claim(), ",
        ),
        (MemoryStateManager, "is a class. Pass an instance."),
        (
            "sqlite:///x.db",
            (
                "state must be a state manager, not a string. For a database URL pass "
                "SQLStateManager('sqlite:///x.db')."
            ),
        ),
        ("postgresql://me:secret@host/db", "pass SQLStateManager('postgresql://me:***@host/db')."),
    ],
    ids=["number", "class", "URL", "URL with a password"],
)
def test_what_is_no_state_manager_is_refused(state, text):
    """Before anything is started."""
    with pytest.raises(DefinitionError) as caught:
        Orchestrator(state)

    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("executors", "text"),
    [
        ([1], "executors must be a mapping; got [1]. Give each a name"),
        (
            {"pool": 3},
            "is not an executor: it has no open(), submit(), stop(), abandon(), close(). Pass",
        ),
        (
            {"pool": concurrent.futures.ThreadPoolExecutor},
            "executors['pool'] is a class, ThreadPoolExecutor. Pass an instance: ThreadPoolExecut",
        ),
        ({"coroutine": 3}, "takes the event loop's own name. Give the executor another name."),
    ],
    ids=["list", "number", "class", "name"],
)
def test_what_is_no_executor_is_refused(executors, text):
    """Before anything is started."""
    with pytest.raises(DefinitionError) as caught:
        Orchestrator(executors=executors)

    assert text in str(caught.value)


@pytest.mark.parametrize("observers", [print, ["x"]], ids=["no list", "no callable"])
def test_what_is_no_observer_is_refused(observers):
    """Before anything is started, and not when the orchestrator shuts down."""
    with pytest.raises(DefinitionError, match="observers"):
        Orchestrator(observers=observers)


def test_an_option_of_an_orchestrator_that_there_is_not_is_refused():
    """With what may be meant."""
    with pytest.raises(TypeError, match=r"'async_worker'. Did you mean 'async_workers'"):
        Orchestrator(async_worker=3)


@pytest.mark.parametrize(
    "options",
    [
        {"async_workers": 0},
        {"async_workers": 1.0},
        {"max_active_runs": 0},
        {"max_queued_runs": -1},
        {"when_full": "wait"},
        {"max_abandoned": 0},
        {"stop_grace": 0},
        {"blocked_after": -1},
        {"blocked_after": float("nan")},
        {"ageing": 0},
        {"ageing": -1.0},
        {"ageing": float("nan")},
        {"ageing": True},
        {"ageing": "1 minute"},
    ],
    ids=str,
)
def test_a_limit_that_makes_no_sense_is_refused(options):
    """With its name, before anything is started."""
    (name,) = options

    with pytest.raises(DefinitionError, match=rf"^{name} must be "):
        Orchestrator(**options)


def test_a_step_may_change_its_definition_while_others_run(orchestrator, gate):
    """A run takes the plan that was valid when it started."""
    flow = Workflow("flow")
    flow.step(lambda: gate.opened.wait(GUARD), id="first")
    run = orchestrator.start(flow)
    flow.step(fine, id="second")
    gate.open()

    assert {"first"} == set(run.result(GUARD).outputs)
    assert {"first", "second"} == set(orchestrator.run(flow).outputs)


# ── Executors ────────────────────────────────────────────────────────────────────────────────


def test_a_step_names_the_executor_that_runs_it(make_orchestrator):
    """Any pool of the standard library will do."""
    with concurrent.futures.ThreadPoolExecutor(1, "mine") as pool:
        orchestrator = make_orchestrator(executors={"pool": pool})
        name = orchestrator.run(
            flow_of(lambda: threading.current_thread().name, executor="pool")
        ).output
        error = orchestrator.start(flow_of(broken, executor="pool")).wait(GUARD).error

    assert name.startswith("mine")
    assert isinstance(error, LookupError)


def test_a_pool_that_is_shut_down_fails_the_step(make_orchestrator):
    """The attempt could not be submitted: that is the attempt's failure alone."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.shutdown()
    orchestrator = make_orchestrator(executors={"pool": pool})

    result = orchestrator.start(flow_of(fine, executor="pool")).wait(GUARD)

    assert (RunStatus.FAILED, RuntimeError) == (result.status, type(result.error))


def _wants_context(ctx):
    return ctx.attempt


@pytest.mark.parametrize(
    "flow",
    [
        flow_of(_wants_context, executor="pool"),
        flow_of(_wants_context, executor="pool", async_=True),
        flow_of(fine, compensate=Step("undo", _wants_context, executor="pool")),
    ],
    ids=["step", "async step", "compensator"],
)
def test_a_step_that_takes_its_context_is_refused_for_a_pool_of_processes(make_orchestrator, flow):
    """It cannot be pickled; the error comes when the run is started, with the cure."""
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        orchestrator = make_orchestrator(executors={"pool": pool})
        with pytest.raises(DefinitionError) as caught:
            orchestrator.start(flow)

        assert 0 == orchestrator.list().total

    assert ("flow", "step") == (caught.value.workflow_id, caught.value.step_id)
    assert "_wants_context() takes ctx, which cannot be sent to the processes" in str(caught.value)
    assert "leave executor= out to run it on a thread" in str(caught.value)


@pytest.mark.parametrize(
    "flow",
    [
        flow_of(lambda: 1, executor="pool"),
        flow_of(fine, compensate=Step("undo", lambda: 1, executor="pool")),
    ],
    ids=["step", "compensator"],
)
def test_a_function_that_cannot_be_pickled_is_refused_for_a_pool_of_processes(
    make_orchestrator, flow
):
    """Such as a lambda; a thread can run it."""
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        orchestrator = make_orchestrator(executors={"pool": pool})
        with pytest.raises(DefinitionError) as caught:
            orchestrator.start(flow)

    assert ("flow", "step") == (caught.value.workflow_id, caught.value.step_id)
    assert "<lambda>() cannot be sent to the processes of executor 'pool': " in str(caught.value)
    assert "Use a function at the top level of a module" in str(caught.value)


def test_a_step_may_take_its_context_in_a_pool_of_threads(make_orchestrator):
    """It stays within the process."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        orchestrator = make_orchestrator(executors={"pool": pool})

        assert 1 == orchestrator.run(flow_of(_wants_context, executor="pool")).output


@pytest.mark.parametrize("interval", [0, timedelta(0)], ids=["number", "timedelta"])
def test_a_failed_attempt_may_be_followed_by_another_at_once(orchestrator, interval):
    """A wait of zero is legitimate."""

    def third(ctx):
        if ctx.attempt < 3:
            raise LookupError("not yet")
        return ctx.attempt

    run = orchestrator.start(flow_of(third, retry=RetryPolicy(initial_interval=interval)))
    run.wait(GUARD)

    delays = [event.data["delay"] for event in run.events() if event.kind == "step.retrying"]
    assert (3, [0.0, 0.0]) == (run.result().output, delays)


def test_an_executor_that_is_not_there_is_named_before_anything_runs(orchestrator):
    """With those that are."""
    with pytest.raises(UnknownExecutor, match=r"'gpu'.*'thread'.*'coroutine'"):
        orchestrator.start(flow_of(fine, executor="gpu"))

    assert 0 == orchestrator.list().total


@pytest.mark.parametrize(("body", "executor"), [(endless, "thread"), (fine, "coroutine")])
def test_functions_of_the_wrong_kind_for_an_executor_are_refused(orchestrator, body, executor):
    """A coroutine function needs the loop, and a plain one would block it."""
    with pytest.raises(DefinitionError, match=f"cannot run in executor '{executor}'"):
        orchestrator.start(flow_of(body, executor=executor))


def test_functions_of_the_wrong_kind_are_refused_before_anything_is_started():
    """Also the compensators, and whatever executors the orchestrator will have."""
    for options in ({"executor": "pool"}, {"compensate": Step("u", endless, executor="pool")}):
        body = endless if "executor" in options else fine
        with pytest.raises(DefinitionError, match="coroutine function cannot run in executor 'po"):
            flow_of(body, **options).validate()


def test_too_many_abandoned_threads_fail_the_next_step(make_orchestrator, gate):
    """Until one of them returns: then there is room again."""
    orchestrator = make_orchestrator(max_abandoned=1)
    entered, left = threading.Event(), threading.Event()
    until_entered = RetryPolicy(
        max_attempts=10_000,
        initial_interval=0.001,
        multiplier=1,
        retryable_errors=lambda _error: not entered.is_set(),
    )

    def hangs():
        entered.set()
        gate.opened.wait(GUARD)
        left.set()

    orchestrator.start(flow_of(hangs, timeout=0.01, retry=until_entered)).wait(GUARD)
    refused = orchestrator.start(flow_of(fine)).wait(GUARD)
    gate.open()
    left.wait(GUARD)
    statuses = (orchestrator.start(flow_of(fine)).wait(GUARD).status for _ in itertools.count())

    assert isinstance(refused.error, TooManyAbandoned)
    assert RunStatus.COMPLETED in statuses  # as soon as the thread has said that it is back


def test_a_coroutine_that_blocks_the_loop_is_reported(make_orchestrator):
    """In the log while it lasts, and as an event with the stack when the loop turns again."""
    reported = threading.Event()

    class Listening(logging.Handler):
        def emit(self, record):
            if "step.blocking" in record.getMessage():
                reported.set()

    async def blocks(ctx):
        reported.wait(GUARD)
        async for event in orchestrator.get(ctx.run_id).events():
            if event.kind == "step.blocking":
                return event
        return None

    orchestrator, handler = make_orchestrator(blocked_after=0.01), Listening()
    logging.getLogger("actorflow").addHandler(handler)
    try:
        event = orchestrator.start(flow_of(blocks)).result(GUARD).output
    finally:
        logging.getLogger("actorflow").removeHandler(handler)

    assert reported.is_set()
    assert ("step", 1) == (event.step_id, event.attempt)
    assert "reported.wait(GUARD)" in event.data["stack"]


def test_a_coroutine_that_blocks_the_loop_beyond_its_timeout_has_timed_out():
    """No timer could fire in the meantime, and still the timeout is kept."""

    async def blocks():
        time.sleep(0.2)  # noqa: ASYNC251 - the very mistake

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(blocks, async_=True, timeout=0.05))
        ended = run.wait(GUARD)

    assert isinstance(ended.error, StepTimeout)
    assert "step.timed_out" in [event.kind for event in run._runtime.state.events(run.id)]


def test_never_to_report_a_blocked_loop_can_be_asked_for(make_orchestrator):
    """Infinity is the natural spelling; the watchdog must survive it."""
    assert "fine" == make_orchestrator(blocked_after=float("inf")).run(flow_of(fine)).output


# ── Registered workflows ─────────────────────────────────────────────────────────────────────


def versioned(version, *functions):
    """A version of one workflow."""
    flow = Workflow("flow", version=version)
    for function in functions:
        flow.step(function)
    return flow


def test_a_registered_id_stands_for_its_workflow(orchestrator):
    """The version that was registered last."""
    orchestrator.register(versioned("2", fine))
    orchestrator.register(versioned("1", loop_of_step))

    assert {"loop_of_step"} == set(orchestrator.run("flow").outputs)

    orchestrator.register(versioned("2", fine))

    assert {"fine"} == set(orchestrator.run("flow").outputs)


def test_an_unknown_id_is_refused_with_the_known_ones(orchestrator):
    """Nothing is started."""
    orchestrator.register(versioned("1", fine))

    with pytest.raises(UnknownWorkflow, match=r"no workflow 'other' is registered .*'flow'"):
        orchestrator.start("other")


def test_a_different_definition_under_a_taken_version_is_a_conflict(orchestrator):
    """An equal one is not, and neither is a new version; the first one stays."""
    orchestrator.register(versioned("1", fine))
    orchestrator.register(versioned("1", fine))
    orchestrator.register(versioned("2", fine, broken))

    with pytest.raises(DefinitionConflict, match="'flow' version '1' is registered already"):
        orchestrator.register(versioned("1", fine, broken))


def _adding(number):
    def add(value):
        return value + number

    return add


def _decorated(function):
    @functools.wraps(function)
    def wrapper(*values, **options):
        return function(*values, **options)

    return wrapper


@pytest.mark.parametrize(
    "flow",
    [
        flow_of(lambda: 1),
        flow_of(_adding(1)),
        flow_of(functools.partial(_adding(1), 2)),
        flow_of(fine, compensate=lambda: 1),
        flow_of(fine, compensate=Step("undo", lambda: 1)),
    ],
    ids=["lambda", "closure", "partial", "compensator", "compensating step"],
)
def test_a_function_that_shares_its_name_is_warned_of_where_runs_outlive_the_process(
    make, make_orchestrator, flow
):
    """Another one may be resumed in its place; in memory there is no other program."""
    with pytest.warns(ActorflowWarning, match=r"'flow' 1.0.0: step 'step' .* a named function"):
        Orchestrator(make()).register(flow)

    Orchestrator(MemoryStateManager()).register(flow)


@pytest.mark.parametrize(
    "body",
    [fine, _decorated(fine), functools.partial(fine), Gate().open],
    ids=["function", "decorated", "partial", "method"],
)
def test_a_named_function_is_not_warned_of(make, body):
    """Nor is a definition that was registered before."""
    orchestrator = Orchestrator(make())

    orchestrator.register(flow_of(body))
    orchestrator.register(flow_of(body))


def test_a_flow_is_registered_before_the_start():
    """Knowing workflows takes nothing that runs."""
    orchestrator = Orchestrator()
    orchestrator.register(flow_of(fine))

    with orchestrator:
        assert "fine" == orchestrator.run("flow").output


# ── Finding runs again ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ask", ["get", "resume"])
def test_an_unknown_run_is_not_found(orchestrator, ask):
    """The text names it."""
    with pytest.raises(RunNotFound, match="there is no run 'unknown'"):
        getattr(orchestrator, ask)("unknown")


@pytest.mark.parametrize("ask", ["get", "resume"])
def test_what_is_no_id_of_a_run_is_refused(orchestrator, ask):
    """A run that is passed itself, above all."""
    run = orchestrator.start(flow_of(fine))
    run.wait(GUARD)

    with pytest.raises(DefinitionError, match=rf"{ask}\(\) takes .* completed>. Pass its .id"):
        getattr(orchestrator, ask)(run)
    with pytest.raises(DefinitionError, match=r"not 7. Pass the .id of a Run"):
        getattr(orchestrator, ask)(7)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_resumption_that_fails_leaves_the_record_as_it_was(orchestrator, monkeypatch, error):
    """Nothing is written into it by an orchestrator that could not go on with the run."""

    def fails(_runtime, _message):
        raise error

    flow = flow_of(broken)
    run = orchestrator.start(flow)
    failed, events = run.wait(GUARD), list(run.events())
    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "start", fails)
        with pytest.raises(error):
            orchestrator.resume(run.id, flow)
    settled(orchestrator)

    assert (failed, events) == (orchestrator.get(run.id).wait(GUARD), list(run.events()))
    assert orchestrator.resume(run.id, flow).wait(GUARD).steps["step"].attempts == 1


def settled(orchestrator):
    """Return once no run is in progress."""
    while orchestrator._life.live.ids():
        threading.Event().wait(0.001)


def test_a_run_is_resumed_in_the_version_that_it_was_started_in(orchestrator):
    """Which has to be registered, or handed in."""
    mended = []

    def step():
        return mended[0]

    flow = flow_of(step)
    run = orchestrator.start(flow)
    run.wait(GUARD)

    with pytest.raises(UnknownWorkflow, match=r"'flow' version '1.*resume\(run_id, flow\)"):
        orchestrator.resume(run.id)

    orchestrator.register(flow)
    mended.append("mended")

    assert "mended" == orchestrator.resume(run.id).result(GUARD).output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "other"}, "belongs to workflow 'flow' 1, not 'other' 1. Pass"),
        ({"version": "2", "steps": ["b"]}, "belongs to workflow 'flow' 1, not 'flow' 2. Pass"),
        ({"steps": ["b"]}, "workflow 'flow': it has other steps than run"),
        ({"steps": ["a", "b", "c"]}, "workflow 'flow': it has other steps than run"),
    ],
    ids=str,
)
def test_a_run_is_not_resumed_by_another_workflow(orchestrator, change, said):
    """Its record would not fit: refused at once, and the run stays as it was."""

    def flow_with(id="flow", version="1", steps=("a", "b")):
        flow = Workflow(id, version=version)
        for step_id in steps:
            flow.step(broken if step_id == "b" else fine, id=step_id)
        return flow

    run = orchestrator.start(flow_with())
    failed = run.wait(GUARD)

    with pytest.raises(DefinitionError, match=re.escape(said)):
        orchestrator.resume(run.id, flow_with(**change)).wait(GUARD)
    assert failed == orchestrator.get(run.id).wait(GUARD)


def test_a_run_that_is_resumed_by_several_at_once_runs_once(orchestrator, quick_switching):
    """Everybody gets the one run that goes on."""
    calls, mended = itertools.count(), threading.Event()

    def step():
        next(calls)
        if not mended.is_set():
            raise OSError
        return "mended"

    flow = flow_of(step)
    for _ in range(20):
        mended.clear()
        failed = orchestrator.start(flow)
        failed.wait(GUARD)
        mended.set()
        before, together = next(calls), threading.Barrier(4)

        def resume(run_id=failed.id, together=together):
            together.wait(GUARD)
            return orchestrator.resume(run_id, flow).result(GUARD).output

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            outputs = [future.result(GUARD) for future in [pool.submit(resume) for _ in "1234"]]

        assert (["mended"] * 4, before + 2) == (outputs, next(calls))


def test_a_resumed_run_is_not_forgotten_while_it_goes_on(make_orchestrator, gate):
    """It had ended before, but it has not now: the memory's limit is for finished runs."""
    orchestrator = make_orchestrator(MemoryStateManager(max_runs=1))
    mended = []

    def step():
        return mended[0].wait(GUARD)

    flow = flow_of(step)
    run = orchestrator.start(flow)
    run.wait(GUARD)
    mended.append(gate.opened)
    resumed = orchestrator.resume(run.id, flow)
    next(event for event in resumed.events() if event.kind == "step.started" and event.number > 5)
    for _ in range(3):
        orchestrator.run(flow_of(fine))
    gate.open()

    assert resumed.wait(GUARD).output is True


def test_the_memory_of_runs_that_were_resumed_often_is_counted_right(make_orchestrator):
    """Each of their events counts once: the youngest ten events stay."""
    orchestrator = make_orchestrator(MemoryStateManager(max_events=100))
    flow = flow_of(broken)
    run = orchestrator.start(flow)
    for _ in range(10):
        run.wait(GUARD)
        run = orchestrator.resume(run.id, flow)
    run.wait(GUARD)
    younger = orchestrator.start(flow_of(fine))
    younger.wait(GUARD)

    assert 6 + 10 * 5 == len(list(orchestrator.get(run.id).events()))
    assert 2 == orchestrator.list().total


def test_a_run_can_be_waited_for_as_soon_as_it_can_be_found(make_orchestrator):
    """It is looked up in the instant in which it is accepted."""
    found = []

    class Eager(MemoryStateManager):
        def create(self, record, done):
            super().create(record, done)
            with contextlib.suppress(RunNotFound):
                found.append(orchestrator.get(record.run_id))
            return True

    orchestrator = make_orchestrator(Eager())
    orchestrator.run(flow_of(fine))

    assert ["fine"] == [run.wait(GUARD).output for run in found]


def test_a_run_that_is_resumed_while_it_is_looked_up_can_be_waited_for(make_orchestrator, gate):
    """It was finished when the search began, and is in progress when its record is read."""
    mended, to_resume = [], []

    class Looked(MemoryStateManager):
        def snapshot(self, run_id):
            if to_resume:
                seen(orchestrator.resume(to_resume.pop(), flow), "run.resumed")
            return super().snapshot(run_id)

    def step():
        return mended[0].opened.wait(GUARD)

    orchestrator, flow = make_orchestrator(Looked()), flow_of(step)
    run = orchestrator.start(flow)
    run.wait(GUARD)
    mended.append(gate)
    to_resume.append(run.id)
    found = orchestrator.get(run.id)
    gate.open()

    assert found.wait(GUARD).output is True


@pytest.mark.parametrize("kinds", [(), STARTED])
def test_a_run_that_nobody_runs_is_cancelled_at_once(make_orchestrator, kinds):
    """No owner has to be asked, and its handle then has its result."""
    state = MemoryStateManager()
    accept(state, accepted("left"))
    state.record(happened(*kinds, run_id="left"), lambda _error: None)
    left = make_orchestrator(state).get("left")
    left.cancel("not wanted")
    left.cancel("twice")

    result = left.wait(GUARD)
    assert ("cancelled", "not wanted") == (result.status, result.reason)
    assert "cancelled" == state.snapshot("left").status
    # Its acceptance is recorded with its end if it was not before.
    assert (len(kinds) or 1) + 2 == len(state.events("left"))


def test_a_run_that_nobody_runs_is_not_undone_without_its_workflow(make_orchestrator):
    """And it is said what to do instead."""
    state = MemoryStateManager()
    accept(state, accepted("left"))
    state.record(happened(*STARTED, run_id="left"), lambda _error: None)
    left = make_orchestrator(state).get("left")

    with pytest.raises(RunUnattended, match=r"to undo it takes its workflow\. Resume it with"):
        left.cancel(compensate=True)
    assert "running" == left.status


def test_a_run_that_was_looked_up_before_it_went_on_here_is_cancelled(make_orchestrator, gate):
    """Its handle is an old one, and means the same run."""
    state = MemoryStateManager()
    orchestrator = make_orchestrator(state)
    accept(state, accepted("left", workflow_id=gate.flow.id, step_ids=tuple(gate.flow.steps)))
    old = orchestrator.get("left")
    resumed = orchestrator.resume("left", gate.flow)
    old.cancel("enough")
    gate.open()

    assert ("cancelled", "enough") == (resumed.wait(GUARD).status, resumed.wait(GUARD).reason)


@pytest.mark.parametrize(("kinds", "says"), [((), "pending"), (STARTED, "running")])
def test_the_end_of_a_run_that_nobody_runs_is_not_waited_for(make_orchestrator, kinds, says):
    """Its process is gone, say. It can be looked at, and it can go on."""
    state, flow = MemoryStateManager(), Workflow("flow")
    flow.step(fine, id="a")
    accept(state, accepted("left"))
    state.record(happened(*kinds, run_id="left"), lambda _error: None)
    orchestrator = make_orchestrator(state)
    left = orchestrator.get("left")

    assert [*kinds] == [event.kind for event in left.events()]
    with pytest.raises(RunUnattended, match=rf"says '{says}', .* call orchestrator.resume"):
        left.wait(GUARD)
    with pytest.raises(RunUnattended):
        asyncio.run(left.wait_async())
    assert "completed" == orchestrator.resume("left", flow).wait(GUARD).status
    assert "completed" == orchestrator.get("left").wait(GUARD).status


def test_a_resumed_run_has_as_much_time_as_it_was_given_at_first(orchestrator):
    """Its workflow may give it more, or less."""
    patient = Workflow("patient", timeout=3600)
    patient.step(endless)
    cut = orchestrator.start(patient, timeout=0.01).wait(GUARD)
    again = orchestrator.resume(cut.run_id, patient).wait(GUARD)

    assert ["DeadlineExceeded"] * 2 == [type(run.error).__name__ for run in (cut, again)]
    assert 0.01 == orchestrator.get(cut.run_id).snapshot().timeout


def test_a_run_that_came_too_late_is_not_left_behind_as_pending(make_orchestrator):
    """The orchestrator closes while the run is being accepted."""

    class Closing(MemoryStateManager):
        def create(self, record, done):
            super().create(record, done)
            orchestrator.shutdown(drain=0)
            return True

    state = Closing()
    orchestrator = make_orchestrator(state)
    with pytest.raises(OrchestratorClosed):
        orchestrator.start(flow_of(fine))

    assert 0 == state.list(status=RunStatus.PENDING).total


# ── A state manager that takes its time, or breaks ───────────────────────────────────────────


class Slow(MemoryStateManager):
    """Records when it is told to."""

    def __init__(self):
        super().__init__()
        self.waiting = []
        self.changed = threading.Condition()

    def record(self, events, done):
        """Put a batch aside."""
        with self.changed:
            self.waiting.append((events, done))
            self.changed.notify_all()
        return False

    def commit(self):
        """Record the oldest batch, once there is one; return its kinds."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.waiting, GUARD)
            events, done = self.waiting.pop(0)
        super().record(events, done)
        done(None)
        return [event.kind.value for event in events]


def test_nothing_is_acknowledged_before_it_is_recorded(make_orchestrator):
    """The completion of a step is not shown before it is in the record."""
    state, ran, told = Slow(), [], []
    flow = Workflow("flow")
    flow.step(lambda: ran.append("first"), id="first")
    flow.step(lambda: ran.append("second"), id="second", after="first")
    orchestrator = make_orchestrator(state)
    run = orchestrator.start(flow)

    while "run.completed" not in told:
        assert not run.done
        assert "step.completed" in told or "second" not in ran
        told += state.commit()

    assert (RunStatus.COMPLETED, ["first", "second"]) == (run.wait(GUARD).status, ran)


@pytest.mark.parametrize("kind", ["run.started", "step.started", "step.completed", "run.completed"])
def test_a_state_manager_that_breaks_for_good_does_not_leave_the_run_hanging(
    make_orchestrator, kind
):
    """Its end is reported to those who wait, whatever kind of event cannot be recorded."""
    broke = []

    class Breaking(MemoryStateManager):
        def record(self, events, done):
            if any(event.kind == kind for event in events):
                broke.append(True)
                raise OSError("disk full")
            return super().record(events, done)

    orchestrator = make_orchestrator(Breaking())
    run = orchestrator.start(flow_of(fine))

    assert run.wait(GUARD).status in {RunStatus.FAILED, RunStatus.CANCELLED}
    assert [True] == broke[:1]


# ── Admission ────────────────────────────────────────────────────────────────────────────────


def test_a_full_orchestrator_rejects_when_it_was_told_to(make_orchestrator, gate):
    """The numbers are in the error; a run that ends makes room again."""
    orchestrator = make_orchestrator(max_active_runs=1, max_queued_runs=2, when_full="reject")
    runs = [orchestrator.start(gate.flow) for _ in range(3)]

    async def start_async():
        await orchestrator.start_async(gate.flow)

    for call in (lambda: orchestrator.start(gate.flow), lambda: asyncio.run(start_async())):
        with pytest.raises(Overloaded) as caught:
            call()
        assert (1, 2, 1, 2) == (
            caught.value.active,
            caught.value.queued,
            caught.value.max_active,
            caught.value.max_queued,
        )
    gate.open()
    runs[0].result(GUARD)

    assert orchestrator.run(gate.flow).output is True
    assert [True, True] == [run.result(GUARD).output for run in runs[1:]]


def in_line(orchestrator, count):
    """Return once so many callers wait at the door."""
    door = orchestrator._life.admission
    while len(door._waiting) < count:
        threading.Event().wait(0.001)


def test_a_full_orchestrator_blocks_until_there_is_room(make_orchestrator, gate):
    """Callers on threads and on loops are let in as runs end, in the order in which they came."""
    orchestrator = make_orchestrator(max_active_runs=1, max_queued_runs=0)
    order = []
    first = orchestrator.start(gate.flow)

    async def start_async():
        run = await orchestrator.start_async(flow_of(lambda: order.append("second")))
        await run

    blocked = in_thread(lambda: orchestrator.run(flow_of(lambda: order.append("first"))))
    in_line(orchestrator, 1)
    awaiting = in_thread(lambda: asyncio.run(start_async()))
    in_line(orchestrator, 2)
    before = orchestrator.list().total
    gate.open()
    blocked.result(GUARD)
    awaiting.result(GUARD)

    assert (1, True, ["first", "second"]) == (before, first.wait().output, order)
    assert 1 == orchestrator._life.admission.free


def test_a_caller_who_stops_waiting_at_the_door_leaves_the_line(make_orchestrator, gate):
    """His place is not lost to the others."""
    orchestrator = make_orchestrator(max_active_runs=1, max_queued_runs=0)
    orchestrator.start(gate.flow)

    async def give_up():
        task = asyncio.ensure_future(orchestrator.start_async(gate.flow))
        await asyncio.sleep(0)
        in_line(orchestrator, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    patient = in_thread(lambda: orchestrator.run(flow_of(fine)).output)
    gate.open()

    assert "fine" == patient.result(GUARD)
    assert "fine" == orchestrator.run(flow_of(fine)).output


def test_on_its_own_loop_a_full_orchestrator_never_blocks(gate):
    """To wait there would be to wait for oneself; `start_async` can."""

    async def main():
        async with Orchestrator(max_active_runs=1, max_queued_runs=0) as orchestrator:
            orchestrator.start(gate.flow)
            with pytest.raises(Overloaded):
                orchestrator.start(gate.flow)
            waiting = asyncio.ensure_future(orchestrator.run_async(flow_of(fine)))
            await asyncio.sleep(0)
            gate.open()
            return (await waiting).output

    assert "fine" == asyncio.run(main())


def test_resuming_on_the_own_loop_never_blocks_either(gate):
    """Not even while a thread waits at the door with a run that it wants to resume."""
    flow = flow_of(broken)

    async def main():
        async with Orchestrator(max_active_runs=1, max_queued_runs=0) as orchestrator:
            failed = [await orchestrator.start_async(flow) for _ in range(2)]
            for run in failed:
                await run.wait_async()
            await orchestrator.start_async(gate.flow)
            patient = in_thread(lambda: orchestrator.resume(failed[0].id, flow))
            in_line(orchestrator, 1)
            with pytest.raises(Overloaded):
                orchestrator.resume(failed[1].id, flow)
            gate.open()
            resumed = await asyncio.wrap_future(patient)
            return (await resumed.wait_async()).status

    assert "failed" == in_thread(lambda: asyncio.run(main())).result(GUARD)


def test_a_refused_run_takes_no_place(make_orchestrator):
    """Whatever it is refused for."""
    orchestrator = make_orchestrator(max_active_runs=1, max_queued_runs=0, when_full="reject")
    for _ in range(3):
        with pytest.raises(MissingInput):
            orchestrator.start(flow_of(lambda url: url))

    assert "fine" == orchestrator.run(flow_of(fine)).output


def test_a_full_orchestrator_still_cancels_and_looks(make_orchestrator, gate):
    """Being full concerns new runs only."""
    orchestrator = make_orchestrator(max_active_runs=1, max_queued_runs=1, when_full="reject")
    running, waiting = (orchestrator.start(flow_of(endless)) for _ in range(2))
    seen(running, "step.started")

    assert {"running": 1, "pending": 1} == {
        status: orchestrator.list(status=status).total for status in ("running", "pending")
    }

    running.cancel()
    seen(waiting, "step.started")
    waiting.cancel()

    assert ["cancelled"] * 2 == [run.wait(GUARD).status for run in (running, waiting)]


# ── Timeouts of runs ─────────────────────────────────────────────────────────────────────────


def test_a_run_that_takes_too_long_is_cut(orchestrator):
    """Its coroutine is cancelled; what was completed is in the result."""

    def start(timeout):
        flow = Workflow("flow", timeout=timeout)
        flow.step(fine, id="first")
        flow.step(endless, id="second", after="first")
        flow.step(fine, id="third", after="second")
        return orchestrator.start(flow)

    with pytest.raises(RunTimeout) as caught:
        timed_out(start, "step.completed").result()

    result = caught.value.result
    states = {step.step_id: step.status.value for step in result.steps.values()}
    assert {"first": "completed", "second": "cancelled", "third": "cancelled"} == states
    assert {"first": "fine"} == result.outputs


def test_a_run_whose_thread_hangs_is_cut_too(orchestrator, gate):
    """After the grace it ends without the thread."""
    run = timed_out(
        lambda timeout: orchestrator.start(gate.flow, timeout=timeout), "step.abandoned"
    )

    with pytest.raises(RunTimeout):
        run.result()


def test_a_run_can_time_out_while_it_waits_for_its_turn(make_orchestrator, gate):
    """Its clock runs from the start that was asked for; it never begins."""
    orchestrator = make_orchestrator(max_active_runs=1)
    orchestrator.start(gate.flow)
    run = orchestrator.start(flow_of(fine), timeout=timedelta(milliseconds=10))

    with pytest.raises(RunTimeout) as caught:
        run.result(GUARD)

    assert ["run.accepted", "step.cancelled", "run.failed"] == [it.kind for it in run.events()]
    assert caught.value.result.started_at is None


def test_a_runs_timeout_replaces_its_workflows(orchestrator):
    """In either direction."""
    flow = Workflow("flow", timeout=0.01)
    flow.step(lambda ctx: ctx.remaining > 1, id="step")
    patient = Workflow("patient", timeout=3600)
    patient.step(endless)

    assert orchestrator.run(flow, timeout=3600).output is True
    with pytest.raises(RunTimeout):
        orchestrator.run(patient, timeout=0.01)


# ── Failures ─────────────────────────────────────────────────────────────────────────────────


def test_a_failure_stops_what_runs_and_what_waits(orchestrator):
    """The running sibling is cancelled, the pending step never starts."""
    flow, together = Workflow("flow"), threading.Event()

    @flow.step(async_=True)
    async def running():
        together.set()
        await asyncio.Event().wait()

    @flow.step(async_=True)
    def fails():
        together.wait(GUARD)
        raise LookupError

    flow.step(fine, id="pending", after="running")
    result = orchestrator.start(flow).wait(GUARD)

    states = {step.step_id: step.status.value for step in result.steps.values()}
    assert {"running": "cancelled", "fails": "failed", "pending": "cancelled"} == states
    assert ("fails", RunStatus.FAILED) == (result.failed_step, result.status)


def test_without_fail_fast_independent_branches_finish_first(orchestrator):
    """Only what depends on the failure is cancelled; the first failure is the run's."""
    flow, failed = Workflow("flow", fail_fast=False), threading.Event()
    flow.step(broken, id="fails", async_=True)
    flow.step(fine, id="below", after="fails")
    flow.step(fine, id="far_below", after="below")
    flow.step(lambda: failed.wait(GUARD), id="beside", async_=True)
    flow.step(fine, id="after_beside", after="beside")
    run = orchestrator.start(flow)
    seen(run, "step.failed")
    failed.set()
    result = run.wait(GUARD)

    states = {step.step_id: step.status.value for step in result.steps.values()}
    assert {
        "fails": "failed",
        "below": "cancelled",
        "far_below": "cancelled",
        "beside": "completed",
        "after_beside": "completed",
    } == states
    assert (RunStatus.FAILED, "fails") == (result.status, result.failed_step)


# ── Before the start and after the end ───────────────────────────────────────────────────────


def uses(orchestrator):
    """Every way to use an orchestrator that takes one that runs."""
    flow = flow_of(fine)
    return [
        lambda: orchestrator.run(flow),
        lambda: orchestrator.start(flow),
        lambda: asyncio.run(orchestrator.run_async(flow)),
        lambda: asyncio.run(orchestrator.start_async(flow)),
        lambda: orchestrator.get("run"),
        lambda: orchestrator.resume("run"),
        orchestrator.list,
    ]


@pytest.mark.parametrize("use", range(7))
def test_nothing_works_before_the_start(use):
    """The text says how to start."""
    with pytest.raises(NotRunning, match="Enter it with `with`, or"):
        uses(Orchestrator())[use]()


@pytest.mark.parametrize("use", range(7))
def test_nothing_works_after_the_end(use):
    """The text says what to do instead."""
    with Orchestrator() as orchestrator:
        pass

    with pytest.raises(OrchestratorClosed, match="the orchestrator has shut down"):
        uses(orchestrator)[use]()


def test_an_orchestrator_lives_once():
    """It is neither entered twice nor again."""
    orchestrator = Orchestrator()

    async def enter():
        async with orchestrator:
            pass

    with orchestrator:
        for call in (orchestrator.__enter__, lambda: asyncio.run(enter())):
            with pytest.raises(WrongLoop, match="make another one"):
                call()
    for call in (orchestrator.__enter__, lambda: asyncio.run(enter())):
        with pytest.raises(OrchestratorClosed):
            call()


def test_an_orchestrator_that_never_started_shuts_down():
    """It has nothing to do, and cannot be started afterwards."""
    orchestrator = Orchestrator()
    report = orchestrator.shutdown()

    assert (True, 0) == (report.clean, report.drained)
    with pytest.raises(OrchestratorClosed):
        orchestrator.__enter__()


# ── The wrong thread, and calls from steps ───────────────────────────────────────────────────


def test_blocking_calls_are_refused_on_the_own_loop():
    """With what to do instead; the other way to do it works."""

    async def main():
        async with Orchestrator() as orchestrator:
            for call, instead in (
                (lambda: orchestrator.run(flow_of(fine)), "run_async"),
                (orchestrator.shutdown, "shutdown_async"),
            ):
                use = rf"Instead, use `await orchestrator\.{instead}\(\)`\.$"
                with pytest.raises(WrongLoop, match=use):
                    call()
            total = orchestrator.list().total
            return total, (await orchestrator.shutdown_async()).clean

    assert (0, True) == asyncio.run(main())


# ── Interrupted callers ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def interrupt():
    """Send Ctrl-C to the main thread once it waits for a run.

    It is sent until it has been heard: one that comes in the instant before the thread falls
    asleep is not seen by Python. It is raised once.
    """
    heard, main = threading.Event(), threading.main_thread().ident

    def raise_once(_number, _frame):
        if not heard.is_set():
            heard.set()
            raise KeyboardInterrupt

    def interrupt():
        while "wait" not in {f.f_code.co_name for f, _ in walk_stack(sys._current_frames()[main])}:
            threading.Event().wait(0.001)
        while not heard.wait(0.05):
            signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, raise_once)
    yield interrupt
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_waiting_cancels_the_run(orchestrator, interrupt):
    """Ctrl-C reaches the caller, and what he waited for does not go on behind his back."""
    flow = Workflow("flow")
    flow.step(interrupt, id="first")
    flow.step(endless, id="second", after="first")

    with pytest.raises(KeyboardInterrupt):
        orchestrator.run(flow)
    (run,) = orchestrator.list().runs
    result = orchestrator.get(run.run_id).wait(GUARD)

    assert ("cancelled", "the caller was interrupted") == (result.status, result.reason)


def test_an_interrupt_in_the_middle_of_a_start_cancels_the_run(orchestrator, monkeypatch):
    """The caller never gets a handle, so nothing else could stop the run."""

    def start_and_interrupt(runtime, message, start=Runtime.start):
        start(runtime, message)
        raise KeyboardInterrupt

    monkeypatch.setattr(Runtime, "start", start_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        orchestrator.start(flow_of(endless))
    (run,) = orchestrator.list().runs

    assert orchestrator.shutdown(drain=GUARD).clean
    assert "cancelled" == orchestrator._looking._powers.state.snapshot(run.run_id).status


def test_a_run_starts_while_another_thread_imports_structlog(orchestrator, monkeypatch):
    """A module that is only half there is no reason to fail, and not yet one to log."""
    monkeypatch.setattr(logging.getLogger("actorflow"), "propagate", False)
    monkeypatch.setitem(sys.modules, "structlog", types.ModuleType("structlog"))
    run = orchestrator.start(flow_of(fine))
    monkeypatch.undo()

    assert "fine" == run.result(GUARD).output


def test_cancelling_the_task_that_awaits_cancels_the_run():
    """And the cancellation arrives only when the run has ended."""
    log, entered = [], asyncio.Event()

    async def step():
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            log.append("the step has ended")

    async def main():
        async with Orchestrator() as orchestrator:
            task = asyncio.ensure_future(orchestrator.run_async(flow_of(step)))
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            log.append("the caller has ended")
            return orchestrator.list().runs[0].status

    assert "cancelled" == asyncio.run(main())
    assert ["the step has ended", "the caller has ended"] == log


def test_a_timeout_around_the_await_cancels_the_run():
    """`asyncio.timeout` is the usual way to stop waiting."""

    async def main():
        async with Orchestrator() as orchestrator:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await orchestrator.run_async(flow_of(endless))
            (run,) = orchestrator.list().runs
            with pytest.raises(RunCancelled):
                await orchestrator.get(run.run_id)

    asyncio.run(main())


def test_saying_how_often_to_look_and_not_to_look_is_warned_of():
    """It is the likeliest way to forget `recover=True`."""
    with pytest.warns(ActorflowWarning, match=r"recover_every=0\.2\) looks for nothing without"):
        Orchestrator(recover_every=0.2)


def test_a_run_is_not_resumed_by_steps_that_take_what_it_was_not_given(make_orchestrator):
    """They would fail in the midst of it."""
    state = MemoryStateManager()
    accept(state, accepted("left"))
    flow = Workflow("flow")
    flow.step(lambda city: city, id="a")
    with pytest.raises(DefinitionError, match=r"'left' was started without the input 'city', wh"):
        make_orchestrator(state).resume("left", flow)

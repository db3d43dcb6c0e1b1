"""What every executor promises: one suite, and each of them in turn.

To have another one held to it, add a rig for it to `tests.support.executor_rigs.RIGS`.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

from actorflow.errors.running import StepCancelled
from tests.support.executor_rigs import RIGS

variable = contextvars.ContextVar("variable", default="none")


@pytest.fixture(params=RIGS)
def rig(request):
    """An executor that is open, and closed afterwards."""
    rig = RIGS[request.param]()
    yield rig
    rig.close()


def test_an_output_is_reported_once(rig):
    """By reference, and with no error."""
    output = object()

    attempt = rig.submit(lambda: output)
    rig.until(lambda: rig.reports)
    rig.flush()

    assert [(output, None)] == rig.of(attempt)


class Odd(BaseException):
    """An exception that only extends `BaseException`."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("an error"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        TimeoutError(),
        MemoryError(),
        Odd(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_body_raises_is_its_error(rig, error):
    """Reported once; and the executor goes on with the next."""

    def body():
        raise error

    attempt = rig.submit(body)
    rig.until(lambda: rig.reports)
    rig.flush()

    assert [(None, error)] == rig.of(attempt)
    assert ("next", None) == rig.run(lambda: "next")


def test_an_error_keeps_its_traceback(rig):
    """Down to the line of the body that raised it."""

    def body():
        raise ValueError("here")

    _, error = rig.run(body)

    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    assert "body" == last.tb_frame.f_code.co_name


def test_arguments_are_passed_by_name(rig):
    """Whatever their names are."""
    output, _ = rig.run(lambda **given: given, a=1, self=2, fn=3, callable=4, function=5)

    assert {"a": 1, "self": 2, "fn": 3, "callable": 4, "function": 5} == output


def test_a_call_that_does_not_fit_is_an_error(rig):
    """A body that cannot be called has failed."""
    _, error = rig.run(lambda: None, unexpected=1)

    assert isinstance(error, TypeError)


def test_context_variables_travel_to_the_body(rig):
    """Those that the attempt carries."""
    attempt = rig.attempt(rig.body(variable.get))
    attempt.variables.run(variable.set, "the run's")

    rig.executor.submit(attempt)
    rig.until(lambda: rig.reports)

    assert [("the run's", None)] == rig.of(attempt)


def test_context_variables_do_not_leak_between_bodies(rig):
    """What one sets, neither the next nor the program sees."""
    outputs = []
    for number in range(5):

        def body(number=number):
            seen = variable.get()
            variable.set(f"body {number}'s")
            return seen

        outputs.append(rig.run(body)[0])

    assert ["none"] * 5 == outputs
    assert "none" == variable.get()


def test_what_a_body_sets_is_the_attempts(rig):
    """Its context is the one it was given, so that its caller can look."""
    attempt = rig.submit(lambda: variable.set("the body's") and None)
    rig.until(lambda: rig.reports)

    assert "the body's" == attempt.variables[variable]


def test_submitting_does_not_wait_for_the_body(rig):
    """Several hang at once, and each ends on its own."""
    gates = [rig.gate() for _ in range(4)]
    attempts = [rig.submit(rig.waiting(gate, n)) for n, gate in enumerate(gates)]
    rig.until(lambda: all(gate.entered for gate in gates))
    before = list(rig.reports)
    for gate in reversed(gates):
        gate.open()
    rig.until(lambda: len(rig.reports) == 4)

    assert [] == before
    assert [[(n, None)] for n in range(4)] == [rig.of(attempt) for attempt in attempts]


def test_many_attempts_are_reported_once_each(rig):
    """However they come and go."""
    attempts = [rig.submit(lambda n: n, n=number) for number in range(300)]
    rig.until(lambda: len(rig.reports) >= 300)
    rig.flush()

    assert [[(n, None)] for n in range(300)] == [rig.of(attempt) for attempt in attempts]


class Thing:
    """Something that can be watched."""


def watched(event):
    """A thing whose end sets an event."""
    thing = Thing()
    weakref.finalize(thing, event.set)
    return thing


def test_nothing_of_an_ended_attempt_is_kept(rig):
    """An idle executor keeps neither a step's output alive nor its arguments."""
    outputs, arguments = threading.Event(), threading.Event()
    thing = Thing()
    weakref.finalize(thing, arguments.set)
    rig.submit(lambda **_given: watched(outputs), thing=thing)
    del thing
    rig.until(lambda: rig.reports)
    rig.reports.clear()
    gc.collect()

    rig.wait_for(outputs)
    rig.wait_for(arguments)


# ── Stopping ─────────────────────────────────────────────────────────────────────────────────


def test_a_stopped_attempt_is_reported_as_any_other(rig):
    """Once, whatever it makes of it."""
    gate = rig.gate()
    attempt = rig.submit(rig.waiting(gate, "went on"))
    rig.until(lambda: gate.entered)

    rig.stop(attempt)
    if not rig.executor.preemptive:
        gate.open()
    rig.until(lambda: rig.reports)
    rig.flush()

    ((output, error),) = rig.of(attempt)
    if rig.executor.preemptive:
        assert isinstance(error, asyncio.CancelledError)
    else:
        assert ("went on", None) == (output, error)


def test_stopping_an_attempt_that_has_ended_does_nothing(rig):
    """The supervisor may not have heard of the end yet."""
    attempt = rig.submit(lambda: "done")
    rig.until(lambda: rig.reports)

    rig.stop(attempt)
    rig.flush()

    assert [("done", None)] == rig.of(attempt)


def test_stopping_one_attempt_leaves_the_others_alone(rig):
    """Each is its own."""
    gates = [rig.gate(), rig.gate()]
    stopped, other = (rig.submit(rig.waiting(gate, "went on")) for gate in gates)
    rig.until(lambda: all(gate.entered for gate in gates))

    rig.stop(stopped)
    rig.flush()
    before = rig.of(other)
    for gate in gates:
        gate.open()
    rig.until(lambda: rig.of(other))

    assert [] == before
    assert [("went on", None)] == rig.of(other)


def test_an_attempt_that_was_stopped_before_it_began_never_begins(rig):
    """It is reported as cancelled, and its function is not called."""
    called = []
    attempt = rig.attempt(rig.body(lambda: called.append("called")))
    attempt.cancelled = True

    rig.executor.submit(attempt)
    rig.until(lambda: rig.reports)
    rig.flush()

    ((_, error),) = rig.of(attempt)
    assert isinstance(error, StepCancelled)
    assert [] == called


# ── Abandoning ───────────────────────────────────────────────────────────────────────────────


def stubborn(rig, gate):
    """A body that waits at a gate whatever anybody asks of it."""
    if rig.waits_in == "threading":
        return rig.waiting(gate, "late")

    async def waits_at_the_gate():
        gate.entered += 1
        while True:
            try:
                await gate.event.wait()
            except asyncio.CancelledError:
                continue
            return "late"

    return waits_at_the_gate


def abandoned(rig, gate):
    """An attempt that did not end when it was asked to, and was given up."""
    attempt = rig.submit(stubborn(rig, gate))
    rig.until(lambda: gate.entered)
    rig.stop(attempt)
    rig.flush()
    return attempt, rig.executor.abandon(attempt)


def test_an_abandoned_attempt_is_never_reported(rig):
    """Whatever becomes of it."""
    gate = rig.gate()
    attempt, _ = abandoned(rig, gate)

    gate.open()
    rig.flush()

    assert [] == rig.of(attempt)


def test_an_abandoned_attempt_tells_where_it_hangs(rig):
    """As far as the executor can know: a pool does not tell which thread has what."""
    gate = rig.gate()

    _, stack = abandoned(rig, gate)
    gate.open()

    assert "waits_at_the_gate" in stack or (stack == "" and hasattr(rig, "pool"))


def test_an_abandoned_attempt_that_still_runs_is_returned_at_the_end(rig):
    """So that a shutdown can say what it left behind."""
    gate = rig.gate()
    attempt, _ = abandoned(rig, gate)

    left = list(rig.executor.close())
    gate.open()

    assert [attempt] == left


def test_an_abandoned_attempt_that_has_ended_is_not_left_behind(rig):
    """It came to its senses."""
    gate = rig.gate()
    abandoned(rig, gate)
    gate.open()
    rig.flush_until(lambda: not rig.executor._abandoned)

    assert [] == list(rig.executor.close())


def test_an_executor_goes_on_beside_an_abandoned_attempt(rig):
    """Its place is taken, the others are not."""
    gate = rig.gate()
    abandoned(rig, gate)

    outputs = [rig.run(lambda n: n, n=number)[0] for number in range(20)]
    gate.open()

    assert list(range(20)) == outputs


def test_abandoning_an_attempt_that_has_ended_does_nothing(rig):
    """Its end and the end of its grace may meet in the mail."""
    attempt = rig.submit(lambda: "done")
    rig.until(lambda: rig.reports)

    stack = rig.executor.abandon(attempt)
    rig.flush()

    assert "" == stack
    assert [("done", None)] == rig.of(attempt)
    assert [] == list(rig.executor.close())


def test_abandoning_an_attempt_that_had_waited_and_ended_does_nothing(rig):
    """The same for a body that was suspended in between."""
    gate = rig.gate()
    attempt = rig.submit(rig.waiting(gate, "done"))
    rig.until(lambda: gate.entered)
    gate.open()
    rig.until(lambda: rig.reports)

    rig.executor.abandon(attempt)
    rig.flush()

    assert [("done", None)] == rig.of(attempt)
    assert [] == list(rig.executor.close())


def test_closing_without_anything_running_leaves_nothing(rig):
    """The ordinary end."""
    rig.flush()

    assert [] == list(rig.executor.close())

"""What no law forbids, and whoever simulates is warned of."""

from __future__ import annotations

import asyncio
import warnings

import pytest

from actorflow.definition.step import Step
from actorflow.support.warnings import ActorflowWarning
from actorflow.testing import LawBroken, NotSimulated, Script, explore, law, real, simulate
from actorflow.testing.simulation.checks import Doubts
from tests.support.brain import flow, task

REAL = Script(default=real())
WARNED = r"^step 'a' fails wherever it is simulated: loop.run_in_executor\(\) .* Pass the step a f"


async def thread():
    """Ask for a thread."""
    await asyncio.to_thread(print)


async def group():
    """Ask for one in a group of tasks, whose error is another one."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(thread())


async def wrapped():
    """Ask for one, and call the error something else."""
    try:
        await thread()
    except NotSimulated as error:
        raise LookupError from error


def undone_by(function):
    """A workflow that fails, and undoes its first step by a function."""
    return flow(Step("a", lambda: 1, compensate=function), Step("b", lambda: 1 / 0, after="a"))


@pytest.mark.parametrize("call", [simulate, explore])
@pytest.mark.parametrize(
    "workflow",
    [*(flow(Step("a", one, async_=True)) for one in (thread, group, wrapped)), undone_by(thread)],
    ids=["thread", "group", "wrapped", "compensator"],
)
def test_a_step_that_asks_for_the_real_world_is_warned_of(call, workflow):
    """In the name of the line that simulates, and once."""
    more = {} if call is simulate else {"schedules": 20}
    with pytest.warns(ActorflowWarning, match=WARNED) as caught:
        call(workflow, script=REAL, **more)

    assert [__file__] == [one.filename for one in caught]


def test_a_warning_that_is_an_error_reaches_the_test_and_not_the_step():
    """The step would only fail once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ActorflowWarning)
        with pytest.raises(ActorflowWarning, match=WARNED):
            explore(flow(Step("a", thread, async_=True)), script=REAL, schedules=3)


def test_a_law_that_is_broken_is_told_without_the_warning():
    """The chart shows the error."""

    @law
    def completes(trace):
        """A run completes."""
        return trace.result.status == "completed"

    found = explore(flow(Step("a", thread, async_=True)), script=REAL, laws=[completes])

    with pytest.raises(LawBroken, match="a#1 raised NotSimulated"):
        found.check()


def test_errors_that_go_round_in_circles_are_looked_at_once():
    """`raise error from error` makes one."""

    def circle():
        error = LookupError("round")
        raise error from error

    explore(flow(task("b"), Step("a", circle)), script=REAL, schedules=2)


def test_other_errors_leave_no_doubt():
    """Nobody is warned of them."""
    doubts = Doubts()
    doubts.note(simulate(flow(Step("a", lambda: 1 / 0)), script=REAL))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doubts.warn()

"""Coroutine bodies under the search: the races between them, and the executor that runs them."""

from __future__ import annotations

import asyncio
import inspect
import textwrap

import pytest

from actorflow import Orchestrator, Step, Workflow
from actorflow.executors import coroutines as module
from actorflow.executors.coroutines import CoroutineExecutor
from actorflow.testing import Script, Simulation, Tape, explore, law, laws, real, simulate

REAL = Script(default=real())


class Shared:
    """What the steps of one run share, and are meant to change."""

    def __init__(self):
        self.value = 0
        self.gate = asyncio.Event()
        self.log = []

    def __deepcopy__(self, memo):
        return self


async def shared():
    """Make the object in the run, so that every schedule has another one."""
    return Shared()


def flow_of(*bodies, after="shared"):
    """A workflow of bodies that share an object, and a step that returns it in the end."""
    flow = Workflow("bodies")
    flow.add(Step("shared", shared, async_=True))
    for body in bodies:
        flow.add(Step(body.__name__, body, after=after, async_=True))

    async def end(shared):
        return shared

    flow.add(Step("end", end, after=["shared", *(one.__name__ for one in bodies)], async_=True))
    return flow


# ── Races ────────────────────────────────────────────────────────────────────────────────────


def lost_update():
    """Two steps that read, wait and write."""

    async def one(shared):
        value = shared.value
        await asyncio.sleep(0)
        shared.value = value + 1

    async def other(shared):
        value = shared.value
        await asyncio.sleep(0)
        shared.value = value + 1

    return flow_of(one, other)


@law
def counts_both(trace):
    """No update is lost."""
    return trace.result.output.value == 2


def test_an_update_that_production_loses_is_lost_in_the_plainest_schedule():
    """And a schedule in which it is not is among the first."""
    flow = lost_update()
    with Orchestrator() as orchestrator:
        assert [1] * 5 == [orchestrator.run(flow).output.value for _ in range(5)]

    assert 1 == simulate(flow, script=REAL).result.output.value
    found = explore(flow, script=REAL, schedules=1, laws=[counts_both])
    assert found.broken is not None
    assert 0 == found.failure.tape.deviations


def values_of(flow, schedules=100, **options):
    """What the shared value and log come to, on some schedules."""
    seen = set()

    @law
    def looks(trace):
        """It only looks."""
        shared = trace.result.output
        seen.add((shared.value, *shared.log))
        return True

    explore(flow, script=REAL, schedules=schedules, laws=[*laws.ALL, looks], **options).check()
    return seen


def test_a_body_may_start_before_and_after_each_leg_of_another_one():
    """It starts when its message is delivered, and that may be at any time."""

    async def counts(shared):
        for _ in range(3):
            shared.value += 1
            await asyncio.sleep(0)

    async def looks(shared):
        shared.log.append(shared.value)

    assert {(3, 0), (3, 1), (3, 2), (3, 3)} == values_of(flow_of(counts, looks))


def test_steps_that_settle_may_start_others_between_two_legs():
    """The runner that ran the first delivers, and goes on with the second."""

    async def counts(shared):
        for _ in range(3):
            shared.value += 1
            await asyncio.sleep(0)

    async def looks(shared):
        shared.log.append(shared.value)

    flow = Workflow("chain")
    flow.add(Step("shared", shared, async_=True))
    flow.add(Step("counts", counts, after="shared", async_=True))
    flow.add(Step("first", lambda shared: shared, after="shared"))
    flow.add(Step("second", lambda first: first, after="first"))
    flow.add(Step("looks", looks, after=["shared", "second"], async_=True))
    flow.add(Step("end", lambda shared: shared, after=["shared", "counts", "looks"]))

    assert {(3, 1), (3, 2), (3, 3)} <= values_of(flow, schedules=400)


def test_tasks_of_a_step_keep_the_order_of_asyncio():
    """What is ready within one loop goes in order, whatever the schedule is."""

    async def spawns(shared):
        async def child(name):
            shared.log.append(name)
            await asyncio.sleep(0)
            shared.log.append(name)

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(child(name))

    assert {(0, *"abcabc")} == values_of(flow_of(spawns))


def test_time_may_pass_while_a_body_goes_round_the_loop():
    """A short sleep may end before a few legs without one."""

    async def goes_round(shared):
        for _ in range(3):
            await asyncio.sleep(0)
        shared.log.append("round")

    async def sleeps(shared):
        await asyncio.sleep(0.001)
        shared.log.append("slept")

    flow = flow_of(goes_round, sleeps)

    assert {(0, "round", "slept"), (0, "slept", "round")} == values_of(flow)
    assert {(0, "round", "slept")} == values_of(flow, race=False)


@pytest.mark.parametrize("race", [True, False])
def test_a_body_that_polls_does_not_stop_time_or_messages(race):
    """On the plainest schedule as on any other."""

    async def polls(shared):
        while not shared.gate.is_set():  # noqa: ASYNC110 - the test is about this
            await asyncio.sleep(0)

    async def opens(shared):
        await asyncio.sleep(1)
        shared.gate.set()

    flow = flow_of(polls, opens)

    assert simulate(flow, script=REAL, race=race).result.status == "completed"
    assert {(0,)} == values_of(flow, schedules=30, race=race)


def test_a_timeout_and_what_it_waits_for_race_when_they_are_due_together():
    """And the loser changes nothing."""

    async def hurries(shared):
        try:
            async with asyncio.timeout(1):
                await shared.gate.wait()
            shared.log.append("in time")
        except TimeoutError:
            shared.log.append("too late")

    async def opens(shared):
        await asyncio.sleep(1)
        shared.gate.set()

    assert {(0, "in time"), (0, "too late")} == values_of(flow_of(hurries, opens))


def test_a_schedule_with_real_bodies_is_repeated_by_its_tape():
    """Including how much each runner delivers, and what earlier runs left behind."""
    flow = lost_update()
    for seed in range(20):
        trace = simulate(flow, script=REAL, tape=lambda options, _, seed=seed: seed % options)
        again = simulate(flow, script=REAL, tape=Tape.from_json(trace.tape.to_json()))

        assert trace.choices == again.choices
        assert trace.result.output.value == again.result.output.value


def test_a_body_whose_turn_has_not_come_does_not_survive_a_crash():
    """Its process is dead, and its message to begin with it."""
    entered = []

    async def enters():
        entered.append("entered")

    flow = Workflow("crashes")
    flow.add(Step("enters", enters, async_=True))
    with Simulation(script=REAL) as simulation:
        run_id = simulation.start(flow)
        while not any("Execute" in repr(one) for _, one in simulation.system.deliveries):
            simulation.deliver()
        simulation.crash()

        assert [] == entered

        simulation.resume(run_id)
        simulation.run_until_quiet()

    assert ["entered"] == entered


# ── The executor ─────────────────────────────────────────────────────────────────────────────


def mixed():
    """Steps that return at once, suspend, wait for each other and cancel themselves."""

    async def returns():
        """Return at once."""

    async def leaves():
        asyncio.current_task().cancel()

    async def waits(shared):
        await shared.gate.wait()

    async def opens(shared):
        shared.gate.set()

    async def naps():
        await asyncio.sleep(1)

    async def sleeps():
        await asyncio.sleep(2)

    flow = Workflow("mixed")
    flow.add(Step("shared", shared, async_=True))
    for body in (returns, leaves, waits, naps, sleeps):
        flow.add(Step(body.__name__, body, after="shared", async_=True))
    flow.add(Step("opens", opens, after=["shared", "returns"], async_=True))
    return flow


def plain_between():
    """Steps that return at once, one long after the other."""
    flow = Workflow("plain between")
    flow.add(Step("shared", shared, async_=True))
    flow.add(Step("plain", lambda: None, after="shared"))
    flow.add(Step("late", shared, after="plain", async_=True))
    return flow


def bodies_searched():
    """Search, and return the laws that are broken."""
    searches = [
        explore(flow(), script=REAL, schedules=200, async_workers=6, shrink=False)
        for flow in (plain_between, mixed)
    ]
    return [one.broken for one in searches if one.broken is not None]


DEFECTS = {
    "a body that suspends keeps the reports before it": (
        "_work",
        "self._deliver_later()",
        "pass",
    ),
    "a body that ends after a wait wakes nothing": (
        "_run_suspended",
        "if self._waiting or self._deliver():\n        self._deliver_later()",
        "pass",
    ),
    "the last of several that end is not waited for": (
        "_run_suspended",
        "if self._waiting or self._deliver():",
        "if not self._waiting and self._deliver():",
    ),
    "a body that suspends leaves the queue alone": ("_run_suspended", "self._replace_runner()", ""),
    "a runner that leaves is not replaced": ("_leave", "self._replace_runner()", ""),
    "a runner that leaves wakes nothing": ("_leave", "self._deliver_later()", "pass"),
    "a runner ends without a look at the queue": (
        "_work",
        "while queue or self._deliver() or queue:",
        "while queue or self._deliver():",
    ),
    "a runner that ends still counts": ("_work", "self._runners -= 1", "pass"),
}


@pytest.mark.parametrize(("function", "line", "instead"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_of_production_s_executor_is_found(function, line, instead, monkeypatch):
    """The search runs production's executor, and a wake-up that it loses breaks a law."""
    assert [] == bodies_searched()
    source = textwrap.dedent(inspect.getsource(getattr(CoroutineExecutor, function)))
    assert 1 == source.count(line)
    made = {}
    exec(source.replace(line, instead), vars(module), made)  # noqa: S102 - it is our own source
    monkeypatch.setattr(CoroutineExecutor, function, made[function])

    (broken, *_) = bodies_searched()

    assert broken.name in {"runs_come_to_an_end", "workers_add_up"}

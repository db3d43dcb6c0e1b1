"""The powers of a state manager: declared, found once, and refused when only half is there."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import attrs
import pytest

from actorflow import (
    CancelsRemotely,
    ChecksOutputs,
    FollowsRuns,
    KeepsSchedules,
    LeasesRuns,
    MeasuresSteps,
    MemoryStateManager,
    Orchestrator,
    QueuesRuns,
    ReadsRecords,
    ReadsSlowly,
    StateManager,
    Taken,
    Workflow,
)
from actorflow.errors.definition import DefinitionError, WrongLoop
from actorflow.errors.storage import InvalidAnswer, LeaseHeld, RunNotFound, RunUnattended
from actorflow.model.results import RunFailed
from actorflow.orchestrator.powers import Powers, members_of, powers_of
from actorflow.testing import Simulation
from actorflow.testing.contracts import accept, accepted, happened, write
from actorflow.testing.contracts.accounts import COMPLETED, STARTED
from tests.support.flows import fine

SOON = 60.0
MINIMUM = ("create", "claim", "record", "snapshot", "events", "list", "close")
POWERS = {
    LeasesRuns: ("hand_back",),
    QueuesRuns: ("enqueue", "take", "hand_back"),
    ChecksOutputs: ("admit",),
    CancelsRemotely: ("listen", "ask_to_cancel"),
    FollowsRuns: ("follow",),
    MeasuresSteps: ("durations",),
    ReadsRecords: ("records",),
    KeepsSchedules: (
        "put_schedule",
        "get_schedule",
        "list_schedules",
        "advance_schedule",
        "delete_schedule",
    ),
}


class Minimal:
    """A state manager by the letter of the Protocol, over the memory of another one."""

    def __init__(self, behind=None):
        self._behind = MemoryStateManager() if behind is None else behind

    def __repr__(self):
        return "<Minimal>"

    def create(self, record, done):
        """Remember a run."""
        return self._behind.create(record, done)

    def claim(self, run_id):
        """Take a run up."""
        return self._behind.claim(run_id)

    def record(self, events, done):
        """Record events."""
        return self._behind.record(events, done)

    def snapshot(self, run_id):
        """Return a run as it stands."""
        return self._behind.snapshot(run_id)

    def events(self, run_id, *, after=0, limit=None):
        """Return events."""
        return self._behind.events(run_id, after=after, limit=limit)

    def list(
        self,
        *,
        status=None,
        workflow_id=None,
        trace_id=None,
        correlation_id=None,
        business_id=None,
        limit=50,
        offset=0,
    ):
        """Return runs."""
        return self._behind.list(
            status=status,
            workflow_id=workflow_id,
            trace_id=trace_id,
            correlation_id=correlation_id,
            business_id=business_id,
            limit=limit,
            offset=offset,
        )

    def close(self):
        """Keep everything."""


class Shared(Minimal):
    """One that shares its memory, by the letter: it refuses to claim what others have."""

    def claim(self, run_id):
        """Take up an ended run only."""
        if not self.snapshot(run_id).status.terminal:
            raise LeaseHeld(run_id)
        return super().claim(run_id)


def flow_of(function):
    """A workflow of one step."""
    flow = Workflow("flow")
    flow.step(function, id="a")
    return flow


def left(state, *kinds):
    """Have a run recorded that its orchestrator has left."""
    accept(state, accepted("left"))
    write(state, happened(*kinds, run_id="left"))


@pytest.fixture(params=[Minimal, Shared])
def state(request):
    """A state manager without any power."""
    return request.param()


# ── By the letter ────────────────────────────────────────────────────────────────────────────


def test_a_state_manager_by_the_letter_has_no_power(state):
    """Nothing beyond the Protocol is taken for granted."""
    expected = Powers(
        state=state,
        slow_to_read=False,
        outputs=None,
        leases=None,
        queue=None,
        requests=None,
        pauses=None,
        follows=None,
        deferral=None,
        measures=None,
        records=None,
        attributes=None,
        messages=None,
        evicts=None,
        counts=None,
        schedules=None,
    )

    assert expected == powers_of(state)
    assert MINIMUM == tuple(members_of(StateManager))


def test_runs_are_run_started_found_and_listed_by_the_letter(state):
    """On a thread and on a loop."""

    async def run_here():
        async with Orchestrator(state) as orchestrator:
            return (await orchestrator.run_async(flow_of(lambda: 2))).output

    with Orchestrator(state) as orchestrator:
        output = orchestrator.run(flow_of(lambda: 1)).output
        started = orchestrator.start(flow_of(lambda: 1))
        result = started.result(SOON)
        found = orchestrator.get(started.id).result(SOON)
        kinds = [event.kind for event in started.events()]
        page = orchestrator.list(status="completed", workflow_id="flow")
        with pytest.raises(RunNotFound):
            orchestrator.get("nothing")

    assert (1, 2) == (output, asyncio.run(run_here()))
    assert result == found
    assert ["run.accepted", *COMPLETED] == kinds
    assert 2 == page.total


def test_a_run_is_cancelled_by_the_letter(state):
    """As long as it is in progress here."""
    began, ends = threading.Event(), threading.Event()

    def wait():
        began.set()
        ends.wait(SOON)

    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(flow_of(wait))
        assert began.wait(SOON)
        run.cancel("enough")
        ends.set()
        result = run.wait(SOON)

    assert ("cancelled", "enough") == (result.status, result.reason)


def test_a_failed_run_is_resumed_by_the_letter(state):
    """And one that has completed is left as it is."""
    with Orchestrator(state) as orchestrator:
        with pytest.raises(RunFailed) as caught:
            orchestrator.run(flow_of(lambda: 1 / 0))
        run_id = caught.value.result.run_id
        output = orchestrator.resume(run_id, flow_of(lambda: "fine")).result(SOON).output
        again = orchestrator.resume(run_id, flow_of(lambda: "not again")).result(SOON).output

    assert ("fine", "fine") == (output, again)


def test_a_shutdown_by_the_letter_reports_what_it_cut(state):
    """A run that hangs is cancelled and recorded."""
    began, ends = threading.Event(), threading.Event()

    def wait():
        began.set()
        ends.wait(SOON)

    orchestrator = Orchestrator(state, stop_grace=0.1)
    with orchestrator:
        run = orchestrator.start(flow_of(wait))
        assert began.wait(SOON)
        report = orchestrator.shutdown(drain=0.0, grace=0.1)
    ends.set()

    assert (run.id,) == report.cancelled
    assert "cancelled" == state.snapshot(run.id).status


def test_a_simulation_keeps_its_runs_in_one_by_the_letter(state):
    """It crashes, and goes on."""
    flow = flow_of(lambda: 1)
    with Simulation(state=lambda: state) as simulation:
        run_id = simulation.start(flow)
        simulation.run_until_quiet()

        assert "completed" == simulation.results[run_id].status


def test_a_queue_that_is_not_there_is_named(state):
    """Neither filled nor emptied, and never an AttributeError."""
    with Orchestrator(state) as orchestrator:
        with pytest.raises(DefinitionError, match=r"(Minimal|Shared) has none\. Use start\(\)"):
            orchestrator.enqueue(flow_of(lambda: 1))
        with pytest.raises(
            DefinitionError, match=r"^enqueue\(\) needs a state manager with a shared queue"
        ):
            asyncio.run(orchestrator.enqueue_async(flow_of(lambda: 1)))
    with pytest.raises(DefinitionError, match=r"recover=True needs a .* shared queue, and"):
        Orchestrator(state, recover=True)


@pytest.mark.parametrize("compensate", [False, True])
def test_a_run_of_another_is_not_cancelled_without_a_way_to_ask(compensate):
    """The error says so, and where to go; the run stays as it is."""
    state = Shared()
    left(state, *STARTED)
    with Orchestrator(state) as orchestrator:
        run = orchestrator.get("left")
        with pytest.raises(RunUnattended) as caught:
            run.cancel(compensate=compensate)

    assert (
        "run 'left' cannot be cancelled from here: another orchestrator runs it, and <Minimal> "
        "keeps no requests that its owner would hear of. Cancel it there, or give the state "
        "manager listen() and ask_to_cancel(), as in CancelsRemotely."
    ) == str(caught.value)
    assert isinstance(caught.value.__cause__, LeaseHeld)
    assert "running" == state.snapshot("left").status


def test_a_run_of_nobody_is_cancelled_by_the_letter():
    """Undoing needs a request that is kept; the end itself needs none."""
    state = Minimal()
    left(state, *STARTED)
    with Orchestrator(state) as orchestrator:
        run = orchestrator.get("left")
        with pytest.raises(RunUnattended, match="cannot be cancelled from here: its record says"):
            run.cancel(compensate=True)
        run.cancel("enough")

        assert ("cancelled", "enough") == (run.wait(SOON).status, run.wait(SOON).reason)


def test_a_run_of_another_is_not_resumed():
    """`claim` says so, and that error passes."""
    state = Shared()
    left(state, *STARTED)
    with Orchestrator(state) as orchestrator, pytest.raises(LeaseHeld):
        orchestrator.resume("left", flow_of(lambda: 1))


# ── Powers, whole and half ───────────────────────────────────────────────────────────────────


def having(*names, **values):
    """A state manager with methods of these names, and whatever else."""
    methods = {name: lambda *_args, **_named: None for name in names}
    return type("Having", (Minimal,), {**methods, **values})()


def test_the_members_of_each_power_are_those_that_are_declared():
    """This table is the Protocols', and the other way about."""
    declared = {
        power: tuple(name for kind in power.__mro__ for name in members_of(kind))
        for power in POWERS
    }

    assert POWERS == declared
    assert ["slow_to_read"] == members_of(ReadsSlowly)


@pytest.mark.parametrize("power", POWERS, ids=lambda power: power.__name__)
def test_a_whole_power_is_found(power):
    """And nothing else with it, but what it includes."""
    state = having(*POWERS[power])
    powers = powers_of(state)
    found = {it for it in attrs.asdict(powers, recurse=False).values() if it is state}

    assert {state} == found
    assert (state if power is CancelsRemotely else None) is powers.requests
    assert (state if power is MeasuresSteps else None) is powers.measures
    assert (state if power is ReadsRecords else None) is powers.records
    assert (state if power is KeepsSchedules else None) is powers.schedules
    assert (state if power is ChecksOutputs else None) is powers.outputs
    assert (state if power is QueuesRuns else None) is powers.queue
    assert (state if power in {LeasesRuns, QueuesRuns} else None) is powers.leases


@pytest.mark.parametrize(
    ("has", "lacks", "power"),
    [
        (["take"], "enqueue(), hand_back()", "QueuesRuns"),
        (["enqueue"], "take(), hand_back()", "QueuesRuns"),
        (["enqueue", "take"], "hand_back()", "QueuesRuns"),
        (["take", "hand_back"], "enqueue()", "QueuesRuns"),
        (["enqueue", "hand_back"], "take()", "QueuesRuns"),
        (["listen"], "ask_to_cancel()", "CancelsRemotely"),
        (["ask_to_cancel"], "listen()", "CancelsRemotely"),
    ],
)
def test_half_a_power_is_refused_when_an_orchestrator_is_made(has, lacks, power):
    """Not when it is used, which may be late."""
    named = ", ".join(f"{name}()" for name in has if name != "hand_back")
    with pytest.raises(DefinitionError) as caught:
        Orchestrator(having(*has))

    assert (
        f"state=<Minimal> is half of a {power}: it has {named}, but no {lacks}. "
        f"Give it all of actorflow.{power}, or nothing of it."
    ) == str(caught.value)


@pytest.mark.parametrize("name", sorted({name for names in POWERS.values() for name in names}))
def test_a_member_that_cannot_be_called_is_refused(name):
    """Whatever it is meant to be."""
    with pytest.raises(
        DefinitionError, match=rf"has {name}=3, which is not a method\. Make it one"
    ):
        Orchestrator(having(**{name: 3}))


@pytest.mark.parametrize("value", [1, "yes", lambda _self: True])
def test_slow_to_read_is_true_or_false(value):
    """A method in its place would always count as true."""
    with pytest.raises(DefinitionError, match=r"slow_to_read=.* neither True nor False\. Make"):
        Orchestrator(having(slow_to_read=value))


@pytest.mark.parametrize("name", [*sorted(POWERS[QueuesRuns]), "admit", "listen", "slow_to_read"])
def test_a_member_that_is_none_counts_as_absent(name):
    """As a subclass takes a power away."""
    state = having(**{name: None})

    assert attrs.evolve(powers_of(Minimal()), state=state) == powers_of(state)


@pytest.mark.parametrize("name", MINIMUM)
def test_a_method_that_every_one_has_to_have_is_missed(name):
    """By its name."""
    with pytest.raises(DefinitionError, match=rf"not a state manager: it has no {name}\(\)\. Pass"):
        Orchestrator(having(**{name: None}))


@pytest.mark.parametrize("name", [*MINIMUM, "admit"])
def test_a_method_that_is_a_coroutine_function_is_refused(name):
    """It would be called without `await`, and its coroutine would count as an answer."""

    async def method(_self, *_args, **_named):
        """Do nothing."""

    with pytest.raises(DefinitionError) as caught:
        Orchestrator(having(**{name: method}))

    answer = " that returns True or False" if name in {"create", "record"} else ""
    assert (
        f"state=<Minimal>: {name}() is a coroutine function; it must be a plain "
        f"method{answer}. Define {name}() without async."
    ) == str(caught.value)


# ── Answers ──────────────────────────────────────────────────────────────────────────────────


class Forgetful(Minimal):
    """One of whose methods does its work, but forgets to say so."""

    def __init__(self, method):
        super().__init__()
        behind = getattr(self._behind, method)

        def silent(*given):
            behind(*given)

        setattr(self, method, silent)


def test_a_record_that_says_nothing_fails_the_run():
    """At once; it used to wait for a commit for ever."""
    with Orchestrator(Forgetful("record")) as orchestrator:
        result = orchestrator.start(flow_of(lambda: 1)).wait(SOON)

    assert "failed" == result.status
    assert str(InvalidAnswer("record", "None")) == str(result.error)


@pytest.mark.parametrize("keys", [(None, None), ("order 7", "order 8")])
def test_a_create_that_says_nothing_starts_no_run(keys):
    """The caller gets the error, and its place is free again."""
    with Orchestrator(Forgetful("create"), max_active_runs=1) as orchestrator:
        for key in keys:
            with pytest.raises(InvalidAnswer, match=r"create\(\) of the state manager returned No"):
                orchestrator.start(flow_of(lambda: 1), idempotency_key=key)

        assert () == orchestrator.shutdown().cancelled


def test_an_enqueue_that_says_nothing_is_an_error():
    """As from `create`."""
    state = having("take", "hand_back", "enqueue")
    with (
        Orchestrator(state) as orchestrator,
        pytest.raises(InvalidAnswer, match=r"enqueue\(\) of the state manager returned None"),
    ):
        orchestrator.enqueue(flow_of(lambda: 1))


def test_a_cancellation_that_is_not_acknowledged_is_an_error():
    """Of a run that no orchestrator runs."""
    state = Forgetful("record")
    state.create(accepted("left"), None)
    with Orchestrator(state) as orchestrator, pytest.raises(InvalidAnswer):
        orchestrator.get("left").cancel()


def test_a_simulation_does_not_wait_for_an_answer_that_never_comes():
    """The run fails as it would in an orchestrator."""
    with Simulation(state=lambda: Forgetful("record")) as simulation:
        run_id = simulation.start(flow_of(lambda: 1))
        simulation.run_until_quiet()

        assert "failed" == simulation.results[run_id].status


# ── Powers in use ────────────────────────────────────────────────────────────────────────────


def test_a_member_is_looked_for_once():
    """A step pays for none of it."""
    asked = []

    class Watched(Minimal):
        def __getattr__(self, name):
            asked.append(name)
            raise AttributeError(name)

    state = Watched()
    orchestrator = Orchestrator(state)
    before = list(asked)
    with orchestrator:
        orchestrator.run(flow_of(lambda: 1))

    assert before == asked
    assert len(before) == len(set(before))


def test_a_power_may_be_delegated():
    """A wrapper need not repeat what it passes on."""

    class Wrapper:
        def __init__(self, behind):
            self._behind = behind

        def __getattr__(self, name):
            return getattr(self._behind, name)

    wrapper = Wrapper(having("admit"))

    assert wrapper is powers_of(wrapper).outputs


def test_an_output_that_is_not_admitted_fails_its_step():
    """In an orchestrator and in a simulation alike."""

    def admit(_self, run_id, step_id, output):
        raise ValueError(f"{step_id} of {run_id != ''} returned {output}")

    flow = flow_of(lambda: 1)
    with Orchestrator(having(admit=admit)) as orchestrator:
        run = orchestrator.start(flow)
        told = run.wait(SOON).error
    with Simulation(state=lambda: having(admit=admit)) as simulation:
        run_id = simulation.start(flow)
        simulation.run_until_quiet()
        simulated = simulation.results[run_id]

    assert "a of True returned 1" == str(told)
    assert ("failed", "a") == (simulated.status, simulated.failed_step)
    assert "step.failed" in [event.kind for event in simulation.trace().events]


def test_one_that_is_slow_to_read_starts_nothing_on_the_loop():
    """As a database."""

    async def start():
        async with Orchestrator(having(slow_to_read=True)) as orchestrator:
            with pytest.raises(WrongLoop):
                orchestrator.start(flow_of(lambda: 1))
            return await (await orchestrator.start_async(flow_of(lambda: 1)))

    assert 1 == asyncio.run(start()).output


class Asked(Shared):
    """One that takes requests to cancel."""

    def __init__(self, behind=None):
        super().__init__(behind)
        self.cancel, self.asked = None, []

    def listen(self, cancel):
        """Keep whom to tell."""
        self.cancel = cancel
        return lambda: setattr(self, "cancel", None)

    def ask_to_cancel(self, run_id, reason, *, compensate):
        """Keep a request."""
        self.asked.append((run_id, reason, compensate))


def test_requests_are_made_and_heard():
    """From the start of an orchestrator to its end."""
    state, began, ends = Asked(), threading.Event(), threading.Event()
    left(state, *STARTED)

    def wait():
        began.set()
        ends.wait(SOON)

    with Orchestrator(state) as orchestrator:
        orchestrator.get("left").cancel("enough", compensate=True)
        run = orchestrator.start(flow_of(wait))
        assert began.wait(SOON)
        state.cancel(run.id, "asked from elsewhere", compensate=False)
        ends.set()
        reason = run.wait(SOON).reason

    assert [("left", "enough", True)] == state.asked
    assert "asked from elsewhere" == reason
    assert state.cancel is None


class Queue(Shared):
    """One with a queue of its own."""

    def __init__(self):
        super().__init__()
        self.unowned, self.returned = [], []

    def enqueue(self, record, done):
        """Keep a run that has no owner."""
        self.unowned.append(record.run_id)
        return self.create(record, done)

    def take(self, _known, besides, limit):
        """Return what waits."""
        taken, self.unowned = self.unowned[:limit], self.unowned[limit:]
        return Taken([run_id for run_id in taken if run_id not in besides], [])

    def hand_back(self, run_id, parked):
        """Keep what comes back."""
        self.returned.append((run_id, parked))


def test_a_queue_of_ones_own_is_filled_and_emptied():
    """By the three methods alone."""
    state, flow, ran = Queue(), flow_of(fine), threading.Event()

    def ended(event):
        if event.kind == "run.completed":
            ran.set()

    with Orchestrator(state, recover=True, observers=[ended]) as orchestrator:
        orchestrator.register(flow)
        run_id = orchestrator.enqueue(flow).id
        assert ran.wait(SOON)

        assert "completed" == orchestrator.get(run_id).wait(SOON).status
        assert [] == state.returned


def test_a_claimed_run_is_handed_back():
    """When it does not go on here after all."""
    state = having("hand_back")
    left(state, *STARTED)
    returned = []
    type(state).hand_back = lambda _self, *given: returned.append(given)
    with Orchestrator(state) as orchestrator, contextlib.suppress(RunUnattended):
        orchestrator.get("left").cancel(compensate=True)

    assert [("left", None)] == returned

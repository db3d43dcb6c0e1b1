"""Plans: order, arguments, run inputs, compensation and fingerprints."""

from __future__ import annotations

import difflib
import inspect
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step, Workflow
from actorflow.errors.definition import DefinitionError, MissingInput, UnknownInput
from actorflow.support.warnings import ActorflowWarning


def nothing():
    """Do nothing, as a step."""


def lesson():
    """The seed's lesson: one source, three branches, one sum."""
    flow = Workflow("report")

    @flow.step
    def fetch(url):
        return url

    @flow.step(after="fetch", async_=True)
    async def process(fetch):
        return fetch

    @flow.step(after=fetch, async_=True, required=False)
    async def enrich(fetch, day=1):
        return fetch

    @flow.step(after=flow.steps["fetch"], async_=True)
    async def analyze(fetch, url):
        return fetch

    @flow.step(after=[process, "enrich", analyze])
    def aggregate(process, analyze, enrich=None):
        return process, analyze, enrich

    return flow


def chain(*ids, **options):
    """A workflow in which each step waits for the one before it."""
    flow = Workflow("chain", **options)
    for place, step_id in enumerate(ids):
        flow.add(Step(step_id, nothing, after=ids[max(place - 1, 0) : place]))
    return flow


def taking(*names, **defaults):
    """A function with these parameters."""

    def run(**given):
        return given

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, kind) for name in names]
    parameters += [inspect.Parameter(it, kind, default=value) for it, value in defaults.items()]
    run.__signature__ = inspect.Signature(parameters)
    return run


def flow_of(*steps):
    """A workflow with these steps."""
    flow = Workflow("w")
    for step in steps:
        flow.add(step)
    return flow


def test_a_plan_says_who_waits_for_whom():
    """By ids, in both directions, in the order of definition."""
    plan = lesson().plan()
    fetch, aggregate = plan.by_id["fetch"], plan.by_id["aggregate"]

    assert ["fetch", "process", "enrich", "analyze", "aggregate"] == [it.id for it in plan.steps]
    assert list(range(5)) == [step.index for step in plan.steps]
    assert ((), ("process", "enrich", "analyze")) == (fetch.dependencies, fetch.dependents)
    assert (("process", "enrich", "analyze"), ()) == (aggregate.dependencies, aggregate.dependents)
    assert ("aggregate",) == plan.last_steps


def test_a_plan_carries_what_the_workflow_says():
    """The runtime works from the plan alone."""
    flow = chain("a", name="A chain", version="2", description="d", metadata={"k": 1}, timeout=5)

    plan = flow.plan()

    assert ("chain", "A chain", "2", "d") == (
        plan.workflow_id,
        plan.name,
        plan.version,
        plan.description,
    )
    assert ({"k": 1}, 5.0, True) == (plan.metadata, plan.timeout, plan.fail_fast)


def test_last_steps_are_those_that_nobody_waits_for():
    """In the order of definition."""
    flow = flow_of(Step("z", nothing, after="y"), Step("a", nothing), Step("y", nothing))

    assert ["a", "y", "z"] == [step.id for step in flow.plan().steps]
    assert ("z", "a") == flow.plan().last_steps


def test_what_a_step_is_called_with_is_settled_in_its_plan():
    """Each dependency under its own id, and nothing else of the others."""
    plan = lesson().plan()
    outputs = {"process": 1, "analyze": 3}

    assert {"url": "u"} == plan.by_id["fetch"].arguments({"url": "u"}, {}, None)
    assert {"fetch": 0} == plan.by_id["process"].arguments({"url": "u"}, {"fetch": 0}, None)
    assert outputs == plan.by_id["aggregate"].arguments({"url": "u"}, outputs, None)


def test_a_plan_knows_how_its_steps_are_called():
    """Awaited or not, with a context or without."""
    flow = Workflow("w")

    @flow.step
    async def fetch(ctx):
        """Take the context."""

    @flow.step
    def store():
        """Take nothing."""

    fetched, stored = flow.plan().steps

    assert (True, True) == (fetched.is_coroutine, fetched.wants_context)
    assert (False, False) == (stored.is_coroutine, stored.wants_context)


def test_the_run_inputs_are_those_that_the_steps_name():
    """In the order of their first use; one that any step cannot do without is required."""
    flow = lesson()

    assert ("url",) == flow.required_inputs
    assert ("day",) == flow.optional_inputs


def test_an_input_that_one_step_requires_is_not_optional():
    """Whatever default another step has for it."""
    flow = flow_of(
        Step("a", lambda day=1: day),
        Step("b", lambda day: day, compensate=lambda account: account),
    )

    assert ("day", "account") == flow.required_inputs
    assert () == flow.optional_inputs


def test_a_run_without_its_inputs_is_refused():
    """The error names each input and the steps that want it."""
    flow = flow_of(
        Step("a", lambda url, day: (url, day)),
        Step("b", nothing, compensate=lambda url: url),
        Step("c", lambda url=None: url),
    )

    with pytest.raises(MissingInput) as caught:
        flow.plan().require({"more": 1})

    assert ("w", ("url", "day"), (("a", "b"), ("a",)), (), (("b",), ())) == caught.value.args


@pytest.mark.parametrize(
    ("wanted", "inputs", "hint"),
    [
        ("url", {"ulr": 1}, "you passed 'ulr'"),
        ("fecth", {}, "did you mean the step 'fetch'?"),
        ("input", {}, "did you mean 'inputs'?"),
        ("context", {}, "did you mean 'ctx'?"),
        ("fetch_page", {}, "did you mean inputs['fetch-page']?"),
        ("quantity", {"url": 1}, None),
    ],
)
def test_a_missing_input_may_be_a_name_that_was_misspelt(wanted, inputs, hint):
    """Of what was given, of a step, or of what has a meaning of its own."""
    steps = Step("fetch", nothing), Step("fetch-page", nothing), Step("b", taking(wanted))
    plan = flow_of(*steps).plan()

    with pytest.raises(MissingInput) as caught:
        plan.require(inputs)

    assert (() if hint is None else (hint,)) == caught.value.hints


def test_an_input_that_no_step_takes_is_refused():
    """All of them are named, with what may have been meant."""
    flow = flow_of(
        Step("fetch", lambda url: url),
        Step("b", lambda limit=1: limit, compensate=lambda account=None: account),
    )
    plan = flow.plan()
    plan.recognise({"url": 1, "limit": 2, "account": 3})

    with pytest.raises(UnknownInput) as caught:
        plan.recognise({"limt": 1, "x": 2, "fetch": 3, 4: 5})

    assert (
        "w",
        ("limt", "x", "fetch", 4),
        ("url", "limit", "account"),
        ("did you mean 'limit'?", "", "a step, whose output the run makes", ""),
    ) == caught.value.args


MANY = 10_000


def _compared(monkeypatch):
    """Count how often two names are compared."""
    compared = []

    class Counting(difflib.SequenceMatcher):
        def real_quick_ratio(self):
            compared.append(self.a)
            return super().real_quick_ratio()

    monkeypatch.setattr(difflib, "SequenceMatcher", Counting)
    return compared


def test_many_unknown_inputs_are_refused_as_quickly_as_a_few(monkeypatch):
    """A refusal happens on the caller's event loop: a few names are explained, and all counted."""
    compared = _compared(monkeypatch)
    plan = flow_of(Step("fetch", lambda url: url)).plan()

    with pytest.raises(UnknownInput) as caught:
        plan.recognise({f"{'u' * 1000}rl{number}": 1 for number in range(MANY)})

    assert 10 == len(compared)
    assert MANY == len(caught.value.names)
    assert "and 9,990 more. The inputs are: 'url'." in str(caught.value)
    assert 5000 > len(str(caught.value))


def test_many_missing_inputs_are_refused_as_quickly_as_a_few(monkeypatch):
    """The same holds for a workflow that takes very many inputs."""
    wanted = [f"input{number}" for number in range(MANY)]
    plan = flow_of(*(Step(f"step of {name}", taking(name)) for name in wanted)).plan()
    compared = _compared(monkeypatch)

    with pytest.raises(MissingInput) as caught:
        plan.require({"inputs9999": 1})

    assert 10 * 300 > len(compared)
    assert MANY == len(caught.value.names) == len(caught.value.hints)
    assert "'input9', wanted by step 'step of input9'" in str(caught.value)
    assert "and 9,990 more. Pass it" in str(caught.value)
    assert 5000 > len(str(caught.value))


def test_many_inputs_of_a_step_that_takes_any_are_not_compared(monkeypatch):
    """They are data, and comparing each would delay every start."""
    compared = _compared(monkeypatch)
    plan = flow_of(Step("a", taking("inputs", limit=1))).plan()

    plan.recognise({f"name{number}": 1 for number in range(MANY)})

    assert 10 >= len(compared)


def test_an_input_that_is_surely_misspelt_is_warned_of_where_any_is_taken():
    """That is one which looks like an optional one that was left out."""
    plan = flow_of(Step("a", taking("inputs", limit=1, part1=1))).plan()

    plan.recognise({"limits": 1, "limit": 2})
    plan.recognise({"part2": 1, "other": 2})
    with pytest.warns(ActorflowWarning, match="names the input 'limti'.*Did you mean 'limit'"):
        plan.recognise({"limti": 1})


@pytest.mark.parametrize(
    "run",
    [taking("fecth"), taking(fecth=None), taking("store", fecth=None)],
    ids=lambda run: str(inspect.signature(run)),
)
def test_a_parameter_that_is_surely_a_dependency_misspelt_is_warned_of(run):
    """With a default it would be left at that for ever."""
    flow = flow_of(Step("fetch", nothing), Step("store", nothing))
    flow.add(Step("b", run, after=["fetch", "store"]))

    with pytest.warns(ActorflowWarning, match="'b': parameter 'fecth' of .*Did you mean 'fetch'"):
        flow.validate()


def test_an_input_that_several_steps_name_alike_is_no_slip():
    """However much it looks like a dependency of one of them."""
    flow = flow_of(Step("report_data", taking("report_date")))
    flow.add(Step("b", taking("report_date"), after="report_data"))

    flow.validate()

    assert ("report_date",) == flow.required_inputs


def test_a_parameter_cannot_be_named_after_every_step():
    """What is no name for it is found in `inputs`."""
    flow = flow_of(Step("fetch-page", nothing))
    flow.add(Step("b", taking("fetch_page"), after="fetch-page"))

    with pytest.warns(ActorflowWarning, match=r"Did you mean inputs\['fetch-page'\]\?"):
        flow.validate()


@pytest.mark.parametrize(
    "run",
    [taking("fetch", "fetchs"), taking("inputs", "fecth"), taking("fetched_at"), taking()],
    ids=lambda run: str(inspect.signature(run)),
)
def test_a_parameter_that_may_be_an_input_is_not_warned_of(run):
    """Somebody uses the dependency's output, or the name is too different."""
    flow = flow_of(Step("fetch", nothing), Step("b", run, after="fetch"))

    flow.validate()

    assert 2 == len(flow.plan().steps)


@pytest.mark.parametrize(
    ("after", "cure"),
    [
        ("fecth", "Did you mean 'fetch'? If not, add it."),
        ("quantity", "Add it, or name one of: 'fetch', 'store'."),
    ],
)
def test_an_unknown_dependency_is_refused_with_what_may_be_meant(after, cure):
    """A close name, or else all that there are."""
    flow = flow_of(Step("fetch", nothing), Step("store", nothing), Step("b", nothing, after=after))

    with pytest.raises(DefinitionError) as caught:
        flow.validate()

    assert (
        f"workflow 'w', step 'b': it depends on {after!r}, which is not a step of this workflow. "
        f"{cure}"
    ) == str(caught.value)


def test_a_run_may_have_inputs_that_no_parameter_names():
    """They reach `inputs`."""
    plan = flow_of(Step("a", lambda url, inputs: (url, inputs))).plan()
    given_inputs = {"url": "u", "more": 1}

    plan.require(given_inputs)
    plan.recognise(given_inputs)

    assert given_inputs == plan.by_id["a"].arguments(given_inputs, {}, None)["inputs"]


def test_a_plan_is_made_once():
    """Until a step is added; a plan that was taken stays as it was."""
    flow = chain("a")
    first = flow.plan()

    assert first is flow.plan()

    flow.add(Step("b", nothing))

    assert ["a", "b"] == [step.id for step in flow.plan().steps]
    assert ["a"] == [step.id for step in first.steps]


@pytest.mark.usefixtures("quick_switching")
def test_threads_that_ask_for_a_plan_get_the_same_one():
    """A workflow is a template for the runs of many threads."""
    flow = chain(*(f"s{number}" for number in range(300)))
    barrier = threading.Barrier(8)

    def ask(_):
        barrier.wait()
        return flow.plan()

    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(ask, range(8)))

    assert {id(flow.plan())} == {id(plan) for plan in plans}


@pytest.mark.usefixtures("quick_switching")
def test_steps_may_be_added_while_others_take_plans():
    """No step is lost, and a plan holds all steps up to some instant."""
    flow = chain(*(f"s{number}" for number in range(500)))
    barrier = threading.Barrier(4)

    def add(part):
        barrier.wait()
        for number in range(50):
            flow.add(Step(f"{part}-{number}", nothing))

    def ask():
        barrier.wait()
        return [len(flow.plan().steps) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        adding = [pool.submit(add, part) for part in range(2)]
        asking = [pool.submit(ask) for _ in range(2)]

    assert [None, None] == [future.result() for future in adding]
    assert all(sorted(sizes) == sizes for sizes in (future.result() for future in asking))
    assert 600 == len(flow.plan().steps) == len(flow.steps)


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.booleans(), min_size=n * n, max_size=n * n)))
def test_a_plan_is_in_topological_order(edges):
    """Whatever the order of definition and whoever waits for whom."""
    size = int(len(edges) ** 0.5)
    flow = flow_of(
        *(
            Step(
                f"s{i}", nothing, after=[f"s{j}" for j in range(i + 1, size) if edges[i * size + j]]
            )
            for i in range(size)
        )
    )

    plan = flow.plan()

    assert set(flow.steps) == set(plan.by_id)
    assert all(plan.by_id[it].index < step.index for step in plan.steps for it in step.dependencies)
    assert all(
        step.id in plan.by_id[it].dependents for step in plan.steps for it in step.dependencies
    )


def test_a_bare_compensator_has_the_limits_of_its_step():
    """It is tried and timed as the step is, in attempts of its own."""
    policy = RetryPolicy(max_attempts=5)
    step = Step("book", nothing, compensate=nothing, retry=policy, timeout=2, executor="slow")

    undo = flow_of(step).plan().by_id["book"].compensation

    assert (policy, 2.0, "slow") == (undo.step.retry, undo.step.timeout, undo.step.executor)
    assert undo.compensation is None


def test_a_compensating_step_has_its_own_limits():
    """Undoing may be worth more attempts than doing was."""
    policy = RetryPolicy(max_attempts=50)
    undo = Step("unbook", nothing, retry=policy)

    plan = flow_of(Step("book", nothing, compensate=undo)).plan().by_id["book"].compensation

    assert ("book", undo) == (plan.id, plan.step)


def test_a_compensator_sees_what_its_step_saw_and_what_it_made():
    """The step's own output under its own id."""

    async def undo(book, find, account, ctx, inputs):
        """Take everything."""

    step = Step("book", nothing, after="find", compensate=undo)
    plan = flow_of(Step("find", nothing), step).plan().by_id["book"].compensation

    arguments = plan.arguments({"account": 1}, {"find": 2, "book": 3}, "context")

    assert (True, True, ("find", "book")) == (
        plan.is_coroutine,
        plan.wants_context,
        plan.dependencies,
    )
    assert {
        "book": 3,
        "find": 2,
        "account": 1,
        "ctx": "context",
        "inputs": {"account": 1, "find": 2, "book": 3},
    } == arguments


def test_the_compensator_of_an_optional_step_may_count_on_its_output():
    """Only a step that completed is compensated."""
    plan = flow_of(Step("book", nothing, required=False, compensate=lambda book: book)).plan()

    assert {"book": 3} == plan.by_id["book"].compensation.arguments({}, {"book": 3}, None)


def test_the_same_definition_has_the_same_fingerprint():
    """Also when it is built again, with new function objects, or said in another order."""

    def policy():
        return RetryPolicy(retryable_errors=lambda error: error.args == ())

    one = flow_of(Step("a", nothing), Step("b", nothing, retry=policy()))
    again = Step("b", nothing, name="B", description="words", retry=policy())

    assert lesson().plan().fingerprint == lesson().plan().fingerprint
    assert one.plan().fingerprint == flow_of(again, Step("a", nothing)).plan().fingerprint


def other():
    """Be another function."""


@pytest.mark.parametrize(
    "step",
    [
        Step("c", nothing),
        Step("b", other),
        Step("b", nothing, retry=RetryPolicy()),
        Step("b", nothing, compensate=other),
    ],
    ids=lambda step: re.sub(r" at 0x[0-9a-f]+", "", str(step)),
)
def test_whatever_changes_what_a_workflow_does_changes_its_fingerprint(step):
    """Steps, functions and policies; tests/test_options.py has each option of a step."""
    before = flow_of(Step("a", nothing), Step("b", nothing)).plan().fingerprint

    assert before != flow_of(Step("a", nothing), step).plan().fingerprint


@pytest.mark.parametrize(
    "options", [{"version": "2"}, {"timeout": 1}, {"fail_fast": False}, {"order": "critical_path"}]
)
def test_the_options_of_a_workflow_are_part_of_its_fingerprint(options):
    """They change what a run does."""
    assert chain("a").plan().fingerprint != chain("a", **options).plan().fingerprint

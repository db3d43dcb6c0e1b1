"""Searches that try every schedule with a few deviations, and say that these are all."""

from __future__ import annotations

import random
import warnings

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.scheduling.starts import Starts
from actorflow.support.warnings import ActorflowWarning
from actorflow.testing import (
    Faults,
    Script,
    either,
    explore,
    hangs,
    law,
    laws,
    raises,
    real,
    returns,
)
from actorflow.testing.search.cases import given
from actorflow.testing.search.exhaustive import Exhaustive
from actorflow.testing.search.search import judged
from actorflow.testing.trace.labels import plain
from tests.support.brain import flow, task

SINGLE = flow(task("a"))
PAIR = flow(task("a"), task("b"))
CHAIN = flow(task("a"), task("b", "a"), task("c", "b"))
FORK = flow(task("a"), task("b"), task("c", "a", "b"))
WIDE = flow(task("a"), task("b"), task("c"))
ONE_SECOND = Script(default=returns())
TWICE = RetryPolicy(max_attempts=2, jitter=0.0)


def undone(_outputs=None):
    """Stand in for a compensator."""


CASES = {
    "one step": (SINGLE, 4, {}),
    "two steps": (PAIR, 2, {}),
    "two steps of a second": (PAIR, 4, {"script": ONE_SECOND}),
    "two steps and one worker": (PAIR, 3, {"script": ONE_SECOND, "async_workers": 1}),
    "a chain": (CHAIN, 2, {}),
    "a fork": (FORK, 2, {}),
    "a fork of a second": (FORK, 3, {"script": ONE_SECOND}),
    "three steps": (WIDE, 2, {}),
    "a deadline": (PAIR, 2, {"timeout": 1.0}),
    "a far deadline": (PAIR, 2, {"timeout": 100.0, "script": ONE_SECOND}),
    "a cancellation": (PAIR, 2, {"cancel_at": 1.0, "script": ONE_SECOND}),
    "a cancellation at once": (PAIR, 3, {"cancel_at": 0.0, "script": ONE_SECOND}),
    "a timeout and a retry": (
        flow(task("a", timeout=1.0, retry=TWICE), task("b", "a")),
        2,
        {"script": Script({"a": [either(raises(OSError), hangs()), returns(after=0.0)]})},
    ),
    "an optional step": (
        flow(task("a", required=False), task("b", "a"), task("c")),
        2,
        {"script": Script({"a": raises(OSError, after=0.0)}, default=returns(after=0.0))},
    ),
    "a failure among others": (
        FORK,
        2,
        {"script": Script({"a": raises(OSError)}, default=returns())},
    ),
    "plain functions": (
        flow(Step("a", lambda: 1), Step("b", lambda: 1), Step("c", lambda a: a, after="a")),
        2,
        {"script": ONE_SECOND},
    ),
    "a compensator": (
        flow(task("a", compensate=undone), task("b", "a")),
        2,
        {"script": Script({"b": raises(OSError)}, default=returns())},
    ),
    "a wait": (
        PAIR,
        2,
        {"script": Script({"a": returns().waiting()}, default=returns()), "async_workers": 1},
    ),
    "a wait that the body does not await": (
        flow(Step("a", lambda: 1), Step("b", lambda: 1)),
        2,
        {"script": Script({"a": returns().waiting().waiting(ends="woken")}, default=returns())},
    ),
    "no race": (FORK, 2, {"race": False}),
}
every_case = pytest.mark.parametrize("name", CASES)


def case_of(name):
    """Return a case and its number of deviations."""
    workflow, deviations, options = CASES[name]
    return given(workflow, **options), deviations


def outcome(trace):
    """Return a trace modulo commuting: what each actor received and what came of it."""
    received = {}
    for time, sender, receiver, message in trace.deliveries:
        received.setdefault(receiver, []).append((time, sender, message))
    events = [
        (it.kind, it.run_id, it.step_id, it.time, plain(dict(it.data))) for it in trace.events
    ]
    attempts = [
        (it.step_id, it.attempt, it.started_at, it.finished_at, it.outcome, plain(it.output))
        for it in (*trace.attempts, *trace.compensations)
    ]
    waits = [(it.step_id, it.attempt, it.began_at, it.woken_at, it.until_at) for it in trace.waits]
    results = [(run_id, result.status) for run_id, result in trace.results.items()]
    actors = sorted((name, tuple(messages)) for name, messages in received.items())
    return tuple(map(tuple, (actors, events, attempts, waits, results)))


def tried(case, deviations, *, prune):
    """Return an exhausted search, and the traces that it ran to the end."""
    search = Exhaustive(case, deviations, prune=prune)
    return search, [trace for trace in search.traces() if trace is not None]


def by_hand(case, deviations, prefix=()):
    """Yield the tapes of all schedules, found in the simplest way: depth first."""
    choices = iter(prefix)
    trace = case.simulate(lambda _options, _label: next(choices, 0))
    yield trace.tape
    if deviations:
        for place in range(len(prefix), len(trace.choices)):
            before = [value for _, value, _ in trace.choices[:place]]
            for value in range(1, trace.choices[place][2]):
                yield from by_hand(case, deviations - 1, (*before, value))


# ── All of them ──────────────────────────────────────────────────────────────────────────────


@every_case
def test_pruning_loses_no_outcome(name):
    """Whatever the full search sees, the pruned one sees too, up to the order of what commutes."""
    case, deviations = case_of(name)

    full, every = tried(case, deviations, prune=False)
    pruned, some = tried(case, deviations, prune=True)

    assert set(map(outcome, every)) == set(map(outcome, some))
    assert len(some) <= len(every)
    assert 0 == full.pruned
    assert full.exhausted
    assert pruned.exhausted
    assert full.complete == pruned.complete


def test_pruning_leaves_out_most():
    """The more so the more deviations there are."""
    case = given(WIDE, script=ONE_SECOND)
    _, every = tried(case, 3, prune=False)
    _, some = tried(case, 3, prune=True)

    assert len(some) * 5 < len(every)


@pytest.mark.parametrize("name", ["one step", "two steps", "a chain", "a compensator"])
def test_every_schedule_is_tried_once(name):
    """Those with fewer deviations first."""
    case, _ = case_of(name)
    _, traces = tried(case, 2, prune=False)

    tapes = [trace.tape for trace in traces]
    assert set(by_hand(case, 2)) == set(tapes)
    assert len(set(tapes)) == len(tapes)
    assert sorted(tape.deviations for tape in tapes) == [tape.deviations for tape in tapes]


def test_what_is_complete_has_no_other_schedules():
    """No search at random finds an outcome that is not among them."""
    case = given(PAIR, script=ONE_SECOND)
    search, traces = tried(case, 50, prune=True)
    known = set(map(outcome, traces))

    assert search.complete
    for seed in range(300):
        assert outcome(case.simulate(random.Random(seed))) in known


def test_with_enough_deviations_there_are_no_others():
    """One fewer than it takes is not enough."""
    case = given(SINGLE)
    most = max(trace.tape.deviations for trace in tried(case, 50, prune=False)[1])

    searches = {number: tried(case, number, prune=False)[0] for number in (most - 1, most)}

    assert {most - 1: False, most: True} == {it: one.complete for it, one in searches.items()}
    assert all(one.exhausted for one in searches.values())


@pytest.mark.parametrize(
    "options",
    [
        {"faults": Faults(delays=1)},
        {"script": Script(default=real())},
        {"script": Script({"a": [returns(), either(returns(), real())]})},
    ],
    ids=["faults", "real", "perhaps real"],
)
def test_what_may_not_commute_is_not_pruned(options):
    """Faults are counted over all messages, and functions may share what they like."""
    search, traces = tried(given(flow(Step("a", lambda: 1), task("b")), **options), 1, prune=True)

    assert 0 == search.pruned
    assert len(traces) == len({trace.tape for trace in traces})


# ── As a search ──────────────────────────────────────────────────────────────────────────────


def test_a_search_says_that_these_were_all():
    """With how many there are."""
    found = explore(CHAIN, exhaustive=2)

    assert (2, True, False) == (found.exhaustive, found.exhausted, found.complete)
    said = f"exhausted: all schedules with at most 2 deviations, {found.pruned} others being equal"
    assert str(found).startswith(said)
    assert 100 < found.schedules + found.pruned < 500
    assert found.explored == found.schedules
    found.check()


def test_a_search_says_that_there_are_no_others():
    """However many deviations are allowed."""
    found = explore(SINGLE, exhaustive=100)

    assert found.complete
    assert "; there are no others\n" in str(found)


def test_the_default_schedule_alone_is_exhaustive_too():
    """Without any deviation."""
    found = explore(PAIR, exhaustive=0)

    assert (1, True, False) == (found.schedules, found.exhausted, found.complete)


def test_a_usual_search_exhausts_nothing():
    """Even if it happens to try all."""
    found = explore(SINGLE, schedules=200)

    assert (None, False, False, 0) == (
        found.exhaustive,
        found.exhausted,
        found.complete,
        found.pruned,
    )
    assert "exhausted" not in str(found)


def test_a_bound_that_is_hit_is_told():
    """One schedule fewer than there are."""
    whole = explore(CHAIN, exhaustive=1)
    every = whole.schedules + whole.pruned

    with pytest.warns(ActorflowWarning, match=r"not exhausted: .* at most 1 deviation\. Raise"):
        part = explore(CHAIN, exhaustive=1, schedules=every - 1)
    exactly = explore(CHAIN, exhaustive=1, schedules=every)

    assert (False, False) == (part.exhausted, part.complete)
    assert str(part).startswith("not exhausted: the search ended before it had tried all")
    assert exactly.exhausted


def test_a_search_that_runs_out_of_time_is_not_exhausted():
    """It says so."""
    with pytest.warns(ActorflowWarning, match="not exhausted"):
        found = explore(PAIR, exhaustive=2, seconds=1e-9)

    assert not found.exhausted


def test_a_search_that_is_ended_by_its_watcher_is_not_exhausted():
    """Who knows that, and is not warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explore(PAIR, exhaustive=2, watch=lambda schedules: schedules < 5)

    assert not found.exhausted


@pytest.mark.parametrize("deviations", [-1, 1.0, True, "2", float("inf")])
def test_a_number_of_deviations_that_makes_no_sense_is_refused(deviations):
    """Before anything runs."""
    with pytest.raises(DefinitionError, match=r"exhaustive is .* Give a whole number, 0 or more"):
        explore(PAIR, exhaustive=deviations)


def test_the_first_failure_has_the_fewest_deviations():
    """And is not exhausted, because the search ends there."""

    @law
    def b_never_ends_first(trace):
        """Step b completes after step a."""
        ends = [it.step_id for it in trace.events if it.kind.value == "step.completed"]
        assert ends == sorted(ends)

    found = explore(PAIR, exhaustive=3, laws=[b_never_ends_first])

    assert 1 == found.failure.tape.deviations
    assert not found.exhausted
    assert "not exhausted" in str(found)


@pytest.mark.parametrize("prune", [False, True])
def test_a_planted_bug_is_found(prune, monkeypatch):
    """A worker is lost with an attempt that is stopped for its timeout."""
    release = Starts.release

    def leak(starts, run, step):
        release(starts, run, step)
        if step.stop_error is not None and step.step.async_:
            starts._workers.free -= 1

    monkeypatch.setattr(Starts, "release", leak)
    case = given(flow(task("a", timeout=2.0), task("b")))
    search = Exhaustive(case, 1, prune=prune)

    broken = [judged(laws.ALL, trace) for trace in search.traces() if trace is not None]

    assert any(broken)


def test_equal_searches_give_equal_explorations():
    """There is no chance in them."""
    assert explore(FORK, exhaustive=1, seed=1) == explore(FORK, exhaustive=1, seed=1)

"""Charts: what a person reads of a trace."""

from __future__ import annotations

import re

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.testing import Faults, Script, Simulation, Tape, hangs, raises, returns, simulate
from docs.examples.lesson import flow as lesson
from tests.support.brain import flow, task
from tests.testing.test_simulate import async_step


def shown(trace):
    """The chart without blanks at the ends of its lines."""
    return [line.rstrip() for line in trace.chart().splitlines()]


def texts(trace):
    """What is said at the right of the lanes."""
    return [re.sub(r"^[ \d.]*[│├┤┼─▶◀●✗ ]+", "", line) for line in shown(trace)[1:]]


def test_a_chart_has_lanes_and_time_goes_down():
    """Each moment is named once."""
    trace = simulate(flow(task("a"), task("b", "a")), script=Script({"a": returns("x", after=1.5)}))

    assert [
        "     executor  supervisor   run-1   a     b",
        "  0      │          ●         │     │     │    run-1 started",
        "         │          │         ├────▶│     │    a#1 is granted",
        "1.5      ├─────────▶│         │     │     │    a#1 returned 'x'",
        "         │          ├─────────┼─────┼────▶│    b#1 is granted",
        "         │          │         │     ├────▶│    a is done",
        "2.5      ├─────────▶│         │     │     │    b#1 returned 'b#1'",
        "         │          ●         │     │     │    run-1 completed",
    ] == shown(trace)


def test_what_no_message_says_is_told_by_events():
    """Retries, timeouts, failures, skips, cancellations, ends."""
    steps = [
        async_step("a", timeout=2.0, retry=RetryPolicy(max_attempts=2, jitter=0)),
        task("b", required=False),
        task("c", "a"),
    ]
    trace = simulate(flow(*steps), script=Script({"a": hangs(), "b": raises(ValueError("no"))}))

    said = texts(trace)
    assert "b skipped: ValueError: no" in said
    assert "a#1 timed out after 2.00 s" in said
    assert "a#1 retrying in 1.00 s" in said
    assert "a failed: StepTimeout" in said
    assert "c cancelled" in said


def test_a_step_is_called_ready_only_if_it_has_to_wait():
    """Otherwise its grant says so at once."""
    workflow = flow(async_step("a"), async_step("b"), task("c", "a"))

    said = texts(simulate(workflow, async_workers=1))

    assert "a ready" not in said
    assert "b ready" in said
    assert said.index("b ready") < said.index("a#1 returned 'a#1'") < said.index("b#1 is granted")


def test_what_nothing_comes_of_is_called_ignored():
    """A late result, and what is said twice."""
    script = Script({"a": [returns("late", after=9), returns("in time")]})
    workflow = flow(task("a", timeout=2.0, retry=RetryPolicy(jitter=0)))
    faults = Faults(late_results=1, duplicates=1)
    tape = Tape({"late result": [1], "duplicate": [4]})

    said = texts(simulate(workflow, script=script, faults=faults, tape=tape))

    assert "a#1 returned 'late', ignored" in said
    assert ["a#2 returned 'in time'", "a#2 returned 'in time', ignored"] == [
        one for one in said if "in time" in one and "DUPLICATE" not in one
    ]
    assert "DUPLICATE: AttemptFinished a#2" in said


def test_what_is_lost_ends_in_a_cross():
    """And who died gets a lane."""
    workflow = flow(task("a", retry=RetryPolicy(jitter=0)))

    trace = simulate(workflow, faults=Faults(crashes=1), tape=Tape({"crash": [3]}))

    lines = shown(trace)
    assert "run-1" in lines[0]
    assert ["CRASH: Execute a#1"] == [line.split("│ ")[-1].strip() for line in lines if "✗" in line]
    assert "a gets a new actor" in texts(trace)


def test_a_crash_of_the_whole_is_shown():
    """Between what happened before and after it."""
    simulation = Simulation()
    run_id = simulation.start(flow(task("a")))
    simulation.advance(0.5)
    simulation.crash()
    simulation.resume(run_id)
    simulation.run_until_quiet()

    said = texts(simulation.trace())
    assert ["a#1 is granted", "CRASH of the whole orchestrator", "run-1 resumed"] == said[1:4]


def test_runs_after_the_first_are_named_with_their_steps():
    """Most schedules have one run, which need not be."""
    simulation = Simulation()
    for _ in range(2):
        simulation.start(flow(task("a")))
    simulation.cancel("run-2", "enough")
    simulation.run_until_quiet()

    said = texts(simulation.trace())
    assert "a#1 is granted" in said
    assert "cancel run-2: enough" in said
    assert "run-2/a cancelled" in said


def test_a_chart_stays_narrow():
    """Lanes give way, the widest first; names are cut."""
    steps = [task(f"a step with a long name {number}") for number in range(9)]

    lines = shown(simulate(flow(*steps)))

    assert "…" in lines[0]
    assert max(map(len, lines)) < 160


def test_a_chart_of_very_many_lanes_names_them_in_its_lines():
    """Lanes that do not fit a page help nobody."""
    lines = shown(simulate(flow(*[task(f"s{number}") for number in range(40)])))

    assert any(line.split()[:3] == ["run-1", "▶", "s0"] for line in lines)
    assert any("● supervisor run-1 started" in line for line in lines)
    assert max(map(len, lines)) < 120


@pytest.mark.parametrize("output", ["a\nb", "\x1b[31m", "x" * 500])
def test_an_output_cannot_break_a_chart(output):
    """Control characters are escaped, long texts cut."""
    trace = simulate(flow(task("a")), script=Script({"a": returns(output)}))

    assert len(shown(trace)) == len(shown(simulate(flow(task("a")))))
    assert max(map(len, shown(trace))) < 120
    assert trace.chart().replace("\n", "").isprintable()


def test_mermaid_has_the_same_lines():
    """Arrows for messages, notes for the rest; with the times."""
    trace = simulate(flow(task("a")), script=Script({"a": returns("x;#<y>", after=1.5)}))

    assert [
        "sequenceDiagram",
        "    participant p0 as executor",
        "    participant p1 as supervisor",
        "    participant p2 as run-1",
        "    participant p3 as a",
        "    Note over p1: 0 s: run-1 started",
        "    p2->>p3: 0 s: a#35;1 is granted",
        "    p0->>p1: 1.5 s: a#35;1 returned 'x#59;#35;#60;y#62;'",
        "    Note over p1: 1.5 s: run-1 completed",
    ] == trace.mermaid().splitlines()


def test_mermaid_shows_what_was_lost():
    """By the arrow that ends in a cross."""
    trace = simulate(flow(task("a")), faults=Faults(crashes=1), tape=Tape({"crash": [3]}))

    assert any("-xp" in line for line in trace.mermaid().splitlines())


def test_a_trace_without_messages_has_an_empty_chart():
    """Nothing has happened."""
    trace = Simulation().trace()

    assert 1 == len(trace.chart().splitlines())
    assert "sequenceDiagram" in trace.mermaid()


def test_a_trace_says_briefly_what_it_is():
    """In a failed assertion."""
    trace = simulate(lesson, {"url": "u"})

    assert f"<Trace of {len(trace.deliveries)} deliveries: run-1 completed>" == repr(trace)
    assert "no run has ended" in repr(Simulation().trace())


def test_deliveries_are_told_by_names():
    """Who said what to whom, when."""
    trace = simulate(flow(Step("a", lambda: None)))

    told = [tuple(one) for one in trace.deliveries]
    assert (0.0, "caller", "supervisor", "StartRun") in told
    assert (0.0, "run-1", "a", "Execute a#1") in told
    assert (1.0, "executor", "supervisor", "AttemptFinished a#1") in told

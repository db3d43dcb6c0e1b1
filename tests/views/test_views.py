"""Pictures of workflows and runs: what they show, and that nothing can spoil them."""

from __future__ import annotations

import html
import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.errors.running import IllegalMove
from actorflow.model.events import Event
from actorflow.model.lifecycle import RUN_MOVES, STEP_MOVES, EventKind, StepStatus
from actorflow.views import (
    Timeline,
    bounds_of,
    draw_cycle,
    draw_dot,
    draw_gantt,
    draw_gantt_svg,
    draw_line,
    draw_mermaid,
    draw_run_states,
    draw_step_states,
    draw_tree,
)
from actorflow.views.gantt import NARROWEST
from actorflow.views.gantt_svg import NARROWEST_SVG
from actorflow.views.text import cells, fitted, in_words, one_line, printable
from actorflow.views.timeline import Phase
from actorflow.views.tree import branches

EPOCH = 1_700_000_000.0


def work():
    """Do nothing, as the body of every step here."""


def undo():
    """Undo nothing."""


def lesson():
    """The lesson's flow, with every option somewhere."""
    flow = Workflow("report", name="Daily report", description="What happened today", timeout=90)

    @flow.step
    def fetch(url, limit=3): ...

    retry = RetryPolicy(max_attempts=3)

    @flow.step(after="fetch", async_=True, timeout=2.5, total_timeout=10, retry=retry)
    async def process(fetch): ...

    @flow.step(after="fetch", async_=True, required=False)
    async def enrich(fetch): ...

    @flow.step(after="fetch", async_=True, priority=3, compensate=undo)
    async def analyze(fetch): ...

    @flow.step(after=["process", "enrich", "analyze"], executor="processes")
    def aggregate(process, analyze, enrich=None): ...

    return flow.plan()


def plan_of(dependencies, *, async_=()):
    """A plan from who waits for whom."""
    flow = Workflow("flow")
    for step_id, after in dependencies.items():
        flow.add(Step(step_id, work, after=tuple(after), async_=step_id in async_))
    return flow.plan()


def record(*told):
    """Events from `(seconds, kind, step id, data)`, the last two optional."""
    events = []
    for number, (seconds, kind, *rest) in enumerate(told, start=1):
        step_id, data = (*rest, None, None)[:2]
        time = EPOCH + seconds
        events.append(Event(number, EventKind(kind), "run", step_id, None, time, data or {}))
    return events


RETRIED = record(
    (0, "run.started"),
    (0, "step.ready", "fetch"),
    (0, "step.started", "fetch"),
    (10, "step.completed", "fetch", {"output": "secret"}),
    (10, "step.ready", "process"),
    (10, "step.ready", "enrich"),
    (10, "step.started", "process"),
    (20, "step.retrying", "process", {"error": OSError("gone"), "delay": 10.0}),
    (20, "step.started", "enrich"),
    (30, "step.ready", "process"),
    (30, "step.started", "process"),
    (40, "step.skipped", "enrich", {"error": LookupError("no")}),
    (50, "step.completed", "process"),
    (50, "run.completed"),
)

# ── Whole pictures ───────────────────────────────────────────────────────────────────────────


def test_the_tree_lists_the_steps_with_what_was_said_about_them():
    """A reader sees what waits for what, and every option that is not the default."""
    expected = """\
report (Daily report), version 1.0.0
What happened today
inputs: url, limit (optional)
timeout: 90 s

layer 1
  fetch

layer 2
  process    after fetch  async, timeout 2.5 s, total timeout 10 s, up to 3 attempts
  enrich     after fetch  async, optional
  analyze    after fetch  async, priority 3, can be undone

layer 3
  aggregate  after process, enrich, analyze  executor processes"""

    assert expected == draw_tree(lesson())


def test_mermaid_draws_async_steps_round_and_optional_ones_dashed():
    """The three kinds of step can be told apart without a legend."""
    expected = """\
flowchart TD
    s0["fetch"]
    s1(["process"])
    s2(["enrich"])
    s3(["analyze"])
    s4["aggregate"]
    s0 --> s1
    s0 --> s2
    s0 --> s3
    s1 --> s4
    s2 -.-> s4
    s3 --> s4
    classDef optional stroke-dasharray: 5 5
    class s2 optional"""

    assert expected == draw_mermaid(lesson())


def test_dot_draws_async_steps_as_ellipses_and_optional_ones_dashed():
    """The same picture for Graphviz."""
    expected = """\
digraph "report" {
    s0 [label="fetch", shape=box];
    s1 [label="process", shape=ellipse];
    s2 [label="enrich", shape=ellipse, style=dashed];
    s3 [label="analyze", shape=ellipse];
    s4 [label="aggregate", shape=box];
    s0 -> s1;
    s0 -> s2;
    s0 -> s3;
    s1 -> s4;
    s2 -> s4 [style=dashed];
    s3 -> s4;
}"""

    assert expected == draw_dot(lesson())


def test_the_gantt_chart_shows_attempts_waits_and_failures():
    """One row per step, time to scale, and the legend names what occurs."""
    expected = """\
fetch    ███████                             10.00 s
process        ▒▒▒▒▒▒▒▒······██████████████  40.00 s, 2 attempts
enrich         ╌╌╌╌╌╌╌▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒        20.00 s, skipped
         0                          50.00 s
╌ waiting for its turn  · waiting to retry  █ completed
▒ failed attempt"""

    assert expected == draw_gantt(RETRIED, width=64)


def test_the_gantt_chart_of_a_run_in_progress_ends_now():
    """Steps that still run or wait are drawn up to the moment of asking."""
    expected = """\
fetch    ████████                              10.00 s
process          ▒▒▒▒▒▒▒▒····················  35.00 s, retrying
enrich           ╌╌╌╌╌╌╌╌▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓  25.00 s, running
         0                            45.00 s
╌ waiting for its turn  · waiting to retry  █ completed
▓ running  ▒ failed attempt"""

    assert expected == draw_gantt(RETRIED[:9], width=64, now=EPOCH + 45)


def test_a_tree_hangs_each_step_below_its_deepest_dependency():
    """The dependencies that a tree cannot show are named."""
    drawn = [(branch.prefix + branch.step.id, branch.others) for branch in branches(lesson())]
    deep = branches(plan_of({"a": (), "b": ["a"], "c": ["a", "b"]}))

    assert [
        ("fetch", ()),
        ("├─ process", ()),
        ("│  └─ aggregate", ("enrich", "analyze")),
        ("├─ enrich", ()),
        ("└─ analyze", ()),
    ] == drawn
    assert ("   └─ ", ("a",)) == (deep[2].prefix, deep[2].others)


def ring(*ids):
    """Steps of which each waits for the one before, and the first for the last."""
    flow = Workflow("ring")
    for place, step_id in enumerate(ids):
        flow.add(Step(step_id, work, after=ids[place - 1]))
    return flow


def test_a_ring_is_drawn_in_the_direction_of_the_data():
    """With all that each of its steps waits for; the others are left out."""
    flow = ring("a", "bb", "c")
    flow.add(Step("end", work, after="c"))
    alone = ring("a")

    assert ["┌──> a   after c", "│    bb  after a", "└─── c   after bb"] == draw_cycle(
        flow.steps
    ).splitlines()
    assert "───> a  after a" == draw_cycle(alone.steps)
    assert "" == draw_cycle({"a": Step("a", work)})


def test_of_a_long_ring_the_ends_are_drawn():
    """The middle is counted."""
    lines = draw_cycle(ring(*(f"s{number}" for number in range(1000))).steps).splitlines()

    assert 21 == len(lines)
    assert ("┌──> s0    after s999", "│    … 980 more", "└─── s999  after s998") == (
        lines[0],
        lines[10],
        lines[-1],
    )


def test_a_chain_longer_than_the_stack_can_be_drawn():
    """Nothing here recurses."""
    ids = [f"s{number}" for number in range(1500)]
    plan = plan_of({step_id: ids[place - 1 : place] for place, step_id in enumerate(ids)})

    assert 1500 == len(branches(plan))
    assert "layer 1500" in draw_tree(plan)


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def test_a_line_tells_what_happened_and_why():
    """The time, the kind, the step, the attempt, and what is known of the cause."""
    data = {"error": TimeoutError("slow\nvery"), "delay": 0.5}
    event = Event(7, EventKind.STEP_RETRYING, "run", "process", 1, EPOCH + 0.1234, data)

    assert "+0.123s step.retrying process #1 again in 500 ms TimeoutError: slow" == draw_line(
        event, EPOCH
    )


def test_a_line_does_not_tell_outputs():
    """They may be large, and they may be secret."""
    assert not [event for event in RETRIED if "secret" in draw_line(event, EPOCH)]


def test_a_line_of_a_run_has_no_step():
    """Events of the whole run say less."""
    event = record((2, "run.cancelled", None, {"reason": "Ctrl-C"}))[0]

    assert "+2.000s run.cancelled (Ctrl-C)" == draw_line(event, EPOCH)


# ── Properties of graphs ─────────────────────────────────────────────────────────────────────

ids = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda text: bool(text.strip()) and text not in {"ctx", "inputs"})


@st.composite
def plans(draw, ids=ids):
    """Any small workflow, its steps called anything."""
    names = draw(st.lists(ids, min_size=1, max_size=7, unique=True))
    flow = Workflow(draw(ids))
    for place, step_id in enumerate(names):
        after = draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else ()
        flags = {"async_": draw(st.booleans()), "required": draw(st.booleans())}
        flow.add(Step(step_id, work, after=tuple(after), **flags))
    return flow.plan()


def arrows(plan):
    """Who leads to whom, by place in the plan."""
    return {(plan.by_id[d].index, step.index) for step in plan.steps for d in step.dependencies}


@given(plans())
def test_mermaid_keeps_every_id_and_every_arrow(plan):
    """Whatever a step is called, its label says so, and no label breaks out of its quotes."""
    first, *lines = draw_mermaid(plan).split("\n")
    nodes = [re.fullmatch(r'    s(\d+)(?:\["|\(\[")([^"]*)(?:"\]|"\]\))', line) for line in lines]
    labels = [re.sub(r"#(\d+);", lambda code: chr(int(code[1])), n[2]) for n in nodes if n]
    joins = [re.fullmatch(r"    s(\d+) (?:-->|-\.->) s(\d+)", line) for line in lines]

    assert "flowchart TD" == first
    assert [step.id for step in plan.steps] == labels
    assert arrows(plan) == {(int(join[1]), int(join[2])) for join in joins if join}
    assert all(
        node or join or "optional" in line
        for node, join, line in zip(nodes, joins, lines, strict=True)
    )


@given(ids)
@example("1. www.a.b: <i>_x_</i> `y` #35; - z")
def test_mermaid_labels_hold_nothing_that_markdown_could_read(step_id):
    """Beside letters and digits only single signs within words and entity codes are left."""
    label = draw_mermaid(plan_of({step_id: ()})).split('"')[1]
    rest = re.sub(r"#\d+;", "", label)

    assert not set(rest) & set('#;"<>&*`[](){}.:/\\\n')


@given(plans())
def test_dot_keeps_every_id_and_every_arrow(plan):
    """Each label ends where its quotes do, and decodes to the step's id."""
    first, *lines, last = draw_dot(plan).split("\n")
    text = r'"((?:[^"\\]|\\.)*)"'
    nodes = [
        re.fullmatch(rf"    s\d+ \[label={text}, shape=\w+(?:, style=\w+)?\];", line)
        for line in lines
    ]
    labels = [html.unescape(re.sub(r"\\(.)", r"\1", node[1])) for node in nodes if node]
    joins = [re.fullmatch(r"    s(\d+) -> s(\d+)(?: \[style=dashed\])?;", line) for line in lines]

    assert re.fullmatch(rf"digraph {text} {{", first)
    assert "}" == last
    assert [printable(step.id) for step in plan.steps] == labels
    assert arrows(plan) == {(int(join[1]), int(join[2])) for join in joins if join}


def test_dot_labels_say_what_looks_like_an_entity():
    """Graphviz decodes the entities of HTML, so that an id that holds one is encoded."""
    assert 'label="a &amp;lt; b \\\\ \\"c\\""' in draw_dot(plan_of({'a &lt; b \\ "c"': ()}))


@given(plans())
def test_trees_show_every_step_once(plan):
    """In the listing on a line of its own, and in the branches below a dependency."""
    lines = draw_tree(plan).split("\n")
    drawn = branches(plan)
    shown = {branch.step.id: len(branch.others) for branch in drawn}

    assert len(plan.steps) == len([line for line in lines if line.startswith("  ")])
    assert sorted(step.id for step in plan.steps) == sorted(branch.step.id for branch in drawn)
    assert {step.id: max(0, len(step.dependencies) - 1) for step in plan.steps} == shown


@pytest.mark.parametrize(
    ("drawn", "moves"),
    [(draw_step_states(), STEP_MOVES), (draw_run_states(), RUN_MOVES)],
    ids=["steps", "runs"],
)
def test_state_diagrams_show_the_whole_table_and_nothing_else(drawn, moves):
    """Read back, the diagram is the table."""
    found = re.findall(r"^    (\w+) --> (\w+): (.+)$", drawn, re.MULTILINE)
    read = {(start, kind, end) for start, end, kinds in found for kind in kinds.split(", ")}

    assert {(s, k, e) for s, following in moves.items() for k, e in following.items()} == read
    assert drawn.startswith("stateDiagram-v2\n    [*] --> pending\n")
    assert drawn.count("--> [*]") == len([status for status in moves if final(status)])


def final(status):
    """Whether a step or a run may stay in this state."""
    return status.settled if isinstance(status, StepStatus) else status.terminal


# ── Properties of runs ───────────────────────────────────────────────────────────────────────


@st.composite
def walks(draw):
    """A run in which every step makes any legal moves, at any times."""
    steps = dict.fromkeys(draw(st.lists(ids, max_size=8, unique=True)), StepStatus.PENDING)
    told, now = [(0.0, "run.started")], 0.0
    for _ in range(draw(st.integers(0, 40))):
        able = [step_id for step_id, status in steps.items() if STEP_MOVES[status]]
        if not able:
            break
        step_id = draw(st.sampled_from(able))
        kind = draw(st.sampled_from(list(STEP_MOVES[steps[step_id]])))
        steps[step_id] = STEP_MOVES[steps[step_id]][kind]
        now += draw(st.sampled_from([0.0, 0.001, 1.0, 3600.0]))
        told.append((now, kind, step_id))
    return record(*told), steps


@pytest.mark.slow
@given(walks(), st.integers(NARROWEST, 120), st.integers(1, 10))
def test_a_gantt_chart_is_never_wider_than_asked_for(walk, width, rows):
    """Whatever the ids, the times and the width; and what it leaves out it counts."""
    events, _ = walk
    lines = draw_gantt(events, width=width, rows=rows).split("\n")
    seen = {event.step_id for event in events if event.step_id is not None}

    assert max(map(cells, lines)) <= width
    assert (f"… and {len(seen) - rows} more step" in "\n".join(lines)) == (len(seen) > rows)
    assert all(line.isprintable() for line in lines)


@pytest.mark.slow
@given(walks())
def test_a_timeline_follows_every_legal_run(walk):
    """Statuses are the table's, and segments follow each other without overlapping."""
    events, steps = walk
    timeline = Timeline.of(events)
    tracks = timeline.tracks

    assert {s: steps[s] for s in tracks} == {s: track.status for s, track in tracks.items()}
    for track in tracks.values():
        segments = track.segments(timeline.last_at)
        times = [time for segment in segments for time in (segment.start, segment.end)]
        assert sorted(times) == times


def test_a_timeline_refuses_events_that_do_not_follow():
    """A picture of an impossible run would be a lie."""
    with pytest.raises(IllegalMove, match="fetch"):
        Timeline.of(record((0, "run.started"), (1, "step.completed", "fetch")))


def test_a_resumed_run_begins_its_timeline_anew():
    """What was kept has a status and no time; what was not is forgotten until it runs again."""
    timeline = Timeline.of(
        record(
            (0, "run.started"),
            (0, "step.ready", "kept"),
            (0, "step.started", "kept"),
            (1, "step.completed", "kept"),
            (1, "step.ready", "lost"),
            (1, "step.started", "lost"),
            (2, "step.failed", "lost", {"error": OSError()}),
            (2, "run.failed"),
            (500, "run.resumed"),
            (500, "step.ready", "lost"),
        )
    )

    assert EPOCH + 500 == timeline.started_at
    assert ["kept", "lost"] == list(timeline.tracks)
    assert () == timeline.tracks["kept"].segments(timeline.last_at)
    assert StepStatus.COMPLETED is timeline.tracks["kept"].status
    assert StepStatus.READY is timeline.tracks["lost"].status


def test_a_chart_of_a_resumed_run_says_which_steps_are_older():
    """Their rows have no bars, because the scale begins when the run was resumed."""
    events = record(
        (0, "run.started"),
        (0, "step.ready", "kept"),
        (0, "step.started", "kept"),
        (1, "step.completed", "kept"),
        (1, "step.ready", "lost"),
        (1, "step.started", "lost"),
        (2, "step.failed", "lost", {"error": OSError()}),
        (2, "run.failed"),
        (500, "run.resumed"),
        (500, "step.ready", "lost"),
        (500, "step.started", "lost"),
        (502, "step.completed", "lost"),
        (502, "run.completed"),
    )
    kept, lost, axis, _ = draw_gantt(events, width=60).splitlines()

    assert ["kept", "before", "resume"] == kept.split()
    assert lost.startswith("lost  █")
    assert lost.endswith("█  2.00 s")
    assert ["0", "2.00", "s"] == axis.split()
    assert ">before resume</text>" in draw_gantt_svg(events)


def test_a_timeline_knows_what_each_stretch_was():
    """An attempt is judged by the event that ended it."""
    track = Timeline.of(RETRIED).tracks["process"]
    phases = [segment.phase for segment in track.segments(EPOCH + 50)]

    assert [
        Phase.QUEUED,
        Phase.FAILED,
        Phase.BACKOFF,
        Phase.QUEUED,
        Phase.COMPLETED,
    ] == phases
    assert 2 == track.attempts
    assert 40 == track.elapsed(EPOCH + 60)
    assert track.error is None


def test_compensations_are_drawn_apart_from_attempts():
    """Undoing is not running, and an undoing that failed is another thing again."""
    events = record(
        (0, "run.started"),
        (0, "step.ready", "pay"),
        (0, "step.started", "pay"),
        (5, "step.completed", "pay"),
        (5, "run.compensating"),
        (5, "compensation.started", "pay"),
        (7, "compensation.retrying", "pay"),
        (9, "compensation.started", "pay"),
        (12, "compensation.completed", "pay"),
        (12, "run.failed"),
    )
    row = draw_gantt(events, width=60).splitlines()[0]

    assert re.fullmatch(r"pay  █+!+·+<+  5\.00 s, compensated", row)


def test_a_timeline_goes_on_when_undoing_does():
    """After a crash in its midst: what was undone stays undone, and what was begun begins again."""
    told = [
        *[(0, "step.ready", name) for name in "ab"],
        *[(0, "step.started", name) for name in "ab"],
        *[(1, "step.completed", name) for name in "ab"],
    ]
    timeline = Timeline.of(
        record(
            (0, "run.started"),
            *told,
            (1, "run.compensating"),
            (1, "compensation.started", "b"),
            (2, "compensation.completed", "b"),
            (2, "compensation.started", "a"),
            (9, "run.resumed"),
            (9, "compensation.started", "a"),
        )
    )

    assert {"a": "completed", "b": "compensated"} == {
        name: track.status.value for name, track in timeline.tracks.items()
    }
    assert (True, False) == tuple(timeline.tracks[name].being_undone for name in "ab")


def test_a_line_names_the_steps_that_are_undone():
    """A few of them."""
    begins = Event(
        1, EventKind.RUN_COMPENSATING, "run", None, None, EPOCH, {"steps": tuple("abcdefg")}
    )
    ends = Event(2, EventKind.RUN_FAILED, "run", None, None, EPOCH, {"uncompensated": ("a",)})

    assert "+0.000s run.compensating to undo: a, b, c, d, e and 2 more" == draw_line(begins, EPOCH)
    assert "+0.000s run.failed not undone: a" == draw_line(ends, EPOCH)


def test_the_rows_of_a_large_run_are_those_that_failed_or_took_long():
    """What is left out is what nobody would look for."""
    told = [(0, "run.started")]
    for number in range(100):
        told += [(number, "step.ready", f"s{number}"), (number, "step.started", f"s{number}")]
        ended = "step.failed" if number == 7 else "step.completed"
        told.append((number + (0.9 if number == 42 else 0.1), ended, f"s{number}"))
    lines = draw_gantt(record(*told), rows=2).splitlines()

    assert ["s7", "s42"] == [line.split()[0] for line in lines[:2]]
    assert "… and 98 more steps" == lines[-1]


def test_a_gantt_chart_without_room_is_refused():
    """It says how much it needs."""
    with pytest.raises(ValueError, match="20"):
        draw_gantt([], width=NARROWEST - 1)


# ── The chart as SVG ─────────────────────────────────────────────────────────────────────────

SVG = "{http://www.w3.org/2000/svg}"


def drawn_in(svg):
    """What a viewer shows: the bars as `(class, left, right)`, and all texts."""
    root = ET.fromstring(svg)  # noqa: S314 - our own
    bars = [
        (bar.get("class"), float(bar.get("x")), float(bar.get("x")) + float(bar.get("width")))
        for bar in root.iter(f"{SVG}rect")
    ]
    return root, bars[1:], [text.text or "" for text in root.iter(f"{SVG}text")]


def test_an_svg_chart_has_a_bar_for_each_stretch_of_time():
    """The same rows, notes and legend as the chart in text, to the same scale."""
    _, bars, texts = drawn_in(draw_gantt_svg(RETRIED))
    legend, rows = [kind for kind, _, _ in bars[6:]], bars[:6]
    unit = (rows[0][2] - rows[0][1]) / 10

    assert [
        *("af-completed", "af-failed", "af-backoff", "af-completed"),
        *("af-queued", "af-failed"),
    ] == [kind for kind, _, _ in rows]
    assert [10, 10, 10, 20, 10, 20] == [round((end - start) / unit) for _, start, end in rows]
    assert ["af-queued", "af-backoff", "af-completed", "af-failed"] == legend
    assert {"fetch", "process", "enrich", "40.00 s, 2 attempts", "20.00 s, skipped"} < set(texts)
    assert ["0", "10.00 s", "50.00 s"] == [texts[0], texts[1], texts[5]]


def test_an_svg_chart_escapes_what_a_step_is_called():
    """An id is text: it adds no element, no attribute and no character that XML forbids."""
    hostile = "<script>alert(1)</script>&amp;\x00\x1b\ud800]]>\"'"
    events = record((0, "run.started"), (0, "step.ready", hostile), (1, "step.started", hostile))
    root, _, texts = drawn_in(draw_gantt_svg(events, width=2000))
    elements = {element.tag.removeprefix(SVG) for element in root.iter()}

    assert {"svg", "style", "rect", "title", "path", "text"} == elements
    assert printable(hostile) in texts


def test_an_svg_chart_of_a_run_without_steps_says_so():
    """There is nothing to scale, and nothing breaks."""
    for events in ([], RETRIED[:1]):
        _, bars, texts = drawn_in(draw_gantt_svg(events))

        assert ([], ["no step has begun"]) == (bars, texts)


@given(walks(), st.integers(NARROWEST_SVG, 2000), st.integers(1, 10))
def test_an_svg_chart_keeps_its_bars_inside(walk, width, rows):
    """Whatever the ids and the times; and what it leaves out it counts."""
    events, _ = walk
    root, bars, texts = drawn_in(draw_gantt_svg(events, width=width, rows=rows))
    seen = {event.step_id for event in events if event.step_id is not None}

    assert str(width) == root.get("width")
    assert all(0 < start < end <= width for _, start, end in bars)
    assert any(f"… and {len(seen) - rows} more step" in said for said in texts) == (
        len(seen) > rows
    )


def test_an_svg_chart_without_room_is_refused():
    """It says how much it needs."""
    with pytest.raises(ValueError, match="320"):
        draw_gantt_svg([], width=NARROWEST_SVG - 1)


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────


def test_bounds_are_made_of_work_turns_and_the_longest_chain():
    """The waits between attempts lie on the chain, the waits for a turn do not."""
    plan = plan_of(
        {"fetch": (), "process": ["fetch"], "enrich": ["fetch"]}, async_=["process", "enrich"]
    )
    bounds = bounds_of(plan, RETRIED, workers=1)

    assert (50, 10, 50) == (bounds.work, bounds.sync, bounds.critical_path)
    assert ("fetch", "process") == bounds.critical_steps
    assert 50 == bounds.lower
    assert 50 == bounds_of(plan, RETRIED, workers=20).lower


def test_sync_steps_bound_a_run_by_their_sum():
    """They take turns, so that many independent ones take as long as all of them together."""
    told = [(0, "run.started")]
    for number in range(4):
        told += [(number, "step.ready", f"s{number}"), (number, "step.started", f"s{number}")]
        told.append((number + 1, "step.completed", f"s{number}"))
    bounds = bounds_of(plan_of({f"s{n}": () for n in range(4)}), record(*told), workers=8)

    assert (1, 4) == (bounds.critical_path, bounds.lower)


@st.composite
def schedules(draw):
    """A plan, and a run of it as any scheduler that keeps the rules might have made it."""
    plan = draw(plans(ids=st.sampled_from("abcdefgh")))
    workers = draw(st.integers(1, 3))
    told, ended = [], {}
    free, lane = [0.0] * workers, [0.0]
    for step in plan.steps:
        ready = max((ended[needed] for needed in step.dependencies), default=0.0)
        slots = free if step.step.async_ else lane
        slot = draw(st.integers(0, len(slots) - 1))
        start = max(ready, slots[slot]) + draw(st.integers(0, 2))
        ended[step.id] = slots[slot] = start + draw(st.integers(0, 5))
        told += [(ready, "step.ready", step.id), (start, "step.started", step.id)]
        told.append((ended[step.id], "step.completed", step.id))
    told = [(0.0, "run.started"), *told, (max(ended.values()), "run.completed")]
    # Stable, so that the events of one step keep their order.
    return plan, workers, record(*sorted(told, key=lambda event: event[0]))


@given(schedules())
def test_no_schedule_beats_its_lower_bound(schedule):
    """Not any that keeps the order of the graph, its workers and its lane."""
    plan, workers, events = schedule
    bounds = bounds_of(plan, events, workers)
    path = bounds.critical_steps

    assert bounds.lower <= events[-1].time - events[0].time
    assert all(a in plan.by_id[b].dependencies for a, b in itertools.pairwise(path))


# ── Text ─────────────────────────────────────────────────────────────────────────────────────


@given(st.text(), st.integers(0, 30))
def test_fitted_text_fits_exactly(text, width):
    """Cut or filled, wide letters or not."""
    assert width == cells(fitted(printable(text), width))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.00 s"),
        (0.00022, "0.22 ms"),
        (0.1234, "123 ms"),
        (59.994, "59.99 s"),
        (185, "3 min 05 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_read_like_durations(seconds, said):
    """Three digits or so, in the unit that suits them."""
    assert said == in_words(seconds)


def test_an_error_whose_text_is_broken_still_has_a_name():
    """A picture of a failure must not fail itself."""

    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError

    assert "BrokenError" == one_line(BrokenError())
    assert "KeyError" == one_line(KeyError()).partition(":")[0]

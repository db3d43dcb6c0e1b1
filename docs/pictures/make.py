"""Draws the pictures of README.md and of these pages.

    python docs/pictures/make.py

Each picture is a function of the code, of setup.cfg or of a simulation in virtual time, so the
same checkout draws the same pictures. A test compares them with the files beside this program.
"""

from __future__ import annotations

import configparser
import itertools
from collections.abc import Mapping
from pathlib import Path

from actorflow.model.lifecycle import RUN_MOVES, STEP_MOVES, EventKind, RunStatus, StepStatus
from actorflow.testing import Script, Simulation, raises, returns
from actorflow.views import draw_gantt_svg
from docs.examples.lesson import flow
from docs.pictures.canvas import Canvas

__all__ = ["pictures"]

HERE = Path(__file__).parent

ROOMS = {
    "__main__": "python -m actorflow",
    "cli": "the command line",
    "pytest_plugin": "the simulation fixture",
    "testing": "simulations, laws, the search for a schedule that breaks one",
    "orchestrator": "assembles all of it, starts and ends it",
    "run": "the handle of a run, and the stream of its events",
    "actors": "one per step",
    "systems": "carry messages",
    "executors": "run step bodies",
    "schedules": "when to run",
    "state": "keeps runs",
    "observe": "observers, log",
    "views": "pictures",
    "scheduling": "the pure brain: message and time in, events and effects out",
    "model": "events, messages, results, tables of legal moves, protocols",
    "definition": "workflows, steps, retry policies, plans",
    "errors": "every error, as a value",
    "support": "one-shot results, clock, log, safe text",
}


def pictures() -> dict[Path, str]:
    """Return the source of each picture, by its file."""
    return {
        HERE / "run.svg": draw_run(),
        HERE / "lesson.svg": draw_flow(LESSON),
        HERE / "order.svg": draw_flow(ORDER),
        HERE / "concepts.svg": draw_concepts(),
        HERE / "house.svg": draw_house(),
        HERE / "step-life.svg": draw_step_life(),
        HERE / "state-managers.svg": draw_state_managers(),
        HERE / "step-states.svg": draw_step_states(),
        HERE / "run-states.svg": draw_run_states(),
    }


# ── A run, and two workflows ─────────────────────────────────────────────────────────────────

LESSON = (["fetch"], ["process", "enrich", "analyze"], ["aggregate"])
ORDER = (["price"], ["charge", "pack"], ["send"])


def draw_run() -> str:
    """Return the Gantt chart of the lesson's flow with two workers, after a failed attempt."""
    script = Script(
        {
            "fetch": returns([], after=0.12),
            "process": [raises(ConnectionError("busy"), after=0.1), returns(6, after=0.2)],
            "enrich": returns("", after=0.25),
            "analyze": returns("", after=0.18),
            "aggregate": returns({}, after=0.06),
        }
    )
    with Simulation(script=script, async_workers=2) as simulation:
        run_id = simulation.start(flow, {"url": "https://example.org/text"})
        simulation.run_until_quiet()
        return draw_gantt_svg(simulation.trace().events_of(run_id))


def draw_flow(columns: tuple[list[str], ...]) -> str:
    """Return a graph in which each step waits for all steps of the column before its own."""
    highest = max(map(len, columns))
    sheet = Canvas(190 * len(columns) - 20, 56 * highest + 12, "workflow graph")
    middle = (56 * highest + 12) / 2
    places = {
        name: (20 + 190 * number, middle + 56 * (row - (len(column) - 1) / 2))
        for number, column in enumerate(columns)
        for row, name in enumerate(column)
    }
    for before, after in itertools.pairwise(columns):
        for one in before:
            for other in after:
                (x1, y1), (x2, y2) = places[one], places[other]
                sheet.arrow((x1 + 130, y1), (x2 - 2, y2))
    for name, (x, y) in places.items():
        sheet.box((x, y - 17, 130, 34), name, kind="blue")
    return str(sheet)


# ── Concepts ─────────────────────────────────────────────────────────────────────────────────


def draw_concepts() -> str:
    """Return step, run, attempt, worker, lane and lease in one picture."""
    sheet = Canvas(760, 470, "how workflow, run, step, attempt, worker, sync lane and lease relate")
    sheet.box((20, 24, 150, 54), "workflow", "steps, dependencies")
    sheet.arrow((170, 51), (218, 51), said="start", at=(194, 40))
    sheet.zone((220, 20, 520, 256), "run: one execution of the workflow, with its own inputs")
    sheet.box((240, 104, 100, 44), "step", "fetch", kind="blue")
    sheet.box((400, 60, 100, 44), "step", "process", kind="blue")
    sheet.box((400, 148, 100, 44), "step", "enrich", kind="blue")
    sheet.arrow((340, 120), (398, 84))
    sheet.arrow((340, 132), (398, 168))
    for number, (x, kind, how) in enumerate(
        [(546, "red", "failed"), (644, "gold", "running")], start=1
    ):
        sheet.box((x, 60, 82, 44), f"attempt {number}", how, kind=kind)
    sheet.arrow((500, 82), (544, 82))
    sheet.arrow((628, 82), (642, 82))
    sheet.box((546, 148, 82, 44), "attempt 1", "running", kind="gold")
    sheet.arrow((500, 170), (544, 170))
    sheet.box((240, 214, 210, 46), "sync lane", "one non-async step at a time", kind="violet")
    sheet.arrow(
        (290, 148), (290, 212), dashed=True, said="takes its turn", at=(298, 182), anchor="start"
    )
    sheet.box((220, 300, 520, 84), kind="zone")
    sheet.text(
        232, 368, "async workers: at most async_workers attempts, over all runs", shade="strong"
    )
    for number, x in enumerate((240, 360, 480, 600), start=1):
        sheet.box((x, 314, 108, 34), f"worker {number}", kind="gold" if number < 3 else "box")
    sheet.arrow(
        (690, 104),
        (690, 288),
        (294, 288),
        (294, 312),
        dashed=True,
        said="holds one",
        at=(682, 240),
        anchor="end",
    )
    sheet.arrow((587, 192), (587, 282), (414, 282), (414, 312), dashed=True)
    sheet.box((20, 190, 150, 60), "orchestrator", "in your process")
    sheet.arrow((170, 220), (218, 220), said="runs", at=(194, 210))
    sheet.box((220, 402, 520, 48), "database", "keeps the run, and who owns it", kind="box")
    sheet.arrow(
        (95, 250),
        (95, 426),
        (218, 426),
    )
    sheet.paragraph(104, 300, ["lease: it owns", "the run for a", "while, with a", "fencing token"])
    return str(sheet)


# ── The house ────────────────────────────────────────────────────────────────────────────────


def draw_house() -> str:
    """Return the layers of the import contract, the highest on top."""
    layers = _layers()
    sheet = Canvas(760, 58 * len(layers) + 60, "the layers of the package")
    for row, rooms in enumerate(layers):
        width = (700 - 8 * (len(rooms) - 1)) / len(rooms)
        kind = "gold" if rooms == ["scheduling"] else "blue" if len(rooms) > 1 else "box"
        for place, room in enumerate(rooms):
            x = 20 + place * (width + 8)
            sheet.box((x, 20 + 58 * row, width, 48), room, ROOMS[room], kind=kind)
    bottom = 58 * len(layers) + 6
    sheet.arrow((738, 30), (738, bottom), said="")
    sheet.text(
        20,
        bottom + 32,
        "Imports go down only; rooms on one floor do not import each other.",
        shade="faint",
    )
    return str(sheet)


def _layers() -> list[list[str]]:
    parser = configparser.ConfigParser()
    parser.read(HERE.parents[1] / "setup.cfg", encoding="utf-8")
    lines = parser["importlinter:contract:layers"]["layers"].split("\n")
    return [[room.strip() for room in line.split("|")] for line in lines if line.strip()]


# ── One step's life ──────────────────────────────────────────────────────────────────────────

_SAID = [
    ("supervisor", "run", "MakeSteps", "once a run"),
    ("run", "supervisor", "StepsMade", "their addresses"),
    ("supervisor", "supervisor", "", "one decision: a has completed, b is ready, b gets a worker"),
    ("supervisor", "a", "Settled (output)", "only once all that is recorded"),
    ("supervisor", "b", "Execute (attempt)", "the grant, side by side with it"),
    ("a", "b", "DependencyCompleted", "the data, step to step"),
    ("b", "executor", "submit", "when grant and data are there, in either order"),
    ("executor", "supervisor", "AttemptFinished (output or error)", ""),
    ("supervisor", "supervisor", "", "one decision: b has completed, who is ready, who is next"),
    ("supervisor", "b", "Settled (output)", "only once all that is recorded"),
    ("supervisor", "dependents", "Execute (attempt)", "to each that gets a worker"),
    ("b", "dependents", "DependencyCompleted", "one for each edge"),
]


def draw_step_life() -> str:
    """Return the messages of a step that waits for one other and completes at once."""
    names = {
        "supervisor": "supervisor", "run": "run actor", "a": "step a", "b": "step b",
        "dependents": "dependents", "executor": "executor",
    }  # fmt: skip
    lanes = {name: 66 + 126 * number for number, name in enumerate(names)}
    bottom = 76 + 52 * len(_SAID)
    sheet = Canvas(762, bottom + 16, "messages in the life of one step")
    for name, x in lanes.items():
        sheet.line((x, 52), (x, bottom), dashed=True)
        sheet.box((x - 54, 18, 108, 34), names[name], kind="gold" if name == "b" else "blue")
    for row, (sender, receiver, message, remark) in enumerate(_SAID):
        y, start, end = 92 + 52 * row, lanes[sender], lanes[receiver]
        if sender == receiver:
            sheet.box((start - 56, y - 17, 400, 28), remark, first="text")
            continue
        middle = (start + end) / 2
        sheet.arrow((start, y), (end, y))
        sheet.text(middle, y - 12, message, shade="text", anchor="middle")
        sheet.text(middle, y + 12, remark, shade="faint", anchor="middle")
    return str(sheet)


# ── State managers ───────────────────────────────────────────────────────────────────────────


def draw_state_managers() -> str:
    """Return what happens between an event and its effects, in memory and in a database."""
    sheet = Canvas(760, 430, "a decision is recorded in memory at once, in a database by a writer")
    for x, title in ((20, "MemoryStateManager"), (390, "SQLStateManager")):
        sheet.zone((x, 18, 350, 394), title)
        sheet.box((x + 90, 50, 170, 40), "supervisor decides", kind="gold")
        sheet.box(
            (x + 90, 352, 170, 44),
            "effects are performed",
            "dependents see the output",
            kind="gold",
        )
    sheet.arrow((195, 90), (195, 136), said="events of the decision", at=(203, 114), anchor="start")
    sheet.box((110, 138, 170, 56), "folded into the run", "in this process", kind="blue")
    sheet.arrow((195, 194), (195, 350), said="at once", at=(203, 272), anchor="start")
    sheet.arrow((565, 90), (565, 112), said="events", at=(573, 102), anchor="start")
    sheet.box((480, 114, 170, 36), "queue", kind="box")
    sheet.arrow((565, 150), (565, 170), said="all that waits", at=(573, 161), anchor="start")
    sheet.box((455, 172, 220, 56), "one writer thread", "folds, serialises, groups", kind="blue")
    sheet.arrow((565, 228), (565, 250), said="one transaction", at=(573, 239), anchor="start")
    sheet.box(
        (455, 252, 220, 56), "SQLite or PostgreSQL", "refuses an older fencing token", kind="violet"
    )
    sheet.arrow((565, 308), (565, 350), said="committed", at=(573, 330), anchor="start")
    return str(sheet)


# ── States ───────────────────────────────────────────────────────────────────────────────────

_Moves = Mapping[str, Mapping[EventKind, str]]


def _checked(moves: _Moves, drawn: set[tuple[str, str]]) -> None:
    """Refuse to draw another table than the code has; a state may always stay as it is."""
    legal = {(str(one), str(other)) for one, said in moves.items() for other in said.values()}
    assert drawn == {(one, other) for one, other in legal if one != other}, drawn ^ legal


def draw_step_states() -> str:
    """Return the states of a step."""
    sheet = Canvas(760, 424, "the states of a step")
    row = {"pending": 40, "ready": 190, "running": 340, "completed": 560}
    unsettled = ["pending", "ready", "running", "retrying"]
    sheet.zone((20, 20, 450, 196), "not settled")
    drawn = {(one, other) for one in unsettled for other in ("failed", "skipped", "cancelled")}
    for name, x in row.items():
        sheet.box((x, 62, 110, 36), name, kind="box" if name != "completed" else "blue")
    sheet.box((340, 158, 110, 36), "retrying", kind="box")
    for one, other in (("pending", "ready"), ("ready", "running"), ("running", "completed")):
        sheet.arrow((row[one] + 110, 80), (row[other] - 2, 80))
        drawn.add((one, other))
    sheet.text(506, 68, "step.completed", shade="faint", anchor="middle")
    sheet.arrow((395, 98), (395, 156), said="step.retrying", at=(402, 127), anchor="start")
    sheet.arrow(
        (340, 176), (245, 176), (245, 100), said="step.ready", at=(252, 166), anchor="start"
    )
    drawn |= {("running", "retrying"), ("retrying", "ready")}
    for place, (name, kind) in enumerate(
        [("failed", "red"), ("skipped", "gold"), ("cancelled", "box")]
    ):
        x = 40 + 150 * place
        sheet.arrow(
            (x + 55, 216), (x + 55, 268), said=f"step.{name}", at=(x + 62, 242), anchor="start"
        )
        sheet.box((x, 270, 110, 36), name, kind=kind)
    for y, name, event, kind in (
        (176, "compensated", "compensation.completed", "violet"),
        (288, "compensation_failed", "compensation.failed", "red"),
    ):
        sheet.box((560, y - 18, 160, 36), name, kind=kind)
        drawn.add(("completed", name))
        sheet.text(598, y - 48 if y < 200 else y - 30, event, shade="faint")
    sheet.arrow((590, 98), (590, 156))
    sheet.arrow((570, 98), (570, 134), (540, 134), (540, 288), (558, 288))
    sheet.paragraph(
        40,
        340,
        [
            "From each state that is not settled a step can fail, be skipped or be cancelled.",
            "Timeouts, abandoned attempts and blocked loops are facts: they move nothing.",
            "So are the attempts of a compensator; the step is completed until they are over.",
        ],
    )
    _checked(STEP_MOVES, drawn)
    assert set(StepStatus) == {
        *row,
        *unsettled,
        "failed",
        "skipped",
        "cancelled",
        "compensated",
        "compensation_failed",
    }
    return str(sheet)


def draw_run_states() -> str:
    """Return the states of a run."""
    sheet = Canvas(760, 316, "the states of a run")
    places = {
        "pending": (40, 60), "running": (250, 60), "completed": (560, 60),
        "compensating": (250, 172), "failed": (560, 132), "cancelled": (560, 212),
    }  # fmt: skip
    kinds = {"completed": "blue", "failed": "red", "compensating": "violet"}
    for name, (x, y) in places.items():
        sheet.box((x, y - 18, 130, 36), name, kind=kinds.get(name, "box"))
    sheet.arrow((170, 60), (248, 60), said="run.started")
    sheet.arrow((380, 60), (558, 60), said="run.completed")
    sheet.arrow((315, 78), (315, 152), said="run.compensating", at=(323, 116), anchor="start")
    sheet.arrow((380, 68), (440, 68), (440, 126), (558, 126), said="run.failed", at=(500, 116))
    sheet.arrow((560, 72), (410, 72), (410, 160), (382, 160), dashed=True)
    sheet.arrow((380, 172), (440, 172), (440, 138), (558, 138))
    sheet.arrow((440, 172), (440, 206), (558, 206), said="run.cancelled", at=(500, 196))
    sheet.arrow(
        (690, 132),
        (724, 132),
        (724, 26),
        (330, 26),
        (330, 40),
        dashed=True,
        said="run.resumed",
        at=(420, 16),
    )
    sheet.line((690, 212), (724, 212), (724, 132), dashed=True)
    sheet.line((105, 78), (105, 222), (440, 222))
    sheet.arrow((440, 222), (558, 222))
    sheet.paragraph(
        40,
        256,
        [
            "A pending run can fail or be cancelled too. run.resumed also leads from running and",
            "from compensating to themselves, when the orchestrator that ran it is gone. Dashed:",
            "a completed child is compensated, too, when its parent is undone.",
        ],
    )
    _checked(RUN_MOVES, {
        ("pending", "running"), ("pending", "failed"), ("pending", "cancelled"),
        ("running", "compensating"), ("running", "completed"), ("running", "failed"),
        ("running", "cancelled"), ("compensating", "failed"), ("compensating", "cancelled"),
        ("failed", "running"), ("cancelled", "running"), ("completed", "compensating"),
    })  # fmt: skip
    assert set(RunStatus) == set(places)
    return str(sheet)


if __name__ == "__main__":
    for path, source in pictures().items():
        path.write_text(source, encoding="utf-8")

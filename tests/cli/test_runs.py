"""`actorflow runs`: what is kept of runs, looked at, gone on with, and deleted."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading

import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, Workflow
from actorflow.cli import main
from actorflow.model.lifecycle import EventKind
from actorflow.state import leases
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    UNDONE,
    accept,
    accepted,
    happened,
)
from actorflow.testing.contracts.accounts import write as write_events
from tests.support.command_line import Terminal

URL = "sqlite:///runs.db"

# Fails until there is a file `fine`.
FLOW = """
    import pathlib

    from actorflow import Workflow

    flow = Workflow("report")

    @flow.step
    def fetch(url):
        print("fetching", url)
        return {"url": url, "days": (1, 2)}

    @flow.step(after=fetch, async_=True)
    async def enrich(fetch):
        return "rich"

    @flow.step(after=fetch)
    def describe(fetch):
        if not pathlib.Path("fine").exists():
            raise ConnectionError("no network")
        return "fine"

    @flow.step(after=[describe, enrich])
    def join(describe, enrich):
        return [describe, enrich]
"""


ONE_STEP = """
    from actorflow import Workflow

    flow = Workflow("flow")

    @flow.step
    def a():
        return 1
"""


@pytest.fixture
def db(folder, monkeypatch):
    """A database with its tables, in the folder; the commands know it by the environment."""
    monkeypatch.setenv("ACTORFLOW_DB", URL)
    assert 0 == main(["db", "upgrade", URL])
    return URL


@pytest.fixture
def state(db):
    """A state manager of somebody else."""
    with_tables = SQLStateManager(db)
    yield with_tables
    with_tables.close()


def tell(statements):
    """Execute statements on a connection of its own."""
    with Engines.to(URL) as engines, engines.writing.begin() as connection:
        for statement in statements.split("; "):
            connection.execute(sa.text(statement))


@pytest.fixture
def failed(db, write, type_in):
    """The id of a run that has failed."""
    write(FLOW)
    type_in()
    status, out, _ = type_in("run", "flows.py", "--input", "url=x", "--db", db)
    assert 1 == status
    return re.search(r"^recorded as run (\S+)$", out, re.MULTILINE)[1]


def hasty(url, **options):
    """A state manager that looks for requests all the time."""
    return SQLStateManager(url, lease=0.2, **options)


def ran(state, run_id, kinds=COMPLETED, **fields):
    """Let a run happen."""
    accept(state, accepted(run_id, **fields))
    write_events(state, happened(*kinds, run_id=run_id))


# ── Looking ──────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_listed_with_why_it_failed(failed, type_in):
    """One line for each, and nothing else on stdout."""
    status, out, err = type_in("runs", "list")

    assert (0, "") == (status, err)
    (line,) = out.splitlines()
    assert re.fullmatch(
        rf"{failed}  report 1\.0\.0  failed  20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ +\S+ m?s  "
        r"step describe: ConnectionError: no network",
        line,
    )


def test_runs_are_listed_by_filters_and_pages(state, type_in):
    """The newest first; what is left out is counted on stderr."""
    for number in range(4):
        ran(state, f"r{number}", created_at=1_700_000_000.0 + number, workflow_id=f"w{number % 2}")
    ran(state, "mine", FAILED, created_at=0.0, business_id="b", trace_id="t", correlation_id="c")

    def listed(*options):
        status, out, err = type_in("runs", "list", *options)
        assert 0 == status
        return [line.partition(" ")[0] for line in out.splitlines()], err

    assert (["r3", "r2"], "3 more; to see them, add --offset 2\n") == listed("--limit", "2")
    assert ([], "5 more; to see them, raise --limit\n") == listed("--limit", "0")
    assert (["r1", "r0", "mine"], "") == listed("--offset", "2")
    assert (["r3", "r1"], "") == listed("--workflow", "w1")
    assert (["mine"], "") == listed("--status", "failed")
    for name, value in (("business", "b"), ("trace", "t"), ("correlation", "c")):
        assert (["mine"], "") == listed(f"--{name}-id", value)
    assert ([], "no runs\n") == listed("--status", "failed", "--workflow", "w1")


def test_a_run_for_later_is_listed_with_its_time(state, type_in):
    """Otherwise it looks like one that no daemon takes."""
    accept(state, accepted("later", start_at=4_102_444_800.0))
    _, out, _ = type_in("runs", "list")

    assert out.rstrip().endswith("may start 2100-01-01 00:00:00Z")


def test_a_list_can_be_json(state, type_in):
    """Summaries, and how many there are in all."""
    ran(state, "run", FAILED, business_id="b", inputs={"url": "x"})
    ran(state, "other")
    status, out, _ = type_in("runs", "list", "--limit", "1", "--status", "failed", "--json")
    told = json.loads(out)

    assert (0, 1, ["run"]) == (status, told["total"], [run["run_id"] for run in told["runs"]])
    (run,) = told["runs"]
    assert ("failed", "b", {"url": "x"}, "a") == (
        *(run["status"], run["business_id"], run["inputs"], run["failed_step"]),
    )
    assert ("ValueError", "no") == (run["error"]["type"], run["error"]["message"])
    assert "steps" not in run


def test_the_chart_of_a_recorded_run_can_be_kept_as_svg(failed, type_in, folder):
    """It shows the attempt that failed."""
    status, _, _ = type_in("runs", "show", failed, "--svg", "run.svg")
    svg = (folder / "run.svg").read_text("utf-8")

    assert 0 == status
    assert 'class="af-failed"' in svg
    assert ">describe</text>" in svg


def test_a_run_is_shown_with_steps_outputs_chart_and_traceback(failed, type_in):
    """What `actorflow run` showed when it had ended, from the record alone."""
    status, out, err = type_in("runs", "show", failed)
    lines = out.splitlines()

    assert (0, "") == (status, err)
    assert f"run {failed} of report 1.0.0: failed" == lines[0]
    assert "input url = 'x'" in lines
    assert re.search(r"^✓ fetch     completed  #1 +\S+ m?s$", out, re.MULTILINE)
    assert re.search(r"^✗ describe  failed     #1 .*onError: no network$", out, re.MULTILINE)
    assert "fetch = {'url': 'x', 'days': (1, 2)}" in lines
    assert re.search(r"^describe +▒+ +\S+ m?s, failed$", out, re.MULTILINE)
    assert '    raise ConnectionError("no network")' in out
    assert 1 == lines.count("ConnectionError: no network")


def test_a_run_is_shown_as_a_tree_where_its_workflow_is_at_hand(failed, type_in):
    """Who waited for whom is not recorded."""
    _, out, _ = type_in("runs", "show", failed, "--flow", "flows.py")

    assert re.search(r"^✓ fetch        completed", out, re.MULTILINE)
    assert re.search(r"^[├└]─ ✗ describe  failed", out, re.MULTILINE)
    assert re.search(r"└─ ⊘ join   cancelled +also after (enrich|describe)$", out, re.MULTILINE)


def test_another_workflow_is_no_tree_of_a_run(failed, write, type_in):
    """It would show steps that the run has not."""
    write(
        'from actorflow import Workflow\nflow = Workflow("x")\nflow.step(lambda: 1, id="a")', "x.py"
    )
    status, _, err = type_in("runs", "show", failed, "--flow", "x.py")

    assert (2, True) == (status, f"its steps differ from those of run '{failed}' of" in err)


def test_a_run_can_be_json(failed, type_in):
    """With all its steps, and the errors as they were recorded."""
    status, out, _ = type_in("runs", "show", failed, "--json")
    run = json.loads(out)

    assert (0, "failed", "describe") == (status, run["status"], run["failed_step"])
    assert {"fetch", "enrich", "describe", "join"} == set(run["steps"])
    assert "ConnectionError" == run["steps"]["describe"]["error"]["type"]
    assert {"url": "x", "days": [1, 2]} == run["outputs"]["fetch"]


def test_a_run_in_progress_and_one_that_never_started_are_shown(state, type_in):
    """As far as they have come."""
    ran(state, "running", STARTED, priority=3, trace_id="t")
    accept(state, accepted("pending"))
    _, running, _ = type_in("runs", "show", "running")
    status, pending, _ = type_in("runs", "show", "pending")

    assert running.startswith("run running of flow 1.0.0: running\n")
    assert ", priority 3\ntrace_id t\n" in running
    assert re.search(r"^● a  running  #1  \d+ h \d+ min$", running, re.MULTILINE)
    assert "▓" in running
    assert (0, True) == (status, "\n· a  pending\n" in pending)


def test_events_are_printed_a_line_each_or_as_json(failed, type_in):
    """All of them, or some."""
    _, out, _ = type_in("runs", "events", failed)
    _, some, _ = type_in("runs", "events", failed, "--after", "1", "--limit", "2")
    _, told, _ = type_in("runs", "events", failed, "--json")
    _, nothing, _ = type_in("runs", "events", failed, "--limit", "0", "--json")
    events = json.loads(told)

    assert "+0.000s run.accepted" == out.splitlines()[0]
    assert re.fullmatch(r"\+\d+\.\d{3}s run\.started", out.splitlines()[1])
    assert out.splitlines()[1:3] == some.splitlines()
    assert [*range(1, len(out.splitlines()) + 1)] == [event["number"] for event in events]
    assert ("run.failed", "no network") == (
        *(events[-1]["kind"], events[-1]["data"]["error"]["message"]),
    )
    assert [] == json.loads(nothing)


def test_many_events_are_read_by_the_page(failed, type_in, monkeypatch):
    """However long a run was, it is not held as a whole."""
    _, whole, _ = type_in("runs", "events", failed)
    monkeypatch.setattr("actorflow.cli.following._PAGE", 5)
    _, paged, _ = type_in("runs", "events", failed)
    _, some, _ = type_in("runs", "events", failed, "--limit", "7")

    assert whole == paged
    assert whole.splitlines()[:7] == some.splitlines()


def test_values_of_classes_that_are_not_there_are_shown_as_they_are_stored(db, write, type_in):
    """Whoever looks at a run need not have the program that made it."""
    source = """
        import dataclasses
        from actorflow import Workflow

        @dataclasses.dataclass
        class Order:
            number: int

        flow = Workflow("shop")

        @flow.step
        def order():
            return Order(7)
        """
    write(source, "shop.py")
    _, out, _ = type_in("run", "shop.py", "--db", db)
    run_id = out.split()[-1]
    del sys.modules["shop"]
    status, shown, _ = type_in("runs", "show", run_id)

    assert (0, True) == (status, "'class': 'shop:Order', 'of': {'number': 7}" in shown)


def test_a_terminal_shows_colours_and_cuts_what_has_no_room(failed):
    """Elsewhere neither is done."""
    with Terminal("runs", "list", "--db", URL, columns=60) as terminal:
        assert 0 == terminal.read_all()
        assert "\x1b[" in terminal.shown
        assert "…" in terminal.plain
        assert max(map(len, terminal.plain.splitlines())) <= 60


# ── Acting ───────────────────────────────────────────────────────────────────────────────────


def test_a_failed_run_goes_on_in_this_process(failed, folder, type_in):
    """What had completed does not run again, and only what happens now is told."""
    (folder / "fine").touch()
    status, out, err = type_in("runs", "resume", failed, "flows.py")
    lines = out.splitlines()

    assert (0, "") == (status, err)
    assert "+0.000s run.resumed" == lines[0]
    assert "fetching x" not in lines
    assert "join = ['fine', 'rich']" in lines
    assert re.search(r"^completed: wall time [\d.]+ ms, lower", out, re.MULTILINE)
    assert f"recorded as run {failed}" == lines[-1]
    status, _, err = type_in("runs", "resume", failed, "flows.py")
    assert (2, True) == (status, "has completed and cannot be resumed" in err)


def test_a_resumed_run_can_be_json(failed, type_in):
    """Alone on stdout, as that of `actorflow run`."""
    status, out, _ = type_in("runs", "resume", failed, "flows.py", "--json")

    assert (1, failed) == (status, json.loads(out)["run_id"])


def test_a_run_that_somebody_else_runs_is_not_resumed(state, write, type_in):
    """Its owner is alive."""
    write(FLOW.replace("report", "flow"))
    accept(
        state,
        accepted(
            step_ids=("fetch", "enrich", "describe", "join"),
            last_steps=("join",),
            inputs={"url": "x"},
        ),
    )
    write_events(state, happened(STARTED[0]))
    status, _, err = type_in("runs", "resume", "run", "flows.py")

    assert (2, True) == (status, "in progress in another orchestrator" in err)


def test_old_runs_are_deleted(state, type_in):
    """By age, by count, and never by mistake."""
    for number in range(3):
        ran(state, f"r{number}")
    said = [
        type_in("runs", "purge", "--older-than", "520w"),
        type_in("runs", "purge", "--keep", "2"),
        type_in("runs", "purge", "--older-than", "1.5h", "--json"),
    ]

    assert (0, "deleted 0 runs, 0 steps, 0 events, 0 keys\n", "") == said[0]
    assert (0, "deleted 1 run, 1 step, 5 events, 0 keys\n", "") == said[1]
    assert {"runs": 2, "steps": 2, "events": 10, "keys": 0} == json.loads(said[2][1])
    assert 0 == state.list().total


# ── Cancelling ───────────────────────────────────────────────────────────────────────────────


def test_a_run_that_nobody_runs_is_cancelled_at_once(state, type_in):
    """Its open steps first, as whoever ran it would have done."""
    ran(state, "run", STARTED)
    state.close()
    status, out, err = type_in("runs", "cancel", "run", "--reason", "enough")

    assert (0, "run run: cancelled; it had no owner\n", "") == (status, out, err)
    run = state.snapshot("run")
    assert ("cancelled", "enough") == (run.status, run.reason)
    assert "cancelled" == run.steps["a"].status
    assert ["step.cancelled", "run.cancelled"] == [it.kind for it in state.events("run")][3:]


def test_a_run_that_somebody_runs_is_cancelled_by_him(db, type_in, monkeypatch):
    """He finds the request when he renews his lease, which lasts however slow he is."""
    monkeypatch.setattr(leases, "_RENEWALS", 100)
    started, flow = threading.Event(), Workflow("waiting")

    @flow.step(async_=True)
    async def wait():
        started.set()
        await asyncio.Event().wait()

    with Orchestrator(SQLStateManager(db)) as orchestrator:
        run = orchestrator.start(flow)
        assert started.wait(60)
        status, out, _ = type_in("runs", "cancel", run.id, "--reason", "enough")
        result = run.wait(60)

    assert (0, True) == (status, "asked its owner to cancel it" in out)
    assert ("cancelled", "enough") == (result.status, result.reason)


def test_a_run_that_nobody_runs_is_undone_by_whoever_takes_it_up(
    state, write, type_in, monkeypatch
):
    """Undoing needs the workflow; until then the request is kept."""
    write("""
        import asyncio
        from actorflow import Workflow

        flow = Workflow("flow")

        @flow.step(compensate=lambda a: print("undoing", a))
        def a():
            return 1

        @flow.step(after=a, async_=True)
        async def b():
            await asyncio.Event().wait()
        """)
    accept(state, accepted(step_ids=("a", "b"), last_steps=("b",)))
    write_events(state, happened(*COMPLETED[:-1]))
    state.close()
    monkeypatch.setattr("actorflow.cli.databases.SQLStateManager", hasty)
    status, out, _ = type_in("runs", "cancel", "run", "--compensate", "--reason", "enough")
    _, told, _ = type_in("runs", "show", "run", "--json")
    ended, shown, _ = type_in("runs", "resume", "run", "flows.py")

    assert (0, True) == (status, "type: actorflow runs resume run FILE[:FLOW]\n" in out)
    assert "running" == json.loads(told)["status"]
    assert (1, True, True) == (ended, "undoing of a" in shown, "compensation.completed a" in shown)
    assert ("cancelled", "enough") == (state.snapshot("run").status, state.snapshot("run").reason)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (COMPLETED, "run 'run' has already ended (completed)."),
        (UNDONE[:5], "is already being compensated, which cannot be cancelled. If it has no owner"),
    ],
)
def test_what_cannot_be_cancelled_is_left_alone(state, type_in, kinds, said):
    """And it is said why."""
    ran(state, "run", kinds)
    status, out, err = type_in("runs", "cancel", "run")

    assert (2, "", True) == (status, out, said in err)
    assert len(kinds) == len(state.events("run"))


# ── Runs that another serializer wrote ───────────────────────────────────────────────────────

UNREAD = {"unread": "the serializer 'plain' wrote it"}


class Plain:
    """A serializer of somebody's program."""

    name = "plain"

    def dumps(self, value):
        """Write."""
        return f"plainly {value!r}"

    def loads(self, text):
        """Read."""
        return {}


@pytest.fixture
def foreign(db):
    """A state manager of a program that has a serializer of its own."""
    with_own = SQLStateManager(db, serializer=Plain())
    yield with_own
    with_own.close()


def test_a_run_that_cannot_be_read_does_not_keep_the_others_from_a_list(state, foreign, type_in):
    """It stands in its place, and what cannot be read is marked."""
    ran(state, "readable", created_at=1.0)
    ran(foreign, "foreign", created_at=2.0)
    ran(foreign, "failed", FAILED, created_at=3.0)
    status, out, _ = type_in("runs", "list")
    _, told, _ = type_in("runs", "list", "--json")

    assert 0 == status
    assert ["failed", "foreign", "readable"] == [line.split()[0] for line in out.splitlines()]
    assert [0, 1, 0] == [line.count("unread: the serializer 'plain'") for line in out.splitlines()]
    shown = [(run["inputs"], run["metadata"]) for run in json.loads(told)["runs"]]
    assert [(UNREAD, UNREAD), (UNREAD, UNREAD), ({}, {})] == shown


def test_what_is_known_of_a_run_is_shown_though_its_values_are_not(foreign, type_in):
    """Its steps, its events, and when they were."""
    ran(foreign, "foreign")
    status, shown, _ = type_in("runs", "show", "foreign")
    _, told, _ = type_in("runs", "show", "foreign", "--json")
    _, events, _ = type_in("runs", "events", "foreign")

    assert (0, True) == (status, "input unread = \"the serializer 'plain' wrote it\"" in shown)
    assert [UNREAD] == [step["output"] for step in json.loads(told)["steps"].values()]
    assert len(COMPLETED) == len(events.splitlines())


def test_a_run_whose_values_are_not_read_can_be_cancelled_and_not_resumed(foreign, type_in):
    """To cancel it nobody need know what it was given; to go on, its steps would."""
    ran(foreign, "foreign", STARTED)
    foreign.close()
    resumed, _, err = type_in("runs", "resume", "foreign", "flows.py")
    cancelled, _, _ = type_in("runs", "cancel", "foreign")

    assert (2, True) == (resumed, "Resume it from a program with that serializer" in err)
    assert (0, "cancelled") == (cancelled, foreign.snapshot("foreign").status)


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "r-123"], "no run 'r-123'. Did you mean: actorflow runs show r-12345\n"),
        (["events", "r-12354"], "Did you mean: actorflow runs events r-12345\n"),
        (["resume", "r", "flows.py"], "Did you mean: actorflow runs resume r-12345\n"),
        (["show", "x"], "no run 'x' among 1. For their ids, type: actorflow runs list\n"),
        (["purge"], "purge needs a limit, such as --older-than 30d or --keep 1000."),
        (["purge", "--older-than", "1x"], "'1x' is not an age. Type seconds, or 90m, 12h,"),
        (["list", "--status", "faild"], "'faild' is not one of"),
        (["list", "--db", "sqlite:///no.db"], "no database no.db. To create it, type: actorflow"),
        (["list", "--status", "none"], "'--status': 'none' is not one of 'pending', 'running', "),
        (
            ["list", "--db", "sqlite+aiosqlite:///x.db"],
            "'aiosqlite' is not supported: actorflow us",
        ),
        (
            ["list", "--db", "postgresql+asyncpg://h/d"],
            "Write postgresql:// instead of postgresql+",
        ),
        (["list", "--db", "nonsense"], "'nonsense' is not a database URL"),
        (
            ["list", "--db", "postgresql://me:secret@127.0.0.1:1/x"],
            ":***@127.0.0.1:1/x did not open",
        ),
        (["list", "--db", "sqlite:///empty.db"], "has no tables yet; this actorflow needs"),
    ],
)
def test_bad_usage_says_what_to_type(state, folder, type_in, arguments, said):
    """On stderr, with exit status 2, and nothing on stdout."""
    ran(state, "r-12345")
    (folder / "empty.db").touch()
    type_in()
    status, out, err = type_in("runs", *arguments)

    assert (2, "") == (status, out)
    assert said in re.sub(r"[\s│]+", " ", err) + "\n" or said in err
    assert "secret" not in err
    assert not (folder / "no.db").exists()


def test_without_a_database_it_is_asked_for(type_in):
    """By option or by environment."""
    status, _, err = type_in("runs", "list")

    assert (2, True) == (status, "--db" in err)


def test_what_to_type_names_the_database_if_the_environment_does_not(state, type_in, monkeypatch):
    """So that it can be typed as it stands."""
    ran(state, "run")
    monkeypatch.delenv("ACTORFLOW_DB")
    _, _, err = type_in("runs", "show", "ru", "--db", URL)

    assert err.endswith("Did you mean: actorflow runs show run --db sqlite:///runs.db\n")


def test_a_workflow_that_is_not_there_is_asked_for_with_the_database(state, type_in, monkeypatch):
    """As everything that is to be typed."""
    ran(state, "run", FAILED)
    monkeypatch.delenv("ACTORFLOW_DB")
    _, _, resume = type_in("runs", "resume", "run", "no/f.py", "--db", URL)
    _, _, show = type_in("runs", "show", "run", "--flow", "no/f.py", "--db", URL)

    assert resume.endswith(
        "Type: actorflow runs resume run --db sqlite:///runs.db PATH/TO/FILE.py\n"
    )
    assert show.endswith(
        "Type: actorflow runs show run --db sqlite:///runs.db --flow PATH/TO/FILE.py\n"
    )


def test_a_parked_run_is_shown_with_what_it_waits_for(state, type_in):
    """It may be what keeps a queue from moving."""
    accept(state, accepted("run"))
    state.close()
    looked = SQLStateManager(URL)
    looked.take([("flow", "9")], [], 1)
    looked.close()
    _, out, _ = type_in("runs", "show", "run")

    assert out.startswith("run run of flow 1.0.0: pending, parked\n")
    assert re.search(
        r"^parked since \S+ \S+Z: it waits for an orchestrator that", out, re.MULTILINE
    )


def test_the_owner_of_a_run_in_progress_is_shown(state, type_in):
    """Where it is and since when, as far as the record has it."""
    accept(state, accepted("run"))
    write_events(state, happened(*STARTED))
    owner = state.snapshot("run").owner
    owned = f"owned by pid {owner.pid} on {owner.host} since 2023-11-14 22:13:20Z"

    assert owned in type_in("runs", "list")[1]
    assert f"\n{owned}" in type_in("runs", "show", "run")[1]
    assert owner.pid == json.loads(type_in("runs", "show", "run", "--json")[1])["owner"]["pid"]
    tell("UPDATE actorflow_owners SET host = NULL; UPDATE actorflow_runs SET owned_since = NULL")
    assert f"\nowned by {owner.id}; lease until " in type_in("runs", "show", "run")[1]


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.usefixtures("db")
def test_a_run_whose_owner_is_silent_is_resumed_once_that_has_been_watched(write, type_in, silent):
    """One that is alive keeps its run."""
    write(ONE_STEP)
    state = SQLStateManager(URL, lease=3000)
    accept(state, accepted("run"))
    year = 2000 if silent else 2100
    until = f"lease = 0.2, lease_until = '{year}-01-01 00:00:00.000000+00:00'"
    tell(f"UPDATE actorflow_owners SET {until}")  # noqa: S608 - it stands above
    status, _, err = type_in("runs", "resume", "run", "flows.py")
    state.close()

    assert (0 if silent else 2) == status
    assert silent == err.startswith("The owner of the run is silent; waiting 0.2 s to see")
    assert silent == ("run 'run' is in progress in another orchestrator" not in err)


def test_a_page_behind_the_last_run_says_so(state, type_in):
    """And not that there are none."""
    ran(state, "run")

    assert "no runs beyond the first 1\n" == type_in("runs", "list", "--offset", "5")[2]


def test_a_status_may_be_typed_as_python_writes_it(state, type_in):
    """What is meant is plain enough."""
    ran(state, "run")

    assert type_in("runs", "list", "--status", "COMPLETED")[1].startswith("run ")


# ── The tables ───────────────────────────────────────────────────────────────────────────────


def test_looking_at_a_database_that_is_not_there_makes_none(folder, type_in):
    """SQLite would, and the next command would find it empty."""
    current = type_in("db", "current", "sqlite:///no.db")
    check = type_in("db", "check", "sqlite:///no.db")
    said = "there is no database no.db. To create it, type: actorflow db upgrade sqlite:///no.db\n"

    assert [(0, f"no tables: {said}", ""), (1, said, "")] == [current, check]
    assert not (folder / "no.db").exists()


def test_the_tables_are_those_that_the_environment_names(db, type_in):
    """So that a password need not be typed here either."""
    upgraded, current, checked = (type_in("db", it) for it in ("upgrade", "current", "check"))

    assert [0, 0, 0] == [upgraded[0], current[0], checked[0]]
    assert checked[1].endswith("up to date\n")


def test_tables_of_another_version_are_named(db, type_in):
    """With what to do about it."""
    with Engines.to(db) as engines, engines.writing.begin() as connection:
        connection.exec_driver_sql("UPDATE actorflow_version SET version_num = '9999'")
    status, _, err = type_in("runs", "list")

    assert (2, True) == (status, "made by a newer actorflow" in err)


def test_a_retried_step_is_shown_with_each_of_its_attempts(state, type_in):
    """In one line, and in full as JSON; a step without retries has no such line."""
    ran(state, "plain")
    again = (*STARTED, EventKind.STEP_RETRYING, *STARTED[1:], *COMPLETED[3:])
    ran(state, "run", again)
    _, plain, _ = type_in("runs", "show", "plain")
    _, out, _ = type_in("runs", "show", "run")
    _, told, _ = type_in("runs", "show", "run", "--json")
    step = json.loads(told)["steps"]["a"]

    assert "attempts of" not in plain
    assert "attempts of a: #1 failed after 1.00 s, #2 completed after 1.00 s" in out.splitlines()
    assert [(1, "failed", 1.0), (2, "completed", 1.0)] == [
        (one["number"], one["outcome"], one["duration"]) for one in step["attempts_taken"]
    ]
    assert "ValueError" == step["attempts_taken"][0]["error"]["type"]
    assert "retried" not in step


# ── Sending ──────────────────────────────────────────────────────────────────────────────────


def sent(state, run_id="run"):
    """The messages of a run, without their times."""
    return [(it.name, it.payload, it.id) for it in state.read_messages(run_id, 0)]


def test_a_message_is_sent_to_a_run_of_any_process(state, type_in, folder):
    """With a payload in JSON, or without one; an id sends it once."""
    ran(state, "run", STARTED)
    (folder / "order.json").write_text('{"by": "Ada"}')

    assert (0, "run run: message 'go' is recorded\n", "") == type_in("runs", "send", "run", "go")
    type_in("runs", "send", "run", "go", '{"n": 1}', "--id", "a")
    type_in("runs", "send", "run", "go", '{"n": 2}', "--id", "a")
    type_in("runs", "send", "run", "stop", "@order.json")
    expected = [("go", None, None), ("go", {"n": 1}, "a"), ("stop", {"by": "Ada"}, None)]
    assert expected == sent(state)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("go", "yes"), "the payload is not JSON: Expecting value: line 1 column 1 (char 0). A st"),
        (("go", "@missing.json"), "the payload '@missing.json' cannot be read: "),
        ((" ",), "Run.send() got name=' '. Give a non-empty string."),
        (("go", "--id", ""), "Run.send() got id=''. Give a non-empty string."),
    ],
)
def test_what_cannot_be_sent_is_said(state, type_in, typed, said):
    """And nothing is sent."""
    ran(state, "run", STARTED)
    status, out, err = type_in("runs", "send", "run", *typed)

    assert (2, "") == (status, out)
    assert f"Error: {said}" in err
    assert [] == sent(state)


def test_nothing_new_is_sent_to_an_ended_run(state, type_in):
    """What was sent before is no error."""
    ran(state, "run", STARTED)
    type_in("runs", "send", "run", "go", "--id", "a")
    write_events(state, happened(*COMPLETED[3:], after=3))

    assert 0 == type_in("runs", "send", "run", "go", "--id", "a")[0]
    status, out, err = type_in("runs", "send", "run", "go")
    assert (2, "") == (status, out)
    assert "run 'run' has ended (completed) and cannot be sent message 'go'. Start another" in err
    assert 1 == len(sent(state))


def test_a_run_that_is_not_there_is_not_sent_anything(state, type_in):
    """Similar ids are suggested."""
    ran(state, "r-12345", STARTED)
    status, _, err = type_in("runs", "send", "r", "go")

    assert (2, True) == (status, "Did you mean: actorflow runs send r-12345" in err)

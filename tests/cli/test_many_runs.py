"""`actorflow runs` of many: found by filters, counted, followed, resumed and cancelled together."""

from __future__ import annotations

import json
import os
import re

import pytest
import sqlalchemy as sa

from actorflow.cli import bulk, following, main
from actorflow.model.lifecycle import EventKind
from actorflow.model.records import Parent
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.schema import tables
from actorflow.support.clock import SystemClock
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    FAILED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)
from tests.support.command_line import Terminal

URL = "sqlite:///runs.db"
PARKED = "it waits for an orchestrator that knows its workflow in this version"

# Fails until there is a file `fine`.
FLOW = """
    import pathlib

    from actorflow import Workflow

    flow = Workflow("flow")

    @flow.step
    def a(ctx):
        print("running", ctx.run_id)
        if not pathlib.Path("fine").exists():
            raise ConnectionError("no network")
        return "fine"
"""


@pytest.fixture
def state(folder, monkeypatch):
    """A state manager of another program; the commands know the database by the environment."""
    monkeypatch.setenv("ACTORFLOW_DB", URL)
    assert 0 == main(["db", "upgrade", URL])
    with_tables = SQLStateManager(URL)
    yield with_tables
    with_tables.close()


@pytest.fixture
def source(write_source):
    """The file of the workflow that the runs are of."""
    return write_source(FLOW)


@pytest.fixture
def write_source(request):
    """The fixture `write`, whose name the function that records events has here."""
    return request.getfixturevalue("write")


def ran(state, run_id, kinds=COMPLETED, **fields):
    """Let a run happen."""
    accept(state, accepted(run_id, **fields))
    write(state, happened(*kinds, run_id=run_id))


def lost(url, run_id, kinds=STARTED, **fields):
    """Leave a run behind whose owner has gone."""
    gone = SQLStateManager(url)
    ran(gone, run_id, kinds, **fields)
    gone.close()


def ids(out):
    """Return the first word of each line."""
    return [line.partition(" ")[0] for line in out.splitlines()]


def park(url, known="other"):
    """Have an orchestrator look for runs that knows no workflow of theirs."""
    looking = SQLStateManager(url)
    looking.take([(known, "1.0.0")], [], 0)
    looking.close()


# ── Finding ──────────────────────────────────────────────────────────────────────────────────


def test_runs_are_listed_by_their_attributes(state, type_in):
    """A value may be a string or what it spells."""
    ran(state, "a", created_at=4.0, attributes={"tenant": "acme", "tier": 1})
    ran(state, "b", created_at=3.0, attributes={"tenant": "acme", "tier": "1"})
    ran(state, "c", created_at=2.0, attributes={"tenant": "x=y", "urgent": True})
    ran(state, "d", created_at=1.0)

    def listed(*attributes):
        options = [word for attribute in attributes for word in ("--attribute", attribute)]
        return ids(type_in("runs", "list", *options)[1])

    assert ["a", "b"] == listed("tenant=acme", "tier=1")
    assert ["c"] == listed("tenant=x=y")
    assert ["c"] == listed("urgent=true")
    for odd in (
        "urgent=True",
        "tier=1e999",
        f"tier={'9' * 400}",
        f"tier={'9' * 5000}"[:900],
        "tier=[",
    ):
        assert [] == listed(odd)


def test_runs_are_listed_by_when_they_were(state, type_in):
    """By an age, or by a time in UTC or in another zone."""
    now = SystemClock()
    ran(state, "old", created_at=1_769_846_400.0)  # 2026-01-31 08:00 UTC
    ran(state, "new", created_at=now.wall(now.now()) - 60.0)

    def listed(*options):
        return ids(type_in("runs", "list", *options)[1])

    assert ["new"] == listed("--since", "2m")
    assert ["new", "old"] == listed("--until", "30")
    assert ["old"] == listed("--until", "90")
    assert ["new", "old"] == listed("--since", "2026-01-31T08:00")
    assert ["new"] == listed("--since", "2026-01-31T09:30+01:00", "--until", "1s")
    assert ["old"] == listed("--until", "2026-01-31 08:00:01Z")
    assert [] == listed("--until", "2026-01-31")
    assert [] == listed("--ended-since", "2026-01-31")
    assert ["new", "old"] == listed("--ended-until", "2026-01-31")


def test_runs_are_listed_by_error_owner_status_and_version(state, type_in):
    """And by several at once."""
    ran(state, "failed", FAILED, created_at=3.0)
    ran(state, "live", STARTED, created_at=2.0)
    ran(state, "other", created_at=1.0, workflow_version="2")
    owner = state.owners()[0].owner

    def listed(*options):
        return ids(type_in("runs", "list", *options)[1])

    assert ["failed"] == listed("--error", "ValueError")
    assert [] == listed("--error", "ValueError", "--workflow", "x")
    assert ["live"] == listed("--owner", owner)
    assert ["failed", "live"] == listed("--status", "failed", "--status", "running")
    assert ["other"] == listed("--workflow-version", "2")


def family(state):
    """Record a run with a child and a grandchild."""
    for number, (run_id, parent) in enumerate((("top", None), ("mid", "top"), ("leaf", "mid"))):
        link = parent and Parent(run_id=parent, step_id="a", root_run_id="top", call="")
        ran(state, run_id, created_at=float(number), parent=link)


def test_runs_are_listed_by_their_family(state, type_in):
    """The children of one run, or all that descend from it."""
    family(state)

    assert ["mid"] == ids(type_in("runs", "list", "--parent", "top")[1])
    assert ["leaf", "mid", "top"] == ids(type_in("runs", "list", "--root", "top")[1])
    assert [] == ids(type_in("runs", "list", "--root", "mid", "--parent", "top")[1])


def test_a_run_is_shown_with_its_family(state, type_in):
    """Its parent in a line, its descendants as a tree."""
    family(state)
    top, leaf = (type_in("runs", "show", run_id)[1] for run_id in ("top", "leaf"))

    assert "children\n└─ mid flow by a: completed\n   └─ leaf flow by a: completed" in top
    assert "child of run mid, step a, in the family of run top" in leaf
    assert "child" not in top.partition("children")[0]
    shown = json.loads(type_in("runs", "show", "mid", "--json")[1])
    assert ["leaf"] == [child["run_id"] for child in shown["children"]]
    assert "top" == shown["parent"]["run_id"]


def test_a_run_is_shown_with_some_of_many_children(state, type_in):
    """The others are counted."""
    ran(state, "top")
    link = Parent(run_id="top", step_id="a", root_run_id="top", call="")
    for number in range(22):
        ran(state, f"child-{number}", created_at=float(number), parent=link)
    shown = type_in("runs", "show", "top")[1]

    assert "and 2 older; list them all with --parent top" in shown
    assert "child-21" in shown
    assert "child-1 " not in shown


def test_a_parked_run_is_not_listed_as_if_it_ran(state, type_in):
    """The list says what it waits for; the filter finds it."""
    lost(URL, "run")
    ran(state, "fine")
    park(URL)
    status, out, _ = type_in("runs", "list", "--parked")
    (told,) = json.loads(type_in("runs", "list", "--parked", "--json")[1])["runs"]

    assert (0, ["run"]) == (status, ids(out))
    assert f"  {PARKED}\n" in out
    assert "  running, parked  " in out
    assert (PARKED, True) == (told["parked"], told["parked_since"] > 1_700_000_000)


def test_waiting_and_paused_runs_are_shown_and_found(state, type_in):
    """What the columns say, and since when."""
    for name in ("waiting", "paused"):
        accept(state, accepted(name))
        with Engines.to(URL) as engines, engines.writing.begin() as connection:
            values = {name: "for approval", f"{name}_since": 1_769_846_400.0}
            this = tables.runs.c.run_id == name
            connection.execute(sa.update(tables.runs).where(this).values(values))

    for name in ("waiting", "paused"):
        _, out, _ = type_in("runs", "list", f"--{name}")
        _, shown, _ = type_in("runs", "show", name)
        assert [name] == ids(out)
        assert f"  pending, {name}  " in out
        assert f"\n{name} since 2026-01-31 08:00:00Z: for approval\n" in shown


def test_pages_follow_each_other_by_cursor(state, type_in):
    """The JSON has it, and the text says how to go on."""
    for number in range(5):
        ran(state, f"r{number}", created_at=float(number))
    first = json.loads(type_in("runs", "list", "--limit", "2", "--json")[1])
    ran(state, "newer", created_at=9.0)
    asked = ("runs", "list", "--limit", "2", "--cursor", first["next_cursor"])
    _, out, err = type_in(*asked)
    _, last, nothing = type_in("runs", "list", "--limit", "2", "--cursor", err.split()[-1])

    assert ["r4", "r3"] == [run["run_id"] for run in first["runs"]]
    assert ["r2", "r1"] == ids(out)
    assert err.startswith("there are more; to see them, add --cursor ")
    assert (["r0"], "") == (ids(last), nothing)


def test_a_run_is_shown_with_its_attributes(state, type_in):
    """As it is with its metadata."""
    ran(state, "run", attributes={"tenant": "acme"})
    _, out, _ = type_in("runs", "show", "run")
    told = json.loads(type_in("runs", "show", "run", "--json")[1])

    assert "\nattribute tenant = 'acme'\n" in out
    assert {"tenant": "acme"} == told["attributes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--since", "soon"], "--since 'soon' is neither an age nor a time. Type for"),
        (["list", "--attribute", "tenant"], "--attribute 'tenant' is not of the form NAME=VALUE"),
        (["list", "--attribute", "=x"], "--attribute '=x' is not of the form NAME=VALUE"),
        (["list", "--attribute", "a=1", "--attribute", "a=2"], "'a' is given twice. Pass it once"),
        (["list", "--cursor", "x"], "cursor='x' is not the cursor of a page"),
        (["list", "--cursor", "x", "--offset", "1"], "cursor='x' is not the cursor of a page"),
        (["list", "--error", ""], "error='' is not a string, or is empty"),
        (["cancel"], "cancel takes a run's id or filters, one of the two. Name the run, or type"),
        (["cancel", "r", "--workflow", "flow"], "cancel takes a run's id or filters, one of"),
        (["resume", "flows.py"], "Type: actorflow runs resume RUN_ID flows.py, or add for"),
        (["resume", "r", "flows.py", "--parked"], "resume takes a run's id or filters, not both"),
        (["resume", "r", "flows.py", "x"], "unexpected argument 'x'. Resume one run, or use"),
        (["resume", "flows.py", "--workflow", "x"], "--workflow 'x' is not the workflow of the"),
    ],
)
def test_wrong_filters_are_refused(state, source, type_in, arguments, said):
    """On stderr, with exit status 2, and nothing on stdout."""
    type_in()
    status, out, err = type_in("runs", *arguments)

    assert (2, "") == (status, out)
    assert said in err


# ── Counting ─────────────────────────────────────────────────────────────────────────────────


def test_stats_say_what_there_is_and_what_is_stuck(state, type_in):
    """Numbers by workflow and status, the oldest pending run, parked ones, and owners."""
    ran(state, "done")
    ran(state, "failed", FAILED, workflow_id="mail")
    accept(state, accepted("pending", created_at=2.0))
    accept(state, accepted("oldest", created_at=1.0))
    lost(URL, "run", workflow_id="mail", workflow_version="2.0.0")
    park(URL, known="mail")
    status, out, err = type_in("runs", "stats")
    lines = out.splitlines()
    (owner,) = [it.owner for it in state.owners() if it.lease_until is not None]

    assert (0, "", "5 runs") == (status, err, lines[0])
    assert ["flow  3  2 pending, 1 completed", "mail  2  1 running, 1 failed"] == lines[1:3]
    assert re.fullmatch(r"oldest pending: oldest of flow 1\.0\.0, accepted .+ ago", lines[3])
    assert "parked: 1 of mail 2.0.0" == lines[4]
    assert any(re.fullmatch(rf"owner  {owner}  2 runs  lease until \S+ \S+Z", it) for it in lines)
    assert any(re.fullmatch(r"owner  \(no owner\) +\d runs?  no lease", it) for it in lines)


def test_stats_can_be_json_and_of_some_runs(state, type_in):
    """With zeros left out."""
    ran(state, "done")
    ran(state, "failed", FAILED, workflow_id="mail")
    accept(state, accepted("pending"))
    told = json.loads(type_in("runs", "stats", "--json")[1])
    some = json.loads(type_in("runs", "stats", "--json", "--workflow", "mail")[1])
    empty = type_in("runs", "stats", "--workflow", "nothing")

    assert (3, {"completed": 1, "failed": 1, "pending": 1}) == (told["total"], told["by_status"])
    assert {"completed": 1, "pending": 1} == told["by_workflow"]["flow"]
    assert "pending" == told["oldest_pending"]["run_id"]
    assert {"total": 0, "of": []} == told["parked"] == told["waiting"] == told["paused"]
    assert [1] == [owner["runs"] for owner in told["owners"]]
    assert (1, None) == (some["total"], some["oldest_pending"])
    assert "0 runs\n" in empty[1]


# ── Following ────────────────────────────────────────────────────────────────────────────────


def test_events_are_followed_until_the_run_has_ended(state, type_in, monkeypatch):
    """Those of a run that another process runs, as they are recorded."""
    ran(state, "run", STARTED)
    looks = iter([COMPLETED[3:4], (), COMPLETED[4:]])
    recorded = [len(STARTED)]

    def goes_on():
        kinds = next(looks)
        write(state, happened(*kinds, run_id="run", after=recorded[0]))
        recorded[0] += len(kinds)

    monkeypatch.setattr(following, "_wait", goes_on)
    status, out, _ = type_in("runs", "events", "run", "--follow")

    assert (0, [kind.value for kind in COMPLETED]) == (
        status,
        [line.split()[1] for line in out.splitlines()],
    )


def test_following_ends_with_a_run_that_has_ended_already(state, type_in, monkeypatch):
    """Also when its last event is not wanted."""
    ran(state, "run")
    monkeypatch.setattr(following, "_wait", lambda: pytest.fail("it waits"))
    whole = type_in("runs", "events", "run", "--follow")
    nothing = type_in("runs", "events", "run", "--follow", "--after", "9")
    some = type_in("runs", "events", "run", "--follow", "--limit", "2")

    assert (0, len(COMPLETED)) == (whole[0], len(whole[1].splitlines()))
    assert (0, "") == nothing[:2]
    assert (0, 2) == (some[0], len(some[1].splitlines()))


def test_a_run_that_is_resumed_is_followed_further(state, type_in, monkeypatch):
    """Its end is no longer the last event."""
    ran(state, "run", FAILED)
    state.claim("run")
    resumed = happened(EventKind.RUN_RESUMED, *COMPLETED[1:], run_id="run", after=len(FAILED))
    write(state, resumed[:1])
    monkeypatch.setattr(following, "_wait", lambda: write(state, resumed[1:]))
    _, out, _ = type_in("runs", "events", "run", "--follow")

    assert len(FAILED) + len(resumed) == len(out.splitlines())
    assert "run.completed" == out.split()[-1]


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_following(state, type_in, monkeypatch, as_json):
    """Without a traceback; JSON is whole."""
    ran(state, "run", STARTED)

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "_wait", interrupted)
    status, out, err = type_in("runs", "events", "run", "--follow", *["--json"] * as_json)

    assert (130, "") == (status, err)
    if as_json:
        assert len(STARTED) == len(json.loads(out))


# ── Acting ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [("cancel",), ("resume", "flows.py")])
def test_a_dry_run_lists_what_would_be_meant_and_changes_nothing(state, source, type_in, command):
    """As text and as JSON."""
    kinds = STARTED if command[0] == "cancel" else FAILED
    for run_id in ("a", "b"):
        lost(URL, run_id, kinds)
    status, out, err = type_in("runs", *command, "--since", "1970-01-01", "--dry-run")
    told = json.loads(type_in("runs", *command, "--since", "1970-01-01", "--dry-run", "--json")[1])

    assert (0, ["a", "b"]) == (status, ids(out))
    assert f"would {command[0]} 2 runs\n" == err
    assert (2, True) == (told["found"], told["dry_run"])
    assert ["a", "b"] == [run["run_id"] for run in told["runs"]]
    assert {len(kinds)} == {len(state.events(run_id)) for run_id in ("a", "b")}


def test_several_runs_are_cancelled_after_consent_only(state, type_in):
    """Without a terminal, that is `--yes`; one run needs no consent."""
    for run_id, workflow_id in (("a", "flow"), ("b", "flow"), ("c", "mail"), ("d", "more")):
        lost(URL, run_id, workflow_id=workflow_id)
    refused = type_in("runs", "cancel", "--workflow", "flow")
    one = type_in("runs", "cancel", "--workflow", "mail")
    several = type_in("runs", "cancel", "--workflow", "flow", "--yes", "--reason", "enough")
    nothing = type_in("runs", "cancel", "--workflow", "flow", "--yes")

    assert (2, "", True) == (
        *refused[:2],
        "2 runs match. To cancel them all, add --yes" in refused[2],
    )
    assert (0, "run c: cancelled; it had no owner\n") == one[:2]
    assert (0, ["run a: cancelled", "run b: cancelled"]) == (
        several[0],
        [line.partition(";")[0] for line in several[1].splitlines()],
    )
    assert (0, "", "no runs match\n") == nothing
    assert ("enough", "running") == (state.snapshot("a").reason, state.snapshot("d").status)


def test_a_terminal_asks_before_several_runs_are_cancelled(state):
    """What is typed decides."""
    for run_id in ("a", "b"):
        lost(URL, run_id)

    for answer, status, left in (("n", 1, "running"), ("y", 0, "cancelled")):
        with Terminal("runs", "cancel", "--workflow", "flow", "--db", URL) as terminal:
            terminal.read_until("Cancel 2 runs? [y/N]")
            os.write(terminal._master, f"{answer}\n".encode())
            assert status == terminal.read_all()
        assert {left} == {state.snapshot(run_id).status for run_id in ("a", "b")}


def test_a_run_that_cannot_be_cancelled_keeps_no_other_from_it(state, type_in, monkeypatch):
    """It has ended in the meantime, for example."""
    for run_id in ("a", "b"):
        lost(URL, run_id)
    agreed = bulk.Bulk.agreed

    def late(self):
        main(["runs", "cancel", "a", "--reason", "first"])
        return agreed(self)

    monkeypatch.setattr(bulk.Bulk, "agreed", late)
    status, out, _ = type_in("runs", "cancel", "--workflow", "flow", "--yes", "--json")
    told = json.loads(out.partition("\n")[2])
    said = {run["run_id"]: run["outcome"] for run in told["runs"]}

    assert (0, True) == (status, "has already ended (cancelled)" in said["a"])
    assert ("cancelled; it had no owner", "first") == (said["b"], state.snapshot("a").reason)


def test_all_failed_runs_of_a_workflow_are_resumed(state, source, type_in, folder):
    """Those that the filters find, and not those that have completed."""
    for run_id in ("a", "b"):
        ran(state, run_id, FAILED, attributes={"tenant": "acme"})
    ran(state, "other", FAILED, attributes={"tenant": "globex"})
    ran(state, "done", attributes={"tenant": "acme"})
    state.close()
    (folder / "fine").touch()
    status, out, err = type_in("runs", "resume", "flows.py", "--attribute", "tenant=acme", "--yes")

    assert (0, "") == (status, err)
    assert ["run a: completed", "run b: completed", "running a", "running b"] == sorted(
        out.splitlines()
    )
    assert ["completed"] * 2 == [state.snapshot(run_id).status for run_id in ("a", "b")]
    assert "failed" == state.snapshot("other").status


def test_what_is_not_resumed_or_fails_again_is_named(state, source, type_in):
    """The exit status is 1; the JSON is alone on stdout."""
    ran(state, "again", FAILED)
    ran(state, "live", STARTED)
    options = ("--status", "failed", "--status", "running", "--yes", "--json")
    status, out, _ = type_in("runs", "resume", "flows.py", *options)
    told = {run["run_id"]: run for run in json.loads(out)["runs"]}

    assert 1 == status
    assert ("failed", "failed: ConnectionError: no network") == (
        told["again"]["status"],
        told["again"]["outcome"],
    )
    assert told["live"]["status"] is None
    assert "not resumed: LeaseHeld: run 'live' is in progress" in told["live"]["outcome"]


def test_ctrl_c_cancels_what_was_resumed_and_leaves_the_rest(
    state, write_source, type_in, monkeypatch
):
    """The runs that had not been resumed stay as they were."""
    write_source(
        """
        import os, signal
        from actorflow import Workflow

        flow = Workflow("flow")

        @flow.step
        async def a():
            import asyncio
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        """
    )
    monkeypatch.setattr(bulk, "_AT_ONCE", 1)
    for run_id in ("a", "b"):
        ran(state, run_id, FAILED)
    state.close()
    status, out, err = type_in("runs", "resume", "flows.py", "--status", "failed", "--yes")

    assert (130, True) == (status, "Cancelling the runs" in err)
    assert ["run a: cancelled: interrupted", "run b: not resumed: the command was interrupted"] == (
        sorted(out.splitlines())
    )
    assert ["cancelled", "failed"] == [state.snapshot(run_id).status for run_id in ("a", "b")]


def test_filters_are_the_same_in_every_command_that_takes_them(folder, type_in):
    """They are declared once."""
    helps = [type_in("runs", command, "--help")[1] for command in ("list", "stats", "cancel")]
    helps.append(type_in("runs", "resume", "--help")[1])

    for shown in helps:
        options = set(re.findall(r"--[a-z-]+", shown))
        assert {"--since", "--until", "--parked", "--error", "--owner", "--attribute"} <= options

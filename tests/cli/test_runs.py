"""`actorflow runs` and `actorflow run --db`: what they print, and what they do."""

from __future__ import annotations

import contextlib
import json

import pytest

from actorflow.cli import main
from actorflow.state.sql import SQLStateManager
from actorflow.testing.contracts.accounts import FAILED, STARTED, accept, accepted, happened, write

PROGRAM = """
from pathlib import Path

from actorflow import Workflow

flow = Workflow("demo")


@flow.step
def fetch(url):
    return {"url": url}


@flow.step(after=fetch)
def use(fetch):
    if not Path("there").exists():
        raise ValueError("nothing there")
    return "fine"
"""


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A database that the commands find by themselves, beside a program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    url = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("ACTORFLOW_DB", url)
    (tmp_path / "demo.py").write_text(PROGRAM, "utf-8")
    return url


@pytest.fixture
def state(url):
    """A state manager in it."""
    made = SQLStateManager(url, create=True)
    yield made
    made.close()


@pytest.fixture
def told(capsys):
    """Gives a command, and returns its exit status and what it said."""

    def tell(*words):
        status = main(list(words))
        said = capsys.readouterr()
        return status, said.out, said.err

    return tell


def test_a_run_is_recorded_and_goes_on_after_its_failure(url, told, tmp_path):
    """With what has completed kept, as `runs show` tells."""
    status, _, _ = told("run", "demo.py", "--input", "url=x")
    _, listed, _ = told("runs", "list", "--json", "--status", "failed")
    run_id = json.loads(listed)["runs"][0]["run_id"]
    _, shown, _ = told("runs", "show", run_id)
    (tmp_path / "there").touch()
    resumed, out, _ = told("runs", "resume", run_id, "demo.py")
    _, again, _ = told("runs", "show", run_id, "--json")

    assert (1, 0) == (status, resumed)
    assert "├─ fetch  completed  #1" in shown
    assert "ValueError: nothing there" in shown
    assert "use = 'fine'" in out
    steps = json.loads(again)["steps"]
    assert {"fetch": 1, "use": 1} == {name: step["attempts"] for name, step in steps.items()}


def test_runs_are_listed_with_what_has_become_of_them(url, state, told):
    """A line each, and how many there are."""
    accept(state, accepted("failed", workflow_id="other"))
    write(state, happened(*FAILED, run_id="failed"))
    accept(state, accepted("parked"))
    state.close()
    with contextlib.closing(SQLStateManager(url)) as other:
        other.take([], [], 1)

    _, out, _ = told("runs", "list")
    _, page, _ = told("runs", "list", "--limit", "1", "--offset", "1")
    _, other, _ = told("runs", "list", "--workflow", "other")

    first, second, total = out.splitlines()
    assert first.startswith("failed  other 1.0.0  failed            2023-11-14 22:13:20Z  4.00 s")
    assert first.endswith("ValueError: no")
    assert "pending (parked)" in second
    assert ("1 to 2 of 2", "2 to 2 of 2") == (total, page.splitlines()[-1])
    assert 2 == len(other.splitlines())


def test_the_events_of_a_run_are_printed(state, told):
    """All of them, or those after a number, as lines or as JSON."""
    accept(state, accepted())
    write(state, happened(*FAILED))

    _, out, _ = told("runs", "events", "run")
    _, later, _ = told("runs", "events", "run", "--after", "3", "--json")

    assert "+3.000s step.failed a #1 ValueError: no" in out.replace("RecordedError: ", "")
    events = [json.loads(line) for line in later.splitlines()]
    assert [(4, "step.failed"), (5, "run.failed")] == [(it["number"], it["kind"]) for it in events]
    assert "no" in json.dumps(events[0]["data"]["error"])


def test_a_run_that_nobody_runs_is_cancelled(state, told):
    """One whose owner is alive is not, nor is one that has ended."""
    accept(state, accepted())
    write(state, happened(*STARTED))
    held = told("runs", "cancel", "run")
    state.close()
    cancelled = told("runs", "cancel", "run", "--reason", "enough")
    ended = told("runs", "cancel", "run")

    assert (2, 0, 2) == (held[0], cancelled[0], ended[0])
    assert "is in progress in another orchestrator" in held[2]
    assert "has ended" in ended[2]
    run = state.snapshot("run")
    assert ("cancelled", "enough", "cancelled") == (run.status, run.reason, run.steps["a"].status)


def test_old_runs_are_purged(state, told):
    """An age has a unit."""
    accept(state, accepted("old"))
    write(state, happened(*FAILED, run_id="old"))

    assert "'soon' is no age" in told("runs", "purge", "--older-than", "soon")[2]
    assert "not told what to delete" in told("runs", "purge")[2]
    assert "1 runs and 0 idempotency keys" in told("runs", "purge", "--older-than", "30d")[1]
    assert 0 == state.list().total


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "nobody"), "there is no run 'nobody'"),
        (("list", "--status", "done"), "is no run's status"),
        (("list", "--limit", "-1"), "limit=-1"),
        (("list", "--db", "mysql://x/y"), "'mysql' is no database"),
        (("list", "--db", "sqlite:///empty.db"), "actorflow db upgrade"),
    ],
)
def test_a_mistake_is_told_in_a_line(state, told, words, said):
    """With the exit status of bad usage."""
    status, _, err = told("runs", *words)

    assert 2 == status
    assert said in err

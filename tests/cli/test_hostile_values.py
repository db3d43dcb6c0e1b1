"""Values that no command expects: names that are too long, bytes that are no text, escapes."""

from __future__ import annotations

import json
import re

import pytest

from actorflow import DefinitionError, Orchestrator
from actorflow.errors.storage import RunNotFound
from actorflow.state.sql import SQLStateManager
from tests.support.flows import fine, flow_of

FLOW = """
    from actorflow import Workflow

    flow = Workflow("flow")

    @flow.step
    def give(x=1):
        return x
"""
SPEAKING = """
    from actorflow import Workflow
    from actorflow.testing import law

    flow = Workflow("speaking")

    class Loud:
        def __repr__(self):
            return "Loud \\x1b]0;mine\\x07"

    @flow.step
    def first():
        return "\\x1b[2J"

    @flow.step(after=first)
    def lines():
        return "one\\ttab\\n\\x1b[2Jtwo\\rthree\\u202e\\x9b31m"

    @flow.step(after=first)
    def loud():
        return [Loud()]

    @flow.step(after=first, required=False)
    def fail():
        raise ValueError("no\\n\\x1b[31mred")

    @flow.step(after=[lines, loud, fail])
    def last(lines):
        return lines

    @law
    def quiet(trace):
        raise AssertionError("\\x1b[2J")
"""
FAILING = """
    from actorflow import Workflow

    flow = Workflow("failing")

    @flow.step
    def fail():
        raise ValueError("no\\n\\x1b[31mred")
"""
LONG = "n" * 5000
NAMES = {
    "long": LONG,
    "long file": f"{LONG}.py",
    "long path": "a/" * 3000 + "flows.py:flow",
    "long flow": f"flows.py:{LONG}",
    "NUL": "a\0b.py:flow",
    "surrogate": "\udcff.py:flow",
    "surrogate that no file has": "\ud800",
    "folder": "folder",
    "link to itself": "loop.py",
    "unreadable folder": "closed/flows.py:flow",
    "unreadable file": "closed.py",
    "bytes": "bytes.py",
    "below a file": "flows.py/flows.py",
    "empty": "",
    "escape": "\x1b[2J",
    "colon": ":",
    "dots": "..flows",
}
COMMANDS = [
    ("validate", "NAME"),
    ("graph", "NAME"),
    ("run", "NAME"),
    ("run", "flows.py", "NAME"),
    ("run", "flows.py", "--svg", "NAME"),
    ("run", "flows.py", "--input", "NAME"),
    ("run", "flows.py", "--input-json", "NAME"),
    ("run", "flows.py", "--input-json", "@NAME"),
    ("run", "flows.py", "--db", "NAME"),
    ("run", "flows.py", "--db", "sqlite:///NAME"),
    ("run", "flows.py", "--db", "sqlite:///runs.db", "--input", "x=NAME"),
    ("simulate", "NAME"),
    ("simulate", "flows.py", "--schedules", "2", "--save", "NAME"),
    ("simulate", "flows.py", "--schedules", "2", "--fail", "NAME"),
    ("replay", "NAME"),
    ("replay", "kept.json", "--flow", "NAME"),
    ("runs", "list", "--db", "sqlite:///NAME"),
    ("runs", "list", "--db", "sqlite:///runs.db", "--workflow", "NAME"),
    ("runs", "list", "--db", "sqlite:///runs.db", "--trace-id", "NAME"),
    ("runs", "show", "--db", "sqlite:///runs.db", "NAME"),
    ("runs", "show", "--db", "sqlite:///runs.db", "RUN", "--flow", "NAME"),
    ("runs", "show", "--db", "sqlite:///runs.db", "RUN", "--svg", "NAME"),
    ("runs", "events", "--db", "sqlite:///runs.db", "NAME"),
    ("runs", "cancel", "--db", "sqlite:///runs.db", "NAME"),
    ("runs", "cancel", "--db", "sqlite:///runs.db", "RUN", "--reason", "NAME"),
    ("runs", "resume", "--db", "sqlite:///runs.db", "NAME", "flows.py"),
    ("runs", "resume", "--db", "sqlite:///runs.db", "RUN", "NAME"),
    ("runs", "purge", "--db", "sqlite:///runs.db", "--older-than", "NAME"),
    ("db", "check", "NAME"),
    ("db", "current", "sqlite:///NAME"),
    ("db", "upgrade", "sqlite:///NAME"),
    ("NAME",),
]


@pytest.fixture
def here(write, folder, monkeypatch):
    """A folder with a workflow, things that are hard to read, and a database with a waiting run."""
    write(FLOW)
    (folder / "folder").mkdir()
    (folder / "loop.py").symlink_to("loop.py")
    (folder / "bytes.py").write_bytes(b"\x80\xff")
    (folder / "kept.json").write_bytes(b"\x80\xff")
    for name in ("stat", "open"):  # tests may run as root, who may read everything
        _refuse(monkeypatch, name)
    state = SQLStateManager("sqlite:///runs.db", create=True)
    with Orchestrator(state) as orchestrator:
        run_id = orchestrator.enqueue(flow_of(fine)).id
    state.close()
    return run_id


def _refuse(monkeypatch, name):
    module = "os" if name == "stat" else "io"
    true = getattr(__import__(module), name)

    def refuse(path, *arguments, **options):
        if isinstance(path, (str, bytes)) or hasattr(path, "__fspath__"):
            found = re.search(r"closed/" if name == "stat" else r"closed", str(path))
            if found:
                raise PermissionError(13, "Permission denied", str(path))
        return true(path, *arguments, **options)

    monkeypatch.setattr(f"{module}.{name}", refuse)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_value_ends_a_command_in_a_traceback(here, type_in, command):
    """It is done or refused, and no control character reaches the terminal."""
    for name, value in NAMES.items():
        arguments = [part.replace("NAME", value).replace("RUN", here) for part in command]
        status, out, err = type_in(*arguments)
        said = f"{name}: exit status {status}\n{out}\n{err}"

        assert status in {0, 1, 2}, said
        assert "Traceback" not in err or "could not be imported" in err, said
        assert not re.search(r"[^\n\t\x20-\x7e\x80-\U0010ffff]", out + err), said


@pytest.mark.parametrize("value", ["\0", "a\0b", "\udcff"])
def test_no_run_has_an_id_that_a_database_does_not_take(make, value):
    """And none is found by such a value."""
    state = make()

    with pytest.raises(RunNotFound):
        state.snapshot(value)
    with pytest.raises(RunNotFound):
        state.events(value)
    for name in ("workflow_id", "business_id"):
        with pytest.raises(DefinitionError, match=f"{name}="):
            state.list(**{name: value})


# ── Escapes ──────────────────────────────────────────────────────────────────────────────────


def controls(text):
    """The characters of a text that a terminal would obey, but line breaks and tabs."""
    return [it for it in text if it not in "\n\t" and not it.isprintable()]


def test_outputs_are_shown_without_terminal_escapes(write, type_in):
    """A string of several lines keeps its lines and tabs."""
    write(SPEAKING)
    status, out, err = type_in("run", "flows.py")

    assert (0, []) == (status, controls(out + err))
    assert "one\ttab\n\\x1b[2Jtwo\nthree\\u202e\\x9b31m\n" in out
    assert "loud = [Loud \\x1b]0;mine\\x07]\n" in out


def test_outputs_as_json_are_as_they_were(write, type_in):
    """A program reads them, and JSON escapes them by itself."""
    write(SPEAKING)
    _, out, _ = type_in("run", "flows.py", "--json")

    assert [] == controls(out)
    assert "one\ttab\n\x1b[2Jtwo\rthree\u202e\x9b31m" == json.loads(out)["output"]


@pytest.mark.parametrize("command", ["run", "runs show", "simulate", "replay"])
def test_no_report_has_terminal_escapes(write, type_in, command):
    """Of errors, recorded runs, or laws that break."""
    write(FAILING)
    write(SPEAKING, "speaking.py")
    type_in("db", "upgrade", "sqlite:///runs.db")
    type_in("run", "flows.py", "--db", "sqlite:///runs.db")
    run_id = json.loads(type_in("runs", "list", "--db", "sqlite:///runs.db", "--json")[1])
    arguments = {
        "run": ("run", "flows.py"),
        "runs show": ("runs", "show", run_id["runs"][0]["run_id"], "--db", "sqlite:///runs.db"),
        "simulate": ("simulate", "speaking.py", "--real", "--save", "kept.json"),
        "replay": ("replay", "kept.json", "--real"),
    }
    for name in ("simulate", command):
        _, out, err = type_in(*arguments[name])

    assert [] == controls(out + err)
    assert "\\x1b[" in out + err

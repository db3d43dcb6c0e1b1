"""What an earlier version recorded is read, resumed and written by this one."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import sys
import types
import typing
from pathlib import Path

import attrs
import pytest

from actorflow import (
    ActorflowWarning,
    DeadlineExceeded,
    EventKind,
    GiveUp,
    NotRestorable,
    NotStorable,
    Orchestrator,
    RecordedError,
    RetryAfter,
    RetryPolicy,
    RunResult,
    RunStatus,
    StepResult,
    StepStatus,
    StepTimeout,
    Workflow,
)
from actorflow.state.sql import JSONSerializer, PickleSerializer, SQLStateManager
from actorflow.state.sql.values.codec import class_named
from actorflow.state.sql.values.errors import restore_error
from actorflow.support.class_names import find_class, public_name
from actorflow.testing import Tape, raises
from actorflow.testing.script_files import encoded_script, script_of
from actorflow.testing.simulation.scripts import Script
from tests.state.sql.records import write

RECORDS = Path(write.__file__).parent


@pytest.fixture(params=sorted(RECORDS.glob("*.sql")), ids=lambda path: path.stem)
def url(request, tmp_path):
    """A copy of a database that an earlier version wrote."""
    path = tmp_path / "runs.db"
    connection = sqlite3.connect(path)
    connection.executescript(request.param.read_text("utf-8"))
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture
def orchestrator(url):
    """An orchestrator on it that knows the workflows."""
    with Orchestrator(SQLStateManager(url, create=True)) as orchestrator:
        for flow in write.FLOWS:
            orchestrator.register(flow)
        yield orchestrator


def find(orchestrator, flow):
    """Return the run of a workflow."""
    (run,) = orchestrator.list(workflow_id=flow.id).runs
    return orchestrator.get(run.run_id)


def test_errors_of_actorflow_come_back_as_themselves(orchestrator):
    """Whichever module defined them when they were recorded."""
    errors = {flow.id: find(orchestrator, flow).snapshot().error for flow in write.FLOWS}

    assert errors["nested"] is None
    assert GiveUp is type(errors["refused"])
    assert StepTimeout is type(errors["slow"])
    assert DeadlineExceeded is type(errors["late"])
    assert NotStorable is type(errors["unstorable"])
    assert ("sleeps", "attempt", 0.01) == (
        errors["slow"].step_id,
        errors["slow"].kind,
        errors["slow"].timeout,
    )


def test_other_errors_are_named_by_their_public_names(orchestrator):
    """An error that holds a result is kept by its name, text and traceback."""
    error = find(orchestrator, write.outer).snapshot().error
    plain = find(orchestrator, write.broken).snapshot().error

    assert RecordedError is type(error)
    assert "actorflow.RunFailed" == error.type_name
    assert "builtins.ValueError" == plain.type_name


def test_objects_of_actorflow_come_back_as_themselves(orchestrator):
    """Outputs and inputs alike."""
    snapshot = find(orchestrator, write.values).snapshot()
    output = snapshot.steps["returned"].output

    assert RetryPolicy(max_attempts=2, initial_interval=0.5) == snapshot.inputs["policy"]
    assert snapshot.inputs["policy"] == output["policy"]
    assert RunStatus.COMPLETED is output["status"]
    assert StepResult is type(output["step"])
    assert (42, StepStatus.COMPLETED) == (output["step"].output, output["step"].status)
    assert EventKind.RUN_STARTED is output["events"][0].kind
    assert "1 run.started workflow_id='nested'" == str(output["events"][0])


def test_a_run_of_an_earlier_version_is_resumed(url):
    """Its recorded step does not run again, and the failed one sees what that returned."""
    flow = Workflow("values")
    calls = []

    @flow.step
    def returned(policy):
        calls.append("returned")

    @flow.step(after=returned)
    def then(returned, *, go_on=False):
        return returned["step"].output + 1

    with Orchestrator(SQLStateManager(url, create=True)) as orchestrator:
        with pytest.warns(ActorflowWarning, match="a lambda or a closure"):
            orchestrator.register(flow)
        result = orchestrator.resume(find(orchestrator, flow).id).result(60)

    assert 43 == result.output
    assert [] == calls


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (RunResult, "actorflow:RunResult"),
        (StepTimeout, "actorflow:StepTimeout"),
        (Tape, "actorflow.testing:Tape"),
        (SQLStateManager, "actorflow.state.sql:SQLStateManager"),
        (ValueError, "builtins:ValueError"),
    ],
)
def test_a_class_is_named_by_where_it_is_public(kind, name):
    """Moving it to another module changes no record."""
    assert name == public_name(kind)
    assert kind is find_class(name)


@pytest.mark.parametrize("module", ["actorflow.results", "actorflow.never_was_here"])
def test_names_of_modules_that_have_moved_are_found(module):
    """By the class's own name."""
    assert RunResult is find_class(f"{module}:RunResult")
    assert find_class(f"{module}:NeverWasHere") is None


def test_only_names_of_actorflow_are_looked_for_elsewhere():
    """A program's class of the same name is another class."""
    assert find_class("shop.results:RunResult") is None


def test_a_result_with_its_steps_is_an_output_like_any_other():
    """A step that runs a workflow may return the whole result."""
    with Orchestrator() as orchestrator:
        result = orchestrator.run(write.nested)
    serializer = JSONSerializer()

    assert result == serializer.loads(serializer.dumps(result))


def test_replay_files_name_errors_by_their_public_names():
    """And those that were written before are still read."""
    script = Script({"a": [raises(GiveUp("no"))]})
    encoded = encoded_script(script)
    (behaviour,) = encoded["steps"]["a"]
    old = {**encoded, "steps": {"a": [{**behaviour, "error": "actorflow.storing:GiveUp"}]}}

    assert "actorflow:GiveUp" == behaviour["error"]
    assert repr(script) == repr(script_of(encoded)) == repr(script_of(old))


class Watched(types.ModuleType):
    """A module that notes each attribute that it is asked for."""

    def __getattribute__(self, name):
        """Note it."""
        asked = object.__getattribute__(self, "asked_for")
        asked.append(name)
        return super().__getattribute__(name)


class Meta(type):
    """A metaclass with a property that notes its use."""

    used: typing.ClassVar = []

    @property
    def surprise(cls):
        """Note it."""
        Meta.used.append(cls)
        return cls


class Outer(metaclass=Meta):
    """A class with another one in it."""

    class Inner:
        """The other one."""


def test_looking_up_a_name_runs_no_code_of_its_module(monkeypatch):
    """The name may be anything that was written into a database."""
    module = Watched("watched")
    asked = object.__getattribute__(module, "__dict__").setdefault("asked_for", [])
    module.Outer = Outer
    monkeypatch.setitem(sys.modules, "watched", module)
    asked.clear()
    names = ["Lazy", "Outer.surprise", "Outer.Inner.__class__", "Outer", "Outer.Inner", "__dict__"]

    found = [find_class(f"watched:{name}") for name in names]

    assert [None, None, None, Outer, Outer.Inner, None] == found
    assert [] == asked
    assert [] == Meta.used


HOSTILE = [
    *("", ":", "a", "actorflow", "actorflow:", ":RunResult", "actorflow:.RunResult"),
    *("actorflow:RunResult.", "actorflow:__builtins__", "actorflow:os.system", "os:system"),
    *("actorflow.testing:laws.ALL", "actorflow.cli:app", "subprocess:Popen.__init__"),
    *("actorflow:RunResult" + ".__class__" * 5000, "actorflow:sys.modules"),
    *("actorflow:__getattr__", "actorflow_x:RunResult", "actorflow.x:find_class", "\0:\0"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_that_name_no_class_find_nothing(name):
    """And the error says so."""
    assert find_class(name) is None
    with pytest.raises(NotRestorable, match="an object of class"):
        class_named(name)


def test_a_recorded_error_of_any_name_is_read():
    """Only its name, text and traceback are used."""
    for name in HOSTILE:
        error = restore_error({"type": name.replace(":", "."), "text": "no", "traceback": ""})

        assert RecordedError is type(error)


@pytest.mark.parametrize("name", ["Orchestrator", "Run", "MemoryStateManager"])
def test_a_name_in_a_record_imports_no_machinery(name):
    """Classes that hold values are imported, and only they."""
    program = f"""
import sys
from actorflow.support.class_names import find_class

assert find_class("actorflow:{name}") is None
assert find_class("actorflow:RetryPolicy").__name__ == "RetryPolicy"
assert not {{"actorflow.orchestrator", "actorflow.run", "actorflow.state"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def pickles():
    """The serializer for pickles."""
    with pytest.warns(ActorflowWarning):
        return PickleSerializer()


def test_a_pickle_of_an_earlier_version_is_read(pickles):
    """Its classes are found wherever they are defined now."""
    written = (RECORDS / "pickle-written-by-0.1.0.txt").read_text("ascii")
    policy, status, result, event, timed_out, refused, recorded, mapping, kind = pickles.loads(
        written
    )

    assert RetryPolicy(max_attempts=2, initial_interval=0.5) == policy
    assert RunStatus.COMPLETED is status
    assert (RunResult, 1, StepStatus.COMPLETED) == (
        type(result),
        result.output,
        result.steps["one"].status,
    )
    assert EventKind.RUN_STARTED is event.kind
    assert ("slow", "attempt", 0.5) == (timed_out.step_id, timed_out.kind, timed_out.timeout)
    assert (GiveUp, RecordedError) == (type(refused), type(recorded))
    assert {"a": 1} == mapping
    assert StepTimeout is kind


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("actorflow.results\nNeverWasHere", ModuleNotFoundError),
        ("actorflow.errors\nNeverWasHere", AttributeError),
        ("actorflow_x.results\nRunResult", ModuleNotFoundError),
        ("shop.results\nRunResult", ModuleNotFoundError),
    ],
)
def test_a_pickle_of_a_class_that_has_gone_is_refused(pickles, name, error):
    """As Python does; another package's class is not looked for elsewhere."""
    text = base64.b64encode(f"c{name}\n.".encode()).decode()

    with pytest.raises(error):
        pickles.loads(text)


@pytest.mark.parametrize("kind", [DeadlineExceeded, RetryAfter, StepTimeout])
@pytest.mark.parametrize("field", [None, "x", {}])
def test_an_error_with_unfit_fields_is_read_as_any_other(kind, field):
    """One such row must not keep a run from being shown."""
    fields = [field] * len(attrs.fields(kind))
    recorded = {"type": f"actorflow.{kind.__name__}", "text": "no", "traceback": ""}
    error = restore_error({**recorded, "fields": fields})

    assert RecordedError is type(error)
    assert (f"actorflow.{kind.__name__}", "no") == (error.type_name, error.text)

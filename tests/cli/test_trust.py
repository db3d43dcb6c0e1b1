"""What a saved schedule may have the command line do: files that others wrote."""

from __future__ import annotations

import json
import os
import sys
import textwrap

import pytest

from tests.support.command_line import Terminal

FLOW = """
    import pathlib
    from actorflow import Workflow
    from actorflow.testing import law

    pathlib.Path("imported").touch()
    flow = Workflow("touching")

    @flow.step
    def touch(name):
        pathlib.Path(name).touch()

    @law
    def nothing_completes(trace):
        assert trace.result.status != "completed"
"""


@pytest.fixture
def saved(write, type_in, folder):
    """A function that writes a replay file of real steps, with some parts replaced."""
    write(FLOW)
    typed = ("--input", "name=harmless", "--real", "--save", "kept.json")
    assert 1 == type_in("simulate", "flows.py", *typed)[0]
    for made in ("imported", "harmless"):
        (folder / made).unlink()
    sys.modules.pop("flows")
    said = json.loads((folder / "kept.json").read_text())

    def saved(**parts):
        (folder / "kept.json").write_text(json.dumps(said | parts))

    return saved


@pytest.fixture
def outside(tmp_path_factory, monkeypatch):
    """A folder outside the working directory, importable, with a workflow in it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "elsewhere.py").write_text(textwrap.dedent(FLOW))
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("open('imported', 'w').close()")
    (folder / "package" / "flows.py").write_text(textwrap.dedent(FLOW))
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("elsewhere", None)


@pytest.mark.parametrize(
    "flow",
    [
        "{outside}/elsewhere.py:flow",
        "{outside}/elsewhere.py",
        "{relative}/elsewhere.py:flow",
        "twin/../{outside.name}/elsewhere.py:flow",
        "elsewhere:flow",
        "elsewhere",
        "package.flows:flow",
        "package:flow",
        "this:flow",
    ],
)
def test_a_workflow_outside_the_working_directory_is_not_loaded(
    saved, outside, type_in, folder, flow
):
    """No path, no module and no package of a module is: the error says how to name it."""
    (folder / "twin").symlink_to(outside)
    flow = flow.format(outside=outside, relative=os.path.relpath(outside))
    saved(flow=flow)

    status, out, err = type_in("replay", "kept.json", "--real")

    assert (2, "") == (status, out)
    assert "which is outside the working directory" in err
    assert f"type: actorflow replay kept.json --flow {flow}" in err
    assert not (folder / "imported").exists()
    assert "package" not in sys.modules


def test_an_installed_package_in_the_working_directory_is_not_loaded(
    saved, type_in, folder, monkeypatch
):
    """Such as one of a virtual environment there."""
    packages = folder / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "installed.py").write_text(textwrap.dedent(FLOW))
    monkeypatch.syspath_prepend(str(packages))
    saved(flow="installed:flow")

    status, _, err = type_in("replay", "kept.json", "--real")

    assert (2, True) == (status, "outside the working directory" in err)
    assert not (folder / "imported").exists()


@pytest.mark.parametrize(
    "flow", ["flows.py:flow", "flows:flow", "{folder}/flows.py:flow", "link/flows.py:flow"]
)
def test_a_workflow_in_the_working_directory_is_loaded(saved, type_in, folder, flow):
    """By its path, as a module, or through a link that the user has put there."""
    (folder / "link").symlink_to(folder)
    saved(flow=flow.format(folder=folder))

    assert 1 == type_in("replay", "kept.json", "--real")[0]
    assert (folder / "harmless").exists()


def test_a_workflow_elsewhere_is_loaded_if_it_is_named(saved, outside, type_in):
    """The user's own word counts, not the file's."""
    saved(flow="this:flow")
    typed = ("replay", "kept.json", "--flow", f"{outside}/elsewhere.py:flow", "--real")

    assert 1 == type_in(*typed)[0]


def test_steps_are_not_called_unasked(saved, type_in, folder):
    """Without a terminal to ask on, the error names the steps and the option."""
    saved(inputs={"name": "harmful"})
    status, out, err = type_in("replay", "kept.json")

    assert (2, "") == (status, out)
    assert "calls the functions of steps 'touch' with the inputs in the file" in err
    assert "type: actorflow replay kept.json --real" in err
    assert not (folder / "harmful").exists()


@pytest.mark.parametrize(("answer", "status", "called"), [("y", 1, True), ("", 2, False)])
def test_on_a_terminal_it_asks(saved, folder, answer, status, called):
    """And anything but a yes means no."""
    saved()
    with Terminal("replay", "kept.json") as terminal:
        terminal.read_until("[y/N]")
        terminal.type(f"{answer}\n")

        assert status == terminal.read_all()
    assert called == (folder / "harmless").exists()


def test_scripted_steps_need_no_leave(write, type_in):
    """Nothing of the workflow's is called."""
    write(FLOW)
    type_in("simulate", "flows.py", "--input", "name=x", "--save", "kept.json")

    assert 1 == type_in("replay", "kept.json")[0]


@pytest.mark.usefixtures("outside")
def test_the_class_of_an_error_is_not_imported(saved, type_in):
    """Only looked up among the modules that are loaded."""
    raising = [{"does": "raises", "after": 1.0, "error": "elsewhere:Error", "arguments": []}]
    saved(script={"steps": {}, "default": raising})
    status, _, err = type_in("replay", "kept.json")

    assert 2 == status
    assert "elsewhere:Error, which the script raises, was not found in the loaded modules" in err
    assert "elsewhere" not in sys.modules


def test_the_command_after_a_search_has_the_options_that_a_replay_needs(outside, type_in, folder):
    """So that it can be typed as it is."""
    place = f"{outside}/elsewhere.py"
    typed = ("--input", "name=x", "--real", "--save", "kept.json")
    _, out, _ = type_in("simulate", place, *typed)

    assert out.endswith(f"  actorflow replay kept.json --flow {place}:flow --real\n")

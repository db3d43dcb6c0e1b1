"""What the tests of the command line share: a folder, files in it, and commands typed there."""

from __future__ import annotations

import sys
import textwrap

import pytest

from actorflow.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(folder):
    """Write a file of Python into the folder."""

    def write(source, name="flows.py"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return write


@pytest.fixture
def type_in(folder, capfd):
    """Carry out a command in this process: its exit status, stdout and stderr."""

    def type_in(*arguments):
        status = main(arguments)
        return status, *capfd.readouterr()

    return type_in

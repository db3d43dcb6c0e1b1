"""The documentation shows what happens."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import io
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import (
    DOCUMENTS,
    ROOT,
    Block,
    Command,
    Page,
    blocks,
    commands,
    differences,
    linked_checkout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = {"console", "python"}
SHOWN = {"go", "ini", "json", "mermaid", "text", "toml", "{eval-rst}", "{toctree}"}

# Every reason for which a block may stay unrun. A new one is a decision, made here.
REASONS = {
    ".ci/run runs it",
    "it installs packages",
    "it needs daemons",
    "it needs the environment of a contributor",
    "it runs until somebody stops it",
    "it is meant for another program",
}

# Public names that a reader meets first: each shows how it is used.
SHOWN_IN_USE = {
    "actorflow": {
        *("Event", "Executor", "GiveUp", "MemoryStateManager", "Observer", "Orchestrator"),
        *("RetryAfter", "RetryPolicy", "RetryPolicyBuilder", "Run", "RunResult", "StateManager"),
        *("Step", "StepBuilder", "StepContext", "Workflow", "WorkflowBuilder"),
    },
    "actorflow.state": {"MemoryStateManager", "RunFold"},
    "actorflow.state.sql": {"SQLStateManager"},
    "actorflow.testing": {
        *("Faults", "Scenario", "Script", "Simulation", "Tape", "explore", "law", "simulate"),
    },
}

every_module_with_examples = pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "actorflow").rglob("*.py"))
        if ">>> " in path.read_text("utf-8")
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)

# Pages whose commands and searches take seconds each.
SLOW = {
    ROOT / "docs" / "how-to" / "command-line.md",
    ROOT / "docs" / "how-to" / "let-a-state-machine-play.md",
    ROOT / "docs" / "how-to" / "simulate-in-ci.md",
    ROOT / "docs" / "tutorial" / "durable.md",
    ROOT / "docs" / "tutorial" / "simulation.md",
}

every_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page about to be run, with an event loop and a folder of its own."""
    with asyncio.Runner() as runner:
        yield Page(runner, linked_checkout(tmp_path))


@pytest.fixture
def complaints(page: Page, tmp_path: Path):
    """What running this Markdown as a page complains about."""

    def run(text: str) -> list[str]:
        path = tmp_path / "page.md"
        path.write_text(text, encoding="utf-8")
        return [complaint for block in blocks(path) for complaint in page.complaints(block)]

    return run


def test_markdown_blocks_are_found_with_their_comments(tmp_path: Path):
    """A block knows its language, its text, its line and the comment right above it."""
    path = tmp_path / "page.md"
    path.write_text("Text\n\n<!-- not run: no -->\n```python\na = 1\n```\n\n```text\n!\n```\n")

    found = blocks(path)

    assert [
        Block(path=path, line=4, language="python", source="a = 1\n", comment="not run: no"),
        Block(path=path, line=8, language="text", source="!\n"),
    ] == found
    assert ["no", None] == [block.not_run for block in found]


def test_console_blocks_are_split_into_commands_and_outputs():
    """A command may go on over several lines, and its output ends at the next prompt."""
    source = "$ actorflow run \\\n    a.py\none\ntwo\n$ echo $?\n1\n"

    assert [
        Command("actorflow run     a.py", "one\ntwo\n"),
        Command("echo $?", "1\n"),
    ] == commands(source)


def test_three_dots_stand_for_what_varies():
    """Only the text that the page leaves open may differ."""
    assert "" == differences("took ... ms\n", "took 12.5 ms  \n")
    assert "took 12.5 s" in differences("took ... ms\n", "took 12.5 s\n")


def test_the_blocks_of_a_page_share_names_and_a_loop(complaints):
    """A later block sees what the earlier defined, on the same loop, and prints its own."""
    text = """
```python
import asyncio

async def loop():
    return asyncio.get_running_loop()

first = await loop()
```

```python
print(first is await loop())
```

<!-- output -->
```text
True
```

```python
print("once")
```

<!-- output -->
```text
once
```
"""

    assert [] == complaints(text)


def test_an_output_that_differs_is_noticed(complaints):
    """A page cannot show what its code does not print."""
    (complaint,) = complaints("```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n")

    assert "- 2" in complaint
    assert "+ 1" in complaint


def test_a_block_that_raises_points_into_its_page(complaints, tmp_path: Path):
    """The traceback names the page and the line, not the machinery."""
    with pytest.raises(ZeroDivisionError) as caught:
        complaints("text\n\n```python\n1 / 0\n```\n")

    assert (tmp_path / "page.md", 3) == (caught.traceback[-1].path, caught.traceback[-1].lineno)


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        ("$ python -c 'print(1)'\n1\n", []),
        ("$ python -c 'print(1)'\n", []),
        ("$ python -c 'exit(3)'\n$ echo $?\n3\n", []),
        ("$ python -c 'exit(3)'\n", ["exited with 3, not 0"]),
        ("$ python -c pass\n$ echo $?\n1\n", ["exited with 0, not 1"]),
        ("$ python -c 'import os; os.kill(os.getpid(), 9)'\n$ echo $?\n137\n", []),
        ("$ python -c 'print(1)'\n2\n", ["printed something else"]),
        ("$ rm -r docs\n", ["cannot run here"]),
        ("$ python -c pass | wc\n", ["cannot run here"]),
    ],
    ids=[
        "right output",
        "any output",
        "right status",
        "failure",
        "wrong status",
        "a signal",
        "wrong output",
        "foreign program",
        "pipe",
    ],
)
def test_console_blocks_run_for_real(complaints, console: str, expected: list[str]):
    """A command must exit as the page says, and print what the page shows."""
    found = complaints(f"```console\n{console}```\n")

    assert len(expected) == len(found)
    assert all(part in complaint for part, complaint in zip(expected, found, strict=True))


@every_document
def test_every_block_says_what_it_is(path: Path):
    """A block in a language that is not on the list would silently stay unrun."""
    unknown = {str(block): block.language for block in blocks(path)}
    unknown = {where: said for where, said in unknown.items() if said not in RUN | SHOWN}

    assert {} == unknown


@every_document
def test_blocks_that_do_not_run_give_a_known_reason(path: Path):
    """Leaving a block unrun takes one of the listed reasons."""
    given = {str(block): block.not_run for block in blocks(path) if block.not_run is not None}

    assert {} == {where: reason for where, reason in given.items() if reason not in REASONS}


def test_the_slow_pages_are_there():
    """A page that was renamed is not left in the quick profile by mistake."""
    assert set(DOCUMENTS) >= SLOW


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if path in SLOW else []) for path in DOCUMENTS],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_blocks_of_every_document_run(path: Path, page: Page, monkeypatch, tmp_path: Path):
    """Code and commands in README.md and docs/ do what the text around them says."""
    monkeypatch.chdir(tmp_path)

    found = [f"{block}: {what}" for block in blocks(path) for what in page.complaints(block)]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package, names in SHOWN_IN_USE.items() for name in sorted(names)],
)
def test_the_public_names_show_how_they_are_used(package: str, name: str):
    """A docstring that only describes leaves the reader to guess."""
    docstring = getattr(importlib.import_module(package), name).__doc__ or ""

    assert "\n    Example:\n" in docstring or "\nExample:\n" in docstring
    assert ">>> " in docstring


@every_module_with_examples
def test_the_examples_in_docstrings_run(path: Path):
    """Each by itself, from its own imports on, so that a reader can copy it."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    runner, said = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), io.StringIO()
    # Errors name `actorflow` as their module.
    objects = {name: getattr(module, name) for name in module.__all__}
    own = {module.__name__, "actorflow"}
    found = [
        test
        for name, it in objects.items()
        if getattr(it, "__module__", None) in own
        for test in doctest.DocTestFinder().find(it, name, module=False, globs={})
    ]
    for test in {test.docstring: test for test in found}.values():
        runner.run(test, out=said.write)

    assert runner.tries == path.read_text("utf-8").count(">>> ")
    assert not runner.failures, said.getvalue()

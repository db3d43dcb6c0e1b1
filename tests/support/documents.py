"""The code blocks of the documentation: how they are found, and how they are run.

Four rules for writing a page:

- A `python` block runs in the namespace that the blocks above it left behind. It may `await`.
- A `text` block under `<!-- output -->` is what the Python blocks above it printed.
- In a `console` block each `$ actorflow …` or `$ python …` runs in a folder that looks like the
  root of the checkout, and is the page's own: what it writes is gone with the page. Lines below a
  command are its output. `$ echo $?` and a number say that it must exit with that number,
  not with 0.
- A block under `<!-- not run: reason -->` does not run.

In an expected output `...` stands for any text, because durations and run ids differ.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

__all__ = [
    "DOCUMENTS",
    "ROOT",
    "Block",
    "Command",
    "Page",
    "blocks",
    "commands",
    "differences",
    "linked_checkout",
]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_COMMENT_ABOVE = re.compile(r"<!-- (?P<comment>[^\n]*?) -->\s*\Z")
_EXIT_STATUS = "echo $?"
_PROGRAMS = {
    "actorflow": (
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'actorflow'; from actorflow.cli import main; sys.exit(main())",
    ),
    "python": (sys.executable,),
}
# What a program prints must not depend on the terminal that the tests were started from.
_TERMINAL = {"COLUMNS": "100", "NO_COLOR": "1", "PYTHONUTF8": "1", "TERM": "dumb"}
_HANGS_AFTER = 120.0


@attrs.frozen(kw_only=True)
class Block:
    """One fenced block: its language, its text, and the invisible comment right above it."""

    path: Path
    line: int
    language: str
    source: str
    comment: str = ""

    @property
    def not_run(self) -> str | None:
        """Why the block does not run, or None where it does."""
        _, marker, reason = self.comment.partition("not run: ")
        return reason if marker else None

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


@attrs.frozen
class Command:
    """A line typed at the prompt, and what the page says it printed."""

    line: str
    output: str


def blocks(path: Path) -> list[Block]:
    """Every fenced block of a Markdown file, from top to bottom."""
    document = Document(path.read_text(encoding="utf-8"), str(path))
    regions = sorted(FencedCodeBlockLexer(".*")(document), key=lambda region: region.start)
    return [_block(path, document.text[: region.start], region.lexemes) for region in regions]


def _block(path: Path, above: str, lexemes: dict[str, Any]) -> Block:
    comment = _COMMENT_ABOVE.search(above)
    return Block(
        path=path,
        line=above.count("\n") + 1,
        language=lexemes["language"].strip(),
        source=str(lexemes["source"]),
        comment=comment["comment"] if comment else "",
    )


def commands(source: str) -> list[Command]:
    r"""The commands of a `console` block; a line that ends in `\` goes on in the next."""
    joined = source.replace("\\\n", "")
    typed = re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]
    return [Command(line.strip(), output) for line, _, output in (t.partition("\n") for t in typed)]


def differences(expected: str, actual: str) -> str:
    """What distinguishes two outputs, or nothing where they match."""
    want, got = (_without_trailing_blanks(text) for text in (expected, actual))
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.DONT_ACCEPT_BLANKLINE
    if checker.check_output(want, got, flags):
        return ""
    return checker.output_difference(doctest.Example("", want), got, doctest.REPORT_NDIFF)


def _without_trailing_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


class Page:
    """A document being run, block after block; `complaints` says what differs from the text.

    Args:
        runner: Where Python blocks are awaited.
        folder: Where commands run.
    """

    def __init__(self, runner: asyncio.Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self._printed = io.StringIO()

    def complaints(self, block: Block) -> Iterator[str]:
        """Run the block and yield what is wrong with it."""
        if block.not_run is not None:
            return
        if block.language == "python":
            self._run_python(block)
        elif block.language == "console":
            yield from _console_complaints(block.source, self._folder)
        elif block.comment == "output":
            yield from filter(None, [differences(block.source, self._take_printed())])

    def _run_python(self, block: Block) -> None:
        # Blank lines above the source make a traceback point into the page.
        source = "\n" * block.line + block.source
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, str(block.path), "exec", flags=flags, dont_inherit=True)
        with contextlib.redirect_stdout(self._printed):
            outcome = eval(code, self._namespace)  # noqa: S307 - the page's own code
            if inspect.iscoroutine(outcome):
                self._runner.run(outcome)

    def _take_printed(self) -> str:
        printed = self._printed.getvalue()
        self._printed.seek(0)
        self._printed.truncate()
        return printed


def linked_checkout(folder: Path) -> Path:
    """Make a folder look like the root of the checkout, and return it."""
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    return folder


def _console_complaints(source: str, folder: Path) -> Iterator[str]:
    typed = commands(source)
    for command, following in zip(typed, [*typed[1:], Command("", "")], strict=True):
        if command.line != _EXIT_STATUS:
            status = following.output.strip() if following.line == _EXIT_STATUS else "0"
            yield from _command_complaints(command, status, folder)


def _command_complaints(command: Command, status: str, folder: Path) -> Iterator[str]:
    words = shlex.split(command.line)
    program = _PROGRAMS.get(Path(words[0]).name)
    if program is None or {"|", "&&", ">", ";"} & set(words):
        yield f"`{command.line}` cannot run here: use one of {[*_PROGRAMS]}, or mark it `not run`"
        return
    ended = subprocess.run(
        [*program, *words[1:]],
        cwd=folder,
        env=os.environ | _TERMINAL,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_HANGS_AFTER,
        encoding="utf-8",
        check=False,
    )
    # As a shell has it: 128 and the number of the signal that has killed the process.
    code = ended.returncode if ended.returncode >= 0 else 128 - ended.returncode
    if status != str(code):
        yield f"`{command.line}` exited with {code}, not {status}:\n{ended.stdout}"
    elif command.output.strip() and (difference := differences(command.output, ended.stdout)):
        yield f"`{command.line}` printed something else:\n{difference}"

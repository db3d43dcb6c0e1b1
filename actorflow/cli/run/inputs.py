"""The run's inputs, as they are typed: `--input key=value` and `--input-json`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actorflow.cli.terminal.exits import Problem
from actorflow.errors.definition import MissingInput, UnknownInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan

__all__ = ["check_inputs", "read_inputs", "refuse_words"]


def refuse_words(words: Sequence[str], target: str, command: str = "run") -> None:
    """Refuse what stands on the command line without an option, and say which one it needs.

    Args:
        words: What was typed after the target.
        target: What was typed for the workflow.
        command: The command that was typed.

    Raises:
        Problem: When there is something.
    """
    if words:
        word, typed = words[0], f"actorflow {command} {shlex.quote(target)}"
        named = word if "=" in word.strip("=") else f"NAME={word}"
        cure = f"For an input, type: {typed} --input {shlex.quote(named)}"
        if word.isidentifier() and ":" not in target:
            cure += f"\nFor a workflow of {target}, type: {typed}:{word}"
        raise Problem(f"{word!r} stands without an option. {cure}")


def read_inputs(pairs: Iterable[str], documents: Iterable[str]) -> dict[str, Any]:
    """Return the inputs by name.

    Args:
        pairs: Each `key=value`; the value is a text, whatever it looks like.
        documents: Each a JSON object, `@` and the path of a file that holds one, or `-` for
            one on stdin.

    Raises:
        Problem: When one is malformed, or a name is given twice.
    """
    inputs: dict[str, Any] = {}
    given = [_pair(pair) for pair in pairs]
    for document in documents:
        given += _document(document)
    for name, value in given:
        if name in inputs:
            raise Problem(f"the input {name!r} is given twice. Give it once.")
        inputs[name] = value
    return inputs


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Problem(f"--input {text!r} is not of the form key=value. Type: --input NAME=VALUE")
    return name, value


_EXAMPLE: Final = "Type for example: --input-json '{\"n\": 3}'"
_LIKE_A_PATH: Final = re.compile(r"[\w./~-]+")
_LONGEST: Final = 60


def _document(text: str) -> list[tuple[str, Any]]:
    said = f"--input-json {_short(text)!r}"
    try:
        pairs = json.loads(_content(text), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise Problem(f"{said} is not JSON: {error}. {_instead_of(text)}".rstrip()) from None
    if not isinstance(pairs, _Pairs):
        raise Problem(f"{said} is not an object. {_EXAMPLE}")
    return [(name, _plain(value)) for name, value in pairs]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _instead_of(text: str) -> str:
    """Return what to type for what is no JSON; of a file or of stdin there is nothing to say."""
    if text == "-" or text.startswith("@"):
        return ""
    if _LIKE_A_PATH.fullmatch(text):
        return f"To read it from a file, type: --input-json @{text}"
    return _EXAMPLE


def _content(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        said = f"--input-json {text!r} cannot be read: {error.strerror}."
        raise Problem(f"{said} After the @ stands the path of a JSON file.") from error


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as they were written, also those that come twice."""


def _plain(value: object) -> object:
    if isinstance(value, _Pairs):
        plain = {name: _plain(item) for name, item in value}
        if len(plain) < len(value):
            names = [name for name, _ in value]
            twice = next(name for name in names if names.count(name) > 1)
            raise Problem(f"the key {twice!r} of an input is given twice. Give it once.")
        return plain
    return [_plain(item) for item in value] if isinstance(value, list) else value


def check_inputs(plan: WorkflowPlan, inputs: Mapping[str, Any], typed: str) -> None:
    """Refuse inputs that no step takes, and to go without those that one needs.

    Args:
        plan: The workflow.
        inputs: The inputs by name.
        typed: The command so far, to be completed in the errors.

    Raises:
        Problem: When one is missing or unknown.
    """
    try:
        plan.require(inputs)
    except MissingInput as error:
        missing = " ".join(f"--input {name}=..." for name in error.names)
        raise Problem(f"{error}\nType: {typed} {missing}") from None
    try:
        plan.recognise(inputs)
    except UnknownInput as error:
        raise Problem(str(error)) from None

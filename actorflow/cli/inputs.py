"""The inputs of a run on the command line: `--input NAME=VALUE` and `--input-json`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actorflow.cli.paths import why
from actorflow.cli.terminal.exits import Problem
from actorflow.errors.definition import MissingInput, UnknownInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan

__all__ = ["check_inputs", "read_inputs", "read_text", "reject_arguments"]


def reject_arguments(arguments: Sequence[str], target: str, command: str = "run") -> None:
    """Raise if there is an argument without an option, and suggest the option.

    Args:
        arguments: The arguments after the target.
        target: The workflow as given on the command line.
        command: The command.

    Raises:
        Problem: When there is such an argument.
    """
    if arguments:
        argument, typed = arguments[0], f"actorflow {command} {shlex.quote(target)}"
        named = argument if "=" in argument.strip("=") else f"NAME={argument}"
        cure = f"To pass an input, type: {typed} --input {shlex.quote(named)}"
        if argument.isidentifier() and ":" not in target:
            cure += f"\nTo choose a workflow of {target}, type: {typed}:{argument}"
        raise Problem(f"unexpected argument {argument!r}. {cure}")


def read_inputs(pairs: Iterable[str], documents: Iterable[str]) -> dict[str, Any]:
    """Return the inputs by name.

    Args:
        pairs: Arguments of the form `name=value`; the value is always a string.
        documents: JSON objects; each is given inline, as `@` and the path of a file, or as `-`
            for stdin.

    Raises:
        Problem: When one is malformed, or a name is given twice.
    """
    inputs: dict[str, Any] = {}
    given = [_pair(pair) for pair in pairs]
    for document in documents:
        given += _document(document)
    for name, value in given:
        if name in inputs:
            raise Problem(f"the input {name!r} is given twice. Pass it once.")
        inputs[name] = value
    return inputs


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Problem(f"--input {text!r} is not of the form NAME=VALUE. Type: --input NAME=VALUE")
    return name, value


_EXAMPLE: Final = "For example, type: --input-json '{\"n\": 3}'"
_LIKE_A_PATH: Final = re.compile(r"[\w./~-]+")
_MAX_LENGTH: Final = 60


def _document(text: str) -> list[tuple[str, Any]]:
    said = f"--input-json {_short(text)!r}"
    try:
        pairs = json.loads(read_text(text, "--input-json"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise Problem(f"{said} is not JSON: {error}. {_suggestion(text)}".rstrip()) from None
    if not isinstance(pairs, _Pairs):
        raise Problem(f"{said} is not an object. {_EXAMPLE}")
    return [(name, _plain(value)) for name, value in pairs]


def _short(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def _suggestion(text: str) -> str:
    """Suggest what to type instead of invalid JSON; empty for a file or stdin."""
    if text == "-" or text.startswith("@"):
        return ""
    if _LIKE_A_PATH.fullmatch(text):
        return f"To read it from a file, type: --input-json @{text}"
    return _EXAMPLE


def read_text(text: str, said: str) -> str:
    """Return a document that is given inline, as `@` and the path of a file, or as `-` for stdin.

    Args:
        text: As it was typed.
        said: What it is, for error texts.

    Raises:
        Problem: When it cannot be read.
    """
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Problem(f"{said} {text!r} is not a text file in UTF-8.") from error
    except (OSError, ValueError) as error:
        wrong = f"{said} {text!r} cannot be read: {why(error)}."
        raise Problem(f"{wrong} Pass the path of a JSON file after the @.") from error


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as pairs, including duplicate keys."""


def _plain(value: object) -> object:
    if isinstance(value, _Pairs):
        plain = {name: _plain(item) for name, item in value}
        if len(plain) < len(value):
            names = [name for name, _ in value]
            twice = next(name for name in names if names.count(name) > 1)
            raise Problem(f"the key {twice!r} of an input is given twice. Pass it once.")
        return plain
    return [_plain(item) for item in value] if isinstance(value, list) else value


def check_inputs(plan: WorkflowPlan, inputs: Mapping[str, Any], typed: str) -> None:
    """Raise if an input is unknown, or a required one is missing.

    Args:
        plan: The workflow's plan.
        inputs: The inputs by name.
        typed: The command line so far, for suggestions in error texts.

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

"""The run's inputs, as they are typed: `--input key=value` and `--input-json`."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorflow.cli.problems import Problem
from actorflow.errors import MissingInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorflow.plan import StepPlan, WorkflowPlan

__all__ = ["check_inputs", "read_inputs"]


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


def _document(text: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(_content(text), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise Problem(f"--input-json {text!r} is not JSON: {error}.") from None
    if not isinstance(pairs, _Pairs):
        example = "--input-json '{\"n\": 3}'"
        raise Problem(f"--input-json {text!r} is not an object. Type for example: {example}")
    return [(name, _plain(value)) for name, value in pairs]


def _content(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"--input-json {text!r} cannot be read: {error.strerror}.") from error


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
    known = (*plan.required_inputs, *plan.optional_inputs)
    # A step that takes the mapping `inputs` may look up any of them.
    if not any(_takes_all(step) for step in plan.steps):
        unknown = [name for name in inputs if name not in known]
        if unknown:
            raise Problem("\n".join(_strangers(unknown, known)))
    try:
        plan.require(inputs)
    except MissingInput as error:
        missing = " ".join(f"--input {name}=..." for name in error.names)
        raise Problem(f"{error}\nType: {typed} {missing}") from None


def _takes_all(step: StepPlan) -> bool:
    undo = step.compensation
    return step.binding.wants_inputs or (undo is not None and undo.binding.wants_inputs)


def _strangers(unknown: Iterable[str], known: Sequence[str]) -> Iterator[str]:
    for name in unknown:
        close = difflib.get_close_matches(name, known, n=1)
        cure = f" Did you mean {close[0]!r}?" if close else ""
        yield f"no step takes an input {name!r}.{cure}"
    yield f"The inputs are: {', '.join(map(repr, known)) or 'none'}."

"""Writes reference pages from the docstrings, so that the pages cannot say anything else.

    python docs/reference/generate.py

The groups of `api.md` are those of `__all__` in `actorflow/__init__.py`; those of `testing.md` are
below. Classes, fields and methods come in the order in which the source has them, and the laws in
theirs. A test compares the pages with what this program makes.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

import actorflow
from actorflow import testing
from actorflow.orchestrator.requests import RunOptions
from actorflow.run.event_stream import EventStream
from actorflow.state.sql import (
    JSONSerializer,
    PickleSerializer,
    PurgeReport,
    Serializer,
    SQLStateManager,
    StoreHealth,
)
from actorflow.testing import laws, machine, plugin, strategies

__all__ = ["TESTING_GROUPS", "pages"]

HERE = Path(__file__).parent

HEAD = """\
# API

Everything here can be imported from `actorflow`.
What can be imported from `actorflow.testing` is on [a page of its own](testing.md).
This page is made from the docstrings by `docs/reference/generate.py`.
Durations are seconds, as a number, or a `timedelta`.
"""

BEHIND = "What public methods take and return"
BEHIND_TEXT = "These two have no place in `actorflow` itself, because nobody has to import them."

DATABASES = "Runs in a database"
DATABASES_TEXT = """\
These are imported from `actorflow.state.sql`, and need the extra `sql`; see
[Keep runs in a database](../how-to/database.md)."""

# Groups whose members are made by actorflow: their fields say more than their constructors.
HAPPENED, FOUND, PYTEST = "What happened", "What a search has come to", "With pytest"
ERRORS = "Errors of simulations"
POWERS = "What a state manager may do beyond that"
GIVEN = {"Values", "What can be plugged in", POWERS, BEHIND, HAPPENED, FOUND, PYTEST, ERRORS}
NOT_MADE_BY_CALLERS = {"ActorflowWarning", "Run", "StepContext"}
WIDEST = 88

TESTING_HEAD = """\
# API of actorflow.testing

Workflows in virtual time, on every schedule there is.
Everything here can be imported from `actorflow.testing`, unless its section says otherwise.
This page is made from the docstrings by `docs/reference/generate.py`.
"""

TESTING_GROUPS: dict[str, list[str]] = {
    "Run it": ["simulate", "explore", "explore_scenarios", "Simulation"],
    "What steps do, and what goes wrong": [
        *("Script", "returns", "raises", "hangs", "real", "either", "Faults")
    ],
    "What must hold": ["law", "Law", "laws"],
    HAPPENED: [
        *("Trace", "AttemptTrace", "Outcome", "RunTrace", "DeliveryTrace", "FaultTrace", "Idle"),
        *("Leftovers", "Mutation"),
    ],
    FOUND: ["Exploration", "Spread", "Coverage", "Move"],
    "Schedules, and how they are kept": ["Tape", "Choices", "Replay", "Settings"],
    "Workflows that are made up": ["Scenario", "ScenarioStep", "ScenarioRun", "draw_scenario"],
    ERRORS: ["LawBroken", "NotEnded", "NotNow", "NotSimulated", "StoreFault"],
}

STRATEGIES_TEXT = """\
In `actorflow.testing.strategies`, which needs Hypothesis.
[Test with Hypothesis](../how-to/test-with-hypothesis.md) shows them.
"""

MACHINE_TEXT = """\
In `actorflow.testing.machine`, which needs Hypothesis.
[Let a state machine play](../how-to/let-a-state-machine-play.md) shows it.
"""

PYTEST_TEXT = """\
What the fixture `simulation` is; the plugin is there where actorflow and pytest are installed.
[Simulate in continuous integration](../how-to/simulate-in-ci.md) shows it.
"""

LAWS_HEAD = """\
# Laws

What actorflow promises of every schedule, as values that can be imported from
`actorflow.testing.laws`. `laws.ALL` has all of them, and `laws.check(trace)` holds a trace to them.
[Write a law](../how-to/write-a-law.md) adds your own.

Numbers 26 to 29 are about records: what one trace cannot show of them, because it takes two
processes, state managers are held to by
[`SharedStateManagerContract`](../how-to/write-a-state-manager.md#when-several-processes-share-it).
This page is made from the laws by `docs/reference/generate.py`.
"""


def pages() -> dict[Path, str]:
    """Return the text of each page, by where it belongs."""
    return {
        HERE / "api.md": _api(),
        HERE / "testing.md": _testing(),
        HERE / "laws.md": _laws(),
    }


def _testing() -> str:
    sections = [
        f"## {title}\n\n{_entries(title, (getattr(testing, name) for name in names))}"
        for title, names in TESTING_GROUPS.items()
    ]
    strategy = (getattr(strategies, name) for name in strategies.__all__)
    sections += [
        f"## Strategies\n\n{STRATEGIES_TEXT}\n{_entries('Strategies', strategy)}",
        f"## A state machine\n\n{MACHINE_TEXT}\n{_entries(PYTEST, [machine.SimulationMachine])}",
        f"## {PYTEST}\n\n{PYTEST_TEXT}\n{_entries(PYTEST, [plugin.Simulations])}",
    ]
    return "\n".join([TESTING_HEAD, *sections])


def _laws() -> str:
    functions = _entries("Functions", (laws.check, laws.same, laws.alike))
    return "\n".join([LAWS_HEAD, *map(_law, laws.ALL), f"## Functions\n\n{functions}"])


def _law(one: laws.Law) -> str:
    return f"## {one.number}. `{one.name}`\n\n{one.text}\n"


def _api() -> str:
    """Return the page of what can be imported from `actorflow`."""
    sections = [f"## {title}\n\n{_members(title, names)}" for title, names in _groups()]
    made = (
        *(SQLStateManager, PurgeReport, StoreHealth),
        *(Serializer, JSONSerializer, PickleSerializer),
    )
    return "\n".join(
        [
            HEAD,
            *sections,
            _appendix(DATABASES, DATABASES_TEXT, made),
            _appendix(BEHIND, BEHIND_TEXT, (RunOptions, EventStream)),
        ]
    )


def _appendix(title: str, text: str, members: tuple[Any, ...]) -> str:
    entries = "\n".join(_entry(title, it) for it in members)
    return f"## {title}\n\n{text}\n\n{entries}"


def _groups() -> Iterator[tuple[str, list[str]]]:
    """Yield the comments in `__all__`, each with the names below it."""
    listed = inspect.getsource(actorflow).partition("__all__ = [")[2].partition("\n]")[0]
    for group in re.split(r"^    # ", listed, flags=re.MULTILINE)[1:]:
        title, _, names = group.partition("\n")
        yield title, re.findall(r'"(\w+)"', names)


def _members(title: str, names: list[str]) -> str:
    return _entries(title, (getattr(actorflow, name) for name in names))


def _entries(title: str, things: Iterable[Any]) -> str:
    return "\n".join(_entry(title, it) for it in things)


def _entry(group: str, it: Any) -> str:
    if inspect.ismodule(it):
        name = it.__name__.rpartition(".")[2]
        return f"### `{name}`\n\n{_prose(it.__doc__)}\n\nThey are listed in [Laws](laws.md).\n"
    if not isinstance(it, type):
        return f"### `{it.__name__}`\n\n{_signature(it.__name__, it)}\n\n{_prose(it.__doc__)}\n"
    return _class(group, it)


def _class(group: str, cls: Any) -> str:
    made_by_callers = group not in GIVEN and cls.__name__ not in NOT_MADE_BY_CALLERS
    parts = [f"### `{cls.__name__}`", *_bases(cls)]
    if made_by_callers and cls not in {actorflow.ActorflowError, actorflow.StoreError}:
        parts.append(_signature(cls.__name__, cls))
    parts += [_prose(cls.__doc__), *_fields(cls), *_values(cls), *_methods(cls)]
    return "\n\n".join(parts) + "\n"


def _bases(cls: Any) -> Iterator[str]:
    if issubclass(cls, Exception):
        said = " and ".join(_with_article(base.__name__) for base in cls.__bases__)
        yield f"{said[0].upper()}{said[1:]}."


def _with_article(name: str) -> str:
    return f"an `{name}`" if name[0] in "AEIO" else f"a `{name}`"


# ── Members ──────────────────────────────────────────────────────────────────────────────────


def _fields(cls: Any) -> Iterator[str]:
    """Yield the list of a class's annotated fields and its properties."""
    lines = [_item(f"`{name}: {kind}`", doc) for name, kind, doc in _attributes(cls)]
    if lines:
        yield "\n".join(lines)


def _source_of(cls: type) -> ast.stmt:
    """Return the class's definition; errors name `actorflow` as their module, wherever they are."""
    for module in [it for name, it in sys.modules.items() if name.startswith("actorflow.")]:
        if vars(module).get(cls.__name__) is cls:
            for node in ast.parse(inspect.getsource(module)).body:
                if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                    return node
    return ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]


def _attributes(cls: Any) -> Iterator[tuple[str, str, str]]:
    body = _source_of(cls)
    statements = typing.cast("ast.ClassDef", body).body
    for node, following in zip(statements, [*statements[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
            yield ast.unparse(node.target), ast.unparse(node.annotation), _string(following)
        elif isinstance(node, ast.FunctionDef) and _is_property(node):
            returned = "" if node.returns is None else ast.unparse(node.returns)
            yield node.name, returned, ast.get_docstring(node) or ""


def _is_property(node: ast.FunctionDef) -> bool:
    decorators = map(ast.unparse, node.decorator_list)
    return any(name in {"property", "functools.cached_property"} for name in decorators)


def _string(node: ast.stmt | None) -> str:
    """Return the text below a field, if there is one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(str(node.value.value))
    return ""


def _values(cls: Any) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield "\n".join(f"- `{member.name}`: `{member.value!r}`" for member in cls)


def _methods(cls: Any) -> Iterator[str]:
    for name, member in vars(cls).items():
        function = member.__func__ if isinstance(member, classmethod) else member
        public = not name.startswith("_") or name == "__call__"
        if public and inspect.isfunction(function) and function.__doc__:
            yield f"#### `{cls.__name__}.{name}`"
            yield _signature(name, function)
            yield _prose(function.__doc__)


# ── Signatures ───────────────────────────────────────────────────────────────────────────────


def _signature(name: str, call: Callable[..., Any]) -> str:
    signature = inspect.signature(call)
    parameters = [p for p in signature.parameters.values() if p.name not in {"self", "cls"}]
    returned = "" if isinstance(call, type) else f" -> {_type(signature.return_annotation)}"
    arguments = list(_arguments(parameters))
    line = f"{name}({', '.join(arguments)}){returned}"
    if len(line) > WIDEST:
        rows = "".join(f"    {argument},\n" for argument in arguments)
        line = f"{name}(\n{rows}){returned}"
    asynchronous = "async " if inspect.iscoroutinefunction(call) else ""
    return f"```text\n{asynchronous}{line}\n```"


def _arguments(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """Yield the parameters as they are written, with the marks between their kinds."""
    before = None
    for parameter in parameters:
        if before is parameter.POSITIONAL_ONLY is not parameter.kind:
            yield "/"
        stars_before = {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}
        if parameter.kind is parameter.KEYWORD_ONLY and before not in stars_before:
            yield "*"
        before = parameter.kind
        yield _argument(parameter)
    if before is inspect.Parameter.POSITIONAL_ONLY:
        yield "/"


def _argument(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
    return f"{stars}{parameter.name}: {_type(parameter.annotation)}{default}"


def _default(value: Any) -> str:
    """Write a default so that it is short, and the same whenever the page is made."""
    if value is laws.ALL:
        return "laws.ALL"
    return "..." if value is attrs.NOTHING or " at 0x" in repr(value) else repr(value)


def _type(annotation: Any) -> str:
    """Write an annotation the way the source does; most are texts already."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    alternatives = typing.get_args(annotation)
    if alternatives:
        return " | ".join(_type(alternative) for alternative in alternatives)
    return "None" if annotation is type(None) else str(annotation.__name__)


# ── Docstrings ───────────────────────────────────────────────────────────────────────────────


def _prose(docstring: str | None) -> str:
    """Turn a docstring's sections into lists."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs)


def _paragraph(text: str) -> str:
    section = re.match(r"(Args|Raises):\n", text)
    if section is None:
        return text
    body = textwrap.dedent(text[section.end() :])
    items = re.split(r"^(?=\S)", body, flags=re.MULTILINE)[1:]
    listed = (_item(f"`{name}`", said) for name, _, said in (i.partition(": ") for i in items))
    return f"{section[1]}:\n\n" + "\n".join(listed)


def _item(name: str, said: str) -> str:
    first, *more = said.split("\n\n")
    lines = [f"- {name}: {' '.join(first.split())}" if first else f"- {name}"]
    return "\n\n".join([*lines, *(textwrap.indent(_paragraph(text), "  ") for text in more)])


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")

"""What actors say to each other: small, closed, and changed by nobody.

mypy holds the messages to be frozen; at run time they are plain, because about eight are made
for every step. What can be checked here is that nobody adds to them, and that nothing in the
package writes to one.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import attrs
import pytest

import actorflow
from actorflow.model import families, mailing, messages

PACKAGE = Path(actorflow.__file__).parent
CLASSES = [
    getattr(module, name)
    for module in (families, mailing, messages)
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
]
FIELDS = {field.name for message in CLASSES for field in attrs.fields(message)}

every_message = pytest.mark.parametrize("message", CLASSES, ids=lambda one: one.__name__)


def made(message):
    """A message whose fields hold texts."""
    return message(*[field.name for field in attrs.fields(message)])


@every_message
def test_a_message_takes_no_attribute_that_it_has_not(message):
    """It has slots and no dictionary."""
    with pytest.raises(AttributeError):
        made(message).other = 1

    assert not hasattr(made(message), "__dict__")


@every_message
def test_messages_are_not_compared(message):
    """Equality would look into the program's own values, and may be slow or raise."""
    one = made(message)

    assert one == one  # noqa: PLR0124 - the claim
    assert one != made(message)
    assert hash(one) != hash(made(message))


@every_message
def test_a_message_says_who_says_it_to_whom(message):
    """In the first words of its docstring."""
    assert " to " in inspect.getdoc(message).split(":")[0]


@pytest.mark.parametrize("module", [messages, families])
def test_every_message_is_public(module):
    """None is known to a part of the actors only."""
    found = {
        name
        for name, one in vars(module).items()
        if isinstance(one, type) and attrs.has(one) and one.__module__ == module.__name__
    }

    assert found == {name for name in module.__all__ if inspect.isclass(getattr(module, name))}


def written(path):
    """The attributes of names called `message` (and the like) that a module writes to."""
    tree = ast.parse(path.read_text("utf-8"))
    targets = [
        target
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete)
        for target in getattr(node, "targets", [getattr(node, "target", None)])
    ]
    flat = [one for target in targets for one in ast.walk(target) if _is_written(one)]
    return [
        f"{path.name}:{one.lineno} {ast.unparse(one)}"
        for one in flat
        if isinstance(one.value, ast.Name) and one.value.id in RECEIVED and one.attr in FIELDS
    ]


def _is_written(node):
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)


RECEIVED = {"message", "_message", "completed", "finished", "settled", "lost", "outcome", "start"}
"""What handlers call the messages that they get."""


def test_nobody_writes_to_a_message():
    """A message is read by whoever gets it, and by several."""
    assert [] == [place for path in sorted(PACKAGE.rglob("*.py")) for place in written(path)]


def test_the_search_finds_a_write(tmp_path):
    """Else the claim above could not fail."""
    guilty = tmp_path / "guilty.py"
    guilty.write_text("def f(message):\n    message.attempt = None\n    message.output += 1\n")

    assert ["guilty.py:2 message.attempt", "guilty.py:3 message.output"] == written(guilty)

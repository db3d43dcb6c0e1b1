"""The options of a step: each is declared once, as a field of `Step`, and read from there.

The field gives the option's type, default and check. Its metadata holds an `Option` with the
facts that other modules need: the builder, the fingerprint, compensators, listings of a workflow,
replay files and made-up workflows.

To add an option:

1. Declare the field of `Step`, and its type in `StepOptions`, which stands next to it.
2. Write the method of `StepBuilder` that the declaration names.
3. If made-up workflows vary it, give `ScenarioStep` a field for it.

Type checkers need `StepOptions`, the method and the field of `ScenarioStep` written out.
tests/test_options.py compares them with the declaration.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Option", "declared_options", "fingerprinted", "inherited", "option", "phrases"]

_KEY: Final = "actorflow.option"


@attrs.frozen(kw_only=True)
class Option:
    """The facts about one option. A fact without a default must be stated for each."""

    builder: str | None
    """The method of `StepBuilder` that sets it. None: the builder's constructor takes it."""
    inherited: bool
    """Whether a compensator that is a bare function takes it from its step."""
    phrase: str | None
    """A format string that shows a value in a listing of the workflow, unless the value is the
    default. None: the listing shows the option in another way, or not at all."""
    scenario: tuple[Any, ...] | str | None
    """The values that a made-up workflow chooses from, the plainest first: `ScenarioStep` has a
    field of the same name. Or the name of the field that stands for the option there in a way
    of its own. None: made-up workflows leave it at its default."""
    changes_nothing: bool = False
    """Whether it changes no outcome: only people read it, or it is a hint. A fingerprint covers all
    other options."""
    replayed: bool = attrs.field()
    """Whether a replay file holds it, so that a later change of the step can be reported."""

    @replayed.default
    def _is_simulated(self) -> bool:
        return self.scenario is not None


def option(builder: str | None, **facts: Any) -> dict[str, Option]:
    """Return the metadata of a field that is an option; the facts are those of `Option`."""
    return {_KEY: Option(builder=builder, **facts)}


def declared_options(cls: type[Any]) -> Mapping[str, Option]:
    """Return the options that an attrs class declares, by name, in the order of its fields."""
    fields = attrs.fields(cls)
    return MappingProxyType({f.name: f.metadata[_KEY] for f in fields if _KEY in f.metadata})


def fingerprinted(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields of an attrs class that a fingerprint covers."""
    fields = [field for field in attrs.fields(cls) if field.eq]
    return tuple(field.name for field in fields if not _changes_nothing(field))


def _changes_nothing(field: attrs.Attribute[Any]) -> bool:
    return _KEY in field.metadata and field.metadata[_KEY].changes_nothing


def inherited(step: Any) -> dict[str, Any]:
    """Return the options that a compensator takes from its step, with their values."""
    options = declared_options(type(step))
    return {name: getattr(step, name) for name, one in options.items() if one.inherited}


def phrases(step: Any) -> Iterator[str]:
    """Yield a phrase for each option that is not at its default, in the order of the fields."""
    fields = attrs.fields(type(step))
    for name, one in declared_options(type(step)).items():
        value, default = getattr(step, name), getattr(fields, name).default
        if one.phrase is not None and _differs(value, default):
            yield one.phrase.format(value)


def _differs(value: object, default: object) -> bool:
    # A compensator belongs to the user, and comparing it may do anything.
    return value is not default and (default is None or value != default)

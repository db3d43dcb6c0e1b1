"""Scripts as plain values for JSON, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors.definition import DefinitionError
from actorflow.support.class_names import find_class, public_name
from actorflow.support.safe_text import text_of
from actorflow.testing.simulation.behaviours import (
    OF_ITSELF,
    ChildCall,
    Either,
    Hangs,
    Raises,
    Real,
    Waiting,
    either,
    hangs,
    raises,
    real,
    returns,
)
from actorflow.testing.simulation.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorflow.testing.simulation.behaviours import Behaviour

__all__ = ["encoded_script", "plain_json", "script_of"]

_Plain = dict[str, Any]
_PLAIN_CURE: Final = "Give plain values, or keep only the tape: Tape.save() writes it"


def plain_json(value: Any, what: str) -> Any:
    """Return a value as JSON returns it, if it is unchanged.

    Raises:
        DefinitionError: When JSON cannot hold the value; the error names it by `what`.
    """
    try:
        same = json.loads(json.dumps(value))
        alike = bool(same == value)
    except Exception as error:  # a user's value may fail in any way
        raise _refusal(what, value) from error
    if not alike:
        raise _refusal(what, value)
    return same


def _refusal(what: str, value: object) -> DefinitionError:
    return DefinitionError(None, f"JSON cannot hold {what}, {text_of(value)}", _PLAIN_CURE)


# ── Encoding ─────────────────────────────────────────────────────────────────────────────────


def encoded_script(script: Script) -> _Plain:
    """Return a script as plain values for JSON.

    Raises:
        DefinitionError: When JSON cannot hold one of its values or errors.
    """
    said = {"steps": _lines(script.steps), "default": list(map(_encoded, script.default))}
    if script.compensators:
        said["compensators"] = _lines(script.compensators)
    return said


def _lines(script: Mapping[str, Sequence[Behaviour]]) -> _Plain:
    return {step_id: list(map(_encoded, line)) for step_id, line in script.items()}


def _encoded(behaviour: Behaviour) -> _Plain:
    if isinstance(behaviour, Either):
        return {"does": "either", "of": list(map(_encoded, behaviour.behaviours))}
    if isinstance(behaviour, Waiting):
        if any(isinstance(wait, ChildCall) for wait in behaviour.waits):
            raise _refusal("a child that a step runs", behaviour)
        waits = [attrs.asdict(wait, filter=_is_given) for wait in behaviour.waits]
        return {"does": "waiting", "before": _encoded(behaviour.behaviour), "waits": waits}
    if isinstance(behaviour, Hangs):
        return {"does": "hangs", "stubborn": behaviour.stubborn}
    if isinstance(behaviour, Real):
        return {"does": "real", "after": behaviour.after}
    if isinstance(behaviour, Raises):
        return {"does": "raises", "after": behaviour.after, **_encoded_error(behaviour.error)}
    value = behaviour.value
    encoded = {} if value is OF_ITSELF else {"value": plain_json(value, "what a step returns")}
    return {"does": "returns", "after": behaviour.after, **encoded}


def _is_given(field: attrs.Attribute[Any], value: object) -> bool:
    return field.name != "message" or value is not None


def _encoded_error(error: BaseException | type[BaseException]) -> _Plain:
    kind = error if isinstance(error, type) else type(error)
    named = public_name(kind)
    if _found(named) is not kind:
        raise DefinitionError(None, f"{named} names another class than the one raised", _PLAIN_CURE)
    if isinstance(error, type):
        return {"error": named}
    return {"error": named, "arguments": plain_json(list(error.args), f"the arguments of {named}")}


# ── Decoding ─────────────────────────────────────────────────────────────────────────────────


def script_of(said: Mapping[str, Any]) -> Script:
    """Return the script that plain values from JSON describe.

    Raises:
        DefinitionError: When they describe none.
    """
    try:
        return Script(
            _behaviours(said["steps"]),
            compensators=_behaviours(said.get("compensators", {})),
            default=[_behaviour(one) for one in said["default"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"{said!r} is not a script: {error!r}"
        raise DefinitionError(None, problem, "Save it again") from error


def _behaviours(said: Mapping[str, Any]) -> dict[str, list[Behaviour]]:
    return {step_id: [_behaviour(one) for one in line] for step_id, line in said.items()}


def _behaviour(said: Mapping[str, Any]) -> Behaviour:
    return _MAKERS[said["does"]](said)


def _returned(said: Mapping[str, Any]) -> Behaviour:
    return returns(said.get("value", OF_ITSELF), said["after"])


def _raised(said: Mapping[str, Any]) -> Behaviour:
    kind = _found(said["error"])
    # The file decides what is called here, so only exception classes are called.
    if "arguments" not in said or not _is_error(kind):
        return raises(kind, said["after"])
    return raises(kind(*said["arguments"]), said["after"])


def _waiting(said: Mapping[str, Any]) -> Behaviour:
    behaviour: Any = _behaviour(said["before"])
    for wait in said["waits"]:
        if "message" in wait:
            behaviour = behaviour.receiving(wait["message"], wait["seconds"], wait["then"])
        else:
            behaviour = behaviour.waiting(wait["seconds"], wait["then"], ends=wait["ends"])
    waiting: Behaviour = behaviour
    return waiting


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Behaviour]]] = {
    "returns": _returned,
    "raises": _raised,
    "hangs": lambda said: hangs(stubborn=said["stubborn"]),
    "waiting": _waiting,
    "real": lambda said: real(said["after"]),
    "either": lambda said: either(*map(_behaviour, said["of"])),
}


def _found(named: str) -> Any:
    """Return the class for a module and a name in it, as in `builtins:ValueError`.

    The name may come from a file of another author, so its module is not imported.
    """
    found = find_class(named)
    if found is None:
        problem = f"{named}, which the script raises, was not found in the loaded modules"
        cure = "Define it in the module of the workflow, or import its module there"
        raise DefinitionError(None, problem, cure)
    return found

"""Scripts as JSON, and back.

What JSON has no form for is refused rather than written as something like it: whoever reads the
file back is to have the same script, or none.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors import DefinitionError
from actorflow.testing.scripts import (
    OF_ITSELF,
    Behaviour,
    Either,
    Hangs,
    Raises,
    Real,
    Returns,
    Script,
)
from actorflow.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_json_value", "read_script", "written_script"]

_CURE: Final = "Keep the tape by itself: trace.tape.save(PATH)"


def as_json_value(what: str, value: Any) -> Any:
    """Return a value if JSON gives it back as it is.

    Args:
        what: What the error calls it.
        value: The value.

    Raises:
        DefinitionError: When JSON has no form for it, or another one.
    """
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        problem = f"{what} is {text_of(value)}, which JSON would not give back as it is"
        raise DefinitionError(None, problem, _CURE)
    return value


def written_script(script: Script) -> dict[str, Any]:
    """Return a script in terms of what JSON has.

    Raises:
        DefinitionError: When it returns or raises what JSON has no form for.
    """
    return {
        "steps": {step_id: _written_line(line) for step_id, line in script.steps.items()},
        "default": _written_line(script.default),
    }


def read_script(said: Any) -> Script:
    """Return the script that `written_script` has written.

    Raises:
        DefinitionError: When it was written by something else.
    """
    try:
        steps = {step_id: _read_line(line) for step_id, line in said["steps"].items()}
        return Script(steps, default=_read_line(said["default"]))
    except (AttributeError, ImportError, KeyError, TypeError, ValueError) as error:
        problem = f"a replay file holds a script that cannot be read: {text_of(error)}"
        raise DefinitionError(None, problem, "Save one anew") from error


# ── Behaviours ───────────────────────────────────────────────────────────────────────────────


def _written_line(line: Sequence[Behaviour]) -> list[dict[str, Any]]:
    return [_written(behaviour) for behaviour in line]


def _read_line(said: Any) -> list[Behaviour]:
    return [_read(**fields) for fields in said]


def _written(behaviour: Behaviour) -> dict[str, Any]:
    if isinstance(behaviour, Returns):
        if behaviour.value is OF_ITSELF:
            return {"does": "return", "after": behaviour.after}
        value = as_json_value("what a step returns", behaviour.value)
        return {"does": "return", "value": value, "after": behaviour.after}
    if isinstance(behaviour, Raises):
        return {"does": "raise", **_written_error(behaviour.error), "after": behaviour.after}
    if isinstance(behaviour, Hangs):
        return {"does": "hang", "stubborn": behaviour.stubborn}
    if isinstance(behaviour, Real):
        return {"does": "the real thing", "after": behaviour.after}
    return {"does": "one of", "choices": _written_line(behaviour.behaviours)}


def _read(does: str, **fields: Any) -> Behaviour:
    if does == "return":
        return Returns(fields.get("value", OF_ITSELF), fields["after"])
    if does == "raise":
        return Raises(_read_error(fields), fields["after"])
    if does == "hang":
        return Hangs(fields["stubborn"])
    if does == "the real thing":
        return Real(fields["after"])
    if does == "one of":
        return Either(tuple(_read_line(fields["choices"])))
    raise ValueError(f"no step {does}s")


def _written_error(error: BaseException | type[BaseException]) -> dict[str, Any]:
    kind = error if isinstance(error, type) else type(error)
    place = {"error": f"{kind.__module__}:{kind.__qualname__}"}
    if _found(place["error"]) is not kind:
        problem = f"what a step raises is {kind.__name__}, which no module has by that name"
        raise DefinitionError(None, problem, _CURE)
    if isinstance(error, type):
        return place
    return {**place, "of": as_json_value(f"what {kind.__name__} is made of", list(error.args))}


def _read_error(fields: dict[str, Any]) -> BaseException | type[BaseException]:
    kind = _found(fields["error"])
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise TypeError(f"{fields['error']} is no exception")
    return kind(*fields["of"]) if "of" in fields else kind


def _found(place: str) -> Any:
    """Return what stands at `module:Name.Name`, or None if nothing does."""
    module, _, names = place.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    return found

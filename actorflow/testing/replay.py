"""Files by which a schedule is replayed: the tape, and all that it was a schedule of.

`actorflow replay FILE` loads one. Every such file is a tape as well: `Tape.load` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import DefinitionError
from actorflow.testing.cases import Given
from actorflow.testing.encoding import encoded_script, plain_json, script_of
from actorflow.testing.faults import Faults
from actorflow.testing.scripts import Script
from actorflow.testing.tape import Tape
from actorflow.testing.trace import PLAIN_SETTINGS, Settings

if TYPE_CHECKING:
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.testing.trace import Trace
    from actorflow.workflow import Workflow

__all__ = ["Replay"]

_ANEW: Final = "Save one anew"


@attrs.frozen(kw_only=True)
class Replay:
    """One schedule of one run, and everything that is needed to see it again."""

    tape: Tape
    """What was chosen."""
    flow: str | None = None
    """Where the workflow is, as the command line takes it: FILE:NAME. None when it is not to be
    found under any name, such as one that a test has made for itself."""
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    """The run's inputs."""
    script: Script = attrs.field(factory=Script)
    """What the steps do."""
    settings: Settings = PLAIN_SETTINGS
    """How many steps run at once, how much may go wrong, and so on."""
    cancel_at: float | None = None
    """The virtual moment at which the run is cancelled."""
    options: RunOptions = attrs.field(factory=dict)  # type: ignore[assignment] # an empty one
    """Of the run, as for `Orchestrator.run`."""
    law: str = ""
    """Which law the schedule breaks, for whoever reads the file."""

    @classmethod
    def of(cls, case: Given, tape: Tape, *, flow: str | None, law: str = "") -> Replay:
        """Return what replays one schedule of a case."""
        return cls(
            tape=tape,
            flow=flow,
            inputs=case.inputs or {},
            script=Script() if case.script is None else case.script,
            settings=case.settings,
            cancel_at=case.cancel_at,
            options=case.options,
            law=law,
        )

    def simulate(self, flow: Workflow) -> Trace:
        """Let the schedule happen again; `flow` is the workflow that is to be found at `flow`."""
        case = Given(
            flow=flow,
            inputs=self.inputs,
            script=self.script,
            settings=self.settings,
            cancel_at=self.cancel_at,
            options=self.options,
        )
        return case.simulate(self.tape)

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> str:
        """Return it as JSON.

        Raises:
            DefinitionError: When an input, an option, a value or an error of the script is not
                what JSON can hold.
        """
        said = json.loads(self.tape.to_json()) | {
            "law": self.law,
            "flow": self.flow,
            "inputs": plain_json(dict(self.inputs), "the inputs"),
            "script": encoded_script(self.script),
            "settings": attrs.asdict(self.settings),
            "cancel_at": self.cancel_at,
            "options": plain_json(dict(self.options), "the run's options"),
        }
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in said.items())
        return "{\n" + ",\n".join(lines) + "\n}"

    @classmethod
    def from_json(cls, text: str) -> Replay:
        """Return what JSON holds; of a bare tape, a schedule without script and settings.

        Raises:
            DefinitionError: When it holds neither.
        """
        tape, said = Tape.from_json(text), json.loads(text)
        return cls(
            tape=tape,
            flow=said.get("flow"),
            inputs=_mapping(said, "inputs"),
            script=script_of(said["script"]) if "script" in said else Script(),
            settings=_settings(_mapping(said, "settings")),
            cancel_at=said.get("cancel_at"),
            options=_mapping(said, "options"),
            law=said.get("law", ""),
        )

    def save(self, path: str | Path) -> None:
        """Write it into a file, as JSON.

        Raises:
            DefinitionError: As `to_json`.
        """
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        """Return what a file holds.

        Raises:
            DefinitionError: When it holds nothing that can be replayed.
        """
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _mapping(said: Mapping[str, Any], name: str) -> Any:
    value = said.get(name, {})
    if not isinstance(value, Mapping):
        raise DefinitionError(None, f"{name} of a replay is {value!r}", _ANEW)
    return value


def _settings(said: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**{**said, "faults": Faults(**said.get("faults", {}))})
    except TypeError as error:
        raise DefinitionError(None, f"settings of a replay are {said!r}: {error}", _ANEW) from error

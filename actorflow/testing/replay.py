"""Replay files: a tape, and everything that it was a schedule of.

`actorflow replay FILE` loads one. Every such file is also a tape: `Tape.load` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.options import declared_options
from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.orchestrator.requests import RunOptions
from actorflow.testing.laws import FORMER_NAMES
from actorflow.testing.script_files import encoded_script, plain_json, script_of
from actorflow.testing.search.cases import Given, as_cancel_at
from actorflow.testing.simulation.behaviours import Either, Real
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.settings import PLAIN_SETTINGS, Faults, Settings
from actorflow.testing.simulation.tape import BOM, Tape, loaded
from actorflow.testing.trace.labels import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.testing.simulation.behaviours import Behaviour
    from actorflow.testing.trace.trace import Trace

__all__ = ["Replay"]

_CURE: Final = "Save it again"
_BODIES: Final = 2
"""How real coroutine steps run. In files without a number it is 1: starting one ran whatever was
ready on the event loop first, so the choices of such a schedule mean something else."""
_REPLAYED: Final = {
    name: getattr(attrs.fields(Step), name).default
    for name, option in declared_options(Step).items()
    if option.replayed
}
"""The options that a file holds of each step, with their defaults."""


@attrs.frozen(kw_only=True)
class Replay:
    """One schedule of one run, and everything needed to replay it."""

    tape: Tape
    """The choices."""
    flow: str | None = None
    """The location of the workflow, as the command line takes it: FILE:NAME. None when the workflow
    has no global name, such as one created inside a test."""
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    """The run's inputs."""
    script: Script = attrs.field(factory=Script)
    """What the steps do."""
    settings: Settings = PLAIN_SETTINGS
    """How many steps run at once, how many faults may happen, and so on."""
    cancel_at: float | None = attrs.field(default=None, converter=as_cancel_at)
    """The virtual moment at which the run is cancelled."""
    options: RunOptions = attrs.field(factory=dict)  # type: ignore[assignment] # an empty TypedDict
    """Options of the run, as for `Orchestrator.run`."""
    law: str = ""
    """The name of the law that the schedule breaks."""
    workflow_id: str | None = None
    """The workflow's id. A schedule of one workflow cannot be replayed on another."""
    shape: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """The definitions of the steps, by id, to tell what has changed since."""
    hash: str | None = None
    """The hash of the trace, if known, to tell whether a replay was identical."""
    bodies: int = _BODIES
    """A number for the way in which real coroutine steps run. A schedule with such steps can be
    replayed only in the way in which it was recorded."""

    @classmethod
    def of(
        cls,
        case: Given,
        tape: Tape,
        *,
        flow: str | None,
        law: str = "",
        trace: Trace | None = None,
    ) -> Replay:
        """Return the replay of one schedule of a case.

        Args:
            case: What was run, such as the `case` of an `Exploration`.
            tape: The schedule.
            flow: The location of the workflow, as the command line takes it.
            law: The name of the law that breaks.
            trace: The trace of the schedule.
        """
        plan = case.flow.plan()
        return cls(
            workflow_id=plan.workflow_id,
            shape=_shape_of(plan),
            hash=None if trace is None else trace.hash,
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
        """Simulate the schedule again.

        A workflow that has been changed makes the same choices, as far as it still has them.

        Args:
            flow: The workflow from the location `flow`.

        Raises:
            DefinitionError: When it is another workflow, the script names a step that no longer
                exists, or an earlier version recorded a schedule with real coroutine steps.
            MissingInput: When a step needs an input that is not given.
        """
        if self.workflow_id not in {None, flow.id}:
            problem = f"the schedule belongs to workflow {self.workflow_id!r}, not to this one"
            cure = f"Replay it on workflow {self.workflow_id!r}"
            raise DefinitionError(flow.id, problem, cure)
        if self.bodies != _BODIES:
            self._refuse_bodies(flow.plan())
        case = Given(
            flow=flow,
            inputs=self.inputs,
            script=self.script,
            settings=self.settings,
            cancel_at=self.cancel_at,
            options=self.options,
        )
        return case.simulate(self.tape)

    def _refuse_bodies(self, plan: WorkflowPlan) -> None:
        """Refuse to replay real coroutine steps that would run in another way than recorded."""
        names = ", ".join(map(repr, _real_steps(self.script, plan, only_coroutines=True)))
        if names:
            problem = f"another version recorded the schedule, and ran {names} in another way"
            cure = "Search again with this version, and save what it finds"
            raise DefinitionError(plan.workflow_id, problem, cure)

    def real_steps(self, flow: Workflow) -> list[str]:
        """Return the ids of the steps whose functions, or compensators, a replay may call.

        It is empty for another workflow, which `simulate` refuses.
        """
        if self.workflow_id not in {None, flow.id}:
            return []
        return list(_real_steps(self.script, flow.plan()))

    def changes(self, flow: Workflow) -> list[str]:
        """Return what has changed in the workflow since, one string per change."""
        return list(_changes(self.shape, _shape_of(flow.plan()))) if self.shape else []

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> str:
        """Return the replay as JSON.

        Raises:
            DefinitionError: When JSON cannot hold an input, an option, or a value or error of the
                script.
        """
        said = json.loads(self.tape.to_json()) | {
            "law": self.law,
            "workflow_id": self.workflow_id,
            "flow": self.flow,
            "inputs": plain_json(dict(self.inputs), "the inputs"),
            "script": encoded_script(self.script),
            "settings": attrs.asdict(self.settings),
            "cancel_at": self.cancel_at,
            "options": plain_json(dict(self.options), "the run's options"),
            "shape": self.shape,
            "hash": self.hash,
            "bodies": self.bodies,
        }
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in said.items())
        return "{\n" + ",\n".join(lines) + "\n}"

    @classmethod
    def from_json(cls, text: str) -> Replay:
        """Return the replay in a JSON string; a bare tape gives one without script and settings.

        A former name of a law is replaced by the current one.

        Raises:
            DefinitionError: When the string holds neither a replay nor a tape.
        """
        tape, said = Tape.from_json(text), json.loads(text.removeprefix(BOM))
        law = _text(said, "law", "")
        return cls(
            tape=tape,
            flow=_text(said, "flow", None),
            inputs=_mapping(said, "inputs"),
            script=script_of(said["script"]) if "script" in said else Script(),
            settings=_settings(_mapping(said, "settings")),
            cancel_at=said.get("cancel_at"),
            options=_options(_mapping(said, "options")),
            law=FORMER_NAMES.get(law, law),
            workflow_id=_text(said, "workflow_id", None),
            shape=_shape(_mapping(said, "shape")),
            hash=_text(said, "hash", None),
            bodies=_number(said, "bodies", 1 if "script" in said else _BODIES),
        )

    def save(self, path: str | Path) -> None:
        """Write the replay to a file, as JSON.

        Raises:
            DefinitionError: As `to_json`.
        """
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        """Return the replay in a file.

        Raises:
            DefinitionError: When the file does not hold a schedule.
        """
        return loaded(path, cls.from_json)


def _mapping(said: Mapping[str, Any], name: str) -> Any:
    value = said.get(name, {})
    if not isinstance(value, Mapping):
        raise DefinitionError(None, f"{name} of a replay is {value!r}", _CURE)
    return value


def _text(said: Mapping[str, Any], name: str, usual: str | None) -> Any:
    value = said.get(name, usual)
    if value != usual and not isinstance(value, str):
        raise DefinitionError(None, f"{name} of a replay is {value!r}", _CURE)
    return value


def _number(said: Mapping[str, Any], name: str, usual: int) -> int:
    value = said.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DefinitionError(None, f"{name} of a replay is {value!r}", _CURE)
    return value


def _options(said: Mapping[str, Any]) -> Any:
    for name in said:
        if name not in RunOptions.__annotations__:
            raise DefinitionError(None, f"options of a replay hold {name!r}", _CURE)
    return said


def _shape(said: Mapping[str, Any]) -> Mapping[str, Any]:
    if not all(isinstance(step, Mapping) for step in said.values()):
        raise DefinitionError(None, f"shape of a replay is {said!r}", _CURE)
    return said


def _settings(said: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**{**said, "faults": Faults(**said.get("faults", {}))})
    except TypeError as error:
        raise DefinitionError(None, f"settings of a replay are {said!r}: {error}", _CURE) from error


def _real_steps(
    script: Script, plan: WorkflowPlan, *, only_coroutines: bool = False
) -> Iterator[str]:
    """Yield the ids of the steps whose functions the script calls."""
    for step in plan.steps:
        undo = step.compensation
        lines = [(step.is_coroutine, script.steps.get(step.id, script.default))]
        if undo is not None:
            undoing = script.compensators.get(step.id, script.default)
            lines.append((undo.is_coroutine, undoing))
        if any(
            (coroutine or not only_coroutines) and any(map(_is_real, line))
            for coroutine, line in lines
        ):
            yield step.id


def _is_real(behaviour: Behaviour) -> bool:
    if isinstance(behaviour, Either):
        return any(map(_is_real, behaviour.behaviours))
    return isinstance(behaviour, Real)


# ── Shapes ───────────────────────────────────────────────────────────────────────────────────


def _shape_of(plan: WorkflowPlan) -> dict[str, dict[str, Any]]:
    """Return the definition of each step, as plain values for JSON."""
    return {
        step.id: {name: _plainly(getattr(step.step, name)) for name in _REPLAYED}
        for step in plan.steps
    }


def _plainly(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return list(value) if isinstance(value, tuple) else plain(value)


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"step {step_id!r} is gone" for step_id in before if step_id not in now)
    for step_id, shape in now.items():
        if step_id not in before:
            yield f"step {step_id!r} is new"
            continue
        for name, value in shape.items():
            # A file that is older than an option does not hold it.
            was = before[step_id].get(name, _plainly(_REPLAYED[name]))
            if was != value:
                yield f"{name} of step {step_id!r} is {value}, and was {was}"

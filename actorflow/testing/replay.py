"""A schedule that has been kept: all that it takes to see it again, in another process.

A tape alone chooses; it does not say of what. A replay does: it knows the workflow by the name
that a command line has for it, the inputs, what the steps do, the settings, and which law broke.
It is a file of JSON, made by whoever finds a schedule that breaks a law, and read by
`actorflow replay`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import DefinitionError
from actorflow.testing.cases import Given
from actorflow.testing.encoding import as_json_value, read_script, written_script
from actorflow.testing.faults import Faults
from actorflow.testing.labels import plain
from actorflow.testing.scripts import Script
from actorflow.testing.tape import Tape
from actorflow.testing.trace import PLAIN_SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.plan import StepPlan, WorkflowPlan
    from actorflow.testing.errors import LawBroken
    from actorflow.testing.trace import Trace
    from actorflow.workflow import Workflow

__all__ = ["Replay", "shape_of"]

_FORMAT: Final = 1
_AS_THEY_ARE: Final = (
    "flow",
    "workflow_id",
    "law",
    "inputs",
    "options",
    "cancel_at",
    "shape",
    "hash",
)
"""The fields that are in the file under their names and as they are."""
_SHAPE: Final = ("after", "async_", "timeout", "total_timeout", "retry", "required", "priority")


@attrs.frozen(kw_only=True)
class Replay:
    """A schedule of a workflow that can be found again.

    Made with `of`, kept with `save`, and read with `load` or by the command `actorflow replay`.
    """

    flow: str
    """Where the workflow stands: `FILE:NAME` or `package.module:NAME`."""
    tape: Tape
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    script: Script = attrs.field(factory=Script, eq=plain)
    settings: Settings = PLAIN_SETTINGS
    cancel_at: float | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Of the run."""
    law: str | None = None
    """The name of the law that the schedule breaks."""
    workflow_id: str
    shape: Mapping[str, Mapping[str, Any]]
    """How the steps were defined, by id: to tell what has been changed since."""
    hash: str
    """Of the trace."""

    @classmethod
    def of(cls, flow: str, case: Given, trace: Trace, broken: LawBroken | None = None) -> Replay:
        """Return what is to be kept of a schedule.

        Args:
            flow: Where the workflow stands: `FILE:NAME` or `package.module:NAME`.
            case: What was run; the `case` of an `Exploration`.
            trace: How it went.
            broken: The law that it breaks.
        """
        plan = case.flow.plan()
        return cls(
            flow=flow,
            tape=trace.tape,
            inputs=dict(case.inputs or {}),
            script=Script() if case.script is None else case.script,
            settings=case.settings,
            cancel_at=case.cancel_at,
            options=dict(case.options),
            law=None if broken is None else broken.name,
            workflow_id=plan.workflow_id,
            shape=shape_of(plan),
            hash=trace.hash,
        )

    def simulate(self, flow: Workflow) -> Trace:
        """Run the workflow on the schedule once more.

        A workflow that has been changed runs on the same choices, as far as it still has them.

        Raises:
            DefinitionError: When the tape is another workflow's, or the script names a step that
                is no longer there.
            MissingInput: When a step wants an input that is not there.
        """
        if flow.id != self.workflow_id:
            problem = f"the schedule is one of workflow {self.workflow_id!r}, not of this one"
            raise DefinitionError(flow.id, problem, f"Replay it on {self.flow}")
        options: Any = self.options
        given = Given(
            flow=flow,
            inputs=self.inputs,
            script=self.script,
            settings=self.settings,
            cancel_at=self.cancel_at,
            options=options,
        )
        return given.simulate(self.tape)

    def changes(self, flow: Workflow) -> list[str]:
        """Return what has been changed in the workflow since, a text each."""
        return list(_changes(self.shape, shape_of(flow.plan())))

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> str:
        """Return it as JSON.

        Raises:
            DefinitionError: When an input, or what the script returns, has no form there.
        """
        for name, value in {**self.inputs, **self.options}.items():
            as_json_value(f"the input or option {name!r}", value)
        said = {
            "actorflow_replay": _FORMAT,
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
            "script": written_script(self.script),
            "settings": attrs.asdict(self.settings),
            "choices": {label: list(stream) for label, stream in self.tape.streams.items()},
        }
        return json.dumps(said, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Replay:
        """Return what JSON holds.

        Raises:
            DefinitionError: When it holds no replay.
        """
        said = _document(text)
        try:
            known = dict(said["settings"])
            settings = Settings(**{**known, "faults": Faults(**known["faults"])})
            same = {name: said[name] for name in _AS_THEY_ARE}
            tape, script = Tape(said["choices"]), read_script(said["script"])
        except (KeyError, TypeError, ValueError) as error:
            problem = f"a replay lacks something, or has too much: {error!r}"
            raise DefinitionError(None, problem, "Save one anew") from error
        return cls(tape=tape, script=script, settings=settings, **same)

    def save(self, path: str | Path) -> None:
        """Write it into a file, as JSON.

        Raises:
            DefinitionError: When an input, or what the script returns, has no form there.
        """
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        """Return what a file holds.

        Raises:
            DefinitionError: When it holds no replay.
        """
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _document(text: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except ValueError as error:
        raise DefinitionError(None, f"a replay is no JSON: {error}", "Save one anew") from None
    if isinstance(said, Mapping) and "actorflow_tape" in said:
        problem = "this is a tape alone, which does not say of which workflow it is"
        cure = "Give it to simulate(flow, tape=Tape.load(PATH))"
        raise DefinitionError(None, problem, cure)
    if not isinstance(said, Mapping) or said.get("actorflow_replay") != _FORMAT:
        problem = f'a replay\'s JSON does not say "actorflow_replay": {_FORMAT}'
        raise DefinitionError(None, problem, "Give a file that actorflow simulate has saved")
    return said


# ── Shapes ───────────────────────────────────────────────────────────────────────────────────


def shape_of(plan: WorkflowPlan) -> dict[str, dict[str, Any]]:
    """Return how each step is defined, in terms of what JSON has."""
    return {step.id: _shape(step) for step in plan.steps}


def _shape(plan: StepPlan) -> dict[str, Any]:
    step = plan.step
    said = {name: getattr(step, name) for name in _SHAPE}
    return {name: _spoken(value) for name, value in said.items()}


def _spoken(value: Any) -> Any:
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
            was = before[step_id].get(name)
            if was != value:
                yield f"{name} of step {step_id!r} is {value}, and was {was}"

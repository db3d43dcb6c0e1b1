"""Errors that refuse something: a definition, an input, or a call at the wrong time or place."""

from __future__ import annotations

import attrs

from actorflow.errors import ActorflowError, listed, quoted, shown
from actorflow.support.suggestions import FEW, did_you_mean

__all__ = [
    "DefinitionConflict",
    "DefinitionError",
    "ForkedOrchestrator",
    "ForkedStateManager",
    "MissingInput",
    "NotRunning",
    "OrchestratorClosed",
    "UnknownExecutor",
    "UnknownInput",
    "UnknownWorkflow",
    "WrongLoop",
]


@attrs.define(slots=False, repr=False)
class DefinitionError(ActorflowError, ValueError):
    """Raised when a definition is invalid, before anything runs.

    It is raised at the earliest moment: by the constructor that gets an illegal value, or by
    `Workflow.validate` for a fault that only the whole workflow shows.
    """

    workflow_id: str | None
    """None when the invalid part belongs to no workflow yet."""
    problem: str
    cure: str
    """Empty if the problem says already what to write, as in "priority must be a whole number"."""
    step_id: str | None = None

    def __str__(self) -> str:
        workflow = "" if self.workflow_id is None else f"workflow {self.workflow_id!r}"
        step = "" if self.step_id is None else f"step {self.step_id!r}"
        where = ", ".join(part for part in (workflow, step) if part)
        said = f"{self.problem}."
        if self.cure:
            said += f" {self.cure}" if self.cure.endswith("?") else f" {self.cure}."
        return f"{where}: {said}" if where else said


@attrs.define(slots=False, repr=False)
class MissingInput(ActorflowError):
    """Raised when a run lacks an input; an invalid workflow raises `DefinitionError`."""

    workflow_id: str
    names: tuple[str, ...]
    step_ids: tuple[tuple[str, ...], ...]
    """The steps that take each of the inputs."""
    hints: tuple[str, ...] = ()
    """For each of the names, a question that suggests another one, or an empty string; no items
    when there are no suggestions.
    """
    compensated_ids: tuple[tuple[str, ...], ...] = ()
    """For each of the names, those of its steps whose compensator alone takes it; no items when
    there are none.
    """

    def __str__(self) -> str:
        undone = self.compensated_ids or ((),) * len(self.names)
        hints = _in_brackets(self.hints, self.names)
        each = zip(self.names, self.step_ids, undone, hints, strict=True)
        wants = [
            f"{quoted(name)}, wanted by {_takers(ids, undo)}{hint}"
            for name, ids, undo, hint in each
        ]
        meant = "a dependency's output was meant, name the parameter after that step"
        own = [ids for ids in undone if ids]
        if own:
            ids = dict.fromkeys(it for ids in own for it in ids)
            named = listed([quoted(it) for it in ids], FEW, " or ")
            of = "that step" if len(own) == 1 and len(own[0]) == 1 else "the compensator's step"
            meant = f"the output of {of} was meant, name the parameter {named}"
            if any(set(ids) - set(undo) for ids, undo in zip(self.step_ids, undone, strict=True)):
                meant += "; for a dependency's output, name it after that step"
        return (
            f"workflow {self.workflow_id!r} lacks a run input: {listed(wants, FEW, '; ')}. "
            f"Pass it when you start the run, or give the parameter a default. If {meant}."
        )


def _takers(ids: tuple[str, ...], undone: tuple[str, ...]) -> str:
    steps = tuple(it for it in ids if it not in undone)
    takers = [f"step{'s' * (len(steps) > 1)} {shown(steps)}"] if steps else []
    if undone:
        many = len(undone) > 1
        takers.append(f"the compensator{'s' * many} of step{'s' * many} {shown(undone)}")
    return " and by ".join(takers)


@attrs.define(slots=False, repr=False)
class UnknownInput(ActorflowError):
    """Raised when a run is given an input that no step takes; see `MissingInput`.

    A workflow in which a step takes `inputs` takes inputs of any name.
    """

    workflow_id: str
    names: tuple[str, ...]
    known: tuple[str, ...]
    """The inputs that exist."""
    hints: tuple[str, ...] = ()
    """For each of the names, as in `MissingInput`."""

    def __str__(self) -> str:
        hints = _in_brackets(self.hints, self.names)
        named = [f"{quoted(name)}{hint}" for name, hint in zip(self.names, hints, strict=True)]
        many = len(self.names) > 1
        left_out = "Leave them out, or add parameters of these names to steps"
        if not many:
            left_out = "Leave it out, or add a parameter of that name to a step"
        return (
            f"no step of workflow {self.workflow_id!r} takes the input{'s' * many}"
            f" {listed(named, FEW)}. The inputs are: {shown(self.known)}. {left_out}, or the "
            "parameter `inputs`, which holds all inputs."
        )


def _in_brackets(hints: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f" ({hint})" if hint else "" for hint in hints or ("",) * len(names))


@attrs.define(slots=False, repr=False)
class DefinitionConflict(ActorflowError):
    """Raised when a different definition is registered under a taken id and version."""

    workflow_id: str
    version: str
    _text = (
        "workflow {workflow_id!r} version {version!r} is registered already, with a different "
        "definition. Give the changed workflow a new version."
    )


@attrs.define(slots=False, repr=False)
class UnknownWorkflow(ActorflowError, LookupError):
    """Raised when a workflow is named by an id that is not registered."""

    workflow_id: str
    known: tuple[str, ...]
    """The registered ids, or ids and versions where a version is needed."""
    version: str | None = None
    """The version that the run needs; None when any would do."""

    def __str__(self) -> str:
        if self.version is None:
            wanted, question = f"{self.workflow_id!r}", did_you_mean(self.workflow_id, self.known)
            cure = "Register it first, or pass the Workflow itself"
        else:
            wanted, question = f"{self.workflow_id!r} version {self.version!r}", ""
            cure = "Register that version first, or pass it along: resume(run_id, flow)"
        known = f"these are: {shown(self.known)}" if self.known else "none are registered"
        return f"no workflow {wanted} is registered ({known}).{question} {cure}."


@attrs.define(slots=False, repr=False)
class UnknownExecutor(ActorflowError, LookupError):
    """Raised when a step names an executor that its orchestrator was not given."""

    step_id: str
    name: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"step {self.step_id!r} wants executor {self.name!r}, which this orchestrator does not "
            f"have (it has: {shown(self.known)}).{did_you_mean(self.name, self.known)} "
            f"Pass it as Orchestrator(executors={{{self.name!r}: ...}})."
        )


@attrs.define(slots=False, repr=False)
class NotRunning(ActorflowError):
    """Raised when an orchestrator is used before it was started; see `OrchestratorClosed`."""

    what: str
    _text = (
        "cannot {what}: the orchestrator is not running. Enter it with `with`, or with "
        "`async with` on your own event loop, first."
    )


@attrs.define(slots=False, repr=False)
class OrchestratorClosed(ActorflowError):
    """Raised when an orchestrator is used after its shutdown; before its start: `NotRunning`."""

    what: str
    why: str = "the orchestrator has shut down"
    cure: str = "Make a new one"
    _text = "cannot {what}: {why}. {cure}."


@attrs.define(slots=False, repr=False)
class ForkedOrchestrator(ActorflowError):
    """Raised when an orchestrator is used in a fork of the process that started it."""

    parent_pid: int
    pid: int
    _text = (
        "this orchestrator belongs to process {parent_pid} and was used in its fork {pid}, "
        "where its threads do not exist. Make one in each process."
    )


@attrs.define(slots=False, repr=False)
class ForkedStateManager(ActorflowError):
    """Raised when a state manager is used in a fork of the process that made it."""

    parent_pid: int
    pid: int
    _text = (
        "this state manager belongs to process {parent_pid} and was used in its fork {pid}, which "
        "must not share its connections or runs. Make one in each process."
    )


@attrs.define(slots=False, repr=False)
class WrongLoop(ActorflowError):
    """Raised when an orchestrator is called in a way that its event loop does not allow."""

    text: str
    _text = "{text}"

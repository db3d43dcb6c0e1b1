"""The errors of what is refused: a definition, an input, a call at the wrong time or place."""

from __future__ import annotations

import attrs

from actorflow.errors.base import ActorflowError, shown
from actorflow.support.suggestions import did_you_mean

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
    """Raised when a definition makes no sense, before anything runs.

    It comes as early as the fault can be known: from the constructor that gets an illegal value,
    or from `Workflow.validate` for what takes the whole workflow to see.
    """

    workflow_id: str | None
    """None when the fault lies in a part that belongs to no workflow yet."""
    problem: str
    cure: str
    step_id: str | None = None

    def __str__(self) -> str:
        workflow = "" if self.workflow_id is None else f"workflow {self.workflow_id!r}"
        step = "" if self.step_id is None else f"step {self.step_id!r}"
        where = ", ".join(part for part in (workflow, step) if part)
        said = f"{self.problem}. {self.cure}."
        return f"{where}: {said}" if where else said


@attrs.define(slots=False, repr=False)
class MissingInput(ActorflowError):
    """Raised when a run lacks an input; a workflow at fault itself raises `DefinitionError`."""

    workflow_id: str
    names: tuple[str, ...]
    step_ids: tuple[tuple[str, ...], ...]
    """For each of the names, the steps that want it."""
    hints: tuple[str, ...] = ()
    """For each of the names, what may have been meant by it, or an empty text; none at all when
    there is nothing to say."""

    def __str__(self) -> str:
        wants = "; ".join(
            f"{name!r}, wanted by step{'s' * (len(ids) > 1)} {shown(ids)}{hint}"
            for name, ids, hint in zip(
                self.names, self.step_ids, _in_brackets(self.hints, self.names), strict=True
            )
        )
        return (
            f"workflow {self.workflow_id!r} lacks a run input: {wants}. Pass it when you start the "
            "run, or give the parameter a default; if it was meant to be a dependency's output, "
            "give it that step's id for a name."
        )


@attrs.define(slots=False, repr=False)
class UnknownInput(ActorflowError):
    """Raised when a run is given an input that no step takes; see `MissingInput`.

    A workflow in which a step takes `inputs` takes inputs of any name.
    """

    workflow_id: str
    names: tuple[str, ...]
    known: tuple[str, ...]
    """The inputs that there are."""
    hints: tuple[str, ...] = ()
    """For each of the names, as in `MissingInput`."""

    def __str__(self) -> str:
        hints = _in_brackets(self.hints, self.names)
        named = ", ".join(f"{name!r}{hint}" for name, hint in zip(self.names, hints, strict=True))
        return (
            f"no step of workflow {self.workflow_id!r} takes the input{'s' * (len(self.names) > 1)}"
            f" {named}. The inputs are: {shown(self.known)}. Leave out what no step takes, or "
            "let one take it: by a parameter of its name, or by `inputs`, which holds them all."
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
    """Raised when a workflow is named by an id that nobody registered."""

    workflow_id: str
    known: tuple[str, ...]
    """What is registered: ids, or where a version is wanted, ids and versions."""
    version: str | None = None
    """The version that a run is to be resumed in; None when any would do."""

    def __str__(self) -> str:
        if self.version is None:
            wanted, question = f"{self.workflow_id!r}", did_you_mean(self.workflow_id, self.known)
            cure = "Register it first, or pass the Workflow itself"
        else:
            wanted, question = f"{self.workflow_id!r} version {self.version!r}", ""
            cure = "Register that version first, or pass it along: resume(run_id, flow)"
        known = shown(self.known)
        return f"no workflow {wanted} is registered (these are: {known}).{question} {cure}."


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
    _text = "cannot {what}: {why}. Make a new one."


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
        "must not share its connections, nor its runs. Make one in each process."
    )


@attrs.define(slots=False, repr=False)
class WrongLoop(ActorflowError):
    """Raised when an orchestrator is called in a way that its event loop does not allow."""

    text: str
    _text = "{text}"

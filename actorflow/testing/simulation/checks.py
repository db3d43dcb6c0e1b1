"""Checks of the arguments of simulations, made before anything runs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from actorflow.definition.durations import seconds
from actorflow.definition.workflow import Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.orchestrator.requests import RunOptions
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import refuse_unknown_options
from actorflow.support.warnings import warn
from actorflow.testing.errors import NotSimulated
from actorflow.testing.simulation.account import Outcome
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.trace.trace import AttemptTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.results import RunResult
    from actorflow.testing.trace.trace import Trace

__all__ = [
    "Doubts",
    "as_moment",
    "check_callable",
    "check_script",
    "check_whole",
    "plan_of",
    "refuse_unknown",
]


def plan_of(flow: Any) -> WorkflowPlan:
    """Return the plan of a workflow.

    Raises:
        DefinitionError: When it is not a workflow, or is invalid.
    """
    if not isinstance(flow, Workflow):
        cure = "Pass the Workflow itself; call .build() on a builder"
        raise DefinitionError(None, f"{text_of(flow)} is not a workflow", cure)
    return flow.plan()


def check_script(script: Any) -> None:
    """Check that a value is a script.

    Raises:
        DefinitionError: When it is not.
    """
    if not isinstance(script, Script):
        cure = "Give a Script; one behaviour for all steps is Script(default=…)"
        raise DefinitionError(None, f"script is {text_of(script)}", cure)


def check_callable(value: Any, what: str, cure: str) -> None:
    """Check that a value is callable.

    Raises:
        DefinitionError: When it is not.
    """
    if not callable(value):
        raise DefinitionError(None, f"{what} is {text_of(value)}", cure)


def check_whole(value: Any, name: str, least: int | None = None) -> None:
    """Check that a value is a whole number, and not below a minimum.

    Raises:
        DefinitionError: When it is not.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or (least is not None and value < least):
        cure = "Give a whole number" + ("" if least is None else f", {least} or more")
        raise DefinitionError(None, f"{name} is {text_of(value)}", cure)


def as_moment(value: Any, name: str) -> float:
    """Return a virtual moment, or a duration in virtual time, as seconds.

    Raises:
        DefinitionError: When it is not a number, or negative.
    """
    return seconds(value, name, zero=True)


def refuse_unknown(taker: Callable[..., Any], flow: Workflow, options: Collection[str]) -> None:
    """Refuse an option that is neither a parameter of the function nor an option of a run.

    An input of the workflow is refused when the run is created, which says how to pass it.

    Raises:
        TypeError: When there is one.
    """
    parameters = inspect.signature(taker).parameters.values()
    own = [it.name for it in parameters if it.kind is inspect.Parameter.KEYWORD_ONLY]
    known = (*own, *RunOptions.__annotations__)
    unknown = [name for name in options if name not in known]
    if unknown:
        inputs = plan_of(flow).inputs
        refuse_unknown_options(
            f"{taker.__name__}()", (name for name in unknown if name not in inputs), known
        )


_STEP: Final = AttemptTrace._fields.index("step_id")
_ERROR: Final = AttemptTrace._fields.index("error")
_OUTCOME: Final = AttemptTrace._fields.index("outcome")
_ALONE: Final = frozenset({ValueError, KeyError})
"""Errors that contain no others."""


class Doubts:
    """Collects doubts about traces: steps that cannot be simulated. Warns once.

    A trace has *explored* something if an attempt in it ended on its own, by returning or by an
    error other than `NotSimulated`, and if not every run failed because of `NotSimulated`. A trace
    in which no attempt ended on its own, because a deadline passed before or the run was cancelled,
    counts as well, but only while no step is known that cannot be simulated.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None
        """Why a step cannot be simulated, or None."""
        self._explored = self._idle = 0

    @property
    def explored(self) -> int:
        """Number of traces that have explored something."""
        return self._explored + (self._idle if self.refusal is None else 0)

    def note(self, trace: Trace) -> None:
        """Look at one trace."""
        # It reads the plain rows, because a search makes thousands of traces, most without attempt
        # objects.
        ended = refused = False
        for row in (*trace.rows, *trace.undoings):
            error = row[_ERROR]
            if error is None:
                ended = ended or row[_OUTCOME] is Outcome.RETURNED
            elif (cause := _refused(error)) is None:
                ended = ended or row[_OUTCOME] is Outcome.RAISED
            else:
                refused = True
                if self.refusal is None:
                    said = f"step {row[_STEP]!r} fails wherever it is simulated: {cause}"
                    self.refusal = said
        if not refused:
            self._explored += ended
            self._idle += not ended
        elif ended and any(_ended_otherwise(result) for result in trace.results.values()):
            self._explored += 1

    def warn(self) -> None:
        """Issue the warning, attributed to the caller's code."""
        if self.refusal is not None:
            warn(self.refusal)


def _ended_otherwise(result: RunResult) -> bool:
    """Return whether a run did not fail because of `NotSimulated`."""
    return result.error is None or _refused(result.error) is None


def _refused(error: BaseException) -> NotSimulated | None:
    """Return the `NotSimulated` behind an error, if there is one."""
    if error.__cause__ is None is error.__context__ and type(error) in _ALONE:
        return None  # most errors of most traces
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if isinstance(one, NotSimulated):
            return one
        # Chains of causes may be circular, and may reach an error in several ways.
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            parts = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            left += [*parts, one.__cause__, one.__context__]
    return None

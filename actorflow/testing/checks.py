"""What callers of a simulation get wrong, found before anything is run."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from actorflow.errors import DefinitionError
from actorflow.orchestrator.requests import RunOptions
from actorflow.spelling import nearest
from actorflow.testing.scripts import Script
from actorflow.texts import text_of
from actorflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorflow.plan import WorkflowPlan

__all__ = ["check_bounds", "check_script", "plan_of", "refuse_misspelt"]


def plan_of(flow: Any) -> WorkflowPlan:
    """Return the plan of a workflow.

    Raises:
        DefinitionError: When it is no workflow, or makes no sense.
    """
    if not isinstance(flow, Workflow):
        cure = "Pass the Workflow itself; a builder needs its .build()"
        raise DefinitionError(None, f"{text_of(flow)} is not a workflow", cure)
    return flow.plan()


def check_script(script: Any) -> None:
    """Refuse what is no script.

    Raises:
        DefinitionError: When it is none.
    """
    if not isinstance(script, Script):
        cure = "Give a Script; one behaviour for all steps is Script(default=…)"
        raise DefinitionError(None, f"script is {text_of(script)}", cure)


def check_bounds(happenings: Any, time: Any) -> None:
    """Refuse what is no bound of a schedule.

    Raises:
        DefinitionError: When it is none.
    """
    if happenings is not None and (not isinstance(happenings, int) or isinstance(happenings, bool)):
        raise DefinitionError(None, f"max_happenings is {happenings!r}", "Give a whole number")
    if not (isinstance(time, (int, float)) and time >= 0):
        raise DefinitionError(None, f"max_time is {time!r}", "Give seconds, or float('inf')")


def refuse_misspelt(taker: Callable[..., Any], options: Iterable[str]) -> None:
    """Refuse an option that surely is one of the function's own, misspelt.

    What else is no option of a run is refused when the run is made.

    Raises:
        TypeError: When there is one.
    """
    own = [name for name in inspect.signature(taker).parameters if name != "options"]
    for name in options:
        close = nearest(name, own)
        if close is not None and name not in RunOptions.__annotations__:
            raise TypeError(f"{taker.__name__}() has no option {name!r}. Did you mean {close!r}?")

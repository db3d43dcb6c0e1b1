"""The script of a simulation on the command line: `--fail`, `--hang` and `--real`."""

from __future__ import annotations

import builtins
import contextlib
import shlex
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.cli.terminal.exits import Problem
from actorflow.support.suggestions import did_you_mean
from actorflow.testing import Script, hangs, raises, real, returns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.step import Step
    from actorflow.testing.simulation.scripts import Behaviour

__all__ = ["StepOptions", "hanging_forever", "read_script"]

_BUILTIN_ERRORS: Final = tuple(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
"""Python's built-in exceptions."""


@attrs.frozen(kw_only=True)
class StepOptions:
    """The options about what steps do."""

    fail: Sequence[str] = ()
    hang: Sequence[str] = ()
    real: bool = False


def read_script(plan: WorkflowPlan, options: StepOptions) -> Script:
    """Return the script of the steps.

    Raises:
        Problem: When a step does not exist, or has two behaviours.
    """
    usual = real(after=None) if options.real else returns(after=None)
    steps: dict[str, Sequence[Behaviour]] = {}
    for option, text, step_id, count in _named(plan, options):
        if step_id in steps:
            raise Problem(
                f"step {step_id!r} is named twice, the second time by {option} {text}. Name it "
                "once; for more, write a Script in Python."
            )
        behaviour: Behaviour = hangs()
        if option == "--fail":
            behaviour = raises(_error(plan.by_id[step_id].step, f"{option} {text}"), after=None)
        steps[step_id] = (behaviour,) if count is None else (*[behaviour] * count, usual)
    return Script(steps, default=usual)


def _named(plan: WorkflowPlan, options: StepOptions) -> Iterator[tuple[str, str, str, int | None]]:
    for option, texts in (("--fail", options.fail), ("--hang", options.hang)):
        for text in texts:
            yield (option, text, *_step_of(plan, option, text))


def _step_of(plan: WorkflowPlan, option: str, text: str) -> tuple[str, int | None]:
    """Return the step that is named, and the number of attempts; None for all attempts."""
    if text in plan.by_id:
        return text, None
    step_id, colon, count = text.rpartition(":")
    if colon and step_id in plan.by_id:
        if count.isdecimal() and int(count):
            return step_id, int(count)
        typed = f"{option} {shlex.quote(step_id)}"
        raise Problem(
            f"{option} {text} needs a number of attempts. Type a whole number, 1 or more: "
            f"{typed}:2, or for all of them: {typed}"
        )
    name = step_id if colon and count.isdecimal() else text
    known = ", ".join(plan.by_id)
    raise Problem(
        f"{option} names step {name!r}, which workflow {plan.workflow_id!r} does not have."
        f"{did_you_mean(name, plan.by_id)} Its steps are: {known}."
    )


def _error(step: Step, text: str) -> Exception:
    """Return an error after which the step is retried, as simple as its retry policy allows."""
    policy = step.retry
    listed = () if policy is None else policy.retryable_errors
    errors = [RuntimeError(text), *_errors(listed, text)]
    return next((error for error in errors if policy and policy.accepts(error)), errors[0])


def _errors(patterns: Iterable[Any], text: str) -> Iterator[Exception]:
    """Yield errors of the built-in exception classes that can be created from a string alone."""
    for kind in patterns:
        if kind in _BUILTIN_ERRORS:
            with contextlib.suppress(TypeError):
                yield kind(text)


def hanging_forever(plan: WorkflowPlan, script: Script) -> list[str]:
    """Return the ids of the steps that hang and have no timeout."""
    scripted: Mapping[str, Sequence[Behaviour]] = script.steps
    return [
        step_id
        for step_id, behaviours in scripted.items()
        if hangs() in behaviours and not plan.timeout and not _limited(plan, step_id)
    ]


def _limited(plan: WorkflowPlan, step_id: str) -> bool:
    step = plan.by_id[step_id].step
    return step.timeout is not None or step.total_timeout is not None

"""What steps do in a simulation, as it is typed: `--fail`, `--hang` and `--real`."""

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

__all__ = ["Wishes", "read_script", "unending"]

_OWN: Final = tuple(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
"""Python's own errors."""


@attrs.frozen(kw_only=True)
class Wishes:
    """What was typed about what steps do."""

    fail: Sequence[str] = ()
    hang: Sequence[str] = ()
    real: bool = False


def read_script(plan: WorkflowPlan, wishes: Wishes) -> Script:
    """Return what the steps do.

    Raises:
        Problem: When a step is not there, or is to do two things at once.
    """
    usual = real(after=None) if wishes.real else returns(after=None)
    steps: dict[str, Sequence[Behaviour]] = {}
    for option, text, step_id, count in _named(plan, wishes):
        if step_id in steps:
            raise Problem(
                f"step {step_id!r} is named twice, the second time by {option} {text}. Name it "
                "once: for what this cannot say, write a Script in Python."
            )
        odd: Behaviour = hangs()
        if option == "--fail":
            odd = raises(_error(plan.by_id[step_id].step, f"{option} {text}"), after=None)
        steps[step_id] = (odd,) if count is None else (*[odd] * count, usual)
    return Script(steps, default=usual)


def _named(plan: WorkflowPlan, wishes: Wishes) -> Iterator[tuple[str, str, str, int | None]]:
    for option, texts in (("--fail", wishes.fail), ("--hang", wishes.hang)):
        for text in texts:
            yield (option, text, *_step_of(plan, option, text))


def _step_of(plan: WorkflowPlan, option: str, text: str) -> tuple[str, int | None]:
    """Return the step that is named, and how many of its attempts are meant; None for all."""
    if text in plan.by_id:
        return text, None
    step_id, colon, count = text.rpartition(":")
    if colon and step_id in plan.by_id:
        if count.isdecimal() and int(count):
            return step_id, int(count)
        typed = f"{option} {shlex.quote(step_id)}"
        raise Problem(
            f"{option} {text} does not say how many attempts. Type a whole number, 1 or more: "
            f"{typed}:2, or for all of them: {typed}"
        )
    name = step_id if colon and count.isdecimal() else text
    known = ", ".join(plan.by_id)
    raise Problem(
        f"{option} names step {name!r}, which workflow {plan.workflow_id!r} does not have."
        f"{did_you_mean(name, plan.by_id)} Its steps are: {known}."
    )


def _error(step: Step, text: str) -> Exception:
    """Return an error of the plainest kind after which the step is tried again."""
    policy = step.retry
    listed = () if policy is None else policy.retryable_errors
    errors = [RuntimeError(text), *_errors(listed, text)]
    return next((error for error in errors if policy and policy.accepts(error)), errors[0])


def _errors(patterns: Iterable[Any], text: str) -> Iterator[Exception]:
    """Yield errors of those of Python's own classes that need nothing but a text."""
    for kind in patterns:
        if kind in _OWN:
            with contextlib.suppress(TypeError):
                yield kind(text)


def unending(plan: WorkflowPlan, script: Script) -> list[str]:
    """Return the ids of the steps that hang while nothing would ever end them."""
    hung: Mapping[str, Sequence[Behaviour]] = script.steps
    return [
        step_id
        for step_id, line in hung.items()
        if hangs() in line and not plan.timeout and not _limited(plan, step_id)
    ]


def _limited(plan: WorkflowPlan, step_id: str) -> bool:
    step = plan.by_id[step_id].step
    return step.timeout is not None or step.total_timeout is not None

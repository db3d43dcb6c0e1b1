"""What steps and their compensators do in a simulation: scripted outcomes, by step and attempt.

A script is looked up by step id and attempt number, never by the order in which things happen. The
second attempt of a step therefore does what the script says for the second attempt on every
schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.definition import DefinitionError
from actorflow.support.read_only import ReadOnly
from actorflow.support.suggestions import did_you_mean
from actorflow.testing.simulation.behaviours import OF_ITSELF, Behaviour, Returns, check_behaviours

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from actorflow.definition.plan import WorkflowPlan

__all__ = ["Script"]

_PLAIN: Final = (Returns(OF_ITSELF, None),)


class Script:
    """What each attempt of each step does.

    Args:
        steps: By step id, the behaviour of every attempt, or a list with the behaviour of the first
            attempt, the second, and so on; the last one applies to all that follow.
        compensators: By step id, the behaviours of the attempts of the step's compensator, in the
            same form.
        default: The behaviour of all other attempts. Unless given, they return a string that names
            the step and the attempt, after a duration left to the tape.

    Example:
        >>> from actorflow.testing import Script, hangs, raises, returns
        >>> script = Script({"fetch": [raises(OSError), hangs(), returns("page", after=0.5)]})
        >>> [script.of("fetch", attempt) for attempt in (1, 2, 3, 4)]
        [raises(OSError), hangs(), returns('page', after=0.5), returns('page', after=0.5)]
    """

    def __init__(
        self,
        steps: Mapping[str, Behaviour | Sequence[Behaviour]] | None = None,
        *,
        compensators: Mapping[str, Behaviour | Sequence[Behaviour]] | None = None,
        default: Behaviour | Sequence[Behaviour] = _PLAIN,
    ) -> None:
        self._steps = _by_id(steps)
        self._compensators = _by_id(compensators)
        self._default = _several(default, "the default of the script is")

    @property
    def steps(self) -> Mapping[str, tuple[Behaviour, ...]]:
        """The behaviours of each step's attempts, without the default."""
        return ReadOnly(self._steps)

    @property
    def compensators(self) -> Mapping[str, tuple[Behaviour, ...]]:
        """The behaviours of each compensator's attempts, by step id, without the default."""
        return ReadOnly(self._compensators)

    @property
    def default(self) -> tuple[Behaviour, ...]:
        """The behaviours of all other attempts."""
        return self._default

    def of(self, step_id: str, attempt: int) -> Behaviour:
        """Return the behaviour of a step's attempt; attempts are counted from 1."""
        return _of(self._steps.get(step_id, self._default), attempt)

    def of_compensator(self, step_id: str, attempt: int) -> Behaviour:
        """Return the behaviour of a compensator's attempt; attempts are counted from 1."""
        return _of(self._compensators.get(step_id, self._default), attempt)

    def check(self, plan: WorkflowPlan) -> None:
        """Check that the plan has every step and compensator that the script names.

        Raises:
            DefinitionError: When it lacks one.
        """
        undone = [step.id for step in plan.steps if step.compensation is not None]
        _check(self._steps, plan, plan.by_id, _NO_STEP)
        _check(self._compensators, plan, undone, _NO_COMPENSATOR)

    def __repr__(self) -> str:
        steps = {step_id: _shown(line) for step_id, line in self._steps.items()}
        undoing = {step_id: _shown(line) for step_id, line in self._compensators.items()}
        compensators = f", compensators={undoing!r}" if undoing else ""
        default = "" if self._default == _PLAIN else f", default={_shown(self._default)!r}"
        return f"Script({steps!r}{compensators}{default})"


_NO_STEP: Final = "the script names step {!r}, which the workflow does not have"
_NO_COMPENSATOR: Final = "the script names a compensator of step {!r}, which has none"


def _shown(line: tuple[Behaviour, ...]) -> Behaviour | list[Behaviour]:
    return list(line) if line[1:] else line[0]


def _of(line: tuple[Behaviour, ...], attempt: int) -> Behaviour:
    return line[min(attempt, len(line)) - 1]


def _check(said: Iterable[str], plan: WorkflowPlan, known: Collection[str], problem: str) -> None:
    for step_id in said:
        if step_id not in known:
            cure = f"Name one of: {', '.join(known)}" if known else "Leave it out"
            question = did_you_mean(step_id, known).strip()
            said_so = problem.format(step_id)
            raise DefinitionError(plan.workflow_id, said_so, f"{question} {cure}".lstrip())


def _by_id(
    given: Mapping[str, Behaviour | Sequence[Behaviour]] | None,
) -> dict[str, tuple[Behaviour, ...]]:
    said: Any = {} if given is None else given
    if not isinstance(said, Mapping):
        cure = "Give a mapping by step id; one behaviour for all steps is Script(default=…)"
        raise DefinitionError(None, f"the behaviours of a Script are {said!r}", cure)
    return {
        step_id: _several(behaviours, "the script holds", step_id)
        for step_id, behaviours in said.items()
    }


def _several(said: Any, what: str, step_id: str | None = None) -> tuple[Behaviour, ...]:
    line = tuple(said) if isinstance(said, (list, tuple)) else (said,)
    check_behaviours(line or (said,), what, "a list of these", step_id)
    return line

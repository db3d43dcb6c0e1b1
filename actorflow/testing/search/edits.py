"""Edits that make a scenario smaller: they drop something, or reset it to its default.

An edit is a function from a scenario to a scenario. It identifies what it drops by name, not by
position, so that it keeps its meaning after other edits. It returns the scenario itself when there
is nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs

from actorflow.testing.simulation.settings import NO_FAULTS

if TYPE_CHECKING:
    from actorflow.testing.search.scenarios import Scenario, ScenarioStep
    from actorflow.testing.simulation.settings import Settings

__all__ = ["Edit", "blocks", "scenario_edits"]

_T = TypeVar("_T")
Edit: TypeAlias = Callable[[Any], Any]
"""Takes a scenario, and returns a smaller one or the same."""

_PLAIN_PARTS: Final = ("child", "settings", "fail_fast", "order")


def scenario_edits(scenario: Scenario, policies: Sequence[str]) -> Iterator[Edit]:
    """Yield the edits of a scenario, the most drastic first.

    Args:
        scenario: The scenario.
        policies: The names of the retry policies, the simplest first.
    """
    ids = [one.id for one in scenario.steps]
    for some in blocks(ids):
        yield partial(_without_steps, frozenset(some))
    for few in blocks(range(len(scenario.runs) - 1, -1, -1)):
        yield partial(_without_runs, frozenset(few))
    for name in _PLAIN_PARTS:
        yield partial(_reset, name)
    yield from _settings_edits(scenario)
    if scenario.child:
        yield _child_alone
    for some in blocks([one.id for one in scenario.child]):
        yield partial(_without_steps_of_child, frozenset(some))
    for step_id in ids:
        yield from _step_edits(scenario, step_id, policies)
    for step in scenario.child:
        for change in (partial(_reset, name) for name in ("does", *_options(step))):
            yield partial(_with_step_of_child, step.id, change)
    for index in range(len(scenario.runs)):
        yield from _run_edits(scenario, index)


def blocks(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Yield the halves of a list, then its quarters, and so on down to single items."""
    line = list(items)
    size = len(line)
    while size > 1:
        size = (size + 1) // 2
        for start in range(len(line) - 1, -1, -size):
            yield line[max(0, start - size + 1) : start + 1]


# ── Scenarios ────────────────────────────────────────────────────────────────────────────────


def _without_steps(dropped: Collection[str], scenario: Scenario) -> Scenario:
    left = tuple(
        _depending_on(one, [other for other in one.after if other not in dropped])
        for one in scenario.steps
        if one.id not in dropped
    )
    return attrs.evolve(scenario, steps=left) if left else scenario


def _without_steps_of_child(dropped: Collection[str], scenario: Scenario) -> Scenario:
    left = tuple(one for one in scenario.child if one.id not in dropped)
    return attrs.evolve(scenario, child=left) if left else scenario


def _child_alone(scenario: Scenario) -> Scenario:
    """Return a scenario whose runs are what the children were."""
    if not scenario.child:
        return scenario
    steps = tuple(attrs.evolve(one, children="none") for one in scenario.child)
    return attrs.evolve(scenario, steps=steps, child=())


def _with_step_of_child(step_id: str, change: Edit, scenario: Scenario) -> Scenario:
    child = tuple(change(one) if one.id == step_id else one for one in scenario.child)
    return attrs.evolve(scenario, child=child)


def _without_runs(dropped: Collection[int], scenario: Scenario) -> Scenario:
    left = tuple(run for index, run in enumerate(scenario.runs) if index not in dropped)
    return attrs.evolve(scenario, runs=left) if left else scenario


def _reset(name: str, value: Any) -> Any:
    """Return a value with one field reset to its default."""
    return attrs.evolve(value, **{name: getattr(attrs.fields(type(value)), name).default})


def _settings_edits(scenario: Scenario) -> Iterator[Edit]:
    for name, _ in scenario.settings.special():
        yield partial(_with_settings, partial(_reset, name))
    for name, count in scenario.settings.faults.special():
        for fewer in sorted({0, count // 2, count - 1}):
            yield partial(_with_settings, partial(_fewer_faults, name, fewer))


def _with_settings(change: Edit, scenario: Scenario) -> Scenario:
    return attrs.evolve(scenario, settings=change(scenario.settings))


def _fewer_faults(name: str, count: int, settings: Settings) -> Settings:
    fewer = min(count, getattr(settings.faults, name))
    return attrs.evolve(settings, faults=attrs.evolve(settings.faults, **{name: fewer}))


# ── Steps and runs ───────────────────────────────────────────────────────────────────────────


def _step_edits(scenario: Scenario, step_id: str, policies: Sequence[str]) -> Iterator[Edit]:
    step = next(one for one in scenario.steps if one.id == step_id)
    plainer = policies[: policies.index(step.retry)]
    changes: list[Edit] = [partial(_depending_on, after=())]
    changes += [partial(_independent_of, other) for other in step.after]
    changes += [partial(_reset, name) for name in ("does", *_options(step))]
    changes += [partial(_returning, index) for index in range(len(step.does) - 1, -1, -1)]
    changes += [
        _without_last_deed,
        _without_first_deed,
        *(partial(_retried_as, name) for name in plainer),
    ]
    for change in changes:
        yield partial(_with_step, step_id, change)
    yield partial(_raising, step_id)
    yield partial(_compensator_as_step, step_id)


def _options(step: ScenarioStep) -> list[str]:
    """Return the fields that are neither dependencies nor deeds, the last one first."""
    fields = [field.name for field in attrs.fields(type(step))]
    return [name for name in reversed(fields) if name not in {"id", "after", "does"}]


def _with_step(step_id: str, change: Edit, scenario: Scenario) -> Scenario:
    steps = tuple(change(one) if one.id == step_id else one for one in scenario.steps)
    return attrs.evolve(scenario, steps=steps)


def _depending_on(step: ScenarioStep, after: Iterable[str]) -> ScenarioStep:
    return attrs.evolve(step, after=tuple(after))


def _independent_of(other: str, step: ScenarioStep) -> ScenarioStep:
    return _depending_on(step, [one for one in step.after if one != other])


def _returning(index: int, step: ScenarioStep) -> ScenarioStep:
    deeds = ["returns" if at == index else deed for at, deed in enumerate(step.does)]
    return attrs.evolve(step, does=tuple(deeds))


def _without_last_deed(step: ScenarioStep) -> ScenarioStep:
    return attrs.evolve(step, does=step.does[:-1] or step.does)


def _without_first_deed(step: ScenarioStep) -> ScenarioStep:
    return attrs.evolve(step, does=step.does[1:] or step.does)


def _retried_as(policy: str, step: ScenarioStep) -> ScenarioStep:
    """Return a step with a simpler retry policy."""
    return attrs.evolve(step, retry=policy) if step.retry != "never" else step


def _raising(step_id: str, scenario: Scenario) -> Scenario:
    """Return a scenario in which a step raises, instead of timing out or being hit by a fault."""
    fail = partial(attrs.evolve, does=("raises",), timeout=None, total_timeout=None)
    settings = attrs.evolve(scenario.settings, faults=NO_FAULTS)
    failing = attrs.evolve(_with_step(step_id, fail, scenario), settings=settings)
    return failing if failing.deviations <= scenario.deviations else scenario


def _compensator_as_step(step_id: str, scenario: Scenario) -> Scenario:
    """Return a scenario of one step, which does what its compensator did.

    Nothing cuts it short, just as nothing cuts a compensation short.
    """
    endless = partial(attrs.evolve, timeout=None, cancels=(), undone=False)
    for step in scenario.steps:
        if step.id == step_id and step.undo:
            alone = attrs.evolve(step, after=(), does=step.undo, undo=())
            return attrs.evolve(scenario, steps=(alone,), runs=tuple(map(endless, scenario.runs)))
    return scenario


def _run_edits(scenario: Scenario, index: int) -> Iterator[Edit]:
    changes: list[Edit] = [
        partial(_reset, name)
        for name in (
            "messages",
            "sent_again",
            "undone",
            "resumes",
            "cancels",
            "grace",
            "timeout",
            "priority",
            "at",
        )
    ]
    if scenario.runs[index].messages[1:]:
        changes += [_first_message_only, _last_message_only]
    if scenario.runs[index].cancels[1:]:
        changes += [_first_cancel_only, _last_cancel_only]
    for change in changes:
        yield partial(_with_run, index, change)


def _with_run(index: int, change: Edit, scenario: Scenario) -> Scenario:
    runs = tuple(change(run) if at == index else run for at, run in enumerate(scenario.runs))
    return attrs.evolve(scenario, runs=runs)


def _first_message_only(run: Any) -> Any:
    return attrs.evolve(run, messages=run.messages[:1])


def _last_message_only(run: Any) -> Any:
    return attrs.evolve(run, messages=run.messages[-1:])


def _first_cancel_only(run: Any) -> Any:
    return attrs.evolve(run, cancels=run.cancels[:1])


def _last_cancel_only(run: Any) -> Any:
    return attrs.evolve(run, cancels=run.cancels[-1:])

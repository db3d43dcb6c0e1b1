"""How a scenario becomes smaller: changes that drop something, or make something plain.

A change is a function from a scenario to a scenario. It names what it drops, rather than where
that stands, and so it still means the same when others have been made before it; it returns
the scenario itself when there is nothing left for it to do.
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

_PLAIN_PARTS: Final = ("settings", "fail_fast")


def scenario_edits(scenario: Scenario, policies: Sequence[str]) -> Iterator[Edit]:
    """Yield what would make a scenario smaller, the most drastic first.

    Args:
        scenario: The scenario.
        policies: The names of policies, the plainest first.
    """
    ids = [one.id for one in scenario.steps]
    for some in blocks(ids):
        yield partial(_without_steps, frozenset(some))
    for few in blocks(range(len(scenario.runs) - 1, -1, -1)):
        yield partial(_without_runs, frozenset(few))
    for name in _PLAIN_PARTS:
        yield partial(_plain, name)
    yield from _settings_edits(scenario)
    for step_id in ids:
        yield from _step_edits(scenario, step_id, policies)
    for index in range(len(scenario.runs)):
        yield from _run_edits(scenario, index)


def blocks(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Yield the halves of a list, then its quarters, and so on down to each item alone."""
    line = list(items)
    size = len(line)
    while size > 1:
        size = (size + 1) // 2
        for start in range(len(line) - 1, -1, -size):
            yield line[max(0, start - size + 1) : start + 1]


# ── The whole ────────────────────────────────────────────────────────────────────────────────


def _without_steps(dropped: Collection[str], scenario: Scenario) -> Scenario:
    left = tuple(
        _waiting_for(one, [other for other in one.after if other not in dropped])
        for one in scenario.steps
        if one.id not in dropped
    )
    return attrs.evolve(scenario, steps=left) if left else scenario


def _without_runs(dropped: Collection[int], scenario: Scenario) -> Scenario:
    left = tuple(run for index, run in enumerate(scenario.runs) if index not in dropped)
    return attrs.evolve(scenario, runs=left) if left else scenario


def _plain(name: str, value: Any) -> Any:
    """Return a value with one field as it is by default."""
    return attrs.evolve(value, **{name: getattr(attrs.fields(type(value)), name).default})


def _settings_edits(scenario: Scenario) -> Iterator[Edit]:
    for name, _ in scenario.settings.special():
        yield partial(_with_settings, partial(_plain, name))
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
    changes: list[Edit] = [partial(_waiting_for, after=())]
    changes += [partial(_not_after, other) for other in step.after]
    changes += [partial(_plain, name) for name in ("does", *_options(step))]
    changes += [partial(_deed, index) for index in range(len(step.does) - 1, -1, -1)]
    changes += [_last_deed_less, _first_deed_less, *(partial(_as, name) for name in plainer)]
    for change in changes:
        yield partial(_with_step, step_id, change)
    yield partial(_failing_by_itself, step_id)
    yield partial(_doing_what_undoes_it, step_id)


def _options(step: ScenarioStep) -> list[str]:
    """Return the fields that are neither dependencies nor deeds, the last one first."""
    fields = [field.name for field in attrs.fields(type(step))]
    return [name for name in reversed(fields) if name not in {"id", "after", "does"}]


def _with_step(step_id: str, change: Edit, scenario: Scenario) -> Scenario:
    steps = tuple(change(one) if one.id == step_id else one for one in scenario.steps)
    return attrs.evolve(scenario, steps=steps)


def _waiting_for(step: ScenarioStep, after: Iterable[str]) -> ScenarioStep:
    return attrs.evolve(step, after=tuple(after))


def _not_after(other: str, step: ScenarioStep) -> ScenarioStep:
    return _waiting_for(step, [one for one in step.after if one != other])


def _deed(index: int, step: ScenarioStep) -> ScenarioStep:
    deeds = ["returns" if at == index else deed for at, deed in enumerate(step.does)]
    return attrs.evolve(step, does=tuple(deeds))


def _last_deed_less(step: ScenarioStep) -> ScenarioStep:
    return attrs.evolve(step, does=step.does[:-1] or step.does)


def _first_deed_less(step: ScenarioStep) -> ScenarioStep:
    return attrs.evolve(step, does=step.does[1:] or step.does)


def _as(policy: str, step: ScenarioStep) -> ScenarioStep:
    """Return a step that is retried by a plainer policy than its own."""
    return attrs.evolve(step, retry=policy) if step.retry != "never" else step


def _failing_by_itself(step_id: str, scenario: Scenario) -> Scenario:
    """Return a scenario in which a step raises, rather than to be late or struck by a fault."""
    fail = partial(attrs.evolve, does=("raises",), timeout=None, total_timeout=None)
    settings = attrs.evolve(scenario.settings, faults=NO_FAULTS)
    failing = attrs.evolve(_with_step(step_id, fail, scenario), settings=settings)
    return failing if failing.deviations <= scenario.deviations else scenario


def _doing_what_undoes_it(step_id: str, scenario: Scenario) -> Scenario:
    """Return a scenario of one step, which itself does what its compensator did.

    Nobody cuts that short, as nothing does while a run is undone.
    """
    endless = partial(attrs.evolve, timeout=None, cancels=(), undone=False)
    for step in scenario.steps:
        if step.id == step_id and step.undo:
            alone = attrs.evolve(step, after=(), does=step.undo, undo=())
            return attrs.evolve(scenario, steps=(alone,), runs=tuple(map(endless, scenario.runs)))
    return scenario


def _run_edits(scenario: Scenario, index: int) -> Iterator[Edit]:
    changes: list[Edit] = [
        partial(_plain, name)
        for name in ("undone", "cancels", "grace", "timeout", "priority", "at")
    ]
    if scenario.runs[index].cancels[1:]:
        changes += [_first_cancel_only, _last_cancel_only]
    for change in changes:
        yield partial(_with_run, index, change)


def _with_run(index: int, change: Edit, scenario: Scenario) -> Scenario:
    runs = tuple(change(run) if at == index else run for at, run in enumerate(scenario.runs))
    return attrs.evolve(scenario, runs=runs)


def _first_cancel_only(run: Any) -> Any:
    return attrs.evolve(run, cancels=run.cancels[:1])


def _last_cancel_only(run: Any) -> Any:
    return attrs.evolve(run, cancels=run.cancels[-1:])

"""Scenarios made up from bytes, drawn by a random generator or by Hypothesis.

Each step and each run is a row of bytes of fixed length, and a row of zeros is the default one.
Hypothesis shrinks such rows well (it drops rows and lowers bytes), and a random generator fills
them at once. A step names its dependencies by how far back they stand, so that rows can be dropped
without changing the meaning of the others.

The first row is the scenario's own. It also says which features its steps may have at all. If every
scenario had a bit of everything, none in a hundred would be without timeouts, and some defects show
only where there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.testing.search.scenarios import (
    CHILDREN,
    DEEDS,
    DRAWN,
    POLICIES,
    Scenario,
    ScenarioRun,
    ScenarioStep,
)
from actorflow.testing.simulation.settings import Faults, Settings

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from actorflow.definition.retry import RetryPolicy

__all__ = [
    "HEAD",
    "LARGE",
    "MOST_RUNS",
    "ROW",
    "USUAL_STEPS",
    "bounds",
    "deeds_of",
    "draw_scenario",
    "scenario_of",
]

_OPTIONS: Final[dict[str, tuple[Any, ...]]] = {
    field.name: field.metadata[DRAWN]
    for field in attrs.fields(ScenarioStep)
    if DRAWN in field.metadata
}
"""The fields of a step that are each drawn from a list of values, and those values."""

HEAD: Final = 26 + len(_OPTIONS)
"""The length of the scenario's own row."""
ROW: Final = 10 + len(_OPTIONS)
"""The length of the row of a step or a run."""
MOST_RUNS: Final = 3
USUAL_STEPS: Final = 6
LARGE: Final = (20, 8)
"""The maximum number of steps and of runs of a large scenario."""

_LARGE_ONE: Final = 255
"""The last byte, otherwise not read, of the own row of a large scenario."""

_RESUMES: Final = ((),) * 30 + ((4.0,), (8.0, 20.0))
"""When a run is resumed: rarely, because that is another run to simulate."""
_MESSAGES: Final = ((), (1.0, 2.0, 3.0), (0.0,), (0.0, 0.0, 1.0, 5.0), (2.0,), (3.0, 30.0))
"""When a run is sent messages: early, late, together and after its end."""
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_DEEDS: Final = tuple(DEEDS)
_UNDOING: Final = (
    (),
    ("returns",),
    ("raises", "returns"),
    ("raises",),
    ("hangs",),
    ("does anything",),
)


_SOMETIMES: Final = (False, False, False, True)
_PLACES: Final = (100, 100, 1, 2)
_PLACES_FOR_CHILDREN: Final = (1, 1, 2, 100)
"""Parents and children must not keep places from each other, also while they are undone."""
_CHILDREN: Final = tuple(CHILDREN)
_STEPS_OF_CHILD: Final = 2
"""The maximum number of steps of a child."""


class _Row:
    """Reads choices from bytes, one by one; past the end, each is the default."""

    def __init__(self, row: bytes) -> None:
        self._bytes = iter(row)

    def one_of(self, options: Sequence[Any], *, allowed: bool = True) -> Any:
        """Return one of several options; the first is the default."""
        value = next(self._bytes, 0)
        return options[value % len(options)] if allowed else options[0]


class _Features:
    """The features that the steps and runs of one scenario may have."""

    def __init__(self, row: _Row) -> None:
        no_yes = (False, True)
        self.joins = row.one_of((False, True, True))
        self.options = {name: row.one_of(no_yes) for name in _OPTIONS}
        self.deeds = row.one_of((1, 1, 2, len(_DEEDS)))
        self.run_timeouts = row.one_of((False, False, True))
        self.cancels = row.one_of(no_yes)
        self.children = row.one_of(_SOMETIMES)
        self.undoing = row.one_of(no_yes) or self.children


def scenario_of(head: bytes, steps: Sequence[bytes], runs: Sequence[bytes]) -> Scenario:
    """Return the scenario that rows of bytes describe; without rows it has one step and run."""
    row = _Row(head)
    features = _Features(row)
    drawn = Scenario(
        steps=tuple(_step(index, one, features) for index, one in enumerate(steps or (b"",))),
        runs=tuple(_run(index, one, features) for index, one in enumerate(runs or (b"",))),
        fail_fast=row.one_of((True, True, False)),
        order=row.one_of(("readiness", "readiness", "critical_path")),
        settings=Settings(
            async_workers=row.one_of((2, 1, 3, 10)),
            max_active_runs=row.one_of(_PLACES_FOR_CHILDREN if features.children else _PLACES),
            stop_grace=row.one_of((5.0, 1.0)),
            race=row.one_of((True, False)),
            faults=_faults(row),
            ageing=row.one_of((None, None, None, 2.0, 0.5)),
            evict_after=row.one_of((None, None, 0.5, 3.0)),
        ),
    )
    return _with_children(drawn, steps) if features.children else drawn


def _with_children(drawn: Scenario, rows: Sequence[bytes]) -> Scenario:
    """Return a scenario whose steps may have children, made like its last steps."""
    steps = tuple(
        attrs.evolve(one, children=_CHILDREN[row[-1] % len(_CHILDREN)] if row else "none")
        for one, row in zip(drawn.steps, rows or (b"",), strict=True)
    )
    last = [attrs.evolve(one, after=()) for one in reversed(steps[-_STEPS_OF_CHILD:])]
    return attrs.evolve(drawn, steps=steps, child=tuple(last))


def _faults(row: _Row) -> Faults:
    if not row.one_of((False, True, True)):
        return Faults()
    some = (0, 1, 2, 3)
    return Faults(
        crashes=row.one_of((0, 1, 2, 6)),
        poisons=row.one_of(some),
        duplicates=row.one_of((0, 1, 2, 6)),
        delays=row.one_of(some),
        cancels=row.one_of((0, 0, 0, 2)),
        late_results=row.one_of(some),
        restarts=row.one_of((0, 0, 0, 1)),
        store_failures=row.one_of((0, 0, 0, 1)),
        store_stalls=row.one_of(some),
        handovers=row.one_of((0, 0, 0, 1)),
        pauses=row.one_of((0, 0, 1, 2)),
    )


def _step(index: int, given: bytes, features: _Features) -> ScenarioStep:
    row = _Row(given)

    def drawn(name: str) -> Any:
        return row.one_of(_OPTIONS[name], allowed=features.options[name])

    # The order is that of the bytes; what the step does depends on its policy.
    retry = drawn("retry")
    after = _after(index, row, features)
    options = {name: drawn(name) for name in _OPTIONS if name != "retry"}
    return ScenarioStep(
        id=_name(index),
        after=after,
        retry=retry,
        **options,
        undo=row.one_of(_UNDOING, allowed=features.undoing),
        does=_deeds(row, _most_deeds(features, POLICIES[retry]), POLICIES[retry]),
    )


def _most_deeds(features: _Features, policy: RetryPolicy | None) -> int:
    """Return how many kinds of deeds to choose from; a step with retries must be able to fail."""
    deeds: int = features.deeds
    return deeds if policy is None else max(2, deeds)


def _after(index: int, row: _Row, features: _Features) -> tuple[str, ...]:
    back = row.one_of((0, 1, 1, 2, 3)), row.one_of((0, 1, 2, 3), allowed=features.joins)
    return tuple(_name(index - steps) for steps in dict.fromkeys(back) if 0 < steps <= index)


def deeds_of(row: bytes, policy: RetryPolicy | None) -> tuple[str, ...]:
    """Return the deeds of a step's attempts from a row of bytes, one byte per attempt."""
    return _deeds(_Row(row), len(_DEEDS), policy)


def _deeds(row: _Row, most: int, policy: RetryPolicy | None) -> tuple[str, ...]:
    attempts = 1 if policy is None else policy.max_attempts
    deeds = [row.one_of(_DEEDS[:most]) for _ in range(attempts)]
    while deeds[1:] and deeds[-1] == deeds[-2]:
        deeds.pop()
    return tuple(deeds)


def _name(index: int) -> str:
    """Return the step names a, b, c and so on; after z come a1, b1, c1."""
    times, letter = divmod(index, len(_LETTERS))
    return _LETTERS[letter] + (str(times) if times else "")


def _run(index: int, given: bytes, features: _Features) -> ScenarioRun:
    row = _Row(given)
    moments = (0.0, 0.0, 1.0, 2.0)
    return ScenarioRun(
        at=row.one_of(moments, allowed=index > 0),
        priority=row.one_of((0, 0, 1), allowed=features.options["priority"]),
        timeout=row.one_of((None, 3.0, 5.0, 2.0), allowed=features.run_timeouts),
        cancels=row.one_of(
            ((), (), (), (1.0,), (2.0,), (0.0,), (1.0, 1.0), (3.0, 1.0)),
            allowed=features.cancels,
        ),
        undone=row.one_of((False, True), allowed=features.undoing),
        grace=row.one_of((None, None, 1.0, 0.0, 8.0), allowed=features.cancels),
        resumes=row.one_of(_RESUMES, allowed=features.cancels),
        messages=row.one_of(_MESSAGES, allowed=features.options["waits"]),
        sent_again=row.one_of((False, False, True), allowed=features.options["waits"]),
    )


def bounds(head: bytes, max_steps: int) -> tuple[int, int]:
    """Return the maximum number of steps and of runs of a scenario whose own row is given.

    One in 256 is large, unless `max_steps` is below the usual number: each takes several times as
    long as a usual one.
    """
    return LARGE if head[-1] == _LARGE_ONE and max_steps >= USUAL_STEPS else (max_steps, MOST_RUNS)


def draw_scenario(random: random.Random, max_steps: int = USUAL_STEPS) -> Scenario:
    """Return a random scenario; now and then a large one, of up to 20 steps and 8 runs."""
    steps = 1 + random.randrange(max_steps)
    runs = 1 + random.randrange(MOST_RUNS) * random.randrange(2)
    head = random.randbytes(HEAD)
    if bounds(head, max_steps) == LARGE:
        steps, runs = (most - random.randrange(most // 2) for most in LARGE)
    return scenario_of(
        head,
        [random.randbytes(ROW) for _ in range(steps)],
        [random.randbytes(ROW) for _ in range(runs)],
    )

"""What one trace cannot show: that a tape is a schedule, and that two runs ended alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.testing.errors import LawBroken
from actorflow.testing.laws.outcomes import outcomes_follow_from_attempts
from actorflow.testing.trace.labels import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorflow.model.results import RunResult
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["alike", "first_difference", "same"]


def same(run: Callable[[Source], Trace], source: Source = None) -> Trace:
    """Run something twice, the second time on the tape of the first; return the trace.

    Args:
        run: Runs it, and returns the trace.
        source: The source of the choices of the first run.

    Raises:
        LawBroken: When the two traces differ.
    """
    first = run(source)
    second = run(first.tape)
    if first.hash != second.hash:
        raise _broken(f"the same tape gave {first_difference(first, second)}", first)
    return first


def first_difference(first: Trace, second: Trace) -> str:
    """Return where two traces of one tape first differ, as text."""
    ours, theirs = first.chart().splitlines(), second.chart().splitlines()
    for line, other in zip(ours, theirs, strict=False):
        if line != other:
            return f"{line.strip()!r}, and then {other.strip()!r}"
    return f"a chart of {len(ours)} lines, and then one of {len(theirs)}, or values that differ"


def alike(trace: Trace, results: Iterable[RunResult]) -> None:
    """Check that the runs of a trace ended like other runs of the same workflows.

    The other runs may have run on any system base. Runs are compared in the order of the trace,
    regardless of their ids: how each run ended, and how each of its steps ended, with which output
    and after how many attempts.

    Args:
        trace: The trace.
        results: The results of the other runs.

    Raises:
        LawBroken: When a run ended differently.
    """
    ours = [trace.result_of(run_id) for run_id in trace.runs]
    for one, other in zip(ours, results, strict=True):
        for difference in _differences(one, other):
            raise _broken(difference, trace)


def _differences(one: RunResult, other: RunResult) -> Iterator[str]:
    if one.status is not other.status:
        yield f"{one.run_id} ended as {one.status.value}, the other run as {other.status.value}"
    for step_id, step in one.steps.items():
        known = other.steps[step_id]
        ours = f"{step.status.value}, {plain(step.output)}, {step.attempts} attempts"
        theirs = f"{known.status.value}, {plain(known.output)}, {known.attempts} attempts"
        if ours != theirs:
            yield f"step {step_id!r} of {one.run_id}: {ours}, and in the other run: {theirs}"


def _broken(seen: str, trace: Trace) -> LawBroken:
    law = outcomes_follow_from_attempts
    return LawBroken(law.number, law.name, law.text, seen, trace)

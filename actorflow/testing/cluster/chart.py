"""A trace of several orchestrators as text: one line after the other, each with its process.

A chart with lanes would need one for each actor of each process. Here each line has the time, the
process or the store, and what happened there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from actorflow.testing.trace import charts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.cluster.trace import ClusterTrace, ProcessTrace

__all__ = ["draw"]

_STORE: Final = "store"


class _Line(NamedTuple):
    """One line; lines of equal times keep the order in which they are made."""

    time: float
    where: str
    text: str


def draw(trace: ClusterTrace) -> str:
    """Return the chart, without a trailing newline."""
    lines = [*_owners(trace), *_absences(trace)]
    for process in trace.processes:
        lines += _messages(process)
    lines.sort(key=lambda line: line.time)
    width = max((len(line.where) for line in lines), default=0)
    times = [f"{line.time:.3f}".rstrip("0").rstrip(".") for line in lines]
    margin = max(map(len, times), default=0)
    rows, previous = [], ""
    for line, time in zip(lines, times, strict=True):
        said = "" if time == previous else time
        rows.append(f"{said:>{margin}}  {line.where:{width}}  {line.text}")
        previous = time
    return "\n".join(rows)


def _owners(trace: ClusterTrace) -> Iterator[_Line]:
    for one in trace.owned:
        owner = f"belongs to {one.owner}" if one.owner else "has no owner"
        before = f", before to {one.former}" if one.former else ""
        yield _Line(one.time, _STORE, f"{one.run_id} {owner}{before}")
    for time, run_id in trace.asked:
        yield _Line(time, _STORE, f"{run_id} is to be cancelled")
    for message in trace.messages:
        number = "no new message" if message.number is None else f"message {message.number}"
        yield _Line(message.time, _STORE, f"{message.run_id} is sent {number}, {message.name!r}")
    for slept in trace.slept:
        yield _Line(slept.time, _STORE, f"{slept.run_id} sleeps until there is news for it")
    for steered in trace.steered:
        wanted = "is to be paused" if steered.paused else "may go on"
        yield _Line(steered.time, _STORE, f"{steered.run_id} {wanted}")


def _absences(trace: ClusterTrace) -> Iterator[_Line]:
    for one in trace.absences:
        if one.since != one.until:
            name = f"{one.orchestrator}"
            yield _Line(one.since, name, f"orchestrator {name} is {one.why}")
            yield _Line(one.until, name, f"orchestrator {name} is there again")


def _messages(process: ProcessTrace) -> Iterator[_Line]:
    for line in charts.story(process.trace):
        arrow = "" if line.sender in (None, line.receiver) else f"{line.sender} -> "
        lost = ", lost" if line.lost else ""
        yield _Line(line.time, process.name, f"{arrow}{line.receiver}: {line.text}{lost}")

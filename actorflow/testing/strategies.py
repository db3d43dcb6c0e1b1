"""Hypothesis strategies for schedules, workflows, scripts and scenarios.

They are built from blocks of bytes of fixed length, with several blocks to choose from where a
plain and a wild one are useful. Such blocks shrink well: a byte is lowered without moving the
others. A drawn seed never shrinks, because nearby seeds have nothing in common, and blocks of a
drawn length take ten to a hundred times as many examples to find the same defect. Each kind of
choice reads its own part, so that resetting a choice of one kind does not change the meaning of the
others.

This module and `machine` need Hypothesis; no other module here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.testing.errors import needs_hypothesis
from actorflow.testing.search.drawing import HEAD, ROW, bounds, deeds_of, scenario_of
from actorflow.testing.search.scenarios import DEEDS
from actorflow.testing.simulation.checks import check_whole, plan_of
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.tape import Tape

with needs_hypothesis("actorflow.testing.strategies"):
    from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from actorflow.definition.workflow import Workflow
    from actorflow.testing.search.scenarios import Scenario

__all__ = ["scenarios", "scripts", "tapes", "workflows"]

_ORDER: Final = (16, 64, 160)
"""Maximum number of choices of order that deviate from the default."""
_PARTS: Final = {
    "take *": 24,
    "do *": 16,
    "wait *": 12,
    "timer": 12,
    "jitter": 8,
    "stall for": 4,
    "reach": 4,
    "withhold": 4,
    "cancel whom": 4,
    "crash": 6,
    "poison": 4,
    "duplicate": 4,
    "delay": 4,
    "cancel": 4,
    "restart": 2,
    "late result": 4,
    "store fails": 2,
    "store stalls": 4,
}
"""The other kinds of choice, and the maximum number of deviating choices of each."""
_RARE: Final = 205
"""Bytes below this count as zero in a sparse block: four of five."""
_ATTEMPTS: Final = 4
"""Number of attempts of each step that a script covers."""


def _block(length: int) -> SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


def _sparse(block: bytes) -> bytes:
    return bytes(byte if byte >= _RARE else 0 for byte in block)


def _blocks(*lengths: int) -> SearchStrategy[bytes]:
    """Draw an empty block, or one of several lengths, which may be mostly zeros."""
    blocks = [_block(length) for length in lengths]
    return st.one_of(st.just(b""), *blocks, *(block.map(_sparse) for block in blocks))


_DRAWN_ORDER: Final = _blocks(*_ORDER)
_DRAWN_OTHERS: Final = _blocks(sum(_PARTS.values()))


@st.composite
def tapes(draw: DrawFn) -> Tape:
    """Draw tapes, which fit any workflow. They shrink to the default schedule.

    Args:
        draw: Passed by Hypothesis.
    """
    # Hypothesis lowers the first bytes first. They stand for the last choices, so that deviations
    # come early in a schedule, and the rest of it is the default.
    streams = {"deliver": draw(_DRAWN_ORDER)[::-1]}
    others, start = draw(_DRAWN_OTHERS)[::-1], 0
    for label, length in _PARTS.items() if others else ():
        streams[label] = others[start : start + length]
        start += length
    return Tape(streams)


@st.composite
def scenarios(draw: DrawFn, max_steps: int = 6) -> Scenario:
    """Draw scenarios: a workflow, what its steps do, and what is done to its runs.

    Args:
        draw: Passed by Hypothesis.
        max_steps: Maximum number of steps of the workflow. Unless it is below 6, a few scenarios
            are larger: up to 20 steps and 8 runs.
    """
    check_whole(max_steps, "max_steps", 1)
    head = draw(_block(HEAD))
    steps, runs = bounds(head, max_steps)
    return scenario_of(
        head,
        draw(st.lists(_block(ROW), min_size=1, max_size=steps)),
        draw(st.lists(_block(ROW), min_size=1, max_size=runs)),
    )


@st.composite
def workflows(draw: DrawFn, max_steps: int = 6) -> Workflow:
    """Draw workflows, with every option that a step can have; their functions do nothing.

    Args:
        draw: Passed by Hypothesis.
        max_steps: Maximum number of steps of a workflow.
    """
    check_whole(max_steps, "max_steps", 1)
    rows = draw(st.lists(_block(ROW), min_size=1, max_size=max_steps))
    return scenario_of(draw(_block(HEAD)), rows, ()).flow


@st.composite
def scripts(draw: DrawFn, flow: Workflow) -> Script:
    """Draw scripts for the steps of a workflow; durations are left to the tape.

    Args:
        draw: Passed by Hypothesis.
        flow: The workflow.
    """
    plan_of(flow)
    block = draw(_block(_ATTEMPTS * len(flow.steps)))
    return Script(
        {
            step.id: [DEEDS[deed] for deed in deeds_of(block[index :: len(flow.steps)], step.retry)]
            for index, step in enumerate(flow.steps.values())
        }
    )

"""Hypothesis strategies for schedules, workflows, scripts and scenarios.

They are made of blocks of bytes of a fixed length, several of them where there is a choice
between a plain block and a wild one. That is what shrinks: a byte is lowered without moving the
others. A seed that is drawn never shrinks, because nearby seeds have nothing in common, and
blocks of a length that is drawn as well take ten to a hundred times as many examples to find
the same defect. Each kind of choice reads its own part, so that a choice of one kind that
becomes plain does not change what choices of another kind mean.

This module and `machine` need Hypothesis; nothing else here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from actorflow.testing.search.drawing import HEAD, MOST_RUNS, ROW, deeds_of, scenario_of
from actorflow.testing.search.scenarios import DEEDS
from actorflow.testing.simulation.checks import check_whole, plan_of
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.tape import Tape

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from actorflow.definition.workflow import Workflow
    from actorflow.testing.search.scenarios import Scenario

__all__ = ["scenarios", "scripts", "tapes", "workflows"]

_ORDER: Final = (16, 64, 160)
"""How many choices of order are not plain at most."""
_PARTS: Final = {
    "take *": 24,
    "do *": 16,
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
"""What else is chosen, and how many choices of it are not plain at most."""
_RARE: Final = 205
"""Bytes below count as nought in a sparse block: four of five."""
_ATTEMPTS: Final = 4
"""Of how many attempts of a step a script says what they do."""


def _block(length: int) -> SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


def _sparse(block: bytes) -> bytes:
    return bytes(byte if byte >= _RARE else 0 for byte in block)


def _blocks(*lengths: int) -> SearchStrategy[bytes]:
    """Draw nothing, or a block of one of several lengths, which may be mostly noughts."""
    blocks = [_block(length) for length in lengths]
    return st.one_of(st.just(b""), *blocks, *(block.map(_sparse) for block in blocks))


_DRAWN_ORDER: Final = _blocks(*_ORDER)
_DRAWN_OTHERS: Final = _blocks(sum(_PARTS.values()))


@st.composite
def tapes(draw: DrawFn) -> Tape:
    """Draw tapes, which fit any workflow. They shrink to the plainest schedule.

    Args:
        draw: Hypothesis passes it.
    """
    # Hypothesis lowers the bytes in front first. Those stand for the last choices, so that what
    # is not plain comes early in a schedule, and the rest of it is as usual.
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
        draw: Hypothesis passes it.
        max_steps: How many steps the workflow has at most.
    """
    check_whole(max_steps, "max_steps", 1)
    return scenario_of(
        draw(_block(HEAD)),
        draw(st.lists(_block(ROW), min_size=1, max_size=max_steps)),
        draw(st.lists(_block(ROW), min_size=1, max_size=MOST_RUNS)),
    )


@st.composite
def workflows(draw: DrawFn, max_steps: int = 6) -> Workflow:
    """Draw workflows, with everything that a step can have; their functions do nothing.

    Args:
        draw: Hypothesis passes it.
        max_steps: How many steps a workflow has at most.
    """
    check_whole(max_steps, "max_steps", 1)
    rows = draw(st.lists(_block(ROW), min_size=1, max_size=max_steps))
    return scenario_of(draw(_block(HEAD)), rows, ()).flow


@st.composite
def scripts(draw: DrawFn, flow: Workflow) -> Script:
    """Draw what the steps of a workflow do, and leave to the tape how long it takes.

    Args:
        draw: Hypothesis passes it.
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

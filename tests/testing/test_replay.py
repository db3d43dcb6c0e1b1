"""The same tape makes the same trace, message by message, in every process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.testing import Tape
from tests.support.replay_program import replay

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TAPES = 300
PROGRAM = "from tests.support.replay_program import main; main()"


def chance(seed):
    """A source that chooses by chance, each time with another bias."""
    bias = (0.0, 0.5, 0.8, 0.95)[seed % 4]
    draw = random.Random(seed).random
    return lambda options, _label: 0 if draw() < bias else int(draw() * options)


@settings(max_examples=60)
@given(st.integers(0, 10**9))
def test_what_was_chosen_by_chance_can_be_chosen_again(seed):
    """The tape of what was used makes the same trace, and has the same tape."""
    trace = replay(chance(seed))
    again = replay(trace.tape)

    assert trace.hash == again.hash
    assert trace.choices == again.choices
    assert trace.tape == again.tape


def test_other_choices_make_another_trace():
    """A hash that told nothing apart would pass every other test here."""
    hashes = {replay(chance(seed)).hash for seed in range(TAPES)}

    assert len(hashes) > 0.9 * TAPES


def test_a_tape_makes_the_same_trace_in_another_process(tmp_path):
    """Under other hashes of texts, so under other orders of sets."""
    traces = [replay(chance(seed)) for seed in range(TAPES)]
    tapes = tmp_path / "tapes.jsonl"
    lines = [json.dumps({name: list(s) for name, s in one.tape.streams.items()}) for one in traces]
    tapes.write_text("\n".join(lines), encoding="utf-8")

    for seed in ("1", "2"):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tapes)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        assert [trace.hash for trace in traces] == ended.stdout.split()


def test_the_charts_of_equal_traces_are_equal():
    """They are made of the same names."""
    trace = replay(chance(3))

    assert trace.chart() == replay(Tape(trace.tape.streams)).chart()

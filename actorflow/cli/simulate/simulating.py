"""The commands `actorflow simulate` and `actorflow replay`."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import attrs
from rich.console import Console

from actorflow.cli.loading import load
from actorflow.cli.run.inputs import check_inputs
from actorflow.cli.simulate.findings import describe_search, search_as_json
from actorflow.cli.simulate.replaying import describe_differences, describe_replay
from actorflow.cli.simulate.replaying import replay as run_replay
from actorflow.cli.simulate.scripting import StepOptions, hanging_forever, read_script
from actorflow.cli.simulate.searching import (
    SearchOrder,
    SearchProgress,
    discard_stdout,
    save,
    search,
)
from actorflow.cli.terminal.exits import Problem
from actorflow.cli.terminal.streams import stdout_for_result
from actorflow.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from actorflow.cli.simulate.searching import Found

__all__ = ["Typed", "replay", "simulate"]


@attrs.frozen(kw_only=True)
class Typed:
    """The command line of `actorflow simulate`."""

    target: str
    inputs: Mapping[str, Any]
    schedules: int
    workers: int
    seed: int
    fail: Sequence[str]
    hang: Sequence[str]
    crash: bool
    real: bool
    save: Path | None


def simulate(typed: Typed, *, as_json: bool) -> int:
    """Run the search, report the result, and return the exit status.

    Raises:
        Problem: When the command line is invalid.
        DefinitionError: When the workflow is invalid.
    """
    found = _simulate_as_json(typed) if as_json else _simulate_with_progress(typed)
    return found.exit_status


def _simulate_as_json(typed: Typed) -> Found:
    with stdout_for_result() as stdout:
        found = save(search(_order(typed), None), typed.save)
        json.dump(search_as_json(found), stdout, indent=2)
        stdout.write("\n")
        stdout.flush()
    return found


def _simulate_with_progress(typed: Typed) -> Found:
    # Rich would otherwise look up stdout later, while it is redirected.
    console, order = Console(file=sys.stdout), _order(typed)
    with _progress(console, order.schedules) as progress:
        found = search(order, progress)
    found = save(found, typed.save)
    width = _width(console)
    with discard_stdout() as stdout:
        stdout.writelines(f"{line}\n" for line in describe_search(found, width))
    return found


def _order(typed: Typed) -> SearchOrder:
    if typed.save is not None and not typed.save.parent.is_dir():
        raise Problem(f"--save {typed.save} is in a folder that does not exist. Create it first.")
    if typed.save is not None and typed.save.is_dir():
        raise Problem(
            f"--save {typed.save} is a folder. Name a file: --save {typed.save}/FILE.json"
        )
    loaded = load(typed.target, "simulate")
    plan = loaded.flow.plan()
    check_inputs(plan, typed.inputs, f"actorflow simulate {shlex.quote(typed.target)}")
    script = read_script(plan, StepOptions(fail=typed.fail, hang=typed.hang, real=typed.real))
    for step_id in hanging_forever(plan, script):
        sys.stderr.write(f"Warning: step {step_id!r} hangs and has no timeout: it never ends.\n")
    return SearchOrder(
        loaded=loaded,
        inputs=typed.inputs,
        script=script,
        schedules=typed.schedules,
        seed=typed.seed,
        workers=typed.workers,
        faults=Faults(crashes=int(typed.crash)),
    )


def _progress(
    console: Console, schedules: int
) -> contextlib.AbstractContextManager[SearchProgress | None]:
    if _is_watched(console):
        return SearchProgress(console, schedules)
    return contextlib.nullcontext()


def _is_watched(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()


def _width(console: Console) -> int:
    """Return the width to cut lines to; 0 when the output is not a terminal."""
    return console.width if console.file.isatty() else 0


def replay(path: Path, target: str | None, *, mermaid: bool) -> int:
    """Replay a saved schedule, report the result, and return the exit status.

    Raises:
        Problem: When the file holds no schedule, or its workflow is missing or a different one.
    """
    with discard_stdout() as stdout:
        seen = run_replay(path, target)
        if mermaid:
            stdout.write(f"{seen.trace.mermaid()}\n")
            broken = [] if seen.broken is None else str(seen.broken).splitlines()[:2]
            sys.stderr.writelines(f"{line}\n" for line in (*broken, *describe_differences(seen)))
        else:
            width = _width(Console(file=stdout))
            stdout.writelines(f"{line}\n" for line in describe_replay(seen, width))
    return seen.exit_status

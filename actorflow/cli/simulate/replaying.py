"""Replaying a saved schedule."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from actorflow.cli.loading import load
from actorflow.cli.simulate.findings import cut, describe_broken
from actorflow.cli.simulate.searching import laws_of
from actorflow.cli.terminal.exits import Problem
from actorflow.errors.definition import DefinitionError, MissingInput, UnknownInput
from actorflow.testing import LawBroken, Replay, laws

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.cli.loading import Loaded
    from actorflow.testing import Trace

__all__ = ["Replayed", "describe_replay", "replay"]


@attrs.frozen(kw_only=True)
class Replayed:
    """The result of a replay."""

    kept: Replay
    trace: Trace
    broken: LawBroken | None
    changes: Sequence[str]
    """How the workflow has changed since the schedule was saved."""
    lost: str | None
    """The law that the schedule broke, if it no longer exists."""

    @property
    def same(self) -> bool:
        """Whether the replay was identical to the saved schedule."""
        return self.trace.hash == self.kept.hash

    @property
    def exit_status(self) -> int:
        """The exit status of the command; 2 when the law in question could not be checked."""
        if self.broken is not None:
            return 1
        return 0 if self.lost is None else 2


def replay(path: Path, target: str | None) -> Replayed:
    """Run a saved schedule again and check the laws.

    Args:
        path: The saved schedule.
        target: The workflow, if it has moved since.

    Raises:
        Problem: When the file holds no schedule, or its workflow is missing or a different one.
    """
    text = _read(path)
    # Before the script is read: the errors that it raises may be defined in the workflow's module.
    loaded = _find(target or _flow_in(text, path), path)
    kept = _kept(text, path)
    try:
        trace = kept.simulate(loaded.flow)
    except (MissingInput, UnknownInput) as error:
        raise Problem(f"{path} has inputs that the workflow no longer accepts: {error}") from None
    except DefinitionError as error:
        raise Problem(f"{path}: {error}") from None
    known = laws_of(loaded)
    lost = kept.law if kept.law not in {"", *(law.name for law in known)} else None
    return Replayed(
        kept=kept,
        trace=trace,
        broken=_first_broken(kept, trace, loaded),
        changes=kept.changes(loaded.flow),
        lost=lost,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Problem(f"{path} is not a text file, so it holds no schedule.") from None


def _kept(text: str, path: Path) -> Replay:
    try:
        return Replay.from_json(text)
    except DefinitionError as error:
        raise Problem(f"{path}: {error}") from None


def _flow_in(text: str, path: Path) -> str:
    """Return the target of the workflow, as a file has it."""
    with contextlib.suppress(ValueError, AttributeError):
        flow = json.loads(text).get("flow")
        if isinstance(flow, str):
            return flow
    _kept(text, path)
    raise Problem(f"{path} does not say where its workflow is. Type: {_with_flow(path)}")


def _with_flow(path: Path) -> str:
    return f"actorflow {_typed(path)} FILE:FLOW"


def _typed(path: Path) -> str:
    return f"replay {shlex.quote(str(path))} --flow"


def _find(target: str, path: Path) -> Loaded:
    file, colon, _ = target.rpartition(":")
    if colon and file.endswith(".py") and not Path(file).is_file():
        raise Problem(
            f"{path} is a schedule of {target}, but there is no file {file} here. Change to the "
            f"folder where it was saved, or type: {_with_flow(path)}"
        )
    # A schedule saved by a test may import from the folder in which the tests were started.
    sys.path.append(str(Path.cwd()))
    return load(target, _typed(path))


def _first_broken(kept: Replay, trace: Trace, loaded: Loaded) -> LawBroken | None:
    """Return the law that was broken before, if it is broken again; otherwise the first other."""
    order = sorted(laws_of(loaded), key=lambda law: law.name != kept.law)
    try:
        laws.check(trace, order)
    except LawBroken as broken:
        return broken
    return None


def describe_replay(seen: Replayed, width: int) -> Iterator[str]:
    """Yield the lines of the report: the law that breaks, and the chart."""
    if seen.broken is None:
        yield from (*cut(seen.trace.chart().splitlines(), width), "", "no law broken")
    else:
        yield from describe_broken(seen.broken, width)
    yield from ("", *describe_differences(seen))


def describe_differences(seen: Replayed) -> Iterator[str]:
    """Yield whether the replay was identical, and likely reasons if it was not."""
    if seen.lost is not None:
        yield (
            f"The law {seen.lost!r}, which it broke, is no longer defined beside the workflow and "
            "was not checked."
        )
    if seen.kept.hash is None:
        return
    if seen.same:
        yield "The same as when it was saved, message by message."
        return
    yield "Not the same as when it was saved: the workflow, or what its steps do, has changed."
    yield from (f"  {change}" for change in seen.changes)

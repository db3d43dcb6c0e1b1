"""The commands `actorflow simulate` and `actorflow replay`."""

from __future__ import annotations

import builtins
import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.console import Console

from actorflow.cli.inputs import check_inputs
from actorflow.cli.loading import load
from actorflow.cli.paths import check_output, is_file, why
from actorflow.cli.searching import (
    SearchOrder,
    SearchProgress,
    cut,
    describe_broken,
    describe_search,
    discard_stdout,
    laws_of,
    save,
    search,
    search_as_json,
)
from actorflow.cli.terminal.exits import Problem
from actorflow.cli.terminal.streams import stdout_for_result
from actorflow.cli.trust import check_real, check_target
from actorflow.errors.definition import DefinitionError, MissingInput, UnknownInput
from actorflow.support.suggestions import did_you_mean
from actorflow.testing import Faults, LawBroken, Replay, Script, hangs, laws, raises, real, returns
from actorflow.testing.simulation.tape import BOM
from actorflow.views.text import printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorflow.cli.loading import Loaded
    from actorflow.cli.searching import Found
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.step import Step
    from actorflow.testing import Trace
    from actorflow.testing.simulation.behaviours import Behaviour

__all__ = [
    "Replayed",
    "StepOptions",
    "Typed",
    "describe_replay",
    "hanging_forever",
    "read_script",
    "replay",
    "simulate",
]


@attrs.frozen(kw_only=True)
class Typed:
    """The command line of `actorflow simulate`."""

    target: str
    inputs: Mapping[str, Any]
    schedules: int
    exhaustive: int | None
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
        stdout.writelines(f"{printable_lines(line)}\n" for line in describe_search(found, width))
    return found


def _order(typed: Typed) -> SearchOrder:
    check_output("--save", typed.save, "FILE.json")
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
        exhaustive=typed.exhaustive,
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


def replay(path: Path, target: str | None, *, real: bool, mermaid: bool) -> int:
    """Replay a saved schedule, report the result, and return the exit status.

    Args:
        path: The saved schedule.
        target: The workflow; by default the one that the file names.
        real: Whether the replay may call the functions of steps.
        mermaid: Whether to print only the chart, as a Mermaid diagram.

    Raises:
        Problem: When the file holds no schedule, or its workflow is missing or a different one.
    """
    with discard_stdout() as stdout:
        seen = run_replay(path, target, real=real)
        if mermaid:
            stdout.write(f"{printable_lines(seen.trace.mermaid())}\n")
            broken = [] if seen.broken is None else str(seen.broken).splitlines()[:2]
            said = (*broken, *describe_differences(seen))
            sys.stderr.writelines(f"{printable_lines(line)}\n" for line in said)
        else:
            width = _width(Console(file=stdout))
            stdout.writelines(f"{printable_lines(line)}\n" for line in describe_replay(seen, width))
    return seen.exit_status


_BUILTIN_ERRORS: Final = tuple(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
"""Python's built-in exceptions."""


@attrs.frozen(kw_only=True)
class StepOptions:
    """The options about what steps do."""

    fail: Sequence[str] = ()
    hang: Sequence[str] = ()
    real: bool = False


def read_script(plan: WorkflowPlan, options: StepOptions) -> Script:
    """Return the script of the steps.

    Raises:
        Problem: When a step does not exist, or has two behaviours.
    """
    usual = real(after=None) if options.real else returns(after=None)
    steps: dict[str, Sequence[Behaviour]] = {}
    for option, text, step_id, count in _named(plan, options):
        if step_id in steps:
            raise Problem(
                f"step {step_id!r} is named twice, the second time by {option} {text}. Name it "
                "once; for more, write a Script in Python."
            )
        behaviour: Behaviour = hangs()
        if option == "--fail":
            behaviour = raises(_error(plan.by_id[step_id].step, f"{option} {text}"), after=None)
        steps[step_id] = (behaviour,) if count is None else (*[behaviour] * count, usual)
    return Script(steps, default=usual)


def _named(plan: WorkflowPlan, options: StepOptions) -> Iterator[tuple[str, str, str, int | None]]:
    for option, texts in (("--fail", options.fail), ("--hang", options.hang)):
        for text in texts:
            yield (option, text, *_step_of(plan, option, text))


def _step_of(plan: WorkflowPlan, option: str, text: str) -> tuple[str, int | None]:
    """Return the step that is named, and the number of attempts; None for all attempts."""
    if text in plan.by_id:
        return text, None
    step_id, colon, count = text.rpartition(":")
    if colon and step_id in plan.by_id:
        if count.isdecimal() and int(count):
            return step_id, int(count)
        typed = f"{option} {shlex.quote(step_id)}"
        raise Problem(
            f"{option} {text} needs a number of attempts. Type a whole number, 1 or more: "
            f"{typed}:2, or for all of them: {typed}"
        )
    name = step_id if colon and count.isdecimal() else text
    known = ", ".join(plan.by_id)
    raise Problem(
        f"{option} names step {name!r}, which workflow {plan.workflow_id!r} does not have."
        f"{did_you_mean(name, plan.by_id)} Its steps are: {known}."
    )


def _error(step: Step, text: str) -> Exception:
    """Return an error after which the step is retried, as simple as its retry policy allows."""
    policy = step.retry
    listed = () if policy is None else policy.retryable_errors
    errors = [RuntimeError(text), *_errors(listed, text)]
    return next((error for error in errors if policy and policy.accepts(error)), errors[0])


def _errors(patterns: Iterable[Any], text: str) -> Iterator[Exception]:
    """Yield errors of the built-in exception classes that can be created from a string alone."""
    for kind in patterns:
        if kind in _BUILTIN_ERRORS:
            with contextlib.suppress(TypeError):
                yield kind(text)


def hanging_forever(plan: WorkflowPlan, script: Script) -> list[str]:
    """Return the ids of the steps that hang and have no timeout."""
    scripted: Mapping[str, Sequence[Behaviour]] = script.steps
    return [
        step_id
        for step_id, behaviours in scripted.items()
        if hangs() in behaviours and not plan.timeout and not _limited(plan, step_id)
    ]


def _limited(plan: WorkflowPlan, step_id: str) -> bool:
    step = plan.by_id[step_id].step
    return step.timeout is not None or step.total_timeout is not None


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


def run_replay(path: Path, target: str | None, *, real: bool) -> Replayed:
    """Run a saved schedule again and check the laws.

    Args:
        path: The saved schedule.
        target: The workflow; by default the one that the file names.
        real: Whether the replay may call the functions of steps.

    Raises:
        Problem: When the file holds no schedule, its workflow is missing, a different one or
            outside the working directory, or functions of steps must not be called.
    """
    text = _read(path)
    # Before the script is read: the errors that it raises may be defined in the workflow's module.
    loaded = _find(target or _named_in(text, path), path)
    kept = _kept(text, path)
    if not real:
        typed = f"actorflow replay {shlex.quote(str(path))}"
        named = "" if target is None else f" --flow {shlex.quote(target)}"
        check_real(kept.real_steps(loaded.flow), typed + named)
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
    except UnicodeDecodeError:
        raise Problem(f"{path} is not a text file, so it holds no schedule.") from None
    except (OSError, ValueError) as error:
        raise Problem(f"{path} cannot be read: {why(error)}.") from None


def _kept(text: str, path: Path) -> Replay:
    try:
        json.loads(text.removeprefix(BOM))
    except (ValueError, RecursionError) as error:
        raise Problem(
            f"{path} is not a saved schedule, because it is not valid JSON: {error}. Pass a file "
            "that `actorflow simulate` saved."
        ) from None
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


def _named_in(text: str, path: Path) -> str:
    """Return the target that a file names, if that may be loaded.

    Raises:
        Problem: When it is missing, or outside the working directory.
    """
    target = _flow_in(text, path)
    file, colon, _ = target.rpartition(":")
    if colon and file.endswith(".py") and not is_file(file):
        raise Problem(
            f"{path} is a schedule of {target}, but there is no file {file} here. Change to the "
            f"folder where it was saved, or type: {_with_flow(path)}"
        )
    check_target(target, path)
    return target


def _find(target: str, path: Path) -> Loaded:
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

"""The commands, as typer reads them."""

from __future__ import annotations

import contextlib
import enum
import importlib.metadata
import json
import shlex
import signal
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from actorflow.cli.archive import archive
from actorflow.cli.databases import databases
from actorflow.cli.inputs import check_inputs, read_inputs, refuse_words
from actorflow.cli.interrupts import EXIT_BASE
from actorflow.cli.lines import LineWatcher, SilentWatcher
from actorflow.cli.live import LiveWatcher
from actorflow.cli.loading import load_flow
from actorflow.cli.problems import Problem, warnings_as_text
from actorflow.cli.reports import describe, describe_failure, summary, whole_result
from actorflow.cli.running import Order, Watcher, carry_out
from actorflow.cli.streams import forgiving, only_for_the_result, silence, whole_lines
from actorflow.errors import (
    DefinitionError,
    MissingExtra,
    RunNotFound,
    StoreError,
    UnknownExecutor,
)
from actorflow.state.sql import SQLStateManager
from actorflow.views import draw_cycle, draw_dot, draw_mermaid, draw_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.plan import WorkflowPlan
    from actorflow.workflow import Workflow

__all__ = ["app", "invoke"]

_BAD_USAGE: Final = 2

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:FLOW]",
        help="A Python file or module, and if it defines several workflows, the one to take.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=VALUE", help="An input of the run, as a text."),
]
Documents = Annotated[
    list[str] | None,
    typer.Option(
        "--input-json",
        metavar="JSON",
        help="Inputs as a JSON object: itself, @FILE, or - for stdin.",
    ),
]


class Format(enum.StrEnum):
    """How a graph is written."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"


def invoke(arguments: Sequence[str]) -> int:
    """Carry out a command, and return the exit status."""
    try:
        # Not `app(...)`: that would install an excepthook for the whole process.
        typer.main.get_command(app).main(args=list(arguments), prog_name="actorflow")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


@contextlib.contextmanager
def _exit_statuses() -> Iterator[None]:
    """Turn what can go wrong with a command into a text on stderr and an exit status."""
    with forgiving(sys.stdout), forgiving(sys.stderr), warnings_as_text(), _problems_told():
        yield
        sys.stdout.flush()


_TOLD: Final = (
    MissingExtra,
    Problem,
    DefinitionError,
    RunNotFound,
    StoreError,
    UnknownExecutor,
)


@contextlib.contextmanager
def _problems_told() -> Iterator[None]:
    try:
        yield
    except _TOLD as problem:
        sys.stderr.write(f"Error: {problem}\n")
        raise typer.Exit(_BAD_USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_BASE + signal.SIGINT) from None
    except BrokenPipeError:
        silence()
        raise typer.Exit(EXIT_BASE + signal.SIGPIPE) from None


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        typer.echo(f"actorflow {importlib.metadata.version('actorflow')}")
        raise typer.Exit


@app.callback()
def _actorflow(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run workflows, draw them, check them, and try them on many schedules."""


@app.command(context_settings={"allow_extra_args": True})
def run(
    context: typer.Context,
    target: Target,
    *,
    inputs: Inputs = None,
    documents: Documents = None,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many async steps may run at once.")
    ] = 10,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How long the run may take.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole result as JSON, and nothing else.")
    ] = False,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="ACTORFLOW_DB",
            help="Where to record it, such as sqlite:///runs.db; see `actorflow runs`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a workflow and show how it goes.

    Ctrl-C cancels the run, and pressed twice it leaves at once.
    """
    with _exit_statuses():
        refuse_words(context.args, target)
        given = read_inputs(inputs or (), documents or ())

        def order() -> Order:
            flow = load_flow(target, "run")
            check_inputs(flow.plan(), given, f"actorflow run {shlex.quote(target)}")
            state = None if db is None else SQLStateManager(db, create=True)
            return Order(flow=flow, inputs=given, workers=workers, timeout=timeout, state=state)

        status = _print_json(order) if as_json else _show(order)
    raise typer.Exit(status)


def _print_json(order: Callable[[], Order]) -> int:
    with only_for_the_result() as stdout:
        outcome = carry_out(order(), SilentWatcher())
        json.dump(whole_result(outcome), stdout, indent=2)
        stdout.write("\n")
        stdout.flush()
    return outcome.exit_status


def _show(order: Callable[[], Order]) -> int:
    console = Console()
    with _watcher(console) as watcher, whole_lines():
        outcome = carry_out(order(), watcher)
    for line in describe(outcome, console.width):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    for line in describe_failure(outcome.result):
        sys.stderr.write(f"{line}\n")
    return outcome.exit_status


def _watcher(console: Console) -> contextlib.AbstractContextManager[Watcher]:
    if console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty():
        return LiveWatcher(console)
    return contextlib.nullcontext(LineWatcher())


@app.command(context_settings={"allow_extra_args": True})
def simulate(
    context: typer.Context,
    target: Target,
    *,
    schedules: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many schedules to try at most.")
    ] = 10_000,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many async steps may run at once.")
    ] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Equal seeds try equal schedules.")] = 0,
    inputs: Inputs = None,
    documents: Documents = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP[:N]", help="Let a step's first N attempts fail, or all."),
    ] = None,
    hang: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP[:N]", help="Let a step's first N attempts hang, or all."),
    ] = None,
    crash: Annotated[
        bool, typer.Option("--crash", help="Let an actor crash, at a moment that is chosen.")
    ] = False,
    real: Annotated[
        bool, typer.Option("--real", help="Call the steps' own functions, in virtual time.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to keep a schedule that breaks a law.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as JSON, and nothing else.")
    ] = False,
) -> None:
    """Run a workflow on many schedules in virtual time, and look for one that breaks a law.

    The steps' functions are not called, unless you say --real: each step returns a text, after
    a time that is chosen. The laws are actorflow's own, and those that stand in the same file.

    Ctrl-C ends the search, and shows what was found so far; pressed twice, it leaves at once.
    """
    # Only this command and the next need what simulates.
    from actorflow.cli import simulating  # noqa: PLC0415

    with _exit_statuses():
        refuse_words(context.args, target, "simulate")
        typed = simulating.Typed(
            target=target,
            inputs=read_inputs(inputs or (), documents or ()),
            schedules=schedules,
            workers=workers,
            seed=seed,
            fail=fail or (),
            hang=hang or (),
            crash=crash,
            real=real,
            save=save,
        )
        status = simulating.simulate(typed, as_json=as_json)
    raise typer.Exit(status)


@app.command()
def replay(
    tape: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `actorflow simulate` has saved.")
    ],
    *,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:FLOW]", help="Where its workflow stands now.", show_default=False
        ),
    ] = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Print the chart as a Mermaid diagram, alone.")
    ] = False,
) -> None:
    """Show a saved schedule again: the law that it breaks, and who said what to whom."""
    from actorflow.cli import simulating  # noqa: PLC0415 - see above

    with _exit_statuses():
        status = simulating.replay(tape, flow, mermaid=mermaid)
    raise typer.Exit(status)


@app.command()
def graph(
    target: Target,
    *,
    form: Annotated[Format, typer.Option("--format", help="How to draw it.")] = Format.TEXT,
) -> None:
    """Draw a workflow."""
    draw = {Format.TEXT: draw_tree, Format.MERMAID: draw_mermaid, Format.DOT: draw_dot}[form]
    with _exit_statuses():
        sys.stdout.write(f"{draw(_drawable(load_flow(target, 'graph')))}\n")


def _drawable(flow: Workflow) -> WorkflowPlan:
    try:
        return flow.plan()
    except DefinitionError as fault:
        ring = draw_cycle(flow.steps)
        if not ring:
            raise
        raise Problem(f"{fault}\n\n{ring}") from None


@app.command()
def validate(target: Target) -> None:
    """Check a workflow without running it."""
    with _exit_statuses():
        sys.stdout.write(f"{summary(load_flow(target, 'validate').plan())}\n")


def _resume(url: str, run_id: str, target: str) -> int:
    def order() -> Order:
        flow, state = load_flow(target, "runs resume"), SQLStateManager(url)
        return Order(flow=flow, inputs={}, workers=10, timeout=None, state=state, resumes=run_id)

    return _show(order)


app.add_typer(databases(_exit_statuses), name="db")
app.add_typer(archive(_exit_statuses, _resume), name="runs")

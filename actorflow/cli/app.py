"""The definition of the commands for typer."""

from __future__ import annotations

import enum
import importlib.metadata
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from actorflow.cli.databases import databases, store
from actorflow.cli.inputs import check_inputs, read_inputs, reject_arguments
from actorflow.cli.loading import (
    AsJson,
    Svg,
    Target,
    Workers,
    load_flow,
)
from actorflow.cli.reports import check_svg
from actorflow.cli.running import Order, print_json, show
from actorflow.cli.runs import runs
from actorflow.cli.schedules import schedules
from actorflow.cli.terminal.exits import Problem, bad_value, exit_statuses
from actorflow.errors.definition import DefinitionError
from actorflow.support.urls import masked_text
from actorflow.views import draw_cycle, draw_dot, draw_mermaid, draw_tree
from actorflow.views.text import printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow

__all__ = ["app", "invoke"]


_UsageError: Any = typer.BadParameter.__mro__[1]
"""The error of typer for any wrong use; typer does not export it."""


class _Commands(typer.core.TyperGroup):
    """The commands; a value that an option cannot take is reported in the words of a person."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as wrong:
            said = bad_value(wrong.message, getattr(wrong.param, "metavar", None))
            wrong.message = printable_lines(masked_text(said))
            raise
        except _UsageError as wrong:  # such as an unexpected argument, which may be a database URL
            wrong.message = printable_lines(masked_text(wrong.message))
            raise


app: typer.Typer = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=VALUE", help="An input of the run, as a string."),
]
Documents = Annotated[
    list[str] | None,
    typer.Option(
        "--input-json",
        metavar="JSON",
        help="Inputs as a JSON object: inline, @FILE, or - for stdin.",
    ),
]


class Format(enum.StrEnum):
    """The output format of a graph."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"


def invoke(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status."""
    try:
        # Not `app(...)`, which would install an excepthook for the whole process.
        typer.main.get_command(app).main(args=list(arguments), prog_name="actorflow")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


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
    """Run, draw and validate workflows, and simulate them on many schedules."""


@app.command(context_settings={"allow_extra_args": True})
def run(
    context: typer.Context,
    target: Target,
    *,
    inputs: Inputs = None,
    documents: Documents = None,
    workers: Workers = 10,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="The timeout of the run.", show_default=False),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Record the run in this database.", show_default=False),
    ] = None,
    svg: Svg = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow and show its progress.

    Ctrl-C cancels the run; pressed twice, it exits at once.
    """
    with exit_statuses():
        reject_arguments(context.args, target)
        check_svg(svg)
        given = read_inputs(inputs or (), documents or ())

        def order() -> Order:
            flow = load_flow(target, "run")
            check_inputs(flow.plan(), given, f"actorflow run {shlex.quote(target)}")
            state = None if db is None else store(db)
            return Order(flow=flow, inputs=given, workers=workers, timeout=timeout, state=state)

        status = print_json(order, svg) if as_json else show(order, svg)
    raise typer.Exit(status)


@app.command(context_settings={"allow_extra_args": True})
def simulate(
    context: typer.Context,
    target: Target,
    *,
    schedules: Annotated[
        int, typer.Option(min=1, metavar="N", help="The maximum number of schedules to try.")
    ] = 10_000,
    exhaustive: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="K",
            help="Try every schedule with at most K deviations from the default one.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="The number of async workers.")
    ] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Equal seeds try equal schedules.")] = 0,
    inputs: Inputs = None,
    documents: Documents = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP[:N]", help="Make all, or the first N, attempts of a step fail."),
    ] = None,
    hang: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP[:N]", help="Make all, or the first N, attempts of a step hang."),
    ] = None,
    crash: Annotated[
        bool, typer.Option("--crash", help="Crash an actor at a moment chosen by the search.")
    ] = False,
    real: Annotated[
        bool, typer.Option("--real", help="Call the steps' functions, in virtual time.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to save a schedule that breaks a law.",
            show_default=False,
            parser=Path,  # instead of typer, which would look at the file
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as JSON, and nothing else.")
    ] = False,
) -> None:
    """Search for a schedule that breaks a law, in virtual time.

    The steps' functions are not called unless you pass --real: each step returns a string after
    a duration chosen by the search. The laws are actorflow's own and those defined in the file.

    Ctrl-C ends the search and shows what was found; pressed twice, it exits at once.
    """
    # Imported here because only this command and the next need it.
    from actorflow.cli import simulating  # noqa: PLC0415

    with exit_statuses():
        reject_arguments(context.args, target, "simulate")
        typed = simulating.Typed(
            target=target,
            inputs=read_inputs(inputs or (), documents or ()),
            schedules=schedules,
            exhaustive=exhaustive,
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
        Path,
        typer.Argument(
            metavar="FILE",
            help="A schedule that `actorflow simulate` saved.",
            parser=Path,  # as for --save
        ),
    ],
    *,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:FLOW]",
            help="The workflow, if it has moved or is outside the working directory.",
            show_default=False,
        ),
    ] = None,
    real: Annotated[
        bool,
        typer.Option("--real", help="Call the steps' functions without asking, if it does that."),
    ] = False,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Print only the chart, as a Mermaid diagram.")
    ] = False,
) -> None:
    """Replay a saved schedule, and draw all its messages.

    Trust the file like code: it names the workflow to load, and may call its functions.
    """
    from actorflow.cli import simulating  # noqa: PLC0415 - see above

    with exit_statuses():
        status = simulating.replay(tape, flow, real=real, mermaid=mermaid)
    raise typer.Exit(status)


@app.command()
def graph(
    target: Target,
    *,
    form: Annotated[Format, typer.Option("--format", help="The output format.")] = Format.TEXT,
) -> None:
    """Draw a workflow."""
    draw = {Format.TEXT: draw_tree, Format.MERMAID: draw_mermaid, Format.DOT: draw_dot}[form]
    with exit_statuses():
        drawn = draw(_drawable(load_flow(target, "graph")))
        sys.stdout.write(f"{printable_lines(drawn)}\n")


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
    with exit_statuses():
        sys.stdout.write(f"{printable_lines(_summary(load_flow(target, 'validate')))}\n")


app.add_typer(runs, name="runs")
app.add_typer(schedules, name="schedules")
app.add_typer(databases(exit_statuses), name="db")


def _summary(flow: Workflow) -> str:
    plan = flow.plan()
    count = len(plan.steps)
    needs = f"needs {', '.join(plan.required_inputs) or 'no input'}"
    takes = f", can take {', '.join(plan.optional_inputs)}" if plan.optional_inputs else ""
    return f"{flow.id} is valid: {count} step{'s' if count > 1 else ''}, {needs}{takes}"

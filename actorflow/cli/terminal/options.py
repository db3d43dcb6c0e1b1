"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Svg", "Target", "Workers"]

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:FLOW]",
        help="A Python file or module, and the workflow in it if it defines several.",
    ),
]
Workers = Annotated[int, typer.Option(min=1, metavar="N", help="The number of async workers.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only the whole result, as JSON.")]
Svg = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write the chart of the run to this file, as SVG.", show_default=False
    ),
]

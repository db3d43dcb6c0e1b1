"""What several commands are told in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Svg", "Target", "Workers"]

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:FLOW]",
        help="A Python file or module, and if it defines several workflows, the one to take.",
    ),
]
Workers = Annotated[
    int, typer.Option(min=1, metavar="N", help="How many async steps may run at once.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the whole result as JSON, and nothing else.")
]
Svg = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write the chart of the run to this file, as SVG.", show_default=False
    ),
]

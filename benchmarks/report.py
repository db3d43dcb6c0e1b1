"""What comes out: tables for people, the same records as JSON, the samples for pyperf."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import attrs
import pyperf

from benchmarks.measure import Measured

__all__ = ["Record", "Table", "dump_figures", "dump_samples", "show"]

Cell = str | int | float
Record = dict[str, Cell]


@attrs.frozen(kw_only=True)
class Table:
    """Records with equal keys, which are the columns; and the samples behind them."""

    section: str
    title: str
    records: list[Record]
    samples: Sequence[Measured] = ()
    note: str = ""


def show(table: Table) -> str:
    """Return the table as text, with the numbers to the right."""
    names = list(table.records[0])
    columns = [_column(name, [record[name] for record in table.records]) for name in names]
    header, *rows = ("  ".join(row).rstrip() for row in zip(*columns, strict=True))
    note = ["", table.note] if table.note else []
    return "\n".join(["", table.title, "", header, "-" * len(header), *rows, *note])


def _column(name: str, cells: list[Cell]) -> list[str]:
    texts = [name, *map(_text, cells)]
    width = max(map(len, texts))
    return [text.ljust(width) if isinstance(cells[0], str) else text.rjust(width) for text in texts]


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:,.2f}" if isinstance(cell, float) else f"{cell:,}"


def dump_figures(tables: Sequence[Table], path: Path) -> None:
    """Write every record, and the machine that they were measured on."""
    machine = pyperf.Run([1.0]).get_metadata()
    figures = {table.section: table.records for table in tables}
    path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


def dump_samples(tables: Sequence[Table], path: Path) -> None:
    """Write the samples as a pyperf suite, for `python -m pyperf compare_to`."""
    benchmarks = [
        measured.benchmark(table.section) for table in tables for measured in table.samples
    ]
    pyperf.BenchmarkSuite(benchmarks).dump(str(path), replace=True)

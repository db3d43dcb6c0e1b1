"""What the command line asks of every section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.workloads import Workload

__all__ = ["Options"]


@attrs.frozen(kw_only=True)
class Options:
    """How often, with how many workers, on which graphs, and how many times smaller."""

    samples: int = 7
    workers: int = 10
    shrink: int = 1
    workloads: frozenset[str] = frozenset()
    wfcommons: Path | None = None
    """A directory of recorded workflows."""

    def chosen(self, workloads: Sequence[Workload]) -> Sequence[Workload]:
        """Return the workloads that were named, or all of them if none was."""
        return [each for each in workloads if each.name in self.workloads] or workloads

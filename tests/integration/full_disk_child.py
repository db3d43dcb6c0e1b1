"""A program whose files may not grow any more after a while.

    python full_disk_child.py URL

It prints one JSON object: what runs came to before, while and after its disk was full.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import sqlalchemy as sa

from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from actorflow.workflow import Workflow

__all__: list[str] = []

flow = Workflow("fill")


@flow.step
def fill(size):
    """Return something to be stored."""
    return "x" * size


def main(url):
    """Fill the disk, see what happens, make room, go on."""
    state = SQLStateManager(url, create=True, patience=0.1)
    with Orchestrator(state) as orchestrator:

        def run(size):
            result = orchestrator.start(flow, {"size": size}).wait()
            told.append([result.run_id, result.status, type(result.error).__name__])

        told = []
        run(10)
        size = Path(sa.make_url(url).database + "-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10_000, resource.RLIM_INFINITY))
        for _ in range(2):
            run(200_000)
        sick = state.health.status
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        run(10)
        json.dump({"runs": told, "health": [sick, state.health.status]}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])

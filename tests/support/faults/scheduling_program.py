"""A daemon that serves a schedule of every second, until it is killed or its input ends.

python -m tests.support.faults.scheduling_program URL
"""

from __future__ import annotations

import sys

from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

__all__ = ["NAME", "flow"]

NAME = "tick"
flow = Workflow("ticking")


@flow.step
def tick(ctx):
    """Return the nominal time."""
    return ctx.metadata["scheduled_for"]


def main(url):
    """Serve it."""
    with Orchestrator(SQLStateManager(url, lease=1.0), recover=True) as orchestrator:
        orchestrator.schedule(NAME, flow, every=1.0, overlap="allow", missed="all")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])

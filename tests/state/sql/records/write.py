"""Writes a database with whatever of actorflow's own can be in one; prints it as SQL.

    python -m tests.state.sql.records.write > tests/state/sql/records/written-by-0.1.0.sql

A later version has to read what an earlier one wrote, so a file made by this program is kept for
good. Run it again only to add a file for a newer version.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path

from actorflow import (
    GiveUp,
    Orchestrator,
    RetryPolicy,
    RunFailed,
    RunStatus,
    Workflow,
)
from actorflow.state.sql import SQLStateManager

__all__ = ["FLOWS", "main"]

nested = Workflow("nested")
broken = Workflow("broken")
values = Workflow("values")
refused = Workflow("refused")
outer = Workflow("outer")
slow = Workflow("slow")
late = Workflow("late", timeout=0.01)
unstorable = Workflow("unstorable")
FLOWS = (nested, broken, values, refused, outer, slow, late, unstorable)


@nested.step
def number():
    """Return a plain value."""
    return 42


@broken.step
def fails():
    """Raise an error that is no actorflow error."""
    raise ValueError("out of luck")


@values.step
def returned(policy):
    """Return one object of each kind that actorflow defines and a program may keep."""
    with Orchestrator() as orchestrator:
        run = orchestrator.start(nested)
        result = run.wait()
        events = list(run.events())
        return {
            "step": result.steps["number"],
            "status": RunStatus.COMPLETED,
            "policy": policy,
            "events": events,
        }


@values.step(after=returned)
def then(returned, *, go_on=False):
    """Fail, so that a later version can resume the run from the recorded values."""
    if returned["step"].output != 42:
        raise RuntimeError("what was recorded is not what was returned")
    raise GiveUp("this version stops here")


@refused.step
def gives_up():
    """Raise an error that asks for no more attempts."""
    raise GiveUp("not today")


@outer.step
def runs_broken():
    """Raise an error that holds a whole result."""
    with Orchestrator() as orchestrator:
        try:
            orchestrator.run(broken)
        except RunFailed as error:
            raise error from None


@slow.step(async_=True, timeout=0.01)
async def sleeps():
    """Outlast the step's timeout."""
    import asyncio  # noqa: PLC0415 - only this step needs it

    await asyncio.Event().wait()


@late.step(async_=True)
async def sleeps_too():
    """Outlast the run's timeout."""
    import asyncio  # noqa: PLC0415 - only this step needs it

    await asyncio.Event().wait()


@unstorable.step
def returns_a_function():
    """Return what no serializer takes."""
    return print


def main() -> None:
    """Run every workflow once on a new database, and print the database."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        with Orchestrator(SQLStateManager(f"sqlite:///{path}", create=True)) as orchestrator:
            for flow in FLOWS:
                policy = RetryPolicy(max_attempts=2, initial_interval=0.5)
                inputs = {"policy": policy} if flow is values else {}
                orchestrator.start(flow, inputs, business_id=flow.id).wait()
        connection = sqlite3.connect(path)
        sys.stdout.writelines(f"{line}\n" for line in connection.iterdump())
        connection.close()


if __name__ == "__main__":
    main()

"""A daemon that processes orders, keeps its runs in SQLite, and may be killed at any time.

    python docs/examples/orders.py orders.db 7
    python docs/examples/orders.py orders.db 7 --power-fails-in send

The second form kills its own process, as `kill -9` does, after the given step has started.
"""

from __future__ import annotations

import argparse
import os
import signal
import time

from actorflow import Orchestrator, StepContext, Workflow
from actorflow.state.sql import SQLStateManager

__all__ = ["flow", "main"]

LEASE = 2.0
"""Seconds after which another daemon may take over the runs of a killed one."""

flow = Workflow("order", version="1.0.0")
fatal: set[str] = set()


@flow.step
def price(number: int, ctx: StepContext) -> int:
    """Look up the price."""
    _begin(ctx)
    return 40 + number


@flow.step(after=price, async_=True)
async def charge(price: int, ctx: StepContext) -> str:
    """Charge the customer. A real step would pass `ctx.idempotency_key` to the service."""
    _begin(ctx)
    return f"{price} charged"


@flow.step(after=price, async_=True)
async def pack(number: int, ctx: StepContext) -> str:
    """Pack the parcel."""
    _begin(ctx)
    return f"parcel {number}"


@flow.step(after=[charge, pack])
def send(charge: str, pack: str, ctx: StepContext) -> str:
    """Send the parcel."""
    _begin(ctx)
    return f"{pack} sent, {charge}"


def _begin(ctx: StepContext) -> None:
    print(f"{ctx.step_id} starts", flush=True)
    if ctx.step_id in fatal:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Process an order, or continue it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("database", metavar="FILE")
    parser.add_argument("number", type=int)
    parser.add_argument("--power-fails-in", choices=[*flow.steps], metavar="STEP")
    asked = parser.parse_args()
    if asked.power_fails_in:
        fatal.add(asked.power_fails_in)

    state = SQLStateManager(f"sqlite:///{asked.database}", create=True, lease=LEASE)
    daemon = Orchestrator(state, recover=True, recover_every=0.1)
    daemon.register(flow)
    with daemon:
        inputs = {"number": asked.number}
        run = daemon.start(flow, inputs, idempotency_key=f"order {asked.number}")
        while not run.snapshot().status.terminal:
            time.sleep(0.05)
        print(run.snapshot().outputs["send"])


if __name__ == "__main__":
    main()

"""The graphs that are measured, as plain values from which every contender is built.

A workload knows nothing of who runs it: it is ids, dependencies and a number per step.
Every body folds the outputs of its own dependencies into that number, so that an output which
reached the wrong step, or none, changes the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

__all__ = [
    "BODIES",
    "RETURNS",
    "SUSPENDS",
    "THREAD",
    "AsyncBody",
    "Body",
    "Inputs",
    "Node",
    "Outputs",
    "SyncBody",
    "Workload",
    "chain",
    "fan",
    "layers",
]

Inputs = Mapping[str, Any]
Outputs = dict[str, int]
AsyncBody = Callable[[Inputs], Awaitable[int]]
SyncBody = Callable[[Inputs], int]

MODULUS = 1_000_003
"""Sums stay below it, so that no step of a deep graph pays for long integers."""


@attrs.frozen(kw_only=True)
class Node:
    """One step: its id, the ids it waits for, and a number of its own."""

    id: str
    after: tuple[str, ...]
    number: int


@attrs.frozen(kw_only=True)
class Workload:
    """A named graph; dependencies come before the nodes that wait for them."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def after(self) -> dict[str, tuple[str, ...]]:
        """Return the dependencies of every node, by id."""
        return {node.id: node.after for node in self.nodes}


def fan(steps: int) -> Workload:
    """Return one source, `steps - 2` steps that wait for it, and a sink that waits for those."""
    source = Node(id="s0", after=(), number=0)
    middle = [Node(id=f"s{n}", after=("s0",), number=n) for n in range(1, steps - 1)]
    sink = Node(id=f"s{steps - 1}", after=tuple(node.id for node in middle), number=steps - 1)
    return Workload(name=f"fan-{steps}", nodes=(source, *middle, sink))


def chain(steps: int) -> Workload:
    """Return steps that each wait for the one before."""
    nodes = (Node(id=f"s{n}", after=(f"s{n - 1}",) if n else (), number=n) for n in range(steps))
    return Workload(name=f"chain-{steps}", nodes=tuple(nodes))


def layers(steps: int, *, width: int = 100, dependencies: int = 3) -> Workload:
    """Return layers of `width` steps, each waiting for `dependencies` of the layer above."""
    nodes = (Node(id=f"s{n}", after=_above(n, width, dependencies), number=n) for n in range(steps))
    return Workload(name=f"layers-{steps}", nodes=tuple(nodes))


def _above(n: int, width: int, dependencies: int) -> tuple[str, ...]:
    layer, column = divmod(n, width)
    first = (layer - 1) * width
    # A stride spreads the dependencies, so that the layers do not fall apart into columns.
    columns = ((column + k * 37) % width for k in range(dependencies)) if layer else ()
    return tuple(f"s{first + above}" for above in columns)


def _returning(node: Node) -> AsyncBody:
    async def body(inputs: Inputs) -> int:
        return _total(node, inputs)

    return body


def _suspending(node: Node) -> AsyncBody:
    async def body(inputs: Inputs) -> int:
        await asyncio.sleep(0)
        return _total(node, inputs)

    return body


def _plain(node: Node) -> SyncBody:
    def body(inputs: Inputs) -> int:
        return _total(node, inputs)

    return body


def _total(node: Node, inputs: Inputs) -> int:
    total: int = node.number + sum(map(inputs.__getitem__, node.after))
    return total % MODULUS


@attrs.frozen(kw_only=True)
class Body:
    """What the steps of a workload do: `make` gives a node its function."""

    name: str
    make: Callable[[Node], Callable[[Inputs], Any]]
    on_thread: bool = False


RETURNS = Body(name="returns", make=_returning)
SUSPENDS = Body(name="suspends", make=_suspending)
THREAD = Body(name="thread", make=_plain, on_thread=True)
BODIES = (RETURNS, SUSPENDS, THREAD)

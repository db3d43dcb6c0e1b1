"""Other schedulers on the same graphs, where they are installed: dask's threads and LangGraph.

Each is given what it is made for: dask plain functions on as many threads as there are workers,
LangGraph coroutines in a compiled graph whose state is one dictionary of outputs.
Neither is a dependency of actorflow, not even of an extra: `pip install dask langgraph`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, TypedDict

from benchmarks.contenders import Contender, Run
from benchmarks.workloads import RETURNS, THREAD, Node, Outputs, Workload

__all__ = ["missing", "peers"]


def peers(workload: Workload, workers: int) -> list[Contender]:
    """Return the peers that are installed."""
    return [make(workload, workers) for name, make in PEERS.items() if find_spec(name)]


def missing() -> list[str]:
    """Return the names of the peers that are not."""
    return [name for name in PEERS if not find_spec(name)]


def _dask(workload: Workload, workers: int) -> Contender:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Run]:
        get = import_module("dask.threaded").get
        graph = {node.id: (_positional(node), *node.after) for node in workload.nodes}
        ids = list(graph)

        async def run() -> Outputs:
            return dict(zip(ids, get(graph, ids, pool=pool), strict=True))

        with ThreadPoolExecutor(workers) as pool:
            yield run

    return Contender(name="dask threads", workload=workload, body=THREAD, opened=opened)


def _positional(node: Node) -> Callable[..., int]:
    body = THREAD.make(node)

    def call(*outputs: int) -> int:
        total: int = body(dict(zip(node.after, outputs, strict=True)))
        return total

    return call


def _merge(outputs: Outputs, update: Outputs) -> Outputs:
    # In place: a new dictionary for every step would make the peer quadratic.
    outputs.update(update)
    return outputs


class State(TypedDict):
    """What LangGraph carries from step to step."""

    outputs: Annotated[Outputs, _merge]


def _langgraph(workload: Workload, workers: int) -> Contender:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Run]:
        graph = _compiled(workload)
        config = {"recursion_limit": len(workload.nodes) + 1, "max_concurrency": workers}

        async def run() -> Outputs:
            state: State = await graph.ainvoke({"outputs": {}}, config)
            return state["outputs"]

        yield run

    return Contender(name="LangGraph", workload=workload, body=RETURNS, opened=opened)


def _compiled(workload: Workload) -> Any:
    module = import_module("langgraph.graph")
    builder = module.StateGraph(State)
    for node in workload.nodes:
        builder.add_node(node.id, _updating(node))
        # A list makes a barrier, which LangGraph needs for several dependencies only.
        several = list(node.after)
        builder.add_edge(several if len(several) > 1 else (*several, module.START)[0], node.id)
    return builder.compile()


def _updating(node: Node) -> Callable[[State], Awaitable[State]]:
    body = RETURNS.make(node)

    async def call(state: State) -> State:
        return {"outputs": {node.id: await body(state["outputs"])}}

    return call


PEERS: Mapping[str, Callable[[Workload, int], Contender]] = {
    "dask": _dask,
    "langgraph": _langgraph,
}

"""Dependents, topological order and cycles of a graph.

A graph maps each id to the ids it depends on, in the order of definition. Nothing here recurses, so
a chain may be as long as memory allows.
"""

from __future__ import annotations

import heapq
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["dependents", "find_cycle", "topological_order"]


def dependents(dependencies: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the reversed graph; dependents are in order of definition."""
    waiting: dict[str, list[str]] = {node: [] for node in dependencies}
    for node, needed in dependencies.items():
        for dependency in needed:
            waiting[dependency].append(node)
    return waiting


def find_cycle(dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the nodes of one cycle in the direction of the data; empty if there is none.

    The first node is the one that was defined first, and is repeated at the end.
    """
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as found:
        return _rotated(found.args[1], dependencies)
    return ()


def _rotated(cycle: list[str], dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    members = set(cycle)
    first = next(node for node in dependencies if node in members)
    start = cycle.index(first)
    return (*cycle[start:-1], *cycle[:start], first)


def topological_order(dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return every node after its dependencies, and otherwise in the order of definition.

    Of the nodes that may come next, the one that was defined first does. A definition that is in
    order already therefore stays as it is. The graph must have no cycle.
    """
    nodes = tuple(dependencies)
    position = {node: place for place, node in enumerate(nodes)}
    missing = {node: len(needed) for node, needed in dependencies.items()}
    following = dependents(dependencies)
    ready = [position[node] for node in nodes if not missing[node]]
    order = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for dependent in following[node]:
            missing[dependent] -= 1
            if not missing[dependent]:
                heapq.heappush(ready, position[dependent])
    return tuple(order)

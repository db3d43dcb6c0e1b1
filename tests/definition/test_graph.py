"""Order, cycles and dependents of graphs."""

from __future__ import annotations

from graphlib import TopologicalSorter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.compiling import dependents, find_cycle, topological_order


@st.composite
def acyclic(draw):
    """A graph without cycles, defined in any order."""
    size = draw(st.integers(0, 12))
    graph = {}
    for node in range(size):
        earlier = (
            st.lists(st.integers(0, node - 1), unique=True, max_size=4) if node else st.just([])
        )
        graph[str(node)] = [str(it) for it in draw(earlier)]
    return {node: graph[node] for node in draw(st.permutations(sorted(graph)))}


@st.composite
def any_graph(draw):
    """A graph that may well have cycles."""
    nodes = [str(node) for node in range(draw(st.integers(1, 8)))]
    needed = st.lists(st.sampled_from(nodes), unique=True, max_size=3)
    return {node: draw(needed) for node in nodes}


@given(acyclic())
def test_every_node_comes_after_its_dependencies(graph):
    """And none is lost or said twice."""
    order = topological_order(graph)
    place = {node: index for index, node in enumerate(order)}

    assert sorted(graph) == sorted(order)
    assert all(place[needed] < place[node] for node in graph for needed in graph[node])


@given(acyclic())
def test_of_the_nodes_that_may_come_next_the_first_defined_does(graph):
    """The order is what a person would do who reads the definition from the top again and again."""
    left, expected = dict(graph), []
    while left:
        node = next(node for node in left if not set(left[node]) & set(left))
        expected.append(node)
        del left[node]

    assert tuple(expected) == topological_order(graph)


@given(acyclic())
def test_a_definition_that_is_in_order_is_left_alone(graph):
    """Sorting twice changes nothing."""
    order = topological_order(graph)

    assert order == topological_order({node: graph[node] for node in order})


@given(acyclic())
def test_a_graph_without_cycles_has_none(graph):
    """No false alarm."""
    assert () == find_cycle(graph)


@given(any_graph())
def test_a_cycle_is_a_real_one(graph):
    """Each node waits for the one before it, and the first is the last."""
    cycle = find_cycle(graph)

    if cycle:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(before in graph[after] for before, after in pairwise(cycle))
    else:
        assert set(graph) == set(TopologicalSorter(graph).static_order())


@given(any_graph())
def test_a_cycle_starts_where_the_definition_does(graph):
    """The same cycle is always told in the same way."""
    cycle = find_cycle(graph)

    assert cycle[:1] == tuple(node for node in graph if node in cycle)[:1]


@given(any_graph())
def test_dependents_are_dependencies_seen_from_the_other_end(graph):
    """In order of definition."""
    assert {
        node: [other for other in graph if node in graph[other]] for node in graph
    } == dependents(graph)


def test_a_node_that_waits_for_itself_is_a_cycle():
    """The shortest one there is."""
    assert ("a", "a") == find_cycle({"a": ["a"]})


def test_a_cycle_is_told_in_the_direction_of_the_data():
    """`a -> b` means that b waits for a."""
    assert ("a", "b", "c", "a") == find_cycle({"a": ["c"], "b": ["a"], "c": ["b"]})


def test_a_chain_of_fifty_thousand_needs_no_recursion():
    """Forwards, backwards and bent into a ring."""
    chain = {str(node): [str(node - 1)] if node else [] for node in range(50_000)}
    backwards = dict(reversed(chain.items()))
    ring = {**chain, "0": ["49999"]}

    assert tuple(chain) == topological_order(chain) == topological_order(backwards)
    assert () == find_cycle(chain)
    assert 50_001 == len(find_cycle(ring))

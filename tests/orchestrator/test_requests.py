"""The arguments of a start, before anything runs."""

from __future__ import annotations

import uuid

from actorflow.definition.workflow import Step, Workflow
from actorflow.model.requests import new_run_id
from actorflow.orchestrator import Orchestrator


def test_the_id_of_a_run_is_a_random_uuid():
    """Version 4 of RFC 4122, as text; its bits are written without `uuid`."""
    ids = [new_run_id() for _ in range(1000)]
    read = [uuid.UUID(run_id) for run_id in ids]

    assert ids == [str(each) for each in read]
    assert {(4, uuid.RFC_4122)} == {(each.version, each.variant) for each in read}
    assert 1000 == len(set(ids))
    # Every other bit is set in some and clear in others.
    free = ~(0xF << 76 | 0x3 << 62) & (1 << 128) - 1
    assert free == free & _any_bit(each.int for each in read)
    assert free == free & _any_bit(~each.int for each in read)


def _any_bit(numbers):
    bits = 0
    for number in numbers:
        bits |= number
    return bits


def test_runs_without_metadata_share_that_of_their_workflow():
    """Steps see it, and the three ids are read from it."""
    flow = Workflow("flow", metadata={"trace_id": "t", "team": "a"})
    flow.add(Step("see", lambda ctx: (dict(ctx.metadata), ctx.trace_id)))

    with Orchestrator() as orchestrator:
        shared = orchestrator.run(flow).output
        own = orchestrator.run(flow, metadata={"team": "b"}).output

    assert ({"trace_id": "t", "team": "a"}, "t") == shared
    assert ({"trace_id": "t", "team": "b"}, "t") == own

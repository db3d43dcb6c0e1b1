"""What callers do to the runs of a cluster: messages, and the end of what would wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors import ActorflowError
from actorflow.errors.storage import StoreUnavailable
from actorflow.testing.errors import NotNow

if TYPE_CHECKING:
    from actorflow.testing.cluster.cluster import Cluster
    from actorflow.testing.search.clusters import ClusterRun

__all__ = ["end_what_waits", "post"]

_AGAIN: Final = 1.0
"""Seconds after which a caller tries again at the next orchestrator."""
_MOST_TRIES: Final = 100
_TOO_LONG: Final = "nobody has sent it a message"


def post(cluster: Cluster, run_id: str, run: ClusterRun, door: int) -> None:
    """Have a run sent its messages, each through another orchestrator."""
    for number, seconds in enumerate(run.messages):
        for place in range(1 + run.sent_again):
            letter = f"message {number}.{place}", f"id {number}" if run.sent_again else None
            moment = cluster.now + seconds + place
            cluster.call_at(moment, _send, cluster, run_id, letter, door + number + place, 0)


def _send(
    cluster: Cluster, run_id: str, letter: tuple[str, str | None], door: int, tries: int
) -> None:
    payload, id_ = letter
    try:
        cluster.send(run_id, "go", payload, id=id_, orchestrator=door % len(cluster.members))
    except (NotNow, StoreUnavailable):
        if tries < _MOST_TRIES:
            moment = cluster.now + _AGAIN
            cluster.call_at(moment, _send, cluster, run_id, letter, door + 1, tries + 1)


def end_what_waits(cluster: Cluster) -> None:
    """Cancel the runs in progress, now or as soon as an orchestrator is there for it."""
    for row in tuple(cluster.store.rows.values()):
        if not row.ended:
            _cancel(cluster, row.run_id, 0)


def _cancel(cluster: Cluster, run_id: str, tries: int) -> None:
    try:
        cluster.cancel(run_id, _TOO_LONG, orchestrator=tries % len(cluster.members))
    except (NotNow, StoreUnavailable):
        if tries < _MOST_TRIES:
            cluster.call_at(cluster.now + _AGAIN, _cancel, cluster, run_id, tries + 1)
    except ActorflowError:
        pass  # it has ended

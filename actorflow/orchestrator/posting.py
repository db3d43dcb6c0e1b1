"""How an admitted run reaches its record, and the supervisor."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from actorflow.errors import ActorflowError
from actorflow.once import Once, settle
from actorflow.texts import text_of

if TYPE_CHECKING:
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.requests import Request
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.results import RunRecord

__all__ = ["post"]


def post(runtime: Runtime, live: LiveRuns, request: Request) -> Once[None]:
    """Hand a run over; return what comes once it is recorded, or never will be."""
    accepted: Once[None] = Once()
    record = request.record
    try:
        if record is not None and record.idempotency_key is not None:
            _post_keyed(runtime, live, request, record, accepted)
            return accepted
        if record is None or runtime.state.create(record, functools.partial(settle, accepted)):
            accepted.set(None)
        runtime.start(request.message)
    except Exception:
        runtime.unknown(request.run_id)
        raise
    return accepted


def _post_keyed(
    runtime: Runtime,
    live: LiveRuns,
    request: Request,
    record: RunRecord,
    accepted: Once[None],
) -> None:
    """Have the supervisor run something when it is known not to be a repetition."""

    def told(error: BaseException | None) -> None:
        try:
            if error is not None:
                live.discard(record.run_id, f"it was not recorded: {text_of(error)}")
            else:
                runtime.start(request.message)
        except ActorflowError as closed:
            error = closed
        settle(accepted, error)

    if runtime.state.create(record, told):
        told(None)

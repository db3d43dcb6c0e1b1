"""Child runs that steps start with `ctx.run` and `ctx.start`, and find again.

A child's run id is derived from its parent's run id, the step, and the call: the `key` of the call,
or else the workflow and the number of the call within the attempt. A later attempt of the step
therefore finds the children of the earlier ones, wherever they run. It takes those that are in
progress or have completed, and starts a new child in place of one that failed or was cancelled.

Children start during a shutdown as well, until their parents are stopped: a run that is drained
goes on to its end, and one that is left must not fail because it had come to a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from typing import TYPE_CHECKING, Any, Final, cast

from actorflow.definition.arguments import string
from actorflow.definition.workflow import Workflow
from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import ChildChanged, StepCancelled
from actorflow.errors.storage import LeaseHeld, RunNotFound, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.callers import on_behalf_of
from actorflow.orchestrator.family import ORPHANED
from actorflow.orchestrator.live import find
from actorflow.orchestrator.outage import PAUSES
from actorflow.orchestrator.requests import Call
from actorflow.orchestrator.waits import to_await
from actorflow.support.oneshot import Alarm, Once

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from actorflow.model.context import Attempt
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.takeover import Resuming
    from actorflow.run.handle import Run

__all__ = ["Children", "call_of"]

_NAMESPACE: Final = uuid.UUID("6f3a5f0e-7f9e-5a64-9d6f-0c6f3d0c4a11")
"""The namespace of the children's ids (RFC 4122, version 5)."""
_NOT_AWAITED: Final = "the step that started it has stopped waiting for it"
_STARTED_AGAIN: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
"""The ends after which another attempt starts a new child."""


class Children:
    """Starts the child runs of one orchestrator's steps.

    Args:
        life: The orchestrator's lifetime.
        launcher: Starts its runs.
        resuming: Resumes recorded runs.
    """

    def __init__(self, life: Lifetime, launcher: Launcher, resuming: Resuming) -> None:
        self._life = life
        self._launcher = launcher
        self._resuming = resuming
        self._starting: dict[str, Once[None]] = {}
        """The calls whose children are looked for or started at this moment, by the id of the first
        child of each.
        """

    # ── What a step calls ────────────────────────────────────────────────────────────────────

    def run(
        self,
        attempt: Attempt,
        calls: dict[str, int],
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> RunResult | Coroutine[Any, Any, RunResult]:
        """Run a child and return its result; in a coroutine step, return an awaitable of it."""
        runtime = self._life.runtime("run a child", even_closing=True)
        call = call_of(attempt, calls, flow, inputs, options)
        if attempt.plan.step.is_coroutine:
            return to_await(self._run_async(runtime, call), "ctx.run()", attempt)
        with on_behalf_of(attempt):
            return self.find_or_start(runtime, call).result()

    def start(
        self,
        attempt: Attempt,
        calls: dict[str, int],
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> Run | Coroutine[Any, Any, Run]:
        """Start a child; in a coroutine step, return an awaitable of its `Run`."""
        runtime = self._life.runtime("start a child", even_closing=True)
        call = call_of(attempt, calls, flow, inputs, options)
        if attempt.plan.step.is_coroutine:
            return to_await(self._start_async(runtime, call), "ctx.start()", attempt)
        with on_behalf_of(attempt):
            return self.find_or_start(runtime, call)

    async def _run_async(self, runtime: Runtime, call: Call) -> RunResult:
        with runtime.waits.staying(call.attempt):
            return await self._result_of(runtime, call)

    async def _result_of(self, runtime: Runtime, call: Call) -> RunResult:
        child = await self._start_async(runtime, call)
        try:
            with on_behalf_of(call.attempt):
                return await child
        except asyncio.CancelledError:
            if not call.attempt.cancelled:  # the wait alone was cancelled
                with contextlib.suppress(ActorflowError):  # it ends with its parent at the latest
                    await child.cancel_async(_NOT_AWAITED)
            raise

    # ── Starts ───────────────────────────────────────────────────────────────────────────────

    def find_or_start(self, runtime: Runtime, call: Call) -> Run:
        """Return the child of a call: that of an earlier attempt, or a new one."""
        run_id = self.child_id(call, 1)
        turn = self._turn(run_id)
        while turn is not None:
            turn.result()
            turn = self._turn(run_id)
        try:
            if call.repeated:
                known, run_id = self._look(runtime, call)
                if known is not None:
                    return known
            request = self._launcher.child(runtime, call, run_id)
            return self._begun(runtime, call, self._launcher.start(runtime, request))
        finally:
            self._over(self.child_id(call, 1))

    async def _start_async(self, runtime: Runtime, call: Call) -> Run:
        run_id = self.child_id(call, 1)
        turn = self._turn(run_id)
        while turn is not None:
            await turn.result_async()
            turn = self._turn(run_id)
        try:
            if call.repeated:
                known, run_id = await self._look_async(runtime, call)
                if known is not None:
                    return known
            request = self._launcher.child(runtime, call, run_id)
            with on_behalf_of(call.attempt):
                child = await self._launcher.start_async(runtime, request)
            return self._begun(runtime, call, child)
        finally:
            self._over(self.child_id(call, 1))

    def child_id(self, call: Call, generation: int) -> str:
        """Return the run id of the first child of a call, or of a later one in its place."""
        attempt = call.attempt
        undoes = "compensate" if attempt.compensates else ""
        parts = (attempt.scope.run_id, attempt.step_id, undoes, call.name, str(generation))
        return str(uuid.uuid5(_NAMESPACE, "\0".join(parts)))

    def _begun(self, runtime: Runtime, call: Call, child: Run) -> Run:
        """Return a child that has been started, unless its parent has ended in the meantime.

        A thread that was abandoned may be in the middle of its call at that moment.

        Raises:
            StepCancelled: When it has.
        """
        parent_id, live = call.attempt.scope.run_id, self._life.live
        if parent_id in live or parent_id in live.left:
            return child
        if child.id in runtime.family.ended(parent_id):
            child.cancel(ORPHANED.format(parent_id))
        raise _stopped(call.attempt)

    def _turn(self, run_id: str) -> Once[None] | None:
        """Begin to start the child of a call; return what to wait for if another one does that.

        Two calls with the same key may come at once, from tasks or threads of a step.
        """
        turn: Once[None] = Once()
        earlier = self._starting.setdefault(run_id, turn)
        return None if earlier is turn else earlier

    def _over(self, run_id: str) -> None:
        self._starting.pop(run_id).set(None)

    async def _look_async(self, runtime: Runtime, call: Call) -> tuple[Run | None, str]:
        with on_behalf_of(call.attempt):  # a child that is taken up gets its place at once
            if runtime.slow_to_read:
                return await asyncio.to_thread(self._look, runtime, call)
            return self._look(runtime, call)

    def _look(self, runtime: Runtime, call: Call) -> tuple[Run | None, str]:
        """Return the child of an earlier attempt, or None and the id for a new one.

        A database that does not answer for a moment delays the step, as it delays any record, and
        does not fail it.
        """
        pauses = iter(PAUSES)
        while True:
            try:
                return self._look_once(runtime, call)
            except StoreUnavailable:
                pause = next(pauses, None)
                if pause is None or call.attempt.cancelled:
                    raise
                Alarm().wait(pause)

    def _look_once(self, runtime: Runtime, call: Call) -> tuple[Run | None, str]:
        for generation in itertools.count(1):
            run_id = self.child_id(call, generation)
            try:
                known = runtime.snapshot(run_id)
            except RunNotFound:
                return None, run_id
            if known.status not in _STARTED_AGAIN:
                _check_is_same(call, known)
                if not call.attempt.compensates:
                    runtime.family.take(call.attempt, run_id)
                return self._take(runtime, call, known), run_id
        raise AssertionError("unreachable")

    def _take(self, runtime: Runtime, call: Call, known: RunSnapshot) -> Run:
        """Return a child that has completed or is in progress, and run it here if it is unowned."""
        run = find(self._life.live, runtime, known.run_id)
        if known.status.terminal or runtime.live(known.run_id):
            return run
        flow = call.flow if isinstance(call.flow, Workflow) else None
        try:
            return self._resuming.resume(runtime, known.run_id, flow, by_person=False)
        except LeaseHeld:
            return run
        except ActorflowError:
            return find(self._life.live, runtime, known.run_id)


def call_of(
    attempt: Attempt,
    calls: dict[str, int],
    flow: Workflow | str,
    inputs: Mapping[str, Any] | None,
    options: dict[str, Any],
) -> Call:
    """Return what a step asks for with `ctx.run` or `ctx.start`.

    Args:
        attempt: The attempt that calls.
        calls: How often it has called, by workflow id or key; updated.
        flow: The workflow of the child.
        inputs: Its inputs.
        options: The other arguments; `key` is taken from them.

    Raises:
        StepCancelled: When the attempt was asked to stop.
        DefinitionError: When an argument is invalid.
    """
    if attempt.cancelled:  # its run may end without hearing of the child
        raise _stopped(attempt)
    if options.get("detached"):
        raise _detached(attempt)
    key = options.pop("key", None)
    workflow_id = flow.id if isinstance(flow, Workflow) else str(flow)
    again = attempt.number > 1 or attempt.scope.resumed
    if key is None:
        calls[workflow_id] = count = calls.get(workflow_id, 0) + 1
        name = f"{workflow_id}#{count}"
    else:
        cure = "Pass a non-empty string that tells this call apart from the step's other calls"
        name = string(key, "key", cure, empty=False, workflow_id=workflow_id)
        again = again or name in calls
        calls[name] = 1
    return Call(attempt, flow, inputs, cast("RunOptions", options), name, again)


def _stopped(attempt: Attempt) -> StepCancelled:
    why = "the attempt was asked to stop, and starts no child"
    return StepCancelled(attempt.scope.run_id, attempt.step_id, why)


def _detached(attempt: Attempt) -> DefinitionError:
    return DefinitionError(
        attempt.scope.workflow_id,
        f"step {attempt.step_id!r} of run {attempt.scope.run_id!r} calls ctx.run() or ctx.start() "
        "with detached=True, and these start children",
        "Leave it out, or call start() of the orchestrator, which starts detached runs as well",
    )


def _check_is_same(call: Call, known: RunSnapshot) -> None:
    """Refuse another workflow or other inputs than those of the child that is there.

    Values that JSON changes cannot be compared with their record.

    Raises:
        ChildChanged: When the workflow, or a name or a value of an input, differs.
    """
    given = {} if call.inputs is None else dict(call.inputs)
    changed = given.keys() ^ known.inputs.keys()
    for name in given.keys() & known.inputs.keys():
        plain = _plain(given[name])
        if plain is not _NOT_PLAIN and plain != _plain(known.inputs[name]):
            changed.add(name)
    wanted = call.flow.id if isinstance(call.flow, Workflow) else call.flow
    if changed or wanted != known.workflow_id:
        raise ChildChanged(
            call.attempt.scope.run_id,
            call.attempt.step_id,
            call.name,
            known.run_id,
            known.workflow_id,
            wanted,
            tuple(sorted(changed)),
        )


_NOT_PLAIN: Final = object()


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back, or `_NOT_PLAIN` if that cannot be told."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        named = {name: _plain(item) for name, item in value.items()}
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in named.values()) else named
    return _NOT_PLAIN

"""Real coroutine steps in a simulation: production's executor on an event loop in virtual time.

The executor (`actorflow.executors.coroutines`) is the one that production uses, so a search also
covers how it starts bodies, shares runners between them and lets the actors deliver in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.executors.coroutines import CoroutineExecutor, stack_of_coroutine
from actorflow.testing.simulation.account import Outcome
from actorflow.testing.simulation.loop import VirtualLoop
from actorflow.testing.simulation.values import snapshot

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import StepPlan
    from actorflow.model.context import RunScope
    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.simulation.account import Body

    Ended = Callable[[Body, object, BaseException | None], None]

__all__ = ["Coroutines", "RealCall"]


class RealCall:
    """The call of one coroutine step; to production's executor, an attempt."""

    __slots__ = (
        "_coroutines",
        "arguments",
        "body",
        "handle",
        "plan",
        "scope",
        "step_id",
        "variables",
    )

    def __init__(self, body: Body, coroutines: Coroutines) -> None:
        attempt = body.attempt
        self._coroutines = coroutines
        self.body: Body = body
        self.arguments: Mapping[str, Any] = attempt.arguments
        self.variables: contextvars.Context = attempt.variables
        self.scope: RunScope = attempt.scope
        self.plan: StepPlan = body.plan
        self.step_id: str = attempt.step_id
        self.handle: Any = None
        """Belongs to production's executor: the task and the coroutine while it is suspended."""

    @property
    def cancelled(self) -> bool:
        """Whether the attempt must not begin: it has been asked to stop, or its process is dead."""
        return self.body.attempt.cancelled or self._coroutines.closed

    async def function(self, /, **arguments: Any) -> Any:
        """Run the step's own function."""
        body, coroutines = self.body, self._coroutines
        body.snapshot = snapshot(arguments)
        try:
            output = await body.attempt.function(**arguments)
        except BaseException as error:
            coroutines.note(body, None, error)
            raise
        coroutines.note(body, output, None)
        return output


class Coroutines:
    """Runs real coroutine steps of a simulation.

    Args:
        system: The system whose time and messages are chosen.
        choose: Makes the choices.
        note: Called within a body's task when the body ends, whether or not it is reported.
        ended: Called when production's executor reports an end; a delivery follows.
    """

    def __init__(
        self,
        system: SimulatedSystem,
        choose: Callable[[int, str], int],
        note: Ended,
        ended: Ended,
    ) -> None:
        self._system = system
        self._note = note
        self._ended = ended
        self.closed: bool = False
        """Whether nothing may begin or be reported."""
        self._turns = 0.0
        self._loop = VirtualLoop(system)  # type: ignore[abstract] # no I/O, on purpose
        self._executor: Any = CoroutineExecutor(
            self._loop, self._deliver, self._deliver_later, self._now
        )
        self._executor.open(self._report)
        # The earlier runs of the orchestrator have left the executor in one state or the other.
        self._executor.bodies_suspend = choose(2, "runners") == 1

    def submit(self, body: Body) -> None:
        """Start an attempt soon."""
        body.handle = RealCall(body, self)
        self._executor.submit(body.handle)

    def stop(self, call: RealCall) -> None:
        """Cancel a call's task; a call that has not begun never will."""
        self._executor.stop(call)

    def abandon(self, call: RealCall) -> str:
        """Give up on a call, and return its stack; it is still reported if it is to be late."""
        if not call.body.late:
            stack: str = self._executor.abandon(call)
            return stack
        return stack_of_coroutine(call.handle[1]) if call.handle is not None else ""

    @property
    def waiting(self) -> int:
        """Number of attempts that production's executor has not begun."""
        waiting: int = self._executor.waiting
        return waiting

    @property
    def tasks(self) -> int:
        """Number of tasks that have not ended."""
        return self._loop.tasks

    def close(self) -> None:
        """Let running coroutines clean up; nothing is reported from now on."""
        self.closed = True
        self._loop.close()

    # ── What ends ────────────────────────────────────────────────────────────────────────────

    def note(self, body: Body, output: object, error: BaseException | None) -> None:
        """Note the end of a body; production's executor does not report what was abandoned."""
        if self.closed:
            return
        self._note(body, output, error)
        if body.outcome is Outcome.ABANDONED and not body.late:
            self._ended(body, output, error)

    def _report(self, call: Any, output: object, error: BaseException | None) -> None:
        if self.closed:
            return
        self._ended(call.body, output, error)
        if isinstance(error, KeyboardInterrupt):
            raise error  # also meant for the caller of the simulation

    # ── The actor system, as production's executor sees it ───────────────────────────────────

    def _deliver(self) -> bool:
        """Deliver messages, as many as the schedule says.

        Where some are left, the schedule ends this turn, as the clock or the number of messages
        does in production.
        """
        if self.closed or not self._system.deliver_some():
            return False
        self._turns += 1.0
        return True

    def _deliver_later(self) -> None:
        if not self.closed:
            self._system.announce()

    def _now(self) -> float:
        """Return a clock on which turns take no time, until one is ended."""
        return self._turns

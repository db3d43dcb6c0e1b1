"""The executor of a simulation: attempts are timers, and real functions run in virtual time.

An attempt is a timer that ends it as its script says. Where the script says `real()`, the timer
calls a plain function, or starts a coroutine on an event loop in virtual time.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from actorflow.executors.bodies import not_begun, outcome
from actorflow.executors.coroutines import stack_of_coroutine
from actorflow.systems.simulated.system import Timer
from actorflow.testing.simulation.account import Outcome
from actorflow.testing.simulation.loop import VirtualLoop
from actorflow.testing.simulation.scripts import OF_ITSELF, Hangs, Raises, Real, Returns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Report
    from actorflow.testing.simulation.account import Account, Body
    from actorflow.testing.simulation.scripts import Behaviour

__all__ = ["SimulatedExecutor", "changed", "snapshot"]


class SimulatedExecutor:
    """An executor in virtual time.

    Args:
        account: The account shared by all executors of a simulation.
        preemptive: Whether stopping an attempt ends it, as with a coroutine, or only asks it to
            end, as with a thread.
    """

    def __init__(self, account: Account, *, preemptive: bool) -> None:
        self.preemptive = preemptive
        self._account = account
        self._system = account.system
        self._loop: VirtualLoop | None = None
        self._abandoned: dict[Attempt, None] = {}
        """Abandoned attempts that are still running."""

    def open(self, report: Report) -> None:
        """Open the executor."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Begin an attempt that ends as its script says."""
        body, behaviour = self._account.begin(attempt)
        attempt.handle = body
        if behaviour is None:
            self._end(body, None, not_begun(attempt))
        else:
            self._begin(body, behaviour)

    def _begin(self, body: Body, behaviour: Behaviour) -> None:
        if isinstance(behaviour, Returns):
            value = str(body) if behaviour.value is OF_ITSELF else behaviour.value
            self._end_after(self._account.seconds(body, behaviour.after), body, value, None)
        elif isinstance(behaviour, Raises):
            error = behaviour.error() if isinstance(behaviour.error, type) else behaviour.error
            self._end_after(self._account.seconds(body, behaviour.after), body, None, error)
        elif isinstance(behaviour, Real):
            self._enter_after(self._account.seconds(body, behaviour.after), body)
        elif isinstance(behaviour, Hangs):
            body.stubborn = behaviour.stubborn
        else:
            self._begin(body, self._account.one_of(body, behaviour.behaviours))

    def _end_after(
        self, seconds: float, body: Body, output: object, error: BaseException | None
    ) -> None:
        moment = self._system.time + seconds
        body.handle = self._system.call_at(moment, self._end, body, output, error)

    def _end(self, body: Body, output: object, error: BaseException | None) -> None:
        body.handle = body.attempt.handle = None
        body.reported = output, error
        self._abandoned.pop(body.attempt, None)
        if body.outcome is Outcome.RUNNING:
            self._account.over(body, _outcome(body, error))
        elif body.outcome is Outcome.ABANDONED and not body.late:
            return
        self._report(body.attempt, output, error)

    def stop(self, attempt: Attempt) -> None:
        """Stop an attempt, if it can be stopped."""
        body: Body | None = attempt.handle
        if body is None or body.outcome is not Outcome.RUNNING or body.stubborn:
            return
        if self.preemptive:
            self._cancel(body)

    def _cancel(self, body: Body) -> None:
        if isinstance(body.handle, asyncio.Task):
            body.handle.cancel()
            return
        if body.handle is not None:
            body.handle.cancel()
        # A real coroutine whose timer has not fired has not been entered, and never will be.
        error = not_begun(body.attempt) if body.real else asyncio.CancelledError()
        self._end_after(0.0, body, None, error)

    def abandon(self, attempt: Attempt) -> str:
        """Abandon an attempt; return where it hangs if it is a real coroutine."""
        body: Body | None = attempt.handle
        if body is None or body.outcome is not Outcome.RUNNING:
            return ""
        self._account.over(body, Outcome.ABANDONED)
        body.late = body.handle is not None and self._account.late.due()
        if isinstance(body.handle, Timer) and not (body.late or body.real):
            body.handle.cancel()  # its end would have no effect
        else:
            self._abandoned[attempt] = None
        task = body.handle
        return stack_of_coroutine(task.get_coro()) if isinstance(task, asyncio.Task) else ""

    def close(self) -> Sequence[Attempt]:
        """Let running coroutines clean up; return the abandoned attempts still running."""
        left = list(self._abandoned)
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
        return left

    @property
    def tasks(self) -> int:
        """Number of coroutine tasks that have not ended."""
        return 0 if self._loop is None else self._loop.tasks

    # ── Real functions ───────────────────────────────────────────────────────────────────────

    def _enter_after(self, seconds: float, body: Body) -> None:
        body.real = True
        enter = self._start if body.plan.is_coroutine else self._call
        body.handle = self._system.call_at(self._system.time + seconds, enter, body)

    def _call(self, body: Body) -> None:
        """Call a plain function, even if its attempt has been abandoned."""
        attempt = body.attempt
        body.snapshot = snapshot(attempt.arguments)
        try:
            output = attempt.variables.run(attempt.function, **attempt.arguments)
        except BaseException as error:
            self._end_real(body, None, error)
            if isinstance(error, KeyboardInterrupt):
                raise  # also meant for the caller of the simulation
        else:
            self._end_real(body, *outcome(attempt, output))

    def _start(self, body: Body) -> None:
        if self._loop is None:
            self._loop = VirtualLoop(self._system)  # type: ignore[abstract] # no I/O, on purpose
        name, context = f"step {body}", body.attempt.variables
        body.handle = self._loop.create_task(self._accompany(body), name=name, context=context)
        self._loop.turn()

    async def _accompany(self, body: Body) -> None:
        attempt, loop = body.attempt, self._loop
        body.snapshot = snapshot(attempt.arguments)
        try:
            output = await attempt.function(**attempt.arguments)
        except BaseException as error:
            if loop is not self._loop:
                raise  # the simulation is over
            self._end_real(body, None, error)
            if isinstance(error, KeyboardInterrupt):
                raise  # also meant for the caller of the simulation
        else:
            self._end_real(body, output, None)

    def _end_real(self, body: Body, output: object, error: BaseException | None) -> None:
        attempt = body.attempt
        self._account.mutations += [
            (attempt.scope.run_id, attempt.step_id, attempt.number, name)
            for name in changed(body.snapshot, attempt.arguments)
        ]
        self._end(body, output, error)


def _outcome(body: Body, error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.RETURNED
    return Outcome.STOPPED if body.attempt.cancelled else Outcome.RAISED


_UNKNOWN: Final = object()
_SIMPLE: Final = (type(None), bool, int, float, complex, str, bytes, type)


def snapshot(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the arguments that can be copied and compare equal to the copy."""
    copies = {name: _copy(value) for name, value in _parts(arguments)}
    return {name: kept for name, kept in copies.items() if kept is not _UNKNOWN}


def _copy(value: Any) -> Any:
    try:
        # Inside the try: isinstance() may run code of a proxy, which raises when it is unbound.
        if isinstance(value, _SIMPLE):
            return _UNKNOWN
        kept = copy.deepcopy(value)
        return kept if _same(kept, value, set()) else _UNKNOWN
    except Exception:  # noqa: BLE001 - a user's value may fail in any way
        return _UNKNOWN


def changed(before: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments that have changed."""
    return [
        name
        for name, value in _parts(arguments)
        if name in before and not _still(before[name], value)
    ]


def _still(before: Any, now: Any) -> bool:
    try:
        return _same(before, now, set())
    except Exception:  # noqa: BLE001 - it compared without an error before
        return False


def _parts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments by name, with the mapping `inputs` item by item."""
    for name, value in arguments.items():
        if name == "inputs" and isinstance(value, Mapping):
            yield from value.items()
        elif name != "ctx":
            yield name, value


def _same(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, _SIMPLE):
        return bool(one == other) or one != one  # noqa: PLR0124 - a NaN counts as unchanged
    if (id(one), id(other)) in seen:
        return True
    seen.add((id(one), id(other)))
    return _same_inside(one, other, seen)


def _same_inside(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key], seen) for key in one)
    if isinstance(one, (list, tuple)):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same(*pair, seen) for pair in pairs)
    if isinstance(one, AbstractSet) or _has_equality(type(one)):
        return bool(one == other)
    return _same(_state(one), _state(other), seen)


def _has_equality(kind: type[Any]) -> bool:
    return any("__eq__" in vars(base) for base in kind.__mro__ if base is not object)


def _state(value: Any) -> dict[str, Any]:
    """Return the attributes of an object whose class does not define equality."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return held | getattr(value, "__dict__", {})

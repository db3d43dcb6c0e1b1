"""What the attempts of steps and compensators do in a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from actorflow.definition.durations import Duration, seconds
from actorflow.errors.definition import DefinitionError
from actorflow.model.mail import checked_name
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorflow.definition.workflow import Workflow
    from actorflow.testing.simulation.scripts import Script

__all__ = [
    "OF_ITSELF",
    "Behaviour",
    "ChildCall",
    "Either",
    "Hangs",
    "Raises",
    "Real",
    "Returns",
    "Wait",
    "Waiting",
    "check_behaviours",
    "either",
    "hangs",
    "raises",
    "real",
    "returns",
]

OF_ITSELF: Final = object()
"""Marks an output that names the step and the attempt, such as "fetch#1"."""


Early: TypeAlias = Literal["waiting", "woken"]
"""When a body ends that does not wait for its attempt to continue."""


@attrs.frozen
class Wait:
    """One wait of a body, as for a child run; or for a message that is sent to its run."""

    seconds: float | None
    """How long it takes; of a wait for a message, when it expires."""
    then: float | None
    """Seconds for which the body runs when its attempt continues."""
    ends: Early | None
    message: str | None = None
    """The name of the message."""


@attrs.frozen(eq=False)
class ChildCall:
    """One child that a body starts, and usually waits for."""

    flow: Workflow
    script: Script | None
    then: float | None
    """Seconds for which the body runs when it has the child's result."""
    waits: bool
    on_parent_end: Literal["cancel", "abandon"]


class _CanWait:
    """A behaviour whose attempt can wait."""

    __slots__ = ()

    def waiting(
        self,
        seconds: Duration | None = 1.0,
        then: Duration | None = 1.0,
        *,
        ends: Early | None = None,
    ) -> Waiting:
        """Make the attempt wait as well, as for a child run or a message.

        The attempt is suspended when its body begins to wait, `after` seconds after its start. When
        the wait is over, it competes for what it gave back. When it continues, its body runs on,
        and then does what the behaviour says or waits again. `hangs()` begins with its first wait.

        Args:
            seconds: The duration of the wait in virtual seconds; None leaves it to the tape.
            then: For how many virtual seconds the body runs after it; None leaves it to the tape.
            ends: Unless it is None, the body does not wait until its attempt continues: it ends
                when the seconds are over. "waiting" ends it without a word, as when its main task
                does not wait for the one that waits; "woken" ends it while its attempt competes.

        Raises:
            DefinitionError: When an argument is invalid, when something is to follow the end of the
                body, or when a body that hangs is to end.
        """
        return _with_wait(self, _wait(seconds, then, ends))

    def running(
        self,
        flow: Workflow,
        *,
        script: Script | None = None,
        then: Duration | None = 1.0,
        waits: bool = True,
        on_parent_end: Literal["cancel", "abandon"] = "cancel",
    ) -> Waiting:
        """Make the attempt run a child as well, as `ctx.run` does.

        The attempt waits for the child, and fails if the child does. A later attempt finds the
        child again. The id of the child is made of those of its parent and the step, and of the
        number of the call in the attempt, as in "run-1.fetch.1".

        Args:
            flow: The workflow of the child, which takes no inputs.
            script: What its steps do; by default they return after a duration left to the tape.
            then: For how many virtual seconds the body runs after it; None leaves it to the tape.
            waits: Whether the attempt waits for the child, unlike one that calls `ctx.start`.
            on_parent_end: As in `ctx.run`.

        Raises:
            DefinitionError: When an argument is invalid, or the body has ended by then.
        """
        flow.validate()
        seconds_ = _duration("then of running()", then)
        return _with_wait(self, ChildCall(flow, script, seconds_, waits, on_parent_end))

    def receiving(
        self, name: str = "go", timeout: Duration | None = None, then: Duration | None = 1.0
    ) -> Waiting:
        """Make the attempt wait for a message as well, as `ctx.wait_for` does.

        It waits until the message is sent with `Simulation.send`, `after` seconds after its start.
        It is suspended unless there is one already. Then its body runs on as after `waiting`. When
        the timeout passes, the attempt fails with a `TimeoutError`.

        Args:
            name: The name of the message.
            timeout: After how many virtual seconds the wait expires; None for never.
            then: For how many virtual seconds the body runs after it; None leaves it to the tape.

        Raises:
            DefinitionError: When an argument is invalid, or something is to follow the end of the
                body.
        """
        message = checked_name(name, "receiving()")
        seconds = None if timeout is None else _duration("timeout of receiving()", timeout)
        return _with_wait(
            self, Wait(seconds, _duration("then of receiving()", then), None, message)
        )


@attrs.frozen(repr=False)
class Returns(_CanWait):
    """An attempt that returns."""

    value: Any
    after: float | None

    def __repr__(self) -> str:
        value = [] if self.value is OF_ITSELF else [repr(self.value)]
        return _call("returns", value, self.after, 1.0)


@attrs.frozen(repr=False)
class Raises(_CanWait):
    """An attempt that fails."""

    error: BaseException | type[BaseException]
    after: float | None

    def __repr__(self) -> str:
        error = self.error.__qualname__ if isinstance(self.error, type) else repr(self.error)
        return _call("raises", [error], self.after, 1.0)


@attrs.frozen(repr=False)
class Hangs(_CanWait):
    """An attempt that never ends on its own."""

    stubborn: bool

    def __repr__(self) -> str:
        return "hangs(stubborn=True)" if self.stubborn else "hangs()"


@attrs.frozen(repr=False)
class Waiting(_CanWait):
    """An attempt that waits, once or several times, before it ends."""

    behaviour: Returns | Raises | Hangs
    waits: tuple[Wait | ChildCall, ...]

    def __repr__(self) -> str:
        return repr(self.behaviour) + "".join(map(_as_call, self.waits))


@attrs.frozen(repr=False)
class Real:
    """An attempt that calls the step's own function."""

    after: float | None

    def __repr__(self) -> str:
        return _call("real", [], self.after, 0.0)


@attrs.frozen(repr=False)
class Either:
    """An attempt that does one of several things, by choice."""

    behaviours: tuple[Behaviour, ...]

    def __repr__(self) -> str:
        return f"either({', '.join(map(repr, self.behaviours))})"


def _as_call(wait: Wait | ChildCall) -> str:
    if isinstance(wait, ChildCall):
        return f".running({wait.flow!r}, script={wait.script!r}, …)"
    if wait.message is not None:
        options = {"timeout": (wait.seconds, None), "then": (wait.then, 1.0)}
        more = (f"{name}={value!r}" for name, (value, usual) in options.items() if value != usual)
        return f".receiving({', '.join([repr(wait.message), *more])})"
    given = {"seconds": (wait.seconds, 1.0), "then": (wait.then, 1.0), "ends": (wait.ends, None)}
    said = (f"{name}={value!r}" for name, (value, usual) in given.items() if value != usual)
    return f".waiting({', '.join(said)})"


def _wait(seconds_: Duration | None, then: Duration | None, ends: Any) -> Wait:
    if ends not in {None, "waiting", "woken"}:
        cure = 'Give "waiting", "woken" or None'
        raise DefinitionError(None, f"ends of waiting() is {text_of(ends)}", cure)
    return Wait(
        _duration("seconds of waiting()", seconds_), _duration("then of waiting()", then), ends
    )


def _with_wait(behaviour: Any, wait: Wait | ChildCall) -> Waiting:
    waits = behaviour.waits if isinstance(behaviour, Waiting) else ()
    inner = behaviour.behaviour if isinstance(behaviour, Waiting) else behaviour
    if waits and isinstance(waits[-1], Wait) and waits[-1].ends is not None:
        problem = f"{behaviour!r} has ended before it could wait again"
        raise DefinitionError(None, problem, "Give ends= to the last wait alone")
    if isinstance(wait, Wait) and wait.ends is not None and isinstance(inner, Hangs):
        problem = f"{inner!r} never ends, so it cannot end while it waits"
        raise DefinitionError(None, problem, "Leave out ends=, or give returns(…) or raises(…)")
    return Waiting(inner, (*waits, wait))


def _call(name: str, given: list[str], after: float | None, usual: float) -> str:
    """Return the call that makes a behaviour, without arguments that equal their defaults."""
    given = [*given, *([] if after == usual else [f"after={after!r}"])]
    return f"{name}({', '.join(given)})"


Behaviour: TypeAlias = Returns | Raises | Hangs | Waiting | Real | Either
"""The behaviour of one attempt."""


def returns(value: Any = OF_ITSELF, after: Duration | None = 1.0) -> Returns:
    """Make an attempt return.

    Args:
        value: The return value; if left out, a string that names the step and the attempt.
        after: The attempt's duration in virtual seconds; None leaves it to the tape.

    Example:
        >>> from actorflow import Step, Workflow
        >>> from actorflow.testing import Script, returns, simulate
        >>> flow = Workflow("asking")
        >>> ask = flow.add(Step("ask", lambda: None))
        >>> script = Script({"ask": returns("yes", after=1.0).waiting(60.0, then=0.5)})
        >>> trace = simulate(flow, script=script)
        >>> [(event.kind.value, event.time) for event in trace.events if event.step_id][2:]
        [('step.suspended', 1.0), ('step.continued', 61.0), ('step.completed', 61.5)]
    """
    return Returns(value, _after("returns", after))


def raises(error: BaseException | type[BaseException], after: Duration | None = 1.0) -> Raises:
    """Make an attempt fail.

    Args:
        error: The exception to raise; a class is instantiated without arguments each time.
        after: The attempt's duration in virtual seconds; None leaves it to the tape.

    Raises:
        DefinitionError: When `error` is not an exception, or a class that needs arguments.
    """
    kind: type[Any] = error if isinstance(error, type) else type(error)
    if not issubclass(kind, BaseException):
        problem = f"raises() needs an exception, not {error!r}"
        raise DefinitionError(None, problem, "Give an exception or an exception class")
    if isinstance(error, type):
        _check_class(error)
    return Raises(error, _after("raises", after))


def _check_class(kind: type[BaseException]) -> None:
    try:
        kind()
    except Exception as fault:  # noqa: BLE001 - a user's exception class may fail in any way
        problem = f"{kind.__name__} cannot be made without arguments: {fault}"
        raise DefinitionError(None, problem, "Give raises() an instance") from None


def hangs(*, stubborn: bool = False) -> Hangs:
    """Make an attempt never end on its own.

    Args:
        stubborn: Whether it also ignores being stopped, so that it must be abandoned. Plain
            functions always do, as on threads.
    """
    return Hangs(stubborn)


def real(after: Duration | None = 0.0) -> Real:
    """Make an attempt call the step's own function, which should touch nothing outside.

    A coroutine that uses threads or I/O gets `NotSimulated`. A plain function is not checked and
    has its side effects on every schedule.

    A plain function is called in one go, at the end of its duration. As on a thread, it is called
    even if the attempt has been abandoned by then.

    Args:
        after: The attempt's duration in virtual seconds; None leaves it to the tape.
    """
    return Real(_after("real", after))


def either(*behaviours: Behaviour) -> Either:
    """Let the tape choose an attempt's behaviour; the first is the default."""
    check_behaviours(behaviours or ((),), "either() was given", "several of these")
    return Either(behaviours)


def _after(name: str, after: Duration | None) -> float | None:
    return _duration(f"after of {name}()", after)


def _duration(name: str, given: Duration | None) -> float | None:
    return None if given is None else seconds(given, name, zero=True)


def check_behaviours(
    line: Iterable[object], what: str, several: str, step_id: str | None = None
) -> None:
    """Refuse what is no behaviour.

    Raises:
        DefinitionError: When a member of the line is none.
    """
    for behaviour in line:
        if not isinstance(behaviour, Behaviour):
            cure = f"Give returns(…), raises(…), hangs(), real() or either(…), or {several}"
            raise DefinitionError(None, f"{what} {text_of(behaviour)}", cure, step_id)

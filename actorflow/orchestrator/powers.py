"""The optional powers of a state manager, looked up once when an orchestrator is made.

`actorflow.model.protocols` declares what a state manager may do beyond `StateManager`. Its members
are found and checked here; the rest of the package uses the resulting `Powers`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import InvalidAnswer
from actorflow.model.mail import EvictsRuns, KeepsMessages
from actorflow.model.powers import (
    CancelsRemotely,
    ChecksOutputs,
    CountsRuns,
    DefersRuns,
    FollowsRuns,
    KeepsAttributes,
    KeepsSchedules,
    LeasesRuns,
    MeasuresSteps,
    PausesRuns,
    QueuesRuns,
    ReadsRecords,
    ReadsSlowly,
)
from actorflow.model.protocols import StateManager
from actorflow.support.safe_text import text_of
from actorflow.support.urls import masked_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorflow.model.filters import RunQuery

__all__ = [
    "Powers",
    "called",
    "check_no_coroutines",
    "hand_back",
    "is_recorded",
    "lacks",
    "listing_arguments",
    "members_of",
    "missing",
    "powers_of",
]

_ANSWERS: Final = frozenset({"create", "record", "enqueue"})
"""The methods that return whether they have recorded already."""


@attrs.frozen(kw_only=True)
class Powers:
    """A state manager and its optional powers."""

    state: StateManager
    """The state manager, for the methods that each one has."""
    slow_to_read: bool
    """Whether reading may block; see `ReadsSlowly`."""
    outputs: ChecksOutputs | None
    """Refuses outputs that cannot be recorded; None if it records every value."""
    leases: LeasesRuns | None
    """Hands runs back; None if runs have no owners."""
    queue: QueuesRuns | None
    """Keeps unowned runs; None if there is no queue."""
    requests: CancelsRemotely | None
    """Keeps requests to cancel; None if it takes none."""
    pauses: PausesRuns | None
    """Keeps pauses; None if its runs cannot be paused."""
    follows: FollowsRuns | None
    """Tells when the record of a run has changed; None if runs elsewhere cannot be followed."""
    deferral: DefersRuns | None
    """Takes runs for later and with keys; None if it takes none."""
    measures: MeasuresSteps | None
    """Knows how long steps took; None if it does not."""
    records: ReadsRecords | None
    """Reads many runs at once; None if it reads them one by one."""
    attributes: KeepsAttributes | None
    """Keeps attributes; None if it keeps none."""
    messages: KeepsMessages | None
    """Keeps messages; None if it keeps none."""
    evicts: EvictsRuns | None
    """Keeps runs that wait for messages; None if these stay in memory."""
    counts: CountsRuns | None
    """Counts runs in groups; None if it does not."""
    schedules: KeepsSchedules | None
    """Keeps schedules; None if it keeps none."""


def powers_of(state: StateManager) -> Powers:
    """Return a state manager and its powers.

    Raises:
        DefinitionError: When it is a class, lacks a method of `StateManager`, has only a part of a
            power, has a member of a power that is not callable, or has a method that is a coroutine
            function.
    """
    _check_minimum(state)
    return Powers(
        state=state,
        slow_to_read=_slow_to_read(state),
        outputs=_power(state, ChecksOutputs),
        leases=_power(state, LeasesRuns),
        queue=_power(state, QueuesRuns),
        requests=_power(state, CancelsRemotely),
        pauses=_power(state, PausesRuns),
        follows=_power(state, FollowsRuns),
        deferral=_power(state, DefersRuns),
        measures=_power(state, MeasuresSteps),
        records=_power(state, ReadsRecords),
        attributes=_power(state, KeepsAttributes),
        messages=_power(state, KeepsMessages),
        evicts=_power(state, EvictsRuns),
        counts=_power(state, CountsRuns),
        schedules=_power(state, KeepsSchedules),
    )


def hand_back(powers: Powers, run_id: str, parked: str | None = None) -> None:
    """Hand a claimed run back so that another orchestrator can take it.

    Args:
        powers: The state manager; one without owners has nothing to hand back.
        run_id: The run.
        parked: Why the run must wait; None if it waits only for its turn.
    """
    if powers.leases is not None:
        with contextlib.suppress(ActorflowError):  # this owner then keeps it until it is gone
            powers.leases.hand_back(run_id, parked)


def lacks(state: object, what: str, power: type) -> DefinitionError:
    """Return the error for a call that needs a power which the state manager does not have.

    Args:
        state: The state manager.
        what: The call.
        power: The Protocol of the power.
    """
    problem = f"{what} needs a state manager with {called(members_of(power))}; {text_of(state)} "
    cure = f"Give it the method, as in actorflow.{power.__name__}"
    return DefinitionError(None, f"{problem}has none", cure)


def listing_arguments(state: StateManager, query: RunQuery) -> dict[str, Any]:
    """Return the arguments of a listing for a state manager, which may not know all filters.

    Raises:
        DefinitionError: When one is given that its `list` has no parameter for.
    """
    more = query.later()
    if not more:
        return query.first()
    taken = _parameters_of(state.list)
    if taken and all(it.kind is not it.VAR_KEYWORD for it in taken):
        names = {it.name for it in taken}
        unknown = [name for name in more if name not in names or name in query.first()]
        if unknown:
            problem = f"{text_of(state)} cannot list runs by {', '.join(unknown)}"
            if "status" in unknown:
                problem += " (of several statuses)"
            cure = "Leave that out, or give its list() the parameter, as MemoryStateManager has it"
            raise DefinitionError(None, problem, cure)
    return query.first() | more


def _parameters_of(method: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a method; none where Python cannot tell them."""
    try:
        return [*inspect.signature(method).parameters.values()]
    except (TypeError, ValueError):
        return []


@functools.cache  # of a few classes, which are there for good
def members_of(protocol: type) -> Sequence[str]:
    """Return the public members that a Protocol itself declares, in order."""
    return [name for name in vars(protocol) if not name.startswith("_")]


def missing(plugin: object, methods: Iterable[str]) -> list[str]:
    """Return the methods that an object lacks."""
    return [name for name in methods if not callable(getattr(plugin, name, None))]


def called(methods: Iterable[str]) -> str:
    """Return methods as an error writes them."""
    return ", ".join(f"{name}()" for name in methods)


def check_no_coroutines(said: str, plugin: object, methods: Iterable[str]) -> None:
    """Refuse methods that are coroutine functions, because they are called without `await`.

    Raises:
        DefinitionError: When there is one; `said` names the plugin.
    """
    for name in methods:
        if inspect.iscoroutinefunction(getattr(plugin, name)):
            answer = " that returns True or False" if name in _ANSWERS else ""
            problem = f"{said}: {name}() is a coroutine function; it must be a plain method{answer}"
            raise DefinitionError(None, problem, f"Define {name}() without async")


def is_recorded(method: str, answer: object) -> bool:
    """Return what `create`, `record` or `enqueue` returned: whether everything is recorded.

    Raises:
        InvalidAnswer: When it is neither True nor False.
    """
    if answer is True or answer is False:
        return answer
    raise InvalidAnswer(method, text_of(answer))


def _check_minimum(state: StateManager) -> None:
    if isinstance(state, str):
        raise DefinitionError(
            None,
            "state must be a state manager, not a string",
            f"For a database URL pass SQLStateManager({masked_url(state)!r})",
        )
    said = f"state={text_of(state)}"
    if isinstance(state, type):
        raise DefinitionError(None, f"{said} is a class", "Pass an instance")
    lacking = missing(state, members_of(StateManager))
    if lacking:
        problem = f"{said} is not a state manager: it has no {called(lacking)}"
        raise DefinitionError(None, problem, "Pass one such as MemoryStateManager(), by name")
    check_no_coroutines(said, state, members_of(StateManager))


def _power(state: object, protocol: type) -> Any:
    """Return the state manager if it has a power, or None if it has no part of it."""
    has = [name for name in members_of(protocol) if _has(state, protocol, name)]
    if not has:
        return None
    whole = [name for kind in protocol.__mro__ for name in members_of(kind)]
    lacking = missing(state, whole)
    if lacking:
        name = protocol.__name__
        problem = (
            f"state={text_of(state)} is half of a {name}: it has {called(has)}, but "
            f"no {called(lacking)}"
        )
        raise DefinitionError(None, problem, f"Give it all of actorflow.{name}, or nothing of it")
    check_no_coroutines(f"state={text_of(state)}", state, whole)
    return state


def _has(state: object, protocol: type, name: str) -> bool:
    value = getattr(state, name, None)
    if value is None:
        return False
    if not callable(value):
        said = f"state={text_of(state)}"
        problem = f"{said} has {name}={text_of(value)}, which is not a method"
        cure = f"Make it one, as in actorflow.{protocol.__name__}, or rename it"
        raise DefinitionError(None, problem, cure)
    return True


def _slow_to_read(state: object) -> bool:
    slow = {name: getattr(state, name, None) for name in members_of(ReadsSlowly)}
    for name, value in slow.items():
        if value is not None and not isinstance(value, bool):
            problem = (
                f"state={text_of(state)} has {name}={text_of(value)}, which is neither True "
                "nor False"
            )
            cure = "Make it one of them, as in actorflow.ReadsSlowly, or rename it"
            raise DefinitionError(None, problem, cure)
    return any(slow.values())

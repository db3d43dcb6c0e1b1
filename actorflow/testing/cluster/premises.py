"""The surroundings of the actors in one simulated process, wired as production wires them.

Launching, admission, taking over, deferred starts, requests to cancel and schedules are
production's own classes. What they do on threads of their own is done here by timers of virtual
time.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors import ActorflowError
from actorflow.errors.definition import OrchestratorClosed
from actorflow.orchestrator.admission import Admission
from actorflow.orchestrator.callers import caller
from actorflow.orchestrator.changing import ChangesRuns
from actorflow.orchestrator.family import Family
from actorflow.orchestrator.firing import Firing
from actorflow.orchestrator.following import Following, FollowsRecords
from actorflow.orchestrator.launch import Launcher
from actorflow.orchestrator.live import LiveRuns
from actorflow.orchestrator.registry import Registry
from actorflow.orchestrator.remote_cancel import hear_requests, withdraw
from actorflow.orchestrator.schedules import Schedules
from actorflow.orchestrator.takeover import Recovery, Resuming
from actorflow.orchestrator.undoing import Undoing
from actorflow.testing.cluster.children import ChildrenOfBodies
from actorflow.testing.cluster.families import HasFamiliesInTurns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.messages import CancelRun, StartRun
    from actorflow.model.pausing import Pause
    from actorflow.model.protocols import Clock, StateManager
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.requests import Places
    from actorflow.run.handle import Run
    from actorflow.support.oneshot import Once
    from actorflow.systems.simulated.timers import Timer
    from actorflow.testing.cluster.mail import ProcessMail
    from actorflow.testing.simulation.settings import Settings

__all__ = ["Parts", "Premises"]

_MOST_QUEUED: Final = 1_000


class Premises(ChangesRuns, FollowsRecords, HasFamiliesInTurns):
    """What the parts of an orchestrator see of its runtime.

    Args:
        powers: The state manager of the process.
        places: Its executors.
        clock: Its clock, whose wall time may be wrong.
        start: Hands a run to the supervisor.
        cancel: Tells the supervisor to cancel a run.
        pause: Tells it of a pause, or of its end.
        mail: The messages of the runs.
        idle: Counts the runs that only wait, and hold no place.
        live: The runs in progress.
        at_once: Has no write stall within a block.
        is_reachable: Returns whether the store can be reached.
        tell: Tells the supervisor of families.
        later: Calls a function after so many seconds.
        when_over: Calls a function when a wait for a run is over.
    """

    slow_to_read = False
    children = None
    keeps_attributes = False

    def __init__(
        self,
        *,
        powers: Powers,
        places: Places,
        clock: Clock,
        start: Callable[[StartRun], None],
        cancel: Callable[[str, str, float | None, bool, bool], None],
        pause: Callable[[str, Pause | None], None],
        mail: ProcessMail,
        idle: Callable[[], int],
        live: LiveRuns,
        at_once: Callable[[], AbstractContextManager[None]],
        is_reachable: Callable[[], bool],
        tell: Callable[[object], None],
        later: Callable[..., Timer],
        when_over: Callable[[Run, Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._at_once = at_once
        self.is_reachable = is_reachable
        self._tell = tell
        self.later = later
        self.when_over = when_over
        self.powers = powers
        self.state: StateManager = powers.state
        self.places: Final = places
        self.clock = clock
        self.start: Final = start
        self._cancel = cancel
        self._live = live
        self.mail: Final = mail
        self._idle = idle
        told: Any = _Pauses(pause)
        self._pauses = told
        self.check_process = _nothing
        self.check_may_read: Callable[[str], None] = _let
        self.check_may_block: Callable[[str], None] = _let
        self.audience: Final = self
        self.family: Family = Family()
        self.following: Following = Following(powers)

    def ways(self, plan: WorkflowPlan) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end, by the expected durations alone."""
        return plan.ways({})

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run as it stands."""
        return self.state.snapshot(run_id)

    def status(self, run_id: str) -> RunStatus:
        """Return the status of a run."""
        return self.state.snapshot(run_id).status

    def cancel(
        self,
        run_id: str,
        reason: str,
        grace: float | None = None,
        *,
        compensate: bool = False,
        kept: bool = False,
    ) -> None:
        """Cancel a run that is in progress here, or waits here."""
        waiting: Any = self._live.waiting
        with self._at_once():  # also within a write that renews the lease and hears of this
            if waiting and waiting.cancel(run_id, reason, self):
                return
        self._cancel(run_id, reason, grace, compensate, kept)

    def unknown(self, run_id: str, asked: CancelRun | None = None) -> None:
        """Discard a run that will not start, or cancel one that was evicted meanwhile."""
        if run_id in self._live:
            with contextlib.suppress(ActorflowError):
                withdraw(self.state, run_id, self.clock)
            self._live.discard(run_id, "it was withdrawn before it had started")
        elif asked is not None and not asked.kept:
            with contextlib.suppress(ActorflowError):
                self.cancel_elsewhere(run_id, asked.reason, compensate=asked.compensate)

    def hear_of(self, _before: RunSnapshot) -> None:
        """Do nothing: as in a shared database, the owner is told until its events say so."""

    @property
    def idle(self) -> int:
        """How many runs only wait, and hold no place."""
        return self._idle()

    def live(self, run_id: str) -> bool:
        """Return whether a run is in progress here."""
        return run_id in self._live

    def attempt_here(self) -> Attempt | None:
        """Return the attempt that calls, if a step starts a child."""
        return caller()

    def end_here(self, run_id: str) -> Once[RunResult] | None:
        """Return the end of a run that is in progress here."""
        return self._live.end(run_id)

    def on_loop(self) -> bool:
        """Return True: nothing may block."""
        return True

    def notify(self, run_id: str) -> None:
        """Do nothing: there are no streams."""


class Parts:
    """The parts of one orchestrator, as `actorflow.orchestrator.assembly` assembles them.

    Args:
        settings: The limits.
        recover_every: Seconds between two searches for unowned runs.
        premises: Makes the premises, given the runs in progress.
        new_id: Returns the id of a run that a schedule starts.
    """

    def __init__(
        self,
        settings: Settings,
        recover_every: float,
        premises: Callable[[LiveRuns], Premises],
        new_id: Callable[[], str],
    ) -> None:
        self.admission: Final = Admission(settings.max_active_runs, _MOST_QUEUED, rejects=False)
        self.live: Final = LiveRuns(self.admission.leave)
        self.door: Final = threading.RLock()
        self.closed: bool = False
        self.premises: Final = premises(self.live)
        powers, life = self.premises.powers, _as_lifetime(self)
        self.registry: Final = Registry()
        self.launcher: Final = Launcher(life, self.registry)
        self.starter: Final = self.launcher.starter
        resuming = Resuming(life, self.registry, self.launcher, settings.max_takeovers)
        self.resuming: Final = resuming
        self.children: Final = ChildrenOfBodies(life, self.launcher, resuming)
        self.premises.undoing = Undoing(life, self.registry, self.launcher, resuming)
        assert powers.queue is not None  # noqa: S101 - a shared store has one
        self.recovery: Final = Recovery(
            life,
            self.registry,
            resuming,
            powers.queue,
            most=settings.max_active_runs,
            every=recover_every,
        )
        self.firing: Final = Firing(life, self.registry, self.launcher, powers, enqueues=True)
        self.said: Final[list[tuple[float, str, Mapping[str, Any]]]] = []
        """What the schedules have logged: when, what, and about what."""
        self.firing.log = self._say
        self.firing.new_id = new_id
        self.schedules: Final = Schedules(life, self.registry, self.launcher, powers, self.firing)
        hear_requests(self.runtime("hear of requests"), self.live)

    def runtime(self, what: str, *, even_closing: bool = False) -> Any:
        """Return the premises, as a lifetime returns its runtime.

        Raises:
            OrchestratorClosed: After `close`, unless `even_closing`.
        """
        if self.closed and not even_closing:
            raise OrchestratorClosed(what)
        return self.premises

    def _say(self, event: str, **about: Any) -> None:
        self.said.append((self.premises.clock.now(), event, about))

    def close(self) -> None:
        """Accept nothing further, and leave what waits; the first part of a shutdown."""
        runtime = self.runtime("close")
        self.closed = self.firing.over = True
        self.starter.end(runtime, leave=True)
        self.admission.close()
        self.live.close()


def _as_lifetime(parts: Any) -> Any:
    """Return parts as the lifetime that production's classes expect; they use these members."""
    return parts


def _nothing() -> None:
    """Check nothing: there is one process."""


def _let(_what: str) -> None:
    """Allow it: nothing blocks."""


class _Pauses:
    """Tells the supervisor of pauses; see `actorflow.orchestrator.pausing`."""

    def __init__(self, tell: Callable[[str, Pause | None], None]) -> None:
        self.tell: Final = tell
        self.in_order: Final = contextlib.nullcontext()

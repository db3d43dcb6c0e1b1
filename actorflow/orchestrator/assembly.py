"""Assembles the parts of one orchestrator.

`Orchestrator` imports this module when the first one is made, so that a program which only defines
workflows does not load what runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorflow.orchestrator.backgrounds import Together
from actorflow.orchestrator.children import Children
from actorflow.orchestrator.firing import Firing
from actorflow.orchestrator.launch import Launcher
from actorflow.orchestrator.lifetime import Lifetime
from actorflow.orchestrator.live import Looking
from actorflow.orchestrator.powers import powers_of
from actorflow.orchestrator.registry import Registry
from actorflow.orchestrator.schedules import Schedules
from actorflow.orchestrator.takeover import Resuming, recovery
from actorflow.orchestrator.undoing import Undoing
from actorflow.state import MemoryStateManager

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Mapping, Sequence

    from actorflow.model.protocols import Executor, Observer, StateManager
    from actorflow.orchestrator.settings import Settings

__all__ = ["Parts", "assemble"]


class Parts(NamedTuple):
    """The parts that an orchestrator delegates to."""

    life: Lifetime
    registry: Registry
    launcher: Launcher
    resuming: Resuming
    looking: Looking
    schedules: Schedules


def assemble(
    settings: Settings,
    state: StateManager | None,
    executors: Mapping[str, Executor | concurrent.futures.Executor] | None,
    observers: Sequence[Observer],
) -> Parts:
    """Return the parts of an orchestrator that is not open yet.

    Raises:
        DefinitionError: When the state manager, an executor or an observer is invalid.
    """
    powers = powers_of(MemoryStateManager() if state is None else state)
    registry = Registry(durable=powers.leases is not None)
    life = Lifetime(settings, powers, executors, observers)
    launcher = Launcher(life, registry)
    life.starter = launcher.starter
    resuming = Resuming(life, registry, launcher, settings.max_takeovers)
    life.children = Children(life, launcher, resuming)
    life.undoing = Undoing(life, registry, launcher, resuming)
    firing = Firing(life, registry, launcher, powers, enqueues=settings.recover)
    searching = recovery(settings, powers, life, registry, resuming)
    if searching is not None:
        searching.also = firing.notice
    life.background = firing if searching is None else Together(searching, firing)
    schedules = Schedules(life, registry, launcher, powers, firing)
    return Parts(life, registry, launcher, resuming, Looking(life, powers), schedules)

"""The pytest fixture `simulation`. See `actorflow.pytest_plugin` for the plugin itself.

A test passes its workflow to the fixture, and fails when a schedule breaks a law. That schedule is
kept in pytest's cache: it is tried first when the test runs again, until it passes, and the test
report says how to replay it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.definition import DefinitionError
from actorflow.support.warnings import warn
from actorflow.testing import laws as all_laws
from actorflow.testing.errors import NotEnded, NothingExplored
from actorflow.testing.laws.law import several
from actorflow.testing.replay import Replay
from actorflow.testing.search.cases import given, simulate
from actorflow.testing.search.exploration import NOT_ENDED
from actorflow.testing.search.search import explore, judged
from actorflow.testing.simulation.checks import Doubts, refuse_unknown
from actorflow.testing.simulation.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

    import pytest

    from actorflow.definition.workflow import Workflow
    from actorflow.testing.errors import LawBroken
    from actorflow.testing.laws import Law
    from actorflow.testing.search.cases import Given
    from actorflow.testing.search.exploration import Exploration
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["Simulations"]

_SCHEDULES: Final = 1_000
"""The default number of schedules of a test, which take about a second."""
_LONGEST: Final = 150
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Simulations:
    """Simulates the workflows of one test.

    Args:
        request: pytest's request object for the test.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._searches = 0

    def explore(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        schedules: int | None = None,
        exhaustive: int | None = None,
        seed: int = 0,
        laws: Iterable[Law] = all_laws.ALL,
        seconds: float | None = None,
        **options: Any,
    ) -> Exploration:
        """Check a workflow against the laws on many schedules; see `actorflow.testing.explore`.

        Args:
            flow: The workflow.
            inputs: The run's inputs.
            schedules: Number of schedules to try, 1,000 by default; `--actorflow-schedules`
                overrides it. For an exhaustive search it is only a bound, with the default of
                `explore`, and the option does not override it.
            exhaustive: Maximum number of deviations from the default schedule, for an exhaustive
                search.
            seed: The seed; `--actorflow-seed` overrides it.
            laws: The laws to check.
            seconds: Approximate maximum duration, in real seconds.
            options: The other options of `explore`.

        Raises:
            LawBroken: When a schedule breaks a law. The schedule is made small, and kept.
            NothingExplored: When no schedule explored anything, because a step cannot be simulated.
        """
        __tracebackhide__ = True
        refuse_unknown(explore, flow, options)
        self._searches += 1
        case, laws = given(flow, inputs, **options), several(laws)
        self._try_kept_schedule(case, laws)
        exploration = explore(
            flow,
            inputs,
            schedules=self._number_of(schedules, exhaustive),
            exhaustive=exhaustive,
            seed=self._overridden("seed", seed),
            laws=laws,
            seconds=seconds,
            **options,
        )
        if exploration.broken is not None:
            self._keep(case, exploration.broken)
            raise exploration.broken.with_traceback(None)
        exploration.check()
        _warn_if_endless(exploration, case)
        return exploration

    def check(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        tape: Source = None,
        laws: Iterable[Law] = all_laws.ALL,
        **options: Any,
    ) -> Trace:
        """Check a workflow against the laws on one schedule; see `actorflow.testing.simulate`.

        Args:
            flow: The workflow.
            inputs: The run's inputs.
            tape: The choices, such as a tape that failed once and must not fail again.
            laws: The laws to check.
            options: The other options of `simulate`.

        Raises:
            LawBroken: When the schedule breaks a law.
            NothingExplored: When it explores nothing, because a step cannot be simulated.
        """
        __tracebackhide__ = True
        refuse_unknown(simulate, flow, options)
        trace = given(flow, inputs, **options).simulate(tape)
        broken = judged(several(laws), trace)
        if broken is not None:
            raise broken.with_traceback(None)
        doubts = Doubts()
        doubts.note(trace)
        doubts.warn()
        if not doubts.explored:
            raise NothingExplored(1, doubts.refusal or "")
        return trace

    def _number_of(self, schedules: int | None, exhaustive: int | None) -> int | None:
        if exhaustive is not None:
            return schedules
        return self._overridden("schedules", _SCHEDULES if schedules is None else schedules)

    def _overridden(self, name: str, value: int) -> int:
        option: int | None = self._request.config.getoption(f"actorflow_{name}")
        return value if option is None else option

    # ── Schedules that have failed ───────────────────────────────────────────────────────────

    def _try_kept_schedule(self, case: Given, laws: tuple[Law, ...]) -> None:
        __tracebackhide__ = True
        path = self._path()
        try:
            tape = Tape.load(path)
        except (OSError, DefinitionError):
            return
        broken = judged(laws, case.simulate(tape))
        if broken is not None:
            self._keep(case, broken)
            raise broken.with_traceback(None)
        with contextlib.suppress(OSError):  # another process may have deleted it
            path.unlink()

    def _keep(self, case: Given, broken: LawBroken) -> None:
        try:
            said = f"To replay this schedule:\n\n{self._kept(case, broken)}"
        except OSError as error:
            said = f"This schedule could not be kept: {error}."
        self._request.node.add_report_section("call", "actorflow", said)

    def _kept(self, case: Given, broken: LawBroken) -> str:
        """Keep a schedule, and return how to replay it."""
        path, flow = self._path(), _location(case.flow, self._request.module)
        try:
            trace = case.simulate(broken.tape)
            replay = Replay.of(case, broken.tape, flow=flow, law=broken.name, trace=trace)
            replay.save(path)
        except DefinitionError as error:
            broken.tape.save(path)
            return _only_tape(error, path)
        real = " --real" if replay.real_steps(case.flow) else ""
        return _unnamed(path) if flow is None else f"    actorflow replay {_short(path)}{real}"

    def _path(self) -> Path:
        """Return the path of the failing schedule of this search of the test."""
        name = _file_name(self._request.node.nodeid)
        number = f"-{self._searches}" if self._searches > 1 else ""
        return self._folder() / f"{name}{number}.json"

    def _folder(self) -> Path:
        cache: pytest.Cache | None = getattr(self._request.config, "cache", None)
        if cache is not None:
            with contextlib.suppress(OSError):  # the cache may be read-only
                return cache.mkdir("actorflow")
        folder: Path = self._request.getfixturevalue("tmp_path")
        return folder


def _file_name(test: str) -> str:
    """Return a file name for a test, unique and not too long."""
    name = _UNUSUAL.sub("-", test).strip("-")
    if len(name) <= _LONGEST and "[" not in test:
        return name
    # Parameters may differ only in characters that file names cannot have.
    return f"{name[:_LONGEST]}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def _warn_if_endless(exploration: Exploration, case: Given) -> None:
    """Warn about a search in which no run has ended, because it shows next to nothing."""
    if set(exploration.endings) == {NOT_ENDED}:
        try:
            _ = case.simulate().result
        except NotEnded as error:
            warn(f"no run ended on any of {exploration.schedules} schedules: {error.why}")


def _unnamed(path: Path) -> str:
    return (
        f"    simulation.check(flow, tape=Tape.load({_short(path)!r}))\n\n"
        "with the other arguments of the test. For a command that replays it, make the workflow a "
        "global of its module."
    )


def _only_tape(error: DefinitionError, path: Path) -> str:
    return (
        f"    simulation.check(flow, tape=Tape.load({_short(path)!r}))\n\n"
        f"with the other arguments of the test. No command can replay it: {error.problem}."
    )


def _short(path: Path) -> str:
    """Return a path as a user would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _location(flow: Workflow, module: ModuleType) -> str | None:
    """Return the location of a workflow, as the command line takes it, or None."""
    return next(_locations(flow, [module, *sys.modules.values()]), None)


def _locations(flow: Workflow, modules: Iterable[ModuleType]) -> Iterator[str]:
    for module in modules:
        file: str | None = getattr(module, "__file__", None)
        if file is not None:
            names = [name for name, value in vars(module).items() if value is flow]
            yield from (f"{_short(Path(file))}:{name}" for name in names)

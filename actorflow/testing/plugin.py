"""What the pytest fixture `simulation` is. See `actorflow.pytest_plugin` for the plugin itself.

A test hands its workflow over, and fails when a schedule breaks a law. That schedule is then
kept in pytest's cache: it is tried first when the test runs again, until it passes, and the
report says how to look at it.
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
from actorflow.testing.errors import NotEnded
from actorflow.testing.laws.law import several
from actorflow.testing.replay.files import Replay
from actorflow.testing.search.cases import given, simulate
from actorflow.testing.search.doubts import Doubts
from actorflow.testing.search.exploration import NOT_ENDED
from actorflow.testing.search.search import explore, judged
from actorflow.testing.simulation.checks import refuse_misspelt
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
"""How many schedules a test tries that does not say how many: about a second's worth."""
_LONGEST: Final = 150
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Simulations:
    """Lets the workflows of one test happen in virtual time.

    Args:
        request: pytest's, for the test.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._searches = 0

    def explore(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        schedules: int = _SCHEDULES,
        seed: int = 0,
        laws: Iterable[Law] = all_laws.ALL,
        seconds: float | None = None,
        **options: Any,
    ) -> Exploration:
        """Hold a workflow to the laws on many schedules; see `actorflow.testing.explore`.

        Args:
            flow: The workflow.
            inputs: The run's inputs.
            schedules: How many to try; `--actorflow-schedules` overrules it.
            seed: Where to begin; `--actorflow-seed` overrules it.
            laws: What must hold.
            seconds: How many real seconds to take at most, or so.
            options: The others of `explore`.

        Raises:
            LawBroken: When a schedule breaks a law. It is made small, and kept.
        """
        __tracebackhide__ = True
        self._searches += 1
        case, laws = given(flow, inputs, **options), several(laws)
        self._try_what_is_kept(case, laws)
        exploration = explore(
            flow,
            inputs,
            schedules=self._overruled("schedules", schedules),
            seed=self._overruled("seed", seed),
            laws=laws,
            seconds=seconds,
            **options,
        )
        if exploration.broken is not None:
            self._keep(case, exploration.broken)
            raise exploration.broken.with_traceback(None)
        _doubt(exploration, case)
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
        """Hold a workflow to the laws on one schedule; see `actorflow.testing.simulate`.

        Args:
            flow: The workflow.
            inputs: The run's inputs.
            tape: Its choices: a tape that has failed once, and must not again.
            laws: What must hold.
            options: The others of `simulate`.

        Raises:
            LawBroken: When it breaks a law.
        """
        __tracebackhide__ = True
        refuse_misspelt(simulate, options)
        trace = given(flow, inputs, **options).simulate(tape)
        broken = judged(several(laws), trace)
        if broken is not None:
            raise broken.with_traceback(None)
        doubts = Doubts()
        doubts.note(trace)
        doubts.warn()
        return trace

    def _overruled(self, name: str, value: int) -> int:
        option: int | None = self._request.config.getoption(f"actorflow_{name}")
        return value if option is None else option

    # ── Schedules that have failed ───────────────────────────────────────────────────────────

    def _try_what_is_kept(self, case: Given, laws: tuple[Law, ...]) -> None:
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
        with contextlib.suppress(OSError):  # another process may have been faster
            path.unlink()

    def _keep(self, case: Given, broken: LawBroken) -> None:
        try:
            said = f"To see this schedule again:\n\n{self._kept(case, broken)}"
        except OSError as error:
            said = f"This schedule could not be kept: {error}."
        self._request.node.add_report_section("call", "actorflow", said)

    def _kept(self, case: Given, broken: LawBroken) -> str:
        """Keep a schedule, and return how to see it again."""
        path, flow = self._path(), _place(case.flow, self._request.module)
        try:
            trace = case.simulate(broken.tape)
            Replay.of(case, broken.tape, flow=flow, law=broken.name, trace=trace).save(path)
        except DefinitionError as error:
            broken.tape.save(path)
            return _kept_alone(error, path)
        return _unnamed(path) if flow is None else f"    actorflow replay {_short(path)}"

    def _path(self) -> Path:
        """Return where the failing schedule of this search of this test is kept."""
        name = _file_name(self._request.node.nodeid)
        number = f"-{self._searches}" if self._searches > 1 else ""
        return self._folder() / f"{name}{number}.json"

    def _folder(self) -> Path:
        cache: pytest.Cache | None = getattr(self._request.config, "cache", None)
        if cache is not None:
            with contextlib.suppress(OSError):  # it may be one that can only be read
                return cache.mkdir("actorflow")
        folder: Path = self._request.getfixturevalue("tmp_path")
        return folder


def _file_name(test: str) -> str:
    """Return a file's name for a test: no other test's, and none that is too long."""
    name = _UNUSUAL.sub("-", test).strip("-")
    if len(name) <= _LONGEST and "[" not in test:
        return name
    # Parameters differ in what names of files cannot have.
    return f"{name[:_LONGEST]}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def _doubt(exploration: Exploration, case: Given) -> None:
    """Warn of a search that has not seen a single run end: it shows next to nothing."""
    if set(exploration.endings) == {NOT_ENDED}:
        try:
            _ = case.simulate().result
        except NotEnded as error:
            warn(f"on none of {exploration.schedules} schedules a run has ended: {error.why}")


def _unnamed(path: Path) -> str:
    return (
        f"    simulation.check(flow, tape=Tape.load({_short(path)!r}))\n\n"
        "with what else the test says. Were the workflow a global of its module, there would be a "
        "command for it."
    )


def _kept_alone(error: DefinitionError, path: Path) -> str:
    return (
        f"    simulation.check(flow, tape=Tape.load({_short(path)!r}))\n\n"
        f"with what else the test says. There is no command for it: {error.problem}."
    )


def _short(path: Path) -> str:
    """Return a path as one would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _place(flow: Workflow, module: ModuleType) -> str | None:
    """Return where a workflow is, as the command line takes it, if it has a global name."""
    return next(_places(flow, [module, *sys.modules.values()]), None)


def _places(flow: Workflow, modules: Iterable[ModuleType]) -> Iterator[str]:
    for module in modules:
        file: str | None = getattr(module, "__file__", None)
        if file is not None:
            names = [name for name, value in vars(module).items() if value is flow]
            yield from (f"{_short(Path(file))}:{name}" for name in names)

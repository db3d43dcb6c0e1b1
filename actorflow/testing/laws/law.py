"""Laws, and how a trace is checked against one."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, overload

import attrs

from actorflow.definition.parameters import name_of
from actorflow.errors.definition import DefinitionError
from actorflow.support.safe_text import said_by, text_of
from actorflow.testing.errors import LawBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.laws.evidence.sharing import Sharing
    from actorflow.testing.trace.trace import Trace

__all__ = ["Law", "law", "of_several", "of_the_runtime", "several"]

_SOME: Final = "laws.ALL, or [one, another], or both: [*laws.ALL, one]"
_CURE: Final = "Return None or True if the law holds; if not, False or a string"


@attrs.frozen(repr=False)
class Law:
    """Something that holds in every schedule.

    Created by `law`; the numbered laws are in `actorflow.testing.laws`.
    """

    name: str
    text: str
    """The law, in one sentence."""
    number: int | None
    test: Callable[[Trace], object]
    """Raises if a trace breaks the law, or returns False or a string that says what was seen;
    returns None or True if the trace keeps it."""

    def check(self, trace: Trace) -> None:
        """Check that a trace keeps the law.

        Raises:
            LawBroken: When it does not.
        """
        try:
            seen = self.test(trace)
        except _failures() as error:
            raise self._broken(_said_by(error), trace) from error
        if seen is None or seen is True:
            return
        if seen is False:
            raise self._broken("it returned False", trace)
        said = seen if isinstance(seen, str) and seen else f"it returned {text_of(seen)}. {_CURE}"
        raise self._broken(said, trace)

    def _broken(self, seen: str, trace: Trace) -> LawBroken:
        return LawBroken(self.number, self.name, self.text, seen, trace)

    def __repr__(self) -> str:
        number = "" if self.number is None else f" {self.number}"
        return f"<law{number} {self.name}: {self.text}>"


def _failures() -> tuple[type[BaseException], ...]:
    """Return the exceptions that mean a broken law: `pytest.fail` raises no `Exception`."""
    pytest = sys.modules.get("pytest")
    return (Exception,) if pytest is None else (Exception, pytest.fail.Exception)


def _said_by(error: BaseException) -> str:
    """Return an error's message, or the line that raised it if there is no message."""
    said, name = said_by(error), type(error).__name__
    return f"{name}: {traceback.extract_tb(error.__traceback__)[-1].line}" if said == name else said


@overload
def law(test: Callable[[Trace], object], /) -> Law: ...
@overload
def law(
    *, name: str | None = None, text: str | None = None
) -> Callable[[Callable[[Trace], object]], Law]: ...
def law(
    test: Callable[[Trace], object] | None = None,
    /,
    *,
    name: str | None = None,
    text: str | None = None,
) -> Any:
    """Make a law from a function that takes a trace and asserts.

    The law is broken if the function raises, returns False, or returns a string, which says what
    was seen. The law holds if the function returns None or True. Any other result, such as an empty
    list, is ambiguous and counts as broken.

    Args:
        test: The function.
        name: The name of the law; by default the function's name.
        text: The law in one sentence; by default the first line of the function's docstring.

    Raises:
        DefinitionError: When calling the function with a trace would not run it.

    Example:
        >>> from actorflow import Step, Workflow
        >>> from actorflow.testing import law, simulate
        >>> @law(text="Every run completes.")
        ... def completes(trace):
        ...     return trace.result.status == "completed"
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> completes.check(simulate(flow))
    """

    def make(test: Callable[[Trace], object]) -> Law:
        _check(test)
        called = name or name_of(test).removesuffix("()")
        doc = inspect.getdoc(test) or called
        return Law(called, text or doc.partition("\n")[0], None, test)

    return make if test is None else make(test)


def _check(test: object) -> None:
    if not callable(test):
        problem = f"a law cannot be made from {test!r}"
        raise DefinitionError(None, problem, "Give a function of the trace")
    if inspect.iscoroutinefunction(test) or inspect.isgeneratorfunction(test):
        problem = f"the law {name_of(test)} is not a plain function: calling it checks nothing"
        raise DefinitionError(None, problem, "Write it with def, without await and yield")
    if not _takes_one(test):
        problem = f"the law {name_of(test)} cannot be called with a trace alone"
        raise DefinitionError(None, problem, "Give it one parameter: the trace")


def _takes_one(test: Callable[..., object]) -> bool:
    try:
        inspect.signature(test).bind(None)
    except ValueError:
        return True  # functions written in C may have no signature
    except TypeError:
        return False
    return True


def several(laws: Any) -> tuple[Law, ...]:
    """Return the given laws as a tuple.

    Raises:
        DefinitionError: When they are not laws.
    """
    if isinstance(laws, Law) or not isinstance(laws, Iterable):
        raise DefinitionError(None, f"laws is {laws!r}", f"Give a list of laws: {_SOME}")
    given = tuple(laws)
    for one in given:
        if not isinstance(one, Law):
            problem = f"laws holds {text_of(one)}, which is not a law"
            raise DefinitionError(None, problem, "Decorate the function with @law")
    return given


def of_the_runtime(number: int, text: str) -> Callable[[Callable[[Lives], Iterator[str]]], Law]:
    """Make a numbered law from a function that yields each violation it sees."""

    def make(search: Callable[[Lives], Iterator[str]]) -> Law:
        def first(trace: Trace) -> str | None:
            if trace.parts:
                return _first_of_parts(search, number, trace.parts)
            return next(search(trace.lives), None)

        return Law(search.__name__, text, number, first)

    return make


_OF_WHOLE_RECORDS: Final = frozenset(
    {3, 6, 7, 8, 9, 14, 18, 21, 22, 23, 26, 27, 28, 29, 32, 34, 37, 39, 54}
)
"""The numbers of the laws that compare the lives of a run, or that a process keeps only while it is
not stopped. One process of several knows only its own part; laws 40 to 51 and 55 to 63 look at
the whole.
"""


def _first_of_parts(
    search: Callable[[Lives], Iterator[str]], number: int, parts: Iterable[Trace]
) -> str | None:
    """Return the first violation in one of several processes."""
    if number in _OF_WHOLE_RECORDS:
        return None
    return next((seen for part in parts for seen in search(part.lives)), None)


def of_several(number: int, text: str) -> Callable[[Callable[[Sharing], Iterator[str]]], Law]:
    """Make a numbered law about several orchestrators from a function that yields violations."""

    def make(search: Callable[[Sharing], Iterator[str]]) -> Law:
        def first(trace: Trace) -> str | None:
            sharing = trace.sharing
            return None if sharing is None else next(search(sharing), None)

        return Law(search.__name__, text, number, first)

    return make

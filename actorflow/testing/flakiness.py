"""Whether a failure is one of its schedule, or of chance that nobody has drawn.

A schedule is a function of its tape as long as laws judge by the trace alone, and as long as
functions that are run for real are pure. What is not can fail, and must not be believed: its
tape shows nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.testing.laws.pairs import first_difference

if TYPE_CHECKING:
    from actorflow.testing.shrinking import Finding, Judge

__all__ = ["doubt"]

_TIMES: Final = 3


def doubt(finding: Finding, judge: Judge) -> str:
    """Return why a failure is not to be believed, or nothing if it comes again, time after time.

    Args:
        finding: The failure.
        judge: Says whether a trace breaks the same law.
    """
    case, first = finding.case, finding.trace
    for _ in range(_TIMES):
        again = case.simulate(first.tape)
        if again.hash != first.hash:
            return f"the same tape gave {first_difference(first, again)}"
        if judge(again) is None:
            return "the same tape gave the same trace once more, and the law found nothing"
    return ""

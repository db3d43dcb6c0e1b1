"""When the runs of several orchestrators needed no owner: while they were paused, or slept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorflow.testing.laws.evidence.life import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.testing.cluster.messages import Slept
    from actorflow.testing.cluster.trace import ClusterTrace
    from actorflow.testing.laws.evidence.sharing import Ownership

__all__ = ["Rest", "Span"]


class Span(NamedTuple):
    """A time, in virtual seconds."""

    since: float
    until: float


class Rest:
    """The pauses and the evictions of the runs in a trace.

    Args:
        trace: The trace.
    """

    def __init__(self, trace: ClusterTrace) -> None:
        self._trace = trace
        self.pauses: dict[str, list[Span]] = {}
        """The pauses of each run, as the store kept them, in order."""
        self._sleeps: dict[str, list[Span]] = {}
        for one in trace.steered:
            pauses = self.pauses.setdefault(one.run_id, [])
            if one.paused:
                pauses.append(Span(one.time, NEVER))
            else:
                pauses[-1] = pauses[-1]._replace(until=one.time)
        for slept in trace.slept:
            sleep = Span(slept.time, self._woken_at(slept))
            self._sleeps.setdefault(slept.run_id, []).append(sleep)

    def _woken_at(self, slept: Slept) -> float:
        """Return when there was news for a run that slept; infinite if there was none."""
        trace = self._trace
        moments = [
            one.time
            for one in trace.messages
            if one.run_id == slept.run_id and (one.number or 0) > slept.seen
        ]
        moments += [at for at, run_id in trace.asked if run_id == slept.run_id]
        if slept.wake_at is not None and trace.clocks_are_right:
            moments.append(slept.wake_at)
        return max(slept.time, min((at for at in moments if at >= slept.time), default=NEVER))

    def is_paused(self, run_id: str, since: float, until: float | None = None) -> bool:
        """Return whether a run was paused at some moment of a time."""
        until = since if until is None else until
        return any(it.since <= until and since <= it.until for it in self.pauses.get(run_id, ()))

    def rests(self, run_id: str, moment: float) -> bool:
        """Return whether a run was paused or slept at a moment."""
        spans = (*self.pauses.get(run_id, ()), *self._sleeps.get(run_id, ()))
        return any(it.since <= moment < it.until for it in spans)

    def without(self, one: Ownership, since: float) -> Iterator[Span]:
        """Yield the parts of an ownership from a moment on in which the run did not rest."""
        spans = sorted((*self.pauses.get(one.run_id, ()), *self._sleeps.get(one.run_id, ())))
        for span in self._until_cancelled(one.run_id, spans):
            if span.until <= since:
                continue
            if since < min(span.since, one.until):
                yield Span(since, min(span.since, one.until))
            since = max(since, span.until)
        if since < one.until:
            yield Span(since, one.until)

    def _until_cancelled(self, run_id: str, spans: Sequence[Span]) -> Iterator[Span]:
        """Yield times of rest up to the first request to cancel the run, which ends them."""
        asked = min((at for at, asked_of in self._trace.asked if asked_of == run_id), default=NEVER)
        for span in spans:
            if span.since < asked:
                yield span._replace(until=min(span.until, asked))

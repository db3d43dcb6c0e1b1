"""Edits of traces, with which a test shows that a law notices a violation."""

from __future__ import annotations

import itertools

import attrs

from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import StartRun
from actorflow.testing import laws
from actorflow.testing.errors import LawBroken


def broken(trace):
    """The numbers of the laws that a trace breaks."""
    return [law.number for law in laws.ALL if seen_by(law, trace) is not None]


def seen_by(law, trace):
    """What a law sees in a trace that must not be, or None."""
    try:
        law.check(trace)
    except LawBroken as error:
        return error.observed
    return None


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def place_of(trace, kind, step_id=None, attempt=None):
    """Where among its events the first of a kind is, of a step or of a run."""
    return next(
        place
        for place, event in enumerate(trace.events)
        if event.kind == kind and event.step_id == step_id and attempt in (None, event.attempt)
    )


def told(trace, pairs):
    """The trace with other events, each with the number of deliveries before it.

    They are renumbered, and shown to watchers as soon as they are recorded.
    """
    marks, events = zip(*pairs, strict=True)
    numbers = {run_id: itertools.count(1) for run_id in trace.runs}
    events = tuple(one._replace(number=next(numbers[one.run_id])) for one in events)
    return attrs.evolve(trace, events=events, marks=marks, shown=shown(events))


def shown(events):
    """What watchers are shown of events, each by itself."""
    return tuple((count, (event,)) for count, event in enumerate(events, 1))


def pairs_of(trace):
    """The events with the numbers of deliveries before them."""
    return list(zip(trace.marks, trace.events, strict=True))


def removed(trace, place):
    """The trace without the event at a place."""
    pairs = pairs_of(trace)
    del pairs[place]
    return told(counted(trace, place, -1), pairs)


def inserted(trace, place, pair):
    """The trace with one more event at a place."""
    pairs = pairs_of(trace)
    pairs.insert(place, pair)
    return told(counted(trace, place, 1), pairs)


def counted(trace, place, more):
    """The trace that counts so many events more wherever it counts those up to a place."""
    lulls = [one._replace(events=one.events + more * (one.events > place)) for one in trace.idle]
    handed = [(count + more * (count > place), *rest) for count, *rest in trace.handed]
    return attrs.evolve(trace, lulls=tuple(map(tuple, lulls)), handed=tuple(handed))


def without(trace, kind, step_id=None):
    """The trace without an event."""
    return removed(trace, place_of(trace, kind, step_id))


def with_changed(trace, kind, /, step_id=None, which=None, **changes):
    """The trace with an event that says something else."""
    pairs, place = pairs_of(trace), place_of(trace, kind, step_id, which)
    mark, event = pairs[place]
    pairs[place] = mark, event._replace(**changes)
    return told(trace, pairs)


def with_moved(trace, kind, step_id, *, before):
    """The trace with an event that comes before another one; or at the end."""
    place = place_of(trace, kind, step_id)
    rest = removed(trace, place)
    there = len(rest.events) if before is None else place_of(rest, *before)
    return inserted(rest, there, pairs_of(trace)[place])


def with_added(trace, kind, step_id=None, *, before=None, attempt=None, **data):
    """The trace with one more event, before another one or at the end."""
    place = len(trace.events) if before is None else place_of(trace, *before)
    mark, near = pairs_of(trace)[min(place, len(trace.events) - 1)]
    where = near.run_id, step_id, attempt
    added = Event(near.number, EventKind(kind), *where, near.time, data, near.workflow_id)
    return inserted(trace, place, (mark, added))


# ── Everything else ──────────────────────────────────────────────────────────────────────────


def with_body(trace, step_id, attempt=1, **changes):
    """The trace with an attempt of which its executor says something else."""
    rows = [
        one._replace(**changes) if (one.step_id, one.attempt) == (step_id, attempt) else one
        for one in trace.attempts
    ]
    return attrs.evolve(trace, rows=tuple(map(tuple, rows)))


def planned(trace, flow=None, **changes):
    """The trace as if its runs had been told of another workflow, or been started otherwise."""
    changes |= {} if flow is None else {"plan": flow.plan()}
    return with_messages(
        trace,
        lambda message: (
            attrs.evolve(message, **changes) if isinstance(message, StartRun) else message
        ),
    )


def with_messages(trace, change):
    """The trace with messages that say something else."""
    envelopes = tuple(
        (time, (target, change(message), sender))
        for time, (target, message, sender) in trace.envelopes
    )
    return attrs.evolve(trace, envelopes=envelopes)


def with_lull(trace, index, **changes):
    """The trace with a lull in which things stood differently."""
    lulls = list(trace.idle)
    lulls[index] = lulls[index]._replace(**changes)
    return attrs.evolve(trace, lulls=tuple(map(tuple, lulls)))


def with_result(trace, **changes):
    """The trace with another result of its first run."""
    run_id, result = next(iter(trace.results.items()))
    return attrs.evolve(trace, results={**trace.results, run_id: attrs.evolve(result, **changes)})

"""The earlier lives of a run, as its events tell them."""

from __future__ import annotations

from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.model.past import Past


def events(*told):
    """Events of one step or of the run, by their kinds and data."""
    return [
        Event(number, KINDS.get(kind, kind), "run", of(kind), 1, 0.0, data, "flow")
        for number, (kind, data) in enumerate(told, 1)
    ]


def of(kind):
    """The step of an event, if it has one."""
    return None if kind.startswith("run.") else "a"


KINDS = {kind.value: kind for kind in EventKind}
STARTED = [("run.started", {}), ("step.started", {})]


def test_a_crash_names_what_was_in_flight():
    """As often as the owners have died since."""
    again = [("run.resumed", {"takeovers": 1, "taken_over": True, "in_flight": ["a"]})]
    once = Past.of(events(*STARTED), 1)
    twice = Past.of(events(*STARTED, *again, ("step.started", {})), 2)

    assert ((("a",),), True) == (once.crashes, once.crashed)
    assert (("a",), ("a",)) == twice.crashes
    assert (2, 2) == (twice.attempts["a"], twice.cut("a"))


def test_an_attempt_that_is_suspended_is_not_in_flight_and_is_again_when_it_continues():
    """The crash of its process is not its doing."""
    waits = [*STARTED, ("step.suspended", {"reason": "run"})]

    assert () == Past.of(events(*waits), 1).crashes
    assert (("a",),) == Past.of(events(*waits, ("step.continued", {})), 1).crashes


def test_take_overs_before_the_run_began_are_not_counted():
    """Its start says how many there were."""
    begun = [("run.started", {"takeovers": 2}), ("step.started", {})]

    assert () == Past.of(events(*begun), 2).crashes
    assert (("a",),) == Past.of(events(*begun), 3).crashes


def test_a_person_sets_all_counts_back():
    """Except for how often the owners have died in all."""
    told = [*STARTED, ("step.retrying", {}), ("run.resumed", {"takeovers": 4})]
    past = Past.of(events(*told, ("step.started", {})), 4)

    assert ({"a": 1}, {}, ()) == (dict(past.attempts), dict(past.failures), past.crashes)

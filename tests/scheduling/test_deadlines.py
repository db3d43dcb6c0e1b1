"""Moments that may be cancelled, and come in the order of their times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actorflow.scheduling.deadlines import Deadlines, Due

NEVER = float("inf")


def due(deadlines, now):
    """The runs whose deadlines are due, the earliest first."""
    found = []
    while (one := deadlines.pop_due(now)) is not None:
        found.append(one[1])
    return found


def test_what_is_due_comes_in_the_order_of_its_time():
    """Equal times in the order of setting; what is not due stays."""
    deadlines = Deadlines()
    for when, run_id in [(3.0, "c"), (1.0, "a"), (2.0, "b1"), (2.0, "b2"), (9.0, "later")]:
        deadlines.set(when, Due.RUN, run_id)

    assert ["a", "b1", "b2", "c"] == due(deadlines, 3.0)
    assert 1 == len(deadlines)


def test_a_deadline_is_due_at_its_time_and_not_before():
    """To the instant."""
    deadlines = Deadlines()
    deadlines.set(2.0, Due.RUN, "run")

    assert [] == due(deadlines, 1.9999999)
    assert ["run"] == due(deadlines, 2.0)


def test_a_deadline_says_what_it_means_and_for_whom():
    """What is due, the run, and the step, if it is a step's."""
    deadlines, step = Deadlines(), object()
    deadlines.set(1.0, Due.BACKOFF, "run", step)

    assert (Due.BACKOFF, "run", step) == deadlines.pop_due(1.0)


def test_a_cancelled_deadline_is_never_due():
    """Cancelling twice is cancelling once."""
    deadlines = Deadlines()
    deadline = deadlines.set(1.0, Due.RUN, "run")
    deadlines.cancel(deadline)
    deadlines.cancel(deadline)

    assert [] == due(deadlines, 10.0)
    assert 0 == len(deadlines)


def test_cancelling_what_has_been_due_does_nothing():
    """The count of what is still to come stays right."""
    deadlines = Deadlines()
    passed = deadlines.set(1.0, Due.RUN, "run")
    deadlines.set(5.0, Due.RUN, "other")
    due(deadlines, 1.0)

    deadlines.cancel(passed)

    assert 1 == len(deadlines)
    assert ["other"] == due(deadlines, 5.0)


def test_what_one_deadline_cancels_is_not_due_with_it():
    """Each is looked for again."""
    deadlines = Deadlines()
    deadlines.set(1.0, Due.RUN, "first")
    second = deadlines.set(2.0, Due.RUN, "second")

    first = deadlines.pop_due(10.0)
    deadlines.cancel(second)

    assert "first" == first[1]
    assert deadlines.pop_due(10.0) is None


def test_cancelled_deadlines_do_not_pile_up():
    """Ten thousand quick steps a second, with a timeout of half a minute each."""
    deadlines = Deadlines()
    lasting = deadlines.set(1e9, Due.RUN, "lasting")
    for number in range(10_000):
        deadlines.cancel(deadlines.set(30.0 + number, Due.ATTEMPT, "run"))

    assert len(deadlines._heap) < 500
    assert 1 == len(deadlines)
    deadlines.cancel(lasting)
    assert 0 == len(deadlines)


def test_a_cancelled_deadline_keeps_nothing_alive():
    """The heap may hold its place for long after the step is gone."""
    deadlines = Deadlines()
    deadline = deadlines.set(1.0, Due.ATTEMPT, "run", object())

    deadlines.cancel(deadline)

    assert not any(type(part) is object for part in deadline)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("pass"), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(actions)
def test_it_behaves_like_a_list_that_is_searched_every_time(actions):
    """And never expects the earliest too late: that would be a wake-up lost."""
    deadlines, model, made, now = Deadlines(), {}, [], 0.0
    for action, number in actions:
        if action == "set":
            run_id = f"r{len(made)}"
            made.append((run_id, deadlines.set(now + number, Due.RUN, run_id)))
            model[run_id] = now + number
        elif action == "cancel" and made:
            run_id, deadline = made[number % len(made)]
            deadlines.cancel(deadline)
            model.pop(run_id, None)
        elif action == "pass":
            now += number
            expected = sorted((when, int(r[1:]), r) for r, when in model.items() if when <= now)
            for _, _, run_id in expected:
                del model[run_id]

            assert [run_id for _, _, run_id in expected] == due(deadlines, now)

        assert len(model) == len(deadlines)
        assert deadlines.earliest <= min(model.values(), default=NEVER)

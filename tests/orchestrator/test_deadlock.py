"""Which runs can still end: pure, and reckoned as a banker does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actorflow.orchestrator.deadlock import Standing, can_end

NAMES = "abcdef"


def standing(*awaits, active=True, needs=False, keeps=0):
    """A run in its place."""
    return Standing(
        active=active, needs_a_worker=needs, keeps_workers=keeps, awaits=frozenset(awaits)
    )


def ends(runs, *, places=0, workers=0):
    """The names of the runs that can end, as a word."""
    return "".join(sorted(can_end(runs, places=places, workers=workers)))


def test_a_run_that_needs_nothing_ends():
    """Without a place among the active ones it needs that."""
    runs = {"a": standing(), "b": standing(active=False)}

    assert "ab" == ends(runs)
    assert "" == ends({"b": standing(active=False)})
    assert "b" == ends({"b": standing(active=False)}, places=1)


def test_a_worker_that_is_given_back_lets_others_end():
    """Its keeper has to end first."""
    runs = {"a": standing(keeps=1), "b": standing(needs=True)}

    assert "ab" == ends(runs)
    assert "" == ends({**runs, "a": standing("b", keeps=1)})
    assert "ab" == ends({**runs, "a": standing("b", keeps=1)}, workers=1)


def test_who_waits_for_one_another_ends_never():
    """However much is free; who waits for a run that has ended waits no more."""
    runs = {"a": standing("b"), "b": standing("a"), "c": standing("gone")}

    assert "c" == ends(runs, places=9, workers=9)


def test_who_wants_in_waits_for_anybodys_end():
    """Its own does not count."""
    runs = {"a": standing(None, keeps=1), "b": standing(needs=True)}

    assert "" == ends(runs)
    assert "abc" == ends({**runs, "c": standing()})


standings = st.builds(
    Standing,
    active=st.booleans(),
    needs_a_worker=st.booleans(),
    keeps_workers=st.integers(0, 2),
    awaits=st.frozensets(st.sampled_from([*NAMES, None]), max_size=2),
)


@given(
    runs=st.dictionaries(st.sampled_from(NAMES), standings),
    places=st.integers(0, 2),
    workers=st.integers(0, 2),
)
def test_more_of_anything_hinders_nobody(runs, places, workers):
    """And each that is left needs something that none of the others gives back."""
    able = can_end(runs, places=places, workers=workers)
    left = {name: run for name, run in runs.items() if name not in able}
    free = {
        "places": places + sum(runs[name].active for name in able),
        "workers": workers + sum(runs[name].keeps_workers for name in able),
    }

    assert able <= can_end(runs, places=places + 1, workers=workers)
    assert able <= can_end(runs, places=places, workers=workers + 1)
    assert frozenset() == can_end(left, **free)

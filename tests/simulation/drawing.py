"""Chance draws: workflows, scripts, settings and whole simulations, from one random generator.

Everything is drawn plainly more often than not, so that what is odd meets what is plain.
"""

from __future__ import annotations

from actorflow.errors import GiveUp, RetryAfter
from actorflow.retry import RetryPolicy
from actorflow.step import Step
from actorflow.testing import Faults, Script, Simulation, either, hangs, raises, returns
from tests.deciding import flow

POLICIES = (
    RetryPolicy(max_attempts=2),
    RetryPolicy(max_attempts=3, jitter=0.0),
    RetryPolicy(max_attempts=4, initial_interval=0.5, jitter=0.5, retryable_errors=ValueError),
    RetryPolicy(max_attempts=3, give_up_on=KeyError),
    RetryPolicy(max_attempts=2, initial_interval=5.0, retryable_errors=("Timeout", "Crashed")),
)
ERRORS = (ValueError("no"), KeyError("k"), RetryAfter(3.0), GiveUp("g"), OSError(), SystemExit())


async def sees_all(inputs):
    """A coroutine step that gets whatever it may see."""


def sees_all_plainly(inputs, ctx):
    """A plain step that gets the same."""


async def sees_nothing():
    """A coroutine step that takes nothing."""


FUNCTIONS = (sees_all, sees_all, sees_all_plainly, sees_nothing)


def workflow(random, most=6):
    """Draw a workflow."""
    size = random.randint(1, most)
    density = random.random()
    steps = [a_step(random, number, density) for number in range(size)]
    timeout = random.choice((None, None, None, 4.0, 12.0))
    return flow(*steps, fail_fast=random.random() < 0.6, timeout=timeout)


def a_step(random, number, density):
    """Draw one of its steps, which may wait for any of those before it."""
    after = [f"s{n}" for n in range(number) if random.random() < density / (1 + number / 4)]
    return Step(
        f"s{number}",
        random.choice(FUNCTIONS),
        after=after,
        async_=random.random() < 0.7,
        priority=random.choice((0, 0, 0, 1, -1)),
        required=random.random() < 0.7,
        retry=random.choice((None, *POLICIES)) if random.random() < 0.7 else None,
        timeout=random.choice((None, None, 1.0, 2.0, 3.0)),
        total_timeout=random.choice((None, None, None, 4.0, 9.0)),
    )


def script(random, plan):
    """Draw what the attempts of its steps do."""
    return Script({name: line(random) for name in plan.by_id if random.random() < 0.6})


def line(random):
    """Draw what the attempts of one step do, one after the other."""
    return [behaviour(random) for _ in range(random.randint(1, 3))]


def behaviour(random):
    """Draw what one attempt does."""
    after = random.choice((None, None, 1.0, 2.0, 0.0))
    kind = random.random()
    if kind < 0.4:
        return returns(after=after)
    if kind < 0.8:
        return raises(random.choice(ERRORS), after=after)
    if kind < 0.9:
        return hangs(stubborn=random.random() < 0.3)
    return either(returns(after=after), raises(ValueError, after=after), hangs())


def faults(random):
    """Draw how much goes wrong: nothing, or a little of everything."""
    if random.random() < 0.4:
        return Faults()
    names = (
        "crashes",
        "poisons",
        "duplicates",
        "delays",
        "cancels",
        "restarts",
        "late_results",
        "store_failures",
        "store_stalls",
    )
    return Faults(**{name: random.choice((0, 0, 0, 1, 2)) for name in names})


def trace(random, tape=None):
    """Draw several runs at once, let them happen, and return what has."""
    tape = random if tape is None else tape
    simulation = Simulation(
        tape=tape,
        async_workers=random.choice((1, 2, 2, 3, 10)),
        max_active_runs=random.choice((100, 100, 100, 1)),
        stop_grace=random.choice((5.0, 1.0)),
        faults=faults(random),
        race=random.random() < 0.5,
    )
    for _ in range(random.choice((1, 1, 2, 3))):
        one = workflow(random)
        run_id = simulation.start(
            one, script=script(random, one.plan()), priority=random.choice((0, 0, 0, 1))
        )
        if random.random() < 0.2:
            simulation.cancel_at(random.choice((0.0, 1.0, 2.0, 3.0, 7.5)), run_id)
    simulation.run_until_quiet()
    return simulation.trace()

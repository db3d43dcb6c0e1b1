"""Drawn workflows for the supervisor's brain, and drawn orders in which everything happens.

Hypothesis draws workflows, and a tape of integers that chooses what happens next. Zero is the
plainest choice, and past its end the tape reads zero, so that every example ends.
"""

from __future__ import annotations

from hypothesis import strategies as st

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.running import GiveUp, RetryAfter
from actorflow.model.messages import (
    AttemptFinished,
    BlockedLoop,
    CancelRun,
    CompensatorLost,
    MakeSteps,
    PauseRun,
    ReviveStep,
    SuspendAttempt,
    Wake,
    WakeAttempt,
    run_of,
)
from actorflow.model.pausing import Pause
from tests.support.brain import (
    COROUTINES,
    OF_RUN_ACTORS,
    THREADS,
    cancelled_error,
    flow,
    nothing,
    step,
    task,
)

MOST = 3_000
"""Messages after which a schedule counts as endless; the longest takes a few hundred."""

rarely = st.sampled_from([False, False, False, True])
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(2, 4),
    initial_interval=st.sampled_from([1.0, 5.0]),
    jitter=st.sampled_from([0.0, 0.5]),
    retryable_errors=st.sampled_from([(), (ValueError, "StepTimeout", "ActorCrashed")]),
)


compensators = st.one_of(
    st.none(),
    st.just(nothing),
    st.builds(
        Step,
        st.just("undo"),
        st.just(nothing),
        async_=st.booleans(),
        retry=st.one_of(policies, st.none()),
        timeout=st.sampled_from([None, 2.0]),
        total_timeout=st.sampled_from([None, 7.0, 4.0]),
    ),
)


@st.composite
def workflows(draw):
    """Draw a workflow of up to six steps, with everything that the brain takes into account."""
    steps = []
    for number in range(draw(st.integers(1, 6))):
        after = [f"s{n}" for n in range(number) if draw(rarely)]
        make = draw(st.sampled_from([task, task, step]))
        steps.append(
            make(
                f"s{number}",
                *after,
                priority=draw(st.sampled_from([0, 0, 1, -1])),
                required=draw(st.booleans()),
                retry=draw(st.one_of(policies, st.none(), policies)),
                timeout=draw(st.sampled_from([None, None, 2.0])),
                total_timeout=draw(st.sampled_from([None, 7.0, 4.0])),
                compensate=draw(compensators),
                expected=draw(st.sampled_from([None, 5.0, 0.5, 2.0])),
            )
        )
    return flow(
        *steps,
        order=draw(st.sampled_from(["readiness", "critical_path"])),
        fail_fast=draw(st.booleans()),
        timeout=draw(st.sampled_from([None, 2.0, 6.0])),
    )


runs = st.lists(
    st.tuples(workflows(), st.integers(0, 1), st.sampled_from([COROUTINES, THREADS])),
    min_size=1,
    max_size=3,
)
# Blocks of one size find faults many times faster than lists that Hypothesis grows.
tapes = st.one_of(*[st.binary(min_size=size, max_size=size) for size in (0, 16, 64, 160)])


def firsts(senders):
    """The places of each sender's first message."""
    places = {}
    for place, sender in enumerate(senders):
        places.setdefault(sender, place)
    return list(places.values())


class Schedule:
    """One order in which everything happens, chosen by a tape."""

    def __init__(self, driver, tape):
        self.driver = driver
        self._tape = iter(tape)
        self._ended = []
        self._waiting = []
        self._delivered = []
        self._paused = []

    def choose(self, options):
        """Take one of the options; the first is the plainest."""
        return options[next(self._tape, 0) % len(options)]

    def run(self):
        """Let things happen until nothing can."""
        for _ in range(MOST):
            moves = self._moves()
            if not moves:
                break
            self.choose(moves)()
        else:
            raise AssertionError("the schedule does not end")

    def _moves(self):
        driver = self.driver
        if not (driver.brain.runs or driver.pending or driver.held):
            return []
        moves = []
        if driver.held:
            moves += [driver.commit, driver.commit]
        if driver.mail:
            moves += [self._post_first, self._post_any]
        if driver.pending:
            moves += [self._deliver_first, self._deliver_any, self._deliver_several]
        if driver.in_flight:
            moves += [self._finish, self._fail, self._fail, self._suspend]
        if self._waiting:
            moves += [self._wake, self._wake]
        if driver.brain.deadlines.earliest < float("inf"):
            moves += [self._next_deadline, self._oversleep, self._let_time_pass]
        if self._paused:
            moves += [self._unpause]
        assert moves, "every attempt has ended, nothing is under way, and a run has not ended"
        return [*moves, self._disturb]

    def _disturb(self):
        again, lose = self._say_again, self._lose
        others = [self._cancel, self._pause, self._pause]
        self.choose([lose, again, self._block, self._post_again, lose, *others])()

    def _pause(self):
        """Pause a run, perhaps one that is paused or has ended."""
        run_id = self.choose(list(self.driver.starts))
        self._paused.append(run_id)
        self.driver.say(PauseRun(run_id, Pause(reason="a rest", freeze=self.choose([True, False]))))

    def _unpause(self):
        self.driver.say(PauseRun(self._paused.pop(), None))

    def _post_first(self):
        self._post(0)

    def _post_any(self):
        self._post(self.choose(firsts(one[:2] for one in self.driver.mail)))

    def _post(self, place):
        message = self.driver.mail[place]
        if not isinstance(message[2], (MakeSteps, ReviveStep)):
            self._delivered.append(message)
        self.driver.deliver(place)

    def _post_again(self):
        if self._delivered:
            self.driver.mail.append(self.choose(self._delivered[::-1]))

    def _deliver_first(self):
        self.driver.say(self.driver.pending.pop(0))

    def _deliver_any(self):
        self.driver.say(self._any_pending())

    def _deliver_several(self):
        several = [self._any_pending() for _ in self.driver.pending[:3]]
        self.driver.say(*several)

    def _any_pending(self):
        pending = self.driver.pending
        senders = [
            run_of(one) if isinstance(one, OF_RUN_ACTORS) else number
            for number, one in enumerate(pending)
        ]
        return pending.pop(self.choose(firsts(senders)))

    def _finish(self):
        key, attempt = self._one_in_flight()
        error = cancelled_error(attempt) if attempt.cancelled else None
        self._report(key, attempt, error)

    def _fail(self):
        key, attempt = self._one_in_flight()
        others = [KeyError("k"), RetryAfter(3), GiveUp("g"), SystemExit(), None]
        self._report(key, attempt, self.choose([*[ValueError("v")] * 5, *others]))

    def _suspend(self):
        _, attempt = self._one_in_flight()
        self._waiting.append(attempt)
        self.driver.say(SuspendAttempt(attempt, "a message"))

    def _wake(self):
        """Wake an attempt that waits, or one that has ended since."""
        attempt = self.choose(self._waiting)
        self._waiting.remove(attempt)
        self.driver.say(WakeAttempt(attempt))

    def _one_in_flight(self):
        return self.choose(list(self.driver.in_flight.items()))

    def _report(self, key, attempt, error):
        del self.driver.in_flight[key]
        finished = AttemptFinished(attempt, f"output of {key}", error)
        self._ended.append(finished)
        self.driver.pending.append(finished)

    def _next_deadline(self):
        self.driver.now = max(self.driver.now, self.driver.brain.deadlines.earliest)
        self.driver.say(Wake())

    def _oversleep(self):
        self.driver.now = max(self.driver.now, self.driver.brain.deadlines.earliest)
        self.driver.now += self.choose([0.5, 3.0, 10.0])
        self.driver.say(Wake())

    def _let_time_pass(self):
        self.driver.now += self.choose([0.5, 3.0])

    def _cancel(self):
        run_id = self.choose(list(self.driver.starts))
        grace, compensate = self.choose([None, 0.0, 1.0]), self.choose([False, True])
        self.driver.say(CancelRun(run_id, "enough", grace, compensate))

    def _lose(self):
        undoing = [key for key, one in self.driver.in_flight.items() if one.compensates]
        if undoing and self.choose([True, False]):
            run_id, step_id = self.choose(undoing)
            self._lose_compensator(run_id, step_id)
            return
        run_id = self.choose(list(self.driver.starts))
        if run_id in self.driver.brain.runs and self.driver.brain.runs[run_id].active:
            step_id = self.choose([*self.driver.starts[run_id].plan.by_id, None])
            if step_id is None:
                self.driver.die_with_all(run_id)
            else:
                self.driver.bury(step_id, run_id=run_id)

    def _lose_compensator(self, run_id, step_id):
        attempt = self.driver.in_flight[run_id, step_id]
        if not attempt.cancelled and self.choose([False, True]):
            del self.driver.in_flight[run_id, step_id]
            attempt.submitted = False
        self.driver.say(CompensatorLost(attempt, "it was shot"))

    def _say_again(self):
        self.driver.say(self.choose([*self._ended, Wake()][::-1]))

    def _block(self):
        if self.driver.in_flight:
            _, attempt = self._one_in_flight()
            self.driver.say(BlockedLoop(attempt, 1.0, "here"))

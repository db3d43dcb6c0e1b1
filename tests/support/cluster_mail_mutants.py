"""Planted bugs between orchestrators in messages, evictions and pauses; see `cluster_mutants`."""

from __future__ import annotations

import attrs

from actorflow.model.mail import Receipts
from actorflow.model.past import _Lives
from actorflow.orchestrator.changing import ChangesRuns
from actorflow.testing.cluster.messages import Messages
from actorflow.testing.cluster.pauses import Pauses
from actorflow.testing.cluster.rows import Sleep
from actorflow.testing.cluster.steered import SteersRuns
from actorflow.testing.cluster.store import SharedStore
from tests.support.cluster_mutants import SHARED, breaks

__all__ = ["SHARED"]


def mailed(scenario):
    """Steps wait for messages, and some are sent."""
    return any(run.messages for run in scenario.runs)


def in_memory(scenario):
    """And their runs stay where they are."""
    return mailed(scenario) and scenario.settings.evict_after is None


def several(scenario):
    """Which are sent several, for which they wait one after the other."""
    two = any(step.waits_here == "for two messages" for step in scenario.steps)
    return two and in_memory(scenario) and any(len(run.messages) > 1 for run in scenario.runs)


def mailed_and_crashing(scenario):
    """Their owners die."""
    return mailed(scenario) and scenario.settings.faults.restarts


def repeated(scenario):
    """Each message is sent twice."""
    return mailed(scenario) and any(run.sent_again for run in scenario.runs)


def evicted(scenario):
    """What waits leaves its process."""
    return scenario.settings.evict_after and mailed(scenario)


def briefly(scenario):
    """And does not wait for ever."""
    waits = {step.waits_here for step in scenario.steps}
    return scenario.settings.evict_after == 1.0 and "for a message, briefly" in waits


def paused(scenario):
    """Runs are paused."""
    return scenario.settings.faults.pauses


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


@breaks(56, shows=in_memory)(SteersRuns, "hear_news")
def messages_through_others_are_not_heard_of(_hear, state):
    """Neither at a signal nor at a renewal."""
    change = state._change
    if change is not None:
        for run_id, pause in state.store.pauses.unheard(state.owner):
            change(run_id, pause)


@breaks(56, shows=several)(Messages, "addressed")
def only_the_first_message_is_heard_of(addressed, messages, owner):
    """Later ones wait."""
    return [(run_id, 1) for run_id, _ in addressed(messages, owner)]


@breaks(55, shows=repeated)(Messages, "_number")
def an_id_is_known_to_the_owner_alone(number, messages, row, mail):
    """Who sends a message again through another orchestrator sends two."""
    return number(messages, row, mail._replace(id=None))


@breaks(55, shows=mailed)(Messages, "_number")
def two_messages_have_one_number(number, messages, row, mail):
    """Each sender counts what it knew."""
    found = number(messages, row, mail)
    return found if found is None else max(1, found - 1)


@breaks(55, shows=mailed_and_crashing)(Receipts, "of")
def the_next_owner_does_not_know_what_was_consumed(of, events, again=()):
    """It gives the same messages to other steps."""
    found = of(events, again)
    return found if found is None else attrs.evolve(found, consumed=frozenset())


# ── Evictions ────────────────────────────────────────────────────────────────────────────────


@breaks(42, 47, shows=evicted)(Messages, "send")
def a_message_does_not_wake_an_evicted_run(send, messages, sender, run_id, mail):
    """It is kept, and nobody reads it."""
    row = messages._store.row(run_id)
    sleep = row.sleep
    number = send(messages, sender, run_id, mail)
    row.sleep = sleep
    return number


@breaks(42, 47, shows=evicted)(Messages, "evict")
def what_came_before_an_eviction_is_no_news(evict, messages, owner, run_id, eviction):
    """The run sleeps beside its message."""
    row = messages._store.rows[run_id]
    evict(messages, owner, run_id, eviction._replace(seen=len(row.mail)))
    slept = messages.slept
    if slept and slept[-1].run_id == run_id:
        slept[-1] = slept[-1]._replace(seen=eviction.seen)


@breaks(57, shows=evicted)(SharedStore, "_is_awake")
def an_evicted_run_is_taken_at_once(_is_awake, store, row):
    """It is evicted and taken up again and again."""
    return not row.ended and store.pauses.may_be_taken(row)


@breaks(57, shows=briefly)(Sleep, "is_over")
def a_run_is_woken_before_its_time(_is_over, sleep, _wall):
    """As soon as it has one."""
    return sleep.wake_at is not None


@breaks(42, 47, shows=briefly)(Messages, "wake_due")
def an_evicted_run_has_no_time(_wake, _messages):
    """Only a message wakes it."""


@breaks(47, 57, shows=evicted)(_Lives, "waiting")
def an_attempt_that_waited_counts_as_cut(_waiting, _lives):
    """The next one has another number, and its waits have their whole time again."""
    return ()


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────


@breaks(58, 47, shows=paused)(Pauses, "unheard")
def the_end_of_a_pause_is_not_heard_of(unheard, pauses, owner):
    """Where another orchestrator ends it."""
    return [one for one in unheard(pauses, owner) if one[1] is not None]


@breaks(58, shows=paused)(Pauses, "unheard")
def a_pause_is_not_heard_of(unheard, pauses, owner):
    """Where another orchestrator begins it."""
    return [one for one in unheard(pauses, owner) if one[1] is None]


@breaks(58, 47, shows=paused)(Pauses, "note")
def what_an_owner_has_heard_is_not_noted(_note, _pauses, _row, _events):
    """So that the end of a pause is no news."""


@breaks(58, 36, 37, shows=paused)(ChangesRuns, "hear_pause")
def an_owner_pauses_its_own_runs_alone(_hear, runtime, run_id, pause):
    """And lets every other run go on."""
    if pause is None and run_id in runtime._live:
        runtime._pauses.tell(run_id, pause)
